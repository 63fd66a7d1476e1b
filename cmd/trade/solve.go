package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/report"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// standardStream is what a person writes instead of the name of a file or directory to mean standard input or output.
const standardStream = "-"

const solveHelp = `Reads an offer book, finds the circular trades, and writes what everybody gives and gets.

The book is a directory with four files, NAME.csv or NAME.csv.gz, whose first lines name their columns:
  currencies  is_confirmed, debtor_info_locator, debtor_id,
              peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate
  collectors  collector_id, debtor_id
  sells       creditor_id, debtor_id, amount, collector_id
  buys        creditor_id, debtor_id, amount
The first currency is the base currency, unless the two flags that begin with --base say otherwise.

The outcome goes to takings.csv, givings.csv and collector_transfers.csv, and the rings to
circular_trades.csv if asked for. Either all files are written or none.

With '-' the book is read from standard input as a tar archive, plain or gzip, or the outcome is written
to standard output as a plain tar archive; summary and report can go to standard output, too.

The summary is a JSON object: times are in seconds, values in tokens of the base currency.`

type solveOptions struct {
	book, out       string
	summary, report string // empty if not wanted
	strategy        string
	minTradeAmount  int64
	maxDistance     int
	seed            int64
	decompose       bool
	baseID          string
	baseLocator     string
	otherBase       bool // whether the two above are given
}

func newSolveCommand() *cobra.Command {
	var opts solveOptions
	cmd := &cobra.Command{
		Use:   "solve --book DIR --out DIR",
		Short: "Clear an offer book",
		Long:  solveHelp,
		Example: `  trade solve --book book --out out --report report.html
  tar cz book | trade solve --book - --out - > out.tar`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.otherBase = cmd.Flags().Changed("base-debtor-id")
			return runSolve(cmd.Context(), opts, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.book, "book", "", "`DIR` that holds the offer book")
	flags.StringVar(&opts.out, "out", "", "`DIR` to write the outcome to, made if missing")
	flags.StringVar(&opts.strategy, "strategy", "optimal", "`NAME` of the strategy: optimal or greedy")
	flags.Int64Var(&opts.minTradeAmount, "min-trade-amount", 1000, "number `N` of tokens below which nobody trades")
	flags.IntVar(&opts.maxDistance, "max-distance-to-base", 10, "longest chain of pegs, `D`, between a currency and the base")
	flags.Int64Var(&opts.seed, "seed", 1, "seed `S` of the random choices; the same one gives the same outcome")
	flags.StringVar(&opts.summary, "summary", "", "JSON `FILE` to write a summary to")
	flags.StringVar(&opts.report, "report", "", "HTML `FILE` to write a report to, for people")
	flags.BoolVar(&opts.decompose, "decompose", false, "also write who trades with whom: the rings,\nwhose steps are rounded to tokens (some to 0)")
	flags.StringVar(&opts.baseID, "base-debtor-id", "", "`ID` of the base currency's debtor")
	flags.StringVar(&opts.baseLocator, "base-debtor-info-locator", "", "`LOCATOR` of the base currency's debtor info")
	cmd.MarkFlagsRequiredTogether("base-debtor-id", "base-debtor-info-locator")
	mustMarkRequired(cmd, "book", "out")
	return cmd
}

// A solve is one run of the command.
type solve struct {
	opts           solveOptions
	strategy       solver.Strategy
	reading        book.LoadOptions
	stdin          io.Reader
	stdout, stderr io.Writer
	progress       *progress
	start          time.Time

	// What has been found out so far.
	book    *book.Book
	loaded  *book.Loaded
	outcome *solver.Outcome
	rings   *book.RingCount // nil if not asked for
	took    timings
}

func runSolve(ctx context.Context, opts solveOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	s := &solve{opts: opts, stdin: stdin, stdout: stdout, stderr: stderr, start: time.Now(), progress: newProgress(stderr)}
	if err := s.checkUsage(); err != nil {
		return err
	}
	if err := s.checkTargets(); err != nil {
		return err
	}
	err := s.run(ctx)
	s.progress.close()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
	}
	return err
}

func (s *solve) run(ctx context.Context) (err error) {
	dir := s.opts.book
	if dir == standardStream {
		if dir, err = os.MkdirTemp("", "trade-book-"); err != nil {
			return fmt.Errorf("making a directory for the offer book on standard input: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := s.load(ctx, dir); err != nil {
		return fmt.Errorf("reading the offer book %s: %w", s.opts.bookName(), err)
	}
	for _, warning := range s.loaded.Warnings {
		say(s.stderr, "trade: warning: %s\n", warning)
	}
	if err := s.clear(ctx); err != nil {
		return fmt.Errorf("clearing the offer book %s: %w", s.opts.bookName(), err)
	}
	if err := s.write(ctx); err != nil {
		return fmt.Errorf("writing the outcome: %w", err)
	}
	return nil
}

func (o solveOptions) bookName() string {
	if o.book == standardStream {
		return "on standard input"
	}
	return "in " + o.book
}

func (s *solve) checkUsage() error {
	strategy, err := solver.StrategyByName(s.opts.strategy)
	if err != nil {
		return usageErrorf("--strategy: %v", err)
	}
	s.strategy = strategy
	s.reading = book.LoadOptions{
		MaxDistanceToBase: s.opts.maxDistance,
		MinTradeAmount:    s.opts.minTradeAmount,
		Progress:          func(read, size int64) { s.progress.bytes("reading", read, size) },
	}
	if s.opts.otherBase {
		id, err := swpt.ParseID(s.opts.baseID)
		if err != nil {
			return usageErrorf("--base-debtor-id: %v", err)
		}
		s.reading.Base = &book.Base{Locator: s.opts.baseLocator, DebtorID: swpt.DebtorID(id)}
	}
	if err := s.reading.Validate(); err != nil {
		return usageErrorf("%v", err)
	}
	if flags := s.opts.toStdout(); len(flags) > 1 {
		return usageErrorf("only one of %s can be %q: standard output", strings.Join(flags, ", "), standardStream)
	}
	return nil
}

// toStdout lists the flags by which standard output was asked for.
func (o solveOptions) toStdout() []string {
	var flags []string
	for _, target := range []struct{ flag, value string }{
		{"--out", o.out}, {"--summary", o.summary}, {"--report", o.report},
	} {
		if target.value == standardStream {
			flags = append(flags, target.flag)
		}
	}
	return flags
}

// checkTargets finds out early what would be annoying to find out after a long computation.
func (s *solve) checkTargets() error {
	if s.opts.out != standardStream {
		info, err := os.Stat(s.opts.out)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("--out: %s is not a directory", s.opts.out)
		}
	}
	for _, file := range []string{s.opts.summary, s.opts.report} {
		if file == "" || file == standardStream {
			continue
		}
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return fmt.Errorf("the directory of %s: %w", file, err)
		}
	}
	return nil
}

func (s *solve) load(ctx context.Context, dir string) (err error) {
	if s.opts.book == standardStream {
		if err := unpack(ctx, s.stdin, dir); err != nil {
			return err
		}
	}
	if s.book, err = book.Open(dir); err != nil {
		return err
	}
	if s.loaded, err = s.book.Load(ctx, s.reading); err != nil {
		return err
	}
	s.took.price = s.loaded.Pricing
	s.took.read = time.Since(s.start) - s.took.price
	return nil
}

// unpack ends with the context even when standard input neither brings anything nor ends.
func unpack(ctx context.Context, stdin io.Reader, dir string) error {
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return errors.New("it is a terminal, it should be a tar archive")
	}
	archive, feed := io.Pipe()
	stop := context.AfterFunc(ctx, func() { archive.CloseWithError(context.Cause(ctx)) })
	defer stop()
	go func() {
		_, err := io.Copy(feed, stdin)
		feed.CloseWithError(err)
	}()
	return book.Unpack(archive, dir)
}

func (s *solve) clear(ctx context.Context) (err error) {
	start := time.Now()
	s.outcome, err = s.loaded.Market.Clear(ctx, solver.Options{
		Strategy: s.strategy,
		Seed:     s.opts.seed,
		Progress: s.progress.share,
	})
	s.took.clear = time.Since(start)
	var duplicate *solver.DuplicateOfferError
	if errors.As(err, &duplicate) {
		return s.book.ExplainDuplicate(ctx, duplicate)
	}
	return err
}

// write writes everything that goes to files or to standard output. The files appear at the end, together.
func (s *solve) write(ctx context.Context) (err error) {
	var staging book.Staging
	defer func() { err = errors.Join(err, staging.Discard()) }()
	start := time.Now()
	s.progress.share("writing", 0)
	if s.opts.out == standardStream {
		err = s.writeArchive(ctx)
	} else {
		err = s.writeOutcome(ctx, &staging, s.opts.out)
	}
	if err != nil {
		return err
	}
	s.took.write = time.Since(start)
	if err := s.writeFile(ctx, &staging, s.opts.report, s.writeReport); err != nil {
		return err
	}
	sum := s.sumUp()
	if err := s.writeFile(ctx, &staging, s.opts.summary, sum.writeJSON); err != nil {
		return err
	}
	if err := staging.Commit(); err != nil {
		return err
	}
	s.progress.close()
	people := s.stdout
	if len(s.opts.toStdout()) > 0 {
		people = s.stderr
	}
	return sum.writeText(people)
}

func (s *solve) writeOutcome(ctx context.Context, staging *book.Staging, dir string) error {
	rings, err := book.WriteOutcome(ctx, staging, dir, s.outcome, s.opts.decompose)
	if s.opts.decompose {
		s.rings = &rings
	}
	return err
}

func (s *solve) writeArchive(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "trade-outcome-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var staging book.Staging
	if err := s.writeOutcome(ctx, &staging, dir); err != nil {
		return err
	}
	if err := staging.Commit(); err != nil {
		return err
	}
	return book.PackOutcome(s.stdout, dir)
}

// writeFile does nothing if the file is not wanted.
func (s *solve) writeFile(
	ctx context.Context, staging *book.Staging, target string, content func(*bufio.Writer) error,
) error {
	switch target {
	case "":
		return nil
	case standardStream:
		w := bufio.NewWriter(s.stdout)
		return errors.Join(content(w), w.Flush())
	default:
		return staging.Write(ctx, target, content)
	}
}

func (s *solve) writeReport(w *bufio.Writer) error {
	return report.Write(w, report.Data{
		Title:       "Circular trades of the offer book " + s.opts.bookName(),
		Params:      s.loaded.Prices.Params(),
		Strategy:    s.strategy.Name(),
		Seed:        s.opts.seed,
		Prices:      s.loaded.Prices,
		Outcome:     s.outcome,
		Elapsed:     s.took.clear,
		GeneratedAt: time.Now().UTC(),
	})
}
