package diagnosis_test

import (
	"context"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/diagnosis"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

func exec(t *testing.T, db *postgres.DB, sql string) {
	t.Helper()
	if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	worker, solver := workerdbtest.New(t), solverdbtest.New(t)
	rules := &currency.Rules{DocumentExpiry: 7 * 24 * time.Hour, ClaimExpiry: 45 * 24 * time.Hour}
	configured := &diagnosis.Base{Locator: "https://base.example/unit", DebtorID: 1003, MaxDistance: 10}
	load := func(worker *workerdb.DB, solver *solverdb.DB, base *diagnosis.Base) *diagnosis.CurrencyReport {
		t.Helper()
		k, err := diagnosis.Load(t.Context(), worker, solver, base, rules, noon)
		if err != nil {
			t.Fatal(err)
		}
		return &diagnosis.Explain(k, 1001).Currencies[0]
	}
	must := func(got *diagnosis.CurrencyReport, want string) {
		t.Helper()
		if codes(got) != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	must(load(worker, solver, nil), "not_discovered no_collector")
	must(load(worker, nil, configured), "not_discovered no_collector")
	must(load(nil, solver, configured), "other_shard no_collector")

	exec(t, worker.DB, `
		INSERT INTO debtor_locator_claim VALUES (1001, 'https://agent.example/eur', '2026-03-10', '2026-03-10', NULL), (5, NULL, NULL, '2026-03-10', NULL);
		INSERT INTO debtor_info_document VALUES
			('https://agent.example/eur', 1001, 'https://agent.example/usd', 1002, 1.25, '2027-01-01', '2026-03-01'),
			('https://agent.example/usd', 1002, 'https://base.example/unit', 1003, 2, NULL, '2026-03-01');
		INSERT INTO debtor_info_fetch VALUES ('https://base.example/unit', 1003, TRUE, FALSE, NULL, 'base.example', 2, now(), 2, now(), 500, '2026-03-11')`)
	exec(t, solver.DB, `INSERT INTO collector_account VALUES (1001, 1, 1, '', 0, now()), (1001, 2, 1, '', 1, now()), (1001, 3, 1, '', 3, now())`)
	got := load(worker, solver, configured)
	must(got, "peg_unknown no_collector")
	if got.Reasons[0].Text != "https://base.example/unit has not been fetched; failed attempts: 2, the latest one with the status 500; it will be tried again 12 hours from now" ||
		got.Reasons[1].Text != "no collector is active; 2 will be, once their accounts are ready" {
		t.Errorf("got %+v", got.Reasons)
	}
	if len(got.Chain) != 2 || got.Chain[0].Expired || !got.Chain[1].Expired {
		t.Errorf("got %+v", got.Chain)
	}

	// The solver's database has what another worker knows.
	exec(t, solver.DB, `
		INSERT INTO turn VALUES (1, now(), 'old', 1, 2, 1000, 4, now(), now(), now()),
			(2, now(), 'https://base.example/unit', 1003, 2, 1000, 2, now(), now(), now());
		INSERT INTO currency_info VALUES (2, 'https://base.example/unit', 1003, NULL, NULL, NULL, FALSE), (1, 'old', 1, NULL, NULL, NULL, FALSE);
		INSERT INTO collector_account VALUES (1001, 4, 1, 'x', 2, now())`)
	got = load(worker, solver, nil)
	must(got, "")
	if *got.Price != 2.5 || *got.Distance != 2 || got.Collectors != 1 {
		t.Errorf("got %+v", got)
	}
	must(load(nil, solver, nil), "other_shard")

	// In phase 1, what has been reported so far.
	exec(t, solver.DB, `
		INSERT INTO turn VALUES (3, now(), 'https://base.example/unit', 1003, 10, 1000, 1, now(), NULL, NULL);
		INSERT INTO debtor_info VALUES (3, 'https://base.example/unit', 1003, NULL, NULL, NULL),
			(3, 'https://agent.example/eur', 1001, 'https://base.example/unit', 1003, 3);
		INSERT INTO confirmed_debtor VALUES (3, 1001, 'https://agent.example/eur')`)
	got = load(nil, solver, nil)
	must(got, "")
	if *got.Price != 3 || got.Chain[0].FetchedAt != nil {
		t.Errorf("got %+v", got)
	}

	// A worker alone knows what it has learned in earlier turns.
	exec(t, worker.DB, `
		INSERT INTO worker_turn VALUES (1, now(), 'https://base.example/unit', 1003, 2, 1000, 3, NULL, now(), now(), 10);
		INSERT INTO active_collector VALUES (1001, 7, 'x');
		INSERT INTO debtor_info_document VALUES ('https://base.example/unit', 1003, NULL, NULL, NULL, NULL, '2026-03-10')`)
	must(load(worker, nil, nil), "")

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := diagnosis.Load(canceled, worker, solver, nil, rules, noon); err == nil {
		t.Error("it does not fail")
	}
}
