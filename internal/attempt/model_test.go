package attempt_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A world is what surrounds the rules: the broker, an accounting authority, recipients, and the clock. It delivers
// messages late, in any order, in batches of any size, and several times; and it checks the invariants of section 7 of
// the chapter about transfers (M3 to M18) on everything that the rules say.
type world struct {
	*bench
	rt        *rapid.T
	tb        testing.TB
	now       time.Time
	collector swpt.CreditorID
	isQuiet   bool // nothing goes wrong any more

	toWorker, toAuthority []smp.Message
	delivered             [][]smp.Message

	owed       map[owed]float64               // all attempts, with their nominal amounts
	asked      map[int64]*smp.PrepareTransfer // by request ID
	askedFor   map[int64]owed
	committing map[int64]string // what has been said to commit a transfer, by its ID
	abandoned  map[owed]bool

	authority
}

// An owed is an attempt, by whom it is for.
type owed struct {
	creditor      swpt.CreditorID
	isDispatching bool
}

// The authority has one account that pays, the collector's.
type authority struct {
	prepared     map[int64]*smp.PreparedTransfer
	isFinalized  map[int64]bool // prepared transfers that do not exist any more: whether an amount was transferred
	paid         map[owed]int64
	rates        []interest.Change // newest first
	unannounced  int               // how many of them the worker does not know yet
	accounts     map[swpt.CreditorID]string
	lastTransfer int64
}

// Everything that is owed is paid once, as soon as nothing goes wrong any more, whatever has gone wrong before.
func TestInvariants(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	collectors := swpt.CreditorID(1000) // each round has one of its own in the one database
	rapid.Check(t, func(rt *rapid.T) {
		collectors++
		w := newWorld(t, rt, b, collectors)
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			w.step()
		}
		w.calmDown()
		w.checkEnd()
	})
}

func newWorld(tb testing.TB, rt *rapid.T, b *bench, collector swpt.CreditorID) *world {
	tb.Helper()
	w := &world{
		bench: b, rt: rt, tb: tb, now: start.Add(time.Hour), collector: collector,
		owed: map[owed]float64{}, asked: map[int64]*smp.PrepareTransfer{}, askedFor: map[int64]owed{},
		committing: map[int64]string{}, abandoned: map[owed]bool{},
		authority: authority{
			prepared: map[int64]*smp.PreparedTransfer{}, isFinalized: map[int64]bool{}, paid: map[owed]int64{},
			rates:    []interest.Change{{At: start.AddDate(-2, 0, 0), Rate: -5}},
			accounts: map[swpt.CreditorID]string{},
		},
	}
	for _, table := range []string{"transfer_attempt", "outbox"} { // of a round that has failed
		b.exec(tb, "DELETE FROM "+table)
	}
	b.applied = nil
	b.trigger.Now = func() time.Time { return w.now }
	b.trigger.Burst = rapid.IntRange(1, 4).Draw(rt, "burst")
	b.account(tb, collector, "X", w.rates[0].Rate)
	for i := range rapid.IntRange(1, 5).Draw(rt, "attempts") {
		row := changed(newAttempt(), func(row *workerdb.TransferAttempt) {
			row.CollectorID = collector
			row.CreditorID = 1000*collector + swpt.CreditorID(i/2)
			row.IsDispatching = i%2 == 0
			row.NominalAmount = rapid.SampledFrom([]float64{1, 100, 1e6, 1e6 + 0.5}).Draw(rt, "nominal amount")
			row.RescheduledFor = new(w.now.Add(healthy))
		})
		b.insert(tb, row)
		w.owed[owed{row.CreditorID, row.IsDispatching}] = row.NominalAmount
		w.toWorker = append(w.toWorker, requestOf(row))
	}
	return w
}

// step has something happen, which may go wrong.
func (w *world) step() {
	switch rapid.SampledFrom([]string{
		"worker", "worker", "worker", "authority", "authority", "again", "trigger", "time", "lose", "account", "rate",
		"announce",
	}).Draw(w.rt, "what happens") {
	case "worker":
		w.deliver(w.take(&w.toWorker))
	case "authority":
		for _, m := range w.take(&w.toAuthority) {
			w.authorityGets(m)
		}
	case "again":
		if len(w.delivered) > 0 {
			w.deliver(rapid.SampledFrom(w.delivered).Draw(w.rt, "batch"))
		}
	case "trigger":
		w.triggerAll()
	case "time":
		w.passTime(rapid.SampledFrom([]time.Duration{
			time.Second, time.Minute, time.Hour, 3 * time.Hour, 17 * time.Hour, day, 8 * day,
		}).Draw(w.rt, "time"))
	case "lose": // the authority is not connected
		w.toAuthority = slices.DeleteFunc(w.toAuthority, func(m smp.Message) bool {
			_, isLossy := m.(*smp.PrepareTransfer)
			return isLossy
		})
	case "account":
		creditor := 1000*w.collector + swpt.CreditorID(rapid.IntRange(0, 2).Draw(w.rt, "creditor"))
		w.openAccount(creditor)
	case "rate":
		w.rates = slices.Insert(w.rates, 0, interest.Change{At: w.now, Rate: rapid.Float64Range(-50, 10).Draw(w.rt, "rate")})
		w.unannounced++
		w.now = w.now.Add(time.Minute) // changes are far apart
	case "announce":
		w.announce()
	}
}

// take takes some messages, in any order, of which some stay to be delivered once more.
func (w *world) take(from *[]smp.Message) []smp.Message {
	if len(*from) == 0 {
		return nil
	}
	all := rapid.Permutation(*from).Draw(w.rt, "order")
	count := rapid.SampledFrom([]int{1, len(all), min(3, len(all))}).Draw(w.rt, "how many")
	taken := slices.Clone(all[:count])
	*from = slices.Clone(all[count:])
	if rapid.Bool().Draw(w.rt, "a copy remains") {
		*from = append(*from, taken[0])
	}
	return taken
}

// deliver gives a batch to the rules.
func (w *world) deliver(batch []smp.Message) {
	if len(batch) == 0 {
		return
	}
	w.delivered = append(w.delivered, batch)
	w.handle(w.tb, w.now, slices.Clone(batch)...)
	w.listen()
}

func (w *world) triggerAll() {
	w.triggerOnce(w.tb)
	w.listen()
}

// listen checks what has been said, and passes it on.
func (w *world) listen() {
	owner := map[int64]owed{}
	rows := w.stored(w.tb)
	for i := range rows {
		if request := rows[i].CoordinatorRequestID; request != nil {
			owner[*request] = owed{rows[i].CreditorID, rows[i].IsDispatching}
		}
	}
	for _, m := range w.sent(w.tb) {
		switch m := m.(type) {
		case *smp.PrepareTransfer:
			who, found := owner[m.CoordinatorRequestID]
			if !found {
				w.rt.Fatalf("request %d is nobody's", m.CoordinatorRequestID)
			}
			w.checkPrepare(m, who)
			w.toAuthority = append(w.toAuthority, m)
		case *smp.FinalizeTransfer:
			if m.CommittedAmount == 0 {
				w.checkDismissal(m)
			} else {
				w.checkCommit(m)
			}
			w.toAuthority = append(w.toAuthority, m)
		default:
			w.toWorker = append(w.toWorker, m)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.applied {
		switch m := m.(type) {
		case *smp.NothingToReceive:
			w.abandoned[owed{m.CollectorID, false}] = true
		case *smp.LockAbandoned:
			w.abandoned[owed{m.CreditorID, true}] = true
		}
	}
	w.applied = nil
}

// M7: whatever has been tried before has failed. M16: no rate is taken into account that is not known.
func (w *world) checkPrepare(m *smp.PrepareTransfer, who owed) {
	if w.asked[m.CoordinatorRequestID] != nil {
		w.rt.Fatalf("request %d is made again", m.CoordinatorRequestID)
	}
	for id := range w.committing {
		transferred, isFinalized := w.isFinalized[id]
		if request := w.requestOf(id); w.askedFor[request] == who && (!isFinalized || transferred) {
			w.rt.Fatalf("request %d is made while the outcome of transfer %d is open, or it was successful",
				m.CoordinatorRequestID, id)
		}
	}
	if want := w.rates[w.unannounced].At.Add(2 * time.Second); !m.FinalInterestRateTS.Equal(want) {
		w.rt.Fatalf("rates are relied on until %v, want %v", m.FinalInterestRateTS, want)
	}
	w.asked[m.CoordinatorRequestID], w.askedFor[m.CoordinatorRequestID] = m, who
}

// requestOf returns the request for which a transfer was prepared.
func (w *world) requestOf(transfer int64) int64 { return w.prepared[transfer].CoordinatorRequestID }

// M3, M6, M15, M18: a commit is always the same, and of what is left at the deadline, at the worst rate.
func (w *world) checkCommit(m *smp.FinalizeTransfer) {
	note, err := smp.ParseNote(m.TransferNote)
	if err != nil {
		w.rt.Fatal(err)
	}
	who := owed{note.Second, note.Kind == smp.Dispatching}
	prepare := w.asked[m.CoordinatorRequestID]
	if prepare == nil || w.askedFor[m.CoordinatorRequestID] != who || note.First != w.collector || note.TurnID != turn {
		w.rt.Fatalf("what is committed was not asked for: %+v", m)
	}
	said := *m
	said.TS = time.Time{}
	if before, found := w.committing[m.TransferID]; found && before != fmt.Sprint(said) {
		w.rt.Fatalf("the commit %v was %v before", said, before)
	}
	w.committing[m.TransferID] = fmt.Sprint(said)

	known := slices.DeleteFunc(slices.Clone(w.rates), func(c interest.Change) bool {
		return c.At.After(prepare.FinalInterestRateTS)
	})
	rate, _ := interest.Worst(known[0], known, start)
	deadline := prepare.TS.Add(time.Duration(prepare.MaxCommitDelay) * time.Second)
	left := w.owed[who] * demurrage.Remaining(min(rate, 0), deadline.Add(10*time.Minute).Sub(start)) * (1 - cut)
	if math.Abs(left-float64(m.CommittedAmount)-0.5) > 0.5+1e-6 || m.CommittedAmount > int64(w.owed[who]) {
		w.rt.Fatalf("the amount is %d of %v, of which %v is left", m.CommittedAmount, w.owed[who], left)
	}
}

// M6: while it is not known whether a commit was successful, the transfer is not dismissed.
func (w *world) checkDismissal(m *smp.FinalizeTransfer) {
	if _, isFinalized := w.isFinalized[m.TransferID]; w.committing[m.TransferID] != "" && !isFinalized {
		w.rt.Fatalf("transfer %d is dismissed after it has been committed", m.TransferID)
	}
}

// goesWrong decides whether the authority refuses something for a reason that nobody else can see.
func (w *world) goesWrong() (statusCode string, wrong bool) {
	if w.isQuiet {
		return "", false
	}
	code := rapid.SampledFrom([]string{
		"", "", "", "RECIPIENT_IS_UNREACHABLE", "SENDER_IS_UNREACHABLE", "INSUFFICIENT_AVAILABLE_AMOUNT",
	}).Draw(w.rt, "status code")
	return code, code != ""
}

func (w *world) authorityGets(m smp.Message) {
	switch m := m.(type) {
	case *smp.PrepareTransfer:
		w.prepare(m)
	case *smp.FinalizeTransfer:
		w.finalize(m)
	}
}

func (w *world) prepare(m *smp.PrepareTransfer) {
	code, wrong := w.goesWrong()
	if w.rates[0].At.After(m.FinalInterestRateTS) {
		code, wrong = "NEWER_INTEREST_RATE", true
	}
	if wrong {
		w.toWorker = append(w.toWorker, &smp.RejectedTransfer{
			DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
			CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, StatusCode: code, TS: w.now,
		})
		return
	}
	w.lastTransfer++
	transfer := &smp.PreparedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
		CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, TransferID: w.lastTransfer,
		Recipient: m.Recipient, PreparedAt: w.now, FinalInterestRateTS: m.FinalInterestRateTS, TS: w.now,
		Deadline: m.TS.Add(time.Duration(m.MaxCommitDelay) * time.Second),
	}
	w.prepared[transfer.TransferID] = transfer
	w.toWorker = append(w.toWorker, transfer)
}

func (w *world) finalize(m *smp.FinalizeTransfer) {
	transfer := w.prepared[m.TransferID]
	if _, isFinalized := w.isFinalized[m.TransferID]; isFinalized || transfer == nil {
		return
	}
	outcome := &smp.FinalizedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType, CoordinatorID: m.CoordinatorID,
		CoordinatorRequestID: m.CoordinatorRequestID, TransferID: m.TransferID, StatusCode: "OK",
		PreparedAt: w.now, TS: w.now,
	}
	code, wrong := "", false
	if m.CommittedAmount > 0 {
		code, wrong = w.goesWrong()
	}
	switch {
	case m.CommittedAmount == 0:
	case w.now.After(transfer.Deadline): // M15
		outcome.StatusCode = "TIMEOUT"
	case w.rates[0].At.After(transfer.FinalInterestRateTS): // M16
		outcome.StatusCode = "NEWER_INTEREST_RATE"
	case wrong:
		outcome.StatusCode = code
	default:
		who := w.askedFor[m.CoordinatorRequestID]
		if w.paid[who] != 0 { // M3
			w.rt.Fatalf("%v is paid twice", who)
		}
		w.paid[who] = m.CommittedAmount
		outcome.CommittedAmount = m.CommittedAmount
	}
	w.isFinalized[m.TransferID] = outcome.CommittedAmount > 0
	w.toWorker = append(w.toWorker, outcome)
}

// passTime lets time pass. The authority sends reminders of what has not been finalized for a week.
func (w *world) passTime(d time.Duration) {
	w.now = w.now.Add(d)
	for id := range w.lastTransfer {
		id++
		if _, isFinalized := w.isFinalized[id]; !isFinalized && w.now.Sub(w.prepared[id].TS) > 7*day {
			reminder := *w.prepared[id]
			reminder.TS = w.now
			w.prepared[id] = &reminder
			w.toWorker = append(w.toWorker, &reminder)
		}
	}
}

// openAccount gives a recipient an account with a new ID, or with the same one.
func (w *world) openAccount(creditor swpt.CreditorID) {
	id := rapid.SampledFrom([]string{"B", "C"}).Draw(w.rt, "account ID")
	w.exec(w.tb, `
		INSERT INTO trading_policy AS stored (creditor_id, debtor_id, account_id, latest_ledger_update_id)
		VALUES ($1, $2, $3, 1)
		ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET
			account_id = $3, latest_ledger_update_id = stored.latest_ledger_update_id + 1`, int64(creditor), int64(debtor), id)
	w.accounts[creditor] = id
}

// announce has the worker know about the next of the rates that it does not know.
func (w *world) announce() {
	if w.unannounced == 0 {
		return
	}
	w.unannounced--
	change := w.rates[w.unannounced]
	w.exec(w.tb, `UPDATE worker_account SET interest_rate = $2, last_interest_rate_change_ts = $3 WHERE creditor_id = $1`,
		int64(w.collector), change.Rate, change.At)
	w.exec(w.tb, "INSERT INTO interest_rate_change VALUES ($1, $2, $3, $4)",
		int64(w.collector), int64(debtor), change.At, change.Rate)
}

// calmDown delivers everything, and lets time pass, until nothing moves any more.
func (w *world) calmDown() {
	w.isQuiet = true
	for creditor := range swpt.CreditorID(3) {
		if creditor += 1000 * w.collector; w.accounts[creditor] == "" {
			w.openAccount(creditor)
		}
	}
	for w.unannounced > 0 {
		w.announce()
	}
	const tooLong = 100
	for range tooLong {
		for len(w.toWorker)+len(w.toAuthority) > 0 {
			messages := w.toAuthority
			w.toAuthority = nil
			for _, m := range messages {
				w.authorityGets(m)
			}
			messages = w.toWorker
			w.toWorker = nil
			w.deliver(messages)
		}
		rows := w.stored(w.tb)
		if len(rows) == 0 && len(w.prepared) == len(w.isFinalized) {
			return
		}
		pause := 8 * day // a reminder, or the end of waiting for an answer, is next
		for i := range rows {
			if until := rows[i].RescheduledFor; until != nil {
				pause = min(pause, max(0, until.Sub(w.now)))
			}
		}
		w.passTime(pause)
		w.triggerAll()
	}
	w.rt.Fatalf("this does not end:\n%s", describeAll(w.stored(w.tb)))
}

// M8, M9: there is nothing left to do, and everything has been paid once, or was not worth it.
func (w *world) checkEnd() {
	for who, nominal := range w.owed {
		if (w.paid[who] != 0) == w.abandoned[who] {
			w.rt.Errorf("%v has been paid %d, and abandoned: %t", who, w.paid[who], w.abandoned[who])
		}
		if w.abandoned[who] && nominal > 1 {
			w.rt.Errorf("%v of %v has been abandoned", nominal, who)
		}
	}
}
