package lock

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A batch is a rule at work: the locks that it holds, and what it has decided so far.
type batch struct {
	rules *Rules
	now   time.Time
	held  []*held // in the order of their accounts

	messages       []smp.Outgoing
	events         map[event]int
	contradictions []contradiction
}

// A contradiction is an anomaly, and the lock that is concerned as it was then.
type contradiction struct {
	lock *workerdb.AccountLock
	*anomaly
}

// A held lock cannot be changed by others before the transaction ends.
type held struct {
	stored *workerdb.AccountLock
	lock   *workerdb.AccountLock // as it is going to be stored; nil: it will be deleted
}

func (r *Rules) newBatch(now time.Time, locks []workerdb.AccountLock) *batch {
	b := &batch{rules: r, now: now, held: make([]*held, len(locks)), events: map[event]int{}}
	for i := range locks {
		b.held[i] = &held{&locks[i], &locks[i]}
	}
	return b
}

// hold holds the locks of the accounts that messages are about.
func hold[M any](
	ctx context.Context, tx *workerdb.Tx, rules *Rules, now time.Time, messages []M, account func(M) Account,
) (*batch, error) {
	creditors, debtors := columns(messages, account)
	locks, err := tx.HoldAccountLocks(ctx, workerdb.HoldAccountLocksParams{CreditorIDs: creditors, DebtorIDs: debtors})
	if err != nil {
		return nil, fmt.Errorf("holding the locks of %d accounts: %w", len(creditors), err)
	}
	return rules.newBatch(now, locks), nil
}

// columns returns the accounts that messages are about, each once.
func columns[M any](messages []M, account func(M) Account) (creditors, debtors []int64) {
	seen := make(map[Account]struct{}, len(messages))
	for _, m := range messages {
		a := account(m)
		if _, twice := seen[a]; !twice {
			seen[a] = struct{}{}
			creditors = append(creditors, int64(a.CreditorID))
			debtors = append(debtors, int64(a.DebtorID))
		}
	}
	return creditors, debtors
}

// byAccount returns the held locks by their accounts.
func (b *batch) byAccount() map[Account]*held {
	locks := make(map[Account]*held, len(b.held))
	for _, h := range b.held {
		locks[Account{h.stored.CreditorID, h.stored.DebtorID}] = h
	}
	return locks
}

// A request is what the answers of an accounting authority refer to.
type request struct {
	coordinator swpt.CreditorID
	id          int64
}

// byRequest returns the held locks by the requests for them.
func (b *batch) byRequest() map[request]*held {
	locks := make(map[request]*held, len(b.held))
	for _, h := range b.held {
		locks[request{h.stored.CreditorID, h.stored.CoordinatorRequestID}] = h
	}
	return locks
}

// apply carries out a decision about a held lock.
func (b *batch) apply(h *held, d decision) {
	if d.anomaly != nil {
		b.contradictions = append(b.contradictions, contradiction{h.lock, d.anomaly})
	}
	if d.lock != h.lock {
		b.events[d.event]++
	}
	h.lock = d.lock
	b.messages = append(b.messages, d.messages...)
}

// report tells operators what has been decided. It is for decisions that have been committed.
func (b *batch) report(ctx context.Context) {
	for e, count := range b.events {
		b.rules.Metrics.happened(e, count)
	}
	for _, c := range b.contradictions {
		b.rules.Metrics.anomalies.WithLabelValues(string(c.kind)).Inc()
		b.rules.Logger.LogAttrs(ctx, slog.LevelError, "an account lock does not agree with what is said of it", c.describe()...)
	}
}

func (c contradiction) describe() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("anomaly", string(c.kind)),
		slog.Int64("creditor_id", int64(c.lock.CreditorID)),
		slog.Int64("debtor_id", int64(c.lock.DebtorID)),
		slog.Int64("turn_id", int64(c.lock.TurnID)),
		slog.Int64("collector_id", int64(c.lock.CollectorID)),
		slog.Int64("coordinator_request_id", c.lock.CoordinatorRequestID),
		slog.Int64("amount", c.lock.Amount),
	}
	if c.lock.TransferID != nil {
		attrs = append(attrs, slog.Int64("transfer_id", *c.lock.TransferID))
	}
	return append(attrs, c.attrs...)
}

// save writes all decisions to the database.
func (b *batch) save(ctx context.Context, tx *workerdb.Tx) error {
	tx.AfterCommit(func() { b.report(ctx) })
	advanced := workerdb.AdvanceAccountLocksParams{Now: b.now}
	var deleted workerdb.DeleteAccountLocksParams
	for _, h := range b.held {
		switch h.lock {
		case h.stored:
		case nil:
			deleted.CreditorIDs = append(deleted.CreditorIDs, int64(h.stored.CreditorID))
			deleted.DebtorIDs = append(deleted.DebtorIDs, int64(h.stored.DebtorID))
		default:
			addAdvanced(&advanced, h.lock)
		}
	}
	if n := len(advanced.CreditorIDs); n > 0 {
		if err := tx.AdvanceAccountLocks(ctx, advanced); err != nil {
			return fmt.Errorf("storing %d account locks: %w", n, err)
		}
	}
	if n := len(deleted.CreditorIDs); n > 0 {
		if err := tx.DeleteAccountLocks(ctx, deleted); err != nil {
			return fmt.Errorf("deleting %d account locks: %w", n, err)
		}
	}
	return b.rules.tell(ctx, tx, b.now, b.messages)
}

// addAdvanced adds a lock that is at least prepared.
func addAdvanced(p *workerdb.AdvanceAccountLocksParams, lock *workerdb.AccountLock) {
	p.CreditorIDs = append(p.CreditorIDs, int64(lock.CreditorID))
	p.DebtorIDs = append(p.DebtorIDs, int64(lock.DebtorID))
	p.Amounts = append(p.Amounts, lock.Amount)
	p.TransferIDs = append(p.TransferIDs, *lock.TransferID)
	p.AreFinalized = append(p.AreFinalized, lock.FinalizedAt != nil)
	p.AreReleased = append(p.AreReleased, lock.ReleasedAt != nil)
	p.HaveBeenRevised = append(p.HaveBeenRevised, lock.HasBeenRevised)
	var (
		day    time.Time
		number int64
	)
	if lock.ReleasedAt != nil {
		day, number = *lock.AccountCreationDate, *lock.AccountLastTransferNumber
	}
	p.CreationDates = append(p.CreationDates, day)
	p.LastTransferNumbers = append(p.LastTransferNumbers, number)
}
