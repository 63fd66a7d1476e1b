package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// patience is how long a test waits for what should happen at once. Brokers on busy machines are slow.
const patience = 30 * time.Second

// newMetrics returns metrics of a registry of their own, and the registry.
func newMetrics() (*broker.Metrics, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	return broker.NewMetrics(registry), registry
}

// count returns the sum of all series of a counter.
func count(t *testing.T, registry *prometheus.Registry, name string) int {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, family := range families {
		if family.GetName() != "trade_broker_"+name {
			continue
		}
		for _, metric := range family.GetMetric() {
			total += int(metric.GetCounter().GetValue())
		}
	}
	return total
}

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// newQueue declares a durable queue.
func newQueue(tb testing.TB, channel *amqp.Channel, name string, arguments amqp.Table) {
	tb.Helper()
	if _, err := channel.QueueDeclare(name, true, false, false, false, arguments); err != nil {
		tb.Fatal(err)
	}
}

// fill publishes messages of type "T" with the given bodies to a queue, and waits until they are there.
func fill(tb testing.TB, brokerURL, queue string, bodies ...string) {
	tb.Helper()
	metrics, _ := newMetrics()
	p := broker.NewPublisher(broker.PublisherConfig{URL: brokerURL, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
	defer p.Close()
	batch := make([]broker.Publishing, len(bodies))
	for i, body := range bodies {
		batch[i] = broker.Publishing{RoutingKey: queue, Mandatory: true, Type: "T", Body: []byte(body)}
	}
	outcomes, err := p.PublishAll(tb.Context(), batch)
	if err != nil {
		tb.Fatal(err)
	}
	for i, outcome := range outcomes {
		if outcome != broker.Confirmed {
			tb.Fatalf("message %d is %v", i, outcome)
		}
	}
}

// numbered returns n different bodies.
func numbered(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("message %d", i)
	}
	return bodies
}

// bodiesOf returns how often each body occurs in a queue, and empties it.
func bodiesOf(tb testing.TB, channel *amqp.Channel, queue string) map[string]int {
	tb.Helper()
	bodies := make(map[string]int)
	messages := testenv.Drain(tb, channel, queue)
	for i := range messages {
		bodies[string(messages[i].Body)]++
	}
	return bodies
}

// receive waits for a value.
func receive[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		tb.Fatalf("%s has not happened", what)
		panic("unreachable")
	}
}

// inBackground calls f and returns a channel that gets its result.
func inBackground[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

// withDeadline returns a context that bounds what should take no time.
func withDeadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// errSignal is the reason for which contexts of contextWithReason end.
var errSignal = errors.New("a signal has come")

func contextWithReason(t *testing.T) (ctx context.Context, cancel func()) {
	t.Helper()
	ctx, cancelCause := context.WithCancelCause(t.Context())
	return ctx, func() { cancelCause(errSignal) }
}
