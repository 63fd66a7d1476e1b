package settlement

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// applyEarlyReceipts applies news that had come before their records were there (W-10), and deletes those that have
// waited in vain.
func (r *Roller) applyEarlyReceipts(ctx context.Context) error {
	if err := r.forgetEarlyReceipts(ctx); err != nil {
		return fmt.Errorf("deleting early receipts that nobody needs: %w", err)
	}
	for _, of := range []table{collectings, receivings} {
		if err := r.applyEarly(ctx, of); err != nil {
			return fmt.Errorf("applying early receipts to %s: %w", of.name, err)
		}
	}
	return nil
}

// applyEarly applies early news to the records of one of the tables, page by page.
func (r *Roller) applyEarly(ctx context.Context, of table) error {
	for from := firstStatus.with(math.MinInt64); ; {
		timely, err := r.timely(ctx, of, from)
		if err != nil {
			return err
		}
		var own []Record
		for _, key := range timely {
			if r.owns(key.CollectorID) {
				own = append(own, key)
			}
		}
		if len(own) > 0 {
			if err := r.applyPage(ctx, of, own); err != nil {
				return err
			}
		}
		if len(timely) < r.pageSize() {
			return nil
		}
		from = timely[len(timely)-1]
	}
}

func (r *Roller) applyPage(ctx context.Context, of table, records []Record) error {
	return r.DB.InTx(ctx, "apply_early_receipts", func(ctx context.Context, tx *workerdb.Tx) error {
		keys := arraysOf(records)
		taken, err := tx.TakeEarlyReceipts(ctx, workerdb.TakeEarlyReceiptsParams{
			CollectorIDs: keys.CollectorIDs, TurnIDs: keys.TurnIDs, DebtorIDs: keys.DebtorIDs, CreditorIDs: keys.CreditorIDs,
			IsSending: of.isSending,
		})
		if err != nil {
			return err
		}
		news := make([]Transfer, len(taken))
		for i, t := range taken {
			news[i] = Transfer{Record{t.CollectorID, t.TurnID, t.DebtorID, t.CreditorID}, t.Amount}
		}
		return settle(ctx, tx, r.now(), of, news)
	})
}

// timely returns up to a page of records of which there are early news, from one on. They are there, or have been.
func (r *Roller) timely(ctx context.Context, of table, from Record) (records []Record, err error) {
	err = r.DB.InReadCommittedTx(ctx, "look_for_early_receipts", func(ctx context.Context, tx *workerdb.Tx) error {
		if err := tx.ReadInKeyOrder(ctx); err != nil {
			return fmt.Errorf("choosing how to read early receipts: %w", err)
		}
		rows, err := tx.TimelyEarlyReceipts(ctx, workerdb.TimelyEarlyReceiptsParams{
			CollectorID: int64(from.CollectorID), TurnID: from.TurnID, DebtorID: int64(from.DebtorID),
			CreditorID: int64(from.OtherID), IsSending: of.isSending, AtMost: int64(r.pageSize()),
		})
		records = make([]Record, len(rows))
		for i, row := range rows {
			records[i] = Record{row.CollectorID, row.TurnID, row.DebtorID, row.CreditorID}
		}
		return err
	})
	return records, err
}

// forgetEarlyReceipts deletes news that have waited for too long, and those for the other half of the parent's realm.
func (r *Roller) forgetEarlyReceipts(ctx context.Context) error {
	before := r.now().Add(-r.EarlyReceiptMaxAge)
	expired, err := r.inPages(func(atMost int64) (int64, error) {
		return r.DB.Queries().ExpireEarlyReceipts(ctx, workerdb.ExpireEarlyReceiptsParams{Before: before, AtMost: atMost})
	})
	if err != nil {
		return err
	}
	if expired > 0 {
		r.Logger.WarnContext(ctx, "deleted news of transfers that nobody has ever waited for", slog.Int64("number", expired))
	}
	if !r.DeleteParentRecords {
		return nil
	}
	collectors, err := r.DB.Queries().EarlyReceiptCollectors(ctx)
	if err != nil {
		return err
	}
	var leftOver []int64
	for _, id := range collectors {
		if key := shard.KeyOf(id); !r.Realm.Match(key) && r.Realm.MatchParent(key) {
			leftOver = append(leftOver, int64(id))
		}
	}
	if len(leftOver) == 0 {
		return nil
	}
	_, err = r.inPages(func(atMost int64) (int64, error) {
		return r.DB.Queries().DeleteEarlyReceiptsOf(ctx, workerdb.DeleteEarlyReceiptsOfParams{
			CollectorIDs: leftOver, AtMost: atMost,
		})
	})
	return err
}

// inPages deletes one page after the other, until one is not full.
func (r *Roller) inPages(deletePage func(atMost int64) (int64, error)) (deleted int64, err error) {
	for {
		n, err := deletePage(int64(r.pageSize()))
		deleted += n
		if err != nil || n < int64(r.pageSize()) {
			return deleted, err
		}
	}
}
