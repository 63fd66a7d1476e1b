package outbox_test

import (
	"context"
	"fmt"
	"testing"

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

// BenchmarkFlush measures how fast a backlog is sent, beside how fast the same messages are published without an outbox.
func BenchmarkFlush(b *testing.B) {
	const messages = 100_000
	for _, processes := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("bare/publishers=%d", processes), func(b *testing.B) {
			w := newWorld(b)
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
			for b.Loop() {
				var group errgroup.Group
				for range processes {
					group.Go(func() error {
						publisher := newPublisher(w.brokerURL)
						defer publisher.Close()
						for range messages / len(batch) / processes {
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
				b.StopTimer()
				w.purge(b)
				b.StartTimer()
			}
			sent := messages / len(batch) / processes * processes * len(batch)
			b.ReportMetric(float64(sent*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
		b.Run(fmt.Sprintf("outbox/flushers=%d", processes), func(b *testing.B) {
			w := newWorld(b)
			config := w.config()
			config.Types = []string{smp.TypeCandidateOffer}
			config.Processes = processes
			flusher := newFlusher(b, config)
			b.StopTimer()
			for range b.N {
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
				b.StartTimer()
				if err := flusher.RunOnce(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				w.purge(b)
			}
			b.ReportMetric(float64(messages*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// purge empties the queue of the worker.
func (w *world) purge(tb testing.TB) {
	tb.Helper()
	if _, err := w.channel.QueuePurge(workerQueue, false); err != nil {
		tb.Fatal(err)
	}
}
