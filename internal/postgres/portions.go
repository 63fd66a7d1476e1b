package postgres

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
)

// Portions reads the rows of a query in portions of size, the last one smaller. While a portion is being looked at, the
// transaction is free for other statements, and no more than the portion is in memory. scan reads a row into an item,
// which is zero before. The portion is overwritten by the next one. After an error there are no further portions.
//
// A transaction can read one query like this at a time.
func Portions[T any](
	ctx context.Context, tx pgx.Tx, size int, scan func(row pgx.CollectableRow, item *T) error, query string, args ...any,
) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		if err := declare(ctx, tx, query, args); err != nil {
			yield(nil, err)
			return
		}
		items := make([]T, 0, size)
		for {
			var err error
			if items, err = fetch(ctx, tx, items[:0], size, scan); err != nil {
				yield(nil, err)
				return
			}
			if len(items) > 0 && !yield(items, nil) || len(items) < size {
				break
			}
		}
		// If this fails, so does everything else in the transaction: the next statement will tell.
		_, _ = tx.Exec(ctx, `CLOSE portions`)
	}
}

// declare opens the cursor. All of its rows will be read, so the plan shall be the one for which that is the fastest.
func declare(ctx context.Context, tx pgx.Tx, query string, args []any) error {
	if _, err := tx.Exec(ctx, `SET LOCAL cursor_tuple_fraction = 1`); err != nil {
		return fmt.Errorf("preparing to read in portions: %w", err)
	}
	if _, err := tx.Exec(ctx, `DECLARE portions NO SCROLL CURSOR FOR `+query, args...); err != nil {
		return fmt.Errorf("opening a cursor: %w", err)
	}
	return nil
}

func fetch[T any](
	ctx context.Context, tx pgx.Tx, items []T, size int, scan func(pgx.CollectableRow, *T) error,
) ([]T, error) {
	// Other cursors of this name had other columns, so no description of the result may be remembered.
	rows, err := tx.Query(ctx, fmt.Sprintf(`FETCH FORWARD %d FROM portions`, size), pgx.QueryExecModeDescribeExec)
	if err != nil {
		return items, fmt.Errorf("fetching rows: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var item T
		items = append(items, item)
		if err := scan(rows, &items[len(items)-1]); err != nil {
			return items, fmt.Errorf("reading a row: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return items, fmt.Errorf("fetching rows: %w", err)
	}
	return items, nil
}
