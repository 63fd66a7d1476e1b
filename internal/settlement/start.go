package settlement

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Starter has collectors begin to send, and to dispatch, what they have got.
type Starter struct {
	Realm shard.Realm // of the worker

	// HealthyCommitDelay is the time in which transfers normally succeed. If the account of the recipient has not
	// become known after that time, it is asked for again.
	HealthyCommitDelay time.Duration

	// ExtendedMessages allows messages to workers of other shards that swpt_trade does not know. Otherwise, those who
	// wait in vain for a small amount wait for as long as they can.
	ExtendedMessages bool

	// LockAbandoned releases the accounts of this worker's own buyers who are not going to be paid. Nil: they get
	// messages, too.
	LockAbandoned func(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.LockAbandoned) error

	Logger *slog.Logger
}

// portion is how many transfers are begun at a time, to have a bound on what is held in memory.
const portion = 5000

// errNoTurn tells that the records of a turn have outlived the turn, in which no program should have a part.
var errNoTurn = errors.New("worker_turn does not tell when collecting began in the turn: restore that row")

// HandleStartSendings has collectors send to other collectors what they have collected for them. See section 3.3 of the
// chapter about transfers.
func (s *Starter) HandleStartSendings(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.StartSending,
) error {
	rows, err := lockAwaiting(ctx, tx,
		distinct(batch, func(m *smp.StartSending) status { return status{m.CollectorID, m.TurnID, m.DebtorID} }),
		func(row *workerdb.DispatchingStatus) bool { return !row.StartedSending })
	if err != nil || len(rows) == 0 {
		return err
	}
	rows, amounts, err := s.sumCollected(ctx, tx, rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	keys := queryable(statusesOf(rows))
	if err := tx.BeginSending(ctx, workerdb.BeginSendingParams{
		CollectorIDs: keys.CollectorIDs, TurnIDs: keys.TurnIDs, DebtorIDs: keys.DebtorIDs, Amounts: amounts,
	}); err != nil {
		return fmt.Errorf("storing that %d collectors begin to send: %w", len(rows), err)
	}
	if err := tx.EndCollecting(ctx, workerdb.EndCollectingParams(keys)); err != nil {
		return fmt.Errorf("deleting the collectings of %d collectors: %w", len(rows), err)
	}
	tx.NotifyOnCommit(workerdb.TopicSettlement)
	var outlets []outlet
	for i := range rows {
		a := amountsOf(&rows[i].DispatchingStatus)
		a.Collected = amounts[i]
		if a.ToSend > 0 {
			outlets = append(outlets, newOutlet(&rows[i], Share(a.AvailableToSend(), a.ToSend)))
		}
	}
	return s.send(ctx, tx, now, outlets)
}

// HandleStartDispatchings has collectors give buyers what they have collected and received for them. See section 3.3 of
// the chapter about transfers.
func (s *Starter) HandleStartDispatchings(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.StartDispatching,
) error {
	rows, err := lockAwaiting(ctx, tx,
		distinct(batch, func(m *smp.StartDispatching) status { return status{m.CollectorID, m.TurnID, m.DebtorID} }),
		func(row *workerdb.DispatchingStatus) bool { return row.AllSent && !row.StartedDispatching })
	if err != nil || len(rows) == 0 {
		return err
	}
	keys := queryable(statusesOf(rows))
	amounts, err := tx.SumReceivings(ctx, workerdb.SumReceivingsParams(keys))
	if err != nil {
		return fmt.Errorf("adding up what %d collectors have received: %w", len(rows), err)
	}
	if err := tx.BeginDispatching(ctx, workerdb.BeginDispatchingParams{
		CollectorIDs: keys.CollectorIDs, TurnIDs: keys.TurnIDs, DebtorIDs: keys.DebtorIDs, Amounts: amounts,
	}); err != nil {
		return fmt.Errorf("storing that %d collectors begin to dispatch: %w", len(rows), err)
	}
	if err := tx.EndReceiving(ctx, workerdb.EndReceivingParams(keys)); err != nil {
		return fmt.Errorf("deleting the receivings of %d collectors: %w", len(rows), err)
	}
	tx.NotifyOnCommit(workerdb.TopicSettlement)
	var outlets []outlet
	for i := range rows {
		a := amountsOf(&rows[i].DispatchingStatus)
		a.Received = amounts[i]
		if a.ToDispatch > 0 {
			outlets = append(outlets, newOutlet(&rows[i], Share(a.AvailableToDispatch(), a.ToDispatch)))
		}
	}
	return s.dispatch(ctx, tx, now, outlets)
}

// lockAwaiting locks those statuses that await a signal, and returns those of them that it was this signal they
// awaited.
func lockAwaiting(
	ctx context.Context, tx *workerdb.Tx, keys []status, isDue func(*workerdb.DispatchingStatus) bool,
) ([]workerdb.LockAwaitingStatusesRow, error) {
	rows, err := tx.LockAwaitingStatuses(ctx, workerdb.LockAwaitingStatusesParams(queryable(keys)))
	if err != nil {
		return nil, fmt.Errorf("locking %d dispatching statuses: %w", len(keys), err)
	}
	due := rows[:0]
	for i := range rows {
		if !isDue(&rows[i].DispatchingStatus) {
			continue
		}
		if rows[i].CollectionStartedAt == nil {
			return nil, fmt.Errorf("%w: %+v", errNoTurn, keyOf(&rows[i].DispatchingStatus))
		}
		due = append(due, rows[i])
	}
	return due, nil
}

// sumCollected returns how much has been collected, without those statuses that have not collected everything after
// all: these have to wait for another signal.
func (s *Starter) sumCollected(ctx context.Context, tx *workerdb.Tx, rows []workerdb.LockAwaitingStatusesRow) (
	complete []workerdb.LockAwaitingStatusesRow, amounts []int64, err error,
) {
	keys := statusesOf(rows)
	sums, err := tx.SumCollectings(ctx, workerdb.SumCollectingsParams(queryable(keys)))
	if err != nil {
		return nil, nil, fmt.Errorf("adding up what %d collectors have collected: %w", len(rows), err)
	}
	var tooEarly []status
	for i, sum := range sums {
		if sum.Pending == 0 {
			complete = append(complete, rows[i])
			amounts = append(amounts, sum.Amount)
			continue
		}
		tooEarly = append(tooEarly, keys[i])
		tx.AfterCommit(func() {
			s.Logger.ErrorContext(ctx, "told to send before everything has been collected; waiting for it again",
				slog.Int64("collector_id", int64(keys[i].CollectorID)), slog.Int("turn_id", int(keys[i].TurnID)),
				slog.Int64("debtor_id", int64(keys[i].DebtorID)), slog.Int64("pending", sum.Pending))
		})
	}
	if len(tooEarly) > 0 {
		if err := tx.StopAwaitingSignals(ctx, workerdb.StopAwaitingSignalsParams(queryable(tooEarly))); err != nil {
			return nil, nil, fmt.Errorf("storing that %d collectors have to wait: %w", len(tooEarly), err)
		}
	}
	return complete, amounts, nil
}

func statusesOf(rows []workerdb.LockAwaitingStatusesRow) []status {
	statuses := make([]status, len(rows))
	for i := range rows {
		statuses[i] = keyOf(&rows[i].DispatchingStatus)
	}
	return statuses
}

func keyOf(row *workerdb.DispatchingStatus) status {
	return status{row.CollectorID, row.TurnID, row.DebtorID}
}

func amountsOf(row *workerdb.DispatchingStatus) Amounts {
	a := Amounts{
		ToCollect: row.AmountToCollect, ToSend: row.AmountToSend,
		ToReceive: row.AmountToReceive, ToDispatch: row.AmountToDispatch,
	}
	if row.TotalCollectedAmount != nil {
		a.Collected = *row.TotalCollectedAmount
	}
	if row.TotalReceivedAmount != nil {
		a.Received = *row.TotalReceivedAmount
	}
	return a
}

// An outlet is a status whose tokens now leave.
type outlet struct {
	status
	share               float64 // of each amount; the rest is missing
	collectionStartedAt time.Time
}

func newOutlet(row *workerdb.LockAwaitingStatusesRow, share float64) outlet {
	return outlet{keyOf(&row.DispatchingStatus), share, *row.CollectionStartedAt}
}

func queryableOutlets(outlets []outlet) workerdb.Statuses {
	statuses := make([]status, len(outlets))
	for i := range outlets {
		statuses[i] = outlets[i].status
	}
	return queryable(statuses)
}

func (s *Starter) send(ctx context.Context, tx *workerdb.Tx, now time.Time, outlets []outlet) error {
	err := tx.EachSending(ctx, queryableOutlets(outlets), portion, func(due []workerdb.DueTransfer) error {
		tooSmall, err := s.attempt(ctx, tx, now, outlets, due, false)
		if err != nil || len(tooSmall) == 0 {
			return err
		}
		if _, err := tx.DeleteSendings(ctx, workerdb.DeleteSendingsParams(arraysOf(tooSmall))); err != nil {
			return fmt.Errorf("deleting %d sendings that are too small: %w", len(tooSmall), err)
		}
		return s.tellReceivers(ctx, tx, now, tooSmall)
	})
	if err != nil {
		return fmt.Errorf("beginning to send: %w", err)
	}
	return nil
}

func (s *Starter) dispatch(ctx context.Context, tx *workerdb.Tx, now time.Time, outlets []outlet) error {
	err := tx.EachDispatching(ctx, queryableOutlets(outlets), portion, func(due []workerdb.DueTransfer) error {
		tooSmall, err := s.attempt(ctx, tx, now, outlets, due, true)
		if err != nil || len(tooSmall) == 0 {
			return err
		}
		if _, err := tx.DeleteDispatchings(ctx, workerdb.DeleteDispatchingsParams(arraysOf(tooSmall))); err != nil {
			return fmt.Errorf("deleting %d dispatchings that are too small: %w", len(tooSmall), err)
		}
		return s.tellBuyers(ctx, tx, now, tooSmall)
	})
	if err != nil {
		return fmt.Errorf("beginning to dispatch: %w", err)
	}
	return nil
}

// attempt makes an attempt of each transfer that is due, and asks for the account of its recipient. It returns those
// that are too small for that.
func (s *Starter) attempt(
	ctx context.Context, tx *workerdb.Tx, now time.Time, outlets []outlet, due []workerdb.DueTransfer, isDispatching bool,
) (tooSmall []Record, err error) {
	attempts := make([]workerdb.InsertTransferAttemptsParams, 0, len(due))
	askAgainAt := now.Add(s.HealthyCommitDelay)
	for _, d := range due {
		from := &outlets[d.Status]
		nominal := Nominal(d.Amount, from.share)
		if nominal < minNominal {
			tooSmall = append(tooSmall, from.with(d.CreditorID))
			continue
		}
		attempts = append(attempts, workerdb.InsertTransferAttemptsParams{
			CollectorID: from.CollectorID, TurnID: from.TurnID, DebtorID: from.DebtorID, CreditorID: d.CreditorID,
			IsDispatching: isDispatching, NominalAmount: nominal, CollectionStartedAt: from.collectionStartedAt,
			InsertedAt: now, Recipient: "", RecipientVersion: math.MinInt64, RescheduledFor: &askAgainAt,
		})
	}
	if len(attempts) == 0 {
		return tooSmall, nil
	}
	if _, err := tx.InsertTransferAttempts(ctx, attempts); err != nil {
		return nil, fmt.Errorf("inserting %d transfer attempts: %w", len(attempts), err)
	}
	_, err = outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
		var m smp.AccountIDRequest
		for i := range attempts {
			a := &attempts[i]
			m = smp.AccountIDRequest{
				CollectorID: a.CollectorID, TurnID: a.TurnID, DebtorID: a.DebtorID, CreditorID: a.CreditorID,
				IsDispatching: isDispatching, TS: now,
			}
			if !yield(&m, nil) {
				return
			}
		}
	})
	return tooSmall, err
}

// tellReceivers tells the recipients of sendings that nothing will come.
func (s *Starter) tellReceivers(ctx context.Context, tx *workerdb.Tx, now time.Time, sendings []Record) error {
	var own, others []*smp.NothingToReceive
	for _, r := range sendings {
		m := &smp.NothingToReceive{
			CollectorID: r.OtherID, TurnID: r.TurnID, DebtorID: r.DebtorID, FromCollectorID: r.CollectorID, TS: now,
		}
		if s.Realm.Match(shard.KeyOf(m.CollectorID)) {
			own = append(own, m)
		} else {
			others = append(others, m)
		}
	}
	if len(own) > 0 {
		if err := HandleNothingToReceives(ctx, tx, now, own); err != nil {
			return err
		}
	}
	return publish(ctx, s, tx, others)
}

// tellBuyers tells the recipients of dispatchings that nothing will come.
func (s *Starter) tellBuyers(ctx context.Context, tx *workerdb.Tx, now time.Time, dispatchings []Record) error {
	var own, others []*smp.LockAbandoned
	for _, r := range dispatchings {
		m := &smp.LockAbandoned{CreditorID: r.OtherID, DebtorID: r.DebtorID, TurnID: r.TurnID, TS: now}
		if s.LockAbandoned != nil && s.Realm.Match(shard.KeyOf(m.CreditorID)) {
			own = append(own, m)
		} else {
			others = append(others, m)
		}
	}
	if len(own) > 0 {
		if err := s.LockAbandoned(ctx, tx, now, own); err != nil {
			return fmt.Errorf("releasing the accounts of %d buyers who will not be paid: %w", len(own), err)
		}
	}
	return publish(ctx, s, tx, others)
}

// publish sends messages that swpt_trade does not know, if that is allowed.
func publish[M smp.Outgoing](ctx context.Context, s *Starter, tx *workerdb.Tx, messages []M) error {
	if !s.ExtendedMessages || len(messages) == 0 {
		return nil
	}
	_, err := outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
		for _, m := range messages {
			if !yield(m, nil) {
				return
			}
		}
	})
	return err
}
