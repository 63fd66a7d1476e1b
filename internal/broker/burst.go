package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// maxUnconfirmed is how many messages may wait for their confirmation. That many keep the broker busy. And there is room
// for all of them if they are returned, so the library never has to wait for us, which it would not do for long: it drops
// what it cannot get rid of.
const maxUnconfirmed = 2000

// errInterrupted tells that a connection was lost in the middle of a burst.
var errInterrupted = fmt.Errorf("%w: the connection was lost", ErrUnreachable)

// A line is a channel to the broker that confirms publishings.
type line struct {
	conn      *connection
	channel   *amqp.Channel
	confirmed uint64 // number of messages confirmed so far, and delivery tag of the latest of them

	confirms <-chan amqp.Confirmation
	returns  <-chan amqp.Return
	blockade <-chan amqp.Blocking
	closing  <-chan *amqp.Error

	blocked string // why the broker accepts no messages for the time being; empty if it does
}

// openLine opens a line. The connection belongs to the line from now on; it is closed if that fails.
func openLine(ctx context.Context, conn *connection) (*line, error) {
	unlink := context.AfterFunc(ctx, conn.abort)
	defer unlink()
	channel, err := conn.Channel()
	if err == nil {
		err = channel.Confirm(false)
	}
	if err != nil {
		conn.close()
		return nil, fmt.Errorf("open a channel that confirms: %w", classify(err))
	}
	return &line{
		conn:     conn,
		channel:  channel,
		confirms: channel.NotifyPublish(make(chan amqp.Confirmation, maxUnconfirmed)),
		returns:  channel.NotifyReturn(make(chan amqp.Return, maxUnconfirmed)),
		blockade: conn.NotifyBlocked(make(chan amqp.Blocking, 8)),
		closing:  channel.NotifyClose(make(chan *amqp.Error, 1)),
	}, nil
}

// A burst publishes those messages of a batch that have no outcome yet, over one line, and finds out what becomes of
// them. The line confirms in the order of publishing, and returns in this order, too; and it returns a message before it
// confirms it.
type burst struct {
	line     *line
	batch    []Publishing
	outcomes []Outcome
	metrics  *Metrics

	pending  []int           // indexes of the messages to publish
	sentAt   []time.Duration // when they were sent, since the start
	replies  []*amqp.DeferredConfirmation
	start    time.Time
	sent     int // so many of the pending messages have been sent
	settled  int // so many have been confirmed, which makes their outcome final
	returned int // the next message to be returned is not before this one
}

func newBurst(l *line, batch []Publishing, outcomes []Outcome, metrics *Metrics) *burst {
	b := &burst{line: l, batch: batch, outcomes: outcomes, metrics: metrics, start: time.Now()}
	b.pending = make([]int, 0, len(batch))
	for i, outcome := range outcomes {
		if outcome == Unknown {
			b.pending = append(b.pending, i)
		}
	}
	b.sentAt = make([]time.Duration, len(b.pending))
	b.replies = make([]*amqp.DeferredConfirmation, len(b.pending))
	return b
}

// run publishes, and returns when all outcomes are known, or with the reason why some will remain unknown. Then the
// connection is of no use any more.
func (b *burst) run(ctx context.Context, timeout time.Duration) error {
	// The library may be stuck in writing to the socket, or wait for a broker that says nothing. Either ends when the
	// connection is cut.
	var silent atomic.Bool
	silence := time.AfterFunc(timeout, func() {
		silent.Store(true)
		b.line.conn.abort()
	})
	defer silence.Stop()
	unlink := context.AfterFunc(ctx, b.line.conn.abort)
	defer unlink()

	for b.settled < len(b.pending) {
		err := b.send(ctx)
		if err == nil {
			err = b.await()
		}
		if errors.Is(err, errInterrupted) {
			return b.explain(ctx, silent.Load(), timeout)
		}
		if err != nil {
			return err
		}
		silence.Reset(timeout)
	}
	return nil
}

// send publishes more messages, as long as few enough are unconfirmed.
func (b *burst) send(ctx context.Context) error {
	for b.sent < len(b.pending) && b.sent-b.settled < maxUnconfirmed {
		select {
		case blocking := <-b.line.blockade:
			b.line.note(blocking)
		default:
		}
		if b.line.blocked != "" {
			return nil
		}
		p := &b.batch[b.pending[b.sent]]
		b.sentAt[b.sent] = time.Since(b.start)
		reply, err := b.line.channel.PublishWithDeferredConfirmWithContext(
			ctx, p.Exchange, p.RoutingKey, p.Mandatory, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent,
				ContentType:  p.ContentType,
				Type:         p.Type,
				AppId:        p.AppID,
				Headers:      p.Headers,
				Body:         p.Body,
			})
		if err != nil {
			return errInterrupted // the context has ended, or the channel is closed; explain finds out why
		}
		b.replies[b.sent] = reply
		b.sent++
		b.metrics.published.Inc()
	}
	return nil
}

// await waits for news, and takes in all there are.
func (b *burst) await() error {
	select {
	case confirmation, ok := <-b.line.confirms:
		for ok {
			if err := b.settle(confirmation); err != nil {
				return err
			}
			select {
			case confirmation, ok = <-b.line.confirms:
			default:
				return nil
			}
		}
		return errInterrupted
	case blocking := <-b.line.blockade:
		b.line.note(blocking)
		return nil
	}
}

// settle takes in the confirmation of the oldest message without one. Whether it is a refusal, only the deferred
// confirmation of the message tells: when the broker has refused a message, and then confirms all messages up to a later
// one, which means those without a reply so far, the library's other confirmations have it that all are confirmed.
func (b *burst) settle(c amqp.Confirmation) error {
	b.line.confirmed++
	if c.DeliveryTag != b.line.confirmed || b.settled == b.sent {
		return fmt.Errorf("confirmation %d has come where %d was due", c.DeliveryTag, b.line.confirmed)
	}
	if err := b.matchReturns(); err != nil {
		return err
	}
	outcome := &b.outcomes[b.pending[b.settled]]
	switch {
	case *outcome == Returned:
	case b.replies[b.settled].Acked():
		*outcome = Confirmed
		b.metrics.confirmed.Inc()
	default:
		*outcome = Nacked
		b.metrics.nacked.Inc()
	}
	b.metrics.confirmSeconds.Observe((time.Since(b.start) - b.sentAt[b.settled]).Seconds())
	b.settled++
	return nil
}

// matchReturns finds out which messages have been returned. A returned message carries no number, but its contents; and
// as it comes before its confirmation, and in the order of publishing, it is the next one with these contents.
func (b *burst) matchReturns() error {
	for {
		select {
		case r, ok := <-b.line.returns:
			if !ok {
				return nil
			}
			b.returned = max(b.returned, b.settled)
			for b.returned < b.sent && !b.batch[b.pending[b.returned]].isReturnedAs(&r) {
				b.returned++
			}
			if b.returned == b.sent {
				return fmt.Errorf("a message of type %q has been returned that was not published here", r.Type)
			}
			b.outcomes[b.pending[b.returned]] = Returned
			b.metrics.returned.Inc()
			b.returned++
		default:
			return nil
		}
	}
}

func (p *Publishing) isReturnedAs(r *amqp.Return) bool {
	return p.Mandatory && p.RoutingKey == r.RoutingKey && p.Exchange == r.Exchange && p.Type == r.Type &&
		bytes.Equal(p.Body, r.Body)
}

// explain tells why a burst had to end before its time.
func (b *burst) explain(ctx context.Context, silent bool, timeout time.Duration) error {
	// The library may still be reading what the broker has said about it. Otherwise there is nothing to wait for.
	cut := time.AfterFunc(closeTimeout, b.line.conn.abort)
	reply := <-b.line.closing
	cut.Stop()
	unconfirmed := len(b.pending) - b.settled
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%d are unconfirmed: %w", unconfirmed, context.Cause(ctx))
	case silent && b.line.blocked != "":
		return fmt.Errorf("%w: %d are unconfirmed after %s, and the broker accepts no messages for the time being (%s)",
			ErrConfirmTimeout, unconfirmed, timeout, b.line.blocked)
	case silent:
		return fmt.Errorf("%w: %d are unconfirmed after %s", ErrConfirmTimeout, unconfirmed, timeout)
	case reply == nil:
		return fmt.Errorf("%d are unconfirmed: %w", unconfirmed, errInterrupted)
	}
	if err := classify(reply); !errors.Is(err, ErrUnreachable) {
		return fmt.Errorf("%d are unconfirmed: %w", unconfirmed, err) // an exchange does not exist, for example
	}
	return fmt.Errorf("%d are unconfirmed: %w: %w", unconfirmed, errInterrupted, reply)
}

// note takes in that the broker has stopped accepting messages, or begun again.
func (l *line) note(b amqp.Blocking) {
	switch {
	case !b.Active:
		l.blocked = ""
	case b.Reason == "":
		l.blocked = "no reason given"
	default:
		l.blocked = b.Reason
	}
}
