package rulebook_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Who works with the rules can decide what chance would decide: which collector an offer is made to.
func TestChanceIsASetting(t *testing.T) {
	t.Parallel()
	for chosen := range 3 {
		n := newNode(t, "#")
		now := time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
		for i := range 3 {
			_, err := n.Pool().Exec(t.Context(), `INSERT INTO active_collector VALUES (1, $1, 'account')`, firstCollector+swpt.CreditorID(i))
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := n.Pool().Exec(t.Context(), `INSERT INTO worker_turn (turn_id, started_at, base_debtor_info_locator,
			base_debtor_id, max_distance_to_base, min_trade_amount, phase, phase_deadline, collection_started_at, collection_deadline, subphase)
			VALUES (1, $1, 'base', 1, 10, 1000, 2, $1::TIMESTAMPTZ + INTERVAL '1 day', $1, $1, 5)`, now)
		if err != nil {
			t.Fatal(err)
		}
		s := settings
		s.IntN = func(int) int { return chosen }
		metrics := rulebook.NewMetrics(prometheus.NewRegistry())
		handler := &inbox.Handler{
			Realm: n.realm, DB: n.DB, Rules: rulebook.New(n.realm, s, metrics, slog.New(slog.DiscardHandler)),
			Now: func() time.Time { return now }, Metrics: inbox.NewMetrics(prometheus.NewRegistry()),
		}
		offer := &smp.CandidateOffer{TurnID: 1, DebtorID: 1, CreditorID: firstCustomer, Amount: 5000, TS: now}
		if err := handler.Handle(t.Context(), []smp.Message{offer}); err != nil {
			t.Fatal(err)
		}
		var collector swpt.CreditorID
		err = n.Pool().QueryRow(t.Context(), `SELECT collector_id FROM account_lock`).Scan(&collector)
		if want := firstCollector + swpt.CreditorID(chosen); err != nil || collector != want {
			t.Errorf("the offer is made to collector %d, want %d; %v", collector, want, err)
		}
	}
}
