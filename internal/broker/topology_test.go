package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// definitions is what the broker's management tells about a virtual host: everything that is declared, as it was
// declared.
type definitions struct {
	Exchanges []struct {
		Name       string
		Type       string
		Durable    bool
		AutoDelete bool `json:"auto_delete"`
		Internal   bool
		Arguments  map[string]any
	}
	Queues []struct {
		Name       string
		Durable    bool
		AutoDelete bool `json:"auto_delete"`
		Arguments  map[string]any
	}
	Bindings []struct {
		Source          string
		Destination     string
		DestinationType string `json:"destination_type"`
		RoutingKey      string `json:"routing_key"`
		Arguments       map[string]any
	}
}

// list returns the definitions, a line each.
func (d definitions) list() []string {
	var lines []string
	for _, e := range d.Exchanges {
		lines = append(lines, fmt.Sprintf("%s exchange %s %v", e.Type, e.Name, e.Arguments)+
			unusual(e.Durable, e.AutoDelete, e.Internal))
	}
	for _, q := range d.Queues {
		lines = append(lines, fmt.Sprintf("queue %s %v", q.Name, q.Arguments)+unusual(q.Durable, q.AutoDelete, false))
	}
	for _, b := range d.Bindings {
		lines = append(lines, fmt.Sprintf("%s → %s %s %q %v", b.Source, b.DestinationType, b.Destination, b.RoutingKey, b.Arguments))
	}
	slices.Sort(lines)
	return lines
}

func unusual(durable, autoDelete, internal bool) string {
	if durable && !autoDelete && !internal {
		return ""
	}
	return fmt.Sprintf(" durable=%v autoDelete=%v internal=%v", durable, autoDelete, internal)
}

// inspect returns what is declared in a virtual host.
func inspect(t *testing.T, virtualHost string) []string {
	t.Helper()
	u, err := url.Parse(virtualHost)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := strings.TrimSuffix(os.Getenv("TEST_BROKER_MANAGEMENT_URL"), "/") + "/api/definitions/" + path.Base(u.Path)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, http.NoBody) //nolint:gosec // the test's own broker
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request) //nolint:gosec // the test's own broker
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var d definitions
	if err := json.NewDecoder(response.Body).Decode(&d); err != nil {
		t.Fatal(response.Status, err)
	}
	return d.list()
}

var protocolExchanges = []string{
	"headers exchange creditors_in map[]",
	"headers exchange ca.loopback_filter map[]",
	"topic exchange creditors_out map[alternate-exchange:ca.loopback_filter]",
	"topic exchange to_trade map[]",
	`creditors_in → exchange to_trade "" map[ca-trade:true x-match:all]`,
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}

func TestDeclareWithOneBroker(t *testing.T) {
	t.Parallel()
	vhost := testenv.NewVirtualHost(t)
	topology := broker.Topology{ProtocolURL: vhost, ProtocolQueue: "swpt_trade", RoutingKey: "0.1.#", Log: new(logbook).logger()}
	want := sorted(protocolExchanges, []string{
		"queue swpt_trade map[x-dead-letter-exchange: x-dead-letter-routing-key:swpt_trade.XQ]",
		"queue swpt_trade.XQ map[]",
		`to_trade → queue swpt_trade "0.1.#" map[]`,
	})
	for range 2 {
		if err := topology.Declare(withDeadline(t)); err != nil {
			t.Fatal(err)
		}
		if got := inspect(t, vhost); !reflect.DeepEqual(got, want) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestDeclareWithTwoBrokers(t *testing.T) {
	t.Parallel()
	protocol, internal := testenv.NewVirtualHost(t), testenv.NewVirtualHost(t)
	log := new(logbook)
	topology := broker.Topology{
		ProtocolURL: protocol, ProtocolQueue: "a", InternalURL: internal, InternalQueue: "b", RoutingKey: "#",
		Log: log.logger(),
	}
	wantProtocol := sorted(protocolExchanges, []string{
		"queue a map[overflow:reject-publish x-dead-letter-exchange: x-dead-letter-routing-key:a.XQ x-queue-type:quorum]",
		"queue a.XQ map[x-queue-type:stream]",
		`to_trade → queue a "#" map[]`,
	})
	wantInternal := sorted([]string{
		"topic exchange to_trade map[]",
		"queue b map[overflow:reject-publish x-dead-letter-exchange: x-dead-letter-routing-key:b.XQ x-queue-type:quorum]",
		"queue b.XQ map[x-queue-type:stream]",
		`to_trade → queue b "#" map[]`,
	})
	for range 2 {
		if err := topology.Declare(withDeadline(t)); err != nil {
			t.Fatal(err)
		}
		if got := inspect(t, protocol); !reflect.DeepEqual(got, wantProtocol) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(wantProtocol, "\n"))
		}
		if got := inspect(t, internal); !reflect.DeepEqual(got, wantInternal) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(wantInternal, "\n"))
		}
	}
	if strings.Contains(log.String(), "not bound") {
		t.Error(log)
	}
}

func TestDeclareWithTwoURLsOfOneVirtualHost(t *testing.T) {
	t.Parallel()
	vhost := testenv.NewVirtualHost(t)
	log := new(logbook)
	topology := broker.Topology{
		ProtocolURL: vhost, ProtocolQueue: "a", InternalURL: vhost + "?heartbeat=5", InternalQueue: "b", RoutingKey: "#",
		Log: log.logger(),
	}
	if err := topology.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "the internal queue is not bound") {
		t.Error("the log does not tell:", log)
	}

	// One copy of every message.
	channel := testenv.OpenChannel(t, vhost)
	publishOne(t, vhost, broker.ToTrade, nil)
	for queue, want := range map[string]int{"a": 1, "b": 0} {
		testenv.Eventually(t, patience, func() error {
			if n := testenv.QueueDepth(t, channel, queue); n != want {
				return fmt.Errorf("queue %s has %d messages, want %d", queue, n, want)
			}
			return nil
		})
	}
}

// publishOne publishes a mandatory message with the given headers, and returns its outcome.
func publishOne(t *testing.T, brokerURL, exchange string, headers map[string]any) broker.Outcome {
	t.Helper()
	metrics, _ := newMetrics()
	p := broker.NewPublisher(broker.PublisherConfig{URL: brokerURL, Metrics: metrics, Log: new(logbook).logger()})
	defer p.Close()
	outcomes, err := p.PublishAll(withDeadline(t), []broker.Publishing{{
		Exchange: exchange, RoutingKey: "0.0.1", Mandatory: true, Headers: headers, Body: []byte("m"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes[0]
}

func TestOnlyMessagesForTradeArrive(t *testing.T) {
	t.Parallel()
	vhost := testenv.NewVirtualHost(t)
	topology := broker.Topology{ProtocolURL: vhost, ProtocolQueue: "q", RoutingKey: "0.#", Log: new(logbook).logger()}
	if err := topology.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		headers map[string]any
		want    broker.Outcome
	}{
		{map[string]any{"ca-trade": true}, broker.Confirmed},
		{map[string]any{"ca-trade": true, "ca-creditors": false}, broker.Confirmed},
		{map[string]any{"ca-trade": false}, broker.Returned},
		{map[string]any{"ca-trade": "true"}, broker.Returned},
		{map[string]any{"ca-trade": int32(1)}, broker.Returned},
		{map[string]any{"ca-creditors": true}, broker.Returned},
		{nil, broker.Returned},
	} {
		if got := publishOne(t, vhost, broker.CreditorsIn, tc.headers); got != tc.want {
			t.Errorf("with headers %v: %v, want %v", tc.headers, got, tc.want)
		}
	}
	if err := topology.Unbind(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	if got := publishOne(t, vhost, broker.CreditorsIn, map[string]any{"ca-trade": true}); got != broker.Returned {
		t.Errorf("after Unbind: %v", got)
	}
}

// What exists with other properties is not touched, and what has to be declared after it neither.
func TestDeclareReportsConflicts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		prepare func(*amqp.Channel) error
		names   string // what the error must name
	}{
		{"a queue", func(c *amqp.Channel) error {
			_, err := c.QueueDeclare("q", true, false, false, false, nil)
			return err
		}, `queue "q"`},
		{"a dead-letter queue", func(c *amqp.Channel) error {
			_, err := c.QueueDeclare("q.XQ", true, false, false, false, amqp.Table{"x-max-length": 5})
			return err
		}, `queue "q.XQ"`},
		{"an exchange", func(c *amqp.Channel) error {
			return c.ExchangeDeclare(broker.CreditorsOut, "topic", true, false, false, false, nil)
		}, `exchange "creditors_out"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			vhost := testenv.NewVirtualHost(t)
			if err := tc.prepare(testenv.OpenChannel(t, vhost)); err != nil {
				t.Fatal(err)
			}
			before := inspect(t, vhost)[0]
			topology := broker.Topology{ProtocolURL: vhost, ProtocolQueue: "q", RoutingKey: "#", Log: new(logbook).logger()}
			err := topology.Declare(withDeadline(t))
			if !errors.Is(err, broker.ErrConflict) || errors.Is(err, broker.ErrUnreachable) {
				t.Fatal(err)
			}
			if !strings.Contains(err.Error(), tc.names) {
				t.Error("the error does not name the culprit:", err)
			}
			after := inspect(t, vhost)
			if !slices.Contains(after, before) || slices.Contains(after, `to_trade → queue q "#" map[]`) {
				t.Error(after)
			}
		})
	}
}

func TestUnbindCanBeRepeated(t *testing.T) {
	t.Parallel()
	protocol, internal := testenv.NewVirtualHost(t), testenv.NewVirtualHost(t)
	topology := broker.Topology{
		ProtocolURL: protocol, ProtocolQueue: "a", InternalURL: internal, InternalQueue: "b", RoutingKey: "1.#",
		Log: new(logbook).logger(),
	}
	if err := topology.Unbind(withDeadline(t)); err != nil {
		t.Error("before there is anything:", err)
	}
	if err := topology.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	other := topology
	other.RoutingKey = "1.0.#"
	if err := other.Declare(withDeadline(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := topology.Unbind(withDeadline(t)); err != nil {
			t.Error(err)
		}
	}
	for vhost, queue := range map[string]string{protocol: "a", internal: "b"} {
		all := inspect(t, vhost)
		if slices.Contains(all, fmt.Sprintf(`to_trade → queue %s "1.#" map[]`, queue)) ||
			!slices.Contains(all, fmt.Sprintf(`to_trade → queue %s "1.0.#" map[]`, queue)) {
			t.Error(all)
		}
	}
}

// The queue is deleted when the last message is gone, and the last consumer.
func TestDeleteQueues(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"one broker", "two brokers"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			vhost := testenv.NewVirtualHost(t)
			topology := broker.Topology{ProtocolURL: vhost, ProtocolQueue: "a", RoutingKey: "#", Log: new(logbook).logger()}
			if profile == "two brokers" {
				topology.InternalURL, topology.InternalQueue = vhost, "b"
			}
			if err := topology.Declare(withDeadline(t)); err != nil {
				t.Fatal(err)
			}
			fill(t, vhost, "a", "a message")
			channel := testenv.OpenChannel(t, vhost)
			deliveries, err := channel.Consume("a", "", false, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx := withDeadline(t)
			deleted := inBackground(func() error { return topology.DeleteQueues(ctx) })
			d := receive(t, deliveries, "the delivery")
			select {
			case err := <-deleted:
				t.Fatal("deleted a queue with a consumer:", err)
			case <-time.After(100 * time.Millisecond):
			}
			if err := d.Nack(false, true); err != nil {
				t.Fatal(err)
			}
			_ = receive(t, deliveries, "the redelivery")
			if err := channel.Close(); err != nil { // a message, and no consumer
				t.Fatal(err)
			}
			channel = testenv.OpenChannel(t, vhost)
			testenv.Eventually(t, patience, func() error {
				q, err := channel.QueueDeclarePassive("a", true, false, false, false, nil)
				if err != nil || q.Consumers != 0 || q.Messages != 1 {
					return fmt.Errorf("%+v %w", q, err)
				}
				return nil
			})
			if n := len(testenv.Drain(t, channel, "a")); n != 1 {
				t.Fatalf("%d messages", n)
			}
			if err := receive(t, deleted, "the deletion"); err != nil {
				t.Fatal(err)
			}
			rest := inspect(t, vhost)
			for _, line := range rest {
				if strings.HasPrefix(line, "queue a ") || strings.HasPrefix(line, "queue b ") {
					t.Error("still there:", line)
				}
			}
			if !slices.ContainsFunc(rest, func(line string) bool { return strings.HasPrefix(line, "queue a.XQ ") }) {
				t.Error("the dead-letter queue is gone")
			}
			if err := topology.DeleteQueues(ctx); err != nil {
				t.Error("missing queues:", err)
			}
		})
	}
}

// A queue with messages is not deleted.
func TestDeleteQueuesEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"one broker", "two brokers"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			vhost := testenv.NewVirtualHost(t)
			topology := broker.Topology{ProtocolURL: vhost, ProtocolQueue: "a", RoutingKey: "#", Log: new(logbook).logger()}
			if profile == "two brokers" {
				topology.InternalURL, topology.InternalQueue = vhost, "b"
			}
			if err := topology.Declare(withDeadline(t)); err != nil {
				t.Fatal(err)
			}
			fill(t, vhost, "a", "a message")
			channel := testenv.OpenChannel(t, vhost)
			testenv.Eventually(t, patience, func() error {
				if n := testenv.QueueDepth(t, channel, "a"); n != 1 {
					return fmt.Errorf("%d messages", n)
				}
				return nil
			})
			ctx, cancel := contextWithReason(t)
			deleted := inBackground(func() error { return topology.DeleteQueues(ctx) })
			select {
			case err := <-deleted:
				t.Error("returned:", err)
			case <-time.After(300 * time.Millisecond): // the first look is over long before that
				cancel()
				if err := receive(t, deleted, "the end"); !errors.Is(err, errSignal) {
					t.Error(err)
				}
			}
			if n := testenv.QueueDepth(t, channel, "a"); n != 1 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

func TestUnreachableBroker(t *testing.T) {
	t.Parallel()
	vhost := testenv.NewVirtualHost(t)
	proxy := testenv.NewProxy(t, vhost)
	topology := broker.Topology{ProtocolURL: proxy.URL(), ProtocolQueue: "a", RoutingKey: "#", Log: new(logbook).logger()}
	password := passwordOf(t, vhost)

	proxy.Refuse()
	for name, do := range map[string]func() error{
		"Declare":      func() error { return topology.Declare(withDeadline(t)) },
		"Unbind":       func() error { return topology.Unbind(withDeadline(t)) },
		"DeleteQueues": func() error { return topology.DeleteQueues(withDeadline(t)) },
	} {
		if err := do(); !errors.Is(err, broker.ErrUnreachable) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Wherever the connection breaks. To break it after the password has been sent is how brokers refuse one.
	proxy.Accept()
	unreachable := 0
	for cut := int64(0); ; cut += 50 {
		proxy.CutAfter(testenv.ToClient, cut)
		err := topology.Declare(withDeadline(t))
		if err == nil {
			break
		}
		if errors.Is(err, broker.ErrUnreachable) {
			unreachable++
		} else if !errors.Is(err, amqp.ErrCredentials) {
			t.Errorf("after %d bytes: %v", cut, err)
		}
	}
	if unreachable < 5 {
		t.Errorf("only %d attempts have failed because the broker was unreachable", unreachable)
	}

	// A broker that accepts connections and says nothing.
	proxy.Stall()
	topology.ProtocolURL += "?connection_timeout=100"
	if err := topology.Declare(withDeadline(t)); !errors.Is(err, broker.ErrUnreachable) {
		t.Error(err)
	}
}

func TestErrorsContainNoPassword(t *testing.T) {
	t.Parallel()
	for _, malformed := range []string{
		"amqp://user:se/cret@localhost:1/", "amqp://user:12/secret@localhost:1/", "amqp://user:12#secret@localhost:1/",
		"amqp://user:12?secret@localhost:1/", "amqp://user:secret@localhost:port/", "amqp://user:secret@local host/",
		"amqp://user:%secret@localhost/", "http://user:secret@localhost/", "amqp://user:secret@localhost/?heartbeat=secret",
		"user:secret@localhost", "amqp://user:secret@[::1/", "amqp://user:secret@127.0.0.1:1/",
	} {
		topology := broker.Topology{ProtocolURL: malformed, ProtocolQueue: "a", RoutingKey: "#", Log: new(logbook).logger()}
		err := topology.Declare(withDeadline(t))
		if err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v", malformed, err)
		}
		if errors.Is(err, broker.ErrURL) == errors.Is(err, broker.ErrUnreachable) {
			t.Errorf("%s: %v", malformed, err)
		}
	}
}

func TestSameVirtualHost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"amqp://", "amqp://guest:guest@localhost:5672/%2f", true},
		{"amqp://a:b@host", "amqp://c:d@HOST:5672/", true},
		{"amqp://host/v", "amqp://host/v?heartbeat=5&connection_timeout=3", true},
		{"amqp://[::1]/v", "amqp://[::1]:5672/v", true},
		{"amqps://host", "amqps://host:5671", true},
		{"amqp://host", "amqps://host", false},
		{"amqp://host/v", "amqp://host/V", false},
		{"amqp://host/v", "amqp://host", false},
		{"amqp://host:5673", "amqp://host", false},
		{"amqp://host1", "amqp://host2", false},
		{"amqp://a/b", "amqp://a/%2fb", false},
	} {
		for _, urls := range [][2]string{{tc.a, tc.b}, {tc.b, tc.a}} {
			if got, err := broker.SameVirtualHost(urls[0], urls[1]); got != tc.want || err != nil {
				t.Errorf("%v: %v, %v", urls, got, err)
			}
		}
	}
	for _, urls := range [][2]string{{"amqp://host", "http://host"}, {"://", "amqp://host"}} {
		if _, err := broker.SameVirtualHost(urls[0], urls[1]); !errors.Is(err, broker.ErrURL) {
			t.Errorf("%v: %v", urls, err)
		}
	}
}

func passwordOf(t *testing.T, brokerURL string) string {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return password
}
