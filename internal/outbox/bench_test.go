package outbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// offer returns a message of a usual size.
func offer(n int) *smp.CandidateOffer {
	return &smp.CandidateOffer{
		TurnID: 1, DebtorID: 1 << 50, CreditorID: 1 << 51, Amount: int64(n) + 1, LastTransferNumber: int64(n), TS: sentAt,
	}
}

// BenchmarkAppend measures transactions that only append. Run it on a server that waits for the disk.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 10, 500, 10_000, 100_000} {
		messages := make([]smp.Outgoing, size)
		for n := range messages {
			messages[n] = offer(n)
		}
		for name, appendTo := range map[string]func(context.Context, *workerdb.Tx) error{
			"Append": func(ctx context.Context, tx *workerdb.Tx) error { return outbox.Append(ctx, tx, messages...) },
			"AppendAll": func(ctx context.Context, tx *workerdb.Tx) error {
				_, err := outbox.AppendAll(ctx, tx, each(messages...))
				return err
			},
		} {
			b.Run(fmt.Sprintf("%s/messages=%d", name, size), func(b *testing.B) {
				w := newDatabase(b)
				b.ReportAllocs()
				for b.Loop() {
					if err := w.db.InTx(b.Context(), "append", appendTo); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// BenchmarkFlush measures how fast a backlog is sent, and how fast the same messages are published without an outbox.
// The two take turns, so that whatever else the machine does slows both down.
func BenchmarkFlush(b *testing.B) {
	for _, processes := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("processes=%d", processes), func(b *testing.B) {
			const messages = 120_000
			w := newWorld(b)
			config := w.config()
			config.Types = []string{smp.TypeCandidateOffer}
			config.Processes = processes
			flusher := newFlusher(b, config)
			var bare, flushed time.Duration
			for b.Loop() {
				bare += w.publish(b, messages, processes)
				w.appendOffers(b, messages)
				started := time.Now()
				if err := flusher.RunOnce(b.Context()); err != nil {
					b.Fatal(err)
				}
				flushed += time.Since(started)
				if got := w.purge(b); got != messages {
					b.Fatalf("%d messages were sent, want %d", got, messages)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(messages*b.N)/bare.Seconds(), "bare/s")
			b.ReportMetric(float64(messages*b.N)/flushed.Seconds(), "flushed/s")
			b.ReportMetric(100*bare.Seconds()/flushed.Seconds(), "percent")
		})
	}
}

// publish publishes messages with several publishers, in bursts as those of a flusher, and returns how long it took.
func (w *world) publish(b *testing.B, messages, publishers int) time.Duration {
	b.Helper()
	batch := make([]broker.Publishing, outbox.DefaultBurst)
	for n := range batch {
		m := offer(n)
		body, err := m.AppendJSON(nil)
		if err != nil {
			b.Fatal(err)
		}
		batch[n] = broker.Publishing{
			Exchange: broker.ToTrade, RoutingKey: key123, Mandatory: true, ContentType: "application/json",
			AppID: "swpt_trade", Type: m.Type(), Headers: m.Envelope().Headers(), Body: body,
		}
	}
	started := time.Now()
	var group errgroup.Group
	for range publishers {
		group.Go(func() error {
			publisher := newPublisher(w.brokerURL)
			defer publisher.Close()
			for range messages / len(batch) / publishers {
				if _, err := publisher.PublishAll(b.Context(), batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(started)
	if got := w.purge(b); got != messages {
		b.Fatalf("%d messages were published, want %d", got, messages)
	}
	return took
}

func (w *world) appendOffers(b *testing.B, messages int) {
	b.Helper()
	err := w.db.InTx(b.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		_, err := outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
			for n := range messages {
				if !yield(offer(n), nil) {
					return
				}
			}
		})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// purge empties the queue of the worker, and returns how many messages there were.
func (w *world) purge(tb testing.TB) int {
	tb.Helper()
	count, err := w.channel.QueuePurge(workerQueue, false)
	if err != nil {
		tb.Fatal(err)
	}
	return count
}
