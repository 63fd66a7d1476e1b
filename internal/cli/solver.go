package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/turn"
)

// ErrNotMigrated tells that a database does not have the form that this version needs.
var ErrNotMigrated = errors.New(`the database is not ready: run "trade configure"`)

// solverSettings are those of the solver.
type solverSettings struct {
	Common
	config.Status
	config.Singleton
	config.SolverDatabase
	config.Pools
	config.Collectors
	config.Turns
	config.CommitPeriod
	config.BaseCurrency
	config.Pegs
	config.Clearing
}

func (s *solverSettings) turns() turn.Settings {
	return turn.Settings{
		Schedule:          turn.Schedule{Period: s.Period, Offset: s.PeriodOffset},
		Phase1Duration:    s.Phase1Duration,
		Phase2Duration:    s.Phase2Duration,
		MaxCommitPeriod:   s.CommitPeriod.Max,
		BaseLocator:       s.BaseCurrency.Locator,
		BaseDebtorID:      s.BaseCurrency.DebtorID,
		MaxDistanceToBase: int16(s.MaxDistanceToBase), //nolint:gosec // its bounds are those of the type
		MinTradeAmount:    s.MinTradeAmount,
		CheckInterval:     s.CheckInterval,
		WorkMem:           string(s.WorkMem),
	}
}

// NewSolverCommand returns the command that runs the solver.
func NewSolverCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   "solver",
		Short: "Run the solver: start turns, advance them, and clear the market",
		Long: `Starts trading turns and advances them, until it is stopped. It waits for the database, and for its tables.
There must be one solver on a solver database; a second one waits for a while, and ends.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings solverSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			s, err := newSolver(&settings, logger)
			if err != nil {
				return err
			}
			return s.run(cmd.Context(), server.Server{
				Name:       solverName,
				Components: []server.Component{s.rollTurns(), s.listen()},
				Supervise:  true,
				Guard:      s.alone,
			})
		},
	}
}

// NewRollTurnsCommand returns the command that does what the solver does, and leaves it to others to start it again.
func NewRollTurnsCommand(environment []string) *cobra.Command {
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   "roll_turns",
		Short: "Start and advance turns, and end when something fails",
		Long: `Does what the solver does, but ends when something fails. There must be one of them, or one solver, on a solver
database.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings solverSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			s, err := newSolver(&settings, logger)
			if err != nil {
				return err
			}
			if quitEarly {
				return s.run(cmd.Context(), server.Server{Components: []server.Component{s.tickOnce()}})
			}
			return s.run(cmd.Context(), server.Server{
				Name:       solverName,
				Components: []server.Component{s.rollTurns(), s.listen()},
				Guard:      s.alone,
			})
		},
	}
	OverrideFlag(cmd, "period", "p", "TURN_PERIOD")
	OverrideFlag(cmd, "period-offset", "o", "TURN_PERIOD_OFFSET")
	OverrideFlag(cmd, "check-interval", "c", "TURN_CHECK_INTERVAL")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when all turns have been looked at once")
	return cmd
}

// solverName is what keeps solvers off each other, be they commands of this or of another name.
const solverName = "solver"

// A solverProcess is what the solver works with. It has to be run.
type solverProcess struct {
	settings *solverSettings
	logger   *slog.Logger
	registry *prometheus.Registry
	db       *solverdb.DB
	listener *postgres.Listener
	roller   *turn.Roller
}

func newSolver(settings *solverSettings, logger *slog.Logger) (*solverProcess, error) {
	s := &solverProcess{settings: settings, logger: logger, registry: prometheus.NewRegistry()}
	url, err := postgres.ParseURL(string(settings.SolverDatabase.URL))
	if err != nil {
		return nil, err
	}
	s.db, err = solverdb.Open(url, poolOptions(settings.Pools, settings.PoolSize, s.registry))
	if err != nil {
		return nil, err
	}
	s.listener = postgres.NewListener(url, logger)
	s.roller = turn.NewRoller(turn.Config{
		DB: s.db, Settings: settings.turns(), Listener: s.listener, Metrics: turn.NewMetrics(s.registry, time.Now),
		Logger: logger,
	})
	return s, nil
}

// run completes a server, runs it, and closes the database.
func (s *solverProcess) run(ctx context.Context, process server.Server) error {
	process.Checks = []server.Check{{Name: "solver database", Answers: s.ready}}
	process.Registry, process.Logger = s.registry, s.logger
	if s.settings.Port != 0 {
		process.StatusAddress = fmt.Sprintf(":%d", s.settings.Port)
	}
	err := process.Run(ctx)
	if !errors.Is(err, server.ErrNotStopped) && !errors.Is(err, server.ErrInterrupted) {
		s.db.Close() // otherwise this would wait for those who still use it
	}
	return err
}

// ready returns an error unless the database answers, and has been migrated.
func (s *solverProcess) ready(ctx context.Context) error {
	return migrated(ctx, s.db.Migrated)
}

// claim returns an error unless the database is ready, and used with the same collector IDs.
func (s *solverProcess) claim(ctx context.Context) error {
	return claimCollectors(ctx, s.db, s.settings.Collectors, s.logger)
}

// alone does some work while no other solver runs on the same database.
func (s *solverProcess) alone(ctx context.Context, work func(context.Context) error) error {
	return fatalIfHeld(guard.Guard{
		Component: solverName,
		Connect:   func(ctx context.Context) (*pgx.Conn, error) { return postgres.Connect(ctx, s.db.URL()) },
		Wait:      s.settings.Wait,
		Logger:    s.logger,
	}.Run(ctx, work))
}

func (s *solverProcess) rollTurns() server.Component {
	return server.Component{Name: "roll_turns", Run: func(ctx context.Context) error {
		if err := s.claim(ctx); err != nil {
			return err
		}
		return s.roller.Run(ctx)
	}}
}

func (s *solverProcess) listen() server.Component {
	return server.Component{Name: "listener", Run: s.listener.Run}
}

func (s *solverProcess) tickOnce() server.Component {
	return server.Component{Name: "roll_turns", EndsByItself: true, Run: func(ctx context.Context) error {
		return s.alone(ctx, func(ctx context.Context) error {
			if err := s.claim(ctx); err != nil {
				return err
			}
			_, err := s.roller.Tick(ctx)
			return err
		})
	}}
}
