package settlement_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func startSending(collector swpt.CreditorID) *smp.StartSending {
	return &smp.StartSending{CollectorID: collector, TurnID: turn, DebtorID: debtor, TS: now}
}

func startDispatching(collector swpt.CreditorID) *smp.StartDispatching {
	return &smp.StartDispatching{CollectorID: collector, TurnID: turn, DebtorID: debtor, TS: now}
}

func accountIDRequest(recipient swpt.CreditorID, isDispatching bool) *smp.AccountIDRequest {
	return &smp.AccountIDRequest{
		CollectorID: hub, TurnID: turn, DebtorID: debtor, CreditorID: recipient, IsDispatching: isDispatching, TS: now,
	}
}

func lockAbandoned(buyer swpt.CreditorID) *smp.LockAbandoned {
	return &smp.LockAbandoned{CreditorID: buyer, DebtorID: debtor, TurnID: turn, TS: now}
}

// Example 12: a shortage of 500, shared by those who are to get 3000.
func TestStartSending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 10000, ToSend: 3000, ToDispatch: 7000}, awaitingSending)
	w.addCollecting(t, 1, 5000)
	w.addCollecting(t, 2, 5000)
	w.handle(t, settlement.HandleCollected, transfer(1, 5000), transfer(2, 4500))
	w.addSending(t, farHub, 2000)
	w.addSending(t, otherHub, 1000)
	w.addDispatching(t, 3, 7000)
	for range 2 {
		deliver(t, w, w.starter.HandleStartSendings, startSending(hub), startSending(hub))
		w.must(t, statuses, "1099511627777 9500 <nil> sending")
		w.must(t, collectings)
		w.must(t, sendings, "1099511627776 2000", "1099511627779 1000")
		w.must(t, attempts,
			"1099511627777 1099511627776 false 1666.6666666666667", "1099511627777 1099511627779 false 833.3333333333334")
	}
	w.mustSend(t, accountIDRequest(farHub, false), accountIDRequest(otherHub, false))

	rows, err := w.Pool().Query(t.Context(), `SELECT * FROM transfer_attempt ORDER BY creditor_id LIMIT 1`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := collectOne[workerdb.TransferAttempt](rows)
	if err != nil {
		t.Fatal(err)
	}
	if got.RescheduledFor == nil || !got.RescheduledFor.Equal(now.Add(healthyCommitDelay)) {
		t.Errorf("rescheduled for %v", got.RescheduledFor)
	}
	got.RescheduledFor = nil
	if want := (workerdb.TransferAttempt{
		CollectorID: hub, TurnID: turn, DebtorID: debtor, CreditorID: farHub, NominalAmount: 1666.6666666666667,
		CollectionStartedAt: started, InsertedAt: now, RecipientVersion: math.MinInt64,
	}); got != want {
		t.Errorf("the attempt is\n%+v\nwant\n%+v", got, want)
	}
}

// Example 11: the collectors that send keep a cut, which the buyers bear.
func TestStartDispatching(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 10000, ToSend: 3000, ToReceive: 5000, ToDispatch: 12000},
		`started_sending = TRUE, total_collected_amount = 10000, all_sent = TRUE, awaiting_signal_flag = TRUE`)
	w.addReceiving(t, farHub, 1000)
	w.addReceiving(t, otherHub, 4000)
	w.handle(t, settlement.HandleReceived, transfer(farHub, 999), transfer(otherHub, 3996))
	w.addDispatching(t, 3, 12000)
	for range 2 {
		deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub), startDispatching(hub))
		w.must(t, statuses, "1099511627777 10000 4995 sending sent dispatching")
		w.must(t, receivings)
		w.must(t, dispatchings, "3 12000")
		w.must(t, attempts, "1099511627777 3 true 11995")
	}
	w.mustSend(t, accountIDRequest(3, true))
}

// Signals that a status does not await change nothing, whatever state it is in.
func TestUnexpectedSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct{ state, afterSend, afterDispatch string }{
		"collecting":                         {"", "1099511627777 <nil> <nil> ", "1099511627777 <nil> <nil> "},
		"awaiting the signal to send":        {awaitingSending, "1099511627777 100 <nil> sending", "1099511627777 <nil> <nil> awaiting"},
		"sending":                            {sending, "1099511627777 0 <nil> sending", "1099511627777 0 <nil> sending"},
		"all sent":                           {allSent, "1099511627777 0 <nil> sending sent", "1099511627777 0 <nil> sending sent"},
		"awaiting the signal to dispatch":    {awaitingDispatching, "1099511627777 0 <nil> awaiting sending sent", "1099511627777 0 50 sending sent dispatching"},
		"dispatching":                        {dispatching, "1099511627777 0 0 sending sent dispatching", "1099511627777 0 0 sending sent dispatching"},
		"dispatching, with a flag left over": {dispatching + `, ` + awaitingSending, "1099511627777 0 0 awaiting sending sent dispatching", "1099511627777 0 0 awaiting sending sent dispatching"},
	} {
		amounts := settlement.Amounts{ToCollect: 100, ToReceive: 50, ToDispatch: 150}
		for signal, want := range map[string]string{"send": c.afterSend, "dispatch": c.afterDispatch} {
			w.clear(t)
			w.addStatus(t, hub, amounts, c.state)
			w.addCollecting(t, 1, 100)
			w.addReceiving(t, otherHub, 50)
			w.handle(t, settlement.HandleCollected, transfer(1, 100))
			w.handle(t, settlement.HandleReceived, transfer(otherHub, 50))
			if signal == "send" {
				deliver(t, w, w.starter.HandleStartSendings, startSending(hub), startSending(otherHub))
			} else {
				deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub), startDispatching(otherHub))
			}
			w.must(t, statuses, want)
			w.must(t, attempts)
		}
		if t.Failed() {
			t.Fatalf("in the case %q", name)
		}
	}
}

// A signal that has come although something is pending is not obeyed. When everything has come, there will be another.
func TestStartSendingTooEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, collector := range []swpt.CreditorID{hub, otherHub} {
		w.addStatus(t, collector, settlement.Amounts{ToCollect: 100, ToDispatch: 100}, "")
	}
	w.exec(t, `UPDATE dispatching_status SET awaiting_signal_flag = TRUE`)
	w.addCollecting(t, 1, 50)
	w.addCollecting(t, 2, 50)
	w.handle(t, settlement.HandleCollected, transfer(1, 50))
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub), startSending(otherHub))
	w.must(t, statuses, "1099511627777 <nil> <nil> ", "1099511627779 0 <nil> sending")
	w.must(t, collectings, "1 50 true", "2 50 false")
	if !w.log.has("told to send before everything has been collected") {
		t.Error("there is nothing in the log")
	}
	w.handle(t, settlement.HandleCollected, transfer(2, 50))
	w.roll(t)
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.must(t, statuses, "1099511627777 100 <nil> sending", "1099511627779 0 <nil> awaiting sending sent")
}

// Example 13, and its like for sending: what is too small is not transferred, and whoever waits for it is told (W-9).
func TestTooSmallAmounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, extended := range map[string]bool{"": true, "beside swpt_trade": false} {
		w.clear(t)
		w.starter.ExtendedMessages = extended
		w.addStatus(t, hub, settlement.Amounts{ToCollect: 252, ToSend: 2, ToReceive: 502, ToDispatch: 752},
			`started_sending = TRUE, total_collected_amount = 252, all_sent = TRUE, awaiting_signal_flag = TRUE`)
		w.addReceiving(t, otherHub, 502)
		w.handle(t, settlement.HandleReceived, transfer(otherHub, 1))
		w.addDispatching(t, 3, 2)   // of this shard
		w.addDispatching(t, 4, 3)   // nominal 1.002...
		w.addDispatching(t, 5, 2)   // of another shard
		w.addDispatching(t, 6, 745) // of this shard
		deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
		w.must(t, attempts, "1099511627777 4 true 1.0013297872340425", "1099511627777 6 true 248.66356382978722")
		w.must(t, dispatchings, "4 3", "6 745")
		want := []smp.Message{accountIDRequest(4, true), accountIDRequest(6, true)}
		if extended {
			want = append(want, lockAbandoned(5))
		}
		w.mustSend(t, want...)
		if len(w.abandoned) != 1 || *w.abandoned[0] != *lockAbandoned(3) {
			t.Errorf("%+v are released here", w.abandoned)
		}
		if t.Failed() {
			t.Fatalf("in the case %q", name)
		}
	}
}

// The receiver may be a collector of this worker, too, whose record is then deleted at once, or of another one.
func TestNothingToSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, extended := range map[string]bool{"": true, "beside swpt_trade": false} {
		w.clear(t)
		w.starter.ExtendedMessages = extended
		w.addStatus(t, hub, settlement.Amounts{ToCollect: 1000, ToSend: 500, ToDispatch: 500}, awaitingSending)
		w.addCollecting(t, 1, 1000)
		deliver(t, w, settlement.HandleCollectingFailures, failed(1)) // the other rows give 500 less than expected
		w.addSending(t, farHub, 250)
		w.addSending(t, otherHub, 250)
		w.exec(t, `INSERT INTO worker_receiving VALUES ($1, $2, $3, $4, 250, 0, now())`, otherHub, turn, debtor, hub)
		deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
		w.must(t, sendings)
		w.must(t, receivings)
		w.must(t, attempts)
		if extended {
			w.mustSend(t, &smp.NothingToReceive{
				CollectorID: farHub, TurnID: turn, DebtorID: debtor, FromCollectorID: hub, TS: now,
			})
		} else {
			w.mustSend(t)
		}
		if t.Failed() {
			t.Fatalf("in the case %q", name)
		}
	}
}

// The message to a collector of our own may be too early for its record, like any other.
func TestNothingToSendInAnotherTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 250, ToSend: 250}, awaitingSending)
	w.addSending(t, otherHub, 250)
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.must(t, early, "1099511627779 7 1099511627777 true 0")
}

// Without a rule for own buyers, they get messages.
func TestLockAbandonedByMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starter.LockAbandoned = nil
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 100, ToDispatch: 100}, awaitingDispatching)
	w.addDispatching(t, 3, 50)
	w.addDispatching(t, 5, 50)
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
	w.must(t, dispatchings)
	w.mustSend(t, lockAbandoned(3), lockAbandoned(5))
}

// If a buyer's account cannot be released, nothing happens at all.
func TestLockAbandonedFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failure := errors.New("no")
	w.starter.LockAbandoned = func(context.Context, *workerdb.Tx, time.Time, []*smp.LockAbandoned) error { return failure }
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 100, ToDispatch: 100}, awaitingDispatching)
	w.addDispatching(t, 3, 50)
	err := w.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		return w.starter.HandleStartDispatchings(ctx, tx, now, []*smp.StartDispatching{startDispatching(hub)})
	})
	if !errors.Is(err, failure) {
		t.Errorf("the error is %v", err)
	}
	w.must(t, dispatchings, "3 50")
	w.must(t, statuses, "1099511627777 0 <nil> awaiting sending sent")
}

// A database that has lost the turn is not guessed at.
func TestStartWithoutTheTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `DELETE FROM worker_turn`)
	w.addStatus(t, hub, settlement.Amounts{}, awaitingSending)
	err := w.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		return w.starter.HandleStartSendings(ctx, tx, now, []*smp.StartSending{startSending(hub)})
	})
	if err == nil {
		t.Error("sending begins in an unknown turn")
	}
}

// Sums that are too large for the database count as the largest amount.
func TestLargestSums(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: most, ToSend: most, ToReceive: most, ToDispatch: most}, awaitingSending)
	for _, other := range []swpt.CreditorID{math.MinInt64, -1, math.MaxInt64} {
		w.addCollecting(t, other, most)
		w.addReceiving(t, other, most)
		w.addSending(t, other, most)
		w.addDispatching(t, other, most)
		w.handle(t, settlement.HandleCollected, transfer(other, most))
		w.handle(t, settlement.HandleReceived, transfer(other, most))
	}
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.exec(t, `DELETE FROM worker_sending`)
	w.roll(t)
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
	w.must(t, statuses, "1099511627777 9223372036854775807 9223372036854775807 sending sent dispatching")
	if got := w.lines(t, `SELECT nominal_amount::TEXT, count(*) FROM transfer_attempt GROUP BY 1`); !slices.Equal(got,
		[]string{"9.223372036854776e+18 6"}) {
		t.Errorf("nominal amounts are %q", got)
	}
}

// More transfers than are held in memory at a time, of several statuses, some of them too small.
func TestManyTransfers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const buyers = 6000
	hubs := []swpt.CreditorID{hub, otherHub}
	for _, collector := range hubs {
		w.addStatus(t, collector, settlement.Amounts{ToCollect: 3 * buyers, ToDispatch: 3 * buyers}, "")
		w.exec(t, `UPDATE dispatching_status SET started_sending = TRUE, total_collected_amount = 2 * $1::BIGINT, all_sent = TRUE,
			awaiting_signal_flag = TRUE`, buyers)
		w.exec(t, `INSERT INTO worker_dispatching SELECT $1, $2, $3, n, CASE WHEN n % 2 = 0 THEN 4 ELSE 2 END, now()
			FROM generate_series(1, $4::BIGINT) AS n`, collector, turn, debtor, buyers)
	}
	w.exec(t, `UPDATE dispatching_status SET total_collected_amount = total_collected_amount * 2 / 3`) // 2 tokens become 8/9
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub), startDispatching(otherHub))
	w.must(t, `SELECT collector_id, count(*), min(creditor_id), max(creditor_id), min(nominal_amount)::TEXT, max(nominal_amount)::TEXT
		FROM transfer_attempt GROUP BY 1 ORDER BY 1`,
		"1099511627777 3000 2 6000 1.7777777777777777 1.7777777777777777",
		"1099511627779 3000 2 6000 1.7777777777777777 1.7777777777777777")
	w.must(t, `SELECT count(*), bool_and(creditor_id % 2 = 0) FROM worker_dispatching`, "6000 true")
	requests, abandoned := map[swpt.CreditorID]int{}, len(w.abandoned)
	for _, m := range w.sent(t) {
		switch m := m.(type) {
		case *smp.AccountIDRequest:
			requests[m.CreditorID]++
		case *smp.LockAbandoned:
			abandoned++
		}
	}
	if len(requests) != buyers/2 || abandoned != buyers {
		t.Errorf("%d buyers are asked for, and %d are abandoned", len(requests), abandoned)
	}
	for buyer, n := range requests {
		if n != len(hubs) {
			t.Errorf("buyer %d is asked for %d times", buyer, n)
		}
	}
}
