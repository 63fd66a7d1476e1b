package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// A worker handles messages as the test says, and remembers those that it has handled with success.
type worker struct {
	check  func(broker.Delivery) error // nil: all are well
	handle func(ctx context.Context, batch []string) error

	mu      sync.Mutex
	handled []string
	sizes   []int // of the batches
	again   int   // redelivered messages
}

func (w *worker) Check(d broker.Delivery) (string, error) {
	if d.Redelivered {
		w.mu.Lock()
		w.again++
		w.mu.Unlock()
	}
	if w.check != nil {
		if err := w.check(d); err != nil {
			return "", err
		}
	}
	return string(d.Body), nil
}

func (w *worker) Handle(ctx context.Context, batch []string) error {
	if w.handle != nil {
		if err := w.handle(ctx, batch); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handled = append(w.handled, batch...)
	w.sizes = append(w.sizes, len(batch))
	return nil
}

// done returns what has been handled, sorted.
func (w *worker) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.handled))
}

// A consumption is what the tests of the consumer start from: an empty queue "q" with its dead-letter queue on a virtual
// host of its own, and a proxy before it.
type consumption struct {
	url      string
	proxy    *testenv.Proxy
	channel  *amqp.Channel // not through the proxy
	registry *prometheus.Registry
	log      *logbook
	config   broker.ConsumerConfig // through the proxy
}

func setupConsumer(t *testing.T) *consumption {
	t.Helper()
	url := testenv.NewVirtualHost(t)
	proxy := testenv.NewProxy(t, url)
	metrics, registry := newMetrics()
	log := new(logbook)
	topology := broker.Topology{ProtocolURL: url, ProtocolQueue: "q", RoutingKey: "#", Log: log.logger()}
	if err := topology.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	return &consumption{url, proxy, testenv.OpenChannel(t, url), registry, log, broker.ConsumerConfig{
		URL: proxy.URL(), Queue: "q", Parallelism: 1, PrefetchCount: 100, Clock: newFastClock(100),
		Metrics: metrics, Log: log.logger(),
	}}
}

// start runs a consumer. It returns how to stop it, and what gets the result of Run.
func (s *consumption) start(t *testing.T, handler broker.Handler[string]) (stop func(), result <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { ended <- broker.NewConsumer(s.config, handler).Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return cancel, ended
}

// waitFor waits until the worker has handled so many different messages.
func waitFor(t *testing.T, w *worker, different int) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if n := len(slices.Compact(w.done())); n != different {
			return fmt.Errorf("%d messages have been handled, want %d", n, different)
		}
		return nil
	})
}

// state waits until a queue has so many messages that wait, and so many consumers.
func (s *consumption) state(t *testing.T, messages, consumers int) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		q, err := s.channel.QueueDeclarePassive("q", true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if q.Messages != messages || q.Consumers != consumers {
			return fmt.Errorf("%d messages and %d consumers, want %d and %d", q.Messages, q.Consumers, messages, consumers)
		}
		return nil
	})
}

// A fastClock runs faster than others.
type fastClock struct {
	speed int
	start time.Time
}

func newFastClock(speed int) fastClock { return fastClock{speed, time.Now()} }

func (c fastClock) Now() time.Time {
	return c.start.Add(time.Since(c.start) * time.Duration(c.speed))
}

func (c fastClock) After(d time.Duration) <-chan time.Time {
	return time.After(d / time.Duration(c.speed))
}

var errBad = errors.New("bad message")

func TestConsumerHandlesInBatches(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount, s.config.MaxBatch = 200, 50
	fill(t, s.url, "q", numbered(1000)...)
	w := new(worker)
	stop, result := s.start(t, w)
	waitFor(t, w, 1000)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 0, 0)
	if largest := slices.Max(w.sizes); largest != 50 {
		t.Errorf("the largest batch had %d messages", largest)
	}
	if w.again != 0 || len(w.handled) != 1000 {
		t.Errorf("%d redeliveries, %d handled", w.again, len(w.handled))
	}
	for name, want := range map[string]int{
		"messages_consumed_total": 1000, "messages_acked_total": 1000, "messages_rejected_total": 0,
		"messages_failed_total": 0, "messages_retried_total": 0, "reconnects_total": 0,
	} {
		if got := count(t, s.registry, name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}

func TestUnlimitedPrefetchHasBatchesOfLimitedSize(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount = 0
	fill(t, s.url, "q", numbered(3000)...)
	w := new(worker)
	gate := make(chan struct{})
	w.handle = func(context.Context, []string) error { <-gate; return nil }
	stop, result := s.start(t, w)
	s.state(t, 0, 1) // the broker has sent everything
	close(gate)
	waitFor(t, w, 3000)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	if largest := slices.Max(w.sizes); largest != 500 {
		t.Errorf("the largest batch had %d messages", largest)
	}
	s.state(t, 0, 0)
}

// Among many messages, a bad one goes to the dead-letter queue as it came, and the rest is handled.
func TestRejectedMessages(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	fill(t, s.url, "q", numbered(20)...)
	bad := amqp.Publishing{
		DeliveryMode: 2, ContentType: "text/plain", Type: "Bad", AppId: "an app", CorrelationId: "c", MessageId: "m",
		Headers: amqp.Table{"message-type": "Bad", "creditor-id": int64(5)}, Body: []byte("secret contents"),
	}
	if err := s.channel.PublishWithContext(t.Context(), "", "q", false, false, bad); err != nil {
		t.Fatal(err)
	}
	fill(t, s.url, "q", "last")
	w := &worker{check: func(d broker.Delivery) error {
		if d.Type != "Bad" {
			return nil
		}
		if d.ContentType != "text/plain" || d.RoutingKey != "q" || d.Redelivered {
			t.Errorf("%+v", d)
		}
		return broker.Reject("test", fmt.Errorf("%w: its type is bad", errBad))
	}}
	stop, result := s.start(t, w)
	waitFor(t, w, 21)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 0, 0)

	dead := testenv.Drain(t, s.channel, "q.XQ")
	if len(dead) != 1 {
		t.Fatalf("%d dead letters", len(dead))
	}
	got := dead[0]
	for name := range got.Headers { // those that tell where a dead letter has come from
		if strings.HasPrefix(name, "x-death") || strings.HasPrefix(name, "x-first-death") {
			delete(got.Headers, name)
		}
	}
	if got.DeliveryMode != 2 || got.ContentType != bad.ContentType || got.Type != bad.Type || got.AppId != bad.AppId ||
		got.CorrelationId != "c" || got.MessageId != "m" || !reflect.DeepEqual(got.Headers, bad.Headers) ||
		!bytes.Equal(got.Body, bad.Body) {
		t.Errorf("%+v", got)
	}
	log := s.log.String()
	if strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "its type is bad") || strings.Contains(log, "secret") {
		t.Error(log)
	}
	if n := count(t, s.registry, "messages_rejected_total"); n != 1 {
		t.Errorf("%d rejected messages are counted", n)
	}
}

// In the profile with two brokers, queues are replicated. Dead letters go to a stream, except that old brokers drop them.
func TestConsumerOfReplicatedQueues(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.Queue = "b"
	topology := broker.Topology{
		ProtocolURL: s.url, ProtocolQueue: "a", InternalURL: s.url, InternalQueue: "b", RoutingKey: "#", Log: s.log.logger(),
	}
	if err := topology.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	fill(t, s.url, "b", "good", "bad", "failing", "good again")
	w := &worker{
		check: func(d broker.Delivery) error {
			if string(d.Body) == "bad" {
				return broker.Reject("test", errBad)
			}
			return nil
		},
		handle: func(_ context.Context, batch []string) error {
			if slices.Contains(batch, "failing") {
				return errBad
			}
			return nil
		},
	}
	stop, result := s.start(t, w)
	waitFor(t, w, 2)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	testenv.Eventually(t, patience, func() error {
		if n := testenv.QueueDepth(t, s.channel, "b"); n != 1 {
			return fmt.Errorf("%d messages are in the queue, want the failing one", n)
		}
		return nil
	})
}

// A message that fails the check ends the consumer, after its batch-mates have been handled, and stays in the queue.
func TestFailedCheck(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	bodies := numbered(10)
	bodies[6] = "foreign"
	fill(t, s.url, "q", bodies...)
	w := &worker{check: func(d broker.Delivery) error {
		if string(d.Body) == "foreign" {
			return errBad
		}
		return nil
	}}
	_, result := s.start(t, w)
	if err := receive(t, result, "the end"); !errors.Is(err, errBad) || errors.Is(err, broker.ErrUnreachable) {
		t.Error(err)
	}
	if got := w.done(); !reflect.DeepEqual(got, bodies[:6]) {
		t.Errorf("handled %v", got)
	}
	s.state(t, 4, 0)
	rest := testenv.Drain(t, s.channel, "q")
	if string(rest[0].Body) != "foreign" || !rest[0].Redelivered {
		t.Errorf("%+v", rest[0])
	}
	if n := testenv.QueueDepth(t, s.channel, "q.XQ"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// When a batch fails, its messages are handled one by one. The failing one is set aside and tried again from time to
// time; the others are acknowledged, and later messages pass.
func TestFailingMessageDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount = 10
	bodies := numbered(200)
	fill(t, s.url, "q", bodies...)
	var attempts atomic.Int32
	w := &worker{handle: func(_ context.Context, batch []string) error {
		if slices.Contains(batch, "message 57") {
			if len(batch) == 1 {
				attempts.Add(1)
			}
			return errBad
		}
		return nil
	}}
	stop, result := s.start(t, w)
	waitFor(t, w, 199)
	testenv.Eventually(t, patience, func() error {
		if n := attempts.Load(); n < 6 { // with pauses of 1, 2, 4, 8, 16 s
			return fmt.Errorf("%d attempts", n)
		}
		return nil
	})
	// All but the failing message are acknowledged, although many of them came after it.
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 1, 0)
	if rest := bodiesOf(t, s.channel, "q"); rest["message 57"] != 1 {
		t.Error(rest)
	}
	if slices.Contains(w.done(), "message 57") || w.again != 0 || len(w.handled) != 199 {
		t.Errorf("%d redeliveries, %d handled", w.again, len(w.handled))
	}
	if n := count(t, s.registry, "messages_failed_total"); n != int(attempts.Load()) {
		t.Errorf("%d failures are counted, want %d", n, attempts.Load())
	}
	if n := count(t, s.registry, "messages_acked_total"); n != 199 {
		t.Errorf("%d acknowledged messages are counted", n)
	}
}

func TestFailingMessageIsHandledInTheEnd(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount = 5
	fill(t, s.url, "q", numbered(50)...)
	var mu sync.Mutex
	failures := map[string]int{"message 3": 3, "message 4": 1, "message 30": 2}
	w := &worker{handle: func(_ context.Context, batch []string) error {
		mu.Lock()
		defer mu.Unlock()
		for _, body := range batch {
			if failures[body] > 0 {
				if len(batch) == 1 {
					failures[body]--
				}
				return errBad
			}
		}
		return nil
	}}
	stop, result := s.start(t, w)
	waitFor(t, w, 50)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 0, 0)
	if len(w.handled) != 50 {
		t.Errorf("%d handled", len(w.handled))
	}
}

// With a prefetch count of 1, the first failure takes the only place. The consumer ends at once.
func TestFailureWithPrefetchCountOne(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount = 1
	fill(t, s.url, "q", "one", "bad", "two")
	var attempts atomic.Int32
	w := &worker{handle: func(_ context.Context, batch []string) error {
		if batch[0] == "bad" {
			attempts.Add(1)
			return errBad
		}
		return nil
	}}
	_, result := s.start(t, w)
	err := receive(t, result, "the end")
	if !errors.Is(err, broker.ErrFailing) || !errors.Is(err, errBad) {
		t.Error(err)
	}
	s.state(t, 2, 0)
	if attempts.Load() != 1 || !reflect.DeepEqual(w.done(), []string{"one"}) {
		t.Error(attempts.Load(), w.done())
	}
}

// When failing messages have taken all places, the consumer ends, but not before all batch-mates have been tried alone.
func TestAllPlacesTakenByFailures(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount = 4
	bodies := []string{"good 1", "bad 1", "bad 2", "good 2", "bad 3", "good 3", "good 4", "bad 4", "good 5"}
	fill(t, s.url, "q", bodies...)
	w := &worker{handle: func(_ context.Context, batch []string) error {
		if slices.ContainsFunc(batch, func(body string) bool { return strings.HasPrefix(body, "bad") }) {
			return errBad
		}
		return nil
	}}
	_, result := s.start(t, w)
	if err := receive(t, result, "the end"); !errors.Is(err, broker.ErrFailing) {
		t.Error(err)
	}
	handled := w.done()
	if !reflect.DeepEqual(handled, []string{"good 1", "good 2", "good 3", "good 4"}) {
		t.Errorf("handled %v", handled)
	}
	s.state(t, 5, 0)
}

// At a signal, the consumer lets the handler finish and acknowledges what it has done. The rest is back in the queue.
func TestStopDuringWork(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount, s.config.MaxBatch = 10, 4
	fill(t, s.url, "q", numbered(30)...)
	begun, finish := make(chan context.Context), make(chan struct{})
	w := &worker{handle: func(ctx context.Context, _ []string) error {
		begun <- ctx
		<-finish
		return nil
	}}
	stop, result := s.start(t, w)
	ctx := receive(t, begun, "the beginning")
	stop()
	s.state(t, 20, 0) // no consumer, while the handler is still at work
	if ctx.Err() != nil {
		t.Error("the handler's context has ended")
	}
	close(finish)
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	if n := len(w.done()); n != 4 {
		t.Errorf("%d messages have been handled", n)
	}
	s.state(t, 26, 0)
}

// A handler that does not finish loses its context, and its messages are back in the queue.
func TestStopTimeout(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.StopTimeout = 100 * time.Millisecond
	fill(t, s.url, "q", numbered(5)...)
	begun := make(chan struct{})
	w := &worker{handle: func(ctx context.Context, _ []string) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}}
	stop, result := s.start(t, w)
	receive(t, begun, "the beginning")
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 5, 0)
	if strings.Contains(s.log.String(), "ERROR") {
		t.Error(s.log)
	}
}

// The network hangs when the consumer has to stop: it does not wait for it.
func TestStopWithStalledConnection(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.StopTimeout = 100 * time.Millisecond
	fill(t, s.url, "q", numbered(5)...)
	w := new(worker)
	stop, result := s.start(t, w)
	waitFor(t, w, 5)
	s.proxy.Stall()
	start := time.Now()
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Connections break in all kinds of ways, again and again. Nothing is lost.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.Parallelism, s.config.PrefetchCount = 3, 20
	bodies := numbered(2000)
	fill(t, s.url, "q", bodies...)
	breaks := []func(){
		s.proxy.Cut,
		func() { testenv.CloseConnections(t, s.url) },
		func() { s.proxy.CutAfter(testenv.ToClient, 1000) },
		func() { s.proxy.CutAfter(testenv.ToServer, 100) },
		s.proxy.Cut,
	}
	var mu sync.Mutex
	batches := 0
	w := new(worker)
	w.handle = func(context.Context, []string) error {
		mu.Lock()
		defer mu.Unlock()
		if batches++; batches%20 == 0 && len(breaks) > 0 {
			breaks[0]()
			breaks = breaks[1:]
		}
		return nil
	}
	stop, result := s.start(t, w)
	waitFor(t, w, 2000)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	// Messages whose acknowledgement was lost are in the queue again, and all of them have been handled.
	s.channel = testenv.OpenChannel(t, s.url)
	s.state(t, testenv.QueueDepth(t, s.channel, "q"), 0)
	for body := range maps.Keys(bodiesOf(t, s.channel, "q")) {
		if !slices.Contains(bodies, body) {
			t.Error(body)
		}
	}
	if n := count(t, s.registry, "reconnects_total"); n != 5 {
		t.Errorf("%d reconnects are counted", n)
	}
}

// Two handlers work at a time, no more and no less.
func TestParallelism(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.Parallelism, s.config.PrefetchCount = 2, 1
	fill(t, s.url, "q", numbered(10)...)
	begun, finish := make(chan struct{}), make(chan struct{})
	w := &worker{handle: func(context.Context, []string) error {
		begun <- struct{}{}
		<-finish
		return nil
	}}
	stop, result := s.start(t, w)
	receive(t, begun, "the first")
	receive(t, begun, "the second")
	s.state(t, 8, 2)
	select {
	case <-begun:
		t.Error("three work at a time")
	default:
	}
	stop()
	close(finish)
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 8, 0)
}

func TestNoParallelism(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.Parallelism = 0
	s.proxy.Refuse()
	stop, result := s.start(t, new(worker))
	select {
	case err := <-result:
		t.Error("ended:", err)
	case <-time.After(50 * time.Millisecond):
	}
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
}

// While the consumer is not ready, it has no subscription, and messages stay where they are.
func TestGate(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.PrefetchCount = 5
	var ready atomic.Bool
	s.config.Ready = func(context.Context) error {
		if ready.Load() {
			return nil
		}
		return errors.New("the database is away")
	}
	fill(t, s.url, "q", numbered(10)...)
	w := new(worker)
	w.handle = func(context.Context, []string) error {
		if ready.Load() {
			return nil
		}
		return errors.New("the database is away")
	}
	stop, result := s.start(t, w)
	testenv.Eventually(t, patience, func() error {
		if !strings.Contains(s.log.String(), "waiting until messages can be handled") {
			return errors.New("does not wait")
		}
		return nil
	})
	s.state(t, 10, 0)

	ready.Store(true)
	waitFor(t, w, 10)
	s.state(t, 0, 1)

	ready.Store(false) // noticed without any message
	s.state(t, 0, 0)
	fill(t, s.url, "q", "one more")
	s.state(t, 1, 0)

	ready.Store(true)
	waitFor(t, w, 11)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	s.state(t, 0, 0)
}

// When a handler fails because the database is away, this is no fault of the messages.
func TestGateClosesDuringWork(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []int{1, 10} {
		t.Run(fmt.Sprint("prefetch count ", prefetch), func(t *testing.T) {
			t.Parallel()
			s := setupConsumer(t)
			s.config.PrefetchCount = prefetch
			s.config.Clock = nil // so the gate is looked at because of the failure, not because it is time
			var away atomic.Bool
			s.config.Ready = func(context.Context) error {
				if away.Load() {
					away.Store(false) // it is back when somebody looks again
					return errBad
				}
				return nil
			}
			var failed atomic.Bool
			w := &worker{handle: func(context.Context, []string) error {
				if failed.CompareAndSwap(false, true) {
					away.Store(true)
					return errBad
				}
				return nil
			}}
			fill(t, s.url, "q", numbered(10)...)
			stop, result := s.start(t, w)
			waitFor(t, w, 10)
			stop()
			if err := receive(t, result, "the end"); err != nil {
				t.Error(err)
			}
			s.state(t, 0, 0)
			if w.again == 0 || len(w.handled) != 10 {
				t.Errorf("%d redeliveries, %d handled", w.again, len(w.handled))
			}
			if !strings.Contains(s.log.String(), "stopped consuming messages") {
				t.Error(s.log)
			}
		})
	}
}

// In draining mode, the consumer goes away when nothing arrives any more, looks again after a while, and ends at once
// when it is told so during a pause.
func TestDraining(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.Draining = true
	fill(t, s.url, "q", numbered(10)...)
	w := new(worker)
	stop, result := s.start(t, w)
	waitFor(t, w, 10)
	s.state(t, 0, 0)
	fill(t, s.url, "q", "late")
	waitFor(t, w, 11) // it has looked again
	s.state(t, 0, 0)
	testenv.Eventually(t, patience, func() error {
		if n := strings.Count(s.log.String(), "nothing arrives, pausing"); n < 4 {
			return fmt.Errorf("%d pauses", n)
		}
		return nil
	})
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
}

func TestStopDuringDrainingPause(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	s.config.Draining, s.config.Clock = true, nil // a pause is 7 s or more
	stop, result := s.start(t, new(worker))
	testenv.Eventually(t, patience, func() error {
		if !strings.Contains(s.log.String(), "nothing arrives, pausing") {
			return errors.New("no pause")
		}
		return nil
	})
	for range 20 {
		s.state(t, 0, 0)
		<-time.After(10 * time.Millisecond)
	}
	if n := strings.Count(s.log.String(), "nothing arrives, pausing"); n != 1 {
		t.Errorf("%d pauses", n)
	}
	start := time.Now()
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A handler that takes long is no reason to pause.
func TestDrainingWaitsForWork(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	clock := newFastClock(10)
	s.config.Draining, s.config.PrefetchCount, s.config.Clock = true, 1, clock
	fill(t, s.url, "q", "a message")
	w := &worker{handle: func(context.Context, []string) error {
		<-clock.After(3 * time.Second) // longer than the patience of 1 s
		q, err := s.channel.QueueDeclarePassive("q", true, false, false, false, nil)
		if err != nil || q.Consumers != 1 {
			t.Errorf("%d consumers, %v", q.Consumers, err)
		}
		return nil
	}}
	stop, result := s.start(t, w)
	waitFor(t, w, 1)
	stop()
	if err := receive(t, result, "the end"); err != nil {
		t.Error(err)
	}
}

func TestMissingQueue(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	missing := *s
	missing.config.Queue = "missing"
	_, result := missing.start(t, new(worker))
	err := receive(t, result, "the end")
	var reply *amqp.Error
	if !errors.As(err, &reply) || reply.Code != amqp.NotFound || errors.Is(err, broker.ErrUnreachable) {
		t.Error(err)
	}

	// Deleted while messages are consumed.
	_, result = s.start(t, new(worker))
	s.state(t, 0, 1)
	if _, err := s.channel.QueueDelete("q", false, false, false); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, result, "the end"); !errors.As(err, &reply) || reply.Code != amqp.NotFound {
		t.Error(err)
	}
}

func TestUnsupportedPrefetch(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	for _, prefetch := range [][2]int{{-1, 0}, {65536, 0}, {1, 1000}} { // RabbitMQ supports no prefetch size
		s.config.PrefetchCount, s.config.PrefetchSize = prefetch[0], prefetch[1]
		_, result := s.start(t, new(worker))
		if err := receive(t, result, "the end"); err == nil || errors.Is(err, broker.ErrUnreachable) {
			t.Errorf("%v: %v", prefetch, err)
		}
	}
}
