package lock

import (
	"context"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// DismissOverdue deletes, of the locks of some accounts, those that have come to nothing: they are not settled, although
// even a late payment would have been made by now, or they are as old as no lock may become. Prepared transfers are
// dismissed. Locks that have changed meanwhile, locks that somebody else is working on, and those of other shards are
// left alone. It returns how many it has deleted.
//
// The accounts are found by those who scan the table without locking anything; they may as well give all that there are.
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
		CreditorIDs: creditors, DebtorIDs: debtors,
		DeadlineBefore: now.Add(-r.DispatchingSlack), InitiatedBefore: now.Add(-r.MaxAge),
	})
	if err != nil {
		return 0, fmt.Errorf("holding the overdue locks of %d accounts: %w", len(creditors), err)
	}
	b := r.newBatch(now, locks)
	for _, h := range b.held {
		b.apply(h, deletion(h.lock, eventOverdue, now))
	}
	return len(b.held), b.save(ctx, tx)
}

func itself(a Account) Account { return a }
