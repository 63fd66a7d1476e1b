package broker_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestPeersGetWhatIsMeantForThem(t *testing.T) {
	t.Parallel()
	url := testenv.NewVirtualHost(t)
	queues := []broker.PeerQueue{
		{Name: "authority", Exchange: broker.CreditorsOut, RoutingKeys: []string{"00.01.#", "00.03.#"}},
		{Name: "agent", Exchange: broker.CreditorsAgent, RoutingKeys: []string{"#"}},
		{Name: "loopback", Exchange: broker.LoopbackFilter, Headers: map[string]any{"message-type": "ConfigureAccount"}},
	}
	for range 2 { // the second time, all of it is there
		if err := broker.DeclarePeers(t.Context(), url, queues); err != nil {
			t.Fatal(err)
		}
	}
	topology := broker.Topology{
		ProtocolURL: url, ProtocolQueue: "service", RoutingKey: "#", Log: slog.New(slog.DiscardHandler),
	}
	if err := topology.Declare(t.Context()); err != nil {
		t.Fatalf("The service cannot declare what it needs beside its peers: %v", err)
	}

	metrics, _ := newMetrics()
	p := broker.NewPublisher(broker.PublisherConfig{URL: url, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
	defer p.Close()
	batch := []broker.Publishing{
		{Exchange: broker.CreditorsOut, RoutingKey: "00.01.02", Body: []byte("a1")},
		{Exchange: broker.CreditorsOut, RoutingKey: "00.03.02", Body: []byte("a3")},
		{
			Exchange: broker.CreditorsOut, RoutingKey: "00.02.02", Body: []byte("nobody's"),
			Headers: map[string]any{"message-type": "ConfigureAccount"},
		},
		{Exchange: broker.CreditorsIn, Body: []byte("customer's"), Headers: map[string]any{"ca-creditors": true}},
		{
			Exchange: broker.CreditorsIn, Body: []byte("both"),
			Headers: map[string]any{"ca-creditors": true, "ca-trade": true},
		},
		{Exchange: broker.CreditorsIn, Body: []byte("collector's"), Headers: map[string]any{"ca-trade": true}},
	}
	outcomes, err := p.PublishAll(t.Context(), batch)
	if err != nil || slices.ContainsFunc(outcomes, func(o broker.Outcome) bool { return o != broker.Confirmed }) {
		t.Fatalf("published with %v, %v", outcomes, err)
	}
	channel := testenv.OpenChannel(t, url)
	for queue, want := range map[string][]string{
		"authority": {"a1", "a3"}, "agent": {"customer's", "both"}, "loopback": {"nobody's"},
		"service": {"both", "collector's"},
	} {
		var got []string
		for _, m := range testenv.Drain(t, channel, queue) {
			got = append(got, string(m.Body))
		}
		if !slices.Equal(got, want) {
			t.Errorf("queue %s has %q, want %q", queue, got, want)
		}
	}
}

func TestHasQueue(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewVirtualHost(t))
	has := func(want bool) {
		t.Helper()
		if found, err := broker.HasQueue(t.Context(), proxy.URL(), "agent"); found != want || err != nil {
			t.Errorf("there is a queue: %v, %v, want %v", found, err, want)
		}
	}
	has(false)
	queues := []broker.PeerQueue{{Name: "agent", Exchange: broker.CreditorsAgent, RoutingKeys: []string{"#"}}}
	if err := broker.DeclarePeers(t.Context(), proxy.URL(), queues); err != nil {
		t.Fatal(err)
	}
	has(true)
	proxy.Refuse()
	if _, err := broker.HasQueue(t.Context(), proxy.URL(), "agent"); !errors.Is(err, broker.ErrUnreachable) {
		t.Errorf("without a broker: %v", err)
	}
}
