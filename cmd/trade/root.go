package main

import (
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/cli"
)

// Common is what all commands of the service need to know. It is a part of their settings.
type Common = cli.Common

// The commands in this package know what they share with other programs by shorter names.
var (
	loadSettings   = cli.LoadSettings
	overrideFlag   = cli.OverrideFlag
	usageErrorf    = cli.UsageErrorf
	say            = cli.Say
	version        = cli.Version
	errNotMigrated = cli.ErrNotMigrated
)

// Groups of commands in the help text.
const (
	groupBooks  = "books"
	groupSetUp  = "set-up"
	groupSolver = "solver"
	groupWorker = "worker"
	groupParts  = "parts"
	groupInside = "inside"
	groupWorld  = "world"
)

func newRootCommand(environment []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "trade",
		Short: "Circular Trade finds rings of traders who can give each other what they want",
		Long: `Circular Trade finds circular trades in a Swaptacular network: rings in which everybody gives up
a currency they have too much of and receives, for the same value, one that they lack.`,
	}
	root.AddGroup(
		&cobra.Group{ID: groupBooks, Title: "Clearing offer books:"},
		&cobra.Group{ID: groupSetUp, Title: "Setting up:"},
		&cobra.Group{ID: groupSolver, Title: "The solver:"},
		&cobra.Group{ID: groupWorker, Title: "Workers:"},
		&cobra.Group{ID: groupParts, Title: "Parts of a worker, as commands of their own:"},
		&cobra.Group{ID: groupInside, Title: "Looking inside:"},
		&cobra.Group{ID: groupWorld, Title: "In a simulated world:"},
	)
	addTo := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
		}
		root.AddCommand(commands...)
	}
	addTo(groupBooks, newSolveCommand(), newGenerateCommand())
	addTo(groupSetUp, newConfigureCommand(environment), newAwaitMigrationsCommand(environment),
		newSubscribeCommand(environment), newUnsubscribeCommand(environment), newDeleteQueueCommand(environment))
	addTo(groupSolver, cli.NewSolverCommand(environment), cli.NewRollTurnsCommand(environment),
		cli.NewWebServerCommand(environment))
	addTo(groupWorker, cli.NewWorkerCommand(environment))
	addTo(groupParts, cli.NewPartCommands(environment)...)
	addTo(groupInside, newCurrenciesCommand(environment), cli.NewConfigCommand(environment, setUpSettings()),
		cli.NewVerifyShardContentCommand(environment))
	addTo(groupWorld, newDemoCommand(), newWorldCommand(environment))
	return root
}

func mustMarkRequired(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // the command does not have the flag
		}
	}
}
