package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/attempt"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/server"
)

// triggerSettings are those of trigger_transfers.
type triggerSettings struct {
	PartSettings
	TriggerSettings
}

// TriggerSettings are those of looking for transfers whose time has come.
type TriggerSettings struct {
	config.Transfers
	config.Trigger
}

func newTriggerTransfersCommand(environment []string) *cobra.Command {
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   "trigger_transfers",
		Short: "Look for transfers whose time has come",
		Long: `Looks for transfers that are to be tried now, again or for the first time, and sends messages about them. Any
number of processes may do that at the same time.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings triggerSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return triggerTransfers(cmd.Context(), settings, quitEarly, logger)
		},
	}
	OverrideFlag(cmd, "processes", "p", "TRIGGER_TRANSFERS_PROCESSES")
	OverrideFlag(cmd, "wait", "w", "TRIGGER_TRANSFERS_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when all transfers that are due have been found")
	return cmd
}

// triggerTransfers looks for transfers until the process is asked to end, or only once.
func triggerTransfers(ctx context.Context, settings triggerSettings, once bool, logger *slog.Logger) error {
	if settings.Processes == 0 && once {
		return nil
	}
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	components, err := p.triggers(settings.TriggerSettings)
	if err != nil {
		p.close()
		return err
	}
	return p.run(ctx, server.Server{Components: components})
}

// triggers returns the components that look for transfers whose time has come.
func (p *part) triggers(settings TriggerSettings) ([]server.Component, error) {
	if err := p.registry.Register(attempt.NewCollector(p.db, time.Now, p.logger)); err != nil {
		return nil, err
	}
	trigger := &attempt.Trigger{
		DB:                 p.db,
		HealthyCommitDelay: settings.HealthyCommitDelay,
		Period:             settings.Period,
		Burst:              settings.BurstCount,
		Now:                time.Now,
		Metrics:            p.attemptMetrics(),
		Logger:             p.logger,
	}
	component := server.Component{Name: "trigger_transfers", Run: trigger.Run}
	if p.once {
		component.Run, component.EndsByItself = trigger.RunOnce, true
	}
	return server.Copies(settings.Processes, component), nil
}
