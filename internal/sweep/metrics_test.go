package sweep_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/sweep"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := sweep.Sweeper{Table: "dispatching_statuses", Metrics: sweep.NewMetrics(registry)}
	if err := s.RunOnce(t.Context()); err != nil { // there is nothing to do
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("problems are %v, %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 4 {
		t.Errorf("%d values are there from the beginning, %v", n, err)
	}
}

// The time of the latest pass is that of the start at first: whoever is often replaced does not look idle.
func TestLatestPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addMany(1)
	s := w.sweeper("recently_needed_collectors")
	s.Pace = config.Sweep{Duration: 365 * day, BlocksPerQuery: 1, Beat: time.Millisecond}
	s.Int64N = func(int64) int64 { return 0 }
	mustBe := func(want time.Time) {
		t.Helper()
		testenv.Eventually(t, patience, func() error {
			got := w.gauges("trade_sweep_latest_pass_timestamp_seconds")
			if len(got) != 1 || got[s.Table] != float64(want.Unix()) {
				return fmt.Errorf("the latest passes were at %v, want %d", got, want.Unix())
			}
			return nil
		})
	}
	stop := w.start(s.Run)
	mustBe(now)
	stop()
	s.Now = func() time.Time { return now.Add(time.Hour) }
	w.sweepOnce(s)
	mustBe(now.Add(time.Hour))

	// Nothing is ever deleted here, so no pass is missing.
	idle := w.sweeper("dispatching_statuses")
	w.sweepOnce(idle)
	mustBe(now.Add(time.Hour))
}
