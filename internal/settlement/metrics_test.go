package settlement_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/settlement"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	collector := settlement.NewCollector(w.DB, w.log.logger())
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	mustTell := func(want string) {
		t.Helper()
		names := []string{"trade_settlement_outstanding_tokens", "trade_settlement_statuses", "trade_settlement_early_receipts"}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
	}
	const (
		amountsHead = `# HELP trade_settlement_outstanding_tokens Tokens, of all currencies, that collectors of turns under way still have to collect, send, receive, or dispatch, as the turn was decided.
# TYPE trade_settlement_outstanding_tokens gauge
`
		statusesHead = `# HELP trade_settlement_statuses Currencies of collectors in turns under way, by what they are waiting for.
# TYPE trade_settlement_statuses gauge
`
		earlyHead = `# HELP trade_settlement_early_receipts News of transfers that came before what they are about was known, counted up to a limit.
# TYPE trade_settlement_early_receipts gauge
`
	)
	mustTell(earlyHead + "trade_settlement_early_receipts 0\n")

	amounts := settlement.Amounts{ToCollect: 10, ToSend: 5, ToReceive: 3, ToDispatch: 8}
	for i, state := range []string{"", awaitingSending, sending, allSent, awaitingDispatching, dispatching} {
		w.addStatus(t, hub, amounts, state)
		w.exec(t, `UPDATE dispatching_status SET debtor_id = $1, inserted_at = $2 WHERE debtor_id = $3`,
			1000+i, time.Now().Add(-time.Hour), debtor)
	}
	w.exec(t, `INSERT INTO early_receipt VALUES (1, 2, 3, 4, TRUE, 5, now())`)
	mustTell(amountsHead + `trade_settlement_outstanding_tokens{movement="collect",turn="7"} 20
trade_settlement_outstanding_tokens{movement="dispatch",turn="7"} 48
trade_settlement_outstanding_tokens{movement="receive",turn="7"} 15
trade_settlement_outstanding_tokens{movement="send",turn="7"} 15
` + statusesHead + `trade_settlement_statuses{step="collecting",turn="7"} 2
trade_settlement_statuses{step="dispatching",turn="7"} 1
trade_settlement_statuses{step="receiving",turn="7"} 2
trade_settlement_statuses{step="sending",turn="7"} 1
` + earlyHead + "trade_settlement_early_receipts 1\n")
	if got := gauge(t, registry, "trade_settlement_oldest_status_age_seconds"); got < 3600 || got > 3700 {
		t.Errorf("the oldest status is %v seconds old", got)
	}

	w.exec(t, `DELETE FROM dispatching_status`)
	for n := range 15 {
		w.addStatus(t, hub, amounts, "")
		w.exec(t, `UPDATE dispatching_status SET turn_id = $1 WHERE turn_id = $2`, 1000+n, turn)
	}
	if got := testutil.CollectAndCount(collector, "trade_settlement_statuses"); got != 11*4 {
		t.Errorf("there are %d values", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	older := map[string]float64{} // by movement
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if labels := m.GetLabel(); family.GetName() == "trade_settlement_outstanding_tokens" && labels[1].GetValue() == "older" {
				older[labels[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if want := map[string]float64{"collect": 50, "send": 25, "receive": 15, "dispatch": 40}; !maps.Equal(older, want) {
		t.Errorf("outstanding of older turns is %v, want %v", older, want)
	}
}

// A database that does not answer is told of in the log, and nothing else breaks.
func TestMetricsWithoutDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(settlement.NewCollector(w.DB, w.log.logger()))
	w.exec(t, `DROP TABLE early_receipt`)
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("%v, %v", families, err)
	}
	if !w.log.has("there are no metrics of the settlement of turns") {
		t.Error("there is nothing in the log")
	}
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
