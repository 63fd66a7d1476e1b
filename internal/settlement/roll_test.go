package settlement_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const patience = 20 * time.Second

// A pending is a record that a status waits for.
type pending string

const (
	noRecord         pending = ""
	pendingCollect   pending = "collecting"
	collected        pending = "collected"
	pendingSend      pending = "sending"
	pendingReceive   pending = "receiving"
	received         pending = "received"
	pendingDispatch  pending = "dispatching"
	otherCollectors  pending = "records of another collector"
	otherCurrencies  pending = "records of another currency"
	otherTurns       pending = "records of another turn"
	everythingAtOnce pending = "everything"
)

func (w *world) addPending(t *testing.T, p pending) {
	t.Helper()
	switch p {
	case noRecord:
	case pendingCollect, collected:
		w.addCollecting(t, 1, 100)
		if p == collected {
			w.handle(t, settlement.HandleCollected, transfer(1, 100))
		}
	case pendingSend:
		w.addSending(t, 1, 100)
	case pendingReceive, received:
		w.addReceiving(t, 1, 100)
		if p == received {
			w.handle(t, settlement.HandleReceived, transfer(1, 100))
		}
	case pendingDispatch:
		w.addDispatching(t, 1, 100)
	case otherCollectors, otherCurrencies, otherTurns, everythingAtOnce:
		for _, p := range []pending{pendingCollect, pendingSend, pendingReceive, pendingDispatch} {
			w.addPending(t, p)
		}
		change := map[pending]string{
			otherCollectors: "%scollector_id = 5", otherCurrencies: "debtor_id = 5", otherTurns: "turn_id = 5",
		}[p]
		if p == everythingAtOnce {
			return
		}
		for table, prefix := range map[string]string{
			"worker_collecting": "", "worker_sending": "from_", "worker_receiving": "to_", "worker_dispatching": "",
		} {
			if p == otherCollectors {
				w.exec(t, `UPDATE `+table+` SET `+fmt.Sprintf(change, prefix))
			} else {
				w.exec(t, `UPDATE `+table+` SET `+change)
			}
		}
	}
}

// The table of steps in section 3.3: a status in each of its states, with each kind of records.
func TestSteps(t *testing.T) {
	t.Parallel()
	const (
		idle       = "1099511627777 <nil> <nil> "
		waiting    = "1099511627777 <nil> <nil> awaiting"
		sends      = "1099511627777 0 <nil> sending"
		sentAll    = "1099511627777 0 <nil> sending sent"
		waiting2   = "1099511627777 0 <nil> awaiting sending sent"
		dispatches = "1099511627777 0 0 sending sent dispatching"
		gone       = ""
	)
	send, dispatch := smp.Message(startSending(hub)), smp.Message(startDispatching(hub))
	w := newWorld(t)
	for _, c := range []struct {
		state  string
		record pending
		want   string
		sent   smp.Message
	}{
		{"", noRecord, waiting, send},
		{"", pendingCollect, idle, nil},
		{"", collected, waiting, send},
		{"", pendingSend, waiting, send},
		{"", pendingReceive, waiting, send},
		{"", pendingDispatch, waiting, send},
		{"", everythingAtOnce, idle, nil},
		{"", otherCollectors, waiting, send},
		{"", otherCurrencies, waiting, send},
		{"", otherTurns, waiting, send},
		{awaitingSending, noRecord, waiting, nil},
		{awaitingSending, collected, waiting, nil},
		{sending, noRecord, waiting2, dispatch}, // two steps at once
		{sending, pendingSend, sends, nil},
		{sending, pendingCollect, waiting2, dispatch},
		{sending, pendingReceive, sentAll, nil},
		{sending, received, waiting2, dispatch},
		{sending, everythingAtOnce, sends, nil},
		{sending, otherCollectors, waiting2, dispatch},
		{sending, otherCurrencies, waiting2, dispatch},
		{sending, otherTurns, waiting2, dispatch},
		{allSent, noRecord, waiting2, dispatch},
		{allSent, pendingReceive, sentAll, nil},
		{allSent, received, waiting2, dispatch},
		{allSent, pendingDispatch, waiting2, dispatch},
		{allSent, everythingAtOnce, sentAll, nil},
		{allSent, otherCollectors, waiting2, dispatch},
		{allSent, otherCurrencies, waiting2, dispatch},
		{allSent, otherTurns, waiting2, dispatch},
		{awaitingDispatching, noRecord, waiting2, nil},
		{awaitingDispatching, pendingReceive, waiting2, nil},
		{dispatching, noRecord, gone, nil},
		{dispatching, pendingCollect, gone, nil},
		{dispatching, pendingDispatch, dispatches, nil},
		{dispatching, everythingAtOnce, dispatches, nil},
		{dispatching, otherCollectors, gone, nil},
		{dispatching, otherCurrencies, gone, nil},
		{dispatching, otherTurns, gone, nil},
	} {
		w.clear(t)
		w.addStatus(t, hub, settlement.Amounts{}, c.state)
		w.addPending(t, c.record)
		var want []string
		if c.want != gone {
			want = append(want, c.want)
		}
		for range 2 {
			w.roll(t)
			w.must(t, statuses, want...)
			if c.sent != nil {
				w.mustSend(t, c.sent)
				c.sent = nil
			} else {
				w.mustSend(t)
			}
		}
		if t.Failed() {
			t.Fatalf("in the state %q with %s", c.state, c.record)
		}
	}
}

// Between the moment when a status is found ready and the moment when it is locked, another roller may have taken the
// step, or several. Then it is not taken again.
func TestStepsThatHaveBeenTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := []string{"", awaitingSending, sending, allSent, awaitingDispatching, dispatching}
	for n, from := range []int{0, 2, 3, 5} { // the state in which the step is taken
		for i, state := range states {
			w.clear(t)
			w.addStatus(t, hub, settlement.Amounts{}, state)
			before := w.lines(t, statuses)
			if err := w.roller.TakeStep(t.Context(), n, record(0)); err != nil {
				t.Fatal(err)
			}
			after, sent := w.lines(t, statuses), len(w.sent(t))
			if isTaken := !slices.Equal(before, after); isTaken != (i == from) || !isTaken && sent > 0 {
				t.Errorf("step %d in the state %q: there is %q, and %d messages", n, state, after, sent)
			}
		}
	}
	if settlement.Steps != 4 {
		t.Errorf("there are %d steps", settlement.Steps)
	}
}

// After the split of a shard, there are statuses of collectors that somebody else takes care of.
func TestStatusesOfOtherShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, state := range []string{"", sending, allSent, dispatching} {
		w.clear(t)
		w.addStatus(t, farHub, settlement.Amounts{}, state)
		before := w.lines(t, statuses)
		w.roll(t)
		w.must(t, statuses, before...)
		w.mustSend(t)
	}
}

// Many statuses take several pages, some of which are full of those that do not concern us.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roller.PageSize = 4
	w.exec(t, `
		INSERT INTO dispatching_status (
			collector_id, turn_id, debtor_id, inserted_at,
			amount_to_collect, amount_own_sold, amount_to_send, amount_to_receive, number_to_receive, amount_to_dispatch
		)
		SELECT collector_id, turn_id, debtor_id, now(), 0, 0, 0, 0, 0, 0
		FROM
			unnest(ARRAY[$1::BIGINT, $2, $3]) AS collector_id,
			unnest(ARRAY[-2147483648, 1, 2147483647]) AS turn_id,
			unnest(ARRAY[-9223372036854775808, 5, 6, 9223372036854775807]) AS debtor_id`, hub, otherHub, farHub)
	w.roll(t)
	w.must(t, `SELECT collector_id, awaiting_signal_flag, count(*) FROM dispatching_status GROUP BY 1, 2 ORDER BY 1`,
		"1099511627776 false 12", "1099511627777 true 12", "1099511627779 true 12")
	if got := len(w.sent(t)); got != 24 {
		t.Errorf("%d messages are sent", got)
	}
	w.exec(t, `UPDATE dispatching_status SET awaiting_signal_flag = FALSE, started_sending = TRUE, all_sent = TRUE,
		started_dispatching = TRUE, total_collected_amount = 0, total_received_amount = 0`)
	w.roll(t)
	w.must(t, `SELECT collector_id, count(*) FROM dispatching_status GROUP BY 1`, "1099511627776 12")
}

// What others work on is left for the next time, without waiting for them.
func TestLockedStatuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{}, "")
	w.addStatus(t, otherHub, settlement.Amounts{}, dispatching)
	locked := errors.New("locked")
	err := w.InTx(t.Context(), "lock", func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM dispatching_status FOR UPDATE`); err != nil {
			return err
		}
		w.roll(t)
		return locked
	})
	if !errors.Is(err, locked) {
		t.Fatal(err)
	}
	w.must(t, statuses, "1099511627777 <nil> <nil> ", "1099511627779 0 0 sending sent dispatching")
	w.mustSend(t)
	w.roll(t)
	w.must(t, statuses, "1099511627777 <nil> <nil> awaiting")
	w.mustSend(t, startSending(hub))
}

// Several rollers take each step once.
func TestSeveralRollers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const collectors = 200
	for n := range swpt.CreditorID(collectors) {
		w.addStatus(t, n, settlement.Amounts{}, "")
	}
	w.roller.PageSize = 7
	w.roller.Realm = mustParse("#")
	var group errgroup.Group
	for range 4 {
		group.Go(func() error { return w.roller.RunOnce(t.Context()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.must(t, `SELECT awaiting_signal_flag, count(*) FROM dispatching_status GROUP BY 1`, "true 200")
	if got := len(w.sent(t)); got != collectors {
		t.Errorf("%d messages are sent", got)
	}
}

// A step that fails in the middle leaves nothing behind, and is taken the next time.
func TestCrashInStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{}, "")
	w.addStatus(t, otherHub, settlement.Amounts{}, sending)
	w.exec(t, `CREATE FUNCTION crash() RETURNS TRIGGER AS 'BEGIN RAISE ''crash''; END' LANGUAGE plpgsql`)
	for table, event := range map[string]string{"outbox": "INSERT", "dispatching_status": "UPDATE"} {
		w.exec(t, `CREATE TRIGGER crash BEFORE `+event+` ON `+table+` FOR EACH ROW EXECUTE FUNCTION crash()`)
		if err := w.roller.RunOnce(t.Context()); err == nil {
			t.Errorf("that %s cannot be changed does not matter", table)
		}
		w.exec(t, `DROP TRIGGER crash ON `+table)
	}
	w.must(t, statuses, "1099511627777 <nil> <nil> ", "1099511627779 0 <nil> sending")
	w.mustSend(t)
	w.roll(t)
	w.must(t, statuses, "1099511627777 <nil> <nil> awaiting", "1099511627779 0 <nil> awaiting sending sent")
}

// run runs the roller, and a listener, until the test ends.
func (w *world) run(t *testing.T, listener *postgres.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return w.roller.Run(ctx) })
	if listener != nil {
		group.Go(func() error { return listener.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// eventually waits for what a query returns.
func (w *world) eventually(t *testing.T, query string, want ...string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if got := w.lines(t, query); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("there is %q, want %q", got, want)
		}
		return nil
	})
}

// Each kind of events wakes the roller, whose period is an hour.
func TestRunIsWokenByEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener := postgres.NewListener(w.URL(), w.log.logger())
	w.roller.Listener = listener
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 150, ToReceive: 150, ToSend: 50, ToDispatch: 250}, "")
	w.addCollecting(t, 1, 100)
	w.addCollecting(t, 2, 50)
	w.addSending(t, otherHub, 50)
	w.addReceiving(t, otherHub, 100)
	w.addReceiving(t, farHub, 50)
	w.addDispatching(t, 3, 250)
	w.run(t, listener)

	w.handle(t, settlement.HandleCollected, transfer(1, 100))
	deliver(t, w, settlement.HandleCollectingFailures, failed(2))
	w.eventually(t, statuses, "1099511627777 <nil> <nil> awaiting")
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.handle(t, settlement.HandleSent, transfer(otherHub, 50))
	w.eventually(t, statuses, "1099511627777 100 <nil> sending sent")
	w.handle(t, settlement.HandleReceived, transfer(otherHub, 100))
	deliver(t, w, settlement.HandleNothingToReceives, nothing(farHub))
	w.eventually(t, statuses, "1099511627777 100 <nil> awaiting sending sent")
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
	w.handle(t, settlement.HandleDispatched, transfer(3, 250))
	w.eventually(t, statuses)
}

// After each of these, there is nothing more to be told of: the roller has to look by itself.
func TestRunIsWokenByBeginnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener := postgres.NewListener(w.URL(), w.log.logger())
	w.roller.Listener = listener
	w.addStatus(t, hub, settlement.Amounts{}, "")
	w.run(t, listener)
	w.eventually(t, statuses, "1099511627777 <nil> <nil> awaiting")
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.eventually(t, statuses, "1099511627777 0 <nil> awaiting sending sent")
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
	w.eventually(t, statuses)
}

// Everything after which a step might be taken is told of, and nothing else.
func TestNotifications(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener := postgres.NewListener(w.URL(), w.log.logger())
	heard, _ := listener.Subscribe(workerdb.TopicSettlement)
	markers, _ := listener.Subscribe("marker")
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return listener.Run(ctx) })
	defer func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	}()
	<-heard // that there is a connection
	<-markers

	for _, other := range []swpt.CreditorID{1, 2, 3} {
		w.addCollecting(t, other, 100)
		w.addReceiving(t, other, 100)
		w.addSending(t, other, 100)
		w.addDispatching(t, other, 100)
	}
	for name, do := range map[string]func(){
		"collected":             func() { w.handle(t, settlement.HandleCollected, transfer(1, 100)) },
		"received":              func() { w.handle(t, settlement.HandleReceived, transfer(1, 100)) },
		"sent":                  func() { w.handle(t, settlement.HandleSent, transfer(1, 100)) },
		"dispatched":            func() { w.handle(t, settlement.HandleDispatched, transfer(1, 100)) },
		"collecting has failed": func() { deliver(t, w, settlement.HandleCollectingFailures, failed(2)) },
		"nothing to receive":    func() { deliver(t, w, settlement.HandleNothingToReceives, nothing(2)) },
	} {
		for _, want := range []bool{true, false} { // the second time, nothing changes
			do()
			w.inTx(t, func(_ context.Context, tx *workerdb.Tx) error {
				tx.NotifyOnCommit("marker")
				return nil
			})
			<-markers
			got := false
			select {
			case <-heard:
				got = true
			default:
			}
			if got != want {
				t.Errorf("%s: that this is told of is %t", name, got)
			}
		}
	}
}

// Without a listener, the period counts.
func TestRunPeriodically(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roller.Period = 10 * time.Millisecond
	w.run(t, nil)
	for range 3 {
		w.addStatus(t, hub, settlement.Amounts{}, dispatching)
		w.eventually(t, statuses)
	}
}

func TestRunFailsWithTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `DROP TABLE early_receipt`)
	if err := w.roller.Run(t.Context()); err == nil {
		t.Error("the roller does not need its tables")
	}
}

// The extreme keys are on some page, too.
func TestExtremeKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roller.Realm = mustParse("#")
	w.roller.PageSize = 2
	for _, collector := range []swpt.CreditorID{math.MinInt64, 0, math.MaxInt64} {
		w.addStatus(t, collector, settlement.Amounts{}, "")
	}
	w.exec(t, `UPDATE dispatching_status SET turn_id = 2147483647, debtor_id = 9223372036854775807 WHERE collector_id > 0`)
	w.exec(t, `UPDATE dispatching_status SET turn_id = -2147483648, debtor_id = -9223372036854775808 WHERE collector_id < 0`)
	w.roll(t)
	w.must(t, `SELECT count(*) FROM dispatching_status WHERE awaiting_signal_flag`, "3")
}
