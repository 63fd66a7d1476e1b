package attempt

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	// silence is how long an answer can be late. After that, none is expected any more.
	silence = 7 * 24 * time.Hour

	// shortestNap is the shortest pause between two looks, so that attempts that are due one soon after the other are
	// triggered together.
	shortestNap = 100 * time.Millisecond
)

// A Trigger looks for attempts whose time has come, and sends TriggerTransfer messages for them. Any number of
// triggers can work on a database. What is left over there from the parent shard does no harm: the shard that a
// message goes to ignores it, unless the attempt is due.
type Trigger struct {
	DB                 *workerdb.DB
	HealthyCommitDelay time.Duration // as in [Settings]
	Period             time.Duration // from one look to the next one, unless something is due before
	Burst              int           // attempts in a transaction, at least 1
	Now                func() time.Time
	Metrics            *Metrics
	Logger             *slog.Logger
}

// Run triggers attempts until the context is done, and then returns nil. It fails when the database fails.
func (t *Trigger) Run(ctx context.Context) error {
	for {
		started := t.Now()
		err := t.RunOnce(ctx)
		var next time.Time
		if err == nil {
			next, err = t.nextLook(ctx, started)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the error is that it should end
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(next.Sub(t.Now())):
		case <-ctx.Done():
			return nil
		}
	}
}

// RunOnce triggers the attempts that are due now, and returns.
func (t *Trigger) RunOnce(ctx context.Context) error {
	if err := t.repeat(ctx, t.giveUpWaiting); err != nil {
		return fmt.Errorf("looking for transfers that nobody answers for: %w", err)
	}
	if err := t.repeat(ctx, t.triggerDue); err != nil {
		return fmt.Errorf("looking for transfers that are due: %w", err)
	}
	return nil
}

// repeat calls treat until there is less than a burst of attempts to be treated.
func (t *Trigger) repeat(ctx context.Context, treat func(context.Context) (treated int, err error)) error {
	for {
		treated, err := treat(ctx)
		if err != nil || treated < t.Burst {
			return err
		}
	}
}

// triggerDue triggers a burst of attempts that are due.
func (t *Trigger) triggerDue(ctx context.Context) (triggered int, err error) {
	now := t.now()
	err = t.DB.InReadCommittedTx(ctx, "trigger_transfers", func(ctx context.Context, tx *workerdb.Tx) error {
		rows, err := tx.TakeDueAttempts(ctx, workerdb.TakeDueAttemptsParams{Now: now, AtMost: int64(t.Burst)})
		if err != nil {
			return err
		}
		triggered = len(rows)
		messages := make([]smp.Outgoing, len(rows))
		for i, row := range rows {
			messages[i] = &smp.TriggerTransfer{
				CollectorID:   row.CollectorID,
				TurnID:        row.TurnID,
				DebtorID:      row.DebtorID,
				CreditorID:    row.CreditorID,
				IsDispatching: row.IsDispatching,
				TS:            now,
			}
		}
		return outbox.Append(ctx, tx, messages...)
	})
	return triggered, err
}

// giveUpWaiting has a burst of attempts fail that have got no answer for so long that there will be none: the broker
// does not keep a PrepareTransfer while the accounting authority is not connected (W-23).
func (t *Trigger) giveUpWaiting(ctx context.Context) (givenUp int, err error) {
	now := t.now()
	var p workerdb.LockUnansweredAttemptsParams
	for counter := range int16(maxDoublings + 1) { // with a higher one, nobody would live to see the deadline
		p.BackoffCounters = append(p.BackoffCounters, counter)
		p.MadeBefore = append(p.MadeBefore, now.Add(-backoff(t.HealthyCommitDelay, counter)-silence))
	}
	p.AtMost = int64(t.Burst)
	err = t.DB.InReadCommittedTx(ctx, "give_up_waiting", func(ctx context.Context, tx *workerdb.Tx) error {
		rows, err := tx.LockUnansweredAttempts(ctx, p)
		if err != nil {
			return err
		}
		givenUp = len(rows)
		var attempts table
		m := &machine{healthyDelay: t.HealthyCommitDelay, now: now}
		for i := range rows {
			a := &attempt{TransferAttempt: rows[i]}
			attempts.rows = append(attempts.rows, a)
			m.unanswered(a)
		}
		tx.AfterCommit(func() { m.tally.report(ctx, t.Metrics, t.Logger) })
		return attempts.store(ctx, tx)
	})
	return givenUp, err
}

// nextLook returns when to look again after a look that has started at some instant: when the next attempt is due, or
// when the period ends. What was due already is left to those who have locked it.
func (t *Trigger) nextLook(ctx context.Context, started time.Time) (time.Time, error) {
	next := started.Add(t.Period)
	due, err := t.DB.Queries().NextDueAttempts(ctx, workerdb.NextDueAttemptsParams{After: started, AtMost: 1})
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for the next transfer to be due: %w", err)
	}
	if len(due) > 0 && due[0].Before(next) {
		next = due[0]
	}
	if earliest := t.Now().Add(shortestNap); next.Before(earliest) {
		next = earliest
	}
	return next, nil
}

func (t *Trigger) now() time.Time {
	return t.Now().Truncate(time.Microsecond) // PostgreSQL does not keep more
}
