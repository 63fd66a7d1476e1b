package solverdb_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// The lists of columns and keys are those of the tables.
func TestInputs(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	migrate(t, db)
	for _, input := range []solverdb.Input{
		solverdb.DebtorInfos, solverdb.ConfirmedDebtors, solverdb.SellOffers, solverdb.BuyOffers,
	} {
		if got := strings.Fields(text(t, db, `SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = $1::REGCLASS AND attnum > 0`, input.Table)); !slices.Equal(got, input.Columns) {
			t.Errorf("the columns of %s are %q", input.Table, got)
		}
		if got := strings.Fields(text(t, db, `SELECT string_agg(attname, ' ' ORDER BY place)
			FROM pg_index, unnest(indkey) WITH ORDINALITY AS key (attnum, place) JOIN pg_attribute USING (attnum)
			WHERE indrelid = $1::REGCLASS AND indisprimary AND attrelid = indrelid`, input.Table),
		); !slices.Equal(got, input.Columns[:input.KeyColumns]) {
			t.Errorf("the primary key of %s is %q", input.Table, got)
		}
	}
}

func text(t *testing.T, db *solverdb.DB, query string, args ...any) string {
	t.Helper()
	var result string
	if err := db.Pool().QueryRow(t.Context(), query, args...).Scan(&result); err != nil {
		t.Fatal(err)
	}
	return result
}

// What is new is inserted; what is there is left as it is.
func TestInsertNew(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	migrate(t, db)
	run(t, db, `INSERT INTO buy_offer VALUES (1, 5, 1, 77), (2, 6, 1, 77)`)
	for i, want := range []int64{8, 0} {
		err := db.InTx(t.Context(), "insert", func(ctx context.Context, tx *solverdb.Tx) error {
			const query = `SELECT $1::INTEGER, n, 1::BIGINT, 10 * n FROM generate_series(1, 10::BIGINT) AS n`
			keep := func(row [][]byte) bool { return row[1][7] != 3 }
			got, inserted, err := tx.InsertNew(ctx, solverdb.BuyOffers, db.Pool(), keep, query, 1)
			if got != 9 || inserted != want || err != nil {
				t.Errorf("round %d: got %d, inserted %d, %v", i, got, inserted, err)
			}
			// Another table can be filled in the same transaction.
			_, inserted, err = tx.InsertNew(ctx, solverdb.SellOffers, db.Pool(), nil,
				`SELECT 1, 1::BIGINT, 1::BIGINT, 5::BIGINT, 6::BIGINT`)
			if inserted != min(want, 1) {
				t.Errorf("round %d: inserted %d", i, inserted)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := text(t, db, `SELECT string_agg(turn_id || ':' || creditor_id || ':' || amount, ' ' ORDER BY turn_id, creditor_id)
		FROM buy_offer`); got != "1:1:10 1:2:20 1:4:40 1:5:77 1:6:60 1:7:70 1:8:80 1:9:90 1:10:100 2:6:77" {
		t.Errorf("there are %s", got)
	}
}

// A share is a turn's rows of one shard.
func TestDeleteShare(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	migrate(t, db)
	realm, err := shard.ParseWorkerRealm("1.0.#")
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range solverdb.Results {
		for turnID := 1; turnID <= 2; turnID++ {
			for debtor, hash := range []int16{-32768, -16385, -16384, -1, 0, 32767} {
				columns, amount := "creditor_id, collector_id", "3, 4"
				if strings.HasSuffix(result.HashColumn, "_collector_hash") {
					columns = "from_collector_id, to_collector_id"
				}
				_, err := db.Pool().Exec(t.Context(), `INSERT INTO `+result.Table+` (turn_id, debtor_id, `+result.HashColumn+
					`, amount, `+columns+`) VALUES ($1, $2, $3, 5, `+amount+`)`, turnID, debtor, hash)
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, want := range []int64{2, 0} {
			err := db.InTx(t.Context(), "delete", func(ctx context.Context, tx *solverdb.Tx) error {
				count, err := tx.DeleteShare(ctx, result, 1, realm)
				if count != want {
					t.Errorf("%s: %d rows, want %d", result.Table, count, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := text(t, db, `SELECT string_agg(turn_id || ':' || debtor_id, ' ' ORDER BY turn_id, debtor_id) FROM `+
			pgx.Identifier{result.Table}.Sanitize()); got != "1:2 1:3 1:4 1:5 2:0 2:1 2:2 2:3 2:4 2:5" {
			t.Errorf("%s: left are %s", result.Table, got)
		}
	}
}
