package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/cli"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

// A deployment is a solver database with an environment that leads there. Turns are due at any time.
type deployment struct {
	environment []string
	db          *solverdb.DB
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	text := testenv.NewDatabase(t)
	url, err := postgres.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	db, err := solverdb.Open(url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	sinceMonday := time.Since(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	return &deployment{db: db, environment: []string{
		"SOLVER_POSTGRES_URL=" + text,
		"BASE_DEBTOR_ID=60",
		"BASE_DEBTOR_INFO_LOCATOR=https://example.com/60",
		"MIN_TRADE_AMOUNT=2000",
		"TURN_PERIOD=1d",
		"TURN_PERIOD_OFFSET=" + strconv.Itoa(int(sinceMonday.Seconds())),
		"TURN_PHASE1_DURATION=0.1s",
		"TURN_PHASE2_DURATION=0.1s",
		"APP_LOG_LEVEL=info",
		"APP_SINGLETON_WAIT=0",
	}}
}

func (d *deployment) migrate(t *testing.T) {
	t.Helper()
	if err := solverdb.Migrations().Up(t.Context(), d.db.URL()); err != nil {
		t.Fatal(err)
	}
}

type result struct {
	code           int
	stdout, stderr string
}

func (d *deployment) run(
	ctx context.Context, newCommand func([]string) *cobra.Command, args ...string,
) result {
	var stdout, stderr bytes.Buffer
	code := cli.Execute(ctx, newCommand(d.environment), args, strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// awaitTurns waits until the turns are as expected.
func (d *deployment) awaitTurns(t *testing.T, want string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		var got string
		err := d.db.Pool().QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', turn_id, base_debtor_id, base_debtor_info_locator,
			max_distance_to_base, min_trade_amount, phase), ', ') FROM turn`).Scan(&got)
		if err == nil && got != want {
			err = fmt.Errorf("the turns are %s, want %s", got, want)
		}
		return err
	})
}

const finished = "1 60 https://example.com/60 10 2000 4"

// The solver waits until the tables are there, leads a turn to its end, and keeps others off.
func TestSolver(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var log logbook
	running.Go(func() {
		code := cli.Execute(ctx, cli.NewSolverCommand(d.environment), nil, strings.NewReader(""), &log, &log)
		if code != cli.ExitSuccess {
			t.Errorf("it ends with %d", code)
		}
	})
	defer running.Wait()
	defer stop()

	log.await(t, "trade configure")
	d.migrate(t)
	d.awaitTurns(t, finished)
	log.await(t, "published the results of a turn")
	for _, newCommand := range []func([]string) *cobra.Command{cli.NewSolverCommand, cli.NewRollTurnsCommand} {
		r := d.run(t.Context(), newCommand)
		if r.code != cli.ExitFailure || !strings.Contains(r.stdout, "another solver is already running on this database") {
			t.Errorf("a second one ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
		}
	}
}

// A logbook remembers what was logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logbook) await(t *testing.T, want string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !strings.Contains(b.text.String(), want) {
			return fmt.Errorf("the log is %s, want %q", &b.text, want)
		}
		return nil
	})
}

// Alone, the component does the same, but fails where there are no tables. Its flags override variables.
func TestRollTurns(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	if r := d.run(t.Context(), cli.NewRollTurnsCommand); r.code != cli.ExitFailure || !strings.Contains(r.stderr, "trade configure") {
		t.Errorf("without tables, it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
	}
	d.migrate(t)
	once := func(args ...string) {
		t.Helper()
		if r := d.run(t.Context(), cli.NewRollTurnsCommand, append(args, "--quit-early")...); r.code != cli.ExitSuccess || r.stderr != "" {
			t.Errorf("it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
		}
	}
	once("-p", "0")
	once("--period-offset", strconv.Itoa(int(time.Since(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds())+11*60*60))
	var turns int
	if err := d.db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM turn`).Scan(&turns); err != nil || turns != 0 {
		t.Errorf("there are %d turns, %v", turns, err)
	}
	once("-c", "1h")
	d.awaitTurns(t, strings.TrimSuffix(finished, "4")+"1")

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if r := d.run(ctx, cli.NewRollTurnsCommand); r.code != cli.ExitSuccess {
			t.Errorf("it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
		}
	})
	defer running.Wait()
	defer stop()
	d.awaitTurns(t, finished)
}

// A solver database stays with its collector IDs.
func TestSolverWithOtherCollectors(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.migrate(t)
	if r := d.run(t.Context(), cli.NewRollTurnsCommand, "--quit-early"); r.code != cli.ExitSuccess {
		t.Fatalf("the first time, it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
	}
	d.environment = append(d.environment, "MIN_COLLECTOR_ID=0x100", "MAX_COLLECTOR_ID=0x103")
	for _, c := range []struct {
		newCommand func([]string) *cobra.Command
		args       []string
	}{{cli.NewSolverCommand, nil}, {cli.NewRollTurnsCommand, nil}, {cli.NewRollTurnsCommand, []string{"--quit-early"}}} {
		r := d.run(t.Context(), c.newCommand, c.args...)
		const refusal = "configuration error: MIN_COLLECTOR_ID: database belongs to 0x0000010000000000-0x00000100000007ff"
		if r.code != cli.ExitFailure || strings.Count(r.stdout, refusal) != 1 {
			t.Errorf("it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
		}
	}
}

func TestSolverConfiguration(t *testing.T) {
	t.Parallel()
	d := &deployment{environment: []string{"MIN_TRADE_AMOUNT=9", "MAX_DISTANCE_TO_BASE=40000"}}
	r := d.run(t.Context(), cli.NewSolverCommand)
	for _, want := range []string{
		"configuration error: SOLVER_POSTGRES_URL: missing",
		"configuration error: BASE_DEBTOR_ID: the base currency is not configured",
		"configuration error: BASE_DEBTOR_INFO_LOCATOR: the base currency is not configured",
		"configuration error: MAX_DISTANCE_TO_BASE: must be",
		"configuration error: MIN_TRADE_AMOUNT: too small, rounding errors would dominate",
	} {
		if r.code != cli.ExitFailure || !strings.Contains(r.stdout, want) {
			t.Errorf("it ends with %d, and says %s, not %s", r.code, r.stdout, want)
		}
	}
	if r := d.run(t.Context(), cli.NewRollTurnsCommand, "--period", "soon"); r.code != cli.ExitUsage || !strings.Contains(r.stderr, "--period") {
		t.Errorf("it ends with %d, and says %s", r.code, r.stderr)
	}
	if r := d.run(t.Context(), cli.NewSolverCommand, "--version"); r.code != cli.ExitSuccess || !strings.HasPrefix(r.stdout, "solver ") {
		t.Errorf("it ends with %d, and says %s", r.code, r.stdout)
	}
}
