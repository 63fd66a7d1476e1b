package cli

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// Registries returns the registries of the servers, with all that they register before they run. Nothing is connected.
func Registries(t *testing.T, environment []string) map[string]*prometheus.Registry {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	load := func(settings any) {
		if _, err := config.Load(settings, configInput(environment)); err != nil {
			t.Fatal(err)
		}
	}
	var solver solverSettings
	load(&solver)
	s, err := newSolver(&solver, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)

	worker := workerSettings{}
	worker.Bursts.MessageTypes = outbox.Types()
	load(&worker)
	p, err := openPart(worker.PartSettings, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	_, closeClients, err := p.all(&worker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeClients)

	var web webServerSettings
	load(&web)
	registry := prometheus.NewRegistry()
	url, err := postgres.ParseURL(string(web.SolverDatabase.URL))
	if err != nil {
		t.Fatal(err)
	}
	db, err := solverdb.Open(url, postgres.Options{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := web.components(db, registry, logger); err != nil {
		t.Fatal(err)
	}
	return map[string]*prometheus.Registry{solverName: s.registry, workerName: p.registry, webServerName: registry}
}
