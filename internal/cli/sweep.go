package cli

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/sweep"
)

// sweepSettings are those of the commands that sweep a table.
type sweepSettings struct {
	PartSettings
	SweepSettings
}

func newSweepSettings(table string) *sweepSettings {
	settings := &sweepSettings{}
	settings.Sweeps.Table = table
	return settings
}

// SweepSettings are those of sweeping tables.
type SweepSettings struct {
	config.Singleton
	config.InternalMessages
	sweep.Ages
	Sweeps config.Sweeps
}

// newScanCommands returns a command for each table that is swept.
func newScanCommands(environment []string) []*cobra.Command {
	var commands []*cobra.Command
	for _, table := range (config.Sweeps{}).Tables() {
		commands = append(commands, newScanCommand(environment, table))
	}
	return commands
}

func newScanCommand(environment []string, table string) *cobra.Command {
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   "scan_" + table,
		Short: "Delete what has expired from the table of " + strings.ReplaceAll(table, "_", " "),
		Long: `Goes through a table of the worker's database again and again, slowly, and deletes what nobody needs any more:
what has expired, and, if DELETE_PARENT_SHARD_RECORDS is true, what is left over from the parent shard. Only one process
at a time does that.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings := newSweepSettings(table)
			logger, err := LoadSettings(cmd, environment, settings, &settings.Log)
			if err != nil {
				return err
			}
			return scan(cmd.Context(), *settings, quitEarly, logger)
		},
	}
	OverrideFlag(cmd, "days", "d", "APP_"+strings.ToUpper(table)+"_SCAN_DAYS")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when the whole table has been looked at once, without pauses")
	return cmd
}

// scan sweeps a table until the process is asked to end, or only once.
func scan(ctx context.Context, settings sweepSettings, once bool, logger *slog.Logger) error {
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	return p.run(ctx, server.Server{Components: p.sweepers(settings.SweepSettings, settings.Sweeps.Table)})
}

// sweepers returns the components that sweep some tables.
func (p *part) sweepers(settings SweepSettings, tables ...string) []server.Component {
	metrics := sweep.NewMetrics(p.registry)
	locks := &lock.Rules{
		Settings: lock.Settings{
			Realm:            p.settings.Realm,
			ExtendedMessages: settings.Extended,
			DispatchingSlack: settings.Dispatching,
			MaxAge:           settings.MaxAge,
		},
		CollectingFailed: settlement.HandleCollectingFailures,
		IntN:             rand.IntN,
		Logger:           p.logger,
		Metrics:          p.lockMetrics(),
	}
	var components []server.Component
	for _, table := range tables {
		pace, _ := settings.Sweeps.Of(table)
		sweeper := &sweep.Sweeper{
			DB:                  p.db,
			Table:               table,
			Pace:                pace,
			Ages:                settings.Ages,
			Realm:               p.settings.Realm,
			DeleteParentRecords: p.settings.DeleteRecords,
			DismissLocks:        locks.DismissOverdue,
			Now:                 time.Now,
			Int64N:              rand.Int64N,
			Metrics:             metrics,
		}
		work := sweeper.Run
		if p.once {
			work = sweeper.RunOnce
		}
		components = append(components, p.alone("scan_"+table, settings.Singleton, work))
	}
	return components
}

// verifySettings are those of verify_shard_content.
type verifySettings struct {
	PartSettings
	config.ShardVerification
}

// NewVerifyShardContentCommand returns the command that looks for rows of other shards.
func NewVerifyShardContentCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   "verify_shard_content",
		Short: "Look whether the worker's database holds anything that belongs to another shard",
		Long: `Looks whether all that this worker's database holds belongs to the worker's shard, and ends with an error at the
first row that does not. A shard must not be split before everything does. It changes nothing, and can be run at any time.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings verifySettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return verifyShardContent(cmd.Context(), settings, logger)
		},
	}
}

func verifyShardContent(ctx context.Context, settings verifySettings, logger *slog.Logger) error {
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.ready(ctx); err != nil {
		return err
	}
	v := sweep.Verification{DB: p.db, Realm: settings.Realm, Portion: settings.YieldPer, Pause: settings.Sleep}
	err = v.Verify(ctx)
	if foreign, ok := errors.AsType[*sweep.ForeignRowError](err); ok {
		logger.ErrorContext(ctx, "the database holds what belongs to another shard", slog.String("table", foreign.Table),
			slog.String("column", foreign.Column), slog.String("key", foreign.Key))
	}
	return err
}
