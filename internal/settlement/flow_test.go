package settlement_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A fate is what a seller does.
type fate int

const (
	pays        fate = iota
	fails            // and the seller's worker says so
	isSilent         // until nobody waits any more
	paysTooLate      // when nobody waits any more
)

// A decision is what the solver has decided about a currency in a turn.
type decision struct {
	turn    int32
	hubs    []swpt.CreditorID
	sellers map[settlement.Record]int64
	fates   map[settlement.Record]fate
	flows   map[settlement.Record]int64 // by sender
	buyers  map[settlement.Record]int64
}

func (d *decision) record(hub, other swpt.CreditorID) settlement.Record {
	return settlement.Record{CollectorID: hub, TurnID: d.turn, DebtorID: debtor, OtherID: other}
}

// reversed returns the record that the recipient of a sending has of it.
func reversed(r settlement.Record) settlement.Record {
	r.CollectorID, r.OtherID = r.OtherID, r.CollectorID
	return r
}

// decide draws a balanced decision: what each hub collects and receives is what it sends and dispatches.
func decide(t *rapid.T, turn int32) *decision {
	d := &decision{
		turn:    turn,
		hubs:    []swpt.CreditorID{hub, farHub, otherHub}[:rapid.IntRange(1, 3).Draw(t, "hubs")],
		sellers: map[settlement.Record]int64{}, fates: map[settlement.Record]fate{},
		flows: map[settlement.Record]int64{}, buyers: map[settlement.Record]int64{},
	}
	tokens := rapid.OneOf(rapid.Int64Range(1, 3), rapid.Int64Range(1, 100_000))
	left := map[swpt.CreditorID]int64{}
	for i, hub := range d.hubs {
		for n := range rapid.IntRange(0, 3).Draw(t, "sellers") {
			r := d.record(hub, swpt.CreditorID(100*i+n))
			d.sellers[r] = tokens.Draw(t, "to collect")
			d.fates[r] = rapid.SampledFrom([]fate{pays, pays, fails, isSilent, paysTooLate}).Draw(t, "fate")
			left[hub] += d.sellers[r]
		}
	}
	for _, from := range d.hubs {
		for _, to := range d.hubs {
			if from != to && left[from] > 0 && rapid.Bool().Draw(t, "sends") {
				d.flows[d.record(from, to)] = rapid.Int64Range(1, left[from]).Draw(t, "to send")
				left[from] -= d.flows[d.record(from, to)]
			}
		}
	}
	for r, tokens := range d.flows {
		left[r.OtherID] += tokens
	}
	for i, hub := range d.hubs {
		for n := 0; left[hub] > 0; n++ {
			r := d.record(hub, swpt.CreditorID(100*i+50+n))
			d.buyers[r] = left[hub]
			if n < 3 {
				d.buyers[r] = rapid.Int64Range(1, left[hub]).Draw(t, "to dispatch")
			}
			left[hub] -= d.buyers[r]
		}
	}
	return d
}

// amounts returns what the solver has decided for a hub, as far as it is copied.
func (d *decision) amounts(hub swpt.CreditorID) (a settlement.Amounts) {
	for r, tokens := range d.sellers {
		if r.CollectorID == hub {
			a.ToCollect += tokens
		}
	}
	for r, tokens := range d.flows {
		if r.CollectorID == hub && tokens > 1 {
			a.ToSend += tokens
		}
		if r.OtherID == hub {
			a.ToReceive += tokens
		}
	}
	for r, tokens := range d.buyers {
		if r.CollectorID == hub && tokens > 1 {
			a.ToDispatch += tokens
		}
	}
	return a
}

// transferred is what is transferred of a nominal amount, without any interest.
func transferred(nominal float64) int64 { return int64(nominal * (1 - 1e-5)) }

// An outcome is what is transferred in the end, by sender.
type outcome struct {
	collected, sent, dispatched map[settlement.Record]int64
}

// outcome computes what the outcome should be.
func (d *decision) outcome() outcome {
	o := outcome{map[settlement.Record]int64{}, map[settlement.Record]int64{}, map[settlement.Record]int64{}}
	all := map[swpt.CreditorID]settlement.Amounts{}
	for _, hub := range d.hubs {
		a := d.amounts(hub)
		for r, tokens := range d.sellers {
			if r.CollectorID == hub && d.fates[r] == pays {
				o.collected[r] = tokens
				a.Collected += tokens
			}
		}
		all[hub] = a
	}
	pay := func(into, due map[settlement.Record]int64, available, total func(settlement.Amounts) int64) {
		for r, tokens := range due {
			if tokens == 1 {
				continue
			}
			a := all[r.CollectorID]
			nominal := settlement.Nominal(tokens, settlement.Share(available(a), total(a)))
			if amount := transferred(nominal); nominal >= 1 && amount > 0 {
				into[r] = amount
			}
		}
	}
	pay(o.sent, d.flows, settlement.Amounts.AvailableToSend, func(a settlement.Amounts) int64 { return a.ToSend })
	for r, tokens := range o.sent {
		a := all[r.OtherID]
		a.Received += tokens
		all[r.OtherID] = a
	}
	pay(o.dispatched, d.buyers, settlement.Amounts.AvailableToDispatch, func(a settlement.Amounts) int64 { return a.ToDispatch })
	return o
}

// check checks that no hub gives away more than it has got (M2), and no more to anybody than was decided (M3).
func (o outcome) check(t failer, d *decision) {
	for _, hub := range d.hubs {
		var in, sent, dispatched int64
		for r, tokens := range o.collected {
			if r.CollectorID == hub {
				in += tokens
			}
		}
		for r, tokens := range o.sent {
			if r.CollectorID == hub {
				sent += tokens
			}
		}
		if sent > in {
			t.Fatalf("%d has collected %d and sent %d", hub, in, sent)
		}
		for r, tokens := range o.sent {
			if r.OtherID == hub {
				in += tokens
			}
		}
		for r, tokens := range o.dispatched {
			if r.CollectorID == hub {
				dispatched += tokens
			}
		}
		if sent+dispatched > in {
			t.Fatalf("%d has got %d, sent %d and dispatched %d", hub, in, sent, dispatched)
		}
	}
	for due, done := range map[*map[settlement.Record]int64]map[settlement.Record]int64{
		&d.sellers: o.collected, &d.flows: o.sent, &d.buyers: o.dispatched,
	} {
		for r, tokens := range done {
			if tokens > (*due)[r] {
				t.Fatalf("%+v: %d are transferred, and %d were decided", r, tokens, (*due)[r])
			}
		}
	}
}

type failer interface {
	Fatalf(format string, args ...any)
}

// A mail is something that a worker is told: a message, or a transfer for one of the handlers.
type mail struct {
	to       int // which worker
	message  smp.Message
	kind     string
	transfer settlement.Transfer
}

// A network is two workers, each with one half of all keys, and an accounting authority between them. What they are
// told waits in a pool until somebody delivers it.
type network struct {
	workers [2]*world

	mu        sync.Mutex
	pool      []mail
	done      outcome
	attempted map[settlement.Record]bool // each attempt that there has ever been; those of dispatchings have a negative turn
	abandoned map[settlement.Record]bool // accounts of buyers who are not paid
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{workers: [2]*world{newWorld(t), newWorld(t)}}
	for i, realm := range []shard.Realm{nearRealm, farRealm} {
		w := n.workers[i]
		w.starter.Realm, w.roller.Realm = realm, realm
		w.starter.LockAbandoned = func(_ context.Context, _ *workerdb.Tx, _ time.Time, batch []*smp.LockAbandoned) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, m := range batch {
				n.abandon(m)
			}
			return nil
		}
	}
	return n
}

// begin forgets what has been before.
func (n *network) begin(tb testing.TB) {
	tb.Helper()
	for _, w := range n.workers {
		w.clear(tb)
	}
	n.pool = nil
	n.done = outcome{map[settlement.Record]int64{}, map[settlement.Record]int64{}, map[settlement.Record]int64{}}
	n.attempted, n.abandoned = map[settlement.Record]bool{}, map[settlement.Record]bool{}
}

func (n *network) abandon(m *smp.LockAbandoned) {
	n.abandoned[settlement.Record{TurnID: m.TurnID, DebtorID: m.DebtorID, OtherID: m.CreditorID}] = true
}

// workerOf returns the number of the worker that a key belongs to.
func (n *network) workerOf(id swpt.CreditorID) int {
	if nearRealm.Match(shard.KeyOf(id)) {
		return 0
	}
	return 1
}

// tell puts news of a transfer into the pool.
func (n *network) tell(kind string, r settlement.Record, amount int64) {
	n.pool = append(n.pool, mail{
		to: n.workerOf(r.CollectorID), kind: kind, transfer: settlement.Transfer{Record: r, Amount: amount},
	})
}

// copyDecision makes the records of a turn in one worker: section 3.7 of the chapter about turns.
func (n *network) copyDecision(tb testing.TB, number int, d *decision) {
	tb.Helper()
	w := n.workers[number]
	w.inTx(tb, func(ctx context.Context, tx *workerdb.Tx) error {
		var errs []error
		exec := func(sql string, args ...any) {
			_, err := tx.Exec(ctx, sql, args...)
			errs = append(errs, err)
		}
		own := func(id swpt.CreditorID) bool { return n.workerOf(id) == number }
		purgeAfter := now.Add(60 * day)
		for r, tokens := range d.sellers {
			if own(r.CollectorID) {
				exec(`INSERT INTO worker_collecting VALUES ($1, $2, $3, $4, $5, FALSE, $6)`,
					r.CollectorID, r.TurnID, r.DebtorID, r.OtherID, tokens, purgeAfter)
			}
		}
		for r, tokens := range d.flows {
			if own(r.CollectorID) && tokens > 1 {
				exec(`INSERT INTO worker_sending VALUES ($1, $2, $3, $4, $5, $6)`,
					r.CollectorID, r.TurnID, r.DebtorID, r.OtherID, tokens, purgeAfter)
			}
			if own(r.OtherID) && tokens > 1 {
				exec(`INSERT INTO worker_receiving VALUES ($1, $2, $3, $4, $5, 0, $6)`,
					r.OtherID, r.TurnID, r.DebtorID, r.CollectorID, tokens, purgeAfter)
			}
		}
		for r, tokens := range d.buyers {
			if own(r.CollectorID) && tokens > 1 {
				exec(`INSERT INTO worker_dispatching VALUES ($1, $2, $3, $4, $5, $6)`,
					r.CollectorID, r.TurnID, r.DebtorID, r.OtherID, tokens, purgeAfter)
			}
		}
		for _, hub := range d.hubs {
			if a := d.amounts(hub); own(hub) {
				exec(`
					INSERT INTO dispatching_status (
						collector_id, turn_id, debtor_id, inserted_at,
						amount_to_collect, amount_own_sold, amount_to_send, amount_to_receive, number_to_receive, amount_to_dispatch
					) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, 0, $8)`,
					hub, d.turn, debtor, now, a.ToCollect, a.ToSend, a.ToReceive, a.ToDispatch)
			}
		}
		exec(`
			INSERT INTO worker_turn (
				turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
				phase, collection_started_at, collection_deadline, subphase
			) VALUES ($1, $2, '', 1, 10, 1000, 3, $2, $2, 5)`, d.turn, started)
		return errors.Join(errs...)
	})
}

var errCrash = errors.New("a crash")

// handle has a worker handle a batch, or crash before the commit.
func (n *network) handle(ctx context.Context, number int, batch []mail, crash bool) error {
	w := n.workers[number]
	transfers := map[string][]settlement.Transfer{}
	var failures []*smp.CollectingFailed
	var nothings []*smp.NothingToReceive
	var sendings []*smp.StartSending
	var dispatchings []*smp.StartDispatching
	for _, m := range batch {
		switch message := m.message.(type) {
		case *smp.CollectingFailed:
			failures = append(failures, message)
		case *smp.NothingToReceive:
			nothings = append(nothings, message)
		case *smp.StartSending:
			sendings = append(sendings, message)
		case *smp.StartDispatching:
			dispatchings = append(dispatchings, message)
		case nil:
			transfers[m.kind] = append(transfers[m.kind], m.transfer)
		}
	}
	err := w.InTx(ctx, "test", func(ctx context.Context, tx *workerdb.Tx) error {
		err := errors.Join(
			settlement.HandleCollected(ctx, tx, now, transfers["collected"]),
			settlement.HandleReceived(ctx, tx, now, transfers["received"]),
			settlement.HandleSent(ctx, tx, now, transfers["sent"]),
			settlement.HandleDispatched(ctx, tx, now, transfers["dispatched"]),
			settlement.HandleCollectingFailures(ctx, tx, now, failures),
			settlement.HandleNothingToReceives(ctx, tx, now, nothings),
			w.starter.HandleStartSendings(ctx, tx, now, sendings),
			w.starter.HandleStartDispatchings(ctx, tx, now, dispatchings))
		if err == nil && crash {
			return errCrash
		}
		return err
	})
	if crash && errors.Is(err, errCrash) {
		return nil
	}
	return err
}

// collect moves what workers have said, and what they want to be transferred, to where it belongs.
func (n *network) collect(tb testing.TB) {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.workers {
		for _, m := range w.sent(tb) {
			switch m := m.(type) {
			case *smp.LockAbandoned:
				n.abandon(m)
			case *smp.AccountIDRequest:
			default:
				n.pool = append(n.pool, mail{to: n.workerOf(swpt.CreditorID(m.ShardKey().ID)), message: m})
			}
		}
		n.transfer(tb, w)
	}
}

// transfer makes the transfers that a worker attempts.
func (n *network) transfer(tb testing.TB, w *world) {
	tb.Helper()
	rows, err := w.Pool().Query(tb.Context(), `
		DELETE FROM transfer_attempt RETURNING collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount`)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r settlement.Record
		var isDispatching bool
		var nominal float64
		if err := rows.Scan(&r.CollectorID, &r.TurnID, &r.DebtorID, &r.OtherID, &isDispatching, &nominal); err != nil {
			tb.Fatal(err)
		}
		key := r
		if isDispatching {
			key.TurnID = -key.TurnID
		}
		if n.attempted[key] {
			tb.Fatalf("%+v is attempted again (M10)", key)
		}
		n.attempted[key] = true
		amount := transferred(nominal)
		if isDispatching {
			n.tell("dispatched", r, 1) // if nothing is transferred, the attempt's end deletes the record, too
			if amount > 0 {
				n.done.dispatched[r] = amount
			}
			continue
		}
		n.tell("sent", r, 1)
		if amount > 0 {
			n.done.sent[r] = amount
			n.tell("received", reversed(r), amount)
			continue
		}
		n.pool = append(n.pool, mail{to: n.workerOf(r.OtherID), message: &smp.NothingToReceive{
			CollectorID: r.OtherID, TurnID: r.TurnID, DebtorID: r.DebtorID, FromCollectorID: r.CollectorID, TS: now,
		}})
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
}

// sell has the sellers do what they do in time.
func (n *network) sell(d *decision) {
	for r, tokens := range d.sellers {
		switch d.fates[r] {
		case pays:
			n.done.collected[r] = tokens
			n.tell("collected", r, tokens)
		case fails:
			n.pool = append(n.pool, mail{to: n.workerOf(r.CollectorID), message: &smp.CollectingFailed{
				CollectorID: r.CollectorID, TurnID: r.TurnID, DebtorID: r.DebtorID, CreditorID: r.OtherID, TS: now,
			}})
		case isSilent, paysTooLate:
		}
	}
	// The order of maps is not the same in each run.
	slices.SortFunc(n.pool, func(a, b mail) int { return compareRecords(a.record(), b.record()) })
}

func (m mail) record() settlement.Record {
	if failed, ok := m.message.(*smp.CollectingFailed); ok {
		return settlement.Record{CollectorID: failed.CollectorID, OtherID: failed.CreditorID}
	}
	return settlement.Record{CollectorID: m.transfer.CollectorID, OtherID: m.transfer.OtherID}
}

func compareRecords(a, b settlement.Record) int {
	if a.CollectorID != b.CollectorID {
		return int(a.CollectorID - b.CollectorID)
	}
	return int(a.OtherID - b.OtherID)
}

// giveUp deletes the records of silent sellers, and has some of them pay after that.
func (n *network) giveUp(tb testing.TB, d *decision) {
	tb.Helper()
	for _, w := range n.workers {
		w.exec(tb, `DELETE FROM worker_collecting WHERE NOT collected`)
	}
	for r, fate := range d.fates {
		if fate == paysTooLate {
			n.tell("collected", r, d.sellers[r])
		}
	}
}

// mustBeDone checks that the outcome is what it should be, and that nothing is left over.
func (n *network) mustBeDone(tb testing.TB, t failer, d *decision) {
	tb.Helper()
	want := d.outcome()
	n.done.check(t, d)
	if !maps.Equal(n.done.sent, want.sent) {
		t.Fatalf("sent is %v, want %v", n.done.sent, want.sent)
	}
	if !maps.Equal(n.done.dispatched, want.dispatched) {
		t.Fatalf("dispatched is %v, want %v", n.done.dispatched, want.dispatched)
	}
	for r, tokens := range d.buyers {
		if abandoned := n.abandoned[settlement.Record{TurnID: r.TurnID, DebtorID: r.DebtorID, OtherID: r.OtherID}]; tokens > 1 &&
			abandoned == n.attempted[settlement.Record{CollectorID: r.CollectorID, TurnID: -r.TurnID, DebtorID: r.DebtorID, OtherID: r.OtherID}] {
			t.Fatalf("that the account of buyer %d is released is %v", r.OtherID, abandoned)
		}
	}
	for _, w := range n.workers {
		for _, query := range []string{statuses, collectings, receivings, sendings, dispatchings, early} {
			if left := w.lines(tb, query); len(left) > 0 {
				t.Fatalf("%s: %q are left over", query, left)
			}
		}
	}
}

// A currency is settled in the same way however messages and transfers are repeated, delayed, reordered and divided
// into batches, and whenever workers make their records, or crash: M2, M3, M9, M10, M11 and M17.
func TestFlow(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	var turns atomic.Int32 // each round has a turn of its own
	rapid.Check(t, func(rt *rapid.T) {
		d := decide(rt, turns.Add(1)+1000)
		n.begin(t)
		n.sell(d)
		copied := [2]bool{}
		gaveUp, done := false, false
		for step := 0; !done; step++ {
			if step > 300 {
				rt.Fatalf("this does not come to an end")
			}
			number := rapid.IntRange(0, 1).Draw(rt, "worker")
			switch action := rapid.IntRange(0, 4).Draw(rt, "action"); {
			case action == 0 && !copied[number]:
				n.copyDecision(t, number, d)
				copied[number] = true
			case action == 1:
				if err := n.workers[number].roller.RunOnce(t.Context()); err != nil {
					rt.Fatalf("%v", err)
				}
			default:
				n.deliverSome(t, rt)
			}
			n.collect(t)
			if len(n.pool) > 0 || !copied[0] || !copied[1] {
				continue
			}
			for _, w := range n.workers {
				w.roll(t)
			}
			n.collect(t)
			switch {
			case len(n.pool) > 0:
			case gaveUp:
				done = true
			default:
				gaveUp = true
				n.giveUp(t, d)
			}
		}
		n.mustBeDone(t, rt, d)
	})
}

// deliverSome delivers some of what is in the pool to one of the workers. Some of it may come again.
func (n *network) deliverSome(t *testing.T, rt *rapid.T) {
	t.Helper()
	if len(n.pool) == 0 {
		return
	}
	batch := rapid.Permutation(n.pool).Draw(rt, "mail")
	batch = batch[:rapid.IntRange(1, len(batch)).Draw(rt, "size")]
	number := batch[0].to
	batch = slices.DeleteFunc(slices.Clone(batch), func(m mail) bool { return m.to != number })
	crash := rapid.IntRange(0, 5).Draw(rt, "crash") == 0
	if err := n.handle(t.Context(), number, batch, crash); err != nil {
		rt.Fatalf("%v", err)
	}
	if crash || rapid.IntRange(0, 3).Draw(rt, "again") == 0 {
		return
	}
	left := slices.Clone(n.pool)
	for _, m := range batch {
		left = slices.Delete(left, slices.Index(left, m), slices.Index(left, m)+1)
	}
	n.pool = left
}

// Consumers and rollers that work at the same time do what they would do one after the other.
func TestConcurrentFlow(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	d := &decision{
		turn: 2000, hubs: []swpt.CreditorID{hub, farHub, otherHub},
		sellers: map[settlement.Record]int64{}, fates: map[settlement.Record]fate{},
		flows: map[settlement.Record]int64{}, buyers: map[settlement.Record]int64{},
	}
	for i, hub := range d.hubs {
		for n := range swpt.CreditorID(40) {
			d.sellers[d.record(hub, 1000*swpt.CreditorID(i)+n)] = 1000
			d.fates[d.record(hub, 1000*swpt.CreditorID(i)+n)] = []fate{pays, pays, pays, fails}[n%4]
			d.buyers[d.record(hub, 1000*swpt.CreditorID(i)+500+n)] = 1000
		}
		for _, to := range d.hubs {
			if to != hub {
				d.flows[d.record(hub, to)] = 100
			}
		}
	}
	n.begin(t)
	n.sell(d)
	n.pool = slices.Concat(n.pool, n.pool) // everything comes twice
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var group errgroup.Group
	for i := range 4 {
		group.Go(func() error { return n.consume(ctx, i) })
	}
	for _, w := range n.workers {
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := w.roller.RunOnce(ctx); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	for number := range n.workers {
		n.copyDecision(t, number, d)
	}
	for ctx.Err() == nil {
		n.collect(t)
		left := 0
		for _, w := range n.workers {
			left += len(w.lines(t, statuses))
		}
		if left == 0 {
			break
		}
	}
	cancel()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	n.mustBeDone(t, t, d)
}

// consume handles what is in the pool, a few pieces of it at a time, until the context is done.
func (n *network) consume(ctx context.Context, seed int) error {
	for size := 1 + seed; ctx.Err() == nil; size = size%7 + 1 {
		n.mu.Lock()
		var batch []mail
		for len(n.pool) > 0 && len(batch) < size && (len(batch) == 0 || n.pool[0].to == batch[0].to) {
			batch, n.pool = append(batch, n.pool[0]), n.pool[1:]
		}
		n.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if err := n.handle(ctx, batch[0].to, batch, false); err != nil && ctx.Err() == nil {
			return fmt.Errorf("handling %d pieces of mail: %w", len(batch), err)
		}
	}
	return nil
}

// The limits of all amounts stay within what the database can hold.
func TestFlowOfLargestAmounts(t *testing.T) {
	t.Parallel()
	d := &decision{turn: 3000, hubs: []swpt.CreditorID{hub}, fates: map[settlement.Record]fate{}}
	seller, buyer := d.record(hub, math.MinInt64), d.record(hub, math.MaxInt64)
	d.sellers = map[settlement.Record]int64{seller: math.MaxInt64}
	d.buyers = map[settlement.Record]int64{buyer: math.MaxInt64}
	n := newNetwork(t)
	n.begin(t)
	n.sell(d)
	for number := range n.workers {
		n.copyDecision(t, number, d)
	}
	for len(n.lines(t)) > 0 {
		for number := range n.workers {
			mine := slices.DeleteFunc(slices.Clone(n.pool), func(m mail) bool { return m.to != number })
			n.pool = slices.DeleteFunc(n.pool, func(m mail) bool { return m.to == number })
			if err := n.handle(t.Context(), number, mine, false); err != nil {
				t.Fatal(err)
			}
			n.workers[number].roll(t)
			n.collect(t)
		}
	}
	n.mustBeDone(t, t, d)
	if got := n.done.dispatched[buyer]; got != transferred(math.MaxInt64) || got < math.MaxInt64/100*99 {
		t.Errorf("%d are dispatched", got)
	}
}

// lines returns the statuses of both workers.
func (n *network) lines(t *testing.T) []string {
	t.Helper()
	return slices.Concat(n.workers[0].lines(t, statuses), n.workers[1].lines(t, statuses))
}
