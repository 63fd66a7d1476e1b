package lock_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	accounts   = 3 // of a side
	selfTrader = 2 // the account whose owner is its only collector
)

// A happening is a message about an account, in words that fit both sides.
type happening struct {
	account  int
	turn     int32
	amount   int64
	request  int // 0: the latest one of the account; 1: the one before, and so on
	transfer int64
	number   int64
	spoiled  bool // the message does not fit the request, or its terms are bad
}

// A side is a database. Both sides of a comparison live through the same happenings, one of them in batches.
type side struct {
	*world
	first    swpt.CreditorID // of the accounts of this round
	requests [accounts][]int64
	rest     []string
}

// The names of the kinds of happenings.
var kinds = []string{
	"finalized", "revised", "prepared", "offers", "participations", "paid", "received", "abandoned", "rejected",
}

// However messages are divided into batches, and however they are repeated and mixed up, the outcome is that of
// handling them one by one (M9).
func TestBatches(t *testing.T) {
	t.Parallel()
	together, apart := newSide(t), newSide(t)
	rapid.Check(t, func(rt *rapid.T) {
		together.begin()
		apart.begin()
		for _, past := range drawPast(rt) {
			together.live(now, past.kind, past.happenings)
			apart.live(now, past.kind, past.happenings)
		}
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 3, 7).Draw(rt, "steps")
		for i, step := range steps {
			at := now.Add(time.Duration(i) * time.Hour)
			together.live(at, step.kind, step.happenings)
			for _, h := range step.happenings {
				apart.live(at, step.kind, []happening{h})
			}
		}
		if a, b := together.outcome(), apart.outcome(); !slices.Equal(a, b) {
			rt.Fatalf("together:\n%q\napart:\n%q", a, b)
		}
	})
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{world: newWorldOn(t, workerdbtest.New(t)), first: 1 - accounts}
	s.insertTurn(0, 2, 5, &deadline)
	s.insertTurn(1, 2, 5, &deadline)
	s.insertTurn(2, 2, 10, &deadline)
	s.insertCollector(debtor, collector)
	return s
}

// begin takes the next accounts, about which nothing is known, for another round.
func (s *side) begin() {
	s.Helper()
	s.first += accounts
	s.requests, s.rest, s.failed = [accounts][]int64{}, nil, nil
	s.insertCollector(s.debtor(selfTrader), s.creditor(selfTrader))
}

// A step is a batch of messages of one kind.
type step struct {
	kind       string
	happenings []happening
}

// drawPast returns how each account has come into some state, before messages begin to be mixed up.
func drawPast(rt *rapid.T) []step {
	steps := []step{
		{kind: "offers"}, {kind: "prepared"}, {kind: "participations"}, {kind: "revised"}, {kind: "paid"}, {kind: "received"},
	}
	for account := range accounts {
		amount := rapid.SampledFrom([]int64{-3000, 3000}).Draw(rt, "amount")
		reached := rapid.SampledFrom([]int{4, 3, 2, 6, 0}).Draw(rt, "past")
		for i := range steps[:reached] {
			h := happening{account: account, transfer: 1, number: 1, amount: amount}
			if steps[i].kind == "prepared" {
				h.amount = 9000 // is locked
			}
			steps[i].happenings = append(steps[i].happenings, h)
		}
	}
	return steps
}

func drawStep(rt *rapid.T) step {
	kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
	amounts := []int64{-3000, -2000, 2000, 3000}
	switch kind {
	case "finalized":
		amounts = []int64{0, 0, 2000, 3000}
	case "participations":
		amounts = []int64{-3000, -4000, 2000, 4000}
	}
	one := rapid.Custom(func(rt *rapid.T) happening {
		return happening{
			account:  rapid.IntRange(0, accounts-1).Draw(rt, "account"),
			turn:     rapid.SampledFrom([]int32{0, 0, 0, 1, 2}).Draw(rt, "turn"),
			amount:   rapid.SampledFrom(amounts).Draw(rt, "amount"),
			request:  rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(rt, "request"),
			transfer: rapid.SampledFrom([]int64{1, 1, 1, 2}).Draw(rt, "transfer"),
			number:   rapid.Int64Range(1, 2).Draw(rt, "number"),
			spoiled:  rapid.IntRange(0, 7).Draw(rt, "spoiled") == 0,
		}
	})
	return step{kind, rapid.SliceOfN(one, 2, 6).Draw(rt, "happenings")}
}

func (s *side) creditor(account int) swpt.CreditorID { return s.first + swpt.CreditorID(account) }

func (s *side) debtor(account int) swpt.DebtorID {
	if account == selfTrader {
		return swpt.DebtorID(-s.creditor(account))
	}
	return debtor
}

// requested returns the number of a request, or one that has never been used.
func (s *side) requested(h happening) int64 {
	ids := s.requests[h.account]
	if h.request >= len(ids) {
		return -int64(h.request) - 1
	}
	return ids[len(ids)-1-h.request]
}

// live has the rules handle a batch.
func (s *side) live(now time.Time, kind string, all []happening) {
	s.Helper()
	if len(all) == 0 {
		return
	}
	switch kind {
	case "offers":
		s.handle(now, each(all, s.offer))
		s.learn()
	case "prepared":
		s.remember(s.handle(now, each(all, s.preparedTransfer)))
	case "rejected":
		s.remember(s.handle(now, each(all, s.rejectedTransfer)))
	case "finalized":
		s.remember(s.handle(now, each(all, s.finalizedTransfer)))
	case "participations":
		for _, h := range all {
			s.participate(h)
		}
	case "revised":
		s.handle(now, each(all, func(h happening) *smp.ReviseAccountLock {
			return &smp.ReviseAccountLock{CreditorID: s.creditor(h.account), DebtorID: s.debtor(h.account), TurnID: h.turn, TS: now}
		}))
	case "paid":
		s.handle(now, paid(each(all, s.payment)))
	case "received":
		s.handle(now, received(each(all, s.payment)))
	case "abandoned":
		s.handle(now, each(all, func(h happening) *smp.LockAbandoned {
			return &smp.LockAbandoned{CreditorID: s.creditor(h.account), DebtorID: s.debtor(h.account), TurnID: h.turn, TS: now}
		}))
	}
}

func each[M any](all []happening, message func(happening) M) []M {
	var batch []M
	for _, h := range all {
		batch = append(batch, message(h))
	}
	return batch
}

func (s *side) offer(h happening) *smp.CandidateOffer {
	o := offer(h.amount)
	o.CreditorID, o.DebtorID, o.TurnID, o.LastTransferNumber = s.creditor(h.account), s.debtor(h.account), h.turn, h.number
	if h.spoiled {
		o.Amount = -minTradeAmount / 2
	}
	return o
}

func (s *side) preparedTransfer(h happening) *smp.PreparedTransfer {
	m := preparedTransfer(s.requested(h))
	m.CreditorID, m.DebtorID, m.CoordinatorID = s.creditor(h.account), s.debtor(h.account), int64(s.creditor(h.account))
	m.TransferID = h.transfer
	m.LockedAmount = max(h.amount, 0) // often too little
	if h.spoiled && h.number == 1 {
		m.DebtorID++
	} else if h.spoiled {
		m.DemurrageRate = -60
	}
	return m
}

func (s *side) rejectedTransfer(h happening) *smp.RejectedTransfer {
	m := rejectedTransfer(s.requested(h))
	m.CreditorID, m.DebtorID, m.CoordinatorID = s.creditor(h.account), s.debtor(h.account), int64(s.creditor(h.account))
	if h.spoiled {
		m.DebtorID++
	}
	return m
}

func (s *side) finalizedTransfer(h happening) *smp.FinalizedTransfer {
	m := finalizedTransfer(s.requested(h), h.amount)
	m.CreditorID, m.DebtorID, m.CoordinatorID = s.creditor(h.account), s.debtor(h.account), int64(s.creditor(h.account))
	m.TransferID = h.transfer
	if h.spoiled {
		m.DebtorID++
	}
	return m
}

func (s *side) participate(h happening) {
	s.Helper()
	by := collector
	switch {
	case h.account == selfTrader:
		by = s.creditor(h.account)
	case h.spoiled:
		by++
	}
	s.exec("INSERT INTO creditor_participation VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		s.creditor(h.account), s.debtor(h.account), h.turn, h.amount, by)
}

func (s *side) payment(h happening) lock.Payment {
	p := payment(h.amount)
	p.Transfer.CreditorID, p.Transfer.DebtorID = s.creditor(h.account), s.debtor(h.account)
	p.Transfer.CreationDate, p.Transfer.TransferNumber = created, h.number
	p.Note.TurnID = h.turn
	return p
}

// learn notes the requests that have been made.
func (s *side) learn() {
	s.Helper()
	for _, l := range s.locksOfRound() {
		ids := &s.requests[l.CreditorID-s.first]
		if len(*ids) == 0 || (*ids)[len(*ids)-1] < l.CoordinatorRequestID {
			*ids = append(*ids, l.CoordinatorRequestID)
		}
	}
}

func (s *side) locksOfRound() []workerdb.AccountLock {
	s.Helper()
	return slices.DeleteFunc(s.locks(), func(l workerdb.AccountLock) bool { return l.CreditorID < s.first })
}

func (s *side) remember(rest []smp.Message) {
	for _, m := range rest {
		switch m := m.(type) {
		case *smp.PreparedTransfer:
			m.CoordinatorRequestID = s.ordinal(m.CreditorID, m.CoordinatorRequestID)
		case *smp.RejectedTransfer:
			m.CoordinatorRequestID = s.ordinal(m.CreditorID, m.CoordinatorRequestID)
		case *smp.FinalizedTransfer:
			m.CoordinatorRequestID = s.ordinal(m.CreditorID, m.CoordinatorRequestID)
		}
		s.rest = append(s.rest, fmt.Sprintf("rest %s %+v", m.Type(), m))
	}
}

// ordinal tells which request of an account a number belongs to; a negative number belongs to none. The numbers that
// the two sides use are not the same.
func (s *side) ordinal(creditor swpt.CreditorID, request int64) int64 {
	if request < 0 {
		return request
	}
	return int64(slices.Index(s.requests[creditor-s.first], request))
}

// outcome describes all that is stored in the end, has been said, and has been left to others.
func (s *side) outcome() []string {
	s.Helper()
	lines := slices.Clone(s.rest)
	for _, l := range s.locksOfRound() {
		l.CoordinatorRequestID = s.ordinal(l.CreditorID, l.CoordinatorRequestID)
		lines = append(lines, fmt.Sprintf("lock %+v", plain(l)))
	}
	for _, m := range s.send() {
		m.CoordinatorRequestID = s.ordinal(m.CoordinatorID, m.CoordinatorRequestID)
		lines = append(lines, fmt.Sprintf("%v at %v", m, m.TS))
	}
	for _, f := range s.failed {
		lines = append(lines, "failed "+f)
	}
	lines = append(lines, fmt.Sprint("participations ", s.count("creditor_participation")))
	slices.Sort(lines)
	return lines
}
