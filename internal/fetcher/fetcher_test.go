package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/fetch/fetchtest"
	"github.com/circular-trade/circular-trade/internal/fetcher"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }

// What becomes of a fetch with each outcome, hostile servers included.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const iri = "https://h.example/"
	good := page(coininfo.Document{Locator: iri, DebtorID: 5})
	status := func(code int) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(code) }
	}
	redirect := func(location string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Location", location)
			out.WriteHeader(http.StatusFound)
		}
	}
	const (
		gone  = "" // from the queue
		retry = "1 none"
	)
	for name, c := range map[string]struct {
		iri     string // if it is another one
		handler http.HandlerFunc
		address string
		row     string // number of attempts and status
		outcome string
		sent    []string
		log     string
	}{
		"document":     {handler: serve(good), outcome: "document", sent: []string{"StoreDocument(https://h.example/, 5)"}},
		"not found":    {handler: status(404), row: "1 404", outcome: "status", log: `level=INFO msg="a document could not be fetched" iri=https://h.example/ debtor=5 error="the server answers 404 Not Found"`},
		"server error": {handler: status(503), row: "1 503", outcome: "status"},
		"not modified": {handler: status(304), row: "1 304", outcome: "status"},
		"wrong type":   {handler: func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, good) }, row: retry, outcome: "invalid"},
		"bad UTF-8":    {handler: serve(strings.Replace(good, `"type"`, "\"\xff\":1,\"type\"", 1)), row: retry, outcome: "invalid", log: "must be valid UTF-8"},
		"invalid":      {handler: serve(`{"type":"secret"}`), row: retry, outcome: "invalid", log: "latestDebtorInfo is missing"},
		"bomb": {handler: func(out http.ResponseWriter, r *http.Request) {
			out.Header().Set("Content-Encoding", "gzip")
			serve(good)(out, r)
		}, row: retry, outcome: "invalid"},
		"too long": {handler: serve(good + strings.Repeat(" ", 262144)), row: retry, outcome: "too_long"},
		"longest":  {handler: serve(good + strings.Repeat(" ", 262144-len(good))), outcome: "document", sent: []string{"StoreDocument(https://h.example/, 5)"}},
		"endless header": {handler: func(out http.ResponseWriter, r *http.Request) {
			out.Header().Set("X-Endless", strings.Repeat("x", 20000))
			serve(good)(out, r)
		}, row: retry, outcome: "network"},
		"redirect loop":     {handler: redirect("/"), row: retry, outcome: "redirect"},
		"plain HTTP":        {handler: redirect("http://h.example/"), row: retry, outcome: "redirect"},
		"private redirect":  {handler: redirect("https://169.254.169.254/latest/meta-data"), row: retry, outcome: "private_address", log: "WARN"},
		"private address":   {handler: serve(good), address: "10.0.0.1", row: retry, outcome: "private_address", log: `error="the host \"h.example\" has the address 10.0.0.1, which is not public"`},
		"slow":              {handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, row: retry, outcome: "timeout"},
		"no such host":      {iri: "https://nowhere.example/", row: retry, outcome: "network"},
		"malformed":         {iri: "http://h.example/", row: gone, outcome: "malformed", log: `level=INFO msg="a document will never be fetched"`},
		"control character": {iri: "https://h.example/\n", row: gone, outcome: "malformed", log: `iri="https://h.example/\n"`},
		"other debtor":      {handler: serve(page(coininfo.Document{Locator: iri, DebtorID: 6})), outcome: "document", sent: []string{"StoreDocument(https://h.example/, 6)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := fetchtest.New(t)
			if c.handler != nil {
				web.Handle("h.example", c.handler)
			}
			if c.address != "" {
				web.Resolve("h.example", func() []netip.Addr { return []netip.Addr{netip.MustParseAddr(c.address)} })
			}
			w := newWorker(t, web, &clock{now: noon}, "#", func(_ *fetcher.Config, settings *fetch.Config) {
				if c.outcome == "timeout" {
					settings.Timeout = 50 * time.Millisecond
				}
			})
			if c.iri == "" {
				c.iri = iri
			}
			w.handle(t, locator(c.iri, 5))
			w.fetch(t)
			row := gone
			if queue := w.queue(t); len(queue) == 1 {
				row = fmt.Sprintf("%d none", queue[0].AttemptsCount)
				if code := queue[0].LatestAttemptErrorcode; code != nil {
					row = fmt.Sprintf("%d %d", queue[0].AttemptsCount, *code)
				}
				if !queue[0].NextAttemptAt.Equal(noon.Add(45 * time.Second)) {
					t.Errorf("the next attempt is at %v", queue[0].NextAttemptAt)
				}
			}
			if row != c.row {
				t.Errorf("in the queue is %q, want %q; the log is\n%s", row, c.row, w.log)
			}
			mustSay(t, w.say(t), c.sent...)
			if !strings.Contains(w.log.String(), c.log) || strings.Contains(w.log.String(), "secret") {
				t.Errorf("the log is %s", w.log)
			}
			w.mustCount(t, c.outcome, 1)
		})
	}
}

// mustCount checks how many fetches have had an outcome.
func (w *worker) mustCount(t *testing.T, outcome string, want float64) {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "trade_fetcher_fetches_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == outcome && m.GetCounter().GetValue() != want {
				t.Errorf("%v fetches have the outcome %s, want %v", m.GetCounter().GetValue(), outcome, want)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorker(t, fetchtest.New(t), &clock{now: noon}, "#")
	if problems, err := testutil.GatherAndLint(w.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A mistake in this program, which some page brings to light, must not come to light again and again.
func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorker(t, fetchtest.New(t), &clock{now: noon}, "#", func(c *fetcher.Config, _ *fetch.Config) {
		c.Downloader = downloader(func(context.Context, string) ([]byte, error) { panic("mistake") })
	})
	w.handle(t, locator("https://h.example/", 5))
	w.fetch(t)
	if len(w.queue(t)) != 0 || !strings.Contains(w.log.String(), "WARN") || !strings.Contains(w.log.String(), "panic: mistake") {
		t.Errorf("the queue is %+v, the log %s", w.queue(t), w.log)
	}
}

type downloader func(ctx context.Context, iri string) ([]byte, error)

func (d downloader) Get(ctx context.Context, iri string) ([]byte, error) { return d(ctx, iri) }

// requests returns requests for many pages of a host.
func requests(host string, n int) (messages []smp.Message) {
	for i := range n {
		messages = append(messages, locator(fmt.Sprintf("https://%s/%d", host, i), swpt.DebtorID(i)))
	}
	return messages
}

// A host that does not answer takes up its own slots, and no others, even if its fetches come first.
func TestSlowHost(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	ctx := t.Context()
	var slow atomic.Int32
	web.Handle("slow.example", func(_ http.ResponseWriter, r *http.Request) {
		slow.Add(1)
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	})
	web.Handle("fast.example", serve(page(coininfo.Document{})))
	w := newWorker(t, web, &clock{now: noon}, "#", func(c *fetcher.Config, settings *fetch.Config) {
		c.Burst, c.Period = 20, time.Hour
		c.Timeout, settings.Timeout = time.Hour, time.Hour
	})
	w.handle(t, requests("slow.example", 200)...)
	if _, err := w.db.Pool().Exec(t.Context(), "UPDATE debtor_info_fetch SET next_attempt_at = next_attempt_at - INTERVAL '1 hour'"); err != nil {
		t.Fatal(err)
	}
	w.handle(t, requests("fast.example", 200)...)
	stop := w.start(t)
	testenv.Eventually(t, patience, func() error {
		var left int
		if err := w.db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM debtor_info_fetch WHERE host = 'fast.example'").Scan(&left); err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("%d fetches from the fast host are left", left)
		}
		return nil
	})
	// While there is enough to do for the slow host, the rest of its fetches stay in the queue.
	taken := 0
	for _, f := range w.queue(t) {
		if f.NextAttemptAt.After(noon) {
			taken++
		}
	}
	if taken > 40 {
		t.Errorf("%d fetches from the slow host have been taken", taken)
	}
	if n := slow.Load(); n != 4 {
		t.Errorf("%d connections to the slow host", n)
	}
	stop()
	// All are still there, and due.
	queue := w.queue(t)
	for _, f := range queue {
		if f.NextAttemptAt.After(noon) || f.AttemptsCount != 0 {
			t.Fatalf("%+v", f)
		}
	}
	if len(queue) != 200 {
		t.Errorf("%d fetches from the slow host are left", len(queue))
	}
}

// A fetcher that is asked to end aborts what it is at, and gives it back.
func TestStopped(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	arrived := make(chan struct{}, 100)
	var block atomic.Bool
	block.Store(true)
	web.Handle("h.example", func(out http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if block.Load() {
			<-r.Context().Done()
		}
		serve(page(coininfo.Document{Locator: "https://h.example" + r.URL.Path, DebtorID: 5}))(out, r)
	})
	c := &clock{now: noon}
	w := newWorker(t, web, c, "#")
	w.handle(t, requests("h.example", 7)...)
	stop := w.start(t)
	for range 4 {
		<-arrived
	}
	c.advance(time.Second)
	stop()
	for _, f := range w.queue(t) {
		if !f.NextAttemptAt.Equal(noon.Add(time.Second)) || f.AttemptsCount != 0 || f.LatestAttemptAt != nil {
			t.Errorf("%+v", f)
		}
	}
	w.mustCount(t, "aborted", 4)
	block.Store(false)
	w.fetch(t)
	if n := len(w.queue(t)); n != 0 {
		t.Errorf("%d fetches are left", n)
	}
	if n := len(w.say(t)); n != 7 {
		t.Errorf("%d messages have been sent", n)
	}
}

// What has waited too long for a slot is not begun any more: soon, somebody else may begin it.
func TestDelayed(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	c := &clock{now: noon}
	var asked atomic.Int32
	web.Handle("h.example", func(out http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 4 {
			c.advance(31 * time.Second)
		}
		for asked.Load() < 4 {
			if r.Context().Err() != nil {
				return
			}
			runtime.Gosched()
		}
		serve(page(coininfo.Document{Locator: "https://h.example" + r.URL.Path, DebtorID: 5}))(out, r)
	})
	w := newWorker(t, web, c, "#")
	w.handle(t, requests("h.example", 9)...)
	w.fetch(t)
	w.mustCount(t, "document", 4)
	w.mustCount(t, "delayed", 5)
	if n := len(w.queue(t)); n != 5 {
		t.Errorf("%d fetches are left", n)
	}
	w.fetch(t)
	w.mustCount(t, "document", 4)
	c.advance(time.Minute)
	w.fetch(t)
	w.mustCount(t, "document", 9)
}

// What one fetcher has taken, others leave alone.
func TestTwoFetchers(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	var asked atomic.Int32
	web.Handle("h.example", func(out http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		serve(page(coininfo.Document{Locator: "https://h.example" + r.URL.Path, DebtorID: 5}))(out, r)
	})
	c := &clock{now: noon}
	w := newWorker(t, web, c, "#", func(c *fetcher.Config, _ *fetch.Config) { c.Burst, c.Period = 10, 10*time.Millisecond })
	w.handle(t, requests("h.example", 300)...)
	w.start(t)
	w.start(t)
	testenv.Eventually(t, patience, func() error {
		if n := len(w.queue(t)); n > 0 {
			return fmt.Errorf("%d fetches are left", n)
		}
		return nil
	})
	if n := len(w.say(t)); n != 300 || asked.Load() != 300 {
		t.Errorf("%d requests have been made, and %d messages sent", asked.Load(), n)
	}
}

// A fetch is done soon after it has been asked for.
func TestNotification(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	web.Handle("h.example", serve(page(coininfo.Document{Locator: "https://h.example/0", DebtorID: 5})))
	w := newWorker(t, web, &clock{now: noon}, "#")
	listener := postgres.NewListener(w.db.URL(), w.config.Logger)
	w.config.Listener = listener
	ctx, cancel := context.WithCancel(t.Context())
	listening := make(chan error)
	go func() { listening <- listener.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-listening; err != nil {
			t.Error(err)
		}
	}()
	w.start(t)
	for i := range 3 {
		w.handle(t, locator("https://h.example/0", swpt.DebtorID(i)))
		testenv.Eventually(t, patience, func() error {
			if n := len(w.queue(t)); n > 0 {
				return fmt.Errorf("%d fetches are left", n)
			}
			return nil
		})
	}
}

// What fails in the database ends the fetcher.
func TestDatabaseFailure(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	web.Handle("h.example", serve(page(coininfo.Document{Locator: "https://h.example/0", DebtorID: 5})))
	c := &clock{now: noon}
	w := newWorker(t, web, c, "#")
	w.handle(t, requests("h.example", 50)...)
	const broken = `
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
		CREATE TRIGGER fail BEFORE DELETE ON debtor_info_fetch EXECUTE FUNCTION fail()`
	if _, err := w.db.Pool().Exec(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{fetcher.New(w.config).RunOnce, fetcher.New(w.config).Run} {
		if err := run(t.Context()); err == nil || !strings.Contains(err.Error(), "broken") || errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		c.advance(2 * time.Minute) // so that nothing is taken any more
	}
	if n := len(w.queue(t)); n != 50 {
		t.Errorf("%d fetches are left", n)
	}
	if n := len(w.say(t)); n != 0 {
		t.Errorf("%d messages have been sent", n)
	}
}
