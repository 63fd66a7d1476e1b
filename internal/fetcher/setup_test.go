package fetcher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/fetch/fetchtest"
	"github.com/circular-trade/circular-trade/internal/fetcher"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	day      = 24 * time.Hour
	patience = 20 * time.Second // for what should happen at once
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// A clock shows what a test wants it to show.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A worker has a database, the rules for messages about currencies, and a fetcher.
type worker struct {
	name     string
	db       *workerdb.DB
	rules    *currency.Rules
	handler  *inbox.Handler
	config   fetcher.Config
	registry *prometheus.Registry
	log      *logbook
}

// newWorker returns the worker of a shard. Settings of the fetcher, and of its client, can be changed.
func newWorker(t *testing.T, web *fetchtest.Web, clock *clock, realm string, change ...func(*fetcher.Config, *fetch.Config)) *worker {
	t.Helper()
	parsed, err := shard.ParseRealm(realm)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{name: "W" + realm[:1], db: workerdbtest.New(t), registry: prometheus.NewRegistry(), log: &logbook{}}
	w.rules = &currency.Rules{
		Realm: parsed, DocumentExpiry: 7 * day, ClaimExpiry: 45 * day, MaxMessageDelay: 7 * day, MaxDistanceToBase: 10,
		Logger: w.log.logger(),
	}
	rules := &inbox.Rules{}
	w.rules.AddTo(rules)
	w.handler = &inbox.Handler{Realm: parsed, DB: w.db, Rules: rules, Now: clock.Now, Metrics: inbox.NewMetrics(prometheus.NewRegistry())}
	w.config = fetcher.Config{
		DB: w.db, Rules: w.rules, Connections: 10, HostConnections: 4, Timeout: 10 * time.Second, Burst: 100, Period: time.Hour,
		Now: clock.Now, Random: func() float64 { return 0.5 }, Metrics: fetcher.NewMetrics(w.registry), Logger: w.log.logger(),
	}
	settings := web.Config()
	for _, c := range change {
		c(&w.config, &settings)
	}
	if w.config.Downloader == nil {
		client := fetch.NewClient(settings)
		t.Cleanup(client.Close)
		w.config.Downloader = client
	}
	return w
}

// fetch does all fetches that are due.
func (w *worker) fetch(t *testing.T) {
	t.Helper()
	if err := fetcher.New(w.config).RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// start runs the fetcher. stop asks it to end, and waits for that.
func (w *worker) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- fetcher.New(w.config).Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			started := time.Now()
			if err := <-ended; err != nil {
				t.Errorf("the fetcher has failed: %v", err)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("the fetcher has taken %v to end", took)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func (w *worker) handle(t *testing.T, messages ...smp.Message) {
	t.Helper()
	if err := w.handler.Handle(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

// sent empties the outbox.
func (w *worker) sent(t *testing.T) (messages []smp.Message) {
	t.Helper()
	type record struct{ Type, Body string }
	rows, err := w.db.Pool().Query(t.Context(), "DELETE FROM outbox RETURNING type, body")
	if err != nil {
		t.Fatal(err)
	}
	records, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record])
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		m, err := smp.Decode(r.Type, []byte(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

// say returns what has been sent, in short.
func (w *worker) say(t *testing.T) []string {
	t.Helper()
	return lines(w.sent(t))
}

func lines(messages []smp.Message) []string {
	texts := []string{}
	for _, m := range messages {
		texts = append(texts, tell(m))
	}
	slices.Sort(texts)
	return texts
}

// tell writes a message in short.
func tell(m smp.Message) string {
	switch m := m.(type) {
	case *smp.DiscoverDebtor:
		return fmt.Sprintf("DiscoverDebtor(%d, %s, force %t)", m.DebtorID, short(m.IRI), m.ForceLocatorRefetch)
	case *smp.ConfirmDebtor:
		return fmt.Sprintf("ConfirmDebtor(%d, %s)", m.DebtorID, short(m.DebtorInfoLocator))
	case *smp.StoreDocument:
		return fmt.Sprintf("StoreDocument(%s, %d)", short(m.DebtorInfoLocator), m.DebtorID)
	case *smp.FetchDebtorInfo:
		kind := ""
		if m.IsDiscoveryFetch {
			kind += "discovery"
		}
		if m.IsLocatorFetch {
			kind += "locator"
		}
		if m.ForcedIRI != nil {
			kind += " forced " + short(*m.ForcedIRI)
		}
		return fmt.Sprintf("FetchDebtorInfo(%s, %d, %s, level %d)", short(m.IRI), m.DebtorID, kind, m.RecursionLevel)
	default:
		return m.Type()
	}
}

func short(iri string) string { return strings.Replace(iri, "https://agent.example", "...", 1) }

// queue returns what is in the queue.
func (w *worker) queue(t *testing.T) []workerdb.DebtorInfoFetch {
	t.Helper()
	rows, err := w.db.Pool().Query(t.Context(), "SELECT * FROM debtor_info_fetch ORDER BY iri, debtor_id")
	if err != nil {
		t.Fatal(err)
	}
	fetches, err := pgx.CollectRows(rows, pgx.RowToStructByPos[workerdb.DebtorInfoFetch])
	if err != nil {
		t.Fatal(err)
	}
	return fetches
}

// documents returns the locators and debtors of stored documents.
func (w *worker) documents(t *testing.T) []string {
	t.Helper()
	rows, err := w.db.Pool().Query(t.Context(),
		"SELECT debtor_info_locator || ' ' || debtor_id FROM debtor_info_document ORDER BY debtor_info_locator")
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = short(found[i])
	}
	return found
}

func mustSay(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// locator is the request to fetch a page that a debtor has named.
func locator(iri string, debtor swpt.DebtorID) *smp.FetchDebtorInfo {
	return &smp.FetchDebtorInfo{IRI: iri, DebtorID: debtor, IsLocatorFetch: true, TS: noon}
}

// page writes a document.
func page(d coininfo.Document) string {
	members := func(typeName, locator string, id swpt.DebtorID) map[string]any {
		return map[string]any{
			"type": typeName, "latestDebtorInfo": map[string]any{"uri": locator},
			"debtorIdentity": map[string]any{"type": "DebtorIdentity", "uri": smp.DebtorURI(id)},
		}
	}
	root := members("CoinInfo", d.Locator, d.DebtorID)
	if d.Peg != nil {
		peg := members("Peg", d.Peg.Locator, d.Peg.DebtorID)
		peg["exchangeRate"] = d.Peg.Rate
		root["peg"] = peg
	}
	body, err := json.Marshal(root)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func serve(body string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", coininfo.MediaType)
		_, _ = io.WriteString(out, body)
	}
}

// A site is a host with pages, by path.
type site struct {
	mu    sync.Mutex
	pages map[string]string
	asked []string // paths, in order
}

func newSite(web *fetchtest.Web, host string) *site {
	s := &site{pages: map[string]string{}}
	web.Handle(host, s.serve)
	return s
}

func (s *site) put(path string, d coininfo.Document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = page(d)
}

func (s *site) serve(out http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, found := s.pages[r.URL.Path]
	s.asked = append(s.asked, r.URL.Path)
	s.mu.Unlock()
	if !found {
		http.NotFound(out, r)
		return
	}
	serve(body)(out, r)
}

// A logbook keeps log records as text.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
