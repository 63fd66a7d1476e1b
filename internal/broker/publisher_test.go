package broker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// A publishing is what the tests of the publisher start from: a publisher on a virtual host of its own, behind a proxy.
type publishing struct {
	publisher *broker.Publisher
	proxy     *testenv.Proxy
	channel   *amqp.Channel // not through the proxy
	registry  *prometheus.Registry
	log       *logbook
}

func setupPublisher(t *testing.T, confirmTimeout time.Duration) *publishing {
	t.Helper()
	virtualHost := testenv.NewVirtualHost(t)
	proxy := testenv.NewProxy(t, virtualHost)
	metrics, registry := newMetrics()
	log := new(logbook)
	publisher := broker.NewPublisher(broker.PublisherConfig{
		URL: proxy.URL(), ConfirmTimeout: confirmTimeout, Metrics: metrics, Log: log.logger(),
	})
	t.Cleanup(publisher.Close)
	return &publishing{publisher, proxy, testenv.OpenChannel(t, virtualHost), registry, log}
}

// toQueue makes a batch for a queue: one message for each body.
func toQueue(queue string, bodies []string) []broker.Publishing {
	batch := make([]broker.Publishing, len(bodies))
	for i, body := range bodies {
		batch[i] = broker.Publishing{RoutingKey: queue, Mandatory: true, Type: "T", Body: []byte(body)}
	}
	return batch
}

func tally(outcomes []broker.Outcome) map[broker.Outcome]int {
	n := make(map[broker.Outcome]int)
	for _, outcome := range outcomes {
		n[outcome]++
	}
	return n
}

func TestPublishAllSetsExactlyTheGivenProperties(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	headers := map[string]any{
		"message-type": "FinalizeTransfer", "creditor-id": int64(-1) << 63, "debtor-id": int64(666), "flag": true,
	}

	outcomes, err := s.publisher.PublishAll(t.Context(), []broker.Publishing{{
		RoutingKey: "q", Mandatory: true, ContentType: "application/json", Type: "FinalizeTransfer", AppID: "swpt_trade",
		Headers: headers, Body: []byte(`{"type":"FinalizeTransfer"}`),
	}})
	if err != nil || !reflect.DeepEqual(outcomes, []broker.Outcome{broker.Confirmed}) {
		t.Fatal(outcomes, err)
	}

	got := testenv.Drain(t, s.channel, "q")
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	got[0].Acknowledger, got[0].DeliveryTag = nil, 0
	want := amqp.Delivery{
		Headers: headers, ContentType: "application/json", DeliveryMode: 2, Type: "FinalizeTransfer", AppId: "swpt_trade",
		RoutingKey: "q", Body: []byte(`{"type":"FinalizeTransfer"}`),
	}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %#v\nwant %#v", got[0], want)
	}
}

func TestPublishAllOfNothing(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	if outcomes, err := s.publisher.PublishAll(t.Context(), nil); len(outcomes) != 0 || err != nil {
		t.Error(outcomes, err)
	}
}

// Thousands of messages are in flight, and some of them come back. Many agree in everything but their bodies, some in
// everything that is compared.
func TestReturnedMessagesAreMatched(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	for _, err := range []error{
		s.channel.ExchangeDeclare("alternate", "headers", true, false, false, false, nil),
		s.channel.ExchangeDeclare("main", "headers", true, false, false, false, amqp.Table{"alternate-exchange": "alternate"}),
		s.channel.QueueBind("q", "", "main", false, amqp.Table{"x-match": "all", "known": true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	random := rand.New(rand.NewPCG(1, 2))
	batch := make([]broker.Publishing, 7000)
	want := make([]broker.Outcome, len(batch))
	arrive := 0
	for i := range batch {
		known := random.IntN(4) > 0
		batch[i] = broker.Publishing{
			Exchange: "main", RoutingKey: strconv.Itoa(random.IntN(2)), Mandatory: random.IntN(4) > 0, Type: "T",
			Headers: map[string]any{"known": known}, Body: fmt.Appendf(nil, "%d %v", random.IntN(500), known),
		}
		switch {
		case known:
			arrive++
			want[i] = broker.Confirmed
		case batch[i].Mandatory:
			want[i] = broker.Returned
		default:
			want[i] = broker.Confirmed
		}
	}

	for range 2 { // the second time on a channel that has been used
		got, err := s.publisher.PublishAll(withDeadline(t), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("message %d, %+v, is %v, want %v", i, batch[i], got[i], want[i])
			}
		}
	}
	if depth := testenv.QueueDepth(t, s.channel, "q"); depth != 2*arrive {
		t.Errorf("%d messages are in the queue, want %d", depth, 2*arrive)
	}
	if n := count(t, s.registry, "messages_returned_total"); n != 2*tally(want)[broker.Returned] {
		t.Errorf("%d returned messages are counted, want %d", n, 2*tally(want)[broker.Returned])
	}
}

func TestNackedMessages(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "full", amqp.Table{"x-max-length": 100, "x-overflow": "reject-publish"})

	outcomes, err := s.publisher.PublishAll(withDeadline(t), toQueue("full", numbered(3000)))
	if err != nil {
		t.Fatal(err)
	}
	arrived := bodiesOf(t, s.channel, "full")
	for i, body := range numbered(3000) {
		if want := map[bool]broker.Outcome{true: broker.Confirmed, false: broker.Nacked}[arrived[body] == 1]; outcomes[i] != want {
			t.Errorf("%s is %v, want %v", body, outcomes[i], want)
		}
	}
	if n := tally(outcomes); n[broker.Confirmed] < 100 || n[broker.Nacked] == 0 {
		t.Error(n)
	}
	if n := count(t, s.registry, "messages_nacked_total"); n != tally(outcomes)[broker.Nacked] {
		t.Errorf("%d nacked messages are counted, want %d", n, tally(outcomes)[broker.Nacked])
	}
}

// One queue refuses messages at once, while another one takes its time for storing those around them. Then a single
// confirmation can stand for many messages, of which some have been refused before.
func TestNackedAmongConfirmedMessages(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	newQueue(t, s.channel, "full", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	bodies := numbered(3000)
	batch := toQueue("q", bodies)
	for i := 1; i < len(batch); i += 2 {
		batch[i].RoutingKey = "full"
	}

	outcomes, err := s.publisher.PublishAll(withDeadline(t), batch)
	if err != nil {
		t.Fatal(err)
	}
	arrived := bodiesOf(t, s.channel, "q")
	maps.Copy(arrived, bodiesOf(t, s.channel, "full"))
	for i, body := range bodies {
		if want := map[bool]broker.Outcome{true: broker.Confirmed, false: broker.Nacked}[arrived[body] == 1]; outcomes[i] != want {
			t.Errorf("%s is %v, want %v", body, outcomes[i], want)
		}
	}
	if n := tally(outcomes); n[broker.Nacked] == 0 {
		t.Error(n)
	}
}

// The connection breaks while confirmations are on their way, and while messages are.
func TestLostConnectionIsReplacedOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		direction testenv.Direction
		bytes     int64
	}{
		{"before the first confirmation", testenv.ToClient, 0},
		{"between confirmations", testenv.ToClient, 30},
		{"between messages", testenv.ToServer, 200_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := setupPublisher(t, 0)
			newQueue(t, s.channel, "q", nil)
			if err := s.publisher.Connect(withDeadline(t)); err != nil {
				t.Fatal(err)
			}
			s.proxy.CutAfter(tc.direction, tc.bytes)

			outcomes, err := s.publisher.PublishAll(withDeadline(t), toQueue("q", numbered(5000)))
			if err != nil {
				t.Fatal(err)
			}
			if n := tally(outcomes); n[broker.Confirmed] != 5000 {
				t.Error(n)
			}
			if arrived := bodiesOf(t, s.channel, "q"); len(arrived) != 5000 {
				t.Errorf("%d messages have arrived", len(arrived))
			}
			if n := count(t, s.registry, "reconnects_total"); n != 1 {
				t.Errorf("%d reconnects are counted", n)
			}
			if n := count(t, s.registry, "messages_confirmed_total"); n != 5000 {
				t.Errorf("%d confirmed messages are counted: those that had been confirmed were not to be repeated", n)
			}
		})
	}
}

func TestLostConnectionThatCannotBeReplaced(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	if err := s.publisher.Connect(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	s.proxy.CutAfter(testenv.ToClient, 30) // within the second confirmation
	s.proxy.Refuse()

	outcomes, err := s.publisher.PublishAll(withDeadline(t), toQueue("q", numbered(5000)))
	if !errors.Is(err, broker.ErrUnreachable) {
		t.Fatal(err)
	}
	n := tally(outcomes)
	if n[broker.Unknown] == 0 || n[broker.Unknown]+n[broker.Confirmed] != 5000 {
		t.Error(n)
	}

	// What is confirmed has arrived. What is unknown can be published again, once the broker is back.
	s.proxy.Accept()
	if err := s.publisher.Connect(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	var again []string
	for i, body := range numbered(5000) {
		if outcomes[i] == broker.Unknown {
			again = append(again, body)
		}
	}
	outcomes, err = s.publisher.PublishAll(withDeadline(t), toQueue("q", again))
	if err != nil || tally(outcomes)[broker.Confirmed] != len(again) {
		t.Fatal(tally(outcomes), err)
	}
	if arrived := bodiesOf(t, s.channel, "q"); len(arrived) != 5000 {
		t.Errorf("%d messages have arrived", len(arrived))
	}
}

// Each connection breaks in the middle. One of them is replaced, and that is all.
func TestConnectionIsLostAgain(t *testing.T) {
	t.Parallel()
	virtualHost := testenv.NewVirtualHost(t)
	channel := testenv.OpenChannel(t, virtualHost)
	newQueue(t, channel, "q", nil)
	relay := newFrameRelay(t, virtualHost)
	relay.limit = 100_000
	metrics, registry := newMetrics()
	publisher := broker.NewPublisher(broker.PublisherConfig{
		URL: relay.url, Metrics: metrics, Log: new(logbook).logger(),
	})
	t.Cleanup(publisher.Close)

	outcomes, err := publisher.PublishAll(withDeadline(t), toQueue("q", numbered(5000)))
	if !errors.Is(err, broker.ErrUnreachable) {
		t.Error(err)
	}
	if n := tally(outcomes); n[broker.Unknown] == 0 || n[broker.Unknown]+n[broker.Confirmed] != 5000 {
		t.Error(n)
	}
	if n := count(t, registry, "reconnects_total"); n != 1 {
		t.Errorf("%d reconnects are counted", n)
	}
	arrived := bodiesOf(t, channel, "q")
	for i, body := range numbered(5000) {
		if outcomes[i] == broker.Confirmed && arrived[body] == 0 {
			t.Errorf("%s is confirmed and has not arrived", body)
		}
	}
}

func TestSilentBroker(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, time.Second)
	newQueue(t, s.channel, "q", nil)
	if err := s.publisher.Connect(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	s.proxy.Stall()

	outcomes, err := s.publisher.PublishAll(withDeadline(t), toQueue("q", numbered(10)))
	if !errors.Is(err, broker.ErrConfirmTimeout) || errors.Is(err, broker.ErrUnreachable) {
		t.Error(err)
	}
	if n := tally(outcomes); n[broker.Unknown] != 10 {
		t.Error(n)
	}

	s.proxy.Resume()
	outcomes, err = s.publisher.PublishAll(withDeadline(t), toQueue("q", numbered(10)))
	if err != nil || tally(outcomes)[broker.Confirmed] != 10 {
		t.Error(tally(outcomes), err)
	}
}

// The end of the context ends a call that waits for confirmations, one that is stuck in writing, one that makes a
// connection, and one that waits for its turn.
func TestPublishAllEndsWithItsContext(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1<<20)
	for _, tc := range []struct {
		name      string
		bodies    []string
		connected bool
	}{
		{"waiting", numbered(10), true},
		{"writing", slices.Repeat([]string{large}, 64), true},
		{"connecting", numbered(10), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := setupPublisher(t, 0)
			newQueue(t, s.channel, "q", nil)
			if tc.connected {
				if err := s.publisher.Connect(withDeadline(t)); err != nil {
					t.Fatal(err)
				}
			}
			s.proxy.Stall()
			ctx, cancel := contextWithReason(t)
			done := make(chan error, 2)
			for range 2 { // one of them waits for its turn
				go func() {
					_, err := s.publisher.PublishAll(ctx, toQueue("q", tc.bodies))
					done <- err
				}()
			}
			select {
			case err := <-done:
				t.Fatal("returned early:", err)
			case <-time.After(50 * time.Millisecond):
			}
			cancel()
			for range 2 {
				if err := receive(t, done, "the return of PublishAll"); !errors.Is(err, errSignal) {
					t.Error(err)
				}
			}
		})
	}
}

func TestMissingExchange(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	batch := toQueue("q", numbered(3000))
	batch[1000].Exchange = "missing"

	outcomes, err := s.publisher.PublishAll(withDeadline(t), batch)
	var reply *amqp.Error
	if !errors.As(err, &reply) || reply.Code != amqp.NotFound || errors.Is(err, broker.ErrUnreachable) {
		t.Error(err)
	}
	if outcomes[1000] != broker.Unknown {
		t.Error(outcomes[1000])
	}
	if n := count(t, s.registry, "reconnects_total"); n != 0 {
		t.Errorf("tried again %d times", n)
	}

	batch[1000].Exchange = ""
	outcomes, err = s.publisher.PublishAll(withDeadline(t), batch)
	if err != nil || tally(outcomes)[broker.Confirmed] != 3000 {
		t.Error(tally(outcomes), err)
	}
}

func TestWhatCannotBeEncodedIsNotSent(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	for _, p := range []broker.Publishing{
		{RoutingKey: strings.Repeat("k", 256)},
		{Type: strings.Repeat("k", 256)},
		{Headers: map[string]any{"h": struct{}{}}},
	} {
		outcomes, err := s.publisher.PublishAll(withDeadline(t), append(toQueue("q", numbered(1)), p))
		if err == nil || tally(outcomes)[broker.Unknown] != 2 {
			t.Error(outcomes, err)
		}
	}
	if depth := testenv.QueueDepth(t, s.channel, "q"); depth != 0 {
		t.Errorf("%d messages have been sent", depth)
	}
}

func TestConnectWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	s.proxy.Refuse()
	connected := inBackground(func() error { return s.publisher.Connect(t.Context()) })
	testenv.Eventually(t, patience, func() error {
		if !strings.Contains(s.log.String(), "waiting for the broker") {
			return errors.New("does not wait")
		}
		return nil
	})
	s.proxy.Accept()
	if err := receive(t, connected, "a connection"); err != nil {
		t.Error(err)
	}

	// Lost while nobody was looking: the next batch does not notice.
	newQueue(t, s.channel, "q", nil)
	s.proxy.Cut()
	outcomes, err := s.publisher.PublishAll(withDeadline(t), toQueue("q", numbered(5)))
	if err != nil || tally(outcomes)[broker.Confirmed] != 5 {
		t.Error(tally(outcomes), err)
	}
}

func TestConnectReportsRefusal(t *testing.T) {
	t.Parallel()
	proxied := testenv.NewVirtualHost(t)
	metrics, _ := newMetrics()
	for name, replace := range map[string]func(string) string{
		"password":     func(u string) string { return strings.Replace(u, "@", "x@", 1) },
		"virtual host": func(u string) string { return u + "x" },
	} {
		url := replace(proxied)
		p := broker.NewPublisher(broker.PublisherConfig{URL: url, Metrics: metrics, Log: new(logbook).logger()})
		err := p.Connect(withDeadline(t))
		if err == nil || errors.Is(err, broker.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wrong %s: %v", name, err)
		}
	}
}

func TestPublisherIsSharedByManyCallers(t *testing.T) {
	t.Parallel()
	s := setupPublisher(t, 0)
	newQueue(t, s.channel, "q", nil)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			batch := toQueue("q", numbered(200))
			batch[7].RoutingKey = "nowhere"
			outcomes, err := s.publisher.PublishAll(withDeadline(t), batch)
			if err != nil || outcomes[7] != broker.Returned || tally(outcomes)[broker.Confirmed] != 199 {
				t.Error(tally(outcomes), err)
			}
		})
	}
	callers.Wait()
	if depth := testenv.QueueDepth(t, s.channel, "q"); depth != 8*199 {
		t.Errorf("%d messages have arrived", depth)
	}
}

// A broker in trouble, with too little memory for example, says that it accepts no messages for the time being.
func TestBlockedConnection(t *testing.T) {
	t.Parallel()
	virtualHost := testenv.NewVirtualHost(t)
	channel := testenv.OpenChannel(t, virtualHost)
	newQueue(t, channel, "q", nil)
	relay := newFrameRelay(t, virtualHost)
	metrics, registry := newMetrics()
	publisher := broker.NewPublisher(broker.PublisherConfig{
		URL: relay.url, ConfirmTimeout: 2 * time.Second, Metrics: metrics, Log: new(logbook).logger(),
	})
	t.Cleanup(publisher.Close)
	if err := publisher.Connect(withDeadline(t)); err != nil {
		t.Fatal(err)
	}

	relay.inject(blockedFrame("low on memory"))
	outcomes, err := publisher.PublishAll(withDeadline(t), toQueue("q", numbered(6000)))
	if !errors.Is(err, broker.ErrConfirmTimeout) || !strings.Contains(err.Error(), "low on memory") {
		t.Error(err)
	}
	if n := tally(outcomes); n[broker.Unknown] == 0 {
		t.Error(n)
	}
	if n := count(t, registry, "messages_published_total"); n >= 6000 {
		t.Error("all have been sent")
	}

	if err := publisher.Connect(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	relay.inject(blockedFrame("low on disk space"))
	relay.inject(unblockedFrame)
	outcomes, err = publisher.PublishAll(withDeadline(t), toQueue("q", numbered(6000)))
	if err != nil || tally(outcomes)[broker.Confirmed] != 6000 {
		t.Error(tally(outcomes), err)
	}
}
