package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/settlement"
)

// rollTransfersSettings are those of the command roll_transfers.
type rollTransfersSettings struct {
	PartSettings
	RollTransfersSettings
}

// RollTransfersSettings are those of having collectors take their steps.
type RollTransfersSettings struct {
	config.Singleton
	config.Transfers
	config.CommitPeriod
	config.Slacks
}

// longestWait is 30 years, in seconds. Nobody waits longer.
const longestWait = 1e9

func newRollTransfersCommand(environment []string) *cobra.Command {
	var wait float64
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   "roll_transfers",
		Short: "Have collectors send and dispatch what they have collected and received",
		Long: `Looks which of this worker's collectors have collected, sent, received, or dispatched all they had to in a
turn, and has them take the next step. Only one process at a time does that.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings rollTransfersSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			period := settings.RollPeriod()
			if cmd.Flags().Changed("wait") {
				if !(wait >= 0 && wait <= longestWait) { // also if it is NaN
					return UsageErrorf("--wait: %v is not a number of seconds from 0 to %.0f", wait, longestWait)
				}
				period = time.Duration(wait * float64(time.Second))
			}
			return rollTransfers(cmd.Context(), settings, period, quitEarly, logger)
		},
	}
	cmd.Flags().Float64VarP(&wait, "wait", "w", 0,
		"seconds from one look to the next, instead of a twelfth of TRANSFERS_HEALTHY_MAX_COMMIT_DELAY")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when all collectors have been looked at once")
	return cmd
}

// rollTransfers has collectors take their steps until the process is asked to end, or only once.
func rollTransfers(
	ctx context.Context, settings rollTransfersSettings, period time.Duration, once bool, logger *slog.Logger,
) error {
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	roller, err := p.transferRoller(settings.RollTransfersSettings, period)
	if err != nil {
		p.close()
		return err
	}
	return p.run(ctx, server.Server{Components: []server.Component{roller}})
}

// transferRoller returns the component that has collectors take their steps.
func (p *part) transferRoller(settings RollTransfersSettings, period time.Duration) (server.Component, error) {
	for _, metrics := range []prometheus.Collector{
		settlement.NewCollector(p.db, p.logger), lock.NewCollector(p.db, time.Now, p.logger),
	} {
		if err := p.registry.Register(metrics); err != nil {
			return server.Component{}, err
		}
	}
	roller := &settlement.Roller{
		DB:                  p.db,
		Realm:               p.settings.Realm,
		DeleteParentRecords: p.settings.DeleteRecords,
		EarlyReceiptMaxAge:  settings.CommitPeriod.Max + max(settings.Sending, settings.Dispatching),
		Period:              period,
		Listener:            p.listener(),
		Now:                 time.Now,
		Logger:              p.logger,
	}
	work := roller.Run
	if p.once {
		work = roller.RunOnce
	}
	return p.alone("roll_transfers", settings.Singleton, work), nil
}
