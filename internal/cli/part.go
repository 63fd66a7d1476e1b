package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/attempt"
	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// PartSettings are what all parts of a worker need to know.
type PartSettings struct {
	Common
	config.Status
	config.WorkerDatabase
	config.Pools
	config.Shard
	config.ParentShard
}

// A part is what a part of a worker works with, or all parts of a worker do together. Whoever opens one has to run it.
type part struct {
	settings PartSettings
	logger   *slog.Logger
	registry *prometheus.Registry
	db       *workerdb.DB
	solver   *solverdb.DB // of parts that need it
	checks   []server.Check
	claim    claim

	// Once has a part end when it has looked once at what there is to do.
	once bool

	// StandBy has a part that another process does already wait until that process ends, instead of giving up.
	standBy bool

	commits *postgres.Listener // to the worker's database
	turns   *postgres.Listener // to the solver database

	// Metrics that are shared by all who work on a subject. A process has those that it uses.
	brokers    *broker.Metrics
	collectors *collector.Metrics
	locks      *lock.Metrics
	attempts   *attempt.Metrics
}

// openPart connects a part of a worker with the worker's database.
func openPart(settings PartSettings, logger *slog.Logger) (*part, error) {
	p := &part{settings: settings, logger: logger, registry: prometheus.NewRegistry()}
	url, err := postgres.ParseURL(string(settings.WorkerDatabase.URL))
	if err != nil {
		return nil, err
	}
	p.db, err = workerdb.Open(url, poolOptions(settings.Pools, settings.Options.MaxConnections(), p.registry))
	if err != nil {
		return nil, err
	}
	p.checks = []server.Check{{Name: "worker database", Answers: p.ready}}
	return p, nil
}

// poolOptions returns how to connect with a database.
func poolOptions(pools config.Pools, maxConns int, registry prometheus.Registerer) postgres.Options {
	return postgres.Options{
		MaxConns:        maxConns,
		AcquireTimeout:  pools.Options.Timeout,
		MaxConnLifetime: pools.Options.Recycle,
		Registerer:      registry,
	}
}

// openSolver connects the part with the solver database, too.
func (p *part) openSolver(settings config.SolverDatabase) error {
	url, err := postgres.ParseURL(string(settings.URL))
	if err != nil {
		return err
	}
	p.solver, err = solverdb.Open(url, poolOptions(p.settings.Pools, settings.PoolSize, p.registry))
	if err != nil {
		return err
	}
	p.checks = append(p.checks, server.Check{Name: "solver database", Answers: func(ctx context.Context) error {
		return migrated(ctx, p.solver.Migrated)
	}})
	return nil
}

// ready returns an error unless the worker's database answers, and has been migrated.
func (p *part) ready(ctx context.Context) error {
	return migrated(ctx, p.db.Migrated)
}

func migrated(ctx context.Context, is func(context.Context) (bool, error)) error {
	done, err := is(ctx)
	if err == nil && !done {
		err = ErrNotMigrated
	}
	return err
}

// listener returns what tells of commits to the worker's database.
func (p *part) listener() *postgres.Listener {
	if p.commits == nil {
		p.commits = postgres.NewListener(p.db.URL(), p.logger)
	}
	return p.commits
}

// turnListener returns what tells of commits to the solver database.
func (p *part) turnListener() *postgres.Listener {
	if p.turns == nil {
		p.turns = postgres.NewListener(p.solver.URL(), p.logger)
	}
	return p.turns
}

// usesBroker has the part be ready only while a broker answers.
func (p *part) usesBroker(url config.BrokerURL, name string) {
	for _, check := range p.checks {
		if check.Name == name {
			return
		}
	}
	p.checks = append(p.checks, server.Check{Name: name, Answers: func(ctx context.Context) error {
		return broker.Ping(ctx, string(url))
	}})
}

// The names of brokers in /readyz.
const (
	protocolBroker = "protocol broker"
	internalBroker = "internal broker"
)

func (p *part) brokerMetrics() *broker.Metrics {
	if p.brokers == nil {
		p.brokers = broker.NewMetrics(p.registry)
	}
	return p.brokers
}

func (p *part) collectorMetrics() *collector.Metrics {
	if p.collectors == nil {
		p.collectors = collector.NewMetrics(p.registry)
	}
	return p.collectors
}

func (p *part) lockMetrics() *lock.Metrics {
	if p.locks == nil {
		p.locks = lock.NewMetrics(p.registry)
	}
	return p.locks
}

func (p *part) attemptMetrics() *attempt.Metrics {
	if p.attempts == nil {
		p.attempts = attempt.NewMetrics(p.registry)
	}
	return p.attempts
}

// ruleMetrics returns the metrics of those who apply messages.
func (p *part) ruleMetrics() rulebook.Metrics {
	return rulebook.Metrics{Collectors: p.collectorMetrics(), Locks: p.lockMetrics(), Attempts: p.attemptMetrics()}
}

// alone returns a component that does some work as long as no other process does the same on the same database.
func (p *part) alone(name string, settings config.Singleton, work func(context.Context) error) server.Component {
	guarded := p.guard(name, settings)
	guarded.StandBy = p.standBy
	var held atomic.Bool
	guarded.Held = held.Store
	return server.Component{
		Name:         name,
		EndsByItself: p.once,
		StandsBy:     held.Load,
		Run: func(ctx context.Context) error {
			return fatalIfHeld(guarded.Run(ctx, work))
		},
	}
}

func (p *part) guard(name string, settings config.Singleton) guard.Guard {
	return guard.Guard{
		Component: name,
		Connect:   func(ctx context.Context) (*pgx.Conn, error) { return postgres.Connect(ctx, p.db.URL()) },
		Wait:      settings.Wait,
		Logger:    p.logger,
	}
}

// fatalIfHeld has a process end if another one does its work. To start it again would not help.
func fatalIfHeld(err error) error {
	if errors.Is(err, guard.ErrHeld) {
		return server.Fatal(err)
	}
	return err
}

// run runs a process made of components until it is asked to end, or something fails, and closes the databases.
func (p *part) run(ctx context.Context, process server.Server) error {
	process.Checks, process.Registry, process.Logger = p.checks, p.registry, p.logger
	if p.settings.Port != 0 {
		process.StatusAddress = fmt.Sprintf(":%d", p.settings.Port)
	}
	for i, component := range process.Components {
		process.Components[i].Run = func(ctx context.Context) error {
			if err := p.claimDatabase(ctx); err != nil {
				return err
			}
			return component.Run(ctx)
		}
	}
	if !p.once {
		process.Components = append(process.Components, p.listeners()...)
	}
	err := process.Run(ctx)
	if !errors.Is(err, server.ErrNotStopped) && !errors.Is(err, server.ErrInterrupted) {
		p.close() // otherwise this would wait for those who still use them
	}
	return err
}

func (p *part) listeners() (components []server.Component) {
	if p.commits != nil {
		components = append(components, server.Component{Name: "listener", Run: p.commits.Run})
	}
	if p.turns != nil {
		components = append(components, server.Component{Name: "turn_listener", Run: p.turns.Run})
	}
	return components
}

// close is for parts that have not been run.
func (p *part) close() {
	p.db.Close()
	if p.solver != nil {
		p.solver.Close()
	}
}
