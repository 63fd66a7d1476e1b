package settlement_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func failed(seller swpt.CreditorID) *smp.CollectingFailed {
	return &smp.CollectingFailed{CollectorID: hub, TurnID: turn, DebtorID: debtor, CreditorID: seller, TS: now}
}

func nothing(from swpt.CreditorID) *smp.NothingToReceive {
	return &smp.NothingToReceive{CollectorID: hub, TurnID: turn, DebtorID: debtor, FromCollectorID: from, TS: now}
}

func TestHandleCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		news []settlement.Transfer
		want []string
	}{
		"as expected":     {[]settlement.Transfer{transfer(1, 100)}, []string{"1 100 true", "2 50 false"}},
		"less":            {[]settlement.Transfer{transfer(1, 99)}, []string{"1 99 true", "2 50 false"}},
		"more":            {[]settlement.Transfer{transfer(1, 101)}, []string{"1 100 false", "2 50 false"}},
		"both":            {[]settlement.Transfer{transfer(2, 50), transfer(1, 1)}, []string{"1 1 true", "2 50 true"}},
		"twice":           {[]settlement.Transfer{transfer(1, 70), transfer(1, 80)}, []string{"1 70 true", "2 50 false"}},
		"more, then less": {[]settlement.Transfer{transfer(1, math.MaxInt64), transfer(1, 60)}, []string{"1 60 true", "2 50 false"}},
		"unknown seller":  {[]settlement.Transfer{transfer(3, 100)}, []string{"1 100 false", "2 50 false"}},
		"other collector": {
			[]settlement.Transfer{{Record: settlement.Record{CollectorID: otherHub, TurnID: turn, DebtorID: debtor, OtherID: 1}, Amount: 100}},
			[]string{"1 100 false", "2 50 false"},
		},
		"other turn": {
			[]settlement.Transfer{{Record: settlement.Record{CollectorID: hub, TurnID: -turn, DebtorID: debtor, OtherID: 1}, Amount: 100}},
			[]string{"1 100 false", "2 50 false"},
		},
		"other currency": {
			[]settlement.Transfer{{Record: settlement.Record{CollectorID: hub, TurnID: turn, DebtorID: -debtor, OtherID: 1}, Amount: 100}},
			[]string{"1 100 false", "2 50 false"},
		},
	} {
		w.clear(t)
		w.addCollecting(t, 1, 100)
		w.addCollecting(t, 2, 50)
		for range 2 {
			w.handle(t, settlement.HandleCollected, c.news...)
			w.must(t, collectings, c.want...)
		}
		if t.Failed() {
			t.Fatalf("in the case %q", name)
		}
	}
}

func TestHandleReceived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		news []settlement.Transfer
		want []string
	}{
		"less":           {[]settlement.Transfer{transfer(otherHub, 1)}, []string{"1099511627776 0", "1099511627779 1"}},
		"more":           {[]settlement.Transfer{transfer(otherHub, math.MaxInt64)}, []string{"1099511627776 0", "1099511627779 9223372036854775807"}},
		"the first wins": {[]settlement.Transfer{transfer(otherHub, 5), transfer(otherHub, 6)}, []string{"1099511627776 0", "1099511627779 5"}},
		"both":           {[]settlement.Transfer{transfer(otherHub, 5), transfer(farHub, 6)}, []string{"1099511627776 6", "1099511627779 5"}},
		"unknown sender": {[]settlement.Transfer{transfer(7, 5)}, []string{"1099511627776 0", "1099511627779 0"}},
	} {
		w.clear(t)
		w.addReceiving(t, farHub, 10)
		w.addReceiving(t, otherHub, 10)
		for range 2 {
			w.handle(t, settlement.HandleReceived, c.news...)
			w.must(t, receivings, c.want...)
		}
		w.handle(t, settlement.HandleReceived, transfer(otherHub, 9), transfer(farHub, 9))
		if name == "both" {
			w.must(t, receivings, c.want...)
		}
		if t.Failed() {
			t.Fatalf("in the case %q", name)
		}
	}
}

// Whatever the amount, a transfer to somebody settles the record.
func TestHandleSentAndDispatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, other := range []swpt.CreditorID{1, 2, 3} {
		w.addSending(t, other, 100)
		w.addDispatching(t, other, 100)
	}
	for range 2 {
		w.handle(t, settlement.HandleSent, transfer(1, 1), transfer(3, math.MaxInt64), transfer(1, 100), transfer(4, 1))
		w.must(t, sendings, "2 100")
		w.must(t, dispatchings, "1 100", "2 100", "3 100")
	}
	for range 2 {
		w.handle(t, settlement.HandleDispatched, transfer(2, 1), transfer(2, 100), transfer(4, 1))
		w.must(t, sendings, "2 100")
		w.must(t, dispatchings, "1 100", "3 100")
	}
	w.must(t, early)
}

// An amount that is not there must not pass for the news that nothing will come.
func TestTransfersHaveAmounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addCollecting(t, 1, 100)
	w.addReceiving(t, 1, 100)
	for _, rule := range []handler{settlement.HandleCollected, settlement.HandleReceived} {
		for _, amount := range []int64{0, -1, math.MinInt64} {
			err := w.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
				return rule(ctx, tx, now, []settlement.Transfer{transfer(1, amount)})
			})
			if err == nil {
				t.Errorf("a transfer of %d is handled", amount)
			}
		}
	}
	w.must(t, collectings, "1 100 false")
	w.must(t, receivings, "1 0")
}

// Only what is still pending is given up.
func TestNothingWillCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, other := range []swpt.CreditorID{1, 2, 3} {
		w.addCollecting(t, other, 100)
		w.addReceiving(t, other, 100)
	}
	w.handle(t, settlement.HandleCollected, transfer(2, 90))
	w.handle(t, settlement.HandleReceived, transfer(2, 90))
	for range 2 {
		deliver(t, w, settlement.HandleCollectingFailures, failed(3), failed(2), failed(3), failed(4))
		w.must(t, collectings, "1 100 false", "2 90 true")
		w.must(t, receivings, "1 0", "2 90", "3 0")
	}
	for range 2 {
		deliver(t, w, settlement.HandleNothingToReceives, nothing(3), nothing(2), nothing(3), nothing(4))
		w.must(t, collectings, "1 100 false", "2 90 true")
		w.must(t, receivings, "1 0", "2 90")
	}
	w.must(t, early)
}

// News are kept for records that are going to be made, and not for those that have been made, and settled (W-10).
func TestKeepEarlyNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		phase, subphase int
		isKept          bool
	}{
		"unknown turn":                {0, 0, true},
		"first phase":                 {1, 10, true},
		"offers are made":             {2, 5, true},
		"records are about to be":     {3, 0, true},
		"records have been made":      {3, 5, false},
		"results are cleaned up, too": {3, 10, false},
	} {
		w.clear(t)
		w.exec(t, `DELETE FROM worker_turn`)
		if c.phase > 0 {
			w.addTurn(t, turn, c.phase, c.subphase)
		}
		for range 2 {
			w.handle(t, settlement.HandleCollected, transfer(1, 100), transfer(1, 200), transfer(2, 300))
			w.handle(t, settlement.HandleReceived, transfer(1, 400), transfer(1, math.MaxInt64))
			deliver(t, w, settlement.HandleCollectingFailures, failed(2), failed(3), failed(3))
			deliver(t, w, settlement.HandleNothingToReceives, nothing(1), nothing(2))
			// That a transfer is done is of no use before it has begun.
			w.handle(t, settlement.HandleSent, transfer(5, 1))
			w.handle(t, settlement.HandleDispatched, transfer(5, 1))
		}
		want := []string{
			"1099511627777 7 1 false 100", "1099511627777 7 1 true 400", "1099511627777 7 2 false 300",
			"1099511627777 7 2 true 0", "1099511627777 7 3 false 0",
		}
		if !c.isKept {
			want = nil
		}
		w.must(t, early, want...)
		if kept := w.lines(t, `SELECT DISTINCT inserted_at FROM early_receipt`); c.isKept && !slices.Equal(kept, []string{now.String()}) {
			t.Errorf("the news are of %q", kept)
		}
		if t.Failed() {
			t.Fatalf("in the case %q", name)
		}
	}
}

// Of news of one record that come in one batch, the first counts.
func TestKeepTheFirstEarlyNews(t *testing.T) {
	t.Parallel()
	const records = 100
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	var news []settlement.Transfer
	for _, amount := range []int64{2, 1, 3} {
		for n := range swpt.CreditorID(records) {
			news = append(news, transfer((n*37+swpt.CreditorID(amount))%records, amount))
		}
	}
	w.handle(t, settlement.HandleCollected, news...)
	w.must(t, `SELECT amount, count(*) FROM early_receipt GROUP BY 1`, "2 100")
}

// The first news of a record settle it, the others come too late, in one batch as in several.
func TestManyInOneBatch(t *testing.T) {
	t.Parallel()
	const sellers = 210
	one, many := newWorld(t), newWorld(t)
	var news []settlement.Transfer
	for seller := range swpt.CreditorID(sellers) {
		for _, w := range []*world{one, many} {
			w.addCollecting(t, seller, 100)
		}
		// Some of them pay too much, or twice.
		news = append(news, transfer(seller, 100+int64(seller%3)))
		if seller%7 == 0 {
			news = append(news, transfer(seller, 1+int64(seller%5)))
		}
	}
	slices.Reverse(news)
	many.handle(t, settlement.HandleCollected, news...)
	for _, n := range news {
		one.handle(t, settlement.HandleCollected, n)
	}
	many.must(t, collectings, one.lines(t, collectings)...)
	if got := many.lines(t, `SELECT count(*) FROM worker_collecting WHERE collected`); !slices.Equal(got, []string{"90"}) {
		t.Errorf("%s have paid", got)
	}
}
