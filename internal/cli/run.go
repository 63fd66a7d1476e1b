package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	ExitSuccess = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// Main runs the program that consists of a command and those below it, and ends the process.
func Main(newCommand func(environment []string) *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), heededSignals()...)
	// The first signal asks for a clean end, the second one gets the system's treatment.
	context.AfterFunc(ctx, stop)
	os.Exit(Execute(ctx, newCommand(os.Environ()), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// heededSignals leaves out those that whoever started the program wants to be ignored, as nohup does.
func heededSignals() []os.Signal {
	var heeded []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			heeded = append(heeded, s)
		}
	}
	return heeded
}

// Execute runs a program and returns its exit code. Errors are printed here, once.
func Execute(
	ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer,
) int {
	root.Version = Version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	prepare(root)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var failed *failureError
	switch {
	case err == nil:
		return ExitSuccess
	case errors.As(err, &failed):
		Say(stderr, "%s: %v\n", root.Name(), failed.cause)
		return ExitFailure
	default:
		// Either a command has found that it cannot do what it was told to, or cobra has, before any command ran.
		Say(stderr, "%s: %v\nUsage: %s\nRun '%s --help' to see more.\n", root.Name(), err, usage(cmd), cmd.CommandPath())
		return ExitUsage
	}
}

// usage returns how a command is called.
func usage(cmd *cobra.Command) string {
	if cmd.HasSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

// prepare tells failures of commands from the wrong use of them. Commands that do not say otherwise take no arguments.
func prepare(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
	if cmd.RunE == nil {
		return
	}
	if cmd.Args == nil {
		cmd.Args = cobra.NoArgs
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err != nil && !errors.As(err, new(*usageError)) {
			err = &failureError{err}
		}
		return err
	}
}

// release is the version of what is built, where that is not known from the sources themselves, as in the container image:
// go build -ldflags "-X github.com/circular-trade/circular-trade/internal/cli.release=1.2.3".
var release string

// Version tells what the program was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown origin"
	}
	return cmp.Or(release, info.Main.Version) + " (" + info.GoVersion + ")"
}

// Say tells people about a problem. There is nobody to tell that it could not be told.
func Say(stderr io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(stderr, format, args...)
}

// A failureError is an error of a command that was called in the right way.
type failureError struct{ cause error }

func (f *failureError) Error() string { return f.cause.Error() }

// A usageError tells that a command was called in a wrong way, as only the command itself can find out.
type usageError struct{ reason string }

func (u *usageError) Error() string { return u.reason }

// UsageErrorf returns an error that tells that a command was called in a wrong way.
func UsageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}
