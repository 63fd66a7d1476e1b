package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/fetch/fetchtest"
	"github.com/circular-trade/circular-trade/internal/fetcher"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// crashVariable is set for a process that is to crash. It has the URL of the database.
const crashVariable = "TEST_FETCHER_CRASH"

func TestMain(m *testing.M) {
	if url := os.Getenv(crashVariable); url != "" {
		fetchAndCrash(url)
	}
	os.Exit(m.Run())
}

func openDatabase(text string) (*workerdb.DB, error) {
	url, err := postgres.ParseURL(text)
	if err != nil {
		return nil, err
	}
	return workerdb.Open(url, postgres.Options{})
}

const (
	crashConnections = 5
	crashAt          = 12 // downloads
)

// fetchAndCrash does fetches, and kills itself in the middle of them.
func fetchAndCrash(url string) {
	db, err := openDatabase(url)
	if err != nil {
		panic(err)
	}
	var downloads atomic.Int32
	err = fetcher.New(fetcher.Config{
		DB: db,
		Rules: &currency.Rules{
			DocumentExpiry: 7 * day, ClaimExpiry: 45 * day, MaxDistanceToBase: 10, Logger: slog.New(slog.DiscardHandler),
		},
		Downloader: downloader(func(_ context.Context, iri string) ([]byte, error) {
			if downloads.Add(1) == crashAt {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal comes
			}
			return []byte(page(coininfo.Document{Locator: iri, DebtorID: 5})), nil
		}),
		Connections: crashConnections, HostConnections: crashConnections, Timeout: time.Second, Burst: 20,
		Now: time.Now, Random: func() float64 { return 0.5 },
		Metrics: fetcher.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler),
	}).RunOnce(context.Background())
	_, _ = fmt.Fprintln(os.Stdout, "did not crash:", err)
	os.Exit(1)
}

// A fetcher that is killed loses nothing. What it was at is done by somebody else, when it has been gone for some time.
func TestCrash(t *testing.T) {
	t.Parallel()
	digest, err := workerdb.Migrations().Digest()
	if err != nil {
		t.Fatal(err)
	}
	url := testenv.NewDatabaseFrom(t, digest, func(text string) error {
		url, err := postgres.ParseURL(text)
		if err != nil {
			return err
		}
		return workerdb.Migrations().Up(context.WithoutCancel(t.Context()), url)
	})
	db, err := openDatabase(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c := &clock{now: time.Now()}
	var downloads atomic.Int32
	w := newWorker(t, fetchtest.New(t), c, "#", func(config *fetcher.Config, _ *fetch.Config) {
		config.Downloader = downloader(func(_ context.Context, iri string) ([]byte, error) {
			downloads.Add(1)
			return []byte(page(coininfo.Document{Locator: iri, DebtorID: 5})), nil
		})
	})
	w.db, w.config.DB, w.handler.DB = db, db, db
	const fetches = 50
	w.handle(t, requests("h.example", fetches)...)

	process := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this is the test itself
	process.Env = append(os.Environ(), crashVariable+"="+url)
	output, err := process.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL ||
		strings.Contains(string(output), "not") {
		t.Fatalf("the process has ended with %v, and said:\n%s", err, output)
	}
	w.fetch(t) // what the other one had not taken
	left := len(w.queue(t))
	if left == 0 {
		t.Fatal("the other process had taken nothing")
	}
	w.fetch(t)
	if got := len(w.queue(t)); got != left {
		t.Errorf("%d fetches are left, and then %d, although it is too early", left, got)
	}
	c.advance(2 * time.Minute)
	w.fetch(t)
	if got := len(w.queue(t)); got != 0 {
		t.Errorf("%d fetches are left", got)
	}
	if n := len(w.say(t)); n != fetches {
		t.Errorf("%d documents are to be stored, want %d", n, fetches)
	}
	if n := downloads.Load(); n < fetches-crashAt+1 || n > fetches {
		t.Errorf("%d downloads have been needed", n)
	}
}
