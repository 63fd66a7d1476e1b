package collector

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// An Opener opens accounts for collectors that are planned, and looks after those whose accounts do not come. It is for
// the collectors of one shard.
//
// For each of them, it asks for the account, in the worker's database, and then notes in the solver database that it has
// done so. If it does not get to the second step, it does both again later, and finds out in the first one that it has
// asked already. So openers may be killed at any time, and several may run side by side.
type Opener struct {
	Worker *workerdb.DB
	Solver *solverdb.DB
	Realm  shard.Realm // to which the collectors belong

	Threads  int           // batches of collectors that are treated at the same time
	MaxCount int           // collectors that are looked for at a time
	Patience time.Duration // after which a message is taken for lost

	Listener *postgres.Listener // on the solver database
	Period   time.Duration      // from one look for collectors to the next, if no commit is noticed before
	Now      func() time.Time
	Metrics  *Metrics
	Logger   *slog.Logger
}

// collectorsAtATime is how many collectors are treated in one transaction.
const collectorsAtATime = 1000

// Run opens accounts until the context is done, and then returns nil. It fails when one of the databases does.
func (o *Opener) Run(ctx context.Context) error {
	commits, cancel := o.Listener.Subscribe(topicPlanned)
	defer cancel()
	return everyPeriod(ctx, o.Period, commits, o.RunOnce)
}

// RunOnce opens accounts for all collectors that need that, and returns.
func (o *Opener) RunOnce(ctx context.Context) error {
	for {
		found, err := o.look(ctx)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			o.Logger.InfoContext(ctx, "opening the accounts of collectors", slog.Int("collectors", len(found)))
		}
		group, batchCtx := errgroup.WithContext(ctx)
		group.SetLimit(max(1, o.Threads))
		for batch := range slices.Chunk(found, collectorsAtATime) {
			group.Go(func() error { return o.open(batchCtx, batch) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if len(found) < o.MaxCount {
			return o.count(ctx)
		}
	}
}

// look returns collectors for which accounts are to be opened.
func (o *Opener) look(ctx context.Context) ([]solverdb.CollectorsToOpenRow, error) {
	found, err := o.Solver.Queries().CollectorsToOpen(ctx, solverdb.CollectorsToOpenParams{
		StaleBefore: o.now().Add(-o.Patience),
		HashMask:    o.Realm.HashMask(),
		HashPrefix:  o.Realm.HashPrefix(),
		AtMost:      int64(o.MaxCount),
	})
	if err != nil {
		return nil, fmt.Errorf("looking for collectors without an account: %w", err)
	}
	return found, nil
}

// open asks for the accounts of collectors, and notes that.
func (o *Opener) open(ctx context.Context, collectors []solverdb.CollectorsToOpenRow) error {
	now := o.now()
	var steps steps
	err := o.Worker.InTx(ctx, "open_collector_accounts", func(ctx context.Context, tx *workerdb.Tx) (err error) {
		steps, err = o.ask(ctx, tx, collectors, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("asking for the accounts of %d collectors: %w", len(collectors), err)
	}
	o.Metrics.configured(reasonPlanned, len(steps.asked)-steps.again)
	o.Metrics.configured(reasonSilent, steps.again)
	p := solverdb.MarkCollectorsRequestedParams{Now: now}
	for _, c := range collectors {
		p.DebtorIDs = append(p.DebtorIDs, int64(c.DebtorID))
		p.CollectorIDs = append(p.CollectorIDs, int64(c.CollectorID))
		p.Statuses = append(p.Statuses, c.Status)
	}
	err = o.Solver.InTx(ctx, "mark_requested_collectors", func(ctx context.Context, tx *solverdb.Tx) error {
		return tx.MarkCollectorsRequested(ctx, p)
	})
	if err != nil {
		return fmt.Errorf("noting that the accounts of %d collectors have been asked for: %w", len(collectors), err)
	}
	return nil
}

// steps are what is to be done about collectors.
type steps struct {
	asked     []accountKey             // accounts to be asked for
	again     int                      // how many of them have been asked for before
	activated []*smp.ActivateCollector // to be told again
}

// ask asks for accounts where that is necessary.
func (o *Opener) ask(
	ctx context.Context, tx *workerdb.Tx, collectors []solverdb.CollectorsToOpenRow, now time.Time,
) (s steps, err error) {
	var named keyArrays
	for _, c := range collectors {
		named.add(accountKey{c.CollectorID, c.DebtorID})
	}
	needed, err := tx.LockNeededAccounts(ctx, workerdb.LockNeededAccountsParams{
		CreditorIDs: named.creditors, DebtorIDs: named.debtors,
	})
	if err != nil {
		return s, fmt.Errorf("looking which accounts are needed: %w", err)
	}
	known, err := tx.WorkerAccountIDs(ctx, workerdb.WorkerAccountIDsParams{
		CreditorIDs: named.creditors, DebtorIDs: named.debtors,
	})
	if err != nil {
		return s, fmt.Errorf("looking which accounts are there: %w", err)
	}
	s = o.decide(collectors, needed, known, now)
	if len(s.asked) > 0 {
		if err := openAccounts(ctx, tx, s.asked, now); err != nil {
			return s, err
		}
	}
	messages := make([]smp.Outgoing, len(s.activated))
	for i, m := range s.activated {
		messages[i] = m
	}
	return s, outbox.Append(ctx, tx, messages...)
}

// decide says what is to be done about collectors, with what is known of their accounts.
func (o *Opener) decide(
	collectors []solverdb.CollectorsToOpenRow, needed []workerdb.NeededWorkerAccount, known []workerdb.WorkerAccountIDsRow,
	now time.Time,
) (s steps) {
	configuredAt := make(map[accountKey]time.Time, len(needed))
	for _, row := range needed {
		configuredAt[accountKey{row.CreditorID, row.DebtorID}] = row.ConfiguredAt
	}
	accountIDs := make(map[accountKey]string, len(known))
	for _, row := range known {
		accountIDs[accountKey{row.CreditorID, row.DebtorID}] = row.AccountID
	}
	for _, c := range collectors {
		key := accountKey{c.CollectorID, c.DebtorID}
		at, isNeeded := configuredAt[key]
		id, isKnown := accountIDs[key]
		switch {
		case !isNeeded:
			s.asked = append(s.asked, key)
		case !isKnown && at.Add(o.Patience).Before(now):
			s.asked = append(s.asked, key)
			s.again++
		}
		if c.Status == statusRequested && id != "" {
			s.activated = append(s.activated, &smp.ActivateCollector{
				DebtorID: c.DebtorID, CreditorID: c.CollectorID, AccountID: id, TS: now,
			})
		}
	}
	return s
}

// count tells the metrics how many collectors there are.
func (o *Opener) count(ctx context.Context) error {
	counts, err := o.Solver.Queries().CountCollectorsByStatus(ctx, solverdb.CountCollectorsByStatusParams{
		HashMask: o.Realm.HashMask(), HashPrefix: o.Realm.HashPrefix(),
	})
	if err != nil {
		return fmt.Errorf("counting collectors: %w", err)
	}
	o.Metrics.counted(counts)
	return nil
}

func (o *Opener) now() time.Time {
	return o.Now().Truncate(time.Microsecond) // PostgreSQL does not keep more
}
