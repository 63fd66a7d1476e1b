package cli

import (
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/outbox"
)

// configurable returns, for each server, its settings, and all settings for no name.
func configurable(server string) any {
	switch server {
	case solverName:
		return &solverSettings{}
	case workerName:
		settings := &workerSettings{}
		settings.Bursts.MessageTypes = outbox.Types()
		return settings
	default:
		return &config.All{}
	}
}

// NewConfigCommand returns the command that shows the settings of servers.
func NewConfigCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   "config [solver|worker]",
		Short: "Show the settings of a server, and where they come from",
		Long: `Shows the values of all variables that a server looks at, or without an argument those of all variables that there
are, and where they come from. Passwords in URLs are left out. It ends with an error if something is wrong with a value.`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{solverName, workerName},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return showConfig(cmd, environment, configurable(name))
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
