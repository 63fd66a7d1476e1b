package adminapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/oauth"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
)

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// A node is an admin API with what belongs to it.
type node struct {
	api      *adminapi.API
	db       *solverdb.DB
	registry *prometheus.Registry
	log      logbook

	introspections atomic.Int64
	answers        sync.Map // by token: http.HandlerFunc, or the text of an answer
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

const (
	poolFirst = 0x10000000000
	poolLast  = poolFirst + 7 // so six collectors are the limit
	ownerID   = 0x100ffffffff
)

// newNode returns a node without tables. Its configuration can be changed before it is used.
func newNode(tb testing.TB, databaseURL string, changes ...func(*adminapi.Config)) *node {
	tb.Helper()
	n := &node{registry: prometheus.NewRegistry()}
	url, err := postgres.ParseURL(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	n.db, err = solverdb.Open(url, postgres.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.db.Close)
	authority := httptest.NewServer(http.HandlerFunc(n.introspect))
	tb.Cleanup(authority.Close)
	tokens, err := oauth.NewIntrospector(oauth.Config{URL: authority.URL, Now: func() time.Time { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(tokens.Close)
	config := adminapi.Config{
		DB: n.db, Pool: collector.Pool{First: poolFirst, Last: poolLast}, Tokens: tokens,
		ClaimPool: func(context.Context) error { return nil },
		Identities: adminapi.Identities{
			Superusers:  regexp.MustCompile(`\Aroot\z`),
			Supervisors: regexp.MustCompile(`\A(?:boss-)`),
			Creditors:   regexp.MustCompile(`\Acreditors:(\d+)$`),
			Owner:       ownerID,
		},
		Limits: adminapi.Limits{
			Concurrent: 8, Waiting: 1000, QueueTime: patience, RequestTime: patience, BodyTime: time.Second, Rate: 1e9, Burst: 1e9,
		},
		Metrics: adminapi.NewMetrics(n.registry),
		Logger:  slog.New(slog.NewJSONHandler(&n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:     func() time.Time { return now },
	}
	for _, change := range changes {
		change(&config)
	}
	n.api, err = adminapi.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// newMigratedNode returns a node with a database of its own, in which there are all tables.
func newMigratedNode(tb testing.TB, changes ...func(*adminapi.Config)) *node {
	tb.Helper()
	return newNode(tb, solverdbtest.URL(tb), changes...)
}

// introspect is the authorization server. It knows only tokens for which there is an answer.
func (n *node) introspect(w http.ResponseWriter, r *http.Request) {
	n.introspections.Add(1)
	answer, found := n.answers.Load(r.FormValue("token"))
	if !found {
		answer = `{"active":false}`
	}
	if handler, ok := answer.(http.HandlerFunc); ok {
		handler(w, r)
		return
	}
	_, _ = io.WriteString(w, answer.(string))
}

// token returns a token of somebody, with scopes.
func (n *node) token(identity, scope string) string {
	token := strings.ReplaceAll(identity+"/"+scope, " ", "+")
	n.answers.Store(token, fmt.Sprintf(`{"active":true,"sub":%q,"scope":%q}`, identity, scope))
	return token
}

const allScopes = "access access.readonly activate deactivate"

// A reply is what a request was answered with.
type reply struct {
	*httptest.ResponseRecorder
}

// do sends a request.
func (n *node) do(method, target, body string, headers ...string) reply {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for header := range slices.Chunk(headers, 2) {
		r.Header.Add(header[0], header[1])
	}
	recorder := httptest.NewRecorder()
	n.api.ServeHTTP(recorder, r)
	return reply{recorder}
}

// as sends a request with a token.
func (n *node) as(token, method, target, body string) reply {
	return n.do(method, target, body, "Authorization", "Bearer "+token)
}

// root sends a request that may do everything.
func (n *node) root(method, target, body string) reply {
	return n.as(n.token("root", allScopes), method, target, body)
}

// must checks the status code, and that every error has the form that it should have.
func (r reply) must(t *testing.T, code int) reply {
	t.Helper()
	if r.Code != code {
		t.Errorf("the status is %d, want %d: %s", r.Code, code, r.Body)
	}
	if r.Code < 400 {
		return r
	}
	var body struct {
		Code    int
		Status  string
		Message string
		Errors  map[string]map[string][]string
	}
	decoder := json.NewDecoder(bytes.NewReader(r.Body.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.Code != r.Code || body.Status != http.StatusText(r.Code) ||
		body.Message == "" || r.Header().Get("Content-Type") != "application/json" {
		t.Errorf("the error %d has the form %s, %v, %v", r.Code, r.Body, r.Header(), err)
	}
	return r
}

// mustBe checks the body, which is JSON.
func (r reply) mustBe(t *testing.T, want string) {
	t.Helper()
	var got, wanted any
	if err := json.Unmarshal(r.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if a, b := mustMarshal(t, got), mustMarshal(t, wanted); a != b {
		t.Errorf("the body is\n%s\nwant\n%s", a, b)
	}
}

func mustMarshal(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (n *node) exec(t *testing.T, statement string, arguments ...any) {
	t.Helper()
	if _, err := n.db.Pool().Exec(t.Context(), statement, arguments...); err != nil {
		t.Fatal(err)
	}
}

func (n *node) count(t *testing.T, query string) (count int) {
	t.Helper()
	if err := n.db.Pool().QueryRow(t.Context(), query).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}
