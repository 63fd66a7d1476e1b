package lock

import (
	"context"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// DismissOverdue deletes, of the locks of some accounts, those that have come to nothing: they are not settled,
// although even a late payment would have been made by now. Prepared transfers are dismissed. Locks that have changed
// meanwhile, locks that somebody else is working on, and those of other shards are left alone. It returns how many it
// has deleted.
//
// The accounts are found by those who scan the table without locking anything; they may as well give all that there
// are. Locks have to be dismissed before they are purged.
func (r *Rules) DismissOverdue(
	ctx context.Context, tx *workerdb.Tx, now time.Time, accounts []Account,
) (int, error) {
	var ours []Account
	for _, a := range accounts {
		if r.isOurs(a.CreditorID) {
			ours = append(ours, a)
		}
	}
	creditors, debtors := columns(ours, itself)
	locks, err := tx.HoldOverdueAccountLocks(ctx, workerdb.HoldOverdueAccountLocksParams{
		CreditorIDs: creditors, DebtorIDs: debtors, DeadlineBefore: now.Add(-r.DispatchingSlack),
	})
	if err != nil {
		return 0, fmt.Errorf("holding the overdue locks of %d accounts: %w", len(creditors), err)
	}
	b := r.newBatch(now, locks)
	for _, h := range b.held {
		b.apply(ctx, h, deletion(h.lock, eventOverdue, now))
	}
	return len(b.held), b.save(ctx, tx)
}

// Purge deletes, of the locks of some accounts, those that are older than they may become, or have been released long
// ago. No message tells of it. Locks that somebody else is working on are left alone. It returns how many it has
// deleted. See [Rules.DismissOverdue].
func (r *Rules) Purge(ctx context.Context, tx *workerdb.Tx, now time.Time, accounts []Account) (int, error) {
	creditors, debtors := columns(accounts, itself)
	purged, err := tx.PurgeAccountLocks(ctx, workerdb.PurgeAccountLocksParams{
		CreditorIDs: creditors, DebtorIDs: debtors,
		InitiatedBefore: now.Add(-r.MaxAge), ReleasedBefore: now.Add(-r.ReleasedMaxAge),
	})
	if err != nil {
		return 0, fmt.Errorf("purging the locks of %d accounts: %w", len(creditors), err)
	}
	r.Metrics.events.WithLabelValues(string(eventPurged)).Add(float64(purged))
	return int(purged), nil
}

func itself(a Account) Account { return a }
