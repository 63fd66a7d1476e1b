package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Follower does in the solver database what messages have asked for. Any number of followers can work on the same tasks.
//
// Whoever takes a task on puts it off for a while. If everything goes well, the task is deleted before that is over;
// otherwise it is simply due again, whether the task has failed or the process has died. A task may be done twice.
type Follower struct {
	Worker *workerdb.DB
	Solver *solverdb.DB
	Pool   Pool // the IDs of collectors

	// NeedExpiry is how long it is assumed that a debtor for which a collector has been needed has one.
	NeedExpiry time.Duration

	// Realm is the part of all keys whose tasks are followed here. Those of the other half of the parent's realm, left
	// over from a split, are deleted if DeleteParentRecords is set. All others are an error.
	Realm               shard.Realm
	DeleteParentRecords bool

	Listener *postgres.Listener // on the worker's database
	Period   time.Duration      // from one look for tasks to the next, if no commit is noticed before
	Now      func() time.Time
	Logger   *slog.Logger
}

const (
	// tasksAtATime is how many tasks are taken on together.
	tasksAtATime = 200

	// taskPause is how long a task is put off by whoever takes it on. It is much longer than it takes to do a burst of
	// tasks, and short enough for a task that has failed.
	taskPause = time.Minute
)

// Run follows tasks until the context is done, and then returns nil. It fails when one of the databases does.
func (f *Follower) Run(ctx context.Context) error {
	commits, cancel := f.Listener.Subscribe(topicTasks)
	defer cancel()
	return everyPeriod(ctx, f.Period, commits, f.RunOnce)
}

// RunOnce follows the tasks that are due, and returns. A task that fails by itself is logged, and due again later.
func (f *Follower) RunOnce(ctx context.Context) error {
	for {
		if err := f.Solver.Ping(ctx); err != nil {
			return err // before any task is put off
		}
		taken, err := f.take(ctx)
		if err != nil {
			return err
		}
		outcome, err := f.follow(ctx, taken)
		if err := errors.Join(err, f.finish(ctx, outcome)); err != nil {
			return err
		}
		if len(taken) < tasksAtATime {
			return nil
		}
	}
}

// take takes on tasks that are due.
func (f *Follower) take(ctx context.Context) (taken []workerdb.CollectorTask, err error) {
	now := f.now()
	err = f.Worker.InReadCommittedTx(ctx, "take_collector_tasks", func(ctx context.Context, tx *workerdb.Tx) (err error) {
		taken, err = tx.TakeCollectorTasks(ctx, workerdb.TakeCollectorTasksParams{
			DueAt: now, DueAgainAt: now.Add(taskPause), AtMost: tasksAtATime,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for tasks concerning collectors: %w", err)
	}
	return taken, nil
}

// An outcome is what has become of tasks.
type outcome struct {
	finished workerdb.FinishCollectorTasksParams     // they are done
	arranged workerdb.RememberNeededCollectorsParams // debtors whose collectors have been looked after
}

func (o *outcome) add(task workerdb.CollectorTask, arranged bool) {
	o.finished.DebtorIDs = append(o.finished.DebtorIDs, int64(task.DebtorID))
	o.finished.CollectorIDs = append(o.finished.CollectorIDs, int64(task.CollectorID))
	o.finished.AccountIDs = append(o.finished.AccountIDs, task.AccountID)
	o.finished.NextAttemptsAt = append(o.finished.NextAttemptsAt, task.NextAttemptAt)
	if arranged {
		o.arranged.DebtorIDs = append(o.arranged.DebtorIDs, int64(task.DebtorID))
		o.arranged.Timestamps = append(o.arranged.Timestamps, task.Ts)
	}
}

// follow does tasks. It fails only if the rest of them cannot be done, either.
func (f *Follower) follow(ctx context.Context, taken []workerdb.CollectorTask) (o outcome, err error) {
	recent, err := f.recentlyNeeded(ctx, taken)
	if err != nil {
		return o, err
	}
	for _, task := range taken {
		arranged, err := f.do(ctx, task, recent)
		switch {
		case err == nil:
			o.add(task, arranged)
		case ctx.Err() != nil || f.Worker.Ping(ctx) != nil || f.Solver.Ping(ctx) != nil:
			return o, err
		default:
			f.Logger.ErrorContext(ctx, "a task concerning a collector has failed, and is tried again later",
				slog.Int64("debtor_id", int64(task.DebtorID)), slog.Int64("collector_id", int64(task.CollectorID)),
				slog.Any("error", err))
		}
	}
	return o, nil
}

var errForeignTask = errors.New("the task belongs to another shard: if this one has been split, " +
	"set DELETE_PARENT_SHARD_RECORDS, and otherwise check PROTOCOL_BROKER_QUEUE_ROUTING_KEY")

// do does a task, unless it has been done recently, and reports whether that was to look after a debtor's collectors.
func (f *Follower) do(ctx context.Context, task workerdb.CollectorTask, recent map[swpt.DebtorID]bool) (arranged bool, err error) {
	key := taskKey{task.DebtorID, task.CollectorID, task.AccountID}.shardKey()
	switch {
	case f.Realm.Match(key):
	case f.DeleteParentRecords && f.Realm.MatchParent(key):
		return false, nil // the other half has the same task
	default:
		return false, errForeignTask
	}
	switch {
	case task.CollectorID != 0:
		return false, f.activate(ctx, task)
	case recent[task.DebtorID]:
		return false, nil
	}
	_, err = Ensure(ctx, f.Solver, f.Pool, task.DebtorID, 1, f.now())
	if errors.Is(err, ErrPoolTooSmall) { // to try again would not help
		f.Logger.ErrorContext(ctx, "a currency cannot be traded, because no collector ID is left for it",
			slog.Int64("debtor_id", int64(task.DebtorID)), slog.Any("error", err))
		err = nil
	}
	return err == nil, err
}

// activate stores the ID of a collector's account. The first ID counts, until the account has been replaced by another
// one. A message about that may also have been on the way for a long time, so the ID has to be the present one.
//
// If somebody else changes the collector after it has been read here, the transaction is repeated as a whole: what the
// worker's database says is always newer than what is overwritten.
//
// The connection to the worker's database is taken first, as it is by the steps of turns: where pools are small, nobody
// may hold a connection to the solver database while waiting for one to the worker's.
func (f *Follower) activate(ctx context.Context, task workerdb.CollectorTask) error {
	worker, err := f.Worker.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the worker's database: %w", err)
	}
	defer worker.Release()
	err = f.Solver.InTx(ctx, "activate_collector", func(ctx context.Context, tx *solverdb.Tx) error {
		collector, err := tx.Collector(ctx, solverdb.CollectorParams{DebtorID: task.DebtorID, CollectorID: task.CollectorID})
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		case collector.Status < statusActive:
			return tx.ActivateCollector(ctx, solverdb.ActivateCollectorParams{
				DebtorID: task.DebtorID, CollectorID: task.CollectorID, AccountID: task.AccountID, Now: f.now(),
			})
		case collector.Status > statusActive || collector.AccountID == task.AccountID:
			return nil
		}
		present, err := accountID(ctx, workerdb.New(worker), task)
		if err != nil || present != task.AccountID {
			return err
		}
		return tx.ReplaceCollectorAccount(ctx, solverdb.ReplaceCollectorAccountParams{
			DebtorID: task.DebtorID, CollectorID: task.CollectorID, AccountID: task.AccountID,
		})
	})
	if err != nil {
		return fmt.Errorf("activating the collector %d of the debtor %d: %w", task.CollectorID, task.DebtorID, err)
	}
	return nil
}

// accountID returns the present account ID of a collector, or nothing.
func accountID(ctx context.Context, worker *workerdb.Queries, task workerdb.CollectorTask) (string, error) {
	rows, err := worker.WorkerAccountIDs(ctx, workerdb.WorkerAccountIDsParams{
		CreditorIDs: []int64{int64(task.CollectorID)}, DebtorIDs: []int64{int64(task.DebtorID)},
	})
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0].AccountID, nil
}

// recentlyNeeded returns for which debtors collectors have been arranged lately.
func (f *Follower) recentlyNeeded(ctx context.Context, taken []workerdb.CollectorTask) (map[swpt.DebtorID]bool, error) {
	var debtors []int64
	for _, task := range taken {
		if task.CollectorID == 0 {
			debtors = append(debtors, int64(task.DebtorID))
		}
	}
	recent := map[swpt.DebtorID]bool{}
	if len(debtors) == 0 {
		return recent, nil
	}
	rows, err := f.Worker.Queries().RecentlyNeededCollectors(ctx, workerdb.RecentlyNeededCollectorsParams{
		DebtorIDs: debtors, Since: f.now().Add(-f.NeedExpiry),
	})
	if err != nil {
		return nil, fmt.Errorf("looking which collectors have been needed recently: %w", err)
	}
	for _, debtor := range rows {
		recent[debtor] = true
	}
	return recent, nil
}

// finish deletes tasks that are done, and remembers for which debtors collectors have been arranged.
func (f *Follower) finish(ctx context.Context, o outcome) error {
	if len(o.finished.DebtorIDs) == 0 {
		return nil
	}
	err := f.Worker.InTx(ctx, "finish_collector_tasks", func(ctx context.Context, tx *workerdb.Tx) error {
		if err := tx.FinishCollectorTasks(ctx, o.finished); err != nil {
			return err
		}
		return tx.RememberNeededCollectors(ctx, o.arranged)
	})
	if err != nil {
		return fmt.Errorf("finishing %d tasks concerning collectors: %w", len(o.finished.DebtorIDs), err)
	}
	return nil
}

func (f *Follower) now() time.Time {
	return f.Now().Truncate(time.Microsecond) // PostgreSQL does not keep more
}
