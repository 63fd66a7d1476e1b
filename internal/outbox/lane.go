package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/grace"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A lane sends bursts of messages of certain types, one after the other.
type lane struct {
	Config
	types     []string
	publisher Publisher
	waste     waste
}

// run makes passes until the context is done.
func (l *lane) run(ctx context.Context) error {
	var commits <-chan struct{}
	if l.Listener != nil {
		topics := make([]string, len(l.types))
		for i, name := range l.types {
			topics[i] = topicOf(name)
		}
		var cancel func()
		commits, cancel = l.Listener.Subscribe(topics...)
		defer cancel()
	}
	for {
		next := time.Now().Add(l.Period)
		if err := l.pass(ctx); err != nil {
			return err
		}
		select {
		case <-commits:
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return nil
		}
	}
}

// pass goes once through all messages that are due when it begins, in rounds: in each of them, each queue in which
// messages wait sends one burst. So a long queue does not hold up the others, nor what comes into them meanwhile.
func (l *lane) pass(ctx context.Context) error {
	queues := l.queues()
	var err error
	for err == nil && ctx.Err() == nil && slices.ContainsFunc(queues, (*queue).isUnfinished) {
		err = l.round(ctx, queues)
	}
	if ctx.Err() == nil {
		l.cleanUp(ctx)
		for _, q := range queues {
			err = errors.Join(err, q.kept)
		}
		return err
	}
	return nil // whatever has failed, it may have been because of that
}

// round sends a burst from each queue in which messages wait.
func (l *lane) round(ctx context.Context, queues []*queue) error {
	if err := l.look(ctx, queues); err != nil {
		return fmt.Errorf("looking into the outbox: %w", err)
	}
	for _, q := range queues {
		if !q.waiting || ctx.Err() != nil {
			continue
		}
		err := l.send(ctx, q)
		if errors.Is(err, ErrForeignRecord) || errors.Is(err, ErrNacked) {
			q.kept, err = err, nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// look finds out in which queues messages wait, as far as that is not known.
func (l *lane) look(ctx context.Context, queues []*queue) error {
	var unknown workerdb.LookIntoOutboxParams
	for _, q := range queues {
		if !q.waiting && !q.returned {
			unknown.Types = append(unknown.Types, q.kind.Type)
			unknown.AfterIDs = append(unknown.AfterIDs, q.afterID)
		}
	}
	if len(unknown.Types) == 0 {
		return nil
	}
	var found []workerdb.LookIntoOutboxRow
	err := l.DB.InReadCommittedTx(ctx, "look_into_outbox", func(ctx context.Context, tx *workerdb.Tx) (err error) {
		if err := tx.ReadOutboxByIndex(ctx); err != nil {
			return fmt.Errorf("choosing how to read the outbox: %w", err)
		}
		found, err = tx.LookIntoOutbox(ctx, unknown)
		return err
	})
	for _, row := range found {
		for _, q := range queues {
			if q.kind.Type == row.Type {
				q.look(row)
			}
		}
	}
	return err
}

// patience is how long a burst that has begun may go on after the context is done.
const patience = 5 * time.Second

// send sends one burst of messages from a queue.
func (l *lane) send(ctx context.Context, q *queue) error {
	// Before anything is locked.
	if err := l.publisher.Connect(ctx); err != nil {
		return fmt.Errorf("connecting to the broker for %s messages: %w", q.kind.Type, err)
	}
	finishing, cancel := grace.Period(ctx, patience)
	defer cancel()
	var b *burst
	// The burst is published again if the transaction is repeated. That is allowed, and happens hardly ever: here, nothing
	// waits for locks. For the same reason each statement has to see what others have deleted meanwhile.
	err := l.DB.InReadCommittedTx(finishing, "flush_outbox", func(ctx context.Context, tx *workerdb.Tx) (err error) {
		if b, err = l.lock(ctx, tx, q); err != nil {
			return fmt.Errorf("locking %s messages in the outbox: %w", q.kind.Type, err)
		}
		b.publish(ctx, l.publisher)
		if err := b.record(ctx, tx, l.FirstPause); err != nil {
			return fmt.Errorf("removing %s messages from the outbox: %w", q.kind.Type, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.report(ctx, b)
	l.waste.deleted += len(b.confirmed) + len(b.leftOver)
	q.advance(b)
	return b.err()
}

// lock locks the next burst of a queue.
func (l *lane) lock(ctx context.Context, tx *workerdb.Tx, q *queue) (*burst, error) {
	if err := tx.ReadOutboxByIndex(ctx); err != nil {
		return nil, err
	}
	// Should the server crash and forget the commit, the messages are sent again.
	if err := tx.CommitLazily(ctx); err != nil {
		return nil, err
	}
	b := &burst{kind: q.kind}
	if q.returned {
		rows, err := tx.LockReturned(ctx, workerdb.LockReturnedParams{
			Type: q.kind.Type, DueAt: q.began, AfterRetryAt: q.afterRetryAt, AfterID: q.afterID, AtMost: int64(q.burst),
		})
		for _, row := range rows {
			l.sort(b, workerdb.LockPendingRow(row))
		}
		return b, err
	}
	rows, err := tx.LockPending(ctx, workerdb.LockPendingParams{
		Type: q.kind.Type, AfterID: q.afterID, AtMost: int64(q.burst),
	})
	for _, row := range rows {
		l.sort(b, row)
	}
	return b, err
}

// sort decides what is to become of a record. Messages between workers may be sent from any shard: after a split, both
// halves send those of their parent, and the receivers do not mind. Those to accounting authorities must be sent from one
// shard only.
func (l *lane) sort(b *burst, record workerdb.LockPendingRow) {
	b.last = record
	b.locked++
	key := keyOf(record)
	switch {
	case b.kind.Class == smp.ClassInternal || l.Realm.Match(key):
		b.records = append(b.records, record)
	case l.DeleteParentRecords && l.Realm.MatchParent(key):
		b.leftOver = append(b.leftOver, record.ID)
	default:
		b.foreign = append(b.foreign, record)
	}
}

// report tells of what has become of a burst.
func (l *lane) report(ctx context.Context, b *burst) {
	l.Metrics.flushed(b)
	if len(b.returned) > 0 {
		l.Logger.WarnContext(ctx, "the broker has returned messages, for which there is no queue; they will be sent again",
			slog.String("type", b.kind.Type), slog.Int("messages", len(b.returned)),
			slog.String("routing_key", publishing(b.kind, b.returned[0]).RoutingKey),
			slog.Int("returns", int(b.returned[0].Returns)+1))
	}
	if len(b.leftOver) > 0 {
		l.Logger.InfoContext(ctx, "deleted messages that the other half of the parent shard sends",
			slog.String("type", b.kind.Type), slog.Int("messages", len(b.leftOver)))
	}
}

// A burst is what is sent in one transaction: messages of one type.
type burst struct {
	kind   smp.Envelope
	locked int
	last   workerdb.LockPendingRow

	records  []workerdb.LockPendingRow // to be published
	leftOver []int64                   // to be deleted unsent
	foreign  []workerdb.LockPendingRow // to be left alone

	confirmed []int64
	returned  []workerdb.LockPendingRow
	nacked    int
	failure   error // why the outcome of some publishings is not known
}

// publish publishes the records, and sorts them by outcome.
func (b *burst) publish(ctx context.Context, publisher Publisher) {
	if len(b.records) == 0 {
		return
	}
	batch := make([]broker.Publishing, len(b.records))
	for i, record := range b.records {
		batch[i] = publishing(b.kind, record)
	}
	var outcomes []broker.Outcome
	outcomes, b.failure = publisher.PublishAll(ctx, batch)
	for i, outcome := range outcomes {
		switch outcome {
		case broker.Confirmed:
			b.confirmed = append(b.confirmed, b.records[i].ID)
		case broker.Returned:
			b.returned = append(b.returned, b.records[i])
		case broker.Nacked:
			b.nacked++
		case broker.Unknown:
		}
	}
}

// record has the table know what has become of the records. Those without an outcome, and those refused, stay as they
// were.
func (b *burst) record(ctx context.Context, tx *workerdb.Tx, firstPause time.Duration) error {
	if gone := slices.Concat(b.leftOver, b.confirmed); len(gone) > 0 {
		if err := tx.DeleteFromOutbox(ctx, gone); err != nil {
			return err
		}
	}
	if len(b.returned) == 0 {
		return nil
	}
	var postponed workerdb.PostponeInOutboxParams
	for _, record := range b.returned {
		postponed.IDs = append(postponed.IDs, record.ID)
		postponed.PausesSeconds = append(postponed.PausesSeconds, pause(firstPause, record.Returns).Seconds())
	}
	return tx.PostponeInOutbox(ctx, postponed)
}

// pause returns how long a message rests that has been returned, and had been returned some times before.
func pause(first time.Duration, returns int32) time.Duration {
	pause := min(first, maxPause)
	for range returns {
		if pause == maxPause {
			break
		}
		pause = min(2*pause, maxPause)
	}
	return pause
}

// err returns why not all of a burst could be sent. That messages have been returned is no reason.
func (b *burst) err() error {
	switch {
	case b.failure != nil:
		return fmt.Errorf("publishing %d %s messages: %w", len(b.records), b.kind.Type, b.failure)
	case b.nacked > 0:
		return fmt.Errorf("publishing %d %s messages: %w: %d of them", len(b.records), b.kind.Type, ErrNacked, b.nacked)
	case len(b.foreign) > 0:
		first := b.foreign[0]
		return fmt.Errorf("%w: %d %s messages, the first one with ID %d, of creditor %d: set the routing key of this shard, "+
			"or, if they are left over from a split, DELETE_PARENT_SHARD_RECORDS",
			ErrForeignRecord, len(b.foreign), b.kind.Type, first.ID, int64(first.CreditorID))
	default:
		return nil
	}
}

// waste is what has been deleted, and still takes up space.
type waste struct {
	deleted int       // records, since the last time that they were cleaned up
	restAt  time.Time // until then, there has been enough cleaning up
}

const (
	// From this many deleted records on, it is worth the effort.
	wasteLimit = 20000
	// Cleaning up takes at most one part in this many of the time.
	wasteShare = 10
)

// cleanUp has the database remove what has been deleted, both from the table and from its indexes. PostgreSQL does that
// by itself, but once a minute at most, and every pass has to step over what lies there until then.
func (l *lane) cleanUp(ctx context.Context) {
	started := time.Now()
	if l.waste.deleted < wasteLimit || started.Before(l.waste.restAt) {
		return
	}
	if err := l.DB.Queries().VacuumOutbox(ctx); err != nil {
		l.Logger.WarnContext(ctx, "cannot clean up the outbox, which makes it slower", slog.Any("error", err))
	}
	l.waste = waste{restAt: time.Now().Add(wasteShare * time.Since(started))}
}
