package workerdb_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func open(t *testing.T, text string, options postgres.Options) *workerdb.DB {
	t.Helper()
	url, err := postgres.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	db, err := workerdb.Open(url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func exec(t *testing.T, db *workerdb.DB, sql string) {
	t.Helper()
	if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func migrate(t *testing.T, db *workerdb.DB) {
	t.Helper()
	if err := workerdb.Migrations().Up(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	if done, err := db.Migrated(t.Context()); !done || err != nil {
		t.Fatalf("the database is migrated: %v, %v", done, err)
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{})
	migrate(t, db)
	if err := workerdb.Migrations().Down(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	if done, err := db.Migrated(t.Context()); done || err != nil {
		t.Errorf("the database is migrated: %v, %v", done, err)
	}
	migrate(t, db)
}

// Whoever tries the service out may put everything into one schema.
func TestMigrationsBesideThoseOfTheSolver(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{})
	for range 2 {
		if err := solverdb.Migrations().Up(t.Context(), db.URL()); err != nil {
			t.Fatal(err)
		}
		migrate(t, db)
	}
}

// Others keep tables in a worker's database, too: the splitting of shards, for example.
func TestMigrationsTolerateUnknownTables(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{})
	exec(t, db, `CREATE TABLE shard_split_guard (id SMALLINT PRIMARY KEY, value TEXT)`)
	migrate(t, db)
}

func TestMigrationsRefuseTheTablesOfSwptTrade(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	db := open(t, url, postgres.Options{})
	exec(t, db, `CREATE TABLE worker_account (creditor_id BIGINT)`)
	err := workerdb.Migrations().Up(t.Context(), db.URL())
	if err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("the error is %v", err)
	}
	exec(t, db, `CREATE SCHEMA own`)
	migrate(t, open(t, url+"&search_path=own,public", postgres.Options{}))
}

func TestNotifyOnCommit(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{
		Retry: postgres.Retry{Limit: 1, Pause: time.Millisecond, MaxPause: time.Millisecond},
	})
	listener := postgres.NewListener(db.URL(), slog.New(slog.DiscardHandler))
	heard := map[string]<-chan struct{}{}
	for _, topic := range []string{"early", "apples", "pears"} {
		heard[topic], _ = listener.Subscribe(topic)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return listener.Run(ctx) })
	defer func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	}()
	for _, commits := range heard {
		waitFor(t, commits) // that there is a connection
	}

	for name, in := range map[string]func(context.Context, string, func(context.Context, *workerdb.Tx) error) error{
		"repeatable read": db.InTx, "read committed": db.InReadCommittedTx,
	} {
		attempts := 0
		err := in(t.Context(), "notify", func(_ context.Context, tx *workerdb.Tx) error {
			attempts++
			if attempts == 1 {
				tx.NotifyOnCommit("early")
				return &pgconn.PgError{Code: "40001"}
			}
			tx.NotifyOnCommit("apples")
			tx.NotifyOnCommit("pears", "apples")
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		waitFor(t, heard["apples"])
		waitFor(t, heard["pears"])
	}
	failure := errors.New("no")
	err := db.InTx(t.Context(), "fail", func(_ context.Context, tx *workerdb.Tx) error {
		tx.NotifyOnCommit("early")
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	// What is heard comes in the order of the commits.
	err = db.InTx(t.Context(), "notify", func(_ context.Context, tx *workerdb.Tx) error {
		tx.NotifyOnCommit("apples")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, heard["apples"])
	select {
	case <-heard["early"]:
		t.Error("transactions that were rolled back were heard")
	default:
	}
}

func waitFor(t *testing.T, commits <-chan struct{}) {
	t.Helper()
	select {
	case <-commits:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was heard")
	}
}

// A worker opens both databases, and keeps the metrics of both.
func TestMetricsOfBothDatabases(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewPedanticRegistry()
	db := open(t, testenv.NewDatabase(t), postgres.Options{Registerer: metrics})
	solver, err := solverdb.Open(db.URL(), postgres.Options{Registerer: metrics})
	if err != nil {
		t.Fatal(err)
	}
	defer solver.Close()
	if _, err := metrics.Gather(); err != nil {
		t.Error(err)
	}
}

// Only what has been committed is told, and only once.
func TestAfterCommit(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{
		Retry: postgres.Retry{Limit: 1, Pause: time.Millisecond, MaxPause: time.Millisecond},
	})
	for name, in := range map[string]func(context.Context, string, func(context.Context, *workerdb.Tx) error) error{
		"repeatable read": db.InTx, "read committed": db.InReadCommittedTx,
	} {
		var told []int
		attempt := 0
		err := in(t.Context(), "tell", func(_ context.Context, tx *workerdb.Tx) error {
			attempt++
			for n := range 2 {
				tx.AfterCommit(func() { told = append(told, 10*attempt+n) })
			}
			if attempt == 1 {
				return &pgconn.PgError{Code: "40001"}
			}
			return nil
		})
		if err != nil || !slices.Equal(told, []int{20, 21}) {
			t.Errorf("%s: told are %v, the error is %v", name, told, err)
		}
		told = nil
		err = in(t.Context(), "tell", func(_ context.Context, tx *workerdb.Tx) error {
			tx.AfterCommit(func() { told = append(told, 0) })
			return errors.New("no")
		})
		if err == nil || len(told) > 0 {
			t.Errorf("%s: told are %v after a failure, the error is %v", name, told, err)
		}
	}
}

// What is found by its key is found along an index, also by a statement that has been used before, when the table was
// empty.
func TestQueuesGrow(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{MaxConns: 1})
	migrate(t, db)
	exec(t, db, "VACUUM ANALYZE transfer_attempt")
	count := func(ctx context.Context, tx *workerdb.Tx) (scans int) {
		t.Helper()
		const query = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'transfer_attempt'"
		if err := tx.QueryRow(ctx, query).Scan(&scans); err != nil {
			t.Fatal(err)
		}
		return scans
	}
	look := func() (scans int) {
		t.Helper()
		err := db.InTx(t.Context(), "look", func(ctx context.Context, tx *workerdb.Tx) error {
			scans = -count(ctx, tx)
			_, err := tx.LockAttemptsByRequest(ctx, []int64{1, 2, 3})
			scans += count(ctx, tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return scans
	}
	for range 10 { // more often than the server waits before it might keep a plan
		look()
	}
	exec(t, db, `INSERT INTO transfer_attempt (
			collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount, collection_started_at, inserted_at,
			recipient, recipient_version, attempted_at, coordinator_request_id, final_interest_rate_ts, amount
		) SELECT 1, 1, 1, i, TRUE, 1000, now(), now(), 'x', 1, now(), i, now(), 10 FROM generate_series(1, 20000) AS i`)
	if scans := look(); scans > 0 {
		t.Errorf("the table is read as a whole, %d times", scans)
	}
}
