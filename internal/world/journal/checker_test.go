package journal_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

const (
	debtor swpt.DebtorID = 8001

	seller    swpt.CreditorID = 0x101000000a1
	buyer     swpt.CreditorID = 0x101000000b2
	collector swpt.CreditorID = 0x10000000005
	other     swpt.CreditorID = 0x10000000006
)

var (
	start    = time.Date(2025, 6, 10, 2, 0, 0, 0, time.UTC)
	infinity = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// A story is a journal in the making, in which all is well.
type story struct {
	entries    []journal.Entry
	now        time.Time
	principals map[swpt.CreditorID]int64
	numbers    map[swpt.CreditorID]int64
	locked     map[swpt.CreditorID]int64
	credits    int64
	transfers  int64
	requests   int64
	updates    int64
}

func newStory() *story {
	s := &story{
		now: start, principals: make(map[swpt.CreditorID]int64), numbers: make(map[swpt.CreditorID]int64),
		locked: make(map[swpt.CreditorID]int64),
	}
	for _, creditor := range []swpt.CreditorID{journal.Root, seller, buyer, collector, other} {
		s.add(journal.Entry{Kind: journal.Opened, Account: account(creditor), Created: smp.DateOf(start)})
	}
	return s
}

func account(creditor swpt.CreditorID) journal.Account {
	return journal.Account{Debtor: debtor, Creditor: creditor}
}

func (s *story) add(e journal.Entry) {
	s.now = s.now.Add(time.Second)
	e.At = s.now
	s.entries = append(s.entries, e)
}

func (s *story) holding(creditor swpt.CreditorID) journal.Holding {
	return journal.Holding{Principal: s.principals[creditor], At: s.now, RateSince: start}
}

func (s *story) heard(m smp.Message)     { s.add(journal.Entry{Kind: journal.Heard, Message: m}) }
func (s *story) issued(m smp.Message)    { s.add(journal.Entry{Kind: journal.Issued, Message: m}) }
func (s *story) delivered(m smp.Message) { s.add(journal.Entry{Kind: journal.Delivered, Message: m}) }

// request asks for a lock, and prepares it.
func (s *story) request(from swpt.CreditorID, amount int64) *smp.PreparedTransfer {
	m := s.ask(from, amount)
	return s.prepare(m)
}

func (s *story) ask(from swpt.CreditorID, amount int64) *smp.PrepareTransfer {
	s.requests++
	m := &smp.PrepareTransfer{
		CreditorID: from, DebtorID: debtor, CoordinatorType: "agent", CoordinatorID: int64(from),
		CoordinatorRequestID: s.requests, MaxLockedAmount: amount, Recipient: "r", FinalInterestRateTS: infinity,
		MaxCommitDelay: 3600, TS: s.now,
	}
	s.heard(m)
	return m
}

func (s *story) prepare(m *smp.PrepareTransfer) *smp.PreparedTransfer {
	s.transfers++
	p := &smp.PreparedTransfer{
		CreditorID: m.CreditorID, DebtorID: debtor, CoordinatorType: m.CoordinatorType, CoordinatorID: m.CoordinatorID,
		CoordinatorRequestID: m.CoordinatorRequestID, TransferID: s.transfers, LockedAmount: m.MaxLockedAmount,
		Recipient: "r", PreparedAt: s.now, Deadline: m.TS.Add(time.Hour), FinalInterestRateTS: infinity,
		DemurrageRate: -50, TS: s.now,
	}
	s.locked[m.CreditorID] += p.LockedAmount
	s.add(journal.Entry{
		Kind: journal.Locked, Account: account(m.CreditorID), Prepared: p, TotalLocked: s.locked[m.CreditorID],
		Holding: s.holding(m.CreditorID),
	})
	s.issued(p)
	s.delivered(p)
	return p
}

// wish locks the account of a buyer, and ends that again.
func (s *story) wish(creditor swpt.CreditorID) {
	p := s.request(creditor, 0)
	s.finalize(p, 0, "")
	s.end(p, 0, "OK")
}

// finalize hears that a transfer is to be ended.
func (s *story) finalize(p *smp.PreparedTransfer, amount int64, note string) *smp.FinalizeTransfer {
	m := &smp.FinalizeTransfer{
		CreditorID: p.CreditorID, DebtorID: debtor, TransferID: p.TransferID, CoordinatorType: "agent",
		CoordinatorID: int64(p.CreditorID), CoordinatorRequestID: p.CoordinatorRequestID, CommittedAmount: amount, TS: s.now,
	}
	if amount > 0 {
		m.TransferNoteFormat, m.TransferNote = smp.NoteFormat, note
	}
	s.heard(m)
	return m
}

// end ends a transfer.
func (s *story) end(p *smp.PreparedTransfer, amount int64, status string) {
	s.locked[p.CreditorID] -= p.LockedAmount
	s.add(journal.Entry{
		Kind: journal.Finalized, Account: account(p.CreditorID), Prepared: p, Amount: amount, Status: status,
		TotalLocked: s.locked[p.CreditorID],
	})
	s.issued(&smp.FinalizedTransfer{
		CreditorID: p.CreditorID, DebtorID: debtor, TransferID: p.TransferID, CoordinatorType: "agent",
		CoordinatorID: int64(p.CreditorID), CoordinatorRequestID: p.CoordinatorRequestID, CommittedAmount: amount,
		StatusCode: status, PreparedAt: p.PreparedAt, TS: s.now,
	})
}

// move makes a debit and a credit, with the messages about them.
func (s *story) move(p *smp.PreparedTransfer, from, to swpt.CreditorID, amount int64, kind, note string) {
	s.credits++
	format := ""
	if note != "" {
		format = smp.NoteFormat
	}
	e := journal.Entry{
		Amount: amount, Credit: s.credits, Prepared: p, CoordinatorType: kind, NoteFormat: format, Note: note,
	}
	for _, side := range []struct {
		kind     journal.Kind
		creditor swpt.CreditorID
		change   int64
	}{{journal.Debited, from, -amount}, {journal.Credited, to, amount}} {
		s.principals[side.creditor] += side.change
		e.Kind, e.Account, e.Holding = side.kind, account(side.creditor), s.holding(side.creditor)
		e.Silent = side.creditor == journal.Root && side.kind == journal.Credited
		s.add(e)
		if side.creditor == journal.Root {
			continue
		}
		previous := s.numbers[side.creditor]
		s.numbers[side.creditor]++
		s.issued(&smp.AccountTransfer{
			CreditorID: side.creditor, DebtorID: debtor, CreationDate: smp.DateOf(start), TransferNumber: previous + 1,
			PreviousTransferNumber: previous, CoordinatorType: kind, AcquiredAmount: side.change,
			TransferNoteFormat: format, TransferNote: note, CommittedAt: s.now, Principal: s.principals[side.creditor], TS: s.now,
		})
	}
}

// trade lets a lock be committed.
func (s *story) trade(p *smp.PreparedTransfer, to swpt.CreditorID, amount int64, note smp.Note) {
	s.finalize(p, amount, note.String())
	s.end(p, amount, "OK")
	s.move(p, p.CreditorID, to, amount, "agent", note.String())
}

func (s *story) update(creditor swpt.CreditorID) *smp.AccountUpdate {
	s.updates++
	m := &smp.AccountUpdate{
		CreditorID: creditor, DebtorID: debtor, CreationDate: smp.DateOf(start), LastChangeTS: s.now,
		LastChangeSeqnum: int32(s.updates), Principal: s.principals[creditor], LastInterestRateChangeTS: start,
		LastConfigTS: start, AccountID: "r", LastTransferNumber: s.numbers[creditor], LastTransferCommittedAt: start, TransferNoteMaxBytes: 80,
		TS: s.now,
	}
	s.issued(m)
	return m
}

// configure hears that an account is to be configured.
func (s *story) configure(creditor swpt.CreditorID, flags int32) *smp.ConfigureAccount {
	m := &smp.ConfigureAccount{
		CreditorID: creditor, DebtorID: debtor, NegligibleAmount: 1e30, ConfigFlags: flags, TS: s.now,
	}
	s.heard(m)
	return m
}

func (s *story) ledger(creditor swpt.CreditorID, id int64) *smp.UpdatedLedger {
	m := &smp.UpdatedLedger{
		CreditorID: creditor, DebtorID: debtor, UpdateID: id, AccountID: "r", CreationDate: smp.DateOf(start),
		Principal: s.principals[creditor], LastTransferNumber: s.numbers[creditor], TS: s.now,
	}
	s.issued(m)
	return m
}

var (
	collecting  = smp.Note{Kind: smp.Collecting, TurnID: 7, First: collector, Second: seller}
	sending     = smp.Note{Kind: smp.Sending, TurnID: 7, First: collector, Second: other}
	dispatching = smp.Note{Kind: smp.Dispatching, TurnID: 7, First: collector, Second: buyer}
)

// aTurn tells of a turn in which a seller pays a buyer.
func aTurn() *story {
	s := newStory()
	s.move(nil, journal.Root, seller, 5000, "issuing", "")
	sale := s.request(seller, 3000)
	held := s.request(buyer, 0)
	s.trade(sale, collector, 2500, collecting)
	s.update(collector)
	pay := s.request(collector, 0)
	s.trade(pay, buyer, 2400, dispatching)
	s.finalize(held, 0, "")
	s.end(held, 0, "OK")
	s.update(seller)
	s.ledger(seller, 5)
	s.ledger(buyer, 6)
	return s
}

// judge has the entries judged, at the quiet end.
func judge(entries []journal.Entry, leniency journal.Leniency) []journal.Verdict {
	c := journal.NewChecker()
	for i := range entries {
		c.Record(&entries[i])
	}
	return c.FinalVerdicts(leniency)
}

// broken lists the checks that have failed.
func broken(verdicts []journal.Verdict) (names []string) {
	for i := range verdicts {
		if !verdicts[i].OK() {
			names = append(names, verdicts[i].Check)
		}
	}
	return names
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	s := aTurn()
	verdicts := judge(s.entries, journal.Leniency{})
	for _, v := range verdicts {
		if !v.OK() {
			t.Errorf("%s is broken: %s", v.Check, v.Examples)
		}
		if v.Statement == "" || v.Check == "" {
			t.Errorf("a verdict says nothing: %+v", v)
		}
	}
	if len(verdicts) != 23 {
		t.Errorf("%d verdicts, want C1 to C9, twelve about the service, P1 and P2", len(verdicts))
	}
}

// at returns the n-th entry of a kind; about says which messages count.
func (s *story) find(kind journal.Kind, creditor swpt.CreditorID) *journal.Entry {
	for i := range s.entries {
		if e := &s.entries[i]; e.Kind == kind && e.Account.Creditor == creditor {
			return e
		}
	}
	panic("there is no such entry")
}

// message returns the n-th message of a type, which may be changed.
func message[M smp.Message](s *story, n int) M {
	for i := range s.entries {
		if m, ok := s.entries[i].Message.(M); ok && s.entries[i].Kind != journal.Delivered {
			if n--; n < 0 {
				return m
			}
		}
	}
	panic("there is no such message")
}

func (s *story) drop(match func(e *journal.Entry) bool) {
	s.entries = slices.DeleteFunc(s.entries, func(e journal.Entry) bool { return match(&e) })
}

// Each way of doing something wrong breaks the check that is there to find it.
func TestEachCheckFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		check string
		wrong string
		do    func(s *story)
		says  string // what one of the explanations contains
	}{
		{"C1", "a debit of more than is told", func(s *story) { s.find(journal.Debited, seller).Holding.Principal-- }, "has a principal of"},
		{"C1", "tokens vanish with an account", func(s *story) {
			s.add(journal.Entry{Kind: journal.Purged, Account: account(seller), Created: smp.DateOf(start)})
		}, ""},
		{"C1", "an account with tokens is opened anew", func(s *story) {
			s.add(journal.Entry{Kind: journal.Opened, Account: account(seller), Created: smp.DateOf(start) + 1})
		}, "principals of"},
		{"C1", "a credit that is not what is in flight", func(s *story) {
			s.principals[other]++
			s.add(journal.Entry{Kind: journal.Credited, Account: account(other), Amount: 1, Credit: 99, Silent: true, Holding: s.holding(other)})
		}, "principals of"},
		{"C2", "the total that is locked is wrong", func(s *story) { s.find(journal.Locked, seller).TotalLocked++ }, ""},
		{"C2", "the total that is still locked is wrong", func(s *story) { s.find(journal.Finalized, seller).TotalLocked++ }, ""},
		{"C2", "more is locked than there is", func(s *story) { s.request(seller, 2501) }, ""},
		{"C2", "a lock on a deleted account", func(s *story) {
			s.add(journal.Entry{Kind: journal.Closed, Account: account(other)})
			s.request(other, 0)
		}, ""},
		{"C2", "deleted with a lock on it", func(s *story) {
			s.request(seller, 1)
			s.add(journal.Entry{Kind: journal.Closed, Account: account(seller)})
		}, ""},
		{"C3", "a lock is spent by somebody else", func(s *story) {
			s.request(seller, 2500)
			s.move(nil, seller, journal.Root, 100, "delete", "")
		}, ""},
		{"C4", "a number is left out", func(s *story) {
			message[*smp.AccountTransfer](s, 2).TransferNumber = 3
			message[*smp.AccountTransfer](s, 2).PreviousTransferNumber = 2
		}, "and follows"},
		{"C4", "the principal that is told is wrong", func(s *story) { message[*smp.AccountTransfer](s, 1).Principal++ }, "tells of a principal of"},
		{"C4", "a credit is not told of", func(s *story) {
			s.drop(func(e *journal.Entry) bool {
				m, ok := e.Message.(*smp.AccountTransfer)
				return ok && m.CreditorID == buyer
			})
		}, "all transfers give"},
		{"C4", "an update tells of another principal", func(s *story) { message[*smp.AccountUpdate](s, 1).Principal++ }, ""},
		{"C5", "a debit without its end", func(s *story) {
			s.drop(func(e *journal.Entry) bool { return e.Kind == journal.Finalized && e.Account.Creditor == seller })
		}, ""},
		{"C5", "two ends", func(s *story) { s.entries = append(s.entries, *s.find(journal.Finalized, seller)) }, ""},
		{"C5", "a debit of another amount", func(s *story) { s.find(journal.Finalized, seller).Amount-- }, ""},
		{"C5", "a credit of another amount", func(s *story) { s.find(journal.Credited, collector).Amount-- }, ""},
		{"C5", "a credit with another note", func(s *story) { s.find(journal.Credited, collector).Note += "x" }, ""},
		{"C5", "a credit comes twice", func(s *story) { s.entries = append(s.entries, *s.find(journal.Credited, buyer)) }, ""},
		{"C5", "a credit to a deleted account", func(s *story) {
			s.add(journal.Entry{Kind: journal.Closed, Account: account(other)})
			s.move(nil, journal.Root, other, 1, "issuing", "")
		}, ""},
		{"C6", "update IDs go back", func(s *story) { s.ledger(seller, 5) }, ""},
		{"C6", "policies' IDs go back", func(s *story) {
			for _, id := range []int64{3, 2} {
				s.issued(&smp.UpdatedPolicy{CreditorID: seller, DebtorID: debtor, UpdateID: id, TS: s.now})
			}
		}, ""},
		{"C6", "flags' IDs go back", func(s *story) {
			for range 2 {
				s.issued(&smp.UpdatedFlags{CreditorID: seller, DebtorID: debtor, UpdateID: 2, TS: s.now})
			}
		}, ""},
		{"C6", "the ledger is ahead", func(s *story) { message[*smp.UpdatedLedger](s, 1).LastTransferNumber++ }, ""},
		{"C6", "an older update is told later", func(s *story) { s.update(seller).LastChangeTS = start }, ""},
		{"C6", "two updates have one number", func(s *story) {
			again := *message[*smp.AccountUpdate](s, 1)
			again.Interest = 5
			s.issued(&again)
		}, ""},
		{"C7", "an invalid message", func(s *story) { message[*smp.AccountTransfer](s, 0).AcquiredAmount = 0 }, ""},
		{"C7", "a lock of more than was asked for", func(s *story) { s.find(journal.Locked, seller).Prepared.LockedAmount = 3001 }, ""},
		{"C7", "a lock that nobody has asked for", func(s *story) {
			s.drop(func(e *journal.Entry) bool {
				m, ok := e.Message.(*smp.PrepareTransfer)
				return ok && m.CreditorID == buyer
			})
		}, "nobody has asked for transfer"},
		{"C7", "a transfer ID comes again", func(s *story) { s.transfers = 0; s.request(seller, 1) }, ""},
		{"C7", "a reminder with another deadline", func(s *story) {
			p := s.request(seller, 1)
			again := *p
			again.Deadline = again.Deadline.Add(time.Second)
			s.issued(&again)
		}, ""},
		{"C7", "an end that nobody has asked for", func(s *story) { s.end(s.request(seller, 1), 0, "OK") }, ""},
		{"C7", "the end is told otherwise", func(s *story) { message[*smp.FinalizedTransfer](s, 0).CommittedAmount++ }, ""},
		{"C7", "a commit after the deadline", func(s *story) { s.find(journal.Finalized, seller).Prepared.Deadline = start }, ""},
		{"C7", "a rejection of nothing", func(s *story) {
			s.issued(&smp.RejectedTransfer{CreditorID: seller, DebtorID: debtor, CoordinatorType: "agent", CoordinatorRequestID: 99, TS: s.now})
		}, ""},
		{"C7", "an account ID changes", func(s *story) { m := s.update(seller); m.AccountID = "q" }, "the account ID changes"},
		{"C7", "a rate changes before the one before", func(s *story) {
			h := s.holding(seller)
			h.RateSince = start.Add(-time.Hour)
			s.add(journal.Entry{Kind: journal.RateChanged, Account: account(seller), Holding: h})
			h.RateSince = start.Add(-2 * time.Hour)
			s.add(journal.Entry{Kind: journal.RateChanged, Account: account(seller), Holding: h})
		}, ""},
		{"C7", "an agent's transfer is negligible", func(s *story) { s.find(journal.Credited, buyer).Silent = true }, ""},
		{"C7", "created again on the same day", func(s *story) {
			s.add(journal.Entry{Kind: journal.Purged, Account: account(other), Created: smp.DateOf(start)})
			s.add(journal.Entry{Kind: journal.Opened, Account: account(other), Created: smp.DateOf(start)})
		}, ""},
		{"C7", "removed with a lock", func(s *story) {
			s.request(other, 0)
			s.add(journal.Entry{Kind: journal.Purged, Account: account(other), Created: smp.DateOf(start)})
		}, ""},
		{"C7", "a dismissal fails", func(s *story) {
			p := s.request(seller, 1)
			s.finalize(p, 0, "")
			s.end(p, 0, "TIMEOUT")
		}, "ends with"},
		{"C7", "a reminder of what has been finalised", func(s *story) { s.issued(message[*smp.PreparedTransfer](s, 0)) }, "not prepared"},
		{"C7", "a rate is told to have changed earlier", func(s *story) {
			s.update(seller).LastInterestRateChangeTS = start.Add(-time.Second)
		}, "goes back"},
		{"C8", "capitalisation changes the balance", func(s *story) { s.capitalise(seller, 10, 11, 10) }, ""},
		{"C8", "the root does not pay", func(s *story) { s.capitalise(seller, 10, 10, 9) }, ""},
		{"C9", "something is in flight", func(s *story) {
			s.drop(func(e *journal.Entry) bool { return e.Kind == journal.Credited && e.Account.Creditor == buyer })
		}, "are in flight"},
		{"C9", "a ledger is wrong", func(s *story) { s.ledger(seller, 9).Principal++ }, ""},
		{"C9", "a commit is not heeded", func(s *story) { s.finalize(s.request(seller, 5), 5, collecting.String()) }, ""},
		{"M1", "more is dispatched than collected", func(s *story) {
			s.move(nil, journal.Root, collector, 9999, "issuing", "")
			s.trade(s.request(collector, 0), buyer, 200, smp.Note{Kind: smp.Dispatching, TurnID: 7, First: collector, Second: other})
		}, ""},
		{"M2", "a collector sends more than it has got", func(s *story) {
			s.move(nil, journal.Root, collector, 9999, "issuing", "")
			s.trade(s.request(collector, 0), other, 2501, sending)
		}, ""},
		{"M2", "a collector dispatches what it has sent", func(s *story) {
			s.move(nil, journal.Root, seller, 9999, "issuing", "")
			note := collecting
			note.TurnID = 8
			s.trade(s.request(seller, 500), collector, 500, note)
			note = sending
			note.TurnID = 8
			s.trade(s.request(collector, 0), other, 400, note)
			note = dispatching
			note.TurnID = 8
			s.trade(s.request(collector, 0), buyer, 101, note)
		}, ""},
		{"M2", "a collector sends what it has dispatched", func(s *story) {
			s.move(nil, journal.Root, collector, 9999, "issuing", "")
			s.trade(s.request(collector, 0), other, 101, sending)
		}, "having collected 2500, received 0, sent 101"},
		{"M2", "a collector dispatches what another one has collected", func(s *story) {
			s.move(nil, journal.Root, other, 9999, "issuing", "")
			note := dispatching
			note.First, note.Second = other, seller
			s.trade(s.request(other, 0), seller, 50, note)
		}, "having collected 0, received 0, sent 0"},
		{"M3", "a collector is sent the same twice", func(s *story) {
			for range 2 {
				s.trade(s.request(collector, 0), other, 10, sending)
			}
		}, ""},
		{"M3", "a buyer is paid twice", func(s *story) { s.trade(s.request(collector, 0), buyer, 1, dispatching) }, ""},
		{"M3", "somebody is paid who has not been locked", func(s *story) {
			note := dispatching
			note.Second = seller
			s.trade(s.request(collector, 0), seller, 1, note)
		}, "has been locked 0 times"},
		{"M3", "a buyer is paid in two turns, with one lock, in two copies", func(s *story) {
			m := s.ask(other, 0)
			s.prepare(m)
			s.prepare(m)
			for _, turn := range []int32{7, 8} {
				note := dispatching
				note.Second, note.TurnID = other, turn
				s.trade(s.request(collector, 0), other, 1, note)
			}
		}, "for the 2. time, and has been locked 1 times"},
		{"M3", "a buyer is paid by two collectors", func(s *story) {
			s.move(nil, journal.Root, other, 10, "issuing", "")
			note := dispatching
			note.First = other
			s.trade(s.request(other, 0), buyer, 1, note)
		}, ""},
		{"M3", "a seller is charged twice", func(s *story) { s.trade(s.request(seller, 10), collector, 1, collecting) }, ""},
		{"M3", "somebody pays in another's name", func(s *story) {
			s.trade(s.request(seller, 10), collector, 1, smp.Note{Kind: smp.Collecting, TurnID: 9, First: collector, Second: buyer})
		}, ""},
		{"M3", "somebody gets what is another's", func(s *story) {
			s.trade(s.request(seller, 10), other, 1, smp.Note{Kind: smp.Collecting, TurnID: 9, First: collector, Second: seller})
		}, ""},
		{"M4", "a seller is charged more than was locked", func(s *story) {
			note := collecting
			note.TurnID = 9
			s.trade(s.request(seller, 10), collector, 11, note)
		}, ""},
		{"M6", "one request is committed twice", func(s *story) {
			m := s.ask(seller, 10)
			one, two := s.prepare(m), s.prepare(m)
			note := collecting
			note.TurnID = 9
			s.trade(one, collector, 10, note)
			note.TurnID = 10
			s.trade(two, collector, 10, note)
		}, ""},
		{"M6", "dismissed while the commit may succeed", func(s *story) {
			p := s.request(seller, 5)
			s.finalize(p, 5, collecting.String())
			s.finalize(p, 0, "")
		}, ""},
		{"M6", "committed after it was dismissed", func(s *story) {
			p := s.request(seller, 5)
			s.finalize(p, 0, "")
			s.finalize(p, 5, collecting.String())
		}, ""},
		{"M6", "committed in two ways", func(s *story) {
			p := s.request(seller, 5)
			s.finalize(p, 5, collecting.String())
			s.finalize(p, 4, collecting.String())
		}, ""},
		{"M7", "tried again while the outcome is open", func(s *story) {
			note := smp.Note{Kind: smp.Dispatching, TurnID: 9, First: collector, Second: buyer}
			s.finalize(s.request(collector, 0), 5, note.String())
			s.finalize(s.request(collector, 0), 5, note.String())
		}, ""},
		{"M7", "asked for again before the outcome was known", func(s *story) {
			note := smp.Note{Kind: smp.Dispatching, TurnID: 9, First: collector, Second: buyer}
			first, second := s.request(collector, 0), s.request(collector, 0)
			s.finalize(first, 5, note.String())
			s.end(first, 0, "TIMEOUT")
			s.finalize(second, 5, note.String())
		}, ""},
		{"M7", "tried again after success", func(s *story) { s.finalize(s.request(collector, 0), 5, dispatching.String()) }, ""},
		{"M7", "given up while the outcome is open", func(s *story) {
			p := s.request(collector, 0)
			s.finalize(p, 0, "")
			s.end(p, 0, "OK")
		}, "has been given up"},
		{"M8", "a transfer is left", func(s *story) { s.request(seller, 5) }, ""},
		{"M8", "a buyer's lock is left", func(s *story) { s.request(buyer, 0) }, ""},
		{"M15", "committed too late", func(s *story) { message[*smp.PrepareTransfer](s, 2).MaxCommitDelay = 1 }, ""},
		{"M16", "committed under a newer rate", func(s *story) {
			message[*smp.PrepareTransfer](s, 2).FinalInterestRateTS = start.Add(-time.Second)
		}, ""},
		{"M19", "a customer's account is discarded", func(s *story) { s.configure(seller, 1) }, "who is no collector"},
		{"M19", "a customer's account is configured", func(s *story) { s.configure(seller, 0) }, "who is no collector"},
		{"M19", "the agent has not asked for that", func(s *story) {
			asked := &smp.ConfigureAccount{CreditorID: seller, DebtorID: debtor, NegligibleAmount: 1e30, TS: s.now}
			s.issued(asked)
			s.heard(asked)
			for _, change := range []func(m *smp.ConfigureAccount){
				func(m *smp.ConfigureAccount) { m.ConfigFlags = 1 },
				func(m *smp.ConfigureAccount) { m.TS = s.now },
				func(m *smp.ConfigureAccount) { m.CreditorID = buyer },
			} {
				other := *asked
				change(&other)
				s.heard(&other)
			}
		}, "configured by the service"},
		{"M19", "a collector's account is discarded after it has been asked for", func(s *story) {
			s.configure(collector, 0)
			s.configure(collector, 1)
		}, "is to be deleted since"},
		{"M19", "the same, and the messages overtake each other", func(s *story) {
			earlier := *s.configure(collector, 1)
			s.configure(collector, 0)
			earlier.ConfigFlags, earlier.TS = 0, earlier.TS.Add(-time.Second)
			s.heard(&earlier)
		}, "is to be deleted since"},
		{"M19", "a collector's account is asked for in another way", func(s *story) {
			s.configure(collector, 2)
		}, "configured with flags 2"},
		{"M19", "a collector's account with small transfers of interest", func(s *story) {
			s.configure(collector, 0).NegligibleAmount = 0
		}, "0 as negligible"},
		{"M22", "a note that is too long", func(s *story) {
			s.update(seller)
			s.finalize(s.request(seller, 5), 5, strings.Repeat("x", 81))
		}, "81 bytes, and 80 are allowed"},
		{"M23", "copies are left", func(s *story) { m := s.ask(buyer, 0); s.prepare(m); s.prepare(m) }, ""},
		{"P1", "a gateway refuses a message", func(s *story) {
			s.add(journal.Entry{Kind: journal.Refused, Reason: "it is invalid"})
		}, ""},
		{"P1", "a request ID is used for something else", func(s *story) {
			m := *message[*smp.PrepareTransfer](s, 0)
			m.MaxLockedAmount++
			s.heard(&m)
		}, ""},
		{"P1", "a transfer is invented", func(s *story) {
			p := *message[*smp.PreparedTransfer](s, 0)
			p.TransferID = 12345
			s.finalize(&p, 0, "")
		}, ""},
		{"P1", "a commit with a note of no meaning", func(s *story) { s.finalize(s.request(seller, 5), 5, "for bread") }, ""},
	} {
		s := aTurn()
		c.do(s)
		verdicts := judge(s.entries, journal.Leniency{})
		at := slices.IndexFunc(verdicts, func(v journal.Verdict) bool { return v.Check == c.check })
		said := strings.Join(verdicts[at].Examples, "\n")
		if verdicts[at].OK() || !strings.Contains(said, c.says) {
			t.Errorf("%s: broken are %v, want %s; it says %q, want %q", c.wrong, broken(verdicts), c.check, said, c.says)
		}
	}
}

// capitalise moves interest between the root and an account, as told.
func (s *story) capitalise(creditor swpt.CreditorID, amount, credited, debited int64) {
	before := s.holding(creditor)
	before.Interest = float64(amount)
	after := before
	after.Principal, after.Interest = before.Principal+credited, 0
	s.principals[creditor] += credited
	s.principals[journal.Root] -= debited
	s.add(journal.Entry{
		Kind: journal.Capitalised, Account: account(creditor), Amount: amount, Silent: true, Before: before, Holding: after,
		RootPrincipal: s.principals[journal.Root],
	})
	s.ledger(creditor, 100)
}

// Most mistakes are found at once, and not only in the end.
func TestMistakesAreFoundAtOnce(t *testing.T) {
	t.Parallel()
	for check, do := range map[string]func(s *story){
		"C1": func(s *story) {
			s.principals[other]++
			s.add(journal.Entry{
				Kind: journal.Credited, Account: account(other), Amount: 1, Credit: 99, Silent: true, Holding: s.holding(other),
			})
		},
		"C4": func(s *story) { message[*smp.AccountTransfer](s, 1).AcquiredAmount++ },
	} {
		s := aTurn()
		do(s)
		c := journal.NewChecker()
		for i := range s.entries {
			c.Record(&s.entries[i])
		}
		if got := broken(c.Verdicts()); !slices.Contains(got, check) {
			t.Errorf("broken are %v, want %s", got, check)
		}
	}
}

func TestWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for wrong, do := range map[string]func(s *story){
		"capitalisation": func(s *story) { s.capitalise(seller, 10, 10, 10) },
		"a repeated request, the copy of which is dismissed": func(s *story) {
			m := s.ask(seller, 10)
			s.prepare(m)
			copied := s.prepare(m)
			s.finalize(copied, 0, "")
			s.end(copied, 0, "OK")
			kept := message[*smp.PreparedTransfer](s, 3)
			s.finalize(kept, 0, "")
			s.end(kept, 0, "OK")
		},
		"a repeated commit, and a dismissal after the end": func(s *story) {
			p := s.request(seller, 10)
			note := collecting
			note.TurnID = 9
			s.finalize(p, 10, note.String())
			s.trade(p, collector, 10, note)
			s.finalize(p, 0, "")
			s.ledger(seller, 100)
		},
		"another try after a rejection, one copy of which has been prepared": func(s *story) {
			m := s.ask(collector, 0)
			s.issued(&smp.RejectedTransfer{
				CreditorID: collector, DebtorID: debtor, CoordinatorType: "agent", CoordinatorID: int64(collector),
				CoordinatorRequestID: m.CoordinatorRequestID, StatusCode: "TIMEOUT", TS: s.now,
			})
			p := s.prepare(m)
			s.finalize(p, 0, "")
			s.end(p, 0, "OK")
		},
		"another try after the deadline": func(s *story) {
			p := s.request(collector, 0)
			s.now = p.Deadline
			s.finalize(p, 0, "")
			s.end(p, 0, "OK")
		},
		"a copy of a collector's request that is dismissed before the other one is committed": func(s *story) {
			m := s.ask(collector, 0)
			kept, copied := s.prepare(m), s.prepare(m)
			s.finalize(copied, 0, "")
			s.end(copied, 0, "OK")
			note := smp.Note{Kind: smp.Dispatching, TurnID: 7, First: collector, Second: seller}
			s.wish(seller)
			s.trade(kept, seller, 50, note)
			s.ledger(seller, 100)
		},
		"the agent configures an account, in several copies": func(s *story) {
			for flags := range int32(2) {
				m := &smp.ConfigureAccount{
					CreditorID: seller, DebtorID: debtor, NegligibleAmount: 1e30, ConfigFlags: flags, TS: s.now,
				}
				s.issued(m)
				again := *m
				s.heard(m)
				s.heard(&again)
			}
		},
		"a collector's account is asked for again and again": func(s *story) {
			m := s.configure(collector, 0)
			s.configure(collector, 0)
			s.heard(m)
		},
		"an unneeded account of a collector is discarded, and needed later": func(s *story) {
			discard := s.configure(collector, 1)
			s.configure(collector, 0)
			s.heard(discard)
		},
		"a note of just the length that is allowed": func(s *story) {
			message[*smp.AccountUpdate](s, 0).TransferNoteMaxBytes = int32(len(dispatching.String()))
		},
		"another try after a failure": func(s *story) {
			note := smp.Note{Kind: smp.Sending, TurnID: 7, First: collector, Second: other}
			p := s.request(collector, 0)
			s.finalize(p, 50, note.String())
			s.end(p, 0, "NEWER_INTEREST_RATE")
			s.trade(s.request(collector, 0), other, 50, note)
		},
		"tokens go through two collectors": func(s *story) {
			s.move(nil, journal.Root, seller, 1000, "issuing", "")
			s.wish(seller)
			s.wish(buyer)
			for _, step := range []struct {
				kind          smp.NoteKind
				payer         swpt.CreditorID
				first, second swpt.CreditorID
				amount        int64
			}{
				{smp.Collecting, seller, collector, seller, 1000},
				{smp.Sending, collector, collector, other, 700},
				{smp.Dispatching, collector, collector, seller, 300},
				{smp.Dispatching, other, other, buyer, 699},
			} {
				note := smp.Note{Kind: step.kind, TurnID: 8, First: step.first, Second: step.second}
				to := note.Recipient()
				s.trade(s.request(step.payer, step.amount), to, step.amount, note)
			}
			s.ledger(seller, 100)
			s.ledger(buyer, 101)
		},
		"an authority forgets an account, the lock on which is dismissed later": func(s *story) {
			p := s.request(other, 0)
			s.add(journal.Entry{Kind: journal.Forgotten, Account: account(other)})
			s.add(journal.Entry{Kind: journal.Closed, Account: account(other)})
			s.add(journal.Entry{Kind: journal.Purged, Account: account(other), Created: smp.DateOf(start)})
			s.finalize(p, 0, "")
		},
		"a reminder": func(s *story) {
			p := s.request(seller, 10)
			again := *p
			again.TS = s.now
			s.issued(&again)
			s.finalize(p, 0, "")
			s.end(p, 0, "OK")
		},
		"a heartbeat": func(s *story) {
			again := *message[*smp.AccountUpdate](s, 1)
			again.TS = s.now
			s.issued(&again)
		},
		"debits of a batch that do not see each other": func(s *story) {
			for range 2 {
				s.move(nil, seller, collector, 100, "direct", "")
			}
			first := len(s.entries) - 8
			for _, i := range []int{first, first + 1, first + 4, first + 5} {
				s.entries[i].At = s.entries[first].At
				if m, ok := s.entries[i].Message.(*smp.AccountTransfer); ok {
					m.CommittedAt = s.entries[first].At
				}
			}
			s.entries[first+5].Message.(*smp.AccountTransfer).Principal += 100
			s.ledger(seller, 100)
		},
	} {
		s := aTurn()
		do(s)
		for _, v := range judge(s.entries, journal.Leniency{}) {
			if !v.OK() {
				t.Errorf("%s: %s is broken: %s", wrong, v.Check, v.Examples)
			}
		}
	}
}

func TestLeniency(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		left string
		do   func(s *story)
		want []string
	}{
		{"a buyer's lock", func(s *story) { s.request(buyer, 0) }, nil},
		{"the second copy of a buyer's lock", func(s *story) {
			m := s.ask(buyer, 0)
			first := s.prepare(m)
			s.prepare(m)
			s.finalize(first, 0, "")
			s.end(first, 0, "OK")
		}, nil},
		{"both copies of a buyer's lock", func(s *story) { m := s.ask(buyer, 0); s.prepare(m); s.prepare(m) }, []string{"M23"}},
		{"the lock of a buyer who has been paid", func(s *story) {
			s.request(buyer, 0)
			note := dispatching
			note.TurnID = 8
			sale := collecting
			sale.TurnID = 8
			s.trade(s.request(seller, 50), collector, 50, sale)
			s.trade(s.request(collector, 0), buyer, 50, note)
			s.ledger(seller, 100)
			s.ledger(buyer, 101)
		}, []string{"M8"}},
		{"a seller's lock", func(s *story) { s.request(seller, 1) }, []string{"M8"}},
		{"a collector's transfer", func(s *story) { s.request(collector, 0) }, []string{"M8"}},
	} {
		s := aTurn()
		c.do(s)
		if got := broken(judge(s.entries, journal.Leniency{Losses: true})); !slices.Equal(got, c.want) {
			t.Errorf("with losses, %s is left: %v are broken, want %v", c.left, got, c.want)
		}
		if got := broken(judge(s.entries, journal.Leniency{})); !slices.Contains(got, "M8") {
			t.Errorf("without losses, %s is left: %v are broken", c.left, got)
		}
	}
}

// The seller of the turn has given 2500 tokens, of which the buyer has got 2400.
func TestTokensThatStayWithCollectors(t *testing.T) {
	t.Parallel()
	for kept, want := range map[float64][]string{0: nil, 0.05: nil, 0.03: {"P2"}} {
		if got := broken(judge(aTurn().entries, journal.Leniency{Kept: kept})); !slices.Equal(got, want) {
			t.Errorf("%g may be kept: %v are broken, want %v", kept, got, want)
		}
	}
}

func TestVerdictsGoOn(t *testing.T) {
	t.Parallel()
	s := aTurn()
	p := s.request(seller, 10)
	c := journal.NewChecker()
	for i := range s.entries {
		c.Record(&s.entries[i])
	}
	if got := broken(c.Verdicts()); got != nil {
		t.Errorf("in the middle, %v are broken", got)
	}
	if got := broken(c.FinalVerdicts(journal.Leniency{})); got == nil {
		t.Error("nothing would be broken at the end")
	}
	done := len(s.entries)
	s.finalize(p, 0, "")
	s.end(p, 0, "OK")
	for i := range s.entries[done:] {
		c.Record(&s.entries[done+i])
	}
	if got := broken(c.FinalVerdicts(journal.Leniency{})); got != nil {
		t.Errorf("at the end, %v are broken", got)
	}
}

func TestAccountsOfTheJournal(t *testing.T) {
	t.Parallel()
	s := aTurn()
	s.request(seller, 10)
	c := journal.NewChecker()
	for i := range s.entries {
		c.Record(&s.entries[i])
	}
	got := make(map[swpt.CreditorID]journal.Purse)
	for p := range c.Purses {
		got[p.Creditor] = p
	}
	for creditor, want := range map[swpt.CreditorID]journal.Purse{
		journal.Root: {account(journal.Root), true, -5000, 0},
		seller:       {account(seller), true, 2500, 10},
		collector:    {account(collector), true, 100, 0},
		buyer:        {account(buyer), true, 2400, 0},
	} {
		if got[creditor] != want {
			t.Errorf("the journal has %+v, want %+v", got[creditor], want)
		}
	}
	if u := c.Unfinished(); u.Transfers != 1 || u.Holding != 1 {
		t.Errorf("unfinished: %+v", u)
	}
	want := []journal.Turnover{{Turn: 7, Debtor: debtor, Sellers: 1, Buyers: 1, Collected: 2500, Dispatched: 2400}}
	if got := c.Turnovers(); !slices.Equal(got, want) {
		t.Errorf("turnovers: %+v, want %+v", got, want)
	}
	trades := c.Trades(account(buyer))
	if len(trades) != 1 || trades[0].Amount != 2400 || trades[0].Note != dispatching {
		t.Errorf("the buyer's trades: %+v", trades)
	}
	if c.InFlight(debtor) != 0 || c.Trades(account(99)) != nil {
		t.Error("something is in flight, or a stranger has traded")
	}
}

func TestHoldings(t *testing.T) {
	t.Parallel()
	year := time.Duration(365.25 * 24 * float64(time.Hour))
	for _, c := range []struct {
		holding   journal.Holding
		after     time.Duration
		balance   float64
		spendable int64
	}{
		{journal.Holding{Principal: 100, Rate: 10}, year, 110, 110},
		{journal.Holding{Principal: 100, Rate: -10}, year, 90, 90},
		{journal.Holding{Principal: 100, Rate: -10}, -year, 100, 100},
		{journal.Holding{Principal: 100, Interest: -0.5}, year, 99.5, 99},
		{journal.Holding{Principal: -100, Interest: 50, Rate: 10}, year, -50, -50},
		{journal.Holding{Principal: 100, Rate: -100}, year, 0, 0},
		{journal.Holding{Principal: 100, Rate: -100}, 0, 100, 100},
		{journal.Holding{Principal: 1<<61 + 1}, year, 1 << 61, 1<<61 + 1},
		{journal.Holding{Principal: 1 << 62, Rate: 100}, 100 * year, math.Inf(1), math.MaxInt64},
	} {
		h := c.holding
		h.At = start
		at := start.Add(c.after)
		if got := h.Balance(at); math.Abs(got-c.balance) > 1e-6*max(1, math.Abs(c.balance)) && got < c.balance {
			t.Errorf("%+v after %v: balance %f, want %f", c.holding, c.after, got, c.balance)
		}
		got := h.Spendable(at)
		if got != c.spendable && got != c.spendable-1 {
			t.Errorf("%+v after %v: %d can be spent, want %d", c.holding, c.after, got, c.spendable)
		}
	}
}

func TestSum(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, want int64 }{
		{1, 2, 3},
		{math.MaxInt64, 1, math.MaxInt64},
		{-math.MaxInt64, -1, -math.MaxInt64},
		{math.MinInt64, -1, -math.MaxInt64},
		{math.MaxInt64, math.MinInt64, -1},
		{math.MinInt64, 0, -math.MaxInt64},
	} {
		if got := journal.Sum(c.a, c.b); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	w := journal.NewWriter(&text)
	s := aTurn()
	s.capitalise(seller, 10, 10, 10)
	s.add(journal.Entry{Kind: journal.Refused, Reason: "it is invalid"})
	for i := range s.entries {
		w.Record(&s.entries[i])
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(text.String(), "\n"); lines != len(s.entries) {
		t.Errorf("%d lines for %d entries", lines, len(s.entries))
	}
	for _, want := range []string{
		"refused it is invalid", `heard {"type":"PrepareTransfer"`, "locked account of 0x101000000a1 in currency 8001",
		"amount 2500, credit 2, agent", `committed 2500, "OK"`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the journal does not say %q", want)
		}
	}
	w = journal.NewWriter(brokenPipe{})
	for i := range s.entries {
		for range 100 {
			w.Record(&s.entries[i])
		}
	}
	if err := w.Flush(); !errors.Is(err, errPipe) {
		t.Errorf("writing to a broken pipe: %v", err)
	}
}

var errPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

// A payment has failed if its commit has been refused, and not while that is open, or if nobody has wanted one.
func TestHasFailed(t *testing.T) {
	t.Parallel()
	notes := map[string]smp.Note{}
	for i, name := range []string{"refused", "open", "made", "unheard of"} {
		notes[name] = smp.Note{Kind: smp.Dispatching, TurnID: int32(90 + i), First: collector, Second: buyer}
	}
	s := newStory()
	p := s.request(collector, 0)
	s.finalize(p, 5, notes["refused"].String())
	s.end(p, 0, "TIMEOUT")
	s.finalize(s.request(collector, 0), 5, notes["open"].String())
	s.trade(s.request(collector, 0), buyer, 5, notes["made"])
	c := journal.NewChecker()
	for i := range s.entries {
		c.Record(&s.entries[i])
	}
	for name, note := range notes {
		if got := c.HasFailed(debtor, note); got != (name == "refused") {
			t.Errorf("what is %s has failed: %v", name, got)
		}
	}
}
