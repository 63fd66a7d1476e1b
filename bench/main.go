// Command bench measures, and prints tables of medians. Where there is such a thing, a table shows beside it what a
// program without any purpose of its own reaches on the same machine in the same run: times mean little elsewhere,
// ratios mean more.
package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var runs int
	root := &cobra.Command{
		Use:          "bench",
		Short:        "Measure how fast things are",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if runs < 1 {
				return fmt.Errorf("--runs: %d must be at least 1", runs)
			}
			return nil
		},
	}
	root.PersistentFlags().IntVar(&runs, "runs", 3, "number of runs, of which the medians are shown")
	all := []*cobra.Command{
		newClearingCommand(&runs), newMessagesCommand(&runs), newRulesCommand(&runs), newTurnsCommand(&runs),
		newFetchesCommand(&runs), newAdminCommand(&runs), newSweepsCommand(&runs), newWorldCommand(&runs),
	}
	root.AddCommand(all...)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		for _, part := range all {
			part.SetContext(cmd.Context())
			if err := part.RunE(part, args); err != nil {
				return err
			}
		}
		return nil
	}
	return root
}

// command runs a program and returns what it prints.
func command(ctx context.Context, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the names are those of this file
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// buildTrade builds the program trade into a directory.
func buildTrade(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "trade")
	_, err = command(ctx, "go", "build", "-o", program, "./cmd/trade")
	return program, err
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// medianOf returns the median of what some runs have measured.
func medianOf[R any](runs []R, of func(R) float64) float64 {
	values := make([]float64, len(runs))
	for i, run := range runs {
		values[i] = of(run)
	}
	return median(values)
}
