package sql_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

// script runs one of the operators' scripts with psql, in some directory, and returns what it has printed. Where a
// worker's script asks for the solver database, there is none.
func script(t *testing.T, pool *pgxpool.Pool, directory, name string, args ...string) (string, error) {
	t.Helper()
	return scriptBeside(t, "postgres:///nowhere", pool, directory, name, args...)
}

// scriptBeside does so beside a solver database.
func scriptBeside(
	t *testing.T, solverURL string, pool *pgxpool.Pool, directory, name string, args ...string,
) (string, error) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("operators", name))
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--no-psqlrc", "--no-password", "--file", path}, args...)
	cmd := exec.CommandContext(t.Context(), "psql", args...)
	cmd.Dir = directory
	server := pool.Config().ConnConfig
	cmd.Env = append(os.Environ(), "PGHOST="+server.Host, "PGPORT="+strconv.Itoa(int(server.Port)), "PGUSER="+server.User,
		"PGPASSWORD="+server.Password, "PGDATABASE="+server.Database, "SOLVER_POSTGRES_URL="+solverURL)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func mustRun(t *testing.T, pool *pgxpool.Pool, directory, name string, args ...string) {
	t.Helper()
	if output, err := script(t, pool, directory, name, args...); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

func execute(t *testing.T, pool *pgxpool.Pool, statement string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// rows returns what a query finds, as text.
func rows(t *testing.T, pool *pgxpool.Pool, query string) []string {
	t.Helper()
	found, err := pool.Query(t.Context(), "SELECT coalesce(found::TEXT, '') FROM ("+query+") AS found")
	if err != nil {
		t.Fatal(err)
	}
	texts, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	slices.Sort(texts)
	return texts
}

// What a worker has to know when it begins in the place of another one.
const knowledge = `
	INSERT INTO trading_policy (
		creditor_id, debtor_id, latest_ledger_update_id, latest_ledger_update_ts, account_id, creation_date, principal,
		last_transfer_number, latest_policy_update_id, policy_name, min_principal, peg_debtor_id, peg_exchange_rate
	) VALUES (-5, 1, 7, '2026-03-10 02:00:00.123456+00', E'comma, "quote"\nline', '2025-01-02', -9223372036854775808, 18, 3,
		'conservative', 5, 2, 0.1);
	INSERT INTO trading_policy (creditor_id, debtor_id, account_id_is_obsolete) VALUES (-5, 2, TRUE);
	INSERT INTO needed_worker_account VALUES (1, 1, '2026-03-10 02:00+00');
	INSERT INTO worker_account VALUES
		(1, 1, '2026-01-01', '2026-03-10 02:00+00', -7, 100, -1e-300, -5.5, '2026-02-01 02:00+00', 0, 'a', NULL, 5,
		'2026-03-01 02:00+00', -50, 7776000, 500, '2026-03-10 02:00+00'),
		(1, 2, '2026-01-01', '2026-03-10 02:00+00', 7, 100, 0.1, 0, '2026-02-01 02:00+00', 0, '', '', 5,
		'2026-03-01 02:00+00', 0, 7776000, 500, '2026-03-10 02:00+00');
	INSERT INTO interest_rate_change VALUES (1, 1, '2026-02-01 02:00+00', -5.5);
	INSERT INTO debtor_locator_claim VALUES (1, 'https://example.com/1', '2026-03-10 02:00+00', '2026-03-10 02:00+00', NULL);
	INSERT INTO debtor_info_document VALUES
		('https://example.com/1', 1, 'https://example.com/2', 2, 0.7, NULL, '2026-03-10 02:00+00');
	SELECT setval('coordinator_request_id_seq', 5000000)`

var known = []string{
	"trading_policy", "needed_worker_account", "worker_account", "interest_rate_change", "debtor_locator_claim",
	"debtor_info_document",
}

func TestAWorkerTakesThePlaceOfAnother(t *testing.T) {
	t.Parallel()
	before, after := workerdbtest.New(t).Pool(), workerdbtest.New(t).Pool()
	execute(t, before, knowledge)
	directory := t.TempDir()
	mustRun(t, before, directory, "export_worker.sql")
	mustRun(t, after, directory, "import_worker.sql")
	for _, table := range known {
		want, got := rows(t, before, "TABLE "+table), rows(t, after, "TABLE "+table)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", table, got, want)
		}
	}
	if next := rows(t, after, "SELECT nextval('coordinator_request_id_seq')"); next[0] != "(6000001)" {
		t.Errorf("the next request has the number %s", next)
	}
}

// What comes too late, or to the wrong place, is not read, not even in part.
func TestAnImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	before, after := workerdbtest.New(t).Pool(), workerdbtest.New(t).Pool()
	execute(t, before, knowledge)
	execute(t, after, "INSERT INTO debtor_info_document (debtor_info_locator, debtor_id, fetched_at) VALUES ('https://example.com/1', 1, now())")
	directory := t.TempDir()
	mustRun(t, before, directory, "export_worker.sql")
	if output, err := script(t, after, directory, "import_worker.sql"); err == nil || !strings.Contains(output, "duplicate key") {
		t.Errorf("the import ended with %v\n%s", err, output)
	}
	if policies := rows(t, after, "TABLE trading_policy"); len(policies) != 0 {
		t.Errorf("it has left %q", policies)
	}
}

// What a worker has to do in a turn, in all tables: the turn 7 has been decided, the turn 8 has not.
const underWay = `
	INSERT INTO worker_turn VALUES
		(7, now(), 'https://example.com/', 1, 10, 1000, 3, NULL, now(), now(), 10),
		(8, now(), 'https://example.com/', 1, 10, 1000, 2, now(), NULL, now(), 10);
	INSERT INTO account_lock (creditor_id, debtor_id, turn_id, collector_id, initiated_at, coordinator_request_id, amount,
		transfer_id, finalized_at, released_at, account_creation_date, account_last_transfer_number) VALUES
		(101, 1, 7, 1, now(), 1, -50, 11, now(), NULL, NULL, NULL),
		(102, 1, 7, 1, now(), 2, 50, 12, NULL, NULL, NULL, NULL),
		(103, 1, 7, 1, now(), 3, -50, 13, now(), now(), '2026-01-01', 5),
		(104, 1, 8, 1, now(), 4, -50, 14, NULL, NULL, NULL, NULL);
	INSERT INTO creditor_participation VALUES (102, 1, 7, 50, 1);
	INSERT INTO worker_collecting VALUES (1, 7, 1, 101, 50, FALSE, now());
	INSERT INTO worker_sending VALUES (1, 7, 1, 2, 50, now());
	INSERT INTO worker_receiving VALUES (1, 7, 1, 2, 50, 0, now());
	INSERT INTO worker_dispatching VALUES (1, 7, 1, 102, 50, now());
	INSERT INTO dispatching_status VALUES (1, 7, 1, now(), 50, 0, 50, 50, 1, 50);
	INSERT INTO transfer_attempt (collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount,
		collection_started_at, inserted_at, recipient, recipient_version) VALUES (1, 7, 1, 102, TRUE, 50, now(), now(), '', 0)`

func TestAnExportStopsAtTokensOnTheirWay(t *testing.T) {
	t.Parallel()
	pool := workerdbtest.New(t).Pool()
	execute(t, pool, underWay)
	directory := t.TempDir()
	output, err := script(t, pool, directory, "export_worker.sql")
	if err == nil || !strings.Contains(output, "3 locks of accounts, 1 settlements, 1 transfers") {
		t.Errorf("the export ended with %v\n%s", err, output)
	}
	if files, err := os.ReadDir(directory); len(files) != 0 {
		t.Errorf("it has written %v, %v", files, err)
	}
}

func TestAnExportStopsAtMessages(t *testing.T) {
	t.Parallel()
	for table, add := range map[string]string{
		"outbox": `INSERT INTO outbox (creditor_id, debtor_id, coordinator_id, shard_key, type, coordinator_type, body)
			VALUES (1, 1, 1, 0, 'FinalizeTransfer', 'agent', '{}')`,
		"collector_task":           "INSERT INTO collector_task VALUES (1, 0, '', now(), now())",
		"finalize_transfer_signal": "CREATE TABLE finalize_transfer_signal AS SELECT 1",
	} {
		pool := workerdbtest.New(t).Pool()
		execute(t, pool, add)
		output, err := script(t, pool, t.TempDir(), "export_worker.sql")
		if err == nil || !strings.Contains(output, "messages in the table "+table) {
			t.Errorf("%s: the export ended with %v\n%s", table, err, output)
		}
	}
}

func afterRestoring(t *testing.T, pool *pgxpool.Pool, solverURL string) {
	t.Helper()
	if output, err := scriptBeside(t, solverURL, pool, t.TempDir(), "after_restoring_worker.sql"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

// Otherwise it would have the accounts of its own collectors deleted.
func TestARestoredWorkerKnowsItsCollectors(t *testing.T) {
	t.Parallel()
	pool, solverURL := workerdbtest.New(t).Pool(), solverdbtest.URL(t)
	execute(t, pool, `
		INSERT INTO worker_identity VALUES (TRUE, '1.0.#', 1, 9);
		INSERT INTO needed_worker_account VALUES (1, 1, '2026-03-10 02:00+00')`)
	execute(t, solverdbtest.Open(t, solverURL, postgres.Options{}).Pool(), `
		INSERT INTO collector_account VALUES
			(1, 1, -32768, 'a', 2, now()), (1, 2, -16385, 'b', 2, now()), (1, 3, -32768, '', 1, now()),
			(1, 4, -16384, 'other shard', 2, now()), (1, 5, 32767, 'other shard', 2, now()),
			(1, 6, -32768, '', 0, now()), (1, 7, -32768, 'c', 3, now())`)
	afterRestoring(t, pool, solverURL)
	got := rows(t, pool, "SELECT creditor_id, debtor_id, configured_at < '2026-03-11' FROM needed_worker_account")
	if want := []string{"(1,1,t)", "(2,1,f)", "(3,1,f)"}; !slices.Equal(got, want) {
		t.Errorf("its collectors are %q, want %q", got, want)
	}
	if output, err := script(t, pool, t.TempDir(), "after_restoring_worker.sql"); err == nil {
		t.Errorf("it did not miss the solver database:\n%s", output)
	}
}

func TestARestoredWorkerPaysNobodyTwice(t *testing.T) {
	t.Parallel()
	pool := workerdbtest.New(t).Pool()
	execute(t, pool, knowledge)
	execute(t, pool, underWay)
	working := []string{
		"worker_collecting", "worker_sending", "worker_receiving", "worker_dispatching", "dispatching_status",
		"transfer_attempt", "creditor_participation",
	}
	want := map[string][]string{}
	for _, table := range slices.Concat(working, known, []string{"worker_turn"}) {
		if want[table] = rows(t, pool, "TABLE "+table); len(want[table]) == 0 {
			t.Fatalf("%s is empty", table)
		}
	}
	solverURL := solverdbtest.URL(t)
	for range 2 {
		afterRestoring(t, pool, solverURL)
		for _, table := range working {
			if left := rows(t, pool, "TABLE "+table); len(left) != 0 {
				t.Errorf("%s still has %q", table, left)
			}
			kept := rows(t, pool, "SELECT (jsonb_populate_record(NULL::"+table+", record)).* FROM kept_record WHERE table_name = '"+table+"'")
			if !slices.Equal(kept, want[table]) {
				t.Errorf("of %s, %q has been kept, not %q", table, kept, want[table])
			}
		}
		for _, table := range append(known, "worker_turn") {
			if got := rows(t, pool, "TABLE "+table); !slices.Equal(got, want[table]) {
				t.Errorf("%s has become %q, was %q", table, got, want[table])
			}
		}
		// Released locks tell from which state of the account on it can be offered again. Those of the turn 8 will be
		// revised.
		if left := rows(t, pool, "SELECT creditor_id FROM account_lock"); !slices.Equal(left, []string{"(103)", "(104)"}) {
			t.Errorf("the locks of %q are left", left)
		}
		if kept := rows(t, pool, "SELECT (record ->> 'creditor_id')::BIGINT FROM kept_record WHERE table_name = 'account_lock'"); !slices.Equal(kept, []string{"(101)", "(102)"}) {
			t.Errorf("the locks of %q have been kept", kept)
		}
	}
	if next := rows(t, pool, "SELECT nextval('coordinator_request_id_seq') > 1000000000"); next[0] != "(t)" {
		t.Error("numbers of requests are used again")
	}
}

func TestARestoredSolverStartsNewTurns(t *testing.T) {
	t.Parallel()
	pool := solverdbtest.New(t).Pool()
	for turn := 1; turn <= 3; turn++ {
		execute(t, pool, fmt.Sprintf(`
			INSERT INTO turn (started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
				phase, phase_deadline, collection_started_at, collection_deadline)
			VALUES (now(), 'https://example.com/', 1, 10, 1000, %d, now(), now(), now())`, turn))
	}
	execute(t, pool, `
		INSERT INTO creditor_taking VALUES (3, 101, 1, 0, 50, 1);
		INSERT INTO collector_collecting VALUES (3, 1, 101, 50, 1, 0);
		INSERT INTO sell_offer VALUES (2, 101, 1, 50, 1)`)
	if output, err := script(t, pool, t.TempDir(), "after_restoring_solver.sql"); err == nil {
		t.Errorf("it did not miss the largest turn ID:\n%s", output)
	}
	for range 2 {
		mustRun(t, pool, t.TempDir(), "after_restoring_solver.sql", "--set", "highest_turn=5")
		if turns := rows(t, pool, "SELECT turn_id, phase, phase_deadline FROM turn"); !slices.Equal(turns,
			[]string{"(1,4,)", "(2,4,)", "(3,4,)", "(4,4,)", "(5,4,)"}) {
			t.Errorf("the turns are %q", turns)
		}
		for _, table := range []string{"creditor_taking", "collector_collecting", "sell_offer"} {
			if left := rows(t, pool, "TABLE "+table); len(left) != 0 {
				t.Errorf("%s still has %q", table, left)
			}
		}
	}
	if next := rows(t, pool, "SELECT nextval('turn_turn_id_seq')"); next[0] != "(6)" {
		t.Errorf("the next turn has the ID %s", next)
	}
}

// What docs/backups.md tells to do puts a transfer back, and has it tried.
func TestATransferIsPutBack(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "backups.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, statement, found := strings.Cut(string(page), "    INSERT INTO transfer_attempt\n")
	statement, _, ends := strings.Cut(statement, ";")
	if !found || !ends {
		t.Fatal("docs/backups.md has no such statement")
	}
	for _, id := range []string{"1", "7", "1", "102"} {
		statement = strings.Replace(statement, "…", id, 1)
	}
	pool := workerdbtest.New(t).Pool()
	execute(t, pool, underWay)
	afterRestoring(t, pool, solverdbtest.URL(t))
	execute(t, pool, "INSERT INTO transfer_attempt "+statement)
	const due = "SELECT creditor_id, nominal_amount FROM transfer_attempt WHERE rescheduled_for <= now() AND is_dispatching"
	if got := rows(t, pool, due); !slices.Equal(got, []string{"(102,50)"}) {
		t.Errorf("to be tried now: %q", got)
	}
}

// The scripts name columns. None of the tables may get another one that they do not know of.
func TestScriptsKnowAllColumns(t *testing.T) {
	t.Parallel()
	pool := workerdbtest.New(t).Pool()
	text, err := os.ReadFile(filepath.Join("operators", "import_worker.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range known {
		var columns string
		const query = `
			SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`
		if err := pool.QueryRow(context.WithoutCancel(t.Context()), query, table).Scan(&columns); err != nil {
			t.Fatal(err)
		}
		if want := `\copy ` + table + ` (` + columns + `) FROM`; !strings.Contains(string(text), want) {
			t.Errorf("the import does not say %q", want)
		}
	}
}
