package outbox_test

import (
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
	if err != nil || len(backlogs) != 2 {
		t.Fatalf("the backlogs are %v, %v", backlogs, err)
	}
	for _, backlog := range backlogs {
		age := time.Since(backlog.OldestAt).Round(time.Hour)
		switch {
		case backlog.Type == smp.TypeFinalizeTransfer && backlog.Pending == 2 && backlog.Returned == 1 && age == 2*time.Hour:
		case backlog.Type == smp.TypeReviseAccountLock && backlog.Pending == 1 && backlog.Returned == 0 && age == 0:
		default:
			t.Errorf("%+v is wrong", backlog)
		}
	}
}

func TestBacklogsAreCountedUpToALimit(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.exec(t, `INSERT INTO outbox (type, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, body)
		SELECT 'StartSending', 0, 0, 0, 0, '', '' FROM generate_series(1, 100001)`)
	backlogs, err := outbox.Backlogs(t.Context(), w.db)
	if err != nil || len(backlogs) != 1 || backlogs[0].Pending != outbox.MaxCounted {
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
	want := map[string]float64{"pending": 0, "returned": 1}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, family := range families {
		if family.GetName() != "trade_outbox_records" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			value := metric.GetGauge().GetValue()
			if labels["type"] == smp.TypeFinalizeTransfer && value != want[labels["state"]] ||
				labels["type"] != smp.TypeFinalizeTransfer && value != 0 {
				t.Errorf("%v is %v", labels, value)
			}
			found++
		}
	}
	if found != 2*len(outbox.Types()) {
		t.Errorf("there are %d values, want two for each type", found)
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
