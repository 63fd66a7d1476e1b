package settlement

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Roller has collectors take the next step when they have done all they had to do before: section 3.3 of the chapter
// about transfers. One is enough for a database; several do no harm.
//
// It looks at all statuses in each period, from start to start; and also when a commit notifies of [workerdb.TopicSettlement], so that a
// turn with nothing to wait for ends in a second. Looking means to go through all statuses, which costs seconds if
// there are millions. So it rests after each pass for many times as long as the pass has taken, whatever it is notified
// of.
type Roller struct {
	DB    *workerdb.DB
	Realm shard.Realm // of the worker; the collectors of others are left alone

	// DeleteParentRecords tells to delete news for collectors that the other half of the parent's realm owns.
	DeleteParentRecords bool

	// EarlyReceiptMaxAge is how long news of records that are not there are kept.
	EarlyReceiptMaxAge time.Duration

	Period   time.Duration
	Listener *postgres.Listener // tells of commits; nil: only the period counts
	Now      func() time.Time
	Logger   *slog.Logger

	// PageSize is how many statuses, or news, are treated in one transaction, at least 2. Zero: 5000.
	PageSize int
}

const (
	defaultPageSize = 5000

	// A pass that something has given rise to follows the one before after restFactor times as long as that has taken,
	// and not sooner than minRest. So a roller is at work for at most a twentieth of the time.
	restFactor = 19
	minRest    = 100 * time.Millisecond
)

// Run makes passes until the context is done, and then returns nil. It fails when the database does.
func (r *Roller) Run(ctx context.Context) error {
	var commits <-chan struct{}
	if r.Listener != nil {
		var cancel func()
		commits, cancel = r.Listener.Subscribe(workerdb.TopicSettlement)
		defer cancel()
	}
	for {
		started := time.Now()
		err := r.RunOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		took := time.Since(started)
		period := time.NewTimer(r.Period - took)
		r.rest(ctx, period, max(minRest, restFactor*took), commits)
		period.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// rest waits until the period has passed, or there has been a commit and at least some time has passed.
func (r *Roller) rest(ctx context.Context, period *time.Timer, atLeast time.Duration, commits <-chan struct{}) {
	select {
	case <-time.After(atLeast):
	case <-period.C:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-commits:
	case <-period.C:
	case <-ctx.Done():
	}
}

// RunOnce makes one pass: it applies news that have come too early, and then takes all steps that can be taken.
func (r *Roller) RunOnce(ctx context.Context) error {
	if err := r.applyEarlyReceipts(ctx); err != nil {
		return err
	}
	for i := range steps {
		if err := r.takeStep(ctx, &steps[i]); err != nil {
			return fmt.Errorf("looking for collectors that %s: %w", steps[i].name, err)
		}
	}
	return nil
}

func (r *Roller) pageSize() int {
	if r.PageSize == 0 {
		return defaultPageSize
	}
	return max(2, r.PageSize) // one that ends a page may begin the next one, too
}

// owns reports whether a collector is one of this worker's.
func (r *Roller) owns(collector swpt.CreditorID) bool {
	return r.Realm.Match(shard.KeyOf(collector))
}

// A step is what is done with statuses in a certain state that wait for nothing more.
type step struct {
	name string
	// ready returns up to so many statuses with which it could be done, from one on, sorted.
	ready func(ctx context.Context, tx *workerdb.Tx, from status, atMost int) ([]status, error)
	// take does it with those of the statuses that are still in that state, and returns them.
	take func(ctx context.Context, tx *workerdb.Tx, keys workerdb.Statuses) ([]status, error)
	// signal returns a message that this gives rise to. Nil: there is none.
	signal func(of status, now time.Time) smp.Outgoing
}

var steps = []step{
	{
		name: "have collected all",
		ready: func(ctx context.Context, tx *workerdb.Tx, from status, atMost int) ([]status, error) {
			return asStatuses(tx.StatusesReadyToSend(ctx, workerdb.StatusesReadyToSendParams(page(from, atMost))))
		},
		take: func(ctx context.Context, tx *workerdb.Tx, keys workerdb.Statuses) ([]status, error) {
			return asStatuses(tx.AwaitSending(ctx, workerdb.AwaitSendingParams(keys)))
		},
		signal: func(of status, now time.Time) smp.Outgoing {
			return &smp.StartSending{CollectorID: of.CollectorID, TurnID: of.TurnID, DebtorID: of.DebtorID, TS: now}
		},
	},
	{
		name: "have sent all",
		ready: func(ctx context.Context, tx *workerdb.Tx, from status, atMost int) ([]status, error) {
			return asStatuses(tx.StatusesAllSent(ctx, workerdb.StatusesAllSentParams(page(from, atMost))))
		},
		take: func(ctx context.Context, tx *workerdb.Tx, keys workerdb.Statuses) ([]status, error) {
			return asStatuses(tx.EndSending(ctx, workerdb.EndSendingParams(keys)))
		},
	},
	{
		name: "have received all",
		ready: func(ctx context.Context, tx *workerdb.Tx, from status, atMost int) ([]status, error) {
			return asStatuses(tx.StatusesReadyToDispatch(ctx, workerdb.StatusesReadyToDispatchParams(page(from, atMost))))
		},
		take: func(ctx context.Context, tx *workerdb.Tx, keys workerdb.Statuses) ([]status, error) {
			return asStatuses(tx.AwaitDispatching(ctx, workerdb.AwaitDispatchingParams(keys)))
		},
		signal: func(of status, now time.Time) smp.Outgoing {
			return &smp.StartDispatching{CollectorID: of.CollectorID, TurnID: of.TurnID, DebtorID: of.DebtorID, TS: now}
		},
	},
	{
		name: "have dispatched all",
		ready: func(ctx context.Context, tx *workerdb.Tx, from status, atMost int) ([]status, error) {
			return asStatuses(tx.StatusesAllDispatched(ctx, workerdb.StatusesAllDispatchedParams(page(from, atMost))))
		},
		take: func(ctx context.Context, tx *workerdb.Tx, keys workerdb.Statuses) ([]status, error) {
			return asStatuses(tx.EndDispatching(ctx, workerdb.EndDispatchingParams(keys)))
		},
	},
}

// firstStatus is the least of all keys.
var firstStatus = status{math.MinInt64, math.MinInt32, math.MinInt64}

// pageOfStatuses says which statuses to look for, as queries take it.
type pageOfStatuses struct {
	CollectorID int64
	TurnID      int32
	DebtorID    int64
	AtMost      int64
}

func page(from status, atMost int) pageOfStatuses {
	return pageOfStatuses{int64(from.CollectorID), from.TurnID, int64(from.DebtorID), int64(atMost)}
}

// asStatuses returns what a query has returned as keys.
func asStatuses[Row ~struct {
	CollectorID swpt.CreditorID
	TurnID      int32
	DebtorID    swpt.DebtorID
}](rows []Row, err error) ([]status, error) {
	statuses := make([]status, len(rows))
	for i, row := range rows {
		statuses[i] = status(row)
	}
	return statuses, err
}

// takeStep takes a step with all statuses with which it can be taken, page by page. Each page begins where the one
// before has ended: with the same status, if nobody has been able to take the step with it.
func (r *Roller) takeStep(ctx context.Context, s *step) error {
	from := firstStatus
	for {
		ready, err := r.ready(ctx, s, from)
		if err != nil {
			return err
		}
		var own []status
		for _, key := range ready {
			if r.owns(key.CollectorID) {
				own = append(own, key)
			}
		}
		if len(own) > 0 {
			if err := r.take(ctx, s, own); err != nil {
				return err
			}
		}
		if len(ready) < r.pageSize() {
			return nil
		}
		from = ready[len(ready)-1]
	}
}

// ready returns up to a page of statuses with which a step could be taken, from one on.
func (r *Roller) ready(ctx context.Context, s *step, from status) (ready []status, err error) {
	err = r.DB.InReadCommittedTx(ctx, "look_for_steps", func(ctx context.Context, tx *workerdb.Tx) error {
		if err := tx.ReadInKeyOrder(ctx); err != nil {
			return fmt.Errorf("choosing how to read statuses: %w", err)
		}
		ready, err = s.ready(ctx, tx, from, r.pageSize())
		return err
	})
	return ready, err
}

// take takes a step with statuses, as far as nobody else works on them.
func (r *Roller) take(ctx context.Context, s *step, keys []status) error {
	return r.DB.InReadCommittedTx(ctx, "roll_transfers", func(ctx context.Context, tx *workerdb.Tx) error {
		taken, err := s.take(ctx, tx, queryable(keys))
		if err != nil || s.signal == nil || len(taken) == 0 {
			return err
		}
		now := r.now()
		_, err = outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
			for _, key := range taken {
				if !yield(s.signal(key, now), nil) {
					return
				}
			}
		})
		return err
	})
}

// now returns the time as the database keeps it.
func (r *Roller) now() time.Time {
	return r.Now().Truncate(time.Microsecond)
}
