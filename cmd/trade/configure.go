package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/cli"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/logging"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// TopologySettings are those of the exchanges, queues and bindings of a shard.
type TopologySettings struct {
	config.Shard
	config.ProtocolBroker
	config.InternalBroker
}

func (s TopologySettings) topology(logger *slog.Logger) *broker.Topology {
	return &broker.Topology{
		ProtocolURL:   string(s.ProtocolBroker.URL),
		ProtocolQueue: s.ProtocolBroker.Queue,
		InternalURL:   string(s.InternalBroker.URL),
		InternalQueue: s.InternalBroker.Queue,
		RoutingKey:    s.Realm.String(),
		Log:           logger,
	}
}

// The settings of what configure does, and of the commands that do one of these things.
type (
	solverSetUp struct {
		Common
		config.SolverDatabase
	}
	workerSetUp struct {
		Common
		config.WorkerDatabase
		config.BrokerSetup
	}
	brokerSetUp struct {
		Common
		TopologySettings
	}
	awaitedDatabases struct {
		Common
		config.SolverDatabase `optional:"true"`
		config.WorkerDatabase `optional:"true"`
	}
)

// setUpSettings returns the settings of the commands in this file.
func setUpSettings() cli.Configurable {
	commands := cli.Configurable{
		"configure": func() any {
			return &struct {
				Common
				config.SolverDatabase
				config.WorkerDatabase
				config.BrokerSetup
				TopologySettings
			}{}
		},
		"configure solver": func() any { return &solverSetUp{} },
		"configure worker": func() any {
			return &struct {
				Common
				config.WorkerDatabase
				config.BrokerSetup
				TopologySettings
			}{}
		},
		"await_migrations": func() any { return &awaitedDatabases{} },
	}
	for _, command := range []string{"subscribe", "unsubscribe", "delete_queue"} {
		commands[command] = func() any { return &brokerSetUp{} }
	}
	return commands
}

func newConfigureCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   "configure [solver|worker]",
		Short: "Make the databases, and if so configured the broker, ready for use",
		Long: `Brings the tables of the solver database and of the worker database to the form that this version needs,
or only those of the named one. If SETUP_RABBITMQ_BINDINGS is "yes", it then does what "trade subscribe" does, unless
only the solver is to be configured.

It may be run again at any time, and by several containers at once. Steps that fail are tried again for a while.
If it is stopped before everything is ready, it ends with an error, and nothing is left half-done.`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"solver", "worker"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return configure(cmd, environment, true, true)
			}
			return configure(cmd, environment, args[0] == "solver", args[0] == "worker")
		},
	}
}

// configure makes the databases of the solver, the worker, or both ready, and with the worker's the broker.
func configure(cmd *cobra.Command, environment []string, solver, worker bool) error {
	var (
		solverSettings solverSetUp
		workerSettings workerSetUp
		brokerSettings brokerSetUp
	)
	var steps []setUpStep
	var mistakes []error
	if solver {
		_, err := loadSettings(cmd, environment, &solverSettings, &solverSettings.Log)
		mistakes = append(mistakes, err)
		steps = append(steps, migrate("solver database", string(solverSettings.SolverDatabase.URL), solverdb.Migrations()))
	}
	if worker {
		_, err := loadSettings(cmd, environment, &workerSettings, &workerSettings.Log)
		mistakes = append(mistakes, err)
		steps = append(steps, migrate("worker database", string(workerSettings.WorkerDatabase.URL), workerdb.Migrations()))
	}
	if worker && workerSettings.Requested() {
		logger, err := loadSettings(cmd, environment, &brokerSettings, &brokerSettings.Log)
		mistakes = append(mistakes, err)
		steps = append(steps, setUpStep{"broker", brokerSettings.topology(logger).Declare})
	}
	for _, mistake := range mistakes {
		if mistake != nil {
			return mistake
		}
	}
	tell := narrator{cmd, solverSettings.Log}
	if worker {
		tell.log = workerSettings.Log
	}
	return runSteps(cmd.Context(), tell, steps)
}

// A setUpStep makes one server ready. It may be repeated.
type setUpStep struct {
	target string
	run    func(context.Context) error
}

func migrate(target, url string, migrations postgres.Migrations) setUpStep {
	return setUpStep{target, func(ctx context.Context) error {
		parsed, err := postgres.ParseURL(url)
		if err != nil {
			return err
		}
		return migrations.Up(ctx, parsed)
	}}
}

// runSteps runs steps one after the other, and prints a line for each.
func runSteps(ctx context.Context, tell narrator, steps []setUpStep) error {
	for _, step := range steps {
		err := persistently(ctx, step.run, func(err error, pause time.Duration) {
			tell.tryingAgain(step.target, err, pause)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", step.target, err)
		}
		if err := tell.ready(step.target); err != nil {
			return err
		}
	}
	return nil
}

// A narrator tells how setting up goes on. Where the log is JSON, so is everything else: log collectors take other lines
// for errors. What it tells is told whatever the level of the log.
type narrator struct {
	cmd *cobra.Command
	log config.Log
}

func (n narrator) ready(target string) error {
	if n.log.Format == config.LogJSON {
		n.json().InfoContext(n.cmd.Context(), "ready", slog.String("server", target))
		return nil
	}
	_, err := fmt.Fprintf(n.cmd.OutOrStdout(), "%s: ready\n", target)
	return err
}

func (n narrator) tryingAgain(target string, err error, pause time.Duration) {
	if n.log.Format == config.LogJSON {
		n.json().WarnContext(n.cmd.Context(), "not ready yet, trying again", slog.String("server", target),
			slog.Any("error", err), slog.Duration("pause", pause))
		return
	}
	say(n.cmd.ErrOrStderr(), "%s: %v; trying again in %v\n", target, err, pause)
}

func (n narrator) json() *slog.Logger {
	return slog.New(logging.NewHandler(n.cmd.OutOrStdout(), logging.Options{Level: slog.LevelInfo, JSON: true}))
}

func newSubscribeCommand(environment []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "subscribe",
		Short: "Declare exchanges, queues and bindings on the broker",
		Long: `Declares the exchanges that the service needs, this worker's queue and its dead-letter queue, and binds the
queue so that it gets the messages of the worker's shard. With an internal broker, it does the same there.

It may be run again at any time. What exists with other properties is not changed, but reported.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, tell, err := loadTopology(cmd, environment)
			if err != nil {
				return err
			}
			return runSteps(cmd.Context(), tell, []setUpStep{{"broker", t.Declare}})
		},
	}
	addQueueFlags(cmd)
	overrideFlag(cmd, "queue-routing-key", "k", "PROTOCOL_BROKER_QUEUE_ROUTING_KEY")
	return cmd
}

func newUnsubscribeCommand(environment []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unsubscribe",
		Short: "Let this worker's queues get no more messages",
		Long: `Removes the bindings of this worker's queues, made with the present routing key. What is in the queues stays
there. It may be run again: a missing queue or binding is no error.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, tell, err := loadTopology(cmd, environment)
			if err != nil {
				return err
			}
			return runSteps(cmd.Context(), tell, []setUpStep{{"broker", t.Unbind}})
		},
	}
	addQueueFlags(cmd)
	overrideFlag(cmd, "queue-routing-key", "k", "PROTOCOL_BROKER_QUEUE_ROUTING_KEY")
	return cmd
}

func newDeleteQueueCommand(environment []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete_queue",
		Short: "Wait until this worker's queues are empty and unused, and delete them",
		Long: `Waits until this worker's queues hold no message and have no consumer, and then deletes them. Dead-letter
queues stay. It may be run again: a missing queue is no error. If it is stopped before that, it ends with an error.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, tell, err := loadTopology(cmd, environment)
			if err != nil {
				return err
			}
			return runSteps(cmd.Context(), tell, []setUpStep{{"broker", t.DeleteQueues}})
		},
	}
	addQueueFlags(cmd)
	return cmd
}

func addQueueFlags(cmd *cobra.Command) {
	overrideFlag(cmd, "url", "u", "PROTOCOL_BROKER_URL")
	overrideFlag(cmd, "queue", "q", "PROTOCOL_BROKER_QUEUE")
	overrideFlag(cmd, "internal-url", "U", "INTERNAL_BROKER_URL")
	overrideFlag(cmd, "internal-queue", "Q", "INTERNAL_BROKER_QUEUE")
}

func loadTopology(cmd *cobra.Command, environment []string) (*broker.Topology, narrator, error) {
	var settings brokerSetUp
	logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
	if err != nil {
		return nil, narrator{}, err
	}
	return settings.topology(logger), narrator{cmd, settings.Log}, nil
}

// awaitPause is the time between two looks at databases that are to be migrated.
const awaitPause = 10 * time.Second

func newAwaitMigrationsCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   "await_migrations",
		Short: "Wait until the databases have been configured",
		Long: `Looks every 10 seconds whether the databases of which the URLs are set have been brought to the form that this
version needs, or a later one, and ends when all are. A database that cannot be reached is not ready yet. If it is
stopped before that, it ends with an error.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return awaitMigrations(cmd, environment)
		},
	}
}

func awaitMigrations(cmd *cobra.Command, environment []string) error {
	var settings awaitedDatabases
	logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
	if err != nil {
		return err
	}
	for _, database := range []struct {
		name, url  string
		migrations postgres.Migrations
	}{
		{"solver database", string(settings.SolverDatabase.URL), solverdb.Migrations()},
		{"worker database", string(settings.WorkerDatabase.URL), workerdb.Migrations()},
	} {
		if database.url == "" {
			continue
		}
		for {
			err := mustBeMigrated(cmd.Context(), database.url, database.migrations)
			if err == nil {
				break
			}
			logger.InfoContext(cmd.Context(), "waiting for a database",
				slog.String("database", database.name), slog.Any("reason", err))
			select {
			case <-time.After(awaitPause):
			case <-cmd.Context().Done():
				return fmt.Errorf("%s: %w", database.name, err)
			}
		}
		if err := (narrator{cmd, settings.Log}).ready(database.name); err != nil {
			return err
		}
	}
	return nil
}

// mustBeMigrated returns an error if a database is not in the form that this version needs, or a later one.
func mustBeMigrated(ctx context.Context, url string, migrations postgres.Migrations) error {
	parsed, err := postgres.ParseURL(url)
	if err != nil {
		return err
	}
	conn, err := postgres.Connect(ctx, parsed)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing has been written
	done, err := migrations.Done(ctx, conn)
	if err == nil && !done {
		err = errNotMigrated
	}
	return err
}
