package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/server"
)

const pristineCommand = "handle_pristine_collectors"

// pristineSettings are those of the command that looks after collectors.
type pristineSettings struct {
	PartSettings
	PristineSettings
}

// PristineSettings are those of looking after collectors.
type PristineSettings struct {
	config.Singleton
	config.SolverDatabase
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
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return handlePristineCollectors(cmd.Context(), settings, quitEarly, logger)
		},
	}
	OverrideFlag(cmd, "threads", "t", "HANDLE_PRISTINE_COLLECTORS_THREADS")
	OverrideFlag(cmd, "wait", "w", "HANDLE_PRISTINE_COLLECTORS_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when everything has been looked at once")
	return cmd
}

// handlePristineCollectors looks after collectors until the process is asked to end, or only once.
func handlePristineCollectors(ctx context.Context, settings pristineSettings, once bool, logger *slog.Logger) error {
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	if err := p.openSolver(settings.SolverDatabase); err != nil {
		p.close()
		return err
	}
	component, err := p.caretaker(settings.PristineSettings)
	if err != nil {
		p.close()
		return err
	}
	return p.run(ctx, server.Server{Components: []server.Component{component}})
}

// caretaker returns the component that looks after the collectors of the shard.
func (p *part) caretaker(settings PristineSettings) (server.Component, error) {
	p.uses(settings.Collectors)
	if err := p.registry.Register(collector.NewBacklogCollector(p.db, p.logger)); err != nil {
		return server.Component{}, err
	}
	follower := &collector.Follower{
		Worker:              p.db,
		Solver:              p.solver,
		Pool:                collector.Pool{First: settings.MinID, Last: settings.MaxID},
		NeedExpiry:          settings.ClaimExpiry,
		Realm:               p.settings.Realm,
		DeleteParentRecords: p.settings.DeleteRecords,
		Listener:            p.listener(),
		Period:              settings.Period,
		Now:                 time.Now,
		Logger:              p.logger,
	}
	opener := &collector.Opener{
		Worker:   p.db,
		Solver:   p.solver,
		Realm:    p.settings.Realm,
		Threads:  settings.Threads,
		MaxCount: settings.MaxCount,
		Patience: settings.ExtremeMessageDelay,
		Listener: p.turnListener(),
		Period:   settings.Period,
		Now:      time.Now,
		Metrics:  p.collectorMetrics(),
		Logger:   p.logger,
	}
	work := func(ctx context.Context) error {
		if err := claimCollectors(ctx, p.solver, settings.Collectors, p.logger); err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return follower.Run(ctx) })
		group.Go(func() error { return opener.Run(ctx) })
		return group.Wait()
	}
	if p.once {
		work = func(ctx context.Context) error { // the first part may find work for the second one
			if err := claimCollectors(ctx, p.solver, settings.Collectors, p.logger); err != nil {
				return err
			}
			if err := follower.RunOnce(ctx); err != nil {
				return err
			}
			return opener.RunOnce(ctx)
		}
	}
	return p.alone(pristineCommand, settings.Singleton, work), nil
}
