package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// The broker is killed while messages go in and out, and comes back. What has been confirmed is there, what has not been
// acknowledged comes again, and everything that has been declared still is.
func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	server := testenv.StartBroker(t)
	log := new(logbook)
	metrics, registry := newMetrics()
	topology := broker.Topology{ProtocolURL: server.URL(), ProtocolQueue: "q", RoutingKey: "#", Log: log.logger()}
	if err := topology.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}

	w := new(worker)
	s := consumption{registry: registry, log: log, config: broker.ConsumerConfig{
		URL: server.URL(), Queue: "q", Parallelism: 2, PrefetchCount: 50, Metrics: metrics, Log: log.logger(),
	}}
	stopConsumer, result := s.start(t, w)
	producer := producer{publisher: broker.NewPublisher(broker.PublisherConfig{
		URL: server.URL(), Metrics: metrics, Log: log.logger(),
	})}
	ctx, stopProducer := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { producer.run(ctx, t) })
	t.Cleanup(running.Wait)
	t.Cleanup(stopProducer)

	waitForMore := func() {
		before := len(w.done())
		testenv.Eventually(t, patience, func() error {
			if n := len(w.done()); n < before+2000 {
				return fmt.Errorf("%d messages have been handled, %d before", n, before)
			}
			return nil
		})
	}
	waitForMore()
	server.Kill()
	server.Start()
	waitForMore()
	stopProducer()
	running.Wait()
	waitFor(t, w, int(producer.sent.Load()))
	stopConsumer()
	if err := receive(t, result, "the end of the consumer"); err != nil {
		t.Error(err)
	}

	if rest := testenv.QueueDepth(t, testenv.OpenChannel(t, server.URL()), "q"); rest != 0 {
		t.Errorf("%d messages are left", rest)
	}
	if n := count(t, registry, "reconnects_total"); n < 2 {
		t.Errorf("%d reconnects are counted, want one of the publisher and one of the consumer, at least", n)
	}
	if got := publishOne(t, server.URL(), broker.CreditorsIn, map[string]any{"ca-trade": true}); got != broker.Confirmed {
		t.Errorf("the bindings have not survived: a message is %v", got)
	}
	t.Logf("%d messages, handled %d times; %d redeliveries", producer.sent.Load(), len(w.handled), w.again)
}

// A producer publishes different messages, each until it is confirmed.
type producer struct {
	publisher *broker.Publisher
	sent      atomic.Int64
}

func (p *producer) run(ctx context.Context, t *testing.T) {
	t.Helper()
	defer p.publisher.Close()
	for ctx.Err() == nil {
		bodies := make([]string, 300)
		for i := range bodies {
			bodies[i] = fmt.Sprint("message ", p.sent.Add(1))
		}
		for len(bodies) > 0 {
			if err := p.publisher.Connect(t.Context()); err != nil {
				t.Error(err)
				return
			}
			outcomes, err := p.publisher.PublishAll(t.Context(), toTrade(bodies))
			if err != nil && !errors.Is(err, broker.ErrUnreachable) {
				t.Error(err)
				return
			}
			if slices.Contains(outcomes, broker.Returned) || slices.Contains(outcomes, broker.Nacked) {
				t.Error(tally(outcomes))
				return
			}
			var unknown []string
			for i, outcome := range outcomes {
				if outcome == broker.Unknown {
					unknown = append(unknown, bodies[i])
				}
			}
			bodies = unknown
		}
	}
}

// toTrade makes a batch for the workers.
func toTrade(bodies []string) []broker.Publishing {
	batch := toQueue("0.1", bodies)
	for i := range batch {
		batch[i].Exchange = broker.ToTrade
	}
	return batch
}
