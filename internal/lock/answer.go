package lock

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// HandlePreparedTransfers applies what accounting authorities have secured for locks, and returns the messages that are
// not about any lock.
func (r *Rules) HandlePreparedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, messages []*smp.PreparedTransfer,
) (rest []*smp.PreparedTransfer, err error) {
	b, err := holdRequested(ctx, tx, r, now, messages, requestOfPrepared)
	if err != nil || len(b.held) == 0 {
		return messages, err
	}
	deadlines, err := collectionDeadlines(ctx, tx, b.held)
	if err != nil {
		return nil, err
	}
	locks := b.byRequest()
	for _, m := range messages {
		h := locks[requestOfPrepared(m)]
		if h == nil || h.lock == nil {
			rest = append(rest, m)
			continue
		}
		deadline, isKnown := deadlines[h.lock.TurnID]
		if !isKnown {
			rest = append(rest, m)
			continue
		}
		b.apply(h, answerPrepared(h.lock, m, deadline, r.MinDemurrageRate, now))
	}
	return rest, b.save(ctx, tx)
}

// HandleRejectedTransfers deletes the locks for which nothing could be secured, and returns the messages that are not
// about any lock.
func (r *Rules) HandleRejectedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, messages []*smp.RejectedTransfer,
) (rest []*smp.RejectedTransfer, err error) {
	return handleAnswers(ctx, tx, r, now, messages, requestOfRejected, answerRejected)
}

// HandleFinalizedTransfers deletes the locks of sellers whose commits have failed, tells collectors not to wait for
// them, and returns the messages that are not about any lock.
func (r *Rules) HandleFinalizedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, messages []*smp.FinalizedTransfer,
) (rest []*smp.FinalizedTransfer, err error) {
	return handleAnswers(ctx, tx, r, now, messages, requestOfFinalized, answerFinalized)
}

func handleAnswers[M any](
	ctx context.Context, tx *workerdb.Tx, rules *Rules, now time.Time, messages []M,
	requestOf func(M) request, answer func(*workerdb.AccountLock, M, time.Time) decision,
) (rest []M, err error) {
	b, err := holdRequested(ctx, tx, rules, now, messages, requestOf)
	if err != nil || len(b.held) == 0 {
		return messages, err
	}
	locks := b.byRequest()
	for _, m := range messages {
		if h := locks[requestOf(m)]; h != nil && h.lock != nil {
			b.apply(h, answer(h.lock, m, now))
		} else {
			rest = append(rest, m)
		}
	}
	return rest, b.save(ctx, tx)
}

func requestOfPrepared(m *smp.PreparedTransfer) request {
	return request{swpt.CreditorID(m.CoordinatorID), m.CoordinatorRequestID}
}

func requestOfRejected(m *smp.RejectedTransfer) request {
	return request{swpt.CreditorID(m.CoordinatorID), m.CoordinatorRequestID}
}

func requestOfFinalized(m *smp.FinalizedTransfer) request {
	return request{swpt.CreditorID(m.CoordinatorID), m.CoordinatorRequestID}
}

// holdRequested holds the locks to which messages refer by their requests.
func holdRequested[M any](
	ctx context.Context, tx *workerdb.Tx, rules *Rules, now time.Time, messages []M, requestOf func(M) request,
) (*batch, error) {
	ids := make([]int64, len(messages))
	for i, m := range messages {
		ids[i] = requestOf(m).id
	}
	locks, err := tx.HoldRequestedAccountLocks(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("holding the account locks of %d requests: %w", len(ids), err)
	}
	return rules.newBatch(now, locks), nil
}

// endless stands in for the collection deadline of a turn that has none.
var endless = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// collectionDeadlines returns the collection deadlines of the turns of locks, as far as these turns are known.
func collectionDeadlines(ctx context.Context, tx *workerdb.Tx, locks []*held) (map[int32]time.Time, error) {
	deadlines := map[int32]time.Time{}
	var turns []int32
	for _, h := range locks {
		if _, twice := deadlines[h.stored.TurnID]; !twice {
			deadlines[h.stored.TurnID] = endless
			turns = append(turns, h.stored.TurnID)
		}
	}
	rows, err := tx.CollectionDeadlines(ctx, turns)
	if err != nil {
		return nil, fmt.Errorf("reading the collection deadlines of %d turns: %w", len(turns), err)
	}
	clear(deadlines)
	for _, row := range rows {
		deadlines[row.TurnID] = orEndless(row.CollectionDeadline)
	}
	return deadlines, nil
}

func orEndless(deadline *time.Time) time.Time {
	if deadline == nil {
		return endless
	}
	return *deadline
}

// answerPrepared decides what a PreparedTransfer, or a reminder of one, does to the lock that it was requested for.
func answerPrepared(
	lock *workerdb.AccountLock, m *smp.PreparedTransfer, deadline time.Time, minRate float64, now time.Time,
) decision {
	if m.CreditorID != lock.CreditorID || m.DebtorID != lock.DebtorID {
		strange := &anomaly{anomalyOtherAccount, []slog.Attr{
			slog.Int64("prepared_creditor_id", int64(m.CreditorID)),
			slog.Int64("prepared_debtor_id", int64(m.DebtorID)),
			slog.Int64("prepared_transfer_id", m.TransferID),
		}}
		return decision{lock: lock, messages: dismissPrepared(m, now), anomaly: strange}
	}
	s := stateOf(lock)
	if s == initiated {
		if m.Deadline.Before(deadline) || m.DemurrageRate < minRate {
			return decision{event: eventUnfit, messages: dismissPrepared(m, now)}
		}
		p := *lock
		p.TransferID = &m.TransferID
		p.Amount = secured(lock, m, deadline)
		return decision{lock: &p, event: eventPrepared}
	}
	isSame := m.TransferID == *lock.TransferID
	switch {
	case isSame && s == prepared:
		return unchanged(lock)
	case isSame && lock.Amount < 0: // the accounting authority may have missed the commit
		return decision{lock: lock, messages: commit(lock, now)}
	default:
		return decision{lock: lock, messages: dismissPrepared(m, now)}
	}
}

// secured returns how much of what a lock is about will still be there at the collection deadline. What a buyer wants
// is not secured on the buyer's account.
func secured(lock *workerdb.AccountLock, m *smp.PreparedTransfer, deadline time.Time) int64 {
	if lock.Amount > 0 {
		return lock.Amount
	}
	remaining := demurrage.Remaining(m.DemurrageRate, deadline.Sub(lock.InitiatedAt))
	amount := demurrage.Contain(math.Floor(float64(m.LockedAmount) * remaining))
	// Floating point may round up what is beyond 2⁵³, where nothing but the locked amount itself is the limit.
	return max(lock.Amount, -min(amount, m.LockedAmount))
}

// dismissPrepared returns the message that gives up a prepared transfer.
func dismissPrepared(m *smp.PreparedTransfer, now time.Time) []smp.Outgoing {
	return []smp.Outgoing{&smp.FinalizeTransfer{
		CreditorID:           m.CreditorID,
		DebtorID:             m.DebtorID,
		TransferID:           m.TransferID,
		CoordinatorType:      m.CoordinatorType,
		CoordinatorID:        m.CoordinatorID,
		CoordinatorRequestID: m.CoordinatorRequestID,
		TS:                   now,
	}}
}

// answerRejected decides what a RejectedTransfer does to the lock that was asked for.
func answerRejected(lock *workerdb.AccountLock, m *smp.RejectedTransfer, _ time.Time) decision {
	if stateOf(lock) != initiated || m.CreditorID != lock.CreditorID || m.DebtorID != lock.DebtorID {
		return unchanged(lock)
	}
	return decision{event: eventRejected}
}

// answerFinalized decides what a FinalizedTransfer does to a lock. It matters only to a seller whose transfer should
// have been committed. If it has been, the lock goes on waiting for the AccountTransfer, which has the number of the
// transfer.
func answerFinalized(lock *workerdb.AccountLock, m *smp.FinalizedTransfer, now time.Time) decision {
	if stateOf(lock) != settled || lock.Amount >= 0 || m.TransferID != *lock.TransferID ||
		m.CreditorID != lock.CreditorID || m.DebtorID != lock.DebtorID {
		return unchanged(lock)
	}
	outcome := []slog.Attr{
		slog.Int64("committed_amount", m.CommittedAmount),
		slog.String("status_code", m.StatusCode),
	}
	switch m.CommittedAmount {
	case 0:
		return decision{
			event:    eventFailed,
			messages: failure(lock, lock.CollectorID, now),
			anomaly:  &anomaly{anomalyFailedCommit, outcome},
		}
	case -lock.Amount:
		return unchanged(lock)
	default:
		return decision{lock: lock, anomaly: &anomaly{anomalyCommittedAmount, outcome}}
	}
}
