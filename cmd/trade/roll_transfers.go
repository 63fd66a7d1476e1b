package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/settlement"
)

// rollTransfersSettings are those of the command roll_transfers.
type rollTransfersSettings struct {
	ComponentSettings
	config.ParentShard
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
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			period := settings.RollPeriod()
			if cmd.Flags().Changed("wait") {
				if !(wait >= 0 && wait <= longestWait) { // also if it is NaN
					return usageErrorf("--wait: %v is not a number of seconds from 0 to %.0f", wait, longestWait)
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
	c, err := openComponent(settings.ComponentSettings, logger)
	if err != nil {
		return err
	}
	if err := c.registry.Register(settlement.NewCollector(c.db, logger)); err != nil {
		c.db.Close()
		return err
	}
	listener := postgres.NewListener(c.db.URL(), logger)
	roller := &settlement.Roller{
		DB:                  c.db,
		Realm:               settings.Realm,
		DeleteParentRecords: settings.DeleteRecords,
		EarlyReceiptMaxAge:  settings.CommitPeriod.Max + max(settings.Sending, settings.Dispatching),
		Period:              period,
		Listener:            listener,
		Now:                 time.Now,
		Logger:              logger,
	}
	guarded := guard.Guard{
		Component: "roll_transfers",
		Connect:   func(ctx context.Context) (*pgx.Conn, error) { return postgres.Connect(ctx, c.db.URL()) },
		Wait:      settings.Singleton.Wait,
		Logger:    logger,
	}
	roll := server.Component{Name: "roll_transfers", Run: func(ctx context.Context) error {
		if once {
			return guarded.Run(ctx, roller.RunOnce)
		}
		return guarded.Run(ctx, roller.Run)
	}, EndsByItself: once}
	if once {
		return c.run(ctx, []server.Component{roll})
	}
	return c.run(ctx, []server.Component{roll, {Name: "listener", Run: listener.Run}})
}
