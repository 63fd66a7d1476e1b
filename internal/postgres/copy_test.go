package postgres_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/circular-trade/circular-trade/internal/postgres"
)

// run copies in a transaction of its own.
func run(t *testing.T, c postgres.Copy, from, to *database, args ...any) (count int64, err error) {
	t.Helper()
	err = to.InTx(t.Context(), "copy", func(ctx context.Context, tx pgx.Tx) error {
		count, err = c.Run(ctx, from.Pool(), tx, args...)
		return err
	})
	return count, err
}

func lines(t *testing.T, db *database, query string) []string {
	t.Helper()
	rows, err := db.Pool().Query(t.Context(), `SELECT line::TEXT FROM (`+query+`) AS line`)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// Values of all types that are used arrive as they were.
func TestCopy(t *testing.T) {
	t.Parallel()
	from, to := newDatabase(t), newDatabase(t)
	const columns = `a BIGINT, b INTEGER, c SMALLINT, d TEXT, e FLOAT8, f TIMESTAMPTZ, g BOOLEAN, h DATE`
	from.exec(t, `CREATE TABLE source (`+strings.Replace(columns, "TEXT", "VARCHAR", 1)+`)`)
	to.exec(t, `CREATE TABLE "the target" (n SERIAL, `+columns+`)`)
	from.exec(t, `INSERT INTO source VALUES
		(9223372036854775807, -2147483648, 32767, 'щ"''\', 1e-300, '2026-03-10 02:00:00.000001Z', true, '2026-03-10'),
		(-9223372036854775808, 5, -1, '', 'NaN', 'epoch', false, '0001-01-01'),
		(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
		(7, 7, 7, repeat('long', 100000), '-Infinity', 'infinity', true, 'infinity')`)
	c := postgres.Copy{
		Query: `SELECT * FROM source WHERE a IS DISTINCT FROM $1`,
		Table: "the target", Columns: strings.Split("abcdefgh", ""),
	}
	for _, excluded := range []int64{0, 7} {
		to.exec(t, `TRUNCATE "the target"`)
		count, err := run(t, c, from, to, excluded)
		if want := 4 - excluded/7; count != want || err != nil {
			t.Errorf("%d rows, %v; want %d", count, err, want)
		}
		got := lines(t, to, `SELECT a, b, c, d, e, f, g, h FROM "the target" ORDER BY n`)
		want := lines(t, from, fmt.Sprintf(`SELECT * FROM source WHERE a IS DISTINCT FROM %d`, excluded))
		if !slices.Equal(got, want) {
			t.Errorf("copied %q, want %q", got, want)
		}
	}
}

// There are more rows than fit into any buffer, and some of them are not wanted.
func TestCopyChosenRows(t *testing.T) {
	t.Parallel()
	from, to := newDatabase(t), newDatabase(t)
	to.exec(t, `CREATE TABLE target (n BIGINT, text TEXT)`)
	c := postgres.Copy{
		Query: `SELECT n, CASE n % 2 WHEN 0 THEN repeat('x', (n % 50)::INTEGER) END FROM generate_series(1, $1::BIGINT) AS n`,
		Keep: func(values [][]byte) bool {
			n := binary.BigEndian.Uint64(values[0])
			if (values[1] == nil) != (n%2 == 1) {
				t.Errorf("the values are %q", values)
			}
			return n%3 > 0
		},
		Table: "target", Columns: []string{"n", "text"},
	}
	for _, rows := range []int64{0, 1, 3, 60_000} {
		to.exec(t, `TRUNCATE target`)
		want := rows - rows/3
		if count, err := run(t, c, from, to, rows); count != want || err != nil {
			t.Errorf("%d rows, %v; want %d", count, err, want)
		}
		if got := value[int64](t, to, `SELECT count(*) FROM target
			WHERE n % 3 > 0 AND coalesce(length(text), 0) = CASE n % 2 WHEN 0 THEN n % 50 ELSE 0 END`); got != want {
			t.Errorf("%d rows are right, want %d", got, want)
		}
	}
}

// When one side fails, it is told which, and why; and what has been copied is gone with the transaction.
func TestCopyFails(t *testing.T) {
	t.Parallel()
	from, to := newDatabase(t), newDatabase(t)
	to.exec(t, `CREATE TABLE target (n BIGINT CHECK (n <> 50000))`)
	for name, c := range map[string]struct{ query, state, text string }{
		"the query is wrong":        {`SELECT nothing`, "42703", "reading what is to be copied to target"},
		"the source fails midway":   {`SELECT 60000 / (20000 - n) FROM generate_series(1, 30000::BIGINT) AS n`, "22012", "reading what"},
		"the target fails midway":   {`SELECT n FROM generate_series(1, 100000::BIGINT) AS n`, "23514", "copying to target"},
		"types differ":              {`SELECT n FROM generate_series(1, 10) AS n`, "08P01", "copying to target"},
		"numbers of columns differ": {`SELECT n, n FROM generate_series(1, 10::BIGINT) AS n`, "22P04", "copying to target"},
	} {
		_, err := run(t, postgres.Copy{Query: c.query, Table: "target", Columns: []string{"n"}}, from, to)
		var failure *pgconn.PgError
		if !errors.As(err, &failure) || failure.Code != c.state || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if got := value[int](t, to, `SELECT count(*) FROM target`); got != 0 {
		t.Errorf("%d rows are left", got)
	}
	// Both sides can still be used.
	c := postgres.Copy{Query: `SELECT 1::BIGINT`, Table: "target", Columns: []string{"n"}}
	if count, err := run(t, c, from, to); count != 1 || err != nil {
		t.Errorf("%d rows, %v", count, err)
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	from, to := newDatabase(t), newDatabase(t)
	to.exec(t, `CREATE TABLE target (n BIGINT)`)
	ctx, cancel := context.WithCancel(t.Context())
	c := postgres.Copy{
		Query: `SELECT generate_series(1, 1000000000::BIGINT)`, Table: "target", Columns: []string{"n"},
		Keep: func(values [][]byte) bool {
			if binary.BigEndian.Uint64(values[0]) == 5000 {
				cancel()
			}
			return true
		},
	}
	err := to.InTx(ctx, "copy", func(ctx context.Context, tx pgx.Tx) error {
		_, err := c.Run(ctx, from.Pool(), tx)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
