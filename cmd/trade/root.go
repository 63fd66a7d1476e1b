package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitSuccess = 0
	exitFailure = 1
	exitUsage   = 2
)

// Groups of commands in the help text.
const (
	groupBooks  = "books"
	groupSetUp  = "set-up"
	groupWorker = "worker"
)

// execute runs the program and returns its exit code. Errors are printed here, once.
func execute(
	ctx context.Context, environment, args []string, stdin io.Reader, stdout, stderr io.Writer,
) int {
	root := newRootCommand(environment)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var failed *failure
	switch {
	case err == nil:
		return exitSuccess
	case errors.As(err, &failed):
		say(stderr, "trade: %v\n", failed.cause)
		return exitFailure
	default:
		// Either a command has found that it cannot do what it was told to, or cobra has, before any command ran.
		say(stderr, "trade: %v\nRun '%s --help' to see how it is used.\n", err, cmd.CommandPath())
		return exitUsage
	}
}

// say tells people about a problem. There is nobody to tell that it could not be told.
func say(stderr io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(stderr, format, args...)
}

// A failure is an error of a command that was called in the right way.
type failure struct{ cause error }

func (f *failure) Error() string { return f.cause.Error() }

// A usageError tells that a command was called in a wrong way, as only the command itself can find out.
type usageError struct{ reason string }

func (u *usageError) Error() string { return u.reason }

func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func newRootCommand(environment []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "trade",
		Short: "Circular Trade finds rings of traders who can give each other what they want",
		Long: `Circular Trade finds circular trades in a Swaptacular network: rings in which everybody gives up
a currency they have too much of and receives, for the same value, one that they lack.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: groupBooks, Title: "Clearing offer books:"},
		&cobra.Group{ID: groupSetUp, Title: "Setting up:"},
		&cobra.Group{ID: groupWorker, Title: "Parts of a worker:"},
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
	addTo(groupWorker, newConsumeMessagesCommand(environment), newConsumeInternalMessagesCommand(environment))
	addTo(groupWorker, newFlushCommands(environment)...)
	addTo(groupWorker, newRollWorkerTurnsCommand(environment))
	addTo(groupWorker, newTriggerTransfersCommand(environment))
	for _, cmd := range root.Commands() {
		if cmd.Args == nil {
			cmd.Args = cobra.NoArgs
		}
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if err != nil && !errors.As(err, new(*usageError)) {
				err = &failure{err}
			}
			return err
		}
	}
	return root
}

// version tells what the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown origin"
	}
	return info.Main.Version + " (" + info.GoVersion + ")"
}

func mustMarkRequired(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // the command does not have the flag
		}
	}
}
