package world

import (
	"context"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/smp"
)

const (
	// shortestNap keeps what happens every few microseconds from being done one by one.
	shortestNap = time.Millisecond
	longestNap  = time.Second

	publishBatch = 2000
	prefetch     = 2000
)

// live lets everything happen in its time.
func (w *World) live(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-w.sooner:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(w.advance())
	}
}

// advance does what is due, and returns how long it takes until something else is.
func (w *World) advance() (nap time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sim.advance(time.Now())
	if len(w.sim.outbox) > 0 {
		wake(w.mail)
	}
	next, ok := w.sim.timeline.Next()
	if !ok {
		return longestNap
	}
	return min(max(next.Sub(w.sim.timeline.Now()), shortestNap), longestNap)
}

// post publishes what there is to be published.
func (w *World) post(ctx context.Context) error {
	for {
		select {
		case <-w.mail:
		case <-ctx.Done():
			return nil
		}
		for {
			var batch []*parcel
			w.look(func(s *simulation) { batch = s.take(publishBatch) })
			if len(batch) == 0 {
				break
			}
			if err := w.publish(ctx, batch); err != nil {
				return err
			}
		}
	}
}

// publish publishes a batch of messages. What the broker has not got is published again later. An error tells that the
// world has to end.
func (w *World) publish(ctx context.Context, batch []*parcel) error {
	publishings := make([]broker.Publishing, len(batch))
	for i, p := range batch {
		publishings[i] = p.publishing
	}
	if err := w.publisher.Connect(ctx); err != nil {
		return unlessEnded(ctx, err)
	}
	outcomes, err := w.publisher.PublishAll(ctx, publishings)
	if err != nil && ctx.Err() == nil {
		w.settings.Log.WarnContext(ctx, "the simulated world cannot publish everything, and tries again",
			slog.Int("messages", len(batch)), slog.Any("error", err))
	}
	w.do(func(s *simulation) {
		for i, p := range batch {
			if outcomes[i] == broker.Confirmed {
				s.published(p)
			} else {
				s.postponed(p)
			}
		}
	})
	return nil
}

// unlessEnded returns an error, unless it is due to the end of the world.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that is the point
	}
	return err
}

// A decoder reads a message of a type.
type decoder func(typ string, body []byte) (smp.Message, error)

// emitted reads what the service, or the creditors agent, says to authorities.
func emitted(typ string, body []byte) (smp.Message, error) {
	var m smp.Message
	switch typ {
	case smp.TypeConfigureAccount:
		m = &smp.ConfigureAccount{}
	case smp.TypePrepareTransfer:
		m = &smp.PrepareTransfer{}
	case smp.TypeFinalizeTransfer:
		m = &smp.FinalizeTransfer{}
	default:
		return nil, smp.ErrUnknownType
	}
	return m, smp.Unmarshal(body, m)
}

// consumed reads what authorities say.
func consumed(typ string, body []byte) (smp.Message, error) { return smp.Decode(typ, body) }

// consume takes messages from a queue. The broker keeps them until they have had their effect.
func (w *World) consume(ctx context.Context, queue string, decode decoder, hear func(smp.Message)) {
	consumer := broker.NewConsumer(broker.ConsumerConfig{
		URL: w.settings.BrokerURL, Queue: queue, Parallelism: 1, PrefetchCount: prefetch,
		Metrics: w.metrics, Log: w.settings.Log,
	}, &ear{world: w, decode: decode, hear: hear})
	w.running.Go(func() error { return consumer.Run(ctx) })
}

// An ear hears what comes from a queue.
type ear struct {
	world  *World
	decode decoder
	hear   func(smp.Message)
}

// Check implements [broker.Handler]. What cannot be understood would block a real gateway; here, it is a failure of P1.
func (e *ear) Check(d broker.Delivery) (smp.Message, error) {
	m, err := e.decode(d.Type, d.Body)
	if d.ContentType != smp.ContentType {
		err = smp.ErrContentType
	}
	if err != nil {
		e.world.do(func(s *simulation) { s.refuse("a message of type " + d.Type + ": " + err.Error()) })
		return nil, broker.Reject("invalid", err)
	}
	return m, nil
}

// Handle implements [broker.Handler].
func (e *ear) Handle(_ context.Context, batch []smp.Message) error {
	e.world.do(func(*simulation) {
		for _, m := range batch {
			e.hear(m)
		}
	})
	return nil
}
