package settlement_test

import (
	"fmt"
	"testing"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// fill makes records of the hub, numbered from 1, as rows of the other columns.
func (w *world) fill(tb testing.TB, table, values string, count int) {
	tb.Helper()
	w.exec(tb, `INSERT INTO `+table+` SELECT $1, $2, $3, n, `+values+` FROM generate_series(1, $4::BIGINT) AS n`,
		hub, turn, debtor, count)
	w.exec(tb, `ANALYZE `+table)
}

// BenchmarkTransfers measures each kind of news of transfers, batch by batch, on tables of 100 thousand records.
func BenchmarkTransfers(b *testing.B) {
	const records = 100_000
	for _, kind := range []struct {
		name, table, values string
		rule                handler
	}{
		{"Collected", "worker_collecting", `100, FALSE, now()`, settlement.HandleCollected},
		{"Received", "worker_receiving", `100, 0, now()`, settlement.HandleReceived},
		{"Sent", "worker_sending", `100, now()`, settlement.HandleSent},
		{"Dispatched", "worker_dispatching", `100, now()`, settlement.HandleDispatched},
	} {
		for _, size := range []int{1, 10, 100, 500} {
			b.Run(fmt.Sprintf("%s/batch=%d", kind.name, size), func(b *testing.B) {
				w := newWorld(b)
				next, batch := records, make([]settlement.Transfer, size)
				for b.Loop() {
					if next+size > records {
						b.StopTimer()
						w.exec(b, `TRUNCATE `+kind.table)
						w.fill(b, kind.table, kind.values, records)
						next = 0
						b.StartTimer()
					}
					for i := range batch {
						next++
						batch[i] = transfer(swpt.CreditorID(next), 100)
					}
					w.handle(b, kind.rule, batch...)
				}
				b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "transfers/s")
			})
		}
	}
}

// BenchmarkStartDispatching measures the beginning of the dispatching of a status with many buyers, a half of whom get
// nothing.
func BenchmarkStartDispatching(b *testing.B) {
	for _, buyers := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("buyers=%d", buyers), func(b *testing.B) {
			w := newWorld(b)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				w.clear(b)
				w.exec(b, `TRUNCATE transfer_attempt, outbox`)
				w.fill(b, "worker_dispatching", `2 + 2 * (n % 2), now()`, buyers)
				total := int64(3 * buyers)
				w.addStatus(b, hub, settlement.Amounts{ToCollect: total, ToDispatch: total}, awaitingDispatching)
				w.exec(b, `UPDATE dispatching_status SET total_collected_amount = amount_to_collect / 3 + 1`)
				b.StartTimer()
				deliver(b, w, w.starter.HandleStartDispatchings, startDispatching(hub))
			}
			b.ReportMetric(float64(buyers*b.N)/b.Elapsed().Seconds(), "buyers/s")
		})
	}
}

// addStatuses adds statuses of the hub, in as many currencies.
func (w *world) addStatuses(tb testing.TB, count int, isAwaiting string) {
	tb.Helper()
	w.exec(tb, `
		INSERT INTO dispatching_status (
			collector_id, turn_id, debtor_id, inserted_at, amount_to_collect, amount_own_sold, amount_to_send,
			amount_to_receive, number_to_receive, amount_to_dispatch, awaiting_signal_flag
		)
		SELECT $1, $2, n, now(), 1000, 0, 1000, 0, 0, 0, `+isAwaiting+` FROM generate_series(1, $3::BIGINT) AS n`, hub, turn, count)
}

// BenchmarkManyStartSendings measures signals for many statuses in a batch, with ten sellers and two other collectors
// each.
func BenchmarkManyStartSendings(b *testing.B) {
	const batch = 500
	w := newWorld(b)
	for b.Loop() {
		b.StopTimer()
		w.clear(b)
		w.exec(b, `TRUNCATE transfer_attempt, outbox`)
		w.addStatuses(b, batch, `TRUE`)
		w.exec(b, `INSERT INTO worker_collecting SELECT collector_id, turn_id, debtor_id, n, 100, TRUE, now()
			FROM dispatching_status, generate_series(1, 10) AS n`)
		w.exec(b, `INSERT INTO worker_sending SELECT collector_id, turn_id, debtor_id, n, 500, now()
			FROM dispatching_status, generate_series(1, 2) AS n`)
		signals := make([]*smp.StartSending, batch)
		for i := range signals {
			signals[i] = startSending(hub)
			signals[i].DebtorID = swpt.DebtorID(1 + i)
		}
		b.StartTimer()
		deliver(b, w, w.starter.HandleStartSendings, signals...)
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "statuses/s")
}

// BenchmarkPass measures a pass over many statuses, all of which wait for something; and one in which all take a step,
// while the database still believes that they wait.
func BenchmarkPass(b *testing.B) {
	for _, count := range []int{1000, 100_000} {
		w := newWorld(b)
		w.addStatuses(b, count, `FALSE`)
		w.exec(b, `INSERT INTO worker_collecting SELECT collector_id, turn_id, debtor_id, n, 100, n = 1, now()
			FROM dispatching_status, generate_series(1, 2) AS n`)
		w.exec(b, `ANALYZE dispatching_status, worker_collecting`)
		b.Run(fmt.Sprintf("waiting/statuses=%d", count), func(b *testing.B) {
			for b.Loop() {
				w.roll(b)
			}
		})
		b.Run(fmt.Sprintf("stepping/statuses=%d", count), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				w.exec(b, `UPDATE worker_collecting SET collected = TRUE WHERE NOT collected`)
				w.exec(b, `UPDATE dispatching_status SET awaiting_signal_flag = FALSE WHERE awaiting_signal_flag`)
				w.exec(b, `TRUNCATE outbox`)
				b.StartTimer()
				w.roll(b)
			}
		})
	}
}
