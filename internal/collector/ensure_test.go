package collector_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
)

func TestEnsure(t *testing.T) {
	t.Parallel()
	w := &world{solver: solverdbtest.New(t)}
	ensure := func(n int64, want int, at time.Time) {
		t.Helper()
		if added, err := collector.Ensure(t.Context(), w.solver, pool, debtor, n, at); added != want || err != nil {
			t.Errorf("for %d collectors, %d were added: %v", n, added, err)
		}
	}
	ensure(1, 1, now)
	ensure(1, 0, now)
	mustBe(t, "collector", lines(t, w.solver.DB, `SELECT concat_ws(' ', debtor_id, collector_id, collector_hash, status,
		account_id = '', latest_status_change_at = $1) FROM collector_account`, now),
		fmt.Sprintf("%d %d %d 0 t t", debtor, first, shard.KeyOf(first).Hash16()))

	exec(t, w.solver.DB, "UPDATE collector_account SET status = 3")
	ensure(2, 2, now.Add(time.Hour))
	mustBe(t, "statuses", lines(t, w.solver.DB, "SELECT status::TEXT FROM collector_account ORDER BY latest_status_change_at"),
		"3", "0", "0")
	exec(t, w.solver.DB, "UPDATE collector_account SET status = debtor_id % 2 + 1 WHERE status = 0")
	ensure(2, 0, now)
	ensure(0, 0, now)
	ensure(-1, 0, now)
	ensure(1535, 1533, now)
	before := w.collectors(t)
	for _, n := range []int64{1536, collector.MaxCollectors, collector.MaxCollectors + 1} {
		_, err := collector.Ensure(t.Context(), w.solver, pool, debtor, n, now)
		if tooMany := n > collector.MaxCollectors; errors.Is(err, collector.ErrTooMany) != tooMany ||
			errors.Is(err, collector.ErrPoolTooSmall) == tooMany {
			t.Errorf("%d collectors: %v", n, err)
		}
	}
	ensure(1535, 0, now)
	mustBe(t, "collectors", w.collectors(t), before...)
	if _, err := collector.Ensure(t.Context(), w.solver, pool, debtor+1, 1, now); err != nil {
		t.Errorf("another debtor: %v", err)
	}
}

// However many ask for collectors at the same time, there will be exactly as many as the one who wants most has asked for.
func TestEnsureRaces(t *testing.T) {
	t.Parallel()
	w := &world{solver: solverdbtest.New(t)}
	const rounds, racers = 10, 12
	for round := range rounds {
		exec(t, w.solver.DB, "DELETE FROM collector_account")
		if round%2 == 1 {
			w.addCollector(t, first, 3, "", now)
			w.addCollector(t, second, 2, "7", now)
		}
		start := make(chan struct{})
		added := make([]int, racers)
		var group errgroup.Group
		for racer := range racers {
			group.Go(func() (err error) {
				<-start
				added[racer], err = collector.Ensure(t.Context(), w.solver, pool, debtor, int64(racer%4+1), now)
				return err
			})
		}
		close(start)
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, n := range added {
			total += n
		}
		if got := len(w.collectors(t)); got != 4+round%2 || total != 4-round%2 {
			t.Fatalf("round %d: there are %d collectors, of which %v were added", round, got, added)
		}
	}
}
