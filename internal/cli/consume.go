package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/smp"
)

// consumeSettings are those of the command that handles messages from the protocol broker.
type consumeSettings struct {
	PartSettings
	rulebook.Settings
	ConsumeSettings
}

// internalConsumeSettings are those of the command that handles messages from the internal broker.
type internalConsumeSettings struct {
	PartSettings
	rulebook.Settings
	InternalConsumeSettings
}

// ConsumeSettings are those of handling messages from the protocol broker.
type ConsumeSettings struct {
	config.ProtocolBroker
	config.ProtocolConsumer
}

func (s ConsumeSettings) consumer(draining bool) broker.ConsumerConfig {
	return broker.ConsumerConfig{
		URL:           string(s.ProtocolBroker.URL),
		Queue:         s.ProtocolBroker.Queue,
		Parallelism:   s.Processes * s.Threads,
		PrefetchCount: s.PrefetchCount,
		PrefetchSize:  s.PrefetchSize,
		Draining:      draining,
	}
}

// InternalConsumeSettings are those of handling messages from the internal broker.
type InternalConsumeSettings struct {
	config.ProtocolBroker
	config.InternalBroker
	config.InternalConsumer
}

// consumer says what to consume: nothing, if there is no internal broker.
func (s InternalConsumeSettings) consumer(draining bool) broker.ConsumerConfig {
	parallelism := s.Processes * s.Threads
	if !s.IsSet() {
		parallelism = 0
	}
	return broker.ConsumerConfig{
		URL:           string(s.InternalBroker.URL),
		Queue:         s.InternalBroker.Queue,
		Parallelism:   parallelism,
		PrefetchCount: s.PrefetchCount,
		PrefetchSize:  s.PrefetchSize,
		Draining:      draining,
	}
}

func newConsumeMessagesCommand(environment []string) *cobra.Command {
	var draining bool
	cmd := &cobra.Command{
		Use:   "consume_messages",
		Short: "Handle the messages that arrive in this worker's queue",
		Long: `Handles the messages that arrive in this worker's queue on the protocol broker. Any number of processes may do
that at the same time. Messages that nobody could handle go to the dead-letter queue.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings consumeSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return consume(cmd.Context(), "consume_messages", protocolBroker, settings.PartSettings, settings.Settings, logger,
				settings.consumer(draining))
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
			var settings internalConsumeSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			if !settings.IsSet() {
				logger.WarnContext(cmd.Context(), "there is no internal broker, so there is nothing to do here",
					slog.String("variable", "INTERNAL_BROKER_URL"))
			}
			return consume(cmd.Context(), "consume_internal_messages", internalBroker, settings.PartSettings, settings.Settings,
				logger, settings.consumer(draining))
		},
	}
	addConsumerFlags(cmd, "INTERNAL_BROKER", &draining)
	return cmd
}

// addConsumerFlags declares the flags that override the variables of a broker.
func addConsumerFlags(cmd *cobra.Command, prefix string, draining *bool) {
	OverrideFlag(cmd, "url", "u", prefix+"_URL")
	OverrideFlag(cmd, "queue", "q", prefix+"_QUEUE")
	OverrideFlag(cmd, "processes", "p", prefix+"_PROCESSES")
	OverrideFlag(cmd, "threads", "t", prefix+"_THREADS")
	OverrideFlag(cmd, "prefetch-size", "s", prefix+"_PREFETCH_SIZE")
	OverrideFlag(cmd, "prefetch-count", "c", prefix+"_PREFETCH_COUNT")
	cmd.Flags().BoolVar(draining, "draining-mode", false, "pause whenever the queue is empty, so that it can be deleted")
}

// consume handles messages until the process is asked to end.
func consume(
	ctx context.Context, name, brokerName string, settings PartSettings, rules rulebook.Settings, logger *slog.Logger,
	what broker.ConsumerConfig,
) error {
	p, err := openPart(settings, logger)
	if err != nil {
		return err
	}
	return p.run(ctx, server.Server{Components: []server.Component{p.consumer(name, brokerName, what, p.handler(rules))}})
}

// handler returns what applies messages. All consumers of a process share it.
func (p *part) handler(settings rulebook.Settings) *inbox.Handler {
	p.uses(settings.Collectors)
	rules := rulebook.New(p.settings.Realm, settings, p.ruleMetrics(), p.logger)
	return &inbox.Handler{
		Realm:   p.settings.Realm,
		DB:      p.db,
		Rules:   rules,
		Now:     time.Now,
		Metrics: inbox.NewMetrics(p.registry, rules.Types()...),
	}
}

// consumer returns the component that has messages handled.
func (p *part) consumer(
	name, brokerName string, what broker.ConsumerConfig, handler *inbox.Handler,
) server.Component {
	if what.Parallelism > 0 {
		p.usesBroker(config.BrokerURL(what.URL), brokerName)
	}
	what.Ready, what.Reasons, what.Metrics, what.Log = p.ready, inbox.Reasons(), p.brokerMetrics(), p.logger
	return server.Component{Name: name, Run: broker.NewConsumer[smp.Message](what, handler).Run}
}
