package rulebook_test

import (
	"fmt"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A requestKey tells which PrepareTransfer is meant.
type requestKey struct{ coordinator, id int64 }

// An attemptKey tells which transfer of a collector is meant.
type attemptKey struct {
	collector, creditor swpt.CreditorID
	turn                int32
	debtor              swpt.DebtorID
	isDispatching       bool
}

// A statusKey tells which collector is meant in a turn.
type statusKey struct {
	collector swpt.CreditorID
	turn      int32
	debtor    swpt.DebtorID
}

// A tradeKey is a committed transfer of a turn: the note, and the currency.
type tradeKey struct {
	smp.Note
	debtor swpt.DebtorID
}

// A sight is what a worker's tables hold.
type sight struct {
	locks    map[accountKey]*workerdb.AccountLock
	attempts map[attemptKey]*workerdb.TransferAttempt
}

// A journal is what has been seen so far, to be checked against the invariants of section 7 of the chapter about
// transfers.
type journal struct {
	sights   map[*node]sight
	attempts map[attemptKey]*workerdb.TransferAttempt // as seen last
	statuses map[statusKey]*workerdb.DispatchingStatus

	asked      map[requestKey]*smp.PrepareTransfer
	requestsOf map[attemptKey][]requestKey
	committing map[transferKey]string // what has been said to commit
	transferOf map[requestKey]transferKey
	successes  map[requestKey]bool
	trades     map[tradeKey]int64
	discards   map[accountKey]int
}

func newJournal() journal {
	return journal{
		sights: map[*node]sight{}, attempts: map[attemptKey]*workerdb.TransferAttempt{},
		statuses: map[statusKey]*workerdb.DispatchingStatus{},
		asked:    map[requestKey]*smp.PrepareTransfer{}, requestsOf: map[attemptKey][]requestKey{},
		committing: map[transferKey]string{}, transferOf: map[requestKey]transferKey{}, successes: map[requestKey]bool{},
		trades: map[tradeKey]int64{}, discards: map[accountKey]int{},
	}
}

// look looks at a worker's tables, checks them, and returns what they held before.
func (w *world) look(n *node) (before sight) {
	before = w.sights[n]
	s := sight{map[accountKey]*workerdb.AccountLock{}, map[attemptKey]*workerdb.TransferAttempt{}}
	for _, row := range rows[workerdb.AccountLock](w, n, `SELECT * FROM account_lock`) {
		s.locks[accountKey{row.DebtorID, row.CreditorID}] = &row
	}
	attempts := rows[workerdb.TransferAttempt](w, n, `SELECT * FROM transfer_attempt`)
	for i := range attempts {
		row := &attempts[i]
		key := attemptKey{row.CollectorID, row.CreditorID, row.TurnID, row.DebtorID, row.IsDispatching}
		s.attempts[key] = row
		if known := w.journal.attempts[key]; known != nil && (before.attempts[key] == nil || !known.InsertedAt.Equal(row.InsertedAt)) {
			w.fail.Fatalf("M10: there is a second attempt of %+v", key)
		}
		w.journal.attempts[key] = row
	}
	for _, row := range rows[workerdb.DispatchingStatus](w, n, `SELECT * FROM dispatching_status`) {
		w.statuses[statusKey{row.CollectorID, row.TurnID, row.DebtorID}] = &row
		w.checkStatus(&row)
	}
	w.sights[n] = s
	return before
}

// amounts returns what a collector has to do, and has done.
func amounts(row *workerdb.DispatchingStatus) settlement.Amounts {
	a := settlement.Amounts{
		ToCollect: row.AmountToCollect, ToSend: row.AmountToSend, ToReceive: row.AmountToReceive, ToDispatch: row.AmountToDispatch,
	}
	if row.TotalCollectedAmount != nil {
		a.Collected = *row.TotalCollectedAmount
	}
	if row.TotalReceivedAmount != nil {
		a.Received = *row.TotalReceivedAmount
	}
	return a
}

// toSend returns how much of what a collector has to send there is: what is missing is missing there first.
func toSend(a settlement.Amounts) int64 { return max(0, a.ToSend-(a.ToCollect-a.Collected)) }

// toDispatch returns how much of what a collector has to dispatch there is.
func toDispatch(a settlement.Amounts) int64 {
	hoarded := a.ToSend - toSend(a)
	return max(0, a.ToDispatch-(a.ToCollect-a.Collected)+hoarded-max(0, a.ToReceive-a.Received))
}

// M2, M24: what collectors believe to have got has been paid.
func (w *world) checkStatus(row *workerdb.DispatchingStatus) {
	a, key := amounts(row), statusKey{row.CollectorID, row.TurnID, row.DebtorID}
	if a.Collected > a.ToCollect || a.ToSend > a.ToCollect {
		w.fail.Fatalf("M24: a collector has the amounts %+v", a)
	}
	if in := w.collected(key); a.Collected > in {
		w.fail.Fatalf("M2: %+v believes to have collected %d, and has got %d", key, a.Collected, in)
	}
	if in := w.received(key); a.Received > in {
		w.fail.Fatalf("M2: %+v believes to have received %d, and has got %d", key, a.Received, in)
	}
}

// sum adds up the trades that a collector has a part in.
func (w *world) sum(key statusKey, kind smp.NoteKind, isRecipient bool) (sum int64) {
	for t, amount := range w.trades {
		collector := t.First
		if kind == smp.Sending && isRecipient {
			collector = t.Second
		}
		if t.Kind == kind && t.TurnID == key.turn && t.debtor == key.debtor && collector == key.collector {
			sum += amount
		}
	}
	return sum
}

func (w *world) collected(key statusKey) int64  { return w.sum(key, smp.Collecting, true) }
func (w *world) received(key statusKey) int64   { return w.sum(key, smp.Sending, true) }
func (w *world) sent(key statusKey) int64       { return w.sum(key, smp.Sending, false) }
func (w *world) dispatched(key statusKey) int64 { return w.sum(key, smp.Dispatching, false) }

// M7, M13, M18, M20: what is asked for is asked for once, and with reason.
func (w *world) checkPrepare(n *node, m *smp.PrepareTransfer, before sight, batch []smp.Message) {
	request := requestKey{m.CoordinatorID, m.CoordinatorRequestID}
	switch {
	case w.asked[request] != nil:
		w.fail.Fatalf("M6: request %+v is made again", request)
	case m.MinLockedAmount > m.MaxLockedAmount || m.CoordinatorID != int64(m.CreditorID) || m.CoordinatorType != "agent":
		w.fail.Fatalf("M18: %+v", m)
	case w.byID[m.Recipient] == nil || w.byID[m.Recipient].creditor == m.CreditorID || w.byID[m.Recipient].debtor != m.DebtorID:
		w.fail.Fatalf("M20: %+v", m)
	}
	w.asked[request] = m
	now := w.sights[n]
	key := accountKey{m.DebtorID, m.CreditorID}
	if l := now.locks[key]; l != nil && l.CoordinatorRequestID == m.CoordinatorRequestID {
		w.checkLocking(m, l, before.locks[key], batch)
		return
	}
	for key, a := range now.attempts {
		if a.CoordinatorRequestID != nil && (requestKey{int64(key.collector), *a.CoordinatorRequestID}) == request {
			w.checkAttempt(key, request, m)
			return
		}
	}
	w.fail.Fatalf("M7: request %+v is nobody's", request)
}

func (w *world) checkLocking(m *smp.PrepareTransfer, l, before *workerdb.AccountLock, batch []smp.Message) {
	if w.accounts[accountKey{m.DebtorID, l.CollectorID}] != w.byID[m.Recipient] || l.CollectorID > lastCollector {
		w.fail.Fatalf("M20: the transfer of %+v goes to %s", l, m.Recipient)
	}
	if l.Amount > 0 && m.MaxLockedAmount != 0 {
		w.fail.Fatalf("M18: a buyer has to lock %d", m.MaxLockedAmount)
	}
	if before == nil {
		return
	}
	if before.ReleasedAt == nil {
		w.fail.Fatalf("M13: %+v has been locked already", l)
	}
	for _, told := range batch {
		if o, isOffer := told.(*smp.CandidateOffer); isOffer && o.CreditorID == m.CreditorID && o.DebtorID == m.DebtorID &&
			o.LastTransferNumber >= *before.AccountLastTransferNumber {
			return
		}
	}
	w.fail.Fatalf("M13: %+v is locked before its ledger includes the last trade", l)
}

// M7: no attempt is made while another one may succeed, or after one has.
func (w *world) checkAttempt(key attemptKey, request requestKey, m *smp.PrepareTransfer) {
	for _, former := range w.requestsOf[key] {
		prepare := w.asked[former]
		transfer, isCommitting := w.transferOf[former]
		wasCommitted, isOver := w.outcomes[transfer]
		switch {
		case isCommitting && !isOver, isCommitting && wasCommitted, w.successes[former]:
			w.fail.Fatalf("M7: %+v is attempted again; %+v has been committed or may be", key, former)
		case !isCommitting && w.hasPrepared(former) && !w.wasRejected(former) &&
			!w.clock.After(prepare.TS.Add(time.Duration(prepare.MaxCommitDelay)*time.Second)):
			w.fail.Fatalf("M7: %+v is attempted again before the deadline of %+v", key, former)
		}
	}
	w.requestsOf[key] = append(w.requestsOf[key], request)
	if want := w.accounts[accountKey{key.debtor, key.creditor}]; w.byID[m.Recipient] != want {
		w.fail.Fatalf("%+v is paid to %s", key, m.Recipient)
	}
}

// hasPrepared reports whether a transfer waits for its commit.
func (w *world) hasPrepared(request requestKey) bool {
	for _, h := range w.holds {
		if (requestKey{h.prepared.CoordinatorID, h.prepared.CoordinatorRequestID}) == request {
			return true
		}
	}
	return false
}

// wasRejected reports whether a request has been rejected. There may be more copies of it.
func (w *world) wasRejected(request requestKey) bool {
	for _, m := range w.delivered {
		if r, ok := m.(*smp.RejectedTransfer); ok && (requestKey{r.CoordinatorID, r.CoordinatorRequestID}) == request {
			return true
		}
	}
	return false
}

// M6, M18, M22: commits are always the same, and are not taken back.
func (w *world) checkFinalize(m *smp.FinalizeTransfer) {
	key := transferKey{accountKey{m.DebtorID, m.CreditorID}, m.TransferID}
	_, isOver := w.outcomes[key]
	if m.CommittedAmount == 0 {
		if w.committing[key] != "" && !isOver {
			w.fail.Fatalf("M6: %+v is dismissed after it has been committed", key)
		}
		return
	}
	note, err := smp.ParseNote(m.TransferNote)
	if err != nil || note.String() != m.TransferNote || len(m.TransferNote) > 80 || m.TransferNoteFormat != smp.NoteFormat ||
		note.Sender() != m.CreditorID {
		w.fail.Fatalf("M22: %v in %+v", err, m)
	}
	said := *m
	said.TS = time.Time{}
	if text := fmt.Sprint(said); w.committing[key] == "" {
		w.committing[key] = text
	} else if w.committing[key] != text {
		w.fail.Fatalf("M6: the commit %s was %s before", text, w.committing[key])
	}
	w.transferOf[requestKey{m.CoordinatorID, m.CoordinatorRequestID}] = key
}

// M19: only accounts that nobody needs are discarded.
func (w *world) checkConfigure(m *smp.ConfigureAccount) {
	if m.ConfigFlags != 1 || m.NegligibleAmount != huge || m.CreditorID != lastCollector {
		w.fail.Fatalf("M19: %+v", m)
	}
	w.discards[accountKey{m.DebtorID, m.CreditorID}]++
}

// checkCommitted checks a transfer when the authority commits it: M1, M2, M3, M4, M6.
func (w *world) checkCommitted(h *hold, m *smp.FinalizeTransfer) {
	request := requestKey{m.CoordinatorID, m.CoordinatorRequestID}
	if w.successes[request] {
		w.fail.Fatalf("M6: request %+v is committed twice", request)
	}
	w.successes[request] = true
	note, err := smp.ParseNote(m.TransferNote)
	if err != nil {
		w.fail.Fatal(err)
	}
	trade := tradeKey{note, m.DebtorID}
	if w.trades[trade] != 0 {
		w.fail.Fatalf("M3: %+v is paid twice", trade)
	}
	if recipient := w.byID[h.prepared.Recipient]; recipient.creditor != note.Recipient() {
		w.fail.Fatalf("%+v is paid to %+v", trade, recipient.accountKey)
	}
	w.trades[trade] = m.CommittedAmount
	d := w.decisions[note.TurnID]
	if d == nil {
		w.fail.Fatalf("M4: %+v is paid before the turn is decided", trade)
	}
	switch note.Kind {
	case smp.Collecting:
		w.checkDebit(d, trade, h, m.CommittedAmount)
	case smp.Sending:
		w.checkPayment(trade, d.flows[flow{m.DebtorID, note.First, note.Second}], m.CommittedAmount, false)
	case smp.Dispatching:
		w.checkPayment(trade, d.givings[accountKey{m.DebtorID, note.Second}].amount, m.CommittedAmount, true)
	}
	w.checkFunds(trade)
}

// M4: sellers pay what has been decided, and no more than they have offered.
func (w *world) checkDebit(d *decision, trade tradeKey, h *hold, amount int64) {
	key := accountKey{trade.debtor, trade.Second}
	taking := d.takings[key]
	if want := min(taking.amount, d.sales[key]); amount != want || amount > h.prepared.LockedAmount {
		w.fail.Fatalf("M4: %+v pays %d; want %d, of %d locked", key, amount, want, h.prepared.LockedAmount)
	}
	if trade.First != taking.collector {
		w.fail.Fatalf("M4: %+v pays to %d, want %d", key, trade.First, taking.collector)
	}
}

// M3: collectors pay no more than has been decided.
func (w *world) checkPayment(trade tradeKey, decided, amount int64, isDispatching bool) {
	key := attemptKey{trade.First, trade.Second, trade.TurnID, trade.debtor, isDispatching}
	a := w.journal.attempts[key]
	if a == nil || float64(amount) > math.Floor(a.NominalAmount) || a.NominalAmount > float64(decided) {
		w.fail.Fatalf("M3: %d are paid for %+v; decided were %d, %+v", amount, key, decided, a)
	}
}

// M1, M2: nobody pays with somebody else's tokens.
func (w *world) checkFunds(trade tradeKey) {
	var in, out int64
	for t, amount := range w.trades {
		switch {
		case t.TurnID != trade.TurnID || t.debtor != trade.debtor:
		case t.Kind == smp.Collecting:
			in += amount
		case t.Kind == smp.Dispatching:
			out += amount
		}
	}
	if out > in {
		w.fail.Fatalf("M1: after %+v, %d are dispatched, and %d collected", trade, out, in)
	}
	if trade.Kind == smp.Collecting {
		return
	}
	key := statusKey{trade.First, trade.TurnID, trade.debtor}
	status := w.statuses[key]
	if status == nil {
		w.fail.Fatalf("M2: %+v pays without having anything to do", key)
	}
	a := amounts(status)
	if sent := w.sent(key); sent > toSend(a) || sent > w.collected(key) {
		w.fail.Fatalf("M2: %+v sends %d of %+v", key, sent, a)
	}
	if dispatched := w.dispatched(key); dispatched > toDispatch(a) ||
		dispatched+w.sent(key) > w.collected(key)+w.received(key) {
		w.fail.Fatalf("M2: %+v dispatches %d of %+v", key, dispatched, a)
	}
}

// M14: collectors can pay what they want to.
func (w *world) checkInsufficient(sender *account, why string) {
	if sender.creditor <= lastCollector {
		w.fail.Fatalf("M14: collector %+v cannot pay: %s", sender.accountKey, why)
	}
}
