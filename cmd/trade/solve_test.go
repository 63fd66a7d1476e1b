package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// The first lines of the files of a book.
const (
	currencyHeader = "is_confirmed,debtor_info_locator,debtor_id," +
		"peg_debtor_info_locator,peg_debtor_id,peg_exchange_rate\n"
	collectorHeader = "collector_id,debtor_id\n"
	sellHeader      = "creditor_id,debtor_id,amount,collector_id\n"
	buyHeader       = "creditor_id,debtor_id,amount\n"
)

func emptyBook() map[string]string { return bookOf("", "", "", "") }

func bookOf(currencies, collectors, sells, buys string) map[string]string {
	return map[string]string{
		"currencies.csv": currencyHeader + currencies,
		"collectors.csv": collectorHeader + collectors,
		"sells.csv":      sellHeader + sells,
		"buys.csv":       buyHeader + buys,
	}
}

func outcomeOf(takings, givings, transfers string) map[string]string {
	const changeHeader = "creditor_id,debtor_id,amount,collector_id\n"
	return map[string]string{
		"takings.csv":             changeHeader + takings,
		"givings.csv":             changeHeader + givings,
		"collector_transfers.csv": "debtor_id,from_collector_id,to_collector_id,amount\n" + transfers,
	}
}

// A worked case of the specification.
type worked struct{ book, outcome map[string]string }

// S1: two traders swap.
func swap() worked {
	return worked{
		book: bookOf(
			"true,L60,60,,,\ntrue,L61,61,L60,60,2.5\n",
			"701,60\n702,61\n",
			"1,60,9000,801\n2,61,3000,802\n",
			"1,61,4000\n2,60,6000\n",
		),
		outcome: outcomeOf(
			"1,60,6000,801\n2,61,2400,802\n",
			"1,61,2400,702\n2,60,6000,701\n",
			"60,801,701,6000\n61,802,702,2400\n",
		),
	}
}

// S2: a ring of three, without collectors.
func ringOfThree() worked {
	return worked{
		book: bookOf(
			"true,L60,60,,,\ntrue,L61,61,L60,60,0.7\ntrue,L62,62,L60,60,1.3\n",
			"",
			"1,60,10000,801\n2,61,11000,802\n3,62,12000,803\n",
			"1,61,20000\n2,62,20000\n3,60,20000\n",
		),
		outcome: outcomeOf(
			"1,60,7700,801\n2,61,11000,802\n3,62,5923,803\n",
			"1,61,11000,802\n2,62,5923,803\n3,60,7700,801\n",
			"",
		),
	}
}

// S8: collectors are made equal; where none is registered, a seller's one gives.
func equalising() worked {
	return worked{
		book: bookOf(
			"true,L60,60,,,\ntrue,L61,61,L60,60,1\n",
			"700,61\n",
			"1,60,6000,801\n2,61,3000,802\n3,61,2000,803\n4,61,1000,700\n",
			"1,61,6000\n2,60,3000\n3,60,2000\n4,60,1000\n",
		),
		outcome: outcomeOf(
			"1,60,6000,801\n2,61,3000,802\n3,61,2000,803\n4,61,1000,700\n",
			"1,61,6000,700\n2,60,3000,801\n3,60,2000,801\n4,60,1000,801\n",
			"61,802,700,3000\n61,803,700,2000\n",
		),
	}
}

func TestSolve(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]worked{
		"swap":          swap(),
		"ring of three": ringOfThree(),
		"equalising":    equalising(),
		"empty":         {emptyBook(), outcomeOf("", "", "")},
	} {
		for _, strategy := range []string{"optimal", "greedy"} {
			t.Run(name+" "+strategy, func(t *testing.T) {
				t.Parallel()
				out := filepath.Join(t.TempDir(), "out")
				mustTrade(t, "solve", "--book", writeFiles(t, c.book), "--out", out, "--strategy", strategy)
				mustHaveOutcome(t, readFiles(t, out), c.outcome)
			})
		}
	}
}

// mustHaveOutcome does not care about the order of lines.
func mustHaveOutcome(t *testing.T, got, want map[string]string) {
	t.Helper()
	if got, want := sortLines(got), sortLines(want); !maps.Equal(got, want) {
		t.Fatalf("got the outcome\n%q\nwant\n%q", got, want)
	}
}

func sortLines(files map[string]string) map[string]string {
	sorted := make(map[string]string)
	for name, content := range files {
		lines := strings.SplitAfter(content, "\n")
		slices.Sort(lines)
		sorted[name] = strings.Join(lines, "")
	}
	return sorted
}

func TestSolveOtherBase(t *testing.T) {
	t.Parallel()
	c := swap()
	c.book["currencies.csv"] = currencyHeader + "true,L61,0x3d,L60,60,2.5\nfalse,L62,-1,,,\ntrue,L60,60,,,\n"
	out := t.TempDir()
	mustTrade(t, "solve", "--book", writeFiles(t, c.book), "--out", out,
		"--base-debtor-id", "0x3c", "--base-debtor-info-locator", "L60")
	mustHaveOutcome(t, readFiles(t, out), c.outcome)
}

func TestSolveDecompose(t *testing.T) {
	t.Parallel()
	c := ringOfThree()
	book, out := writeFiles(t, c.book), t.TempDir()
	said := mustTrade(t, "solve", "--book", book, "--out", out, "--decompose")
	if !strings.Contains(said, "Rings       1, of 3.0 traders on average\n") {
		t.Errorf("it said\n%s", said)
	}
	got := readFiles(t, out)
	lines := strings.Split(strings.TrimSpace(got["circular_trades.csv"]), "\n")
	if lines[0] != "ring,value,step,creditor_id,gives_debtor_id,amount" || len(lines) != 4 {
		t.Fatalf("got the rings %q", lines)
	}
	var steps []string
	for _, line := range lines[1:] {
		cells := strings.Split(line, ",")
		if cells[0] != "1" {
			t.Errorf("ring number in %q", line)
		}
		steps = append(steps, strings.Join(cells[3:], ","))
	}
	slices.Sort(steps)
	if want := []string{"1,60,7700", "2,61,11000", "3,62,5923"}; !slices.Equal(steps, want) {
		t.Errorf("got the steps %q, want %q", steps, want)
	}
	// Without the rings, the old ones go.
	mustTrade(t, "solve", "--book", book, "--out", out)
	mustHaveOutcome(t, readFiles(t, out), c.outcome)
}

func TestSolveSummary(t *testing.T) {
	t.Parallel()
	c := swap()
	c.book["sells.csv"] += "3,60,999,801\n4,99,5000,801\n"
	c.book["buys.csv"] += "3,60,0\n0,60,5000\n"
	dir := t.TempDir()
	r := trade(t.Context(), nil, "solve", "--book", writeFiles(t, c.book), "--out", t.TempDir(),
		"--summary", filepath.Join(dir, "summary.json"), "--seed", "-5", "--decompose")
	wantWarnings := "trade: warning: buys.csv: skipped, because the amount is not positive: 1 row, line 4\n" +
		"trade: warning: buys.csv: skipped, because the creditor ID is 0: 1 row, line 5\n"
	if r.code != exitSuccess || r.stderr != wantWarnings {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	for _, line := range []string{
		"Offers      8 read: 4 to sell, 4 to buy",
		"            4 admitted; skipped: 1 in currencies that cannot be traded, 1 below the minimum amount, " +
			"1 without a positive amount, 1 without a creditor",
		"Currencies  2 read, 2 tradable, 2 clearable, 2 traded",
		"Value       12,000 cleared: 72.7 % of the 16,500 offered, 75.0 % of the 16,000 wanted",
		"Traders     2 of 2 served",
		"Transfers   2 between collectors",
		"Rings       1, of 2.0 traders on average",
	} {
		if !strings.Contains(r.stdout, line+"\n") {
			t.Errorf("there is no line %q in\n%s", line, r.stdout)
		}
	}
	var sum summary
	if err := json.Unmarshal([]byte(readFiles(t, dir)["summary.json"]), &sum); err != nil {
		t.Fatal(err)
	}
	if s := sum.Seconds; s.Read <= 0 || s.Price <= 0 || s.Clear <= 0 || s.Write <= 0 ||
		s.Total < s.Read+s.Price+s.Clear+s.Write {
		t.Errorf("seconds %+v", s)
	}
	if sum.PeakMemoryBytes < 1<<20 {
		t.Errorf("memory %d", sum.PeakMemoryBytes)
	}
	sum.Seconds, sum.PeakMemoryBytes = secondsSummary{}, 0
	want := summary{
		Strategy: "optimal", Seed: -5, MinTradeAmount: 1000, MaxDistanceToBase: 10,
		BaseDebtorID: 60, BaseDebtorInfoLocator: "L60",
		Currencies:   currencySummary{Read: 2, Tradable: 2, Clearable: 2, Traded: 2},
		Collectors:   2,
		Sells:        offerSummary{Read: 4, Admitted: 2, Served: 2, NotClearable: 1, BelowMinimum: 1},
		Buys:         offerSummary{Read: 4, Admitted: 2, Served: 2, InvalidAmount: 1, NoCreditor: 1},
		OfferedValue: 16500, WantedValue: 16000, ClearedValue: 12000,
		ShareOfOffered: 12000. / 16500, ShareOfWanted: 0.75,
		Traders: 2, TradersServed: 2, Transfers: 2,
		Rings: &ringSummary{Count: 1, MeanLength: 2},
	}
	if !reflect.DeepEqual(sum, want) {
		t.Errorf("got %+v, want %+v", sum, want)
	}
}

// tarOf makes an archive like that of "tar c book".
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: "book/" + name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func untar(t *testing.T, archive io.Reader) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for r := tar.NewReader(archive); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(content)
	}
}

func zip(t *testing.T, content []byte) []byte {
	t.Helper()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped.Bytes()
}

// While standard output is taken, people find the summary on standard error.
func TestSolveStandardStreams(t *testing.T) {
	t.Parallel()
	c := swap()
	archive := tarOf(t, c.book)
	for name, stdin := range map[string][]byte{"tar": archive, "tar.gz": zip(t, archive)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := trade(t.Context(), bytes.NewReader(stdin), "solve", "--book", "-", "--out", "-")
			if r.code != exitSuccess || !strings.HasPrefix(r.stderr, "Offers      4 read") {
				t.Fatalf("exit code %d, %s", r.code, r.stderr)
			}
			mustHaveOutcome(t, untar(t, strings.NewReader(r.stdout)), c.outcome)
		})
	}
	for flag, beginning := range map[string]string{"--summary": "{\n", "--report": "<!DOCTYPE html>"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			r := trade(t.Context(), bytes.NewReader(archive), "solve", "--book", "-", "--out", out, flag, "-")
			if r.code != exitSuccess || !strings.HasPrefix(r.stderr, "Offers      4 read") {
				t.Fatalf("exit code %d, %s", r.code, r.stderr)
			}
			if len(r.stdout) < len(beginning) || !strings.EqualFold(r.stdout[:len(beginning)], beginning) {
				t.Errorf("standard output is %.100q", r.stdout)
			}
			mustHaveOutcome(t, readFiles(t, out), c.outcome)
		})
	}
}

func TestSolveReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	book := writeFiles(t, swap().book)
	mustTrade(t, "solve", "--book", book, "--out", filepath.Join(dir, "out"), "--report", filepath.Join(dir, "r.html"))
	page, err := os.ReadFile(filepath.Join(dir, "r.html"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte("Circular trades of the offer book in "+book)) {
		t.Errorf("the report is %.300q...", page)
	}
}

// Whatever goes wrong, old files stay as they are and no new ones appear.
func TestSolveFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, content string
		args                []string
		want                string // with BOOK and OUT for the directories
	}{
		{
			name: "bad rows", file: "sells.csv", content: sellHeader + "1,60,9000.5,801\n2,61\n",
			want: "reading the offer book in BOOK: there are 2 problems, please repair them:\n" +
				"  sells.csv, line 2, column 3 (amount): \"9000.5\" is not an amount: " +
				"it must be a decimal whole number of 64 bits\n" +
				"  sells.csv, line 3: the row has 2 cells, the header has 4",
		},
		{
			name: "duplicate", file: "buys.csv", content: buyHeader + "1,61,4000\n2,60,6000\n1,61,5000\n",
			want: "clearing the offer book in BOOK: there is a problem, please repair it:\n" +
				"  buys.csv, line 4: creditor 1 has a buy offer for debtor 61 already, in line 2",
		},
		{
			name: "currencies", file: "currencies.csv", content: currencyHeader + "true,L60,60,,,\ntrue,L61,60,L60,60,1\n",
			want: "reading the offer book in BOOK: " + solver.ErrDuplicateDebtor.Error() + `: 60 is both "L60" and "L61"`,
		},
		{
			name: "no book", args: []string{"--book", "OUT"},
			want: "reading the offer book in OUT: not an offer book: " +
				"there is no currencies.csv, no collectors.csv, no sells.csv, no buys.csv (nor the like with .gz)",
		},
		{
			name: "out is a file", args: []string{"--out", "OUT/takings.csv"},
			want: "--out: OUT/takings.csv is not a directory",
		},
		{
			name: "nowhere to report", args: []string{"--report", "OUT/none/report.html"},
			want: "the directory of OUT/none/report.html: stat OUT/none: no such file or directory",
		},
		{
			name: "summary is a directory", args: []string{"--summary", "BOOK"},
			want: "writing the outcome: replacing BOOK: it is not a regular file, remove it or choose another name",
		},
		{
			name: "same file", args: []string{"--summary", "OUT/takings.csv"},
			want: "writing the outcome: writing OUT/takings.csv: two different files would have this name",
		},
		{
			name: "empty standard input", args: []string{"--book", "-"},
			want: "reading the offer book on standard input: not an offer book: " +
				"there is no currencies.csv, no collectors.csv, no sells.csv, no buys.csv (nor the like with .gz)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := swap().book
			if c.file != "" {
				files[c.file] = c.content
			}
			old := map[string]string{"takings.csv": "old", "circular_trades.csv": "old"}
			book, out := writeFiles(t, files), writeFiles(t, old)
			fill := strings.NewReplacer("BOOK", book, "OUT", out).Replace
			args := []string{"solve", "--book", book, "--out", out}
			for _, arg := range c.args {
				args = append(args, fill(arg))
			}
			trade(t.Context(), strings.NewReader(""), args...).mustFail(t, exitFailure, "trade: "+fill(c.want)+"\n")
			mustHaveFiles(t, out, old)
		})
	}
}

// A reader that never brings anything.
type silence struct {
	heard func()
	end   <-chan struct{}
}

func (s *silence) Read([]byte) (int, error) {
	s.heard()
	<-s.end
	return 0, io.EOF
}

func TestSolveStops(t *testing.T) {
	t.Parallel()
	signal := errors.New("interrupt signal received")
	const want = "trade: stopped before the end: interrupt signal received\n"
	t.Run("while it reads standard input", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		stdin := &silence{heard: func() { cancel(signal) }, end: t.Context().Done()}
		out := t.TempDir()
		trade(ctx, stdin, "solve", "--book", "-", "--out", out).mustFail(t, exitFailure, want)
		mustHaveFiles(t, out, map[string]string{})
	})
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(signal)
		out := t.TempDir()
		trade(ctx, nil, "solve", "--book", writeFiles(t, swap().book), "--out", out).mustFail(t, exitFailure, want)
		mustHaveFiles(t, out, map[string]string{})
	})
}
