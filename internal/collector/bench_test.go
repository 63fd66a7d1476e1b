package collector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// BenchmarkAccountUpdates measures the handling of updates, each of which changes an account, in a database with many.
// Run it on a server that waits for the disk.
func BenchmarkAccountUpdates(b *testing.B) {
	const accounts = 20000
	for _, size := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			w := newWorld(b)
			exec(b, w.worker.DB, "INSERT INTO needed_worker_account SELECT $1::BIGINT + n % 100, n / 100, $2 FROM generate_series(0, $3) AS n",
				first, now, accounts-1)
			exec(b, w.worker.DB, `INSERT INTO worker_account
				SELECT creditor_id, debtor_id, '2026-01-01', $1, 0, 0, 0, 0, $1, 0, '7', 'https://a/', 0, $1, -50, 2592000, 500, $1
				FROM needed_worker_account`, now.Add(-day))
			exec(b, w.worker.DB, `INSERT INTO interest_rate_change
				SELECT creditor_id, debtor_id, $1::TIMESTAMPTZ - n * INTERVAL '8 days', -n FROM needed_worker_account, generate_series(1, 5) AS n`,
				now)
			exec(b, w.worker.DB, "ANALYZE")
			serial, batch := 0, make([]smp.Message, size)
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					serial++
					n := serial * 7919 % accounts
					batch[i] = update(func(m *smp.AccountUpdate) {
						m.CreditorID, m.DebtorID = first+swpt.CreditorID(n%100), swpt.DebtorID(n/100)
						m.CreationDate, m.LastChangeSeqnum = 20454, int32(serial)
						m.LastInterestRateChangeTS, m.InterestRate = now.Add(-8*day), -1
						m.LastChangeTS, m.TS = now.Add(-time.Hour), now.Add(time.Duration(serial)*time.Microsecond-time.Hour)
					})
				}
				w.handle(b, batch...)
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
