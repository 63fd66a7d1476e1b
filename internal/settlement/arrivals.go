package settlement

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Transfer is what an accounting authority has told of a transfer to, or from, the account of a collector.
type Transfer struct {
	Record
	Amount int64 // tokens that have been transferred, greater than zero
}

var errNoAmount = errors.New("a transfer must have an amount greater than zero")

// HandleCollected applies news of transfers from sellers. A seller that has paid more than was to be collected has not
// paid this. See section 2.5 of the chapter about transfers.
func HandleCollected(ctx context.Context, tx *workerdb.Tx, now time.Time, transfers []Transfer) error {
	return handleArrivals(ctx, tx, now, collectings, transfers)
}

// HandleReceived applies news of transfers from other collectors. The first one of each sender counts, whatever its
// amount.
func HandleReceived(ctx context.Context, tx *workerdb.Tx, now time.Time, transfers []Transfer) error {
	return handleArrivals(ctx, tx, now, receivings, transfers)
}

// HandleCollectingFailures gives up waiting for sellers whose transfers have failed (W-8).
func HandleCollectingFailures(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.CollectingFailed,
) error {
	news := make([]Transfer, len(batch))
	for i, m := range batch {
		news[i].Record = Record{m.CollectorID, m.TurnID, m.DebtorID, m.CreditorID}
	}
	return settle(ctx, tx, now, collectings, news)
}

// HandleNothingToReceives gives up waiting for collectors that have nothing to send (W-9).
func HandleNothingToReceives(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.NothingToReceive,
) error {
	news := make([]Transfer, len(batch))
	for i, m := range batch {
		news[i].Record = Record{m.CollectorID, m.TurnID, m.DebtorID, m.FromCollectorID}
	}
	return settle(ctx, tx, now, receivings, news)
}

// HandleSent applies news of transfers to other collectors. The amounts do not matter.
func HandleSent(ctx context.Context, tx *workerdb.Tx, _ time.Time, transfers []Transfer) error {
	done, err := tx.DeleteSendings(ctx, workerdb.DeleteSendingsParams(arraysOf(recordsOf(transfers))))
	if err != nil {
		return fmt.Errorf("deleting %d sendings that are done: %w", len(transfers), err)
	}
	notifyOf(tx, done)
	return nil
}

// HandleDispatched applies news of transfers to buyers. The amounts do not matter.
func HandleDispatched(ctx context.Context, tx *workerdb.Tx, _ time.Time, transfers []Transfer) error {
	done, err := tx.DeleteDispatchings(ctx, workerdb.DeleteDispatchingsParams(arraysOf(recordsOf(transfers))))
	if err != nil {
		return fmt.Errorf("deleting %d dispatchings that are done: %w", len(transfers), err)
	}
	notifyOf(tx, done)
	return nil
}

func recordsOf(transfers []Transfer) []Record {
	records := make([]Record, len(transfers))
	for i, t := range transfers {
		records[i] = t.Record
	}
	return records
}

func notifyOf(tx *workerdb.Tx, changes int64) {
	if changes > 0 {
		tx.NotifyOnCommit(workerdb.TopicSettlement)
	}
}

func handleArrivals(ctx context.Context, tx *workerdb.Tx, now time.Time, of table, transfers []Transfer) error {
	for _, t := range transfers {
		if t.Amount <= 0 { // zero would be taken for news that nothing will come
			return fmt.Errorf("%w: %+v", errNoAmount, t)
		}
	}
	return settle(ctx, tx, now, of, transfers)
}

// An expectation is a record of something that is to come: a collecting, or a receiving.
type expectation struct {
	Record
	pending bool  // nothing has come yet
	limit   int64 // the largest amount that may come

	came int64 // what has come just now
	gone bool  // nothing will come, so the record is not needed any more
}

// apply applies one piece of news: that an amount has come, or, if it is zero, that nothing will. What has come before
// stays.
func (e *expectation) apply(amount int64) {
	switch {
	case !e.pending || amount > e.limit:
	case amount == 0:
		e.pending, e.gone = false, true
	default:
		e.pending, e.came = false, amount
	}
}

// A table is one of the two tables of what is to come.
type table struct {
	name      string
	isSending bool // the tokens come from other collectors
	lock      func(context.Context, *workerdb.Tx, recordArrays) ([]expectation, error)
	mark      func(context.Context, *workerdb.Tx, recordArrays, []int64) error
	delete    func(context.Context, *workerdb.Tx, recordArrays) error
}

var collectings = table{
	name: "collectings",
	lock: func(ctx context.Context, tx *workerdb.Tx, keys recordArrays) ([]expectation, error) {
		rows, err := tx.LockCollectings(ctx, workerdb.LockCollectingsParams(keys))
		expectations := make([]expectation, len(rows))
		for i, row := range rows {
			expectations[i] = expectation{
				Record:  Record{row.CollectorID, row.TurnID, row.DebtorID, row.CreditorID},
				pending: !row.Collected, limit: row.Amount,
			}
		}
		return expectations, err
	},
	mark: func(ctx context.Context, tx *workerdb.Tx, keys recordArrays, amounts []int64) error {
		return tx.MarkCollected(ctx, workerdb.MarkCollectedParams{
			CollectorIDs: keys.CollectorIDs, TurnIDs: keys.TurnIDs, DebtorIDs: keys.DebtorIDs, CreditorIDs: keys.CreditorIDs,
			Amounts: amounts,
		})
	},
	delete: func(ctx context.Context, tx *workerdb.Tx, keys recordArrays) error {
		return tx.DeleteCollectings(ctx, workerdb.DeleteCollectingsParams(keys))
	},
}

var receivings = table{
	name:      "receivings",
	isSending: true,
	lock: func(ctx context.Context, tx *workerdb.Tx, keys recordArrays) ([]expectation, error) {
		rows, err := tx.LockReceivings(ctx, workerdb.LockReceivingsParams(keys))
		expectations := make([]expectation, len(rows))
		for i, row := range rows {
			expectations[i] = expectation{
				Record:  Record{row.ToCollectorID, row.TurnID, row.DebtorID, row.FromCollectorID},
				pending: row.ReceivedAmount == 0, limit: math.MaxInt64,
			}
		}
		return expectations, err
	},
	mark: func(ctx context.Context, tx *workerdb.Tx, keys recordArrays, amounts []int64) error {
		return tx.MarkReceived(ctx, workerdb.MarkReceivedParams{
			CollectorIDs: keys.CollectorIDs, TurnIDs: keys.TurnIDs, DebtorIDs: keys.DebtorIDs, CreditorIDs: keys.CreditorIDs,
			Amounts: amounts,
		})
	},
	delete: func(ctx context.Context, tx *workerdb.Tx, keys recordArrays) error {
		return tx.DeleteReceivings(ctx, workerdb.DeleteReceivingsParams(keys))
	},
}

// settle applies news of what was to come, in their order: an amount, or zero if nothing will come. News of records
// that are not there are kept for later, unless it is too late for them (W-10). The transaction must be one that sees
// the database as it was at its beginning: otherwise, records that are added meanwhile could miss their news.
func settle(ctx context.Context, tx *workerdb.Tx, now time.Time, of table, news []Transfer) error {
	found, err := of.lock(ctx, tx, arraysOf(recordsOf(news)))
	if err != nil {
		return fmt.Errorf("locking %s: %w", of.name, err)
	}
	unknown := apply(found, news)
	if err := store(ctx, tx, of, found); err != nil {
		return err
	}
	return keep(ctx, tx, now, of, unknown)
}

// apply applies news to records, and returns the first news of each record that is not there.
func apply(found []expectation, news []Transfer) (unknown []Transfer) {
	expectations := make(map[Record]*expectation, len(found))
	for i := range found {
		expectations[found[i].Record] = &found[i]
	}
	known := map[Record]struct{}{} // as unknown
	for _, n := range news {
		if e := expectations[n.Record]; e != nil {
			e.apply(n.Amount)
		} else if _, again := known[n.Record]; !again {
			known[n.Record] = struct{}{}
			unknown = append(unknown, n)
		}
	}
	return unknown
}

// store writes down what has become of records.
func store(ctx context.Context, tx *workerdb.Tx, of table, records []expectation) error {
	var come, gone recordArrays
	var amounts []int64
	for i := range records {
		switch e := &records[i]; {
		case e.gone:
			gone.add(e.Record)
		case e.came > 0:
			come.add(e.Record)
			amounts = append(amounts, e.came)
		}
	}
	if len(amounts) > 0 {
		if err := of.mark(ctx, tx, come, amounts); err != nil {
			return fmt.Errorf("storing what has come of %d %s: %w", len(amounts), of.name, err)
		}
	}
	if len(gone.TurnIDs) > 0 {
		if err := of.delete(ctx, tx, gone); err != nil {
			return fmt.Errorf("deleting %d %s of which nothing will come: %w", len(gone.TurnIDs), of.name, err)
		}
	}
	notifyOf(tx, int64(len(amounts)+len(gone.TurnIDs)))
	return nil
}

// keep keeps early news.
func keep(ctx context.Context, tx *workerdb.Tx, now time.Time, of table, news []Transfer) error {
	if len(news) == 0 {
		return nil
	}
	keys := arraysOf(recordsOf(news))
	params := workerdb.KeepEarlyReceiptsParams{
		CollectorIDs: keys.CollectorIDs, TurnIDs: keys.TurnIDs, DebtorIDs: keys.DebtorIDs, CreditorIDs: keys.CreditorIDs,
		IsSending: of.isSending, Now: now,
	}
	for _, n := range news {
		params.Amounts = append(params.Amounts, n.Amount)
	}
	if _, err := tx.KeepEarlyReceipts(ctx, params); err != nil {
		return fmt.Errorf("keeping early news of %d %s: %w", len(news), of.name, err)
	}
	return nil
}
