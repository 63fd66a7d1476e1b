package lock

import (
	"context"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Payment is a transfer of a trade, as the account of the seller or the buyer tells of it.
type Payment struct {
	Transfer *smp.AccountTransfer
	Note     smp.Note // which the transfer carries
}

// ReleaseSellers releases the locks of sellers who have paid: their notes are about collecting, and the acquired
// amounts negative.
func (r *Rules) ReleaseSellers(ctx context.Context, tx *workerdb.Tx, now time.Time, payments []Payment) error {
	return r.release(ctx, tx, now, payments, releaseSeller)
}

// ReleaseBuyers releases the locks of buyers who have been paid: their notes are about dispatching, and the acquired
// amounts positive. The transfers that have kept their accounts in place are dismissed.
func (r *Rules) ReleaseBuyers(ctx context.Context, tx *workerdb.Tx, now time.Time, payments []Payment) error {
	return r.release(ctx, tx, now, payments, releaseBuyer)
}

func (r *Rules) release(
	ctx context.Context, tx *workerdb.Tx, now time.Time, payments []Payment,
	decide func(*workerdb.AccountLock, Payment, accountState, time.Time) decision,
) error {
	b, err := hold(ctx, tx, r, now, payments, Payment.account)
	if err != nil {
		return err
	}
	locks := b.byAccount()
	for _, p := range payments {
		if h := locks[p.account()]; h != nil {
			b.apply(h, decide(h.lock, p, r.stateAfter(p.Transfer), now))
		}
	}
	return b.save(ctx, tx)
}

func (p Payment) account() Account {
	return Account{p.Transfer.CreditorID, p.Transfer.DebtorID}
}

// An accountState is a state of an account's ledger: the account includes all its transfers up to that number. An
// account that is created again has a later creation date.
type accountState struct {
	creationDate   smp.Date
	transferNumber int64
}

// collectorTrade is the state of a collector's account after a trade of its own. It comes before all others, so that a
// released lock of a collector is not in force: what collectors offer does not depend on ledgers.
var collectorTrade = accountState{}

// stateAfter returns the state of an account from which on it includes a transfer.
func (r *Rules) stateAfter(m *smp.AccountTransfer) accountState {
	if r.isCollector(m.CreditorID) {
		return collectorTrade
	}
	return accountState{m.CreationDate, m.TransferNumber}
}

func (r *Rules) isCollector(id swpt.CreditorID) bool {
	return r.MinCollectorID <= id && id <= r.MaxCollectorID
}

// releaseSeller decides what becomes of a lock when its account has been debited.
func releaseSeller(lock *workerdb.AccountLock, p Payment, after accountState, now time.Time) decision {
	if lock.TurnID != p.Note.TurnID || stateOf(lock) != settled {
		return unchanged(lock)
	}
	if lock.Amount != p.Transfer.AcquiredAmount {
		return decision{lock: lock, anomaly: &anomaly{anomalyPaidAmount, []slog.Attr{
			slog.Int64("acquired_amount", p.Transfer.AcquiredAmount),
			slog.Int64("transfer_number", p.Transfer.TransferNumber),
		}}}
	}
	return release(lock, after.creationDate, after.transferNumber, now)
}

// releaseBuyer decides what becomes of a lock when its account has been credited. The turn may not yet have been
// decided, as far as this worker knows. A little less comes than what has been decided: demurrage, and the cut.
func releaseBuyer(lock *workerdb.AccountLock, p Payment, after accountState, now time.Time) decision {
	if lock.TurnID != p.Note.TurnID || stateOf(lock) != prepared || lock.Amount <= 0 {
		return unchanged(lock)
	}
	d := release(lock, after.creationDate, after.transferNumber, now)
	d.messages = dismissal(lock, now)
	return d
}

// HandleLockAbandonments gives up the locks of buyers who will not be paid.
func (r *Rules) HandleLockAbandonments(
	ctx context.Context, tx *workerdb.Tx, now time.Time, messages []*smp.LockAbandoned,
) error {
	b, err := hold(ctx, tx, r, now, messages, accountAbandoned)
	if err != nil {
		return err
	}
	locks := b.byAccount()
	for _, m := range messages {
		if h := locks[accountAbandoned(m)]; h != nil && h.lock != nil {
			b.apply(h, abandon(h.lock, m.TurnID, now))
		}
	}
	return b.save(ctx, tx)
}

func accountAbandoned(m *smp.LockAbandoned) Account { return Account{m.CreditorID, m.DebtorID} }

// abandon decides what becomes of a lock when the buyer will not be paid in a turn.
func abandon(lock *workerdb.AccountLock, turn int32, now time.Time) decision {
	if lock.TurnID != turn || stateOf(lock) != prepared || lock.Amount <= 0 {
		return unchanged(lock)
	}
	return deletion(lock, eventAbandoned, now)
}
