package lock_test

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
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

// Traders offer, an accounting authority answers, the solver decides, and all messages are repeated, mixed up, and some
// lost. Whatever happens: who is not asked to sell pays nothing, who is, pays what has been decided, once, and no more
// than was locked (M4); what the service has told to commit it does not dismiss before the outcome is known (M6); in
// the end no transfer remains prepared (M8) and no lock remains (M12), however often messages have come (M9); and an
// account is offered again only when its ledger includes all that was traded before (M13).
func TestMoney(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, workerdbtest.New(t))
	w.insertCollector(debtor, collector)
	w.insertCollector(debtor, collector+1)
	turn := int32(0)
	trader := swpt.CreditorID(1)
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		m := &market{
			world: w, rt: rt, random: rand.New(rand.NewPCG(seed, 0)), first: trader,
			transfers: map[transferKey]*transfer{}, decided: map[part]int64{}, basis: map[part]int64{},
			debited: map[part]int64{}, failures: map[part]bool{},
		}
		trader += traders
		w.failed = nil
		for range 2 {
			turn++
			m.trade(turn)
		}
		m.calmDown()
		m.mustBeSettled()
	})
}

const traders = 4

// A market is everything that surrounds the rules: traders, the solver, an accounting authority, and messages on their
// way.
type market struct {
	*world
	rt     *rapid.T
	random *rand.Rand
	at     time.Time
	calm   bool // nothing is lost or repeated any more, and no commit fails

	first    swpt.CreditorID
	ledgers  [traders]ledger
	inFlight []parcel // to the worker

	transfers   map[transferKey]*transfer
	transferIDs int64
	decided     map[part]int64 // by the solver
	basis       map[part]int64 // the last transfer number of the ledger behind an offer
	debited     map[part]int64
	failures    map[part]bool // commits that have failed
}

// A part is a trader's part in a turn.
type part struct {
	trader swpt.CreditorID
	turn   int32
}

// A ledger is what the accounting authority, and with some delay the policy, know of an account.
type ledger struct {
	number, lastTrade int64
	known             int64
}

type transferKey struct {
	trader swpt.CreditorID
	id     int64
}

// A transfer is prepared at the accounting authority.
type transfer struct {
	request, locked int64
	told            int64 // to commit
	finalized       bool
	message         *smp.PreparedTransfer
}

// A parcel is a message that will arrive so many times.
type parcel struct {
	content any
	copies  int
}

func (m *market) post(content any) {
	copies := 1
	if !m.calm {
		copies += m.random.IntN(3)
	}
	m.inFlight = append(m.inFlight, parcel{content, copies})
}

// sometimes is true once in n times, unless it is time to calm down.
func (m *market) sometimes(n int) bool { return !m.calm && m.random.IntN(n) == 0 }

func (m *market) ledger(trader swpt.CreditorID) *ledger { return &m.ledgers[trader-m.first] }

// trade runs a turn. Many of its messages are still on their way when it ends.
func (m *market) trade(turn int32) {
	m.at = began.Add(time.Duration(turn) * day)
	deadline := m.at.Add(30 * day)
	m.insertTurn(turn, 2, 5, &deadline)
	for i := range m.ledgers {
		trader := m.first + swpt.CreditorID(i)
		l := &m.ledgers[i]
		l.known += m.random.Int64N(l.number - l.known + 1)
		m.basis[part{trader, turn}] = l.known
		o := offer(m.random.Int64N(5000) + minTradeAmount)
		if m.random.IntN(3) > 0 {
			o.Amount = -o.Amount
		}
		o.CreditorID, o.TurnID, o.LastTransferNumber = trader, turn, l.known
		m.post(o)
	}
	m.shake(5)
	m.decide(turn)
	m.shake(5)
}

// decide closes a turn, and decides about those that have been locked in time.
func (m *market) decide(turn int32) {
	m.exec("UPDATE worker_turn SET phase = 3, subphase = 5 WHERE turn_id = $1", turn)
	for _, l := range m.locks() {
		if l.TurnID != turn {
			continue
		}
		m.post(&smp.ReviseAccountLock{CreditorID: l.CreditorID, DebtorID: debtor, TurnID: turn, TS: m.at})
		if l.TransferID == nil || l.FinalizedAt != nil || l.Amount == 0 || l.Amount == 1 || m.random.IntN(3) == 0 {
			continue
		}
		amount, by := -1-m.random.Int64N(max(-l.Amount, 1)), l.CollectorID
		if l.Amount > 0 {
			amount, by = 2+m.random.Int64N(l.Amount-1), collector+swpt.CreditorID(m.random.IntN(2))
		}
		m.decided[part{l.CreditorID, turn}] = amount
		m.exec("INSERT INTO creditor_participation VALUES ($1, $2, $3, $4, $5)", l.CreditorID, debtor, turn, amount, by)
		switch {
		case amount < 0:
		case m.random.IntN(3) == 0:
			m.post(&smp.LockAbandoned{CreditorID: l.CreditorID, DebtorID: debtor, TurnID: turn, TS: m.at})
		default:
			m.post(received{m.booked(l.CreditorID, turn, max(1, amount-5))})
		}
	}
}

// booked enters a trade in a ledger, and returns what the accounting authority tells of it.
func (m *market) booked(trader swpt.CreditorID, turn int32, amount int64) lock.Payment {
	l := m.ledger(trader)
	l.number += 1 + m.random.Int64N(3)
	l.lastTrade = l.number
	return lock.Payment{
		Transfer: &smp.AccountTransfer{
			DebtorID: debtor, CreditorID: trader, CreationDate: created, TransferNumber: l.number, CoordinatorType: "agent",
			AcquiredAmount: amount, TS: m.at,
		},
		Note: smp.Note{TurnID: turn},
	}
}

// shake delivers some messages, in a few batches.
func (m *market) shake(batches int) {
	for range batches {
		m.at = m.at.Add(time.Minute)
		m.deliver(1 + m.random.IntN(6))
	}
}

// deliver has the rules handle up to n messages in one transaction, and the accounting authority what comes of it.
func (m *market) deliver(n int) {
	var batch []any
	for range min(n, len(m.inFlight)) {
		i := m.random.IntN(len(m.inFlight))
		batch = append(batch, m.inFlight[i].content)
		m.inFlight[i].copies--
		if m.inFlight[i].copies == 0 {
			m.inFlight[i] = m.inFlight[len(m.inFlight)-1]
			m.inFlight = m.inFlight[:len(m.inFlight)-1]
		}
	}
	var unknown []smp.Message
	m.inTx(func(ctx context.Context, tx *workerdb.Tx) (err error) {
		unknown, err = handleAll(ctx, tx, m.rules, m.at, batch)
		return err
	})
	for _, message := range unknown {
		if p, isPrepared := message.(*smp.PreparedTransfer); isPrepared { // attempts to transfer would dismiss it
			m.finalize(&sent{CreditorID: p.CreditorID, TransferID: p.TransferID, CoordinatorRequestID: p.CoordinatorRequestID})
		}
	}
	for _, s := range m.send() {
		switch s.Type {
		case smp.TypePrepareTransfer:
			m.prepare(s)
		case smp.TypeFinalizeTransfer:
			m.finalize(s)
		}
	}
}

// handleAll applies a batch of all types, as the inbox does.
func handleAll(
	ctx context.Context, tx *workerdb.Tx, r *lock.Rules, now time.Time, batch []any,
) (unknown []smp.Message, err error) {
	for _, b := range []any{
		only[*smp.CandidateOffer](batch), only[*smp.PreparedTransfer](batch), only[*smp.RejectedTransfer](batch),
		only[*smp.FinalizedTransfer](batch), only[*smp.ReviseAccountLock](batch),
		slices.Concat(only[paid](batch)...), slices.Concat(only[received](batch)...),
		only[*smp.LockAbandoned](batch),
	} {
		if reflect.ValueOf(b).Len() == 0 {
			continue
		}
		rest, err := apply(ctx, tx, r, now, b)
		if err != nil {
			return nil, err
		}
		unknown = append(unknown, rest...)
	}
	return unknown, nil
}

func only[M any](batch []any) (messages []M) {
	for _, m := range batch {
		if m, ok := m.(M); ok {
			messages = append(messages, m)
		}
	}
	return messages
}

// prepare is what the accounting authority does with a PrepareTransfer. Each copy is handled for itself.
func (m *market) prepare(s *sent) {
	if l := m.ledger(s.CreditorID); m.basisOf(s) < l.lastTrade {
		m.rt.Fatalf("trader %d is offered with the ledger at %d, although it has traded at %d",
			s.CreditorID, m.basisOf(s), l.lastTrade)
	}
	for key, t := range m.transfers {
		if key.trader == s.CreditorID && t.told > 0 && !t.finalized {
			m.rt.Fatalf("trader %d is offered although transfer %d may yet be committed", s.CreditorID, key.id)
		}
	}
	if m.sometimes(8) {
		return // lost
	}
	for range 1 + m.random.IntN(2) {
		if m.sometimes(6) {
			m.post(&smp.RejectedTransfer{
				DebtorID: debtor, CreditorID: s.CreditorID, CoordinatorType: "agent", CoordinatorID: int64(s.CoordinatorID),
				CoordinatorRequestID: s.CoordinatorRequestID, StatusCode: "INSUFFICIENT_AVAILABLE_AMOUNT", TS: m.at,
			})
			continue
		}
		m.transferIDs++
		t := &transfer{request: s.CoordinatorRequestID, locked: s.MinLockedAmount}
		if spread := s.MaxLockedAmount - s.MinLockedAmount; spread > 0 && m.random.IntN(2) == 0 {
			t.locked += m.random.Int64N(spread)
		} else {
			t.locked = s.MaxLockedAmount
		}
		t.message = &smp.PreparedTransfer{
			DebtorID: debtor, CreditorID: s.CreditorID, CoordinatorType: "agent", CoordinatorID: int64(s.CoordinatorID),
			CoordinatorRequestID: s.CoordinatorRequestID, TransferID: m.transferIDs, LockedAmount: t.locked,
			Recipient: s.Recipient, PreparedAt: m.at, Deadline: m.at.Add(60 * day), FinalInterestRateTS: m.at,
			DemurrageRate: -float64(m.random.IntN(51)), TS: m.at,
		}
		if m.sometimes(10) {
			t.message.Deadline = m.at.Add(day)
		}
		m.transfers[transferKey{s.CreditorID, m.transferIDs}] = t
		m.post(t.message)
	}
}

// basisOf returns the last transfer number behind the offer that has led to a request.
func (m *market) basisOf(s *sent) int64 {
	for _, l := range m.locks() {
		if l.CoordinatorRequestID == s.CoordinatorRequestID {
			return m.basis[part{l.CreditorID, l.TurnID}]
		}
	}
	return math.MaxInt64 // deleted in the same batch
}

// finalize is what the accounting authority does with a FinalizeTransfer.
func (m *market) finalize(s *sent) {
	t := m.transfers[transferKey{s.CreditorID, s.TransferID}]
	if t == nil || t.request != s.CoordinatorRequestID {
		m.rt.Fatalf("nobody knows %v", s)
	}
	if t.finalized {
		return
	}
	if t.told > 0 && t.told != s.CommittedAmount {
		m.rt.Fatalf("transfer %d was to be committed with %d, and now with %d", s.TransferID, t.told, s.CommittedAmount)
	}
	t.told = s.CommittedAmount
	if m.sometimes(8) {
		return // still on its way; the reminder brings it again, or it gets lost with the connection
	}
	t.finalized = true
	f := &smp.FinalizedTransfer{
		DebtorID: debtor, CreditorID: s.CreditorID, CoordinatorType: "agent", CoordinatorID: int64(s.CreditorID),
		CoordinatorRequestID: s.CoordinatorRequestID, TransferID: s.TransferID, StatusCode: "OK",
		CommittedAmount: s.CommittedAmount, PreparedAt: m.at, TS: m.at,
	}
	if s.CommittedAmount > 0 {
		m.commit(s, t, f)
	}
	m.post(f)
}

// commit moves tokens, or fails to do so.
func (m *market) commit(s *sent, t *transfer, f *smp.FinalizedTransfer) {
	note, err := smp.ParseNote(s.TransferNote)
	if err != nil || note.Kind != smp.Collecting || note.Second != s.CreditorID {
		m.rt.Fatalf("the note is %q", s.TransferNote)
	}
	p := part{s.CreditorID, note.TurnID}
	if s.CommittedAmount > t.locked || s.CommittedAmount != -m.decided[p] || m.debited[p] > 0 {
		m.rt.Fatalf("committed is %d: locked were %d, decided was %d, and %d has been debited before",
			s.CommittedAmount, t.locked, m.decided[p], m.debited[p])
	}
	if m.sometimes(4) {
		f.CommittedAmount, f.StatusCode = 0, "TIMEOUT"
		m.failures[p] = true
		return
	}
	m.debited[p] = s.CommittedAmount
	m.post(paid{m.booked(s.CreditorID, note.TurnID, -s.CommittedAmount)})
}

// calmDown delivers everything, and has the accounting authority send reminders, until nothing more comes of it.
func (m *market) calmDown() {
	m.calm = true
	for range 4 {
		for len(m.inFlight) > 0 {
			m.at = m.at.Add(time.Minute)
			m.deliver(20)
		}
		for _, t := range m.transfers {
			if !t.finalized {
				m.post(t.message)
			}
		}
	}
}

func (m *market) mustBeSettled() {
	if len(m.inFlight) > 0 {
		m.rt.Fatalf("messages go on and on: %+v", m.inFlight)
	}
	for key, t := range m.transfers {
		if !t.finalized {
			m.rt.Fatalf("transfer %d is still prepared: %+v", key.id, t)
		}
	}
	for _, l := range m.locks() {
		if l.ReleasedAt == nil {
			m.rt.Fatalf("there is a lock that nothing will become of: %+v", plain(l))
		}
	}
	if n := m.count("creditor_participation"); n > 0 {
		m.rt.Fatalf("%d participations have been left", n)
	}
	for p, amount := range m.decided {
		if amount < 0 && m.debited[p] != -amount && !m.failures[p] {
			m.rt.Fatalf("trader %d should have paid %d in turn %d, and has paid %d", p.trader, -amount, p.turn, m.debited[p])
		}
	}
	if len(m.failed) != len(m.failures) {
		m.rt.Fatalf("%d commits have failed, collectors know of %q", len(m.failures), m.failed)
	}
	for p := range m.failures {
		if m.debited[p] > 0 {
			m.rt.Fatalf("trader %d has paid after all", p.trader)
		}
	}
}
