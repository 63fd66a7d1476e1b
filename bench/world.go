package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/demo"
	"github.com/circular-trade/circular-trade/internal/world"
)

// How many offers there can be in a turn that is measured more than once.
const repeatedOffers = 10_000

// newWorldCommand measures turns from end to end: solver and workers are processes of their own, on the servers that
// TEST_POSTGRES_URL and TEST_BROKER_URL lead to, and this process is the simulated world around them.
func newWorldCommand(runs *int) *cobra.Command {
	b := &worldBench{}
	cmd := &cobra.Command{
		Use:   "world",
		Short: "Measure turns from end to end, with all processes, in a simulated world",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, variable := range []string{"TEST_POSTGRES_URL", "TEST_BROKER_URL", "TEST_BROKER_MANAGEMENT_URL"} {
				if os.Getenv(variable) == "" {
					return errors.New(`there are no servers to measure on: run "make bench", or set ` + variable)
				}
			}
			b.runs, b.log = *runs, cmd.ErrOrStderr()
			return b.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntSliceVar(&b.offers, "offers", []int{10_000, 100_000}, "sizes of the turns, in offers, more or less")
	cmd.Flags().IntSliceVar(&b.shards, "shards", []int{1, 4}, "numbers of workers: powers of two, at most 16")
	return cmd
}

type worldBench struct {
	offers, shards []int
	runs           int
	log            io.Writer
	dir            string
	trade          string // program
}

func (b *worldBench) run(ctx context.Context, out io.Writer) (err error) {
	if b.dir, err = os.MkdirTemp("", "circular-trade-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.trade, err = buildTrade(ctx, b.dir); err != nil {
		return err
	}
	for _, offers := range b.offers {
		all := map[int][]journey{}
		runs := max(1, b.runs*repeatedOffers/max(repeatedOffers, offers))
		for run := range runs {
			for _, shards := range b.shards { // in turn, so that noise is fair
				name := fmt.Sprintf("%s offers, workers: %d, run %d of %d", humanize.Comma(int64(offers)), shards, run+1, runs)
				j, err := b.measure(ctx, name, offers, shards)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				all[shards] = append(all[shards], j)
			}
		}
		if err := b.write(out, all); err != nil {
			return err
		}
	}
	return nil
}

// A journey is one turn from end to end.
type journey struct {
	demo.Figures
	peaks map[string]float64         // of memory, in bytes, by process
	cpu   map[string]*processorTimes // by process
}

// processorTimes are how long processors have been at work for a process, by stage.
type processorTimes [demo.Stages]time.Duration

// measure plays a turn.
func (b *worldBench) measure(ctx context.Context, name string, offers, shards int) (j journey, err error) {
	const offersOfTrader, tradersOfCurrency, leastCurrencies = 4, 50, 100
	traders := max(1, offers/offersOfTrader)
	scenario, err := world.FromSynthetic(book.Synthetic{
		Currencies: max(leastCurrencies, traders/tradersOfCurrency), Traders: traders, Seed: 1,
	})
	if err != nil {
		return j, err
	}
	address, drop, err := newVirtualHost(ctx)
	if err != nil {
		return j, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	teams, err := servers(ctx)
	if err != nil {
		return j, err
	}
	w := &watcher{
		name: name, log: b.log, stage: demo.Waiting, spent: map[string]*processorTimes{},
		meter: newMeter(append(teams, team{name: "simulated world", process: os.Getpid()})),
	}
	j.Figures, err = demo.Measure(ctx, demo.Settings{
		PostgresURL: os.Getenv("TEST_POSTGRES_URL"), BrokerURL: address, Program: b.trade,
		Scenario: scenario, Profile: world.Calm(), Seed: 1, Shards: shards,
		Dir: filepath.Join(b.dir, "logs"), Out: io.Discard,
	}, w.watch)
	peaks, failure := w.meter.close()
	j.peaks, j.cpu = peaks, w.spent
	return j, errors.Join(err, failure)
}

// A watcher finds out what each process needs in each stage.
type watcher struct {
	name  string
	log   io.Writer
	meter *meter

	stage demo.Stage
	begun map[string]time.Duration // what had been spent when the stage began
	spent map[string]*processorTimes
}

// watch ends a stage, and begins the next one.
func (w *watcher) watch(next demo.Stage, processes map[string]int) {
	for name, id := range processes {
		w.meter.add(team{name: name, process: id})
	}
	now := w.meter.cpu()
	if w.stage != demo.Waiting {
		for name, cpu := range now {
			if w.spent[name] == nil {
				w.spent[name] = &processorTimes{}
			}
			w.spent[name][w.stage] = cpu - w.begun[name]
		}
	}
	if next != demo.Waiting {
		_, _ = fmt.Fprintf(w.log, "%s: %v\n", w.name, next)
	}
	w.stage, w.begun = next, now
}

// write prints the medians of turns of one size, by number of shards.
func (b *worldBench) write(out io.Writer, all map[int][]journey) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(table, format, args...) } // Flush tells what went wrong
	p("\toffers\tworkers\ttrades\ttrades per second\tof the first\tmessages per second\t")
	for stage := range demo.Stages {
		p("%v s\t", stage)
	}
	p("\n")
	rate := func(j journey) float64 { return float64(j.Trades) / j.Seconds[demo.Moving] }
	for _, shards := range b.shards {
		turns := all[shards]
		perSecond := medianOf(turns, rate)
		p("\t%s\t%d\t%s\t%s\t%.2f\t%s\t", humanize.Comma(int64(turns[0].Offers)), shards, humanize.Comma(int64(turns[0].Trades)),
			humanize.Comma(int64(perSecond)), perSecond/medianOf(all[b.shards[0]], rate),
			humanize.Comma(int64(medianOf(turns, func(j journey) float64 {
				return float64(j.Messages[demo.Moving]) / j.Seconds[demo.Moving]
			}))))
		for stage := range demo.Stages {
			p("%.1f\t", medianOf(turns, func(j journey) float64 { return j.Seconds[stage] }))
		}
		p("\n")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, shards := range b.shards {
		if err := writeProcesses(out, shards, all[shards]); err != nil {
			return err
		}
	}
	return nil
}

// writeProcesses prints what each process has needed.
func writeProcesses(out io.Writer, shards int, turns []journey) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(table, format, args...) }
	p("\tworkers: %d, share of %d processors\tpeak MiB\t", shards, runtime.NumCPU())
	for stage := range demo.Stages {
		p("%v\t", stage)
	}
	p("\n")
	for _, name := range slices.Sorted(maps.Keys(turns[0].cpu)) {
		p("\t%s\t%.0f\t", name, medianOf(turns, func(j journey) float64 { return j.peaks[name] })/(1<<20))
		for stage := range demo.Stages {
			p("%.0f %%\t", 100*medianOf(turns, func(j journey) float64 {
				return j.cpu[name][stage].Seconds() / j.Seconds[stage] / float64(runtime.NumCPU())
			}))
		}
		p("\n")
	}
	return table.Flush()
}
