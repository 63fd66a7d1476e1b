package solverdb

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
)

// The methods in this file insert any number of rows with COPY. They are fastest when the rows come in the order of the
// table's primary key.

// CopyTakings inserts what is taken from creditors. Primary key: turn, creditor, debtor.
func (tx *Tx) CopyTakings(ctx context.Context, rows iter.Seq[CreditorTaking]) error {
	columns := []string{"turn_id", "creditor_id", "debtor_id", "creditor_hash", "amount", "collector_id"}
	return copyRows(ctx, tx, "creditor_taking", columns, rows, func(r CreditorTaking) []any {
		return []any{r.TurnID, int64(r.CreditorID), int64(r.DebtorID), r.CreditorHash, r.Amount, int64(r.CollectorID)}
	})
}

// CopyGivings inserts what is given to creditors. Primary key: turn, creditor, debtor.
func (tx *Tx) CopyGivings(ctx context.Context, rows iter.Seq[CreditorGiving]) error {
	columns := []string{"turn_id", "creditor_id", "debtor_id", "creditor_hash", "amount", "collector_id"}
	return copyRows(ctx, tx, "creditor_giving", columns, rows, func(r CreditorGiving) []any {
		return []any{r.TurnID, int64(r.CreditorID), int64(r.DebtorID), r.CreditorHash, r.Amount, int64(r.CollectorID)}
	})
}

// CopyCollectings inserts what collectors take. Primary key: turn, debtor, creditor.
func (tx *Tx) CopyCollectings(ctx context.Context, rows iter.Seq[CollectorCollecting]) error {
	columns := []string{"turn_id", "debtor_id", "creditor_id", "amount", "collector_id", "collector_hash"}
	return copyRows(ctx, tx, "collector_collecting", columns, rows, func(r CollectorCollecting) []any {
		return []any{r.TurnID, int64(r.DebtorID), int64(r.CreditorID), r.Amount, int64(r.CollectorID), r.CollectorHash}
	})
}

// CopyDispatchings inserts what collectors give. Primary key: turn, debtor, creditor.
func (tx *Tx) CopyDispatchings(ctx context.Context, rows iter.Seq[CollectorDispatching]) error {
	columns := []string{"turn_id", "debtor_id", "creditor_id", "amount", "collector_id", "collector_hash"}
	return copyRows(ctx, tx, "collector_dispatching", columns, rows, func(r CollectorDispatching) []any {
		return []any{r.TurnID, int64(r.DebtorID), int64(r.CreditorID), r.Amount, int64(r.CollectorID), r.CollectorHash}
	})
}

// CopySendings inserts what collectors send to each other. Primary key: turn, debtor, sender, recipient.
func (tx *Tx) CopySendings(ctx context.Context, rows iter.Seq[CollectorSending]) error {
	columns := []string{"turn_id", "debtor_id", "from_collector_id", "to_collector_id", "from_collector_hash", "amount"}
	return copyRows(ctx, tx, "collector_sending", columns, rows, func(r CollectorSending) []any {
		return []any{
			r.TurnID, int64(r.DebtorID), int64(r.FromCollectorID), int64(r.ToCollectorID), r.FromCollectorHash, r.Amount,
		}
	})
}

// CopyReceivings inserts what collectors receive from each other. Primary key: turn, debtor, recipient, sender.
func (tx *Tx) CopyReceivings(ctx context.Context, rows iter.Seq[CollectorReceiving]) error {
	columns := []string{"turn_id", "debtor_id", "to_collector_id", "from_collector_id", "to_collector_hash", "amount"}
	return copyRows(ctx, tx, "collector_receiving", columns, rows, func(r CollectorReceiving) []any {
		return []any{
			r.TurnID, int64(r.DebtorID), int64(r.ToCollectorID), int64(r.FromCollectorID), r.ToCollectorHash, r.Amount,
		}
	})
}

func copyRows[Row any](
	ctx context.Context, tx *Tx, table string, columns []string, rows iter.Seq[Row], values func(Row) []any,
) error {
	next, stop := iter.Pull(rows)
	defer stop()
	_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		row, more := next()
		if !more {
			return nil, nil
		}
		return values(row), nil
	}))
	if err != nil {
		return fmt.Errorf("copying rows to %s: %w", table, err)
	}
	return nil
}
