package turn_test

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkTrade clears markets of several sizes, and publishes the results. The time is divided into reading the market,
// clearing it, and writing the results, without the commit.
func BenchmarkTrade(b *testing.B) {
	for _, traders := range []int{2_500, 25_000} {
		m := synthetic(1000, traders)
		b.Run(fmt.Sprintf("%d offers", len(m.sells)+len(m.buys)), func(b *testing.B) {
			var read, clearing, writing float64
			for b.Loop() {
				b.StopTimer()
				s := newSolver(b)
				s.Settings.BaseLocator, s.Settings.BaseDebtorID = m.currencies[0].Locator, m.currencies[0].DebtorID
				s.tick()
				m.report(b, s.db, 1)
				s.clock.advance(11 * time.Minute)
				s.tick()
				m.offer(b, s.db, 1)
				s.clock.advance(61 * time.Minute)
				b.StartTimer()
				s.tick()
				b.StopTimer()
				var seconds [3]float64
				err := s.db.Pool().QueryRow(b.Context(), `SELECT read_seconds, clear_seconds, write_seconds FROM trade_turn_summary`).
					Scan(&seconds[0], &seconds[1], &seconds[2])
				if err != nil {
					b.Fatal(err)
				}
				read, clearing, writing = read+seconds[0], clearing+seconds[1], writing+seconds[2]
				b.StartTimer()
			}
			b.ReportMetric(read/float64(b.N), "read-s/op")
			b.ReportMetric(clearing/float64(b.N), "clear-s/op")
			b.ReportMetric(writing/float64(b.N), "write-s/op")
		})
	}
}
