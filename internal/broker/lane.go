package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// linger is how long a batch that is not full waits for more messages.
	linger = 2 * time.Millisecond
	// subscription names a lane's only subscription on its channel.
	subscription = "trade"
)

// A lane is one of the parallel subscriptions of a consumer, with a prefetch window of its own. It handles one batch at
// a time. The broker numbers the messages of a lane in the order in which it delivers them: these are the tags.
type lane[M any] struct {
	*Consumer[M]
	activity   *activity
	channel    *amqp.Channel
	deliveries <-chan amqp.Delivery
	closing    <-chan *amqp.Error
	linger     *time.Timer

	batch   []M
	tickets []ticket    // those of the batch
	failing failures[M] // messages set aside, each of which takes a place in the window
}

// A ticket identifies a message that is not acknowledged yet.
type ticket struct {
	tag         uint64
	messageType string
}

func newLane[M any](c *Consumer[M], channel *amqp.Channel, a *activity) (*lane[M], error) {
	closing := channel.NotifyClose(make(chan *amqp.Error, 1))
	if err := channel.Qos(c.config.PrefetchCount, c.config.PrefetchSize, false); err != nil {
		return nil, err
	}
	deliveries, err := channel.Consume(c.config.Queue, subscription, false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	return &lane[M]{
		Consumer: c, activity: a, channel: channel, deliveries: deliveries, closing: closing,
		linger: time.NewTimer(linger),
	}, nil
}

// run handles messages until stopping ends or something happens. The handler may go on until working ends.
func (l *lane[M]) run(stopping, working context.Context) error {
	defer l.linger.Stop()
	for {
		var err error
		select {
		case d, ok := <-l.deliveries:
			if !ok {
				return l.explain(stopping)
			}
			l.activity.begin()
			err = l.receive(stopping, working, d)
			l.activity.end()
		case <-l.retryDue():
			l.activity.begin()
			err = l.retry(stopping, working)
			l.activity.end()
		case <-stopping.Done():
		}
		if err != nil || ended(stopping) {
			return err
		}
	}
}

// unsubscribe asks the broker for no more messages. It is called while the lane is running.
func (l *lane[M]) unsubscribe() {
	_ = l.channel.Cancel(subscription, true) // if the connection is lost, so is the subscription
}

// receive makes a batch of the given delivery and of those that follow closely, and handles it.
func (l *lane[M]) receive(stopping, working context.Context, first amqp.Delivery) error {
	failure := l.gather(stopping, first)
	if ended(stopping) || errors.Is(failure, ErrUnreachable) {
		return failure // what nobody has begun to handle goes back to the queue
	}
	err := l.handleBatch(stopping, working)
	clear(l.batch)
	l.batch, l.tickets = l.batch[:0], l.tickets[:0]
	return errors.Join(err, failure)
}

// gather makes a batch. It ends where a check fails; then it returns the error.
func (l *lane[M]) gather(stopping context.Context, first amqp.Delivery) error {
	err := l.check(&first)
	received := 1
	l.linger.Reset(linger)
	for limit := min(l.config.MaxBatch, l.places-len(l.failing)); received < limit && err == nil; received++ {
		select {
		case d, ok := <-l.deliveries:
			if !ok {
				return l.explain(stopping)
			}
			err = l.check(&d)
			continue
		case <-l.linger.C:
		case <-stopping.Done():
		}
		break
	}
	l.metrics.consumed.Add(float64(received))
	return err
}

// check decodes a delivery and adds it to the batch, or rejects it.
func (l *lane[M]) check(d *amqp.Delivery) error {
	message, err := l.handler.Check(Delivery{
		ContentType: d.ContentType,
		Type:        d.Type,
		RoutingKey:  d.RoutingKey,
		Redelivered: d.Redelivered,
		Body:        d.Body,
	})
	if err == nil {
		l.batch = append(l.batch, message)
		l.tickets = append(l.tickets, ticket{d.DeliveryTag, d.Type})
		return nil
	}
	var r *rejection
	if !errors.As(err, &r) {
		return fmt.Errorf("check a message of type %q: %w", d.Type, err)
	}
	if err := l.channel.Reject(d.DeliveryTag, false); err != nil {
		return unreachable(err)
	}
	l.config.Log.Error("rejected a message", slog.String("type", d.Type), slog.String("routing_key", d.RoutingKey),
		slog.String("reason", r.reason), slog.Any("error", err))
	l.metrics.rejected.WithLabelValues(r.reason).Inc()
	return nil
}

// handleBatch handles the batch, and if that fails, each message by itself.
func (l *lane[M]) handleBatch(stopping, working context.Context) error {
	if len(l.batch) == 0 {
		return nil
	}
	err := l.handle(working, l.batch)
	if err == nil {
		return l.acknowledgeBatch()
	}
	if len(l.batch) == 1 {
		return l.fail(stopping, failure[M]{ticket: l.tickets[0], message: l.batch[0]}, err)
	}
	if ended(stopping) {
		return nil
	}
	if err := l.ready(stopping); err != nil {
		return err
	}
	l.config.Log.WarnContext(stopping, "cannot handle a batch, trying its messages one by one",
		slog.Int("messages", len(l.batch)), slog.Any("error", err))
	for i := range l.batch {
		err := l.handleAlone(stopping, working, failure[M]{ticket: l.tickets[i], message: l.batch[i]})
		if err != nil || ended(stopping) {
			return err
		}
	}
	return nil
}

// retry handles the message among the failing ones that has waited longest.
func (l *lane[M]) retry(stopping, working context.Context) error {
	return l.handleAlone(stopping, working, l.failing.pop())
}

// handleAlone handles a message that has failed, or belongs to a batch that has failed, by itself.
func (l *lane[M]) handleAlone(stopping, working context.Context, f failure[M]) error {
	l.metrics.retried.Inc()
	if err := l.handle(working, []M{f.message}); err != nil {
		return l.fail(stopping, f, err)
	}
	return l.acknowledge(f.ticket)
}

// retryDue returns a channel that tells when the next failing message is to be tried again.
func (l *lane[M]) retryDue() <-chan time.Time {
	if len(l.failing) == 0 {
		return nil
	}
	return l.config.Clock.After(l.failing[0].due.Sub(l.config.Clock.Now()))
}

func (l *lane[M]) handle(working context.Context, batch []M) error {
	start := time.Now()
	err := l.handler.Handle(working, batch)
	l.metrics.handlingSeconds.Observe(time.Since(start).Seconds())
	l.metrics.batchMessages.Observe(float64(len(batch)))
	return err
}

// fail sets a message aside that could not be handled by itself, for another attempt later. There must be a place left
// for other messages.
func (l *lane[M]) fail(stopping context.Context, f failure[M], err error) error {
	if ended(stopping) {
		return nil
	}
	l.metrics.failed.Inc()
	if err := l.ready(stopping); err != nil {
		return err
	}
	pause := f.postpone(l.config.Clock.Now())
	l.failing.add(f)
	l.config.Log.ErrorContext(stopping, "cannot handle a message", slog.String("type", f.messageType),
		slog.Int("failures", f.attempts), slog.Duration("pause", pause), slog.Any("error", err))
	if len(l.failing) == l.places {
		return fmt.Errorf("%w (%d messages), the latest one because: %w", ErrFailing, l.places, err)
	}
	return nil
}

// acknowledgeBatch acknowledges the messages of the batch. One acknowledgement can cover all messages up to a tag, so
// this is what those get that have only their like below them. All messages below belong to the batch, have been
// rejected, or are among the failing ones.
func (l *lane[M]) acknowledgeBatch() error {
	lowest := l.failing.lowestTag()
	together := 0
	for together < len(l.tickets) && l.tickets[together].tag < lowest {
		together++
	}
	if together > 0 {
		if err := l.channel.Ack(l.tickets[together-1].tag, true); err != nil {
			return unreachable(err)
		}
		l.metrics.acked.Add(float64(together))
	}
	for _, t := range l.tickets[together:] {
		if err := l.acknowledge(t); err != nil {
			return err
		}
	}
	return nil
}

func (l *lane[M]) acknowledge(t ticket) error {
	if err := l.channel.Ack(t.tag, false); err != nil {
		return unreachable(err)
	}
	l.metrics.acked.Inc()
	return nil
}

// explain tells why no more deliveries come.
func (l *lane[M]) explain(stopping context.Context) error {
	if ended(stopping) {
		return nil // because of unsubscribe
	}
	select {
	case reply := <-l.closing:
		return fmt.Errorf("%w: the channel is closed: %w", ErrUnreachable, reply)
	default:
		return fmt.Errorf("%w: it has ended the subscription, perhaps because the queue has been deleted", ErrUnreachable)
	}
}
