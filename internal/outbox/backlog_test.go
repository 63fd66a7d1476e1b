package outbox_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
)

func TestBacklogs(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	if backlogs, err := outbox.Backlogs(t.Context(), w.db); err != nil || len(backlogs) > 0 {
		t.Errorf("an empty outbox has the backlogs %v, %v", backlogs, err)
	}
	w.append(t, finalize(1, 1), finalize(1, 2), finalize(1, 3), numbered(1))
	w.exec(t, `UPDATE outbox SET appended_at = now() - INTERVAL '1 hour' WHERE creditor_id = 2;
		UPDATE outbox SET appended_at = now() - INTERVAL '2 hours', retry_at = now() + INTERVAL '1 hour' WHERE creditor_id = 3`)
	backlogs, err := outbox.Backlogs(t.Context(), w.db)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, backlog := range backlogs {
		age := time.Since(backlog.OldestAt).Round(time.Hour)
		got = append(got, fmt.Sprint(backlog.Type, " ", backlog.Returned, " ", backlog.Records, " ", age))
	}
	slices.Sort(got)
	want := []string{"FinalizeTransfer false 2 1h0m0s", "FinalizeTransfer true 1 2h0m0s", "ReviseAccountLock false 1 0s"}
	if !slices.Equal(got, want) {
		t.Errorf("the backlogs are %q, want %q", got, want)
	}
}

func TestBacklogsAreCountedUpToALimit(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.exec(t, `INSERT INTO outbox (type, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, body)
		SELECT 'StartSending', 0, 0, 0, 0, '', '' FROM generate_series(1, 100001)`)
	backlogs, err := outbox.Backlogs(t.Context(), w.db)
	if err != nil || len(backlogs) != 1 || backlogs[0].Records != outbox.MaxCounted {
		t.Errorf("the backlogs are %v, %v", backlogs, err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(outbox.NewBacklogCollector(w.db, w.log.logger()))
	config := w.config()
	config.Metrics = outbox.NewMetrics(registry)
	config.DeleteParentRecords = true
	config.Types = []string{smp.TypeFinalizeTransfer}
	w.append(t, finalize(unconnected, 1), finalize(connected, 2), finalize(connected, 3))
	flush(t, config)

	err := testutil.GatherAndCompare(registry, strings.NewReader(`
		# HELP trade_outbox_flushed_records_total Messages from the outbox by what became of them: confirmed by the broker and deleted, returned by the broker and kept, or deleted unsent because they were left over from the parent shard.
		# TYPE trade_outbox_flushed_records_total counter
		trade_outbox_flushed_records_total{outcome="confirmed",type="FinalizeTransfer"} 2
		trade_outbox_flushed_records_total{outcome="left_over",type="FinalizeTransfer"} 0
		trade_outbox_flushed_records_total{outcome="returned",type="FinalizeTransfer"} 1
	`), "trade_outbox_flushed_records_total")
	if err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	w.append(t, finalize(connected, 4))
	w.exec(t, `UPDATE outbox SET appended_at = now() - CASE WHEN retry_at IS NULL THEN INTERVAL '1 hour' ELSE INTERVAL '2 hours' END`)
	hours := func(seconds float64) float64 { return math.Round(seconds / 3600) }
	if got := byTypeAndState(t, registry, "trade_outbox_records"); got["FinalizeTransfer pending"] != 1 ||
		got["FinalizeTransfer returned"] != 1 || got["StartSending pending"] != 0 || len(got) != 2*len(outbox.Types()) {
		t.Errorf("the outbox holds %v", got)
	}
	if got := byTypeAndState(t, registry, "trade_outbox_oldest_record_age_seconds"); hours(got["FinalizeTransfer pending"]) != 1 ||
		hours(got["FinalizeTransfer returned"]) != 2 || got["StartSending pending"] != 0 || len(got) != 2*len(outbox.Types()) {
		t.Errorf("the oldest messages are of %v", got)
	}

	// The rest of the metrics is there when the database is not.
	w.db.Close()
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
	if log := w.log.String(); !strings.Contains(log, "no metrics of the outbox") {
		t.Errorf("the log says:\n%s", log)
	}
}

// byTypeAndState returns the values of a gauge with these labels.
func byTypeAndState(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			values[labels["type"]+" "+labels["state"]] = metric.GetGauge().GetValue()
		}
	}
	return values
}
