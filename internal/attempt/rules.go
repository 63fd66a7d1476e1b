package attempt

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Settings are what [Rules] need. All of them have to be set.
type Settings struct {
	// Realm is the part of all keys that belongs to this worker.
	Realm shard.Realm

	// HealthyCommitDelay is the time in which transfers normally succeed. Deadlines and pauses follow from it.
	HealthyCommitDelay time.Duration

	// AmountCut is the fraction of each amount that collectors keep, from 0 to 1.
	AmountCut float64

	// ExtendedMessages tells whether workers of other shards know NothingToReceive and LockAbandoned. If not, they are not
	// told, and wait in vain until they give up.
	ExtendedMessages bool

	// NothingToReceive and LockAbandoned are the rules for these messages. They are applied to those for this shard.
	NothingToReceive func(context.Context, *workerdb.Tx, time.Time, []*smp.NothingToReceive) error
	LockAbandoned    func(context.Context, *workerdb.Tx, time.Time, []*smp.LockAbandoned) error

	Metrics *Metrics
	Logger  *slog.Logger
}

// Rules are what messages do to attempts. Each rule has the form of an inbox.Rule.
type Rules struct {
	settings Settings
}

// NewRules returns rules with the given settings.
func NewRules(settings Settings) *Rules {
	return &Rules{settings}
}

// HandleTriggerTransfers makes attempts that are due, and asks for account IDs that are missing.
func (r *Rules) HandleTriggerTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.TriggerTransfer,
) error {
	keyOf := func(m *smp.TriggerTransfer) key {
		return key{m.CollectorID, m.TurnID, m.DebtorID, m.CreditorID, m.IsDispatching}
	}
	return mayBeMade(ctx, tx, now, r, batch, keyOf, (*machine).triggered)
}

// HandleAccountIDResponses stores account IDs that were missing, or have not worked, and makes the attempts that have
// waited for them.
func (r *Rules) HandleAccountIDResponses(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.AccountIDResponse,
) error {
	keyOf := func(m *smp.AccountIDResponse) key {
		return key{m.CollectorID, m.TurnID, m.DebtorID, m.CreditorID, m.IsDispatching}
	}
	return mayBeMade(ctx, tx, now, r, batch, keyOf, (*machine).accountIDReceived)
}

// HandlePreparedTransfers commits transfers that attempts wait for. All others are dismissed, also those that have
// nothing to do with attempts: it is for messages that concern no account lock.
func (r *Rules) HandlePreparedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.PreparedTransfer,
) error {
	requestOf := func(m *smp.PreparedTransfer) request { return request{m.CoordinatorID, m.CoordinatorRequestID} }
	return isAnswered(ctx, tx, now, r, batch, requestOf, (*machine).prepared)
}

// HandleRejectedTransfers has attempts fail. It is for messages that concern no account lock.
func (r *Rules) HandleRejectedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.RejectedTransfer,
) error {
	requestOf := func(m *smp.RejectedTransfer) request { return request{m.CoordinatorID, m.CoordinatorRequestID} }
	return isAnswered(ctx, tx, now, r, batch, requestOf, (*machine).rejected)
}

// HandleFinalizedTransfers ends attempts of which the amount has been transferred, and has others fail. It is for
// messages that concern no account lock.
func (r *Rules) HandleFinalizedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.FinalizedTransfer,
) error {
	requestOf := func(m *smp.FinalizedTransfer) request { return request{m.CoordinatorID, m.CoordinatorRequestID} }
	return isAnswered(ctx, tx, now, r, batch, requestOf, (*machine).finalized)
}

// HandleAccountIDRequests answers with the account IDs of customers and collectors of this shard, as far as they are
// known.
func (r *Rules) HandleAccountIDRequests(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.AccountIDRequest,
) error {
	accounts := make([]account, len(batch))
	for i, m := range batch {
		accounts[i] = account{m.CreditorID, m.DebtorID}
	}
	known, err := readAccountIDs(ctx, tx, accounts)
	if err != nil {
		return err
	}
	answers := make([]smp.Outgoing, len(batch))
	for i, m := range batch {
		found := known[accounts[i]]
		answers[i] = &smp.AccountIDResponse{
			CollectorID:      m.CollectorID,
			TurnID:           m.TurnID,
			DebtorID:         m.DebtorID,
			CreditorID:       m.CreditorID,
			IsDispatching:    m.IsDispatching,
			AccountID:        found.AccountID,
			AccountIDVersion: found.AccountIDVersion,
			TS:               now,
		}
	}
	return outbox.Append(ctx, tx, answers...)
}

// mayBeMade applies messages from workers, which may have attempts made.
func mayBeMade[M any](
	ctx context.Context, tx *workerdb.Tx, now time.Time, r *Rules, batch []M,
	keyOf func(M) key, event func(*machine, *attempt, M, *rates),
) error {
	keys := make([]key, len(batch))
	for i, message := range batch {
		keys[i] = keyOf(message)
	}
	attempts, err := lockByKey(ctx, tx, keys)
	if err != nil {
		return err
	}
	known, err := readRates(ctx, tx, attempts.rows)
	if err != nil {
		return err
	}
	m := r.machine(now)
	for i, message := range batch {
		if a := attempts.byKey(keys[i]); a != nil {
			event(m, a, message, known[account{a.CollectorID, a.DebtorID}])
		}
	}
	return r.store(ctx, tx, m, attempts)
}

// isAnswered applies messages from accounting authorities, which answer to what attempts have asked for.
func isAnswered[M any](
	ctx context.Context, tx *workerdb.Tx, now time.Time, r *Rules, batch []M,
	requestOf func(M) request, event func(*machine, *attempt, M),
) error {
	requests := make([]request, len(batch))
	for i, message := range batch {
		requests[i] = requestOf(message)
	}
	attempts, err := lockByRequest(ctx, tx, requests)
	if err != nil {
		return err
	}
	m := r.machine(now)
	for i, message := range batch {
		event(m, attempts.byRequest(requests[i]), message)
	}
	return r.store(ctx, tx, m, attempts)
}

func (r *Rules) machine(now time.Time) *machine {
	return &machine{healthyDelay: r.settings.HealthyCommitDelay, cut: r.settings.AmountCut, now: now}
}

// store writes back what the machine has changed, and sends what it has to say.
func (r *Rules) store(ctx context.Context, tx *workerdb.Tx, m *machine, attempts *table) error {
	if err := attempts.store(ctx, tx); err != nil {
		return err
	}
	if err := r.abandon(ctx, tx, m, attempts.with(worthless)); err != nil {
		return err
	}
	if err := outbox.Append(ctx, tx, m.outgoing...); err != nil {
		return err
	}
	tx.AfterCommit(func() { m.tally.report(ctx, r.settings.Metrics, r.settings.Logger) })
	return nil
}

// abandon has those who wait for worthless transfers not do so any more (W-17).
func (r *Rules) abandon(ctx context.Context, tx *workerdb.Tx, m *machine, attempts []*attempt) error {
	if len(attempts) == 0 {
		return nil
	}
	if err := dropObligations(ctx, tx, attempts); err != nil {
		return err
	}
	var nothingToReceive []*smp.NothingToReceive
	var lockAbandoned []*smp.LockAbandoned
	for _, a := range attempts {
		if a.IsDispatching {
			lockAbandoned = append(lockAbandoned, &smp.LockAbandoned{
				CreditorID: a.CreditorID, DebtorID: a.DebtorID, TurnID: a.TurnID, TS: m.now,
			})
		} else {
			nothingToReceive = append(nothingToReceive, &smp.NothingToReceive{
				CollectorID: a.CreditorID, TurnID: a.TurnID, DebtorID: a.DebtorID, FromCollectorID: a.CollectorID, TS: m.now,
			})
		}
	}
	if err := tell(ctx, tx, r, m, nothingToReceive, r.settings.NothingToReceive); err != nil {
		return fmt.Errorf("having collectors not wait for what would be nothing: %w", err)
	}
	if err := tell(ctx, tx, r, m, lockAbandoned, r.settings.LockAbandoned); err != nil {
		return fmt.Errorf("releasing locks of buyers who would be paid nothing: %w", err)
	}
	return nil
}

// tell applies a rule to those of the messages that are for this shard, and has the machine send the others, unless
// nobody would understand them.
func tell[M smp.Outgoing](
	ctx context.Context, tx *workerdb.Tx, r *Rules, m *machine, messages []M,
	apply func(context.Context, *workerdb.Tx, time.Time, []M) error,
) error {
	var ours []M
	for _, message := range messages {
		switch {
		case r.settings.Realm.Match(shard.KeyOf(message.ShardKey().ID)):
			ours = append(ours, message)
		case r.settings.ExtendedMessages:
			m.say(message)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	return apply(ctx, tx, m.now, ours)
}
