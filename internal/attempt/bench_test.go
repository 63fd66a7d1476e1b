package attempt_test

import (
	"fmt"
	"testing"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

var batchSizes = []int{1, 10, 100, 500}

// Collectors in benchmarks, each with some history of its interest rates.
const benchCollectors = 20

// newBusyBench returns a bench that has a lot to remember.
func newBusyBench(b *testing.B) *bench {
	b.Helper()
	bench := newBench(b)
	for i := range swpt.CreditorID(benchCollectors) {
		bench.account(b, i, "X", -5)
	}
	bench.exec(b, `INSERT INTO interest_rate_change
		SELECT creditor_id, debtor_id, change_ts + n * INTERVAL '8 days', -5 + n / 100.0
		FROM interest_rate_change, generate_series(1, 90) AS n`)
	var rows []workerdb.TransferAttempt
	for i := range 100_000 {
		row := waitingAttempt(int64(-1-i), 1, start.AddDate(1, 0, 0))
		row.CollectorID, row.CreditorID = swpt.CreditorID(i%benchCollectors), swpt.CreditorID(-1-i)
		rows = append(rows, row)
	}
	bench.insert(b, rows...)
	bench.exec(b, "ANALYZE")
	return bench
}

// measure measures how fast messages about new attempts are handled. row and message make the n-th of them.
func measure(b *testing.B, row func(n int64) workerdb.TransferAttempt, message func(n int64) smp.Message) {
	b.Helper()
	for _, size := range batchSizes {
		b.Run(fmt.Sprintf("messages=%d", size), func(b *testing.B) {
			bench := newBusyBench(b)
			b.ReportAllocs()
			var n int64
			for b.Loop() {
				b.StopTimer()
				var rows []workerdb.TransferAttempt
				var batch []smp.Message
				for range size {
					rows, batch = append(rows, row(n)), append(batch, message(n))
					n++
				}
				bench.insert(b, rows...)
				b.StartTimer()
				bench.handle(b, now, batch...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkHandlePreparedTransfers measures commits, with the transaction. Run it on a server that waits for the disk.
func BenchmarkHandlePreparedTransfers(b *testing.B) {
	row := func(n int64) workerdb.TransferAttempt {
		row := initiatedAttempt(n)
		row.CollectorID, row.CreditorID = swpt.CreditorID(n%benchCollectors), swpt.CreditorID(n)
		return row
	}
	measure(b, row, func(n int64) smp.Message {
		m := preparedTransfer(n, n)
		m.CreditorID, m.CoordinatorID = swpt.CreditorID(n%benchCollectors), n%benchCollectors
		return m
	})
}

// BenchmarkHandleTriggerTransfers measures attempts, with the transaction. Run it on a server that waits for the disk.
func BenchmarkHandleTriggerTransfers(b *testing.B) {
	row := func(n int64) workerdb.TransferAttempt {
		row := dueAttempt()
		row.CollectorID, row.CreditorID = swpt.CreditorID(n%benchCollectors), swpt.CreditorID(n)
		return row
	}
	measure(b, row, func(n int64) smp.Message { return triggerOf(row(n)) })
}
