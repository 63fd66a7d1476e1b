package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/cli"
)

const (
	exitSuccess = cli.ExitSuccess
	exitFailure = cli.ExitFailure
	exitUsage   = cli.ExitUsage
)

// execute runs the program and returns its exit code.
func execute(
	ctx context.Context, environment, args []string, stdin io.Reader, stdout, stderr io.Writer,
) int {
	return cli.Execute(ctx, newRootCommand(environment), args, stdin, stdout, stderr)
}

// A result is what a run of the program leaves behind, apart from files.
type result struct {
	code           int
	stdout, stderr string
}

// trade runs the program in-process.
func trade(ctx context.Context, stdin io.Reader, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := execute(ctx, nil, args, stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// mustTrade runs the program, which must succeed and not complain.
func mustTrade(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	r := trade(t.Context(), strings.NewReader(""), args...)
	if r.code != exitSuccess || r.stderr != "" {
		t.Fatalf("trade %q: exit code %d, %s", args, r.code, r.stderr)
	}
	return r.stdout
}

// mustFail checks the exit code and all that is said.
func (r result) mustFail(t *testing.T, code int, stderr string) {
	t.Helper()
	if r.code != code || r.stderr != stderr || r.stdout != "" {
		t.Fatalf("exit code %d, want %d; it said\n%s%s\nwant\n%s", r.code, code, r.stdout, r.stderr, stderr)
	}
}

// writeFiles writes files into a new directory.
func writeFiles(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readFiles returns the content of all files in a directory.
func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(content)
	}
	return files
}

func mustHaveFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if got := readFiles(t, dir); !maps.Equal(got, want) {
		t.Fatalf("got the files %q, want %q", got, want)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--help"}, {"help"}} {
		if out := mustTrade(t, args...); !strings.Contains(out, "\n  solve ") || !strings.Contains(out, "\n  generate ") {
			t.Errorf("trade %q says %s", args, out)
		}
	}
	if out := mustTrade(t, "solve", "--help"); !strings.Contains(out, "--min-trade-amount") {
		t.Errorf("it says %s", out)
	}
	if out := mustTrade(t, "--version"); !strings.HasPrefix(out, "trade ") {
		t.Errorf("it says %s", out)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	book := writeFiles(t, emptyBook())
	out := filepath.Join(t.TempDir(), "out")
	solve := []string{"solve", "--book", book, "--out", out}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sovle"}, "unknown command \"sovle\" for \"trade\"\n\nDid you mean this?\n\tsolve\n"},
		{[]string{"--loud"}, "unknown flag: --loud"},
		{[]string{"solve"}, `required flag(s) "book", "out" not set`},
		{append(solve, "more"), `unknown command "more" for "trade solve"`},
		{append(solve, "--strategy", "best"), `--strategy: unknown strategy "best": must be "optimal" or "greedy"`},
		{
			append(solve, "--seed", "x"),
			`invalid argument "x" for "--seed" flag: strconv.ParseInt: parsing "x": invalid syntax`,
		},
		{
			append(solve, "--min-trade-amount", "0"),
			"invalid trading parameters: the minimal trade amount is 0, must be 1 or more",
		},
		{
			append(solve, "--base-debtor-id", "60"),
			"if any flags in the group [base-debtor-id base-debtor-info-locator] are set they must all be set; " +
				"missing [base-debtor-info-locator]",
		},
		{
			append(solve, "--base-debtor-id", "60x", "--base-debtor-info-locator", "L60"),
			`--base-debtor-id: "60x" is not a 64-bit ID`,
		},
		{
			append(solve, "--summary", "-", "--report", "-"),
			`only one of --summary, --report can be "-": standard output`,
		},
		{
			[]string{"solve", "--book", book, "--out", "-", "--summary", "-"},
			`only one of --out, --summary can be "-": standard output`,
		},
		{
			append(solve, "--base-debtor-id", "0", "--base-debtor-info-locator", "L60"),
			"invalid trading parameters: the base debtor ID must not be 0",
		},
		{[]string{"generate"}, `required flag(s) "out" not set`},
		{
			[]string{"generate", "--out", out, "--currencies", "0"},
			"invalid size of a synthetic book: 0 currencies, there must be 1 or more",
		},
	} {
		command, usage := "trade", "trade COMMAND"
		switch c.args[0] {
		case "solve":
			command, usage = "trade solve", "trade solve --book DIR --out DIR [flags]"
		case "generate":
			command, usage = "trade generate", "trade generate --out DIR [flags]"
		}
		trade(t.Context(), nil, c.args...).mustFail(t, exitUsage,
			"trade: "+c.want+"\nUsage: "+usage+"\nRun '"+command+" --help' to see more.\n")
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "book")
	said := mustTrade(t, "generate", "--out", dir, "--currencies", "2", "--traders", "3", "--seed", "5")
	files := readFiles(t, dir)
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names,
		[]string{"buys.csv", "collectors.csv", "currencies.csv", "sells.csv"}) {
		t.Fatalf("got the files %q", names)
	}
	rows := func(name string) int { return strings.Count(files[name], "\n") - 1 }
	if rows("currencies.csv") != 2 || rows("sells.csv") < 3 {
		t.Errorf("got the files %q", files)
	}
	if !strings.HasPrefix(said, dir+": 2 currencies, ") {
		t.Errorf("it said %s", said)
	}
	again := filepath.Join(t.TempDir(), "book")
	mustTrade(t, "generate", "--out", again, "--currencies", "2", "--traders", "3", "--seed", "5")
	mustHaveFiles(t, again, files)
}

func TestGenerateFails(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"sells.csv.gz": "old", "sells.csv": "old"})
	trade(t.Context(), nil, "generate", "--out", dir).mustFail(t, exitFailure,
		"trade: making up an offer book: "+dir+"/sells.csv.gz is in the way: remove it, or choose another directory\n")

	dir = writeFiles(t, map[string]string{"sells.csv": "old"})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrShortWrite)
	if r := trade(ctx, nil, "generate", "--out", dir); r.code != exitFailure ||
		!strings.Contains(r.stderr, io.ErrShortWrite.Error()) {
		t.Errorf("%+v", r)
	}
	mustHaveFiles(t, dir, map[string]string{"sells.csv": "old"})
}
