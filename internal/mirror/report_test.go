package mirror_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const reportQuery = `SELECT routing_key, version, reported_at, turn_id, phase, subphase, outbox_backlog,
	ARRAY(SELECT jsonb_object_keys(oldest_outbox_at)), overdue_fetches, overdue_transfer_attempts, unfinished_dispatchings
	FROM trade_worker_report`

// Each pass leaves one report of the shard, which replaces the one before.
func TestReport(t *testing.T) {
	t.Parallel()
	n := newNode(t, "0.1.#", nil)
	n.roll(t)
	mustHold(t, n.solver.DB, reportQuery, `(0.1.#,v1.2.3,"2026-03-10 02:00:00+00",,,,{},{},0,0,0)`)

	n.startAt(t, 3, 0)
	n.inSolver(t, `INSERT INTO turn VALUES (69999, now(), 'x', 1, 1, 1, 4, NULL, now(), now())`)
	n.inWorker(t, `
		INSERT INTO worker_turn VALUES (69999, now(), 'x', 1, 1, 1, 3, NULL, now(), now(), 0);
		INSERT INTO debtor_info_fetch (iri, host, debtor_id, is_locator_fetch, is_discovery_fetch, recursion_level, inserted_at, next_attempt_at)
		VALUES
			('a', 'a', 1, true, true, 0, 'epoch', '2026-03-10 03:10:59Z'), ('b', 'b', 1, true, true, 0, 'epoch', '2026-03-10 03:11:01Z');
		INSERT INTO transfer_attempt (collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount,
			collection_started_at, inserted_at, recipient, recipient_version, rescheduled_for)
		VALUES
			(1, 1, 1, 1, true, 5, now(), now(), '', 0, '2026-03-10 03:10:59Z'),
			(1, 1, 1, 2, true, 5, now(), now(), '', 0, '2026-03-10 03:00:00Z'),
			(1, 1, 1, 3, true, 5, now(), now(), '', 0, '2026-03-10 03:11:01Z'),
			(1, 1, 1, 4, true, 5, now(), now(), '', 0, NULL);
		INSERT INTO dispatching_status VALUES (1, 1, 1, now(), 0, 0, 0, 0, 0, 0), (1, 1, 2, now(), 0, 0, 0, 0, 0, 0),
			(1, 1, 3, now(), 0, 0, 0, 0, 0, 0)`)
	err := n.worker.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		message := &smp.NeededCollector{DebtorID: 1, TS: turnStart}
		return outbox.Append(ctx, tx, message, message, &smp.DiscoverDebtor{DebtorID: 1, IRI: "x", TS: turnStart})
	})
	if err != nil {
		t.Fatal(err)
	}
	// The broker has returned one of them.
	n.inWorker(t, `UPDATE outbox SET retry_at = now(), appended_at = now() - INTERVAL '1 hour'
		WHERE id = (SELECT max(id) FROM outbox WHERE type = 'NeededCollector')`)
	n.rollAt(t, collectionStart)
	mustHold(t, n.solver.DB, reportQuery, `(0.1.#,v1.2.3,"2026-03-10 03:11:00+00",70000,3,10,`+
		`"{""DiscoverDebtor"": 1, ""NeededCollector"": 2}","{DiscoverDebtor,NeededCollector}",1,2,3)`)
	appended := read(t, n.worker.DB, `SELECT min(appended_at)::TEXT FROM outbox WHERE type = 'NeededCollector'`)
	reported := read(t, n.solver.DB,
		`SELECT (oldest_outbox_at->>'NeededCollector')::TIMESTAMPTZ::TEXT FROM trade_worker_report`)
	if appended[0] != reported[0] {
		t.Errorf("the oldest message is reported to be of %s, want %s", reported, appended)
	}
}

// Shards that do not exist any more are forgotten.
func TestOldReports(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.roll(t)
	n.inSolver(t, `
		UPDATE trade_worker_report SET routing_key = '0.#', reported_at = $1`, turnStart.Add(-30*day))
	n.roll(t)
	mustHold(t, n.solver.DB, `SELECT routing_key FROM trade_worker_report`, "(0.#)", "(#)")
	n.rollAt(t, turnStart.Add(time.Microsecond))
	mustHold(t, n.solver.DB, `SELECT routing_key FROM trade_worker_report`, "(#)")
}

// A solver database that has no table for reports is told of once, and does not keep anybody from rolling turns.
func TestNoTableForReports(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.inSolver(t, `ALTER TABLE trade_worker_report RENAME TO hidden`)
	n.startTurn(t)
	n.roll(t)
	n.roll(t)
	n.mustBeAt(t, theTurn, 1, 10)
	n.mustComplain(t, "trade configure solver")
	n.inSolver(t, `ALTER TABLE hidden RENAME TO trade_worker_report`)
	n.roll(t)
	mustHold(t, n.solver.DB, `SELECT routing_key FROM trade_worker_report`, "(#)")
	n.mustComplain(t, "trade configure solver")
}

func TestReportThatFails(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.inSolver(t, `ALTER TABLE trade_worker_report ADD CHECK (false)`)
	n.startTurn(t)
	n.roll(t)
	n.mustBeAt(t, theTurn, 1, 10)
	n.mustComplain(t, "cannot report")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	registry := prometheus.NewPedanticRegistry()
	n.roller.Metrics = mirror.NewMetrics(registry)
	n.startAt(t, 1, 0)
	n.fill(t)
	n.roll(t)
	n.toPhase(t, 3)
	n.rollAt(t, collectionStart)
	for name, want := range map[string]float64{
		`trade_worker_turn_id`:                                      theTurn,
		`trade_worker_turn_phase`:                                   3,
		`trade_worker_turn_subphase`:                                10,
		`trade_worker_turn_rows_total debtor_info`:                  5,
		`trade_worker_turn_rows_total worker_collecting`:            2,
		`trade_worker_turn_rows_total ReviseAccountLock`:            3,
		`trade_worker_turn_rows_total creditor_taking`:              2,
		`trade_worker_turn_step_duration_seconds report_currencies`: 1,
		`trade_worker_turn_step_duration_seconds copy_results`:      1,
		`trade_worker_turn_step_duration_seconds clean_up`:          1,
		`trade_worker_turn_step_duration_seconds pour_offers`:       0,
	} {
		if got := valueOf(t, registry, name); got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// valueOf returns the value of a metric, or the count of a histogram, by its name and the value of its label.
func valueOf(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			full := family.GetName()
			if labels := metric.GetLabel(); len(labels) > 0 {
				full += " " + labels[0].GetValue()
			}
			if full == name {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
