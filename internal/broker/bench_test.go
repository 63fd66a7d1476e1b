package broker_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// body is as long as that of a typical message.
var body = strings.Repeat("x", 350)

// BenchmarkPublish compares the publisher with the least that has to be done: to publish with a bounded number of
// messages in flight, and wait for each confirmation.
func BenchmarkPublish(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		channel := testenv.OpenChannel(b, testenv.NewVirtualHost(b))
		newQueue(b, channel, "q", nil)
		if err := channel.Confirm(false); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.ResetTimer()
		window := make(chan *amqp.DeferredConfirmation, 2000)
		for range b.N {
			if len(window) == cap(window) {
				(<-window).Wait()
			}
			confirmation, err := channel.PublishWithDeferredConfirm("", "q", true, false, amqp.Publishing{
				DeliveryMode: 2, ContentType: "application/json", Type: "T", AppId: "swpt_trade",
				Headers: amqp.Table{"message-type": "T", "creditor-id": int64(1), "debtor-id": int64(2)}, Body: []byte(body),
			})
			if err != nil {
				b.Fatal(err)
			}
			window <- confirmation
		}
		for len(window) > 0 {
			(<-window).Wait()
		}
		reportRate(b)
	})
	b.Run("ours", func(b *testing.B) {
		url := testenv.NewVirtualHost(b)
		newQueue(b, testenv.OpenChannel(b, url), "q", nil)
		metrics, _ := newMetrics()
		p := broker.NewPublisher(broker.PublisherConfig{URL: url, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
		defer p.Close()
		if err := p.Connect(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.ResetTimer()
		for left := b.N; left > 0; {
			batch := make([]broker.Publishing, min(left, 10_000))
			for i := range batch {
				batch[i] = broker.Publishing{
					RoutingKey: "q", Mandatory: true, ContentType: "application/json", Type: "T", AppID: "swpt_trade",
					Headers: map[string]any{"message-type": "T", "creditor-id": int64(1), "debtor-id": int64(2)},
					Body:    []byte(body),
				}
			}
			if _, err := p.PublishAll(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			left -= len(batch)
		}
		reportRate(b)
	})
}

// BenchmarkConsume compares the consumer with bare ones that do nothing with a message but acknowledge it, alone or
// together with many others.
func BenchmarkConsume(b *testing.B) {
	const prefetch = 500
	setup := func(b *testing.B) (url string, channel *amqp.Channel) {
		b.Helper()
		url = testenv.NewVirtualHost(b)
		channel = testenv.OpenChannel(b, url)
		newQueue(b, channel, "q", nil)
		bodies := make([]string, b.N)
		for i := range bodies {
			bodies[i] = body
		}
		fill(b, url, "q", bodies...)
		b.ReportAllocs()
		b.ResetTimer()
		return url, channel
	}
	bare := func(b *testing.B, together int) {
		b.Helper()
		_, channel := setup(b)
		if err := channel.Qos(prefetch, 0, false); err != nil {
			b.Fatal(err)
		}
		deliveries, err := channel.Consume("q", "", false, false, false, false, nil)
		if err != nil {
			b.Fatal(err)
		}
		for i := range b.N {
			d := <-deliveries
			if (i+1)%together == 0 || i == b.N-1 {
				if err := d.Ack(true); err != nil {
					b.Fatal(err)
				}
			}
		}
		reportRate(b)
	}
	b.Run("bare, alone", func(b *testing.B) { bare(b, 1) })
	b.Run("bare, together", func(b *testing.B) { bare(b, prefetch/2) })
	b.Run("ours", func(b *testing.B) {
		url, _ := setup(b)
		metrics, _ := newMetrics()
		ctx, cancel := context.WithCancel(b.Context())
		c := broker.NewConsumer(broker.ConsumerConfig{
			URL: url, Queue: "q", Parallelism: 1, PrefetchCount: prefetch, Metrics: metrics,
			Log: slog.New(slog.DiscardHandler),
		}, &counter{left: int64(b.N), done: cancel})
		if err := c.Run(ctx); err != nil {
			b.Fatal(err)
		}
		reportRate(b)
	})
}

// A counter counts messages down.
type counter struct {
	left int64
	done func()
}

func (*counter) Check(d broker.Delivery) ([]byte, error) { return d.Body, nil }

func (c *counter) Handle(_ context.Context, batch [][]byte) error {
	if atomic.AddInt64(&c.left, -int64(len(batch))) == 0 {
		c.done()
	}
	return nil
}

func reportRate(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
