package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/postgres"
)

func scanNumber(row pgx.CollectableRow, n *int64) error { return row.Scan(n) }

// All rows come, in order, however many there are, and between portions other statements can be run.
func TestPortions(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE log (n BIGINT)`)
	for _, rows := range []int{0, 1, 9, 10, 11, 20, 95} {
		err := db.InTx(t.Context(), "read", func(ctx context.Context, tx pgx.Tx) error {
			var sizes []int
			var got, want []int64
			for n := range rows {
				want = append(want, int64(n+1))
			}
			const query = `SELECT n FROM generate_series(1, $1::BIGINT) AS n`
			for portion, err := range postgres.Portions(ctx, tx, 10, scanNumber, query, rows) {
				if err != nil {
					return err
				}
				got, sizes = append(got, portion...), append(sizes, len(portion))
				if _, err := tx.Exec(ctx, `INSERT INTO log VALUES ($1)`, portion[0]); err != nil {
					return err
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d rows: got %d", rows, got)
			}
			for i, size := range sizes {
				if wanted := min(10, rows-10*i); size != wanted {
					t.Errorf("%d rows: portions of %d", rows, sizes)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// In the same transaction, or on the same connection, other queries can follow, also if not everything has been read.
func TestPortionsOfSeveralQueries(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	type pair struct {
		number int64
		text   *string
	}
	scanPair := func(row pgx.CollectableRow, p *pair) error { return row.Scan(&p.number, &p.text) }
	for range 2 {
		err := db.InTx(t.Context(), "read", func(ctx context.Context, tx pgx.Tx) error {
			for portion, err := range postgres.Portions(ctx, tx, 3, scanNumber, `SELECT generate_series(1, 10::BIGINT)`) {
				if err != nil || !slices.Equal(portion, []int64{1, 2, 3}) {
					return fmt.Errorf("got %d, %w", portion, err)
				}
				break
			}
			for portion, err := range postgres.Portions(ctx, tx, 3, scanPair, `VALUES (7::BIGINT, 'x'), (8, NULL)`) {
				if err != nil || len(portion) != 2 || portion[0].number != 7 || *portion[0].text != "x" || portion[1] != (pair{8, nil}) {
					return fmt.Errorf("got %v, %w", portion, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPortionsFail(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	refused := errors.New("no")
	for name, c := range map[string]struct {
		query string
		scan  func(pgx.CollectableRow, *int64) error
		text  string
	}{
		"wrong query":  {`SELECT nothing`, scanNumber, "opening a cursor"},
		"fails midway": {`SELECT 1 / (15 - n) FROM generate_series(1, 20::BIGINT) AS n`, scanNumber, "fetching rows"},
		"bad row":      {`SELECT 1`, func(pgx.CollectableRow, *int64) error { return refused }, "reading a row: no"},
	} {
		err := db.InTx(t.Context(), "read", func(ctx context.Context, tx pgx.Tx) error {
			var failure error
			for portion, err := range postgres.Portions(ctx, tx, 10, c.scan, c.query) {
				if failure != nil {
					t.Errorf("%s: there is a portion after the error", name)
				}
				if (err == nil) == (portion == nil) {
					t.Errorf("%s: portion %d, error %v", name, portion, err)
				}
				failure = err
			}
			return failure
		})
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
