package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/outbox"
)

// Configurable are commands by their names, each with a function that makes its settings.
type Configurable map[string]func() any

// configurable returns the commands of this package.
func configurable() Configurable {
	commands := Configurable{
		solverName:                  func() any { return &solverSettings{} },
		"roll_turns":                func() any { return &solverSettings{} },
		webServerName:               func() any { return &webServerSettings{} },
		workerName:                  func() any { return newWorkerSettings() },
		"consume_messages":          func() any { return &consumeSettings{} },
		"consume_internal_messages": func() any { return &internalConsumeSettings{} },
		rollWorkerTurns:             func() any { return &workerTurnSettings{} },
		"roll_transfers":            func() any { return &rollTransfersSettings{} },
		"fetch_debtor_infos":        func() any { return &fetchSettings{} },
		"trigger_transfers":         func() any { return &triggerSettings{} },
		pristineCommand:             func() any { return &pristineSettings{} },
		"flush_all":                 func() any { return newFlushSettings(outbox.Types()...) },
		"flush_messages":            func() any { return newFlushSettings(outbox.Types()...) },
		"verify_shard_content":      func() any { return &verifySettings{} },
	}
	for _, flushed := range flushedTypes {
		commands[flushed.command] = func() any { return newFlushSettings(flushed.messageType) }
	}
	for _, command := range idleFlushCommands {
		commands[command] = func() any { return newFlushSettings() }
	}
	for _, table := range (config.Sweeps{}).Tables() {
		commands["scan_"+table] = func() any { return newSweepSettings(table) }
	}
	return commands
}

// NewConfigCommand returns the command that shows the settings of others: those of this package, and the given ones.
func NewConfigCommand(environment []string, others Configurable) *cobra.Command {
	commands := configurable()
	maps.Copy(commands, others)
	return &cobra.Command{
		Use:   "config [COMMAND]",
		Short: "Show the settings of a command, and where they come from",
		Long: `Shows the values of all variables that a command looks at, such as solver or flush_all, or without an argument those
of all variables that there are, and where they come from. Passwords in URLs are left out. It ends with an error if
something is wrong with a value.`,
		Args:      cobra.ArbitraryArgs,
		ValidArgs: slices.Sorted(maps.Keys(commands)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return showConfig(cmd, environment, &config.All{})
			}
			name := strings.Join(args, " ") // as in "configure solver"
			newSettings, known := commands[name]
			if !known {
				return UsageErrorf("there is no command %q that has settings", name)
			}
			return showConfig(cmd, environment, newSettings())
		},
	}
}

func showConfig(cmd *cobra.Command, environment []string, settings any) error {
	loaded, err := config.Load(settings, configInput(environment))
	if loaded == nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for i := range loaded.Settings {
		s := &loaded.Settings[i]
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, s.Origin, printable(s.Value)); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, warning := range loaded.Warnings {
		Say(cmd.ErrOrStderr(), "warning: %s: %s\n", warning.Variable, warning.Text)
	}
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		Say(cmd.ErrOrStderr(), "%v\n", mistakes)
		return errConfiguration
	}
	return err
}

// printable returns a value on one line. Values hardly ever need more than themselves.
func printable(value string) string {
	for _, r := range value {
		if !strconv.IsPrint(r) {
			return strconv.Quote(value)
		}
	}
	return value
}
