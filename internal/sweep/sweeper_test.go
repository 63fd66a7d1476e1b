package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/sweep"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const patience = 30 * time.Second

// start sweeps in the background, until the test ends or it is told to stop.
func (w *world) start(run func(context.Context) error) (stop func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(stop)
	return stop
}

// addMany adds a thousand times n rows that have expired.
func (w *world) addMany(n int) {
	w.Helper()
	w.exec(`INSERT INTO recently_needed_collector SELECT generate_series(1, 1000 * $1::BIGINT), 'epoch'`, n)
}

func (w *world) count(relation string) (count int) {
	w.Helper()
	if err := w.Pool().QueryRow(w.Context(), `SELECT count(*) FROM `+relation).Scan(&count); err != nil {
		w.Fatal(err)
	}
	return count
}

// A pass comes to each page, however many it reads at a time.
func TestWholeTable(t *testing.T) {
	t.Parallel()
	for _, blocks := range []int{1, 7, 40, 1000} {
		t.Run(strconv.Itoa(blocks), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.addMany(10)
			s := w.sweeper("recently_needed_collectors")
			s.Pace = config.Sweep{Duration: 365 * day, BlocksPerQuery: blocks, Beat: time.Millisecond}
			w.sweepOnce(s)
			if n := w.count("recently_needed_collector"); n != 0 {
				t.Errorf("%d rows are left", n)
			}
			if n := w.metric("trade_sweep_passes_total", map[string]string{"table": s.Table}); n != 1 {
				t.Errorf("it takes %v passes", n)
			}
			if n := w.metric("trade_sweep_progress_ratio", map[string]string{"table": s.Table}); n != 1 {
				t.Errorf("it ends at %v", n)
			}
		})
	}
}

// Wherever it begins, a sweep comes to all pages, and goes on for ever.
func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.sweeper("recently_needed_collectors")
	s.Pace.BlocksPerQuery = 5
	s.Int64N = func(n int64) int64 { return n - 1 }
	stop := w.start(s.Run)
	for range 3 {
		w.addMany(3)
		testenv.Eventually(t, patience, func() error {
			if n := w.count("recently_needed_collector"); n != 0 {
				return fmt.Errorf("%d rows are left", n)
			}
			return nil
		})
	}
	stop()
	w.addMany(3)
	var pages atomic.Int64
	s = w.sweeper("recently_needed_collectors")
	s.Pace.Duration = 365 * day
	s.Pace.BlocksPerQuery = 1
	s.Int64N = func(n int64) int64 { pages.Store(n); return n / 2 }
	w.start(s.Run)
	testenv.Eventually(t, patience, func() error {
		progress := w.metric("trade_sweep_progress_ratio", map[string]string{"table": s.Table})
		if progress < 0.48 || progress > 0.5+2/float64(pages.Load()) {
			return fmt.Errorf("it is at %v", progress)
		}
		return nil
	})
}

// Where there is nothing to do, nothing is done.
func TestIdleSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, table := range []string{"interest_rate_changes", "needed_worker_accounts", "dispatching_statuses"} {
		s := w.sweeper(table)
		s.Int64N, s.Now = nil, nil
		w.sweepOnce(s)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := s.Run(ctx); err != nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("%s: it ends: %v", table, err)
		}
		cancel()
	}
}

// A table that is not there is a failure.
func TestFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`DROP TABLE worker_sending`)
	if err := w.sweeper("worker_sendings").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "worker_sending") {
		t.Errorf("it ends with %v", err)
	}
}

// What somebody else works on is left alone, without waiting.
func TestLockedRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurns()
	for table, variants := range expiries {
		for i, v := range variants {
			if v.gone {
				w.add(table, i, v.change)
			}
		}
	}
	failure := errors.New("stop")
	err := w.InTx(t.Context(), "lock", func(ctx context.Context, tx *workerdb.Tx) error {
		for table, k := range kinds {
			if _, err := tx.Exec(ctx, `SELECT FROM `+k.relation+` FOR UPDATE`); err != nil {
				return err
			}
			before := len(w.keys(table))
			w.sweepOnce(w.sweeper(table))
			if after := len(w.keys(table)); after != before {
				t.Errorf("%s: of %d locked rows, %d are left", table, before, after)
			}
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	for table := range expiries {
		w.sweepOnce(w.sweeper(table))
		w.mustHave(table)
	}
}

// expiring has, for each table, what makes a row one to be deleted, and what somebody else does to it at the last moment,
// so that it has to stay. In the other tables, nothing expires.
var expiring = map[string]struct{ expire, renew string }{
	"debtor_info_documents":      {"fetched_at = 'epoch'", "fetched_at = " + at(0)},
	"debtor_locator_claims":      {"latest_discovery_fetch_at = 'epoch'", "latest_discovery_fetch_at = " + at(0)},
	"trading_policies":           {useless, "principal = 5"},
	"worker_accounts":            {"last_heartbeat_ts = 'epoch'", "last_heartbeat_ts = " + at(0)},
	"recently_needed_collectors": {"needed_at = 'epoch'", "needed_at = " + at(0)},
	"account_locks":              {"turn_id = 3, transfer_id = 1", "finalized_at = " + at(0)},
	"creditor_participations":    {"turn_id = 5", "turn_id = 4"},
	"worker_collectings":         {"purge_after = 'epoch'", "collected = TRUE"},
	"worker_sendings":            {"purge_after = 'epoch'", "purge_after = 'infinity'"},
	"worker_receivings":          {"purge_after = 'epoch'", "received_amount = 1"},
	"worker_dispatchings":        {"purge_after = 'epoch'", "purge_after = 'infinity'"},
	"transfer_attempts":          {"collection_started_at = 'epoch'", "collection_started_at = " + at(0)},
}

// A row that somebody needs at the last moment stays: the update either finds no row, or the row survives. What is left
// over from the parent shard goes, and what is not stays, whoever works on it.
func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurns()
	realm, err := shard.ParseRealm("1.#")
	if err != nil {
		t.Fatal(err)
	}
	for table, k := range kinds {
		change, expires := expiring[table]
		s := w.sweeper(table)
		if !expires {
			change.renew = k.key + " = " + k.key
			s.Realm, s.DeleteParentRecords = realm, true
		}
		saved, lost := w.write(s, change.expire, change.renew)
		w.sweepOnce(s)
		var want []any
		for _, i := range saved {
			key, place := k.keyOf(i)
			if expires || realm.Match(place) {
				want = append(want, key)
			}
		}
		w.mustHave(table, want...)
		for _, i := range lost {
			if _, place := k.keyOf(i); !expires && realm.Match(place) {
				t.Errorf("%s: row %d is deleted, which belongs to the shard", table, i)
			}
		}
		t.Logf("%s: %d rows are needed in time, %d too late", table, len(saved), len(lost))
	}
}

// write has several writers add rows that are to be deleted, and then need them, while a sweep goes on and on. It returns
// which rows they have found again, and which they have not.
func (w *world) write(s *sweep.Sweeper, expire, renew string) (saved, lost []int) {
	w.Helper()
	stop := w.start(func(ctx context.Context) error {
		for ctx.Err() == nil {
			// What is interrupted may hold locks for another moment, and the next sweep would leave out those rows.
			if err := s.RunOnce(w.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	defer stop()
	k := kinds[s.Table]
	statement := fmt.Sprintf(`UPDATE %s SET %s WHERE %s = $1`, k.relation, renew, k.key)
	var writers sync.WaitGroup
	var mu sync.Mutex
	for writer := range 4 {
		writers.Go(func() {
			for i := range 30 {
				i += 1000 * writer
				w.add(s.Table, i, expire)
				key, _ := k.keyOf(i)
				tag, err := w.Pool().Exec(w.Context(), statement, key)
				if err != nil {
					w.Error(err)
					return
				}
				mu.Lock()
				if tag.RowsAffected() > 0 {
					saved = append(saved, i)
				} else {
					lost = append(lost, i)
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	return saved, lost
}

// A sweep that is killed again and again, anywhere, dismisses the transfer of each lock that it deletes, once.
func TestKilledSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurns()
	const locks = 2000
	w.exec(`INSERT INTO account_lock
		SELECT i, 1, 3, 999999, `+at(0)+`, i, -1000, 9 FROM generate_series(1, $1::BIGINT) AS i`, locks)
	s := w.sweeper("account_locks")
	s.Pace.BlocksPerQuery = 1
	kills := 0
	for w.count("account_lock") > 0 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(20*time.Millisecond))))
		if s.RunOnce(ctx) != nil {
			kills++
		}
		cancel()
		if kills == 20 { // enough
			w.sweepOnce(s)
		}
	}
	var messages, transfers int
	err := w.Pool().QueryRow(t.Context(), `SELECT count(*), count(DISTINCT creditor_id) FROM outbox
		WHERE type = 'FinalizeTransfer'`).Scan(&messages, &transfers)
	if err != nil || messages != locks || transfers != locks {
		t.Errorf("%d transfers are dismissed, with %d messages, %v", transfers, messages, err)
	}
	t.Logf("it has been killed %d times", kills)
}

// A lock is dismissed if its transfer is prepared, and then only.
func TestDismissedLocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurns()
	for i, change := range []string{
		"turn_id = 3", "turn_id = 3, transfer_id = 1", "turn_id = 2, transfer_id = 1",
		"turn_id = 3, transfer_id = 1, finalized_at = 'epoch', initiated_at = 'epoch'",
		"initiated_at = 'epoch', transfer_id = 1",
	} {
		w.add("account_locks", i, change)
	}
	w.sweepOnce(w.sweeper("account_locks"))
	w.mustHave("account_locks", 2)
	var dismissed string
	err := w.Pool().QueryRow(t.Context(), `SELECT string_agg(type || ' ' || creditor_id, ', ' ORDER BY creditor_id)
		FROM outbox`).Scan(&dismissed)
	if err != nil || dismissed != "FinalizeTransfer 1, FinalizeTransfer 4" {
		t.Errorf("sent are %s, %v", dismissed, err)
	}
}

// A lock that could not be dismissed, because somebody else worked on it at that moment, is not just deleted.
func TestUndismissedLocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("account_locks", 1, "initiated_at = 'epoch', transfer_id = 1")
	s := w.sweeper("account_locks")
	s.DismissLocks = func(context.Context, *workerdb.Tx, time.Time, []lock.Account) (int, error) { return 0, nil }
	w.sweepOnce(s)
	w.mustHave("account_locks", 1)
}

// Who waits for something that will not come is told when the waiting is over, and not otherwise.
func TestNotifications(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener := postgres.NewListener(w.URL(), w.locks.Logger)
	heard, cancel := listener.Subscribe(workerdb.TopicSettlement)
	defer cancel()
	markers, cancelMarkers := listener.Subscribe("marker")
	defer cancelMarkers()
	w.start(listener.Run)
	<-heard // that there is a connection
	<-markers
	for table := range kinds {
		w.add(table, 1, "")
		s := w.sweeper(table)
		s.Now = func() time.Time { return now.Add(1000 * day) }
		for _, first := range []bool{true, false} {
			w.sweepOnce(s)
			err := w.InTx(t.Context(), "marker", func(_ context.Context, tx *workerdb.Tx) error {
				tx.NotifyOnCommit("marker")
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			<-markers
			got := false
			select {
			case <-heard:
				got = true
			default:
			}
			waitedFor := map[string]bool{
				"worker_collectings": true, "worker_receivings": true, "worker_sendings": true, "worker_dispatchings": true,
			}
			if got != (first && waitedFor[table]) {
				t.Errorf("%s: that something is deleted is told of: %t", table, got)
			}
		}
	}
}
