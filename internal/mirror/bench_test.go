package mirror_test

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// Benchmarks of the steps that move many rows. Run them on a server that waits for the disk (scripts/services
// --durable).

const (
	benchPolicies = 100_000
	benchDebtors  = 1000
)

// measure runs a step once, as long as the benchmark goes on, and tells how fast the rows were, and how much memory
// there was at most. prepare puts the databases into the state before the step.
func measure(b *testing.B, n *node, moved int, prepare func()) {
	b.Helper()
	for b.Loop() {
		b.StopTimer()
		prepare()
		peak := watchHeap()
		b.StartTimer()
		n.roll(b)
		b.StopTimer()
		b.ReportMetric(peak()/1e6, "MB")
		b.StartTimer()
	}
	b.ReportMetric(float64(moved*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// watchHeap looks at the memory again and again, until peak is called, which returns how many bytes there were at most.
func watchHeap() (peak func() float64) {
	runtime.GC()
	var watching sync.WaitGroup
	stop := make(chan struct{})
	most := uint64(0)
	watching.Go(func() {
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for {
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapAlloc)
			select {
			case <-again.C:
			case <-stop:
				return
			}
		}
	})
	return func() float64 {
		close(stop)
		watching.Wait()
		return float64(most)
	}
}

// BenchmarkMakeOffers turns policies into candidate offers. Each trader has five policies, and all but the base's are
// offers: rows are policies.
func BenchmarkMakeOffers(b *testing.B) {
	n := newNode(b, "#", nil)
	n.now = phase1Deadline
	n.startAt(b, 2, 0)
	n.inSolver(b, `INSERT INTO currency_info
		SELECT 70000, 'L' || id, id, CASE WHEN id > 40 THEN 'L40' END, CASE WHEN id > 40 THEN 40 END, 1 + id % 10, true
		FROM generate_series(40, $1) AS id`, 40+benchDebtors)
	n.inWorker(b, `
		INSERT INTO trading_policy (creditor_id, debtor_id, account_id, policy_name, principal, min_principal, max_principal,
			peg_debtor_id, peg_exchange_rate)
		SELECT creditor, debtor, 'x', 'conservative', CASE n % 2 WHEN 0 THEN 0 ELSE 10000 END, 5000, 6000, 40, 1 + debtor % 10
		FROM
			(SELECT (random() * 1e18)::BIGINT AS creditor FROM generate_series(1, $1::INTEGER / 5)) AS creditors,
			generate_series(0, 4) AS n,
			LATERAL (SELECT 40 + (creditor + n) % $2 AS debtor) AS debtors`, benchPolicies, benchDebtors)
	n.inWorker(b, `ANALYZE trading_policy`)
	measure(b, n, benchPolicies, func() {
		n.inWorker(b, `TRUNCATE outbox; UPDATE worker_turn SET subphase = 0`)
	})
}

// benchLocks makes prepared locks, half of them for sells.
func (n *node) benchLocks(b *testing.B) {
	b.Helper()
	n.inWorker(b, `
		INSERT INTO account_lock (creditor_id, debtor_id, turn_id, collector_id, initiated_at, coordinator_request_id, amount,
			transfer_id)
		SELECT (random() * 1e18)::BIGINT, 40 + n % $2, 70000, 801, now(), n, CASE n % 2 WHEN 0 THEN -5000 ELSE 5000 END, n
		FROM generate_series(1, $1) AS n`, benchPolicies, benchDebtors)
	n.inWorker(b, `ANALYZE account_lock`)
}

func BenchmarkPourOffers(b *testing.B) {
	n := newNode(b, "#", nil)
	n.now = pouring.Add(time.Second)
	n.startAt(b, 2, 5)
	n.benchLocks(b)
	measure(b, n, benchPolicies, func() {
		n.inSolver(b, `TRUNCATE sell_offer, buy_offer`)
		n.inWorker(b, `UPDATE worker_turn SET subphase = 5`)
	})
}

// BenchmarkCopyResults copies results, half of which are takings, and cleans up. A row is what an account gives or
// gets; it is in two tables of the solver, and there is a lock.
func BenchmarkCopyResults(b *testing.B) {
	n := newNode(b, "#", nil)
	n.now = collectionStart
	n.startAt(b, 3, 0)
	n.benchLocks(b)
	measure(b, n, benchPolicies, func() {
		n.inWorker(b, `TRUNCATE outbox, creditor_participation, worker_collecting, worker_sending, worker_receiving,
			worker_dispatching, dispatching_status; UPDATE worker_turn SET subphase = 0`)
		n.inSolver(b, `TRUNCATE creditor_taking, creditor_giving, collector_collecting, collector_dispatching`)
		n.inSolver(b, `
			INSERT INTO creditor_taking SELECT 70000, n, 40 + n % 1000, n % 100, 5000, 801 FROM generate_series(1, 50000) AS n;
			INSERT INTO creditor_giving SELECT 70000, -n, 40 + n % 1000, n % 100, 5000, 801 FROM generate_series(1, 50000) AS n;
			INSERT INTO collector_collecting
				SELECT turn_id, debtor_id, creditor_id, amount, collector_id, 5 FROM creditor_taking;
			INSERT INTO collector_dispatching
				SELECT turn_id, debtor_id, creditor_id, amount, collector_id, 5 FROM creditor_giving`)
	})
}
