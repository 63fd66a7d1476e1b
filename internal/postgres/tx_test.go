package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestInTx(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE item (n INT PRIMARY KEY)`)
	if err := db.InTx(t.Context(), "insert", execute(`INSERT INTO item VALUES (1)`)); err != nil {
		t.Fatal(err)
	}

	failure := errors.New("no")
	err := db.InTx(t.Context(), "fail", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO item VALUES (2)`); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), "fail") {
		t.Errorf("the error is %v", err)
	}

	if got := value[int](t, db, `SELECT sum(n) FROM item`); got != 1 {
		t.Errorf("the table holds a sum of %d, want 1", got)
	}
	const duration = "trade_database_transaction_duration_seconds"
	if got := db.counter(t, duration, map[string]string{"transaction": "insert", "outcome": "committed"}); got != 1 {
		t.Errorf("%g transactions were counted as committed, want 1", got)
	}
	if got := db.counter(t, duration, map[string]string{"transaction": "fail", "outcome": "failed"}); got != 1 {
		t.Errorf("%g transactions were counted as failed, want 1", got)
	}
}

func TestInTxRollsBackWhenItPanics(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{MaxConns: 1})
	db.exec(t, `CREATE TABLE item (n INT)`)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.InTx(t.Context(), "panic", func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO item VALUES (1)`); err != nil {
				return err
			}
			panic("no")
		})
	}()
	// The pool has only one connection, so it must have come back.
	if got := value[int](t, db, `SELECT count(*) FROM item`); got != 0 {
		t.Errorf("the table holds %d rows, want none", got)
	}
}

func TestIsolationLevels(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	level := func(level *string) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SHOW transaction_isolation`).Scan(level)
		}
	}
	var strict, relaxed string
	if err := db.InTx(t.Context(), "strict", level(&strict)); err != nil {
		t.Fatal(err)
	}
	if err := db.InReadCommittedTx(t.Context(), "relaxed", level(&relaxed)); err != nil {
		t.Fatal(err)
	}
	if strict != "repeatable read" || relaxed != "read committed" {
		t.Errorf("the levels are %q and %q", strict, relaxed)
	}
}

// A row that the transaction has read changes before the transaction writes it.
func TestInTxRepeatsAfterSerializationFailures(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE counter (n INT)`)
	db.exec(t, `INSERT INTO counter VALUES (0)`)
	attempts := 0
	err := db.InTx(t.Context(), "add", func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		var n int
		if err := tx.QueryRow(ctx, `SELECT n FROM counter`).Scan(&n); err != nil {
			return err
		}
		if attempts <= 2 {
			db.exec(t, `UPDATE counter SET n = n + 10`)
		}
		_, err := tx.Exec(ctx, `UPDATE counter SET n = $1`, n+1)
		return err
	})
	if err != nil || attempts != 3 {
		t.Errorf("%d attempts, %v, want success at the third one", attempts, err)
	}
	if got := value[int](t, db, `SELECT n FROM counter`); got != 21 {
		t.Errorf("the counter is %d, want 21", got)
	}
	repeated := map[string]string{"transaction": "add", "cause": "serialization_failure"}
	if got := db.counter(t, "trade_database_transaction_retries_total", repeated); got != 2 {
		t.Errorf("%g repetitions were counted, want 2", got)
	}
}

// Two transactions lock the same two rows in different order.
func TestInTxRepeatsAfterDeadlocks(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE item AS SELECT n, 0 AS times FROM generate_series(1, 2) AS n`)
	var group errgroup.Group
	first := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	for i, order := range [][2]int{{1, 2}, {2, 1}} {
		group.Go(func() error {
			attempts := 0
			return db.InTx(t.Context(), "cross", func(ctx context.Context, tx pgx.Tx) error {
				attempts++
				for place, n := range order {
					if _, err := tx.Exec(ctx, `UPDATE item SET times = times + 1 WHERE n = $1`, n); err != nil {
						return err
					}
					if attempts == 1 && place == 0 {
						close(first[i])
						<-first[1-i]
					}
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := value[int](t, db, `SELECT sum(times) FROM item`); got != 4 {
		t.Errorf("there were %d updates, want 4", got)
	}
	// The server has ended one of them, or even both.
	if got := db.counter(t, "trade_database_transaction_retries_total", map[string]string{"cause": "deadlock"}); got < 1 {
		t.Errorf("%g repetitions were counted, want at least 1", got)
	}
}

// Somebody else inserts a row after the transaction has seen that there is none.
func TestInTxRepeatsAfterUniqueViolations(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE item (n INT PRIMARY KEY, times INT)`)
	attempts := 0
	err := db.InTx(t.Context(), "upsert", func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		var exists bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM item WHERE n = 1)`).Scan(&exists); err != nil {
			return err
		}
		if attempts == 1 {
			db.exec(t, `INSERT INTO item VALUES (1, 1)`)
		}
		statement := `INSERT INTO item VALUES (1, 1)`
		if exists {
			statement = `UPDATE item SET times = times + 1`
		}
		_, err := tx.Exec(ctx, statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := value[int](t, db, `SELECT times FROM item`); got != 2 || attempts != 2 {
		t.Errorf("%d times after %d attempts, want 2 after 2", got, attempts)
	}
}

// A constraint can be checked as late as at the commit.
func TestInTxRepeatsWhenTheCommitFails(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE item (n INT UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
	db.exec(t, `INSERT INTO item VALUES (1)`)
	attempts := 0
	err := db.InTx(t.Context(), "insert", func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		_, err := tx.Exec(ctx, `INSERT INTO item VALUES ($1)`, attempts)
		return err
	})
	if err != nil || attempts != 2 {
		t.Errorf("%d attempts, %v, want success at the second one", attempts, err)
	}
}

func TestInTxGivesUp(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE item (n INT PRIMARY KEY)`)
	db.exec(t, `INSERT INTO item VALUES (1)`)
	attempts := 0
	err := db.InTx(t.Context(), "mistake", func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		_, err := tx.Exec(ctx, `INSERT INTO item VALUES (1)`)
		return err
	})
	failure, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || failure.Code != "23505" || !strings.Contains(err.Error(), "5 attempts") {
		t.Errorf("the error is %v", err)
	}
	if attempts != 1+quickly.Limit {
		t.Errorf("there were %d attempts, want %d", attempts, 1+quickly.Limit)
	}
}

func TestInTxDoesNotRepeatOtherFailures(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	attempts := 0
	err := db.InTx(t.Context(), "divide", func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		_, err := tx.Exec(ctx, `SELECT 1 / 0`)
		return err
	})
	if err == nil || attempts != 1 {
		t.Errorf("%d attempts, %v, want one, and a failure", attempts, err)
	}
}

// Errors of the transaction that are ignored do not make it a success.
func TestInTxNoticesAnAbortedTransaction(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	err := db.InTx(t.Context(), "ignore", func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `SELECT 1 / 0`)
		return nil
	})
	if !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("the error is %v", err)
	}
}

func TestInTxEndsWithItsContext(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	db := open(t, url, postgres.Options{
		MaxConns: 1,
		Retry:    postgres.Retry{Limit: 2, Pause: time.Hour, MaxPause: time.Hour},
	})
	observer := open(t, url, postgres.Options{})
	db.exec(t, `CREATE TABLE item (n INT)`)
	insert := execute(`INSERT INTO item VALUES (1)`)
	repetitions := 0
	for name, test := range map[string]struct {
		do   func(context.Context, pgx.Tx) error
		when func() bool // the context is to be cancelled
	}{
		"in a statement": {
			func(ctx context.Context, tx pgx.Tx) error {
				return errors.Join(insert(ctx, tx), execute(`SELECT pg_sleep(600)`)(ctx, tx))
			},
			func() bool {
				return value[bool](t, observer, `SELECT EXISTS (SELECT FROM pg_stat_activity
					WHERE datname = current_database() AND state = 'active' AND query = 'SELECT pg_sleep(600)')`)
			},
		},
		"between statements": {
			func(ctx context.Context, tx pgx.Tx) error {
				if err := insert(ctx, tx); err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			},
			func() bool {
				return value[bool](t, observer, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
					AND state = 'idle in transaction' AND query = 'INSERT INTO item VALUES (1)')`)
			},
		},
		"in a pause": {
			func(context.Context, pgx.Tx) error {
				repetitions++
				return fmt.Errorf("injected: %w", &pgconn.PgError{Code: "40001"})
			},
			func() bool { return db.counter(t, "trade_database_transaction_retries_total", nil) == 2 },
		},
	} {
		before := value[int](t, db, `SELECT pg_backend_pid()`)
		ctx, cancel := context.WithCancel(t.Context())
		var group errgroup.Group
		group.Go(func() error { return db.InTx(ctx, "cancelled", test.do) })
		testenv.Eventually(t, 10*time.Second, func() error {
			if !test.when() {
				return fmt.Errorf("%s: the time to cancel it has not come", name)
			}
			return nil
		})
		cancel()
		if err := group.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if got := value[int](t, db, `SELECT count(*) FROM item`); got != 0 {
			t.Errorf("%s: the table holds %d rows, want none", name, got)
		}
		if after := value[int](t, db, `SELECT pg_backend_pid()`); after != before && name != "in a statement" {
			t.Errorf("%s: the connection has been given up", name)
		}
	}
	if repetitions != 2 {
		t.Errorf("the transaction ran %d times, want 2", repetitions)
	}
}

func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.NewDatabase(t), postgres.Options{MaxConns: 1, AcquireTimeout: 20 * time.Millisecond})
	err := db.InTx(t.Context(), "outer", func(ctx context.Context, _ pgx.Tx) error {
		return db.InTx(ctx, "inner", execute(`SELECT 1`))
	})
	if !errors.Is(err, postgres.ErrPoolExhausted) {
		t.Errorf("the error is %v", err)
	}
}

func TestInTxFailsWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewDatabase(t))
	db := open(t, proxy.URL(), postgres.Options{Retry: quickly})
	db.exec(t, `CREATE TABLE item (n INT)`)
	attempts := 0
	err := db.InTx(t.Context(), "insert", func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		if err := execute(`INSERT INTO item VALUES (1)`)(ctx, tx); err != nil {
			return err
		}
		proxy.CutAfter(testenv.ToClient, 0) // so the server gets the order to commit
		return nil
	})
	if err == nil || attempts != 1 {
		t.Errorf("%d attempts, %v, want one, and a failure", attempts, err)
	}
	// The outcome was in doubt; here, the server had committed. The pool makes a new connection by itself.
	testenv.Eventually(t, 10*time.Second, func() error {
		if got := value[int](t, db, `SELECT count(*) FROM item`); got != 1 {
			return fmt.Errorf("the table holds %d rows", got)
		}
		return nil
	})
}
