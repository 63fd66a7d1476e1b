package lock_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// otherLocks is the number of locks of other accounts that there are while benchmarks run.
const otherLocks = 200_000

var batchSizes = []int{1, 10, 100, 500}

// BenchmarkHandleCandidateOffers measures transactions in which accounts are locked. Run it on a server that waits for
// the disk: `scripts/services --durable go test -run '^$' -bench . ./internal/lock`.
func BenchmarkHandleCandidateOffers(b *testing.B) {
	for _, size := range batchSizes {
		b.Run(fmt.Sprintf("messages=%d", size), func(b *testing.B) {
			w := newCrowdedWorld(b)
			next := swpt.CreditorID(1 << 50)
			batch := make([]*smp.CandidateOffer, size)
			w.measure(b, size, func() {
				for i := range batch {
					next++
					batch[i] = offer(-int64(next%1_000_000) - minTradeAmount)
					batch[i].CreditorID = next * 7919 % (1 << 51) // in no order
				}
			}, func(ctx context.Context, tx *workerdb.Tx) error {
				return w.rules.HandleCandidateOffers(ctx, tx, now, batch)
			})
			if n := w.count("account_lock"); n != otherLocks+size*b.N {
				b.Errorf("there are %d locks", n)
			}
		})
	}
}

// BenchmarkHandlePreparedTransfers measures transactions in which locks become prepared.
func BenchmarkHandlePreparedTransfers(b *testing.B) {
	for _, size := range batchSizes {
		b.Run(fmt.Sprintf("messages=%d", size), func(b *testing.B) {
			w := newCrowdedWorld(b)
			batch := make([]*smp.PreparedTransfer, size)
			first := int64(0)
			w.measure(b, size, func() {
				first += int64(size)
				w.exec(`INSERT INTO account_lock SELECT n * 7919, $1, $2, $3, $4, -n, -10000
					FROM generate_series($5::BIGINT, $5::BIGINT + $6 - 1) AS n`, debtor, turn, collector, began, first, size)
				for i := range batch {
					id := first + int64(i*7919%size)
					batch[i] = preparedTransfer(-id)
					batch[i].CreditorID, batch[i].CoordinatorID = swpt.CreditorID(id*7919), id*7919
				}
			}, func(ctx context.Context, tx *workerdb.Tx) error {
				rest, err := w.rules.HandlePreparedTransfers(ctx, tx, now, batch)
				if len(rest) > 0 {
					return fmt.Errorf("the rest is %d messages", len(rest))
				}
				return err
			})
		})
	}
}

// newCrowdedWorld returns a world in which many accounts are locked already.
func newCrowdedWorld(b *testing.B) *world {
	b.Helper()
	w := newWorld(b)
	w.exec(`INSERT INTO account_lock SELECT n * 7919 + 1, $1, $2 - 1, $3, $4, nextval('coordinator_request_id_seq'), -10000, 9
		FROM generate_series(1, $5::BIGINT) AS n`, debtor, turn, collector, began, otherLocks)
	w.exec("VACUUM ANALYZE account_lock")
	return w
}

// measure runs transactions, and reports how many messages they handle in a second, and how much time of a processor
// each message costs this process.
func (w *world) measure(b *testing.B, size int, prepare func(), handle func(context.Context, *workerdb.Tx) error) {
	b.Helper()
	var busy time.Duration
	for b.Loop() {
		b.StopTimer()
		prepare()
		before := processorTime(b)
		b.StartTimer()
		w.inTx(handle)
		busy += processorTime(b) - before
	}
	handled := float64(size * b.N)
	b.ReportMetric(handled/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(busy.Microseconds())/handled, "cpu-us/message")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
