package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// consumerName is what the broker's management shows.
	consumerName = "trade consumer"

	defaultMaxBatch    = 500
	defaultStopTimeout = 5 * time.Second

	// gatePeriod is the time between two calls of Ready, and gateTimeout limits one.
	gatePeriod  = 2 * time.Second
	gateTimeout = 5 * time.Second
)

// ErrFailing tells that every message that the broker has handed over fails, so no other can come.
var ErrFailing = errors.New("all messages in the prefetch window fail")

var (
	// errGateClosed tells that the consumer is not ready to handle messages.
	errGateClosed = errors.New("not ready to handle messages")
	// errDrained tells that a queue has been empty for some time.
	errDrained = errors.New("nothing arrives")
)

// A Delivery is a message from a queue.
type Delivery struct {
	ContentType string
	Type        string
	RoutingKey  string
	Redelivered bool // the broker has delivered it before, to this consumer or to another one
	Body        []byte
}

// A Handler knows what to do with messages. M is what it makes of a message. Its methods are called from several
// goroutines at the same time.
type Handler[M any] interface {
	// Check decodes a message. It returns an error made by [Reject] if nobody can make anything of it. Any other error
	// is a failure that ends the consumer, once the messages that came before have been handled; then the message is back
	// in the queue.
	Check(d Delivery) (M, error)

	// Handle does what the messages ask for, all or nothing, and returns when it is done for good: then they are
	// acknowledged. If it returns an error for a batch, it is called again with each message by itself; if it returns an
	// error for a single message, with the same message some time later. It may be given a message again that it has
	// handled already. The context ends when the consumer has to stop and Handle has had StopTimeout to finish. The batch
	// must not be used afterwards.
	Handle(ctx context.Context, batch []M) error
}

// Reject returns an error that sends a message to the dead-letter queue. Messages are counted by reason, so there should
// be few different ones. The error is logged: it must not contain the body.
func Reject(reason string, err error) error { return &rejection{reason, err} }

type rejection struct {
	reason string
	err    error
}

func (r *rejection) Error() string { return r.err.Error() }
func (r *rejection) Unwrap() error { return r.err }

// ConsumerConfig says what to consume, and how.
type ConsumerConfig struct {
	URL           string
	Queue         string
	Parallelism   int  // number of batches that are handled at the same time; 0: consume nothing
	PrefetchCount int  // number of messages that each of them may have in hand, at most 65535; 0: no limit
	PrefetchSize  int  // number of bytes; RabbitMQ supports only 0: no limit
	MaxBatch      int  // number of messages in a batch, at most; 0 means 500
	Draining      bool // go away from time to time when the queue is empty

	// Reasons are those for which the handler rejects messages, as far as they are known. Metrics show them from the start.
	Reasons []string

	// Ready tells whether there is any use in handling messages: whether the database answers, for example. While it
	// returns an error, nothing is consumed. If it is nil, messages are always consumed.
	Ready       func(context.Context) error
	StopTimeout time.Duration // how long Handle may go on when the consumer has to stop; 0 means 5 s
	Clock       Clock         // nil means the machine's
	Metrics     *Metrics
	Log         *slog.Logger
}

// A Consumer takes messages from a queue and has them handled in batches.
type Consumer[M any] struct {
	config  ConsumerConfig
	handler Handler[M]
	metrics queueMetrics
	places  int // number of messages that can be in hand at a time
}

// NewConsumer returns a consumer that has not started yet.
func NewConsumer[M any](config ConsumerConfig, handler Handler[M]) *Consumer[M] {
	if config.MaxBatch == 0 {
		config.MaxBatch = defaultMaxBatch
	}
	if config.StopTimeout == 0 {
		config.StopTimeout = defaultStopTimeout
	}
	if config.Clock == nil {
		config.Clock = systemClock{}
	}
	config.Log = config.Log.With(slog.String("queue", config.Queue))
	places := config.PrefetchCount
	if places == 0 {
		places = math.MaxUint16 // as many failing messages as the largest limit would admit
	}
	return &Consumer[M]{
		config:  config,
		handler: handler,
		metrics: config.Metrics.ofQueue(config.Queue, config.Reasons),
		places:  places,
	}
}

// Run consumes messages until the context ends; then it stops taking messages, lets the handler finish, acknowledges
// what it has done, and returns nil. What is in hand and not acknowledged goes back to the queue, now as well as when
// something fails.
//
// If the connection is lost, it makes another one and goes on. An error tells that the broker has refused, that
// [Handler.Check] has failed, or that every message in a prefetch window fails ([ErrFailing]).
func (c *Consumer[M]) Run(ctx context.Context) error {
	if c.config.PrefetchCount < 0 || c.config.PrefetchCount > math.MaxUint16 {
		return fmt.Errorf("consume from queue %q: prefetch count %d is not within 0 to %d",
			c.config.Queue, c.config.PrefetchCount, math.MaxUint16)
	}
	if c.config.Parallelism == 0 {
		<-ctx.Done()
		return nil
	}
	drainer := drainer{pause: firstDrainingPause}
	pauses := newReconnectPauses()
	for {
		start := time.Now()
		err := c.session(ctx, drainer.patience())
		if ended(ctx) {
			return nil
		}
		var pause time.Duration
		switch {
		case errors.Is(err, errGateClosed):
			c.config.Log.WarnContext(ctx, "stopped consuming messages", slog.Any("reason", err))
		case errors.Is(err, errDrained):
			now := c.config.Clock.Now()
			pause = drainer.begin(now).Sub(now)
			c.config.Log.InfoContext(ctx, "nothing arrives, pausing", slog.Duration("pause", pause))
		case errors.Is(err, ErrUnreachable):
			if time.Since(start) > longestReconnectPause {
				pauses.Reset()
			}
			pause = pauses.NextBackOff()
			c.config.Log.WarnContext(ctx, "lost the connection", slog.Any("error", err), slog.Duration("pause", pause))
			c.metrics.reconnects.Inc()
		default:
			return fmt.Errorf("consume from queue %q: %w", c.config.Queue, err)
		}
		select {
		case <-c.config.Clock.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// session consumes messages over one connection, until the context ends or something happens. It returns when the
// handler has finished, and the connection is closed.
func (c *Consumer[M]) session(ctx context.Context, patience time.Duration) error {
	if err := c.waitUntilReady(ctx); err != nil {
		return err
	}
	conn, err := connectPatiently(ctx, c.config.URL, consumerName, c.config.Log)
	if err != nil {
		return err
	}
	defer conn.close()
	// When stopping has ended, nothing more is taken in hand. When working has ended, what is in hand is abandoned, and
	// the connection is cut, should the library wait for it.
	group, stopping := errgroup.WithContext(ctx)
	working, abandon := outlive(stopping, c.config.StopTimeout)
	defer abandon()
	unlink := context.AfterFunc(working, conn.abort)
	defer unlink()

	activity := newActivity(c.config.Clock)
	lanes, err := c.openLanes(conn, activity)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		group.Go(func() error { return l.run(stopping, working) })
	}
	group.Go(func() error {
		<-stopping.Done()
		for _, l := range lanes {
			l.unsubscribe()
		}
		return nil
	})
	group.Go(func() error { return c.watchGate(stopping) })
	if c.config.Draining {
		group.Go(func() error { return c.watchActivity(stopping, activity, patience) })
	}
	return group.Wait()
}

// openLanes subscribes as often as messages are to be handled in parallel.
func (c *Consumer[M]) openLanes(conn *connection, activity *activity) ([]*lane[M], error) {
	lanes := make([]*lane[M], c.config.Parallelism)
	for i := range lanes {
		channel, err := conn.Channel()
		if err == nil {
			lanes[i], err = newLane(c, channel, activity)
		}
		if err != nil {
			return nil, fmt.Errorf("subscribe: %w", classify(err))
		}
	}
	return lanes, nil
}

// ready returns an error if there is no use in handling messages.
func (c *Consumer[M]) ready(ctx context.Context) error {
	if c.config.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	if err := c.config.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", errGateClosed, err)
	}
	return nil
}

func (c *Consumer[M]) waitUntilReady(ctx context.Context) error {
	for waited := false; ; waited = true {
		err := c.ready(ctx)
		if err == nil {
			return nil
		}
		if !waited {
			c.config.Log.WarnContext(ctx, "waiting until messages can be handled", slog.Any("reason", err))
		}
		select {
		case <-c.config.Clock.After(gatePeriod):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watchGate returns as soon as there is no use in handling messages.
func (c *Consumer[M]) watchGate(ctx context.Context) error {
	for {
		select {
		case <-c.config.Clock.After(gatePeriod):
		case <-ctx.Done():
			return nil
		}
		if err := c.ready(ctx); err != nil && !ended(ctx) {
			return err
		}
	}
}

// watchActivity returns when there has been nothing to do for longer than patience.
func (c *Consumer[M]) watchActivity(ctx context.Context, a *activity, patience time.Duration) error {
	for {
		idle := a.idle()
		if idle > patience {
			return errDrained
		}
		select {
		case <-c.config.Clock.After(patience - idle + time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// outlive returns a context that ends some time after ctx, or when it is canceled.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, cancel
}

func ended(ctx context.Context) bool { return ctx.Err() != nil }
