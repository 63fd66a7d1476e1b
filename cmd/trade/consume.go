package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/policy"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// ComponentSettings are what all parts of a worker need to know when they run as commands of their own.
type ComponentSettings struct {
	Common
	config.Status
	config.WorkerDatabase
	config.Shard
}

// A component is what a part of a worker, running as a command of its own, works with.
type component struct {
	logger   *slog.Logger
	registry *prometheus.Registry
	db       *workerdb.DB
	settings ComponentSettings
	checks   []server.Check // beside the one of the worker's database
}

// openComponent connects the parts. What is made has to be run.
func openComponent(settings ComponentSettings, logger *slog.Logger) (*component, error) {
	c := &component{logger: logger, registry: prometheus.NewRegistry(), settings: settings}
	url, err := postgres.ParseURL(string(settings.WorkerDatabase.URL))
	if err != nil {
		return nil, err
	}
	c.db, err = workerdb.Open(url, postgres.Options{
		MaxConns:        settings.Pool.MaxConnections(),
		AcquireTimeout:  settings.Pool.Timeout,
		MaxConnLifetime: settings.Pool.Recycle,
		Registerer:      c.registry,
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// run runs what there is to run until the process is asked to end, or something fails, and closes the database.
func (c *component) run(ctx context.Context, components []server.Component) error {
	s := server.Server{
		Components: components,
		Checks:     append([]server.Check{{Name: "worker database", Answers: c.ready}}, c.checks...),
		Registry:   c.registry,
		Logger:     c.logger,
	}
	if c.settings.Port != 0 {
		s.StatusAddress = fmt.Sprintf(":%d", c.settings.Port)
	}
	err := s.Run(ctx)
	if !errors.Is(err, server.ErrNotStopped) && !errors.Is(err, server.ErrInterrupted) {
		c.db.Close() // otherwise this would wait for those who still use it
	}
	return err
}

// ready returns an error unless the database answers, and has been migrated.
func (c *component) ready(ctx context.Context) error {
	migrated, err := c.db.Migrated(ctx)
	if err == nil && !migrated {
		err = errNotMigrated
	}
	return err
}

func newConsumeMessagesCommand(environment []string) *cobra.Command {
	var draining bool
	cmd := &cobra.Command{
		Use:   "consume_messages",
		Short: "Handle the messages that arrive in this worker's queue",
		Long: `Handles the messages that arrive in this worker's queue on the protocol broker. Any number of processes may do
that at the same time. Messages that nobody could handle go to the dead-letter queue.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings struct {
				ComponentSettings
				RuleSettings
				config.ProtocolBroker
				config.ProtocolConsumer
			}
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return consume(cmd.Context(), settings.ComponentSettings, settings.RuleSettings, logger, broker.ConsumerConfig{
				URL:           string(settings.ProtocolBroker.URL),
				Queue:         settings.ProtocolBroker.Queue,
				Parallelism:   settings.Processes * settings.Threads,
				PrefetchCount: settings.PrefetchCount,
				PrefetchSize:  settings.PrefetchSize,
				Draining:      draining,
			})
		},
	}
	addConsumerFlags(cmd, "PROTOCOL_BROKER", &draining)
	return cmd
}

func newConsumeInternalMessagesCommand(environment []string) *cobra.Command {
	var draining bool
	cmd := &cobra.Command{
		Use:   "consume_internal_messages",
		Short: "Handle the messages from other workers, if they have a broker of their own",
		Long: `Handles the messages that arrive in this worker's queue on the internal broker. If there is none, messages
between workers come by way of the protocol broker, and this command does nothing until it is stopped.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings struct {
				ComponentSettings
				RuleSettings
				config.ProtocolBroker
				config.InternalBroker
				config.InternalConsumer
			}
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			parallelism := settings.Processes * settings.Threads
			if !settings.IsSet() {
				logger.WarnContext(cmd.Context(), "there is no internal broker, so there is nothing to do here",
					slog.String("variable", "INTERNAL_BROKER_URL"))
				parallelism = 0
			}
			return consume(cmd.Context(), settings.ComponentSettings, settings.RuleSettings, logger, broker.ConsumerConfig{
				URL:           string(settings.InternalBroker.URL),
				Queue:         settings.InternalBroker.Queue,
				Parallelism:   parallelism,
				PrefetchCount: settings.PrefetchCount,
				PrefetchSize:  settings.PrefetchSize,
				Draining:      draining,
			})
		},
	}
	addConsumerFlags(cmd, "INTERNAL_BROKER", &draining)
	return cmd
}

// addConsumerFlags declares the flags that override the variables of a broker.
func addConsumerFlags(cmd *cobra.Command, prefix string, draining *bool) {
	overrideFlag(cmd, "url", "u", prefix+"_URL")
	overrideFlag(cmd, "queue", "q", prefix+"_QUEUE")
	overrideFlag(cmd, "processes", "p", prefix+"_PROCESSES")
	overrideFlag(cmd, "threads", "t", prefix+"_THREADS")
	overrideFlag(cmd, "prefetch-size", "s", prefix+"_PREFETCH_SIZE")
	overrideFlag(cmd, "prefetch-count", "c", prefix+"_PREFETCH_COUNT")
	cmd.Flags().BoolVar(draining, "draining-mode", false, "pause whenever the queue is empty, so that it can be deleted")
}

// consume handles messages until the process is asked to end.
func consume(
	ctx context.Context, settings ComponentSettings, ruleSettings RuleSettings, logger *slog.Logger,
	what broker.ConsumerConfig,
) error {
	c, err := openComponent(settings, logger)
	if err != nil {
		return err
	}
	what.Ready = c.ready
	what.Metrics = broker.NewMetrics(c.registry)
	what.Log = logger
	handler := &inbox.Handler{
		Realm: settings.Realm, DB: c.db, Rules: rules(c, ruleSettings), Now: time.Now, Metrics: inbox.NewMetrics(c.registry),
	}
	consumer := broker.NewConsumer[smp.Message](what, handler)
	return c.run(ctx, []server.Component{{Name: "consume_messages", Run: consumer.Run}})
}

// RuleSettings are what the rules of workers need to know.
type RuleSettings struct {
	config.Collectors
	config.CommitPeriod
	config.Accounts
	config.InterestRates
	config.Slacks
	config.DebtorInfo
	config.Silence
}

// rules returns what is done with messages of each type.
func rules(c *component, settings RuleSettings) *inbox.Rules {
	collectors := &collector.Rules{
		Settings: collector.Settings{
			Pool:              collector.Pool{First: settings.MinID, Last: settings.MaxID},
			MinDemurrageRate:  settings.MinDemurrageRate,
			MinCommitPeriod:   settings.CommitPeriod.Max,
			MinNoteBytes:      settings.MinTransferNoteMaxBytes,
			RateHistoryPeriod: settings.Remembered(settings.CommitPeriod, settings.Slacks),
		},
		Metrics: collector.NewMetrics(c.registry),
		Logger:  c.logger,
	}
	rules := &inbox.Rules{}
	inbox.Add(rules, policy.HandleUpdatedLedgers)
	inbox.Add(rules, policy.HandleUpdatedPolicies)
	inbox.Add(rules, policy.HandleUpdatedFlags)
	currencies := currencyRules(c.settings.Realm, settings.DebtorInfo, c.logger)
	currencies.MaxMessageDelay = settings.ExtremeMessageDelay
	currencies.AddTo(rules)
	inbox.Add(rules, collectors.HandleAccountUpdates)
	inbox.Add(rules, collectors.HandleAccountPurges)
	inbox.Add(rules, collectors.HandleRejectedConfigs)
	inbox.Add(rules, collectors.HandleNeededCollectors)
	inbox.Add(rules, collectors.HandleActivateCollectors)
	return rules
}
