package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// newClearingCommand measures how fast, how well and in how much memory offer books are cleared. It makes up books of
// growing size, clears each with every strategy by running the program trade as people would, several times in turn, and
// prints a table of medians. Beside them stands the largest value that can be cleared, and how long the cost-scaling
// solver of the LEMON library takes to find it, if that can be built here.
func newClearingCommand(runs *int) *cobra.Command {
	var b bench
	cmd := &cobra.Command{
		Use:   "clearing",
		Short: "Measure clearing on books of growing size",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.runs, b.log = *runs, cmd.ErrOrStderr()
			return b.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntSliceVar(&b.offers, "offers", []int{20_000, 200_000, 2_000_000}, "sizes of the books, in offers")
	return cmd
}

type bench struct {
	offers  []int
	runs    int
	log     io.Writer
	dir     string
	trade   string // program
	optimum string // program, empty if it cannot be built
}

// A measurement is one run of one strategy on one book. It is a part of what trade solve --summary writes.
type measurement struct {
	Seconds struct {
		Read  float64 `json:"read"`
		Price float64 `json:"price"`
		Clear float64 `json:"clear"`
		Write float64 `json:"write"`
	} `json:"seconds"`
	PeakMemoryBytes float64 `json:"peak_memory_bytes"`
	ClearedValue    float64 `json:"cleared_value"`
}

func (b *bench) run(ctx context.Context, out io.Writer) (err error) {
	if b.dir, err = os.MkdirTemp("", "circular-trade-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "offers\tstrategy\tread s\tprice s\tclear s\twrite s\tpeak MiB\tcleared value\tof the optimum\tclear time / LEMON\t")
	for _, offers := range b.offers {
		if err := b.measureBook(ctx, table, offers); err != nil {
			return err
		}
	}
	return table.Flush()
}

// build makes the programs to be measured.
func (b *bench) build(ctx context.Context) (err error) {
	if b.trade, err = buildTrade(ctx, b.dir); err != nil {
		return err
	}
	optimum := filepath.Join(b.dir, "optimum")
	if _, err := command(ctx, "c++", "-O2", "-std=c++17", "-o", optimum, "bench/optimum/optimum.cpp"); err != nil {
		_, _ = fmt.Fprintf(b.log, "The optimum is left out, since its program cannot be built (Debian: apt-get install g++ liblemon-dev).\n")
		return ctx.Err()
	}
	b.optimum = optimum
	return nil
}

// measureBook makes a book and writes a line of the table for each strategy.
func (b *bench) measureBook(ctx context.Context, table io.Writer, offers int) error {
	const offersOfTrader = 4
	traders := max(1, offers/offersOfTrader)
	folder := filepath.Join(b.dir, "book")
	_, _ = fmt.Fprintf(b.log, "%s offers: making up the book\n", humanize.Comma(int64(offers)))
	_, err := command(ctx, b.trade, "generate", "--out", folder,
		"--traders", strconv.Itoa(traders), "--currencies", strconv.Itoa(max(100, traders/50)))
	if err != nil {
		return err
	}
	strategies := []string{"optimal", "greedy"}
	measured := make(map[string][]measurement)
	var limit float64
	var limitSeconds []float64
	for run := range b.runs {
		_, _ = fmt.Fprintf(b.log, "%s offers: run %d of %d\n", humanize.Comma(int64(offers)), run+1, b.runs)
		if b.optimum != "" {
			value, seconds, err := b.findOptimum(ctx, folder)
			if err != nil {
				return err
			}
			limit, limitSeconds = value, append(limitSeconds, seconds)
		}
		for _, strategy := range strategies {
			m, err := b.solve(ctx, folder, strategy)
			if err != nil {
				return err
			}
			measured[strategy] = append(measured[strategy], m)
		}
	}
	for _, strategy := range strategies {
		writeLine(table, offers, strategy, measured[strategy], limit, limitSeconds)
	}
	return nil
}

func writeLine(table io.Writer, offers int, strategy string, runs []measurement, limit float64, limitSeconds []float64) {
	of := func(get func(measurement) float64) float64 {
		values := make([]float64, 0, len(runs))
		for _, run := range runs {
			values = append(values, get(run))
		}
		return median(values)
	}
	share, ratio := "-", "-"
	clearSeconds := of(func(m measurement) float64 { return m.Seconds.Clear })
	cleared := of(func(m measurement) float64 { return m.ClearedValue })
	if limit > 0 {
		share = fmt.Sprintf("%.2f %%", 100*cleared/limit)
		ratio = fmt.Sprintf("%.2f of %.2f s", clearSeconds/median(limitSeconds), median(limitSeconds))
	}
	_, _ = fmt.Fprintf(table, "%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.6g\t%s\t%s\t\n", humanize.Comma(int64(offers)), strategy,
		of(func(m measurement) float64 { return m.Seconds.Read }),
		of(func(m measurement) float64 { return m.Seconds.Price }),
		clearSeconds,
		of(func(m measurement) float64 { return m.Seconds.Write }),
		of(func(m measurement) float64 { return m.PeakMemoryBytes })/(1<<20),
		cleared, share, ratio)
}

func (b *bench) solve(ctx context.Context, folder, strategy string) (m measurement, err error) {
	summary := filepath.Join(b.dir, "summary.json")
	_, err = command(ctx, b.trade, "solve", "--book", folder, "--out", filepath.Join(b.dir, "out"),
		"--strategy", strategy, "--summary", summary)
	if err != nil {
		return m, err
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		return m, err
	}
	err = json.Unmarshal(text, &m)
	return m, err
}

// findOptimum returns the largest value that can be cleared, and how long it took to find that.
func (b *bench) findOptimum(ctx context.Context, folder string) (value, seconds float64, err error) {
	output, err := command(ctx, b.optimum, folder)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(output) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		parsed, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("unexpected output of the optimum: %q", line)
		}
		switch name {
		case "optimum":
			value = parsed
		case "seconds":
			seconds = parsed
		}
	}
	return value, seconds, nil
}
