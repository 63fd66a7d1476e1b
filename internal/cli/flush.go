package cli

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/smp"
)

// flushedTypes are the types of messages that have a command of their own, by its name.
var flushedTypes = []struct{ command, messageType string }{
	{"flush_configure_accounts", smp.TypeConfigureAccount},
	{"flush_prepare_transfers", smp.TypePrepareTransfer},
	{"flush_finalize_transfers", smp.TypeFinalizeTransfer},
	{"flush_fetch_debtor_infos", smp.TypeFetchDebtorInfo},
	{"flush_store_documents", smp.TypeStoreDocument},
	{"flush_discover_debtors", smp.TypeDiscoverDebtor},
	{"flush_confirm_debtors", smp.TypeConfirmDebtor},
	{"flush_activate_collectors", smp.TypeActivateCollector},
	{"flush_candidate_offers", smp.TypeCandidateOffer},
	{"flush_needed_collectors", smp.TypeNeededCollector},
	{"flush_revise_account_locks", smp.TypeReviseAccountLock},
	{"flush_trigger_transfers", smp.TypeTriggerTransfer},
	{"flush_account_id_requests", smp.TypeAccountIDRequest},
	{"flush_account_id_responses", smp.TypeAccountIDResponse},
	{"flush_start_sendings", smp.TypeStartSending},
	{"flush_start_dispatchings", smp.TypeStartDispatching},
	{"flush_collecting_failures", smp.TypeCollectingFailed},
	{"flush_nothing_to_receives", smp.TypeNothingToReceive},
	{"flush_lock_abandonments", smp.TypeLockAbandoned},
}

// Commands of later releases of swpt_trade, for types of messages that do not exist here.
var idleFlushCommands = []string{"flush_replayed_account_transfers", "flush_calculate_surpluses"}

func newFlushCommands(environment []string) []*cobra.Command {
	commands := []*cobra.Command{newFlushAllCommand(environment), newFlushMessagesCommand(environment)}
	for _, flushed := range flushedTypes {
		commands = append(commands, newFlushTypeCommand(environment, flushed.command, flushed.messageType))
	}
	for _, name := range idleFlushCommands {
		commands = append(commands, newIdleFlushCommand(environment, name))
	}
	return commands
}

func newFlushAllCommand(environment []string) *cobra.Command {
	return newFlushCommand(&cobra.Command{
		Use:   "flush_all",
		Short: "Send all messages that are in the outbox",
		Long: `Sends the messages that this worker has in its outbox, and deletes those that the broker has taken. Any number of
processes may do that at the same time.`,
	}, environment, func(*slog.Logger, []string) []string { return outbox.Types() })
}

func newFlushTypeCommand(environment []string, name, messageType string) *cobra.Command {
	return newFlushCommand(&cobra.Command{
		Use:   name,
		Short: "Send the " + messageType + " messages that are in the outbox",
	}, environment, func(*slog.Logger, []string) []string { return []string{messageType} })
}

func newFlushMessagesCommand(environment []string) *cobra.Command {
	return newFlushCommand(&cobra.Command{
		Use:   "flush_messages [NAME...]",
		Short: "Send messages of some types, or all, that are in the outbox",
		Long: `Sends messages of the types with the given names, such as FinalizeTransferSignal, and deletes those that the broker
has taken. Unknown names are skipped with a warning. Without any name, messages of all types are sent.`,
		Args: cobra.ArbitraryArgs,
	}, environment, func(logger *slog.Logger, names []string) []string {
		if len(names) == 0 {
			return outbox.Types()
		}
		var types []string
		for _, name := range names {
			messageType, found := strings.CutSuffix(name, "Signal")
			if !found || !slices.Contains(outbox.Types(), messageType) {
				logger.Warn("there are no messages with this name", slog.String("name", name))
			} else if !slices.Contains(types, messageType) {
				types = append(types, messageType)
			}
		}
		return types
	})
}

func newIdleFlushCommand(environment []string, name string) *cobra.Command {
	return newFlushCommand(&cobra.Command{
		Use:   name,
		Short: "Do nothing until stopped: there are no such messages here",
	}, environment, func(logger *slog.Logger, _ []string) []string {
		logger.Warn("there are no messages of this kind, so there is nothing to do here", slog.String("command", name))
		return nil
	})
}

// flushSettings are those of all commands that send messages.
type flushSettings struct {
	PartSettings
	FlushSettings
}

// newFlushSettings returns settings of a command that sends messages of some types. Only their variables are looked at.
func newFlushSettings(messageTypes ...string) *flushSettings {
	settings := &flushSettings{}
	settings.Bursts.MessageTypes = append([]string{}, messageTypes...) // nil would be all
	return settings
}

// FlushSettings are those of sending messages.
type FlushSettings struct {
	config.ProtocolBroker
	config.InternalBroker
	config.Flush
	Bursts config.Bursts
}

// newFlushCommand completes a command that sends messages: those of the types that typesOf, which gets the arguments,
// returns.
func newFlushCommand(
	cmd *cobra.Command, environment []string, typesOf func(logger *slog.Logger, args []string) []string,
) *cobra.Command {
	var quitEarly bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		settings := newFlushSettings(typesOf(slog.New(slog.DiscardHandler), args)...)
		logger, err := LoadSettings(cmd, environment, settings, &settings.Log)
		if err != nil {
			return err
		}
		return flush(cmd.Context(), *settings, typesOf(logger, args), quitEarly, logger)
	}
	OverrideFlag(cmd, "processes", "p", "FLUSH_PROCESSES")
	OverrideFlag(cmd, "wait", "w", "FLUSH_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when the outbox has been gone through once")
	return cmd
}

// flush sends messages of some types until the process is asked to end, or only once.
func flush(ctx context.Context, settings flushSettings, types []string, once bool, logger *slog.Logger) error {
	const name = "flush_messages"
	if len(types) == 0 && once {
		return nil
	}
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	if len(types) == 0 {
		return p.run(ctx, server.Server{Components: server.Copies(0, server.Component{Name: name})})
	}
	flusher, err := p.flusher(name, settings.FlushSettings, types)
	if err != nil {
		p.close()
		return err
	}
	return p.run(ctx, server.Server{Components: []server.Component{flusher}})
}

// flusher returns the component that sends messages of some types.
func (p *part) flusher(name string, settings FlushSettings, types []string) (server.Component, error) {
	bursts := make(map[string]int, len(types))
	for _, messageType := range types {
		bursts[messageType] = settings.Bursts.Of(messageType)
	}
	internalURL := settings.InternalBroker.URL
	if !settings.IsSet() {
		internalURL = settings.ProtocolBroker.URL
	}
	if settings.Processes > 0 {
		p.usesBroker(settings.ProtocolBroker.URL, protocolBroker)
		if settings.IsSet() {
			p.usesBroker(internalURL, internalBroker)
		}
	}
	if err := p.registry.Register(outbox.NewBacklogCollector(p.db, p.logger)); err != nil {
		return server.Component{}, err
	}
	brokerMetrics := p.brokerMetrics()
	flusher, err := outbox.NewFlusher(outbox.Config{
		DB: p.db,
		NewPublisher: func(class smp.Class) outbox.Publisher {
			url := settings.ProtocolBroker.URL
			if class == smp.ClassInternal {
				url = internalURL
			}
			return broker.NewPublisher(broker.PublisherConfig{URL: string(url), Metrics: brokerMetrics, Log: p.logger})
		},
		Types:               types,
		Bursts:              bursts,
		Processes:           settings.Processes,
		Period:              settings.Period,
		Listener:            p.listener(),
		Realm:               p.settings.Realm,
		DeleteParentRecords: p.settings.DeleteRecords,
		Metrics:             outbox.NewMetrics(p.registry),
		Logger:              p.logger,
	})
	if err != nil {
		return server.Component{}, err
	}
	if p.once {
		return server.Component{Name: name, Run: flusher.RunOnce, EndsByItself: true}, nil
	}
	return server.Component{Name: name, Run: flusher.Run}, nil
}
