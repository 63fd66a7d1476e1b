package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

const rollWorkerTurns = "roll_worker_turns"

// workerTurnSettings are those of the command that follows the solver's turns.
type workerTurnSettings struct {
	PartSettings
	WorkerTurnSettings
}

// WorkerTurnSettings are those of following the solver's turns.
type WorkerTurnSettings struct {
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
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return followTurns(cmd.Context(), settings, quitEarly, logger)
		},
	}
	OverrideFlag(cmd, "wait", "w", "APP_ROLL_WORKER_TURNS_WAIT")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when the turns have been looked at once")
	return cmd
}

// followTurns follows turns until the process is asked to end, or looks at them only once.
func followTurns(ctx context.Context, settings workerTurnSettings, once bool, logger *slog.Logger) error {
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	if err := p.openSolver(settings.SolverDatabase); err != nil {
		p.close()
		return err
	}
	return p.run(ctx, server.Server{Components: []server.Component{p.turnRoller(settings.WorkerTurnSettings)}})
}

// turnRoller returns the component that follows the solver's turns.
func (p *part) turnRoller(settings WorkerTurnSettings) server.Component {
	roller := &mirror.Roller{
		Settings: mirror.Settings{
			Realm:            p.settings.Realm,
			Wait:             settings.WorkerTurns.Wait,
			Lead:             settings.Lead,
			CollectingSlack:  settings.Collecting,
			SendingSlack:     settings.Sending,
			DispatchingSlack: settings.Dispatching,
			Version:          Version(),
		},
		Worker:  p.db,
		Solver:  p.solver,
		Now:     time.Now,
		Metrics: mirror.NewMetrics(p.registry),
		Logger:  p.logger,
	}
	work := roller.RunOnce
	if !p.once {
		listener := p.turnListener()
		work = func(ctx context.Context) error {
			wake, cancel := listener.Subscribe(solverdb.TopicTurns)
			defer cancel()
			return roller.Run(ctx, wake)
		}
	}
	return p.alone(rollWorkerTurns, settings.Singleton, work)
}
