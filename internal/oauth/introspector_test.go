package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/oauth"
)

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// A clock stands still until it is moved.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return now.Add(time.Duration(c.offset.Load())) }

func (c *clock) move(by time.Duration) { c.offset.Add(int64(by)) }

// An authority is an authorization server of which the test decides what it answers.
type authority struct {
	*oauth.Introspector
	clock
	calls    atomic.Int64
	registry *prometheus.Registry
}

func newAuthority(t *testing.T, handler http.HandlerFunc) *authority {
	t.Helper()
	a := &authority{registry: prometheus.NewRegistry()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	a.connect(t, server.URL+"/introspect?x=1")
	return a
}

func (a *authority) connect(t *testing.T, url string) {
	t.Helper()
	var err error
	a.Introspector, err = oauth.NewIntrospector(oauth.Config{
		URL: url, MaxConnections: 3, Now: a.now, Metrics: oauth.NewMetrics(a.registry),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
}

func answering(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// The request is what authorization servers expect.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got []string
	a := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = []string{
			r.Method, r.RequestURI, string(body), r.Header.Get("Content-Type"), r.Header.Get("Accept"),
			r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Authorization"),
		}
		_, _ = io.WriteString(w, `{"active":true}`)
	})
	check := func(authorization string) {
		t.Helper()
		if _, err := a.Introspect(t.Context(), "a+b/c=&%"); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"POST", "/introspect?x=1", "token=a%2Bb%2Fc%3D%26%25", "application/x-www-form-urlencoded",
			"application/json", "https", authorization,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the request is %q, want %q", got, want)
		}
	}
	check("")
	var url string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		url = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"active":true}`)
	}))
	defer server.Close()
	b := &authority{registry: prometheus.NewRegistry()}
	b.connect(t, strings.Replace(server.URL, "://", "://user:pass%40word@", 1))
	if _, err := b.Introspect(t.Context(), "x"); err != nil || url != "Basic dXNlcjpwYXNzQHdvcmQ=" {
		t.Errorf("the credentials are %q, %v", url, err)
	}
}

// Whatever is not a clear answer lets nobody in, and is not remembered.
func TestAnswers(t *testing.T) {
	t.Parallel()
	past, future := now.Add(-time.Second).Unix(), now.Add(time.Second).Unix()
	for answer, want := range map[string]error{
		`{"active":true}`:                                 nil,
		`{"active":true,"x":[1],"exp":null}`:              nil,
		fmt.Sprintf(`{"active":true,"exp":%d}`, future):   nil,
		fmt.Sprintf(`{"active":true,"exp":%d.5}`, future): nil,
		`{"active":true,"exp":1e300}`:                     nil,

		`{"active":false}`: oauth.ErrInactive,
		`{"active":false,"sub":"x","scope":"access"}`:       oauth.ErrInactive,
		fmt.Sprintf(`{"active":true,"exp":%d}`, past):       oauth.ErrInactive,
		fmt.Sprintf(`{"active":true,"exp":%d}`, now.Unix()): oauth.ErrInactive,
		`{"active":true,"exp":0}`:                           oauth.ErrInactive,
		`{"active":true,"exp":-1e300}`:                      oauth.ErrInactive,

		``:                                   oauth.ErrUnavailable,
		`null`:                               oauth.ErrUnavailable,
		`true`:                               oauth.ErrUnavailable,
		`[{"active":true}]`:                  oauth.ErrUnavailable,
		`"active"`:                           oauth.ErrUnavailable,
		`{}`:                                 oauth.ErrUnavailable,
		`{"Active":true}`:                    oauth.ErrUnavailable,
		`{"ACTIVE":true}`:                    oauth.ErrUnavailable,
		`{"active":null}`:                    oauth.ErrUnavailable,
		`{"active":"true"}`:                  oauth.ErrUnavailable,
		`{"active":1}`:                       oauth.ErrUnavailable,
		`{"active":true`:                     oauth.ErrUnavailable,
		`{"active":true}}`:                   oauth.ErrUnavailable,
		`{"active":true}{"active":true}`:     oauth.ErrUnavailable,
		`{"active":true,"exp":"9999999999"}`: oauth.ErrUnavailable,
		`{"active":true,"exp":1e400}`:        oauth.ErrUnavailable,
		`{"active":true,"sub":1}`:            oauth.ErrUnavailable,
		`{"active":true,"scope":["access"]}`: oauth.ErrUnavailable,
		`<html>{"active":true}</html>`:       oauth.ErrUnavailable,
		`{"active":true,"x":"` + strings.Repeat("x", 65535) + `"}`: oauth.ErrUnavailable,
		`{"active":true}` + strings.Repeat(" ", 65536-15):          nil,
		`{"active":true}` + strings.Repeat(" ", 65536-14):          oauth.ErrUnavailable,
	} {
		t.Run(fmt.Sprintf("%.40s, %d bytes", answer, len(answer)), func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, answering(answer))
			for range 2 {
				if _, err := a.Introspect(t.Context(), "x"); !errors.Is(err, want) || (want == nil) != (err == nil) {
					t.Errorf("the error is %v, want %v", err, want)
				}
			}
			wantCalls := int64(2)
			if want == nil {
				wantCalls = 1
			}
			if got := a.calls.Load(); got != wantCalls {
				t.Errorf("the server was asked %d times, want %d", got, wantCalls)
			}
		})
	}
}

// What the server says is passed on.
func TestToken(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, answering(fmt.Sprintf(`{"active":true,"sub":"s","username":"u","scope":"a b","token_use":"access_token",
		"exp":%d,"client_id":"c"}`, now.Unix()+60)))
	for range 2 {
		got, err := a.Introspect(t.Context(), "x")
		want := oauth.Token{Subject: "s", Username: "u", Scope: "a b", Use: "access_token", ExpiresAt: now.Add(time.Minute).Local()}
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// Status codes other than 200, redirects among them, are no answers, whatever comes with them.
func TestStatusCodes(t *testing.T) {
	t.Parallel()
	for _, code := range []int{201, 204, 301, 302, 307, 400, 401, 403, 404, 429, 500, 503} {
		a := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/introspect" {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(code)
			}
			_, _ = io.WriteString(w, `{"active":true}`)
		})
		if _, err := a.Introspect(t.Context(), "x"); !errors.Is(err, oauth.ErrUnavailable) || a.calls.Load() != 1 {
			t.Errorf("%d: %v, after %d calls", code, err, a.calls.Load())
		}
	}
}

// An answer is remembered for five minutes, or until the token expires. Each token has its own.
func TestCache(t *testing.T) {
	t.Parallel()
	lifetime := atomic.Int64{}
	a := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"active":true,"sub":%q,"exp":%d}`, r.FormValue("token"), now.Unix()+lifetime.Load())
	})
	ask := func(token string, wantCalls int64) {
		t.Helper()
		got, err := a.Introspect(t.Context(), token)
		if err != nil || got.Subject != token || a.calls.Load() != wantCalls {
			t.Errorf("%s is %+v, %v, after %d calls, want %d", token, got, err, a.calls.Load(), wantCalls)
		}
	}
	lifetime.Store(3600)
	ask("x", 1)
	ask("y", 2)
	a.move(oauth.CacheTime - 1)
	ask("x", 2)
	a.move(1)
	ask("x", 3)
	lifetime.Store(int64(oauth.CacheTime/time.Second) + 10)
	ask("z", 4)
	a.move(10*time.Second - 1)
	ask("z", 4)
	a.move(1)
	if _, err := a.Introspect(t.Context(), "z"); !errors.Is(err, oauth.ErrInactive) || a.calls.Load() != 5 {
		t.Errorf("an expired token: %v, after %d calls", err, a.calls.Load())
	}
	if err := testutil.GatherAndCompare(a.registry, strings.NewReader(`
# HELP trade_oauth_introspections_total Tokens that had to be judged: active, inactive, unavailable (no sensible answer), or cached (active a short while ago).
# TYPE trade_oauth_introspections_total counter
trade_oauth_introspections_total{outcome="active"} 4
trade_oauth_introspections_total{outcome="cached"} 2
trade_oauth_introspections_total{outcome="inactive"} 1
trade_oauth_introspections_total{outcome="unavailable"} 0
`), "trade_oauth_introspections_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(a.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A revoked token is refused when what was remembered does not count any more.
func TestRevocation(t *testing.T) {
	t.Parallel()
	var revoked atomic.Bool
	a := newAuthority(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"active":%v}`, !revoked.Load())
	})
	if _, err := a.Introspect(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	revoked.Store(true)
	a.move(oauth.CacheTime)
	if _, err := a.Introspect(t.Context(), "x"); !errors.Is(err, oauth.ErrInactive) {
		t.Errorf("the error is %v", err)
	}
}

// The cache has a limit, and forgets what has not been used for the longest time.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, answering(`{"active":true}`))
	const limit = 10_000
	for n := range limit + 1 {
		if _, err := a.Introspect(t.Context(), strconv.Itoa(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Introspect(t.Context(), strconv.Itoa(limit)); err != nil || a.calls.Load() != limit+1 {
		t.Errorf("%v, after %d calls", err, a.calls.Load())
	}
	if _, err := a.Introspect(t.Context(), "0"); err != nil || a.calls.Load() != limit+2 {
		t.Errorf("%v, after %d calls", err, a.calls.Load())
	}
}

// However many want to know about a token at the same time, the server is asked once; and again, if the one who has asked
// goes away without waiting for the answer.
func TestConcurrentQuestions(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 30), make(chan struct{})
	a := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.FormValue("token") // the server notices only then that the client is gone
		asked <- struct{}{}
		select {
		case <-answer:
			_, _ = io.WriteString(w, `{"active":true,"sub":"s"}`)
		case <-r.Context().Done():
		}
	})
	impatient, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := a.Introspect(impatient, "x")
		gone <- err
	}()
	<-asked
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := a.Introspect(t.Context(), "x"); err != nil || got.Subject != "s" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	cancel()
	if err := <-gone; !errors.Is(err, oauth.ErrUnavailable) {
		t.Errorf("whoever goes away gets %v", err)
	}
	<-asked
	close(answer)
	all.Wait()
	if n := a.calls.Load(); n > 3 { // one of the others may come when the answer is there, but not yet remembered
		t.Errorf("the server was asked %d times", n)
	}
}

// A server that does not answer, or not to the end, is given up after a few seconds.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(http.ResponseWriter){
		"no answer": func(http.ResponseWriter) {},
		"half an answer": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"active":true`)
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			released := make(chan struct{})
			a := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				begin(w)
				select {
				case <-released:
				case <-r.Context().Done():
				}
			})
			t.Cleanup(func() { close(released) })
			begun := time.Now()
			_, err := a.Introspect(t.Context(), "x")
			if took := time.Since(begun); !errors.Is(err, oauth.ErrUnavailable) || took < oauth.Timeout-time.Second ||
				took > oauth.Timeout+5*time.Second || a.calls.Load() != 1 {
				t.Errorf("%v, after %v and %d calls", err, took, a.calls.Load())
			}
		})
	}
}

// A lost connection is made again, once.
func TestConnectionErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		failures, calls int64
		want            error
	}{{0, 1, nil}, {1, 2, nil}, {2, 2, oauth.ErrUnavailable}} {
		var left atomic.Int64
		left.Store(c.failures)
		a := newAuthority(t, func(w http.ResponseWriter, _ *http.Request) {
			if left.Add(-1) >= 0 {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, `{"active":true}`)
		})
		if _, err := a.Introspect(t.Context(), "secret-token"); !errors.Is(err, c.want) || a.calls.Load() != c.calls ||
			err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%d failures: %v, after %d calls", c.failures, err, a.calls.Load())
		}
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	a := &authority{registry: prometheus.NewRegistry()}
	a.connect(t, strings.Replace(closed.URL, "://", "://user:password@", 1))
	if _, err := a.Introspect(t.Context(), "secret"); !errors.Is(err, oauth.ErrUnavailable) ||
		strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "password") {
		t.Errorf("a closed port: %v", err)
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "localhost", "http://user:pass%word@host", "http://"} {
		if _, err := oauth.NewIntrospector(oauth.Config{URL: url}); err == nil || strings.Contains(err.Error(), "pass") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
