package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/sweep"
)

// workerSettings are those of a whole worker. Each variable may occur once only, so the settings of its parts are made of
// them.
type workerSettings struct {
	PartSettings
	rulebook.Settings
	config.SolverDatabase
	config.Singleton
	config.ProtocolBroker
	config.ProtocolConsumer
	config.InternalBroker
	config.InternalConsumer
	config.Flush
	config.Fetch
	config.Pegs
	config.Trigger
	config.PristineCollectors
	config.WorkerTurns
	Bursts config.Bursts
	Sweeps config.Sweeps
}

func newWorkerSettings() *workerSettings {
	settings := &workerSettings{}
	settings.Bursts.MessageTypes = outbox.Types()
	return settings
}

// workerName is what keeps workers with the same database off each other.
const workerName = "worker"

// NewWorkerCommand returns the command that runs a whole worker.
func NewWorkerCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   workerName,
		Short: "Run a worker: handle messages, take part in turns, and move the tokens",
		Long: `Runs all parts of a worker in one process, until it is stopped. It waits for the databases, their tables, and the
brokers; a part that fails is started again. There must be one worker on a worker's database; a second one waits for a
while, and ends.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings := newWorkerSettings()
			logger, err := LoadSettings(cmd, environment, settings, &settings.Log)
			if err != nil {
				return err
			}
			return runWorker(cmd.Context(), settings, logger)
		},
	}
}

func runWorker(ctx context.Context, settings *workerSettings, logger *slog.Logger) error {
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.standBy = true
	components, closeClients, err := p.all(settings)
	if err != nil {
		p.close()
		return err
	}
	defer closeClients()
	alone := p.guard(workerName, settings.Singleton)
	return p.run(ctx, server.Server{
		Name:       workerName,
		Components: components,
		Supervise:  true,
		Guard: func(ctx context.Context, work func(context.Context) error) error {
			return fatalIfHeld(alone.Run(ctx, work))
		},
	})
}

// all returns all components of a worker.
func (p *part) all(s *workerSettings) (components []server.Component, closeClients func(), err error) {
	if err := p.openSolver(s.SolverDatabase); err != nil {
		return nil, nil, err
	}
	handler := p.handler(s.Settings)
	components = append(
		components,
		p.consumer("consume_messages", protocolBroker,
			ConsumeSettings{s.ProtocolBroker, s.ProtocolConsumer}.consumer(false), handler),
		p.consumer("consume_internal_messages", internalBroker,
			InternalConsumeSettings{s.ProtocolBroker, s.InternalBroker, s.InternalConsumer}.consumer(false), handler),
		p.turnRoller(WorkerTurnSettings{s.SolverDatabase, s.Singleton, s.WorkerTurns, s.Pouring, s.Slacks}),
	)
	for _, part := range []func() (server.Component, error){
		func() (server.Component, error) {
			return p.flusher("flush_all",
				FlushSettings{s.ProtocolBroker, s.InternalBroker, s.Flush, s.Bursts}, outbox.Types())
		},
		func() (server.Component, error) {
			return p.transferRoller(
				RollTransfersSettings{s.Singleton, s.Transfers, s.CommitPeriod, s.Slacks}, s.RollPeriod())
		},
		func() (server.Component, error) {
			return p.caretaker(PristineSettings{
				s.Singleton, s.SolverDatabase, s.Collectors, s.DebtorInfo, s.Silence, s.PristineCollectors,
			})
		},
	} {
		component, err := part()
		if err != nil {
			return nil, nil, err
		}
		components = append(components, component)
	}
	components = append(components, p.sweepers(SweepSettings{
		s.Singleton, s.InternalMessages,
		sweep.Ages{
			DebtorInfo: s.DebtorInfo, CommitPeriod: s.CommitPeriod, Slacks: s.Slacks, Silence: s.Silence,
			AccountLocks: s.AccountLocks,
		},
		s.Sweeps,
	}, s.Sweeps.Tables()...)...)
	triggers, err := p.triggers(TriggerSettings{s.Transfers, s.Trigger})
	if err != nil {
		return nil, nil, err
	}
	fetchers, closeClients, err := p.fetchers(FetchSettings{s.Fetch, s.DebtorInfo, s.Pegs})
	if err != nil {
		return nil, nil, err
	}
	return append(append(components, triggers...), fetchers...), closeClients, nil
}

// NewPartCommands returns the commands that run parts of a worker. They end when something fails, and leave it to others
// to start them again.
func NewPartCommands(environment []string) []*cobra.Command {
	commands := []*cobra.Command{
		newConsumeMessagesCommand(environment),
		newConsumeInternalMessagesCommand(environment),
		newRollWorkerTurnsCommand(environment),
		newRollTransfersCommand(environment),
		newFetchDebtorInfosCommand(environment),
		newTriggerTransfersCommand(environment),
		newHandlePristineCollectorsCommand(environment),
	}
	return append(append(commands, newFlushCommands(environment)...), newScanCommands(environment)...)
}
