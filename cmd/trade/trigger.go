package main

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
	ComponentSettings
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
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return triggerTransfers(cmd.Context(), settings, quitEarly, logger)
		},
	}
	overrideFlag(cmd, "processes", "p", "TRIGGER_TRANSFERS_PROCESSES")
	overrideFlag(cmd, "wait", "w", "TRIGGER_TRANSFERS_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when all transfers that are due have been found")
	return cmd
}

// triggerTransfers looks for transfers until the process is asked to end, or only once.
func triggerTransfers(ctx context.Context, settings triggerSettings, once bool, logger *slog.Logger) error {
	if settings.Processes == 0 && once {
		return nil
	}
	c, err := openComponent(settings.ComponentSettings, logger)
	if err != nil {
		return err
	}
	if err := c.registry.Register(attempt.NewCollector(c.db, time.Now, logger)); err != nil {
		c.db.Close()
		return err
	}
	trigger := &attempt.Trigger{
		DB:                 c.db,
		HealthyCommitDelay: settings.HealthyCommitDelay,
		Period:             settings.Trigger.Period,
		Burst:              settings.BurstCount,
		Now:                time.Now,
		Metrics:            attempt.NewMetrics(c.registry),
		Logger:             logger,
	}
	component := server.Component{Name: "trigger_transfers", Run: trigger.Run}
	if once {
		component.Run, component.EndsByItself = trigger.RunOnce, true
	}
	return c.run(ctx, server.Copies(settings.Processes, component))
}
