package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

const rollWorkerTurns = "roll_worker_turns"

// workerTurnSettings are those of following the solver's turns.
type workerTurnSettings struct {
	ComponentSettings
	config.SolverDatabase
	config.Singleton
	config.WorkerTurns
	config.Pouring
	config.Slacks
}

func newRollWorkerTurnsCommand(environment []string) *cobra.Command {
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   rollWorkerTurns,
		Short: "Follow the solver's turns, and do this worker's part of them",
		Long: `Follows the solver's turns, and does this worker's part of them: reports currencies, makes candidate offers,
pours offers into the solver database, and copies this worker's share of the results. There must not be another process
that does this for the same worker.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings workerTurnSettings
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return followTurns(cmd.Context(), settings, quitEarly, logger)
		},
	}
	overrideFlag(cmd, "wait", "w", "APP_ROLL_WORKER_TURNS_WAIT")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when the turns have been looked at once")
	return cmd
}

// followTurns follows turns until the process is asked to end, or looks at them only once.
func followTurns(ctx context.Context, settings workerTurnSettings, once bool, logger *slog.Logger) error {
	c, err := openComponent(settings.ComponentSettings, logger)
	if err != nil {
		return err
	}
	solver, err := openSolverDB(settings.SolverDatabase, c.registry)
	if err != nil {
		c.db.Close()
		return err
	}
	c.checks = []server.Check{solverCheck(solver)}
	err = c.run(ctx, newTurnComponents(c, solver, settings, once))
	if !errors.Is(err, server.ErrNotStopped) && !errors.Is(err, server.ErrInterrupted) {
		solver.Close()
	}
	return err
}

func openSolverDB(settings config.SolverDatabase, registry prometheus.Registerer) (*solverdb.DB, error) {
	url, err := postgres.ParseURL(string(settings.URL))
	if err != nil {
		return nil, err
	}
	return solverdb.Open(url, postgres.Options{MaxConns: settings.PoolSize, Registerer: registry})
}

// solverCheck finds out whether the solver database answers, and has been migrated.
func solverCheck(solver *solverdb.DB) server.Check {
	return server.Check{Name: "solver database", Answers: func(ctx context.Context) error {
		migrated, err := solver.Migrated(ctx)
		if err == nil && !migrated {
			err = errNotMigrated
		}
		return err
	}}
}

// newTurnComponents returns what follows the turns, as long as no other process does so for the same worker.
func newTurnComponents(
	c *component, solver *solverdb.DB, settings workerTurnSettings, once bool,
) []server.Component {
	roller := &mirror.Roller{
		Settings: mirror.Settings{
			Realm:            settings.Realm,
			Wait:             settings.WorkerTurns.Wait,
			Lead:             settings.Lead,
			CollectingSlack:  settings.Collecting,
			SendingSlack:     settings.Sending,
			DispatchingSlack: settings.Dispatching,
			Version:          version(),
		},
		Worker:  c.db,
		Solver:  solver,
		Now:     time.Now,
		Metrics: mirror.NewMetrics(c.registry),
		Logger:  c.logger,
	}
	listener := postgres.NewListener(solver.URL(), c.logger)
	work := roller.RunOnce
	if !once {
		work = func(ctx context.Context) error {
			wake, cancel := listener.Subscribe(solverdb.TopicTurns)
			defer cancel()
			return roller.Run(ctx, wake)
		}
	}
	alone := guard.Guard{
		Component: rollWorkerTurns,
		Connect:   func(ctx context.Context) (*pgx.Conn, error) { return postgres.Connect(ctx, c.db.URL()) },
		Wait:      settings.Singleton.Wait,
		Logger:    c.logger,
	}
	components := []server.Component{{
		Name:         rollWorkerTurns,
		EndsByItself: once,
		Run: func(ctx context.Context) error {
			err := alone.Run(ctx, work)
			if errors.Is(err, guard.ErrHeld) {
				err = server.Fatal(err)
			}
			return err
		},
	}}
	if !once {
		components = append(components, server.Component{Name: "listener", Run: listener.Run})
	}
	return components
}
