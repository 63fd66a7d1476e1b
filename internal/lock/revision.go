package lock

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// HandleReviseAccountLocks does with locks what the solver has decided: sellers' transfers are committed, buyers' locks
// are kept, and all others are given up.
func (r *Rules) HandleReviseAccountLocks(
	ctx context.Context, tx *workerdb.Tx, now time.Time, messages []*smp.ReviseAccountLock,
) error {
	participations, err := takeParticipations(ctx, tx, messages)
	if err != nil {
		return err
	}
	b, err := hold(ctx, tx, r, now, messages, accountRevised)
	if err != nil {
		return err
	}
	locks := b.byAccount()
	for _, m := range messages {
		account := accountRevised(m)
		if h := locks[account]; h != nil && h.lock != nil {
			b.apply(h, revise(h.lock, m.TurnID, participations[part{account, m.TurnID}], now))
		}
	}
	return b.save(ctx, tx)
}

func accountRevised(m *smp.ReviseAccountLock) Account { return Account{m.CreditorID, m.DebtorID} }

// A part is what an account has in a turn.
type part struct {
	account Account
	turn    int32
}

// takeParticipations deletes, and returns, the participations that messages are about.
func takeParticipations(
	ctx context.Context, tx *workerdb.Tx, messages []*smp.ReviseAccountLock,
) (map[part]*workerdb.CreditorParticipation, error) {
	var params workerdb.TakeParticipationsParams
	participations := make(map[part]*workerdb.CreditorParticipation, len(messages))
	for _, m := range messages {
		key := part{accountRevised(m), m.TurnID}
		if _, twice := participations[key]; !twice {
			participations[key] = nil
			params.CreditorIDs = append(params.CreditorIDs, int64(m.CreditorID))
			params.DebtorIDs = append(params.DebtorIDs, int64(m.DebtorID))
			params.TurnIDs = append(params.TurnIDs, m.TurnID)
		}
	}
	rows, err := tx.TakeParticipations(ctx, params)
	if err != nil {
		return nil, fmt.Errorf("taking the participations of %d accounts: %w", len(params.CreditorIDs), err)
	}
	for i := range rows {
		p := &rows[i]
		participations[part{Account{p.CreditorID, p.DebtorID}, p.TurnID}] = p
	}
	return participations, nil
}

// revise decides what becomes of a lock when its turn has been decided. The participation may be nil: then the turn is
// not about the account.
func revise(lock *workerdb.AccountLock, turn int32, p *workerdb.CreditorParticipation, now time.Time) decision {
	if lock.TurnID != turn || lock.FinalizedAt != nil || lock.HasBeenRevised {
		return unchanged(lock)
	}
	if p == nil {
		return deletion(lock, eventDismissed, now)
	}
	if !fits(lock, p) {
		return refuse(lock, p, now)
	}
	r := *lock
	r.HasBeenRevised = true
	r.Amount = nearerToZero(p.Amount, lock.Amount)
	var d decision
	switch {
	case p.CollectorID == lock.CreditorID: // the tokens stay where they are
		d = release(&r, collectorTrade.creationDate, collectorTrade.transferNumber, now)
		d.messages = dismissal(lock, now)
	case p.Amount < 0:
		r.FinalizedAt = &now
		d = decision{lock: &r, event: eventSettled, messages: commit(&r, now)}
	default:
		d = decision{lock: &r, event: eventKept}
	}
	if r.Amount != p.Amount {
		d.anomaly = &anomaly{anomalyExcess, participationAttrs(p)}
	}
	return d
}

// fits reports whether a lock can be settled as the solver has decided, apart from the amount. A seller's tokens cannot
// go to another collector than the one for which they have been secured.
func fits(lock *workerdb.AccountLock, p *workerdb.CreditorParticipation) bool {
	if p.Amount < 0 {
		return lock.TransferID != nil && lock.Amount < 0 && lock.CollectorID == p.CollectorID
	}
	return lock.TransferID != nil && lock.Amount > 0
}

// refuse gives up a lock that cannot be settled as the solver has decided.
func refuse(lock *workerdb.AccountLock, p *workerdb.CreditorParticipation, now time.Time) decision {
	d := deletion(lock, eventRefused, now)
	d.anomaly = &anomaly{anomalyMismatch, participationAttrs(p)}
	if p.Amount < 0 {
		d.messages = append(d.messages, failure(lock, p.CollectorID, now)...)
	}
	return d
}

func participationAttrs(p *workerdb.CreditorParticipation) []slog.Attr {
	return []slog.Attr{
		slog.Int64("participation_amount", p.Amount),
		slog.Int64("participation_collector_id", int64(p.CollectorID)),
	}
}

// nearerToZero returns the smaller one of two amounts of the same sign, sales being negative.
func nearerToZero(a, b int64) int64 {
	if a < 0 {
		return max(a, b)
	}
	return min(a, b)
}
