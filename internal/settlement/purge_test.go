package settlement_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// purges are the purges, with the first instant at which each of them deletes a record, and what they delete.
var purges = map[string]struct {
	purge func(context.Context, *workerdb.Tx, time.Time, []settlement.Record) (int64, error)
	after time.Duration
	table string
	left  []string // of the records 1, which is pending, and 2, of which something has come
}{
	"collecting":  {settlement.PurgeCollectings, 60 * day, collectings, []string{"2 100 true", "3 100 false"}},
	"receiving":   {settlement.PurgeReceivings, 150 * day, receivings, []string{"2 100", "3 0"}},
	"sending":     {settlement.PurgeSendings, 150 * day, sendings, []string{"3 100"}},
	"dispatching": {settlement.PurgeDispatchings, 180 * day, dispatchings, []string{"3 100"}},
}

func (w *world) addThreeOfEach(t *testing.T) {
	t.Helper()
	for _, other := range []swpt.CreditorID{1, 2, 3} {
		w.addCollecting(t, other, 100)
		w.addReceiving(t, other, 100)
		w.addSending(t, other, 100)
		w.addDispatching(t, other, 100)
	}
	w.handle(t, settlement.HandleCollected, transfer(2, 100))
	w.handle(t, settlement.HandleReceived, transfer(2, 100))
}

func TestPurges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range purges {
		w.clear(t)
		w.addThreeOfEach(t)
		purge := func(after time.Duration) (purged int64) {
			w.inTx(t, func(ctx context.Context, tx *workerdb.Tx) (err error) {
				purged, err = c.purge(ctx, tx, now.Add(after), []settlement.Record{record(2), record(4), record(1)})
				return err
			})
			return purged
		}
		before := w.lines(t, c.table)
		if purged := purge(c.after); purged != 0 {
			t.Errorf("%s: %d are purged at the last moment", name, purged)
		}
		w.must(t, c.table, before...)
		if purged := purge(c.after + time.Microsecond); purged != int64(3-len(c.left)) {
			t.Errorf("%s: %d are purged", name, purged)
		}
		w.must(t, c.table, c.left...)
		if purged := purge(365 * day); purged != 0 {
			t.Errorf("%s: %d are purged again", name, purged)
		}
	}
}

// Records that others work on stay.
func TestPurgesSkipLockedRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addThreeOfEach(t)
	failure := errors.New("stop")
	err := w.InTx(t.Context(), "lock", func(ctx context.Context, tx *workerdb.Tx) error {
		for _, table := range []string{"worker_collecting", "worker_receiving", "worker_sending", "worker_dispatching"} {
			if _, err := tx.Exec(ctx, `SELECT FROM `+table+` FOR UPDATE`); err != nil {
				return err
			}
		}
		for name, c := range purges {
			w.inTx(t, func(ctx context.Context, tx *workerdb.Tx) error {
				purged, err := c.purge(ctx, tx, now.Add(365*day), []settlement.Record{record(1)})
				if purged != 0 {
					t.Errorf("%s: a locked record is purged", name)
				}
				return err
			})
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
}

// M17: what comes after a record has been purged stays on the collector's account.
func TestLateTransfers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 200, ToReceive: 100, ToDispatch: 300}, "")
	w.addCollecting(t, 1, 100)
	w.addCollecting(t, 2, 100)
	w.addReceiving(t, 1, 100)
	w.addDispatching(t, 1, 300)
	w.handle(t, settlement.HandleCollected, transfer(2, 100))
	w.inTx(t, func(ctx context.Context, tx *workerdb.Tx) error {
		late := now.Add(365 * day)
		_, err1 := settlement.PurgeCollectings(ctx, tx, late, []settlement.Record{record(1), record(2)})
		_, err2 := settlement.PurgeReceivings(ctx, tx, late, []settlement.Record{record(1)})
		return errors.Join(err1, err2)
	})
	w.handle(t, settlement.HandleCollected, transfer(1, 100))
	w.handle(t, settlement.HandleReceived, transfer(1, 100))
	w.roll(t)
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.roll(t)
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
	w.must(t, attempts, "1099511627777 1 true 100")
	w.must(t, early)
}
