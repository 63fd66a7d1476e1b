package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/broker"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := setupConsumer(t)
	fill(t, s.url, "q", "good", "malformed", "failing", "good again")
	w := &worker{
		check: func(d broker.Delivery) error {
			if string(d.Body) == "malformed" {
				return broker.Reject("syntax", errBad)
			}
			return nil
		},
		handle: func(_ context.Context, batch []string) error {
			if slices.Contains(batch, "failing") {
				return errors.New("no")
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
	p := broker.NewPublisher(broker.PublisherConfig{URL: s.url, Metrics: s.config.Metrics, Log: s.log.logger()})
	defer p.Close()
	if _, err := p.PublishAll(withDeadline(t), toQueue("nowhere", numbered(1))); err != nil {
		t.Fatal(err)
	}

	problems, err := testutil.GatherAndLint(s.registry)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	want := `
# HELP trade_broker_messages_rejected_total Messages sent to the dead-letter queue.
# TYPE trade_broker_messages_rejected_total counter
trade_broker_messages_rejected_total{queue="q",reason="syntax"} 1
# HELP trade_broker_messages_acked_total Messages handled and acknowledged.
# TYPE trade_broker_messages_acked_total counter
trade_broker_messages_acked_total{queue="q"} 2
# HELP trade_broker_messages_returned_total Published messages that no queue would have got.
# TYPE trade_broker_messages_returned_total counter
trade_broker_messages_returned_total 1
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "trade_broker_messages_rejected_total",
		"trade_broker_messages_acked_total", "trade_broker_messages_returned_total"); err != nil {
		t.Error(err)
	}
}
