package solverdb_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// newDatabase returns an empty database.
func newDatabase(t *testing.T) *solverdb.DB {
	t.Helper()
	return open(t, testenv.NewDatabase(t))
}

func open(t *testing.T, text string) *solverdb.DB {
	t.Helper()
	url, err := postgres.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	db, err := solverdb.Open(url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func migrate(t *testing.T, db *solverdb.DB) {
	t.Helper()
	if err := solverdb.Migrations().Up(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	if done, err := db.Migrated(t.Context()); !done || err != nil {
		t.Fatalf("the database is migrated: %v, %v", done, err)
	}
}

// run executes the statements of a file.
func run(t *testing.T, db *solverdb.DB, statements string) {
	t.Helper()
	if _, err := db.Pool().Exec(t.Context(), statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// describe returns how the database describes the tables in its current schema, in the order of their creation. Those
// that are not part of the contract are left out.
func describe(t *testing.T, db *solverdb.DB) string {
	t.Helper()
	const query = `
		WITH tables AS (
			SELECT pg_class.oid, relname FROM pg_class
			JOIN pg_namespace ON pg_namespace.oid = relnamespace
			WHERE nspname = current_schema() AND relkind = 'r' AND relname <> 'alembic_version'
				AND NOT starts_with(relname, 'trade_')
		)
		SELECT line FROM (
			SELECT oid, 0 AS part, 0 AS place, relname::TEXT AS line FROM tables
			UNION ALL
			SELECT tables.oid, 1, attnum, '    ' || attname || ' ' || format_type(atttypid, atttypmod)
				|| CASE WHEN attnotnull THEN '' ELSE ' NULL' END
				|| coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
			FROM tables
			JOIN pg_attribute ON attrelid = tables.oid
			LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE attnum > 0 AND NOT attisdropped
			UNION ALL
			SELECT tables.oid, CASE contype WHEN 'p' THEN 2 ELSE 3 END, 0,
				'    ' || CASE contype WHEN 'p' THEN conname || ': ' ELSE '' END || pg_get_constraintdef(pg_constraint.oid)
			FROM tables
			JOIN pg_constraint ON conrelid = tables.oid
			UNION ALL
			SELECT tables.oid, 4, 0,
				regexp_replace(pg_get_indexdef(indexrelid), 'CREATE (UNIQUE )?INDEX (\S+) ON .* USING', '    \1INDEX \2 USING')
			FROM tables
			JOIN pg_index ON indrelid = tables.oid
			WHERE NOT indisprimary
		) AS lines
		ORDER BY oid, part, place, line COLLATE "C"`
	rows, err := db.Pool().Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n") + "\n"
}

// ownTables lists the tables that swpt_trade does not know.
func ownTables(t *testing.T, db *solverdb.DB) string {
	t.Helper()
	rows, err := db.Pool().Query(t.Context(), `SELECT tablename::TEXT FROM pg_tables
		WHERE schemaname = current_schema() AND starts_with(tablename, 'trade_') ORDER BY tablename`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(tables)
}

func checkContract(t *testing.T, db *solverdb.DB) {
	t.Helper()
	got := strings.Split(describe(t, db), "\n")
	want := strings.Split(read(t, "testdata/contract.txt"), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d differs from the contract:\n got %q\nwant %q", i+1, got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
		}
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	migrate(t, db)
	checkContract(t, db)
	if err := solverdb.Migrations().Down(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	if got := describe(t, db) + ownTables(t, db); got != "\n[trade_solver_schema]" {
		t.Errorf("there are still these tables:\n%s", got)
	}
	migrate(t, db)
	checkContract(t, db)
}

func TestMigrationsAdoptTheTablesOfSwptTrade(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	run(t, db, read(t, "testdata/swpt_trade.sql"))
	migrate(t, db)
	migrate(t, db)
	checkContract(t, db)

	turns, err := db.Queries().UnfinishedTurns(t.Context())
	if err != nil || len(turns) != 1 || turns[0].TurnID != 1 || turns[0].BaseDebtorID != 666 {
		t.Errorf("the turns are %v, %v", turns, err)
	}
	var version, account string
	var sequences int
	err = db.Pool().QueryRow(t.Context(), `SELECT (SELECT version_num FROM alembic_version),
		(SELECT account_id FROM collector_account), (SELECT count(*) FROM pg_sequences)`).Scan(&version, &account, &sequences)
	if err != nil || version != "88cd664f51a3" || account != "abc" || sequences != 1 {
		t.Errorf("version %s, account %s, %d sequences, %v", version, account, sequences, err)
	}

	// What we have not made, we do not destroy, and so nothing else, either.
	own := ownTables(t, db)
	if err := solverdb.Migrations().Down(t.Context(), db.URL()); err == nil || !strings.Contains(err.Error(), "swpt_trade") {
		t.Errorf("the error is %v", err)
	}
	checkContract(t, db)
	if got := ownTables(t, db); got != own {
		t.Errorf("of the tables %s, there are %s", own, got)
	}
}

func TestMigrationsAcceptAdditions(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	run(t, db, read(t, "testdata/swpt_trade.sql"))
	run(t, db, `
		ALTER TABLE turn ADD COLUMN note VARCHAR;
		ALTER TABLE turn ADD COLUMN weight INT NOT NULL DEFAULT 1;
		CREATE TABLE another (n INT NOT NULL);
		CREATE INDEX idx_another ON turn (base_debtor_id);`)
	migrate(t, db)
}

func TestMigrationsRefuseOtherTables(t *testing.T) {
	t.Parallel()
	for change, complaint := range map[string]string{
		`ALTER TABLE turn DROP COLUMN collection_deadline`:              `turn lacks "collection_deadline timestamp with time zone?"`,
		`ALTER TABLE sell_offer ALTER amount TYPE INTEGER`:              `sell_offer lacks "amount bigint"`,
		`ALTER TABLE turn ALTER started_at DROP NOT NULL`:               `turn lacks "started_at timestamp with time zone"`,
		`ALTER TABLE buy_offer ADD COLUMN price INT NOT NULL`:           `buy_offer demands "price integer"`,
		`ALTER TABLE turn RENAME TO my_turn; CREATE TABLE turn (n INT)`: `turn lacks "base_debtor_id bigint"`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			run(t, db, read(t, "testdata/swpt_trade.sql"))
			run(t, db, change)
			before := describe(t, db)
			err := solverdb.Migrations().Up(t.Context(), db.URL())
			if err == nil || !strings.Contains(err.Error(), complaint) {
				t.Errorf("the error is %v, want one with %s", err, complaint)
			}
			if after := describe(t, db); after != before {
				t.Errorf("the tables have been changed to:\n%s", after)
			}
		})
	}
}

func TestMigrationsInOtherSchemas(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	public := open(t, url)
	run(t, public, read(t, "testdata/swpt_trade.sql")+`; CREATE SCHEMA "Solver Two"; ALTER TABLE turn DROP COLUMN phase;`)
	before := describe(t, public)
	db := open(t, url+`&search_path="Solver%20Two",public`)
	migrate(t, db)
	checkContract(t, db)
	if after := describe(t, public); after != before {
		t.Errorf("the tables of the other schema have been changed to:\n%s", after)
	}
	if done, err := public.Migrated(t.Context()); done || err != nil {
		t.Errorf("the other schema is migrated: %v, %v", done, err)
	}
}

func TestUnfinishedTurns(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	migrate(t, db)
	for phase := range 4 {
		run(t, db, fmt.Sprintf(`INSERT INTO turn (started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base,
			min_trade_amount, phase, phase_deadline, collection_started_at, collection_deadline)
			VALUES (now(), 'https://example.com/1', 1, 10, 1000, %d, now(), now(), now())`, phase+1))
	}
	turns, err := db.Queries().UnfinishedTurns(t.Context())
	if err != nil || len(turns) != 3 {
		t.Fatalf("%d turns, %v, want 3", len(turns), err)
	}
	for i, turn := range turns {
		if int(turn.TurnID) != i+1 || int(turn.Phase) != i+1 {
			t.Errorf("turn %d is in phase %d", turn.TurnID, turn.Phase)
		}
	}
}
