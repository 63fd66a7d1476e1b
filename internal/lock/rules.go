package lock

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Settings are what the rules take from the worker's configuration.
type Settings struct {
	// Realm is the worker's shard.
	Realm shard.Realm

	// ExtendedMessages tells that all workers understand CollectingFailed.
	ExtendedMessages bool

	// MinCollectorID and MaxCollectorID are the ends of the range, both included, from which collectors get their IDs.
	MinCollectorID, MaxCollectorID swpt.CreditorID

	// MinDemurrageRate is the worst interest rate of accounts that take part, in percent per year, from -99 to 0.
	MinDemurrageRate float64

	// Lead is how long before the deadline of phase 2 no offers are accepted any more, because they are about to be poured.
	// It takes the time from the start of the turn to that deadline.
	Lead func(startToDeadline time.Duration) time.Duration

	// DispatchingSlack is how long after the collection deadline of its turn a buyer may still be paid.
	DispatchingSlack time.Duration

	// MaxAge is the age that no lock may reach.
	MaxAge time.Duration
}

// Rules are the rules about account locks. They may be used by several goroutines at a time. All fields must be set.
type Rules struct {
	Settings

	// CollectingFailed tells collectors of this shard, in the same transaction, not to wait for sellers any more.
	CollectingFailed func(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.CollectingFailed) error

	// IntN returns a random number from 0 to n−1, all with the same probability. Several goroutines may call it at a
	// time, as they may call [math/rand/v2.IntN].
	IntN func(n int) int

	Logger  *slog.Logger
	Metrics *Metrics
}

// tell sends messages. Collectors of this shard are told at once that collecting has failed; those of other shards are
// not told if they run a program that would not understand it. They find out when they stop waiting.
func (r *Rules) tell(ctx context.Context, tx *workerdb.Tx, now time.Time, messages []smp.Outgoing) error {
	var (
		remote []smp.Outgoing
		failed []*smp.CollectingFailed
	)
	for _, m := range messages {
		f, isFailure := m.(*smp.CollectingFailed)
		switch {
		case !isFailure || !r.isOurs(f.CollectorID) && r.ExtendedMessages:
			remote = append(remote, m)
		case r.isOurs(f.CollectorID):
			failed = append(failed, f)
		}
	}
	if len(failed) > 0 {
		if err := r.CollectingFailed(ctx, tx, now, failed); err != nil {
			return fmt.Errorf("telling %d collectors that collecting has failed: %w", len(failed), err)
		}
	}
	return outbox.Append(ctx, tx, remote...)
}

func (r *Rules) isOurs(id swpt.CreditorID) bool {
	return r.Realm.Match(shard.KeyOf(id))
}
