package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Retry says how often, and after which pauses, a transaction is repeated that has lost a race against another one.
type Retry struct {
	Limit    int           // repetitions after the first attempt
	Pause    time.Duration // before the second repetition; the first one follows at once, later pauses double
	MaxPause time.Duration
}

// DefaultRetry repeats a transaction eight times, which takes at most 13 seconds, and 10 on average.
var DefaultRetry = Retry{Limit: 8, Pause: 100 * time.Millisecond, MaxPause: 10 * time.Second}

// before returns the pause before the n-th repetition, counted from 1. Transactions that met once should not meet again,
// so a random number, from 0 to 1, takes away up to a half of the pause.
func (r Retry) before(n int, random float64) time.Duration {
	if n <= 1 {
		return 0
	}
	pause := r.Pause
	for range n - 2 {
		if pause >= r.MaxPause {
			break
		}
		pause *= 2
	}
	return time.Duration(float64(min(pause, r.MaxPause)) * (1 - random/2))
}

// The reasons for which transactions are repeated, by SQLSTATE.
var lostRaces = map[string]string{
	"40001": "serialization_failure",
	"40P01": "deadlock",
	"23505": "unique_violation",
}

// lostRace returns why the transaction that failed with err is worth repeating, or "".
func lostRace(err error) string {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return lostRaces[failure.Code]
	}
	return ""
}

// InTx runs do in a transaction, which sees the database as it was when the transaction began (REPEATABLE READ), and
// commits it if do returns nil. The name is for metrics and error messages: a constant, in words joined by underscores.
//
// A transaction that fails because others ran at the same time is repeated, do included, as often as [Options] say: after
// serialization failures (40001), deadlocks (40P01), and unique violations (23505), since what was looked for in vain may
// have been inserted by somebody else a moment later. So do must be fit to run several times: outside of its transaction
// it must change nothing, except what the next run overwrites. If repeating does not help, the last error is returned; a
// unique violation then is no race, but a mistake in the program.
//
// When the connection is lost during the commit, InTx returns an error although the transaction may have been committed.
func (db *DB) InTx(ctx context.Context, name string, do func(context.Context, pgx.Tx) error) error {
	return db.inTx(ctx, name, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, do)
}

// InReadCommittedTx is like [DB.InTx], but each statement sees what has been committed before it (READ COMMITTED). It is
// for queues: a row that somebody else has meanwhile taken is passed over, and does not make the transaction fail.
func (db *DB) InReadCommittedTx(ctx context.Context, name string, do func(context.Context, pgx.Tx) error) error {
	return db.inTx(ctx, name, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, do)
}

func (db *DB) inTx(ctx context.Context, name string, options pgx.TxOptions, do func(context.Context, pgx.Tx) error) error {
	started := time.Now()
	err := db.repeat(ctx, name, func() error {
		return db.attempt(ctx, options, do)
	})
	db.metrics.finished(name, err, time.Since(started))
	if err != nil {
		return fmt.Errorf("transaction %s: %w", name, err)
	}
	return nil
}

// repeat calls attempt until it succeeds, fails for good, or has been repeated often enough.
func (db *DB) repeat(ctx context.Context, name string, attempt func() error) error {
	for repetition := 1; ; repetition++ {
		err := attempt()
		if err == nil {
			return nil
		}
		cause := lostRace(err)
		if cause == "" {
			return err
		}
		if repetition > db.retry.Limit {
			return fmt.Errorf("given up after %d attempts: %w", repetition, err)
		}
		db.metrics.repeated(name, cause)
		select {
		case <-time.After(db.retry.before(repetition, rand.Float64())):
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting to repeat what failed: %w", context.Cause(ctx), err)
		}
	}
}

func (db *DB) attempt(ctx context.Context, options pgx.TxOptions, do func(context.Context, pgx.Tx) error) error {
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return inTx(ctx, conn, options, do)
}

// rollbackTimeout bounds the time that it takes to end a transaction whose context has been cancelled. If the server does
// not answer until then, the connection is closed.
const rollbackTimeout = 2 * time.Second

type beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// inTx runs do in a transaction, once.
func inTx(ctx context.Context, conn beginner, options pgx.TxOptions, do func(context.Context, pgx.Tx) error) error {
	tx, err := conn.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("beginning it: %w", err)
	}
	committed := false
	defer func() { // also when do panics
		if !committed {
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
			defer cancel()
			_ = tx.Rollback(ending) // the reason for it is what matters
		}
	}()
	if err := do(ctx, tx); err != nil {
		return err
	}
	committed = true
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing it: %w", err)
	}
	return nil
}
