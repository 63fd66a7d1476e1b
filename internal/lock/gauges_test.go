package lock_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/lock"
)

func TestLocksByState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock := func() time.Time { return now.Add(time.Hour) }
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(lock.NewCollector(w.db, clock, slog.New(slog.NewTextHandler(w.log, nil))))
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for i, state := range []string{
		"NULL, NULL, NULL, NULL, NULL",
		"7, NULL, NULL, NULL, NULL", "7, NULL, NULL, NULL, NULL",
		"7, now(), NULL, NULL, NULL",
		"7, now(), now(), '2026-01-01', 3", "7, now(), now(), '2026-01-01', 3", "7, now(), now(), '2026-01-01', 3",
	} {
		w.exec(`INSERT INTO account_lock (
			creditor_id, debtor_id, turn_id, collector_id, initiated_at, coordinator_request_id, amount,
			transfer_id, finalized_at, released_at, account_creation_date, account_last_transfer_number
		) VALUES ($1, 2, 3, 4, $2, $1, -5, `+state+`)`, i+1, now.Add(time.Duration(-i)*time.Second))
	}
	const want = `# HELP trade_lock_locks Account locks by state, of the first million.
# TYPE trade_lock_locks gauge
trade_lock_locks{state="initiated"} 1
trade_lock_locks{state="prepared"} 2
trade_lock_locks{state="released"} 3
trade_lock_locks{state="settled"} 1
# HELP trade_lock_oldest_age_seconds Age of the oldest account lock in a state, of the first million; zero if there is none.
# TYPE trade_lock_oldest_age_seconds gauge
trade_lock_oldest_age_seconds{state="initiated"} 3600
trade_lock_oldest_age_seconds{state="prepared"} 3602
trade_lock_oldest_age_seconds{state="released"} 3606
trade_lock_oldest_age_seconds{state="settled"} 3603
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}

	w.exec("DELETE FROM account_lock")
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`# HELP trade_lock_locks Account locks by state, of the first million.
# TYPE trade_lock_locks gauge
trade_lock_locks{state="initiated"} 0
trade_lock_locks{state="prepared"} 0
trade_lock_locks{state="released"} 0
trade_lock_locks{state="settled"} 0
`), "trade_lock_locks"); err != nil {
		t.Error(err)
	}

	w.exec("DROP TABLE account_lock")
	if count, err := testutil.GatherAndCount(registry); err != nil || count != 0 {
		t.Errorf("%d metrics of what is not there, %v", count, err)
	}
	if !strings.Contains(w.log.String(), "there are no metrics of account locks") {
		t.Errorf("the log is %s", w.log)
	}
}
