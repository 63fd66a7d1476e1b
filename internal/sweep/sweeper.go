package sweep

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Sweeper sweeps a table. One is enough; several do no harm.
type Sweeper struct {
	DB    *workerdb.DB
	Table string // one of [config.Sweeps.Tables]
	Pace  config.Sweep
	Ages  Ages

	Realm shard.Realm // of the worker
	// DeleteParentRecords tells to delete, too, what belongs to the other half of the realm's parent. Some tables are
	// swept only then.
	DeleteParentRecords bool

	// DismissLocks dismisses and deletes those of some accounts' locks that have come to nothing. Only for the table of
	// account locks. See [lock.Rules.DismissOverdue].
	DismissLocks func(ctx context.Context, tx *workerdb.Tx, now time.Time, accounts []lock.Account) (int, error)

	Now     func() time.Time
	Int64N  func(n int64) int64 // a random number from 0 to n−1, as [math/rand/v2.Int64N] returns
	Metrics *Metrics
}

// Run sweeps the table again and again until the context is done, and then returns nil. It begins anywhere, so that
// programs that are often restarted come to every page, too. It fails when the database does.
func (s *Sweeper) Run(ctx context.Context) error {
	err := s.run(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the error is that it should end
	}
	return err
}

func (s *Sweeper) run(ctx context.Context) error {
	w, err := s.newWalk()
	if err != nil {
		return err
	}
	if !w.hasWork() {
		<-ctx.Done()
		return nil
	}
	w.Metrics.passed(w.table.name, w.Now())
	if err := w.measure(ctx); err != nil {
		return err
	}
	if w.pages > 0 {
		w.page = s.Int64N(w.pages)
	}
	p := pace{Sweep: s.Pace, latest: time.Now()}
	for {
		if err := w.step(ctx, p.stretch(w.pages)); err != nil {
			return err
		}
		if err := w.measure(ctx); err != nil {
			return err
		}
		if err := w.rest(ctx, &p); err != nil {
			return err
		}
		p.goOn(time.Now(), w.pages)
	}
}

// RunOnce sweeps the table once, without a pause, and returns.
func (s *Sweeper) RunOnce(ctx context.Context) error {
	w, err := s.newWalk()
	if err != nil || !w.hasWork() {
		return err
	}
	if err := w.measure(ctx); err != nil {
		return err
	}
	p := pace{Sweep: s.Pace}
	for end := w.pages; w.page < end; {
		if err := w.step(ctx, p.stretch(w.pages)); err != nil {
			return err
		}
	}
	return nil
}

// A walk through a table.
type walk struct {
	*Sweeper
	table    *table
	deletion string
	metrics  tableMetrics
	pages    int64 // of the table
	page     int64 // that comes next
}

func (s *Sweeper) newWalk() (*walk, error) {
	t, err := lookUp(s.Table)
	if err != nil {
		return nil, err
	}
	return &walk{Sweeper: s, table: t, deletion: t.deletion(), metrics: s.Metrics.of(t.name)}, nil
}

// hasWork reports whether there can be anything to be deleted.
func (w *walk) hasWork() bool {
	return w.DeleteParentRecords || w.table.expired != ""
}

// measure looks how large the table is. Behind its end, there is its beginning.
func (w *walk) measure(ctx context.Context) error {
	err := w.DB.Pool().QueryRow(ctx, `SELECT pg_relation_size($1::TEXT::REGCLASS) / current_setting('block_size')::BIGINT`,
		w.table.relation).Scan(&w.pages)
	if err != nil {
		return fmt.Errorf("looking how large the table %s is: %w", w.table.relation, err)
	}
	if w.page >= w.pages {
		w.page = 0
	}
	w.metrics.at(w.page, w.pages)
	return nil
}

// rest waits until the next stretch is to be read.
func (w *walk) rest(ctx context.Context, p *pace) error {
	for {
		pause := p.pause(time.Now(), w.pages)
		if pause == 0 {
			return ctx.Err()
		}
		select {
		case <-time.After(min(pause, longestNap)):
		case <-ctx.Done():
			return ctx.Err()
		}
		if pause <= longestNap {
			return nil
		}
		if err := w.measure(ctx); err != nil {
			return err
		}
	}
}

// step deletes what is not needed any more from the next pages.
func (w *walk) step(ctx context.Context, stretch int64) error {
	now := w.Now().Truncate(time.Microsecond) // PostgreSQL does not keep more
	after := w.page + stretch
	var expired, leftOver int64
	err := w.DB.InReadCommittedTx(ctx, "sweep_"+w.table.name, func(ctx context.Context, tx *workerdb.Tx) error {
		dismissed, err := w.dismiss(ctx, tx, now, after)
		if err != nil {
			return err
		}
		args := w.args(now, after)
		if err := tx.QueryRow(ctx, w.deletion, args).Scan(&expired, &leftOver); err != nil {
			return err
		}
		expired += dismissed
		if expired+leftOver > 0 && w.table.topic != "" {
			tx.NotifyOnCommit(w.table.topic)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("deleting from the pages %d to %d of %s: %w", w.page, after, w.table.relation, err)
	}
	w.metrics.expired.Add(float64(expired))
	w.metrics.leftOver.Add(float64(leftOver))
	w.page = after
	if w.page >= w.pages {
		w.metrics.passes.Inc()
		w.Metrics.passed(w.table.name, now)
	}
	w.metrics.at(min(w.page, w.pages), w.pages)
	return nil
}

// args are what the conditions refer to.
func (w *walk) args(now time.Time, after int64) pgx.NamedArgs {
	args := w.Ages.limits(now)
	for name, value := range realms(w.Realm) {
		args[name] = value
	}
	args["delete_leftovers"] = w.DeleteParentRecords
	args["first"], args["after"] = tid(w.page), tid(after)
	return args
}

// tid returns where a page begins.
func tid(page int64) pgtype.TID {
	return pgtype.TID{BlockNumber: uint32(min(page, math.MaxUint32)), Valid: true} //nolint:gosec // not negative
}

// endedInVain finds the locks of accounts for which nobody will pay any more.
const endedInVain = `
	SELECT account_lock.creditor_id, account_lock.debtor_id
	FROM account_lock LEFT JOIN worker_turn USING (turn_id)
	WHERE account_lock.ctid >= @first AND account_lock.ctid < @after AND account_lock.finalized_at IS NULL
		AND (account_lock.initiated_at < @locks_before OR worker_turn.collection_deadline < @dismissals_before)`

// dismiss dismisses and deletes the account locks that have come to nothing, if this is their table.
func (w *walk) dismiss(ctx context.Context, tx *workerdb.Tx, now time.Time, after int64) (int64, error) {
	if w.table.name != accountLocks {
		return 0, nil
	}
	rows, err := tx.Query(ctx, endedInVain, w.args(now, after))
	if err != nil {
		return 0, err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[lock.Account])
	if err != nil || len(accounts) == 0 {
		return 0, err
	}
	dismissed, err := w.DismissLocks(ctx, tx, now, accounts)
	return int64(dismissed), err
}
