package rulebook_test

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/sweep"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// settle delivers everything, until nobody has anything to say.
func (w *world) settle() {
	const tooLong = 200
	for range tooLong {
		w.mirrorAll()
		for _, n := range w.nodes {
			w.roll(n)
			w.triggerAll(n)
		}
		if !w.exchange() {
			return
		}
	}
	w.fail.Fatal("M12: they never stop talking")
}

// exchange delivers everything that is under way, once. It reports whether there was anything.
func (w *world) exchange() (busy bool) {
	if !w.quiet && rapid.Bool().Draw(w.rt, "the authority is slow") {
		busy = w.tellWorkers()
		return w.tellAuthority() || busy
	}
	busy = w.tellAuthority()
	return w.tellWorkers() || busy
}

func (w *world) tellAuthority() (busy bool) {
	busy = len(w.requests)+len(w.inFlight) > 0
	requests := w.doubled(w.requests)
	w.requests = nil
	for _, m := range requests {
		w.handle(m)
	}
	for len(w.inFlight) > 0 {
		w.credit(0)
	}
	return busy
}

func (w *world) tellWorkers() (busy bool) {
	for number, n := range w.nodes {
		batch := w.doubled(w.mail[number])
		w.mail[number] = nil
		for messages := range slices.Chunk(batch, 500) {
			busy = true
			w.deliver(n, messages, false)
			w.delivered = append(w.delivered, messages...)
		}
	}
	return busy
}

func (w *world) doubled(messages []smp.Message) []smp.Message {
	if w.faults.areDoubled {
		return slices.Concat(messages, messages)
	}
	return messages
}

// What is left of turns. A participation may stay, without effect, when a buyer's lock is abandoned before the worker
// knows of the decision: then, nothing is there to be revised.
const leftQuery = `
	SELECT 'account_lock' AS name FROM account_lock WHERE released_at IS NULL
	UNION ALL SELECT 'worker_collecting' FROM worker_collecting
	UNION ALL SELECT 'worker_sending' FROM worker_sending
	UNION ALL SELECT 'worker_receiving' FROM worker_receiving
	UNION ALL SELECT 'worker_dispatching' FROM worker_dispatching
	UNION ALL SELECT 'dispatching_status' FROM dispatching_status
	UNION ALL SELECT 'transfer_attempt' FROM transfer_attempt`

type left struct{ Name string }

// left returns what has not come to an end.
func (w *world) left() (all []left) {
	for _, n := range w.nodes {
		all = append(all, rows[left](w, n, leftQuery)...)
	}
	for range w.holds {
		all = append(all, left{"a prepared transfer"})
	}
	return all
}

// calmDown lets time pass, with all peers answering, until nothing is left or too much time has passed.
func (w *world) calmDown() {
	w.quiet = true
	if !w.faults.areHard {
		for _, acc := range w.accounts {
			acc.isGone = false
		}
	}
	w.settle()
	for deadline := w.clock.Add(50 * day); len(w.left()) > 0 && w.clock.Before(deadline); {
		w.passTime(w.untilNext())
		w.settle()
	}
}

// untilNext returns how long nothing is going to happen by itself, if that is shorter than a reminder takes.
func (w *world) untilNext() time.Duration {
	pause := reminderAfter + time.Hour
	for _, s := range w.sights {
		for _, a := range s.attempts {
			if a.RescheduledFor != nil {
				pause = min(pause, max(time.Second, a.RescheduledFor.Sub(w.clock)))
			}
		}
	}
	return pause
}

// giveUp lets a year pass, in which nobody waits any more for what has not come.
func (w *world) giveUp() {
	for _, pause := range []time.Duration{40 * day, 90 * day, 40 * day, 8 * day, 100 * day, 80 * day, 40 * day} {
		w.passTime(pause)
		for _, n := range w.nodes {
			w.sweep(n)
		}
		w.settle()
	}
}

// sweep deletes what nobody waits for any more.
func (w *world) sweep(n *node) {
	metrics := sweep.NewMetrics(prometheus.NewRegistry())
	for _, table := range []string{
		"worker_collectings", "worker_sendings", "worker_receivings", "worker_dispatchings", "transfer_attempts",
		"creditor_participations", "account_locks",
	} {
		sweeper := sweep.Sweeper{
			DB: n.DB, Table: table, Pace: config.Sweep{Duration: 7 * day, BlocksPerQuery: 1000, Beat: time.Millisecond},
			Ages: sweep.Ages{
				DebtorInfo: settings.DebtorInfo, CommitPeriod: settings.CommitPeriod, Slacks: settings.Slacks,
				Silence: settings.Silence, AccountLocks: settings.AccountLocks,
			},
			Realm: n.realm, DismissLocks: n.locks.DismissOverdue, Now: func() time.Time { return w.clock },
			Int64N: func(int64) int64 { return 0 }, Metrics: metrics,
		}
		if err := sweeper.RunOnce(w.tb.Context()); err != nil {
			w.fail.Fatal(err)
		}
	}
	w.listen(n, nil)
}

// checkEnd checks what can be told when nothing is left: C1, M17.
func (w *world) checkEnd() {
	for _, debtor := range w.debtors {
		if total := w.total(debtor); total != w.totals[debtor] {
			w.fail.Fatalf("C1: there are %d tokens of currency %d, and have been %d", total, debtor, w.totals[debtor])
		}
		for _, collector := range w.collectors[debtor] {
			key := accountKey{debtor, collector}
			acc := w.accounts[key]
			if acc.balance(w.clock) < 0 || w.faults.areFlat && acc.principal < w.initial[key] {
				w.fail.Fatalf("M17: collector %+v has %d, and had %d", key, acc.principal, w.initial[key])
			}
		}
	}
}

// checkOutcome checks that everybody has got what is due: what was decided, less what others have not paid. How
// messages have been delivered makes no difference (M9).
func (w *world) checkOutcome() {
	for _, d := range w.decisions {
		a := map[statusKey]*settlement.Amounts{}
		of := func(debtor swpt.DebtorID, collector swpt.CreditorID) *settlement.Amounts {
			key := statusKey{collector, d.turn, debtor}
			if a[key] == nil {
				a[key] = &settlement.Amounts{Collected: w.collected(key), Received: w.received(key)}
			}
			return a[key]
		}
		for key, s := range d.takings {
			of(key.debtor, s.collector).ToCollect += s.amount
		}
		for f, amount := range d.flows {
			of(f.debtor, f.to).ToReceive += amount
			if amount > 1 {
				of(f.debtor, f.from).ToSend += amount
			}
		}
		for key, s := range d.givings {
			if s.amount > 1 {
				of(key.debtor, s.collector).ToDispatch += s.amount
			}
		}
		for f, amount := range d.flows {
			x := of(f.debtor, f.from)
			w.checkPaid(d.turn, f.debtor, smp.Sending, f.from, f.to, amount, toSend(*x), x.ToSend)
		}
		for key, s := range d.givings {
			x := of(key.debtor, s.collector)
			w.checkPaid(d.turn, key.debtor, smp.Dispatching, s.collector, key.creditor, s.amount, toDispatch(*x), x.ToDispatch)
		}
	}
}

// checkPaid checks a payment of a collector: its share of what is available, less interest and the cut.
func (w *world) checkPaid(
	turn int32, debtor swpt.DebtorID, kind smp.NoteKind, from, to swpt.CreditorID, amount, available, total int64,
) {
	paid := w.trades[tradeKey{smp.Note{Kind: kind, TurnID: turn, First: from, Second: to}, debtor}]
	nominal := 0.0
	if amount > 1 {
		nominal = float64(amount) * (float64(available) / float64(total))
	}
	var most, least int64
	if nominal >= 1 {
		most = int64(nominal * (1 - cut))
		least = most
	}
	if !w.faults.areFlat {
		least = int64(nominal*demurrage.Remaining(-50, w.clock.Sub(start)+90*day)*(1-cut)) - 1
	}
	if paid < least || paid > most || math.IsNaN(nominal) {
		w.fail.Fatalf("M9: %v from %d to %d in turn %d: %d are paid; want %d to %d", kind, from, to, turn, paid, least, most)
	}
}
