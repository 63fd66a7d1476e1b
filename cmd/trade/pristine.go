package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

const pristineCommand = "handle_pristine_collectors"

// pristineSettings are those of what is done about collectors.
type pristineSettings struct {
	ComponentSettings
	config.Singleton
	config.SolverDatabase
	config.ParentShard
	config.Collectors
	config.DebtorInfo
	config.Silence
	config.PristineCollectors
}

func newHandlePristineCollectorsCommand(environment []string) *cobra.Command {
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   pristineCommand,
		Short: "Plan collectors that are needed, open their accounts, and activate them",
		Long: `Does what concerns this shard's collectors and the solver database: plans collectors for currencies that need one,
asks for their accounts, asks again if nothing is heard of them, and activates collectors whose accounts are there.
There must not be another process that does this for the same worker.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings pristineSettings
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return handlePristineCollectors(cmd.Context(), settings, quitEarly, logger)
		},
	}
	overrideFlag(cmd, "threads", "t", "HANDLE_PRISTINE_COLLECTORS_THREADS")
	overrideFlag(cmd, "wait", "w", "HANDLE_PRISTINE_COLLECTORS_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when everything has been looked at once")
	return cmd
}

// handlePristineCollectors looks after collectors until the process is asked to end, or only once.
func handlePristineCollectors(ctx context.Context, settings pristineSettings, once bool, logger *slog.Logger) error {
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
	err = c.run(ctx, []server.Component{newCaretaker(c, solver, settings).component(once)})
	if !errors.Is(err, server.ErrNotStopped) && !errors.Is(err, server.ErrInterrupted) {
		solver.Close()
	}
	return err
}

// A caretaker looks after the collectors of a shard.
type caretaker struct {
	follower collector.Follower
	opener   collector.Opener
	guard    guard.Guard
}

func newCaretaker(c *component, solver *solverdb.DB, settings pristineSettings) *caretaker {
	c.registry.MustRegister(collector.NewBacklogCollector(c.db, c.logger))
	return &caretaker{
		follower: collector.Follower{
			Worker:              c.db,
			Solver:              solver,
			Pool:                collector.Pool{First: settings.MinID, Last: settings.MaxID},
			NeedExpiry:          settings.ClaimExpiry,
			Realm:               settings.Realm,
			DeleteParentRecords: settings.DeleteRecords,
			Listener:            postgres.NewListener(c.db.URL(), c.logger),
			Period:              settings.Period,
			Now:                 time.Now,
			Logger:              c.logger,
		},
		opener: collector.Opener{
			Worker:   c.db,
			Solver:   solver,
			Realm:    settings.Realm,
			Threads:  settings.Threads,
			MaxCount: settings.MaxCount,
			Patience: settings.ExtremeMessageDelay,
			Listener: postgres.NewListener(solver.URL(), c.logger),
			Period:   settings.Period,
			Now:      time.Now,
			Metrics:  collector.NewMetrics(c.registry),
			Logger:   c.logger,
		},
		guard: guard.Guard{
			Component: pristineCommand,
			Connect:   func(ctx context.Context) (*pgx.Conn, error) { return postgres.Connect(ctx, c.db.URL()) },
			Wait:      settings.Singleton.Wait,
			Logger:    c.logger,
		},
	}
}

// component returns the component that does the work, as long as no other process does it.
func (k *caretaker) component(once bool) server.Component {
	work := k.run
	if once {
		work = k.runOnce
	}
	return server.Component{
		Name:         pristineCommand,
		EndsByItself: once,
		Run: func(ctx context.Context) error {
			err := k.guard.Run(ctx, work)
			if errors.Is(err, guard.ErrHeld) {
				return server.Fatal(err)
			}
			return err
		},
	}
}

// run works until the context is done.
func (k *caretaker) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{
		k.follower.Run, k.opener.Run, k.follower.Listener.Run, k.opener.Listener.Run,
	} {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}

// runOnce does what there is to do now. The first part may find work for the second one.
func (k *caretaker) runOnce(ctx context.Context) error {
	if err := k.follower.RunOnce(ctx); err != nil {
		return err
	}
	return k.opener.RunOnce(ctx)
}
