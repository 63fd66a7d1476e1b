package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// newStatus runs a server in the background, and returns what answers its status requests. The server ends with the
// test.
func newStatus(t *testing.T, s *Server) (handler http.Handler, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	restarts := newRestarts()
	v := newSupervisor(s, restarts, cancel)
	if err := registerMetrics(s.Registry, restarts, v); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.run(ctx)
	}()
	t.Cleanup(func() {
		cancel(nil)
		<-ended
	})
	handler = statusHandler(ctx, newReadiness(v, s.Checks), s.Registry, s.Logger)
	return handler, func() { cancel(errStopRequested) }
}

func get(t *testing.T, handler http.Handler, path string) (status int, body string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return recorder.Code, recorder.Body.String()
}

func expect(t *testing.T, handler http.Handler, path string, status int, body string) {
	t.Helper()
	if gotStatus, gotBody := get(t, handler, path); gotStatus != status || gotBody != body {
		t.Errorf("GET %s: %d %q, want %d %q", path, gotStatus, gotBody, status, body)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(Component{Name: "x", Run: func(context.Context) error { return errBroken }})
		handler, _ := newStatus(t, s)
		expect(t, handler, "/healthz", http.StatusOK, "alive\n")
		if status, _ := get(t, handler, "/"); status != http.StatusNotFound {
			t.Errorf("GET /: %d", status)
		}
	})
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const ready, troubled = "ready\n", "component flaky: broken\n"
		steady, _ := lives("steady", func(int) time.Duration { return time.Hour })
		flaky, _ := lives("flaky", func(run int) time.Duration { return time.Duration(min(run, 2)) * time.Second })
		passing := Component{Name: "passing", EndsByItself: true, Run: func(context.Context) error { return nil }}
		s, _ := newServer(steady, flaky, passing)
		handler, _ := newStatus(t, s)
		for _, step := range []struct { // flaky runs from 0 to 1 s, and from 2 to 4 s
			after  time.Duration
			status int
			body   string
		}{
			{0, http.StatusOK, ready},
			{1500 * time.Millisecond, http.StatusServiceUnavailable, troubled},
			{1500 * time.Millisecond, http.StatusOK, ready},
			{1500 * time.Millisecond, http.StatusServiceUnavailable, troubled},
		} {
			<-time.After(step.after)
			synctest.Wait()
			expect(t, handler, "/readyz", step.status, step.body)
		}
	})
}

func TestReadinessUnderAGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		steady, _ := lives("steady", func(int) time.Duration { return time.Hour })
		s, _ := newServer(steady)
		failed := false
		s.Guard = func(ctx context.Context, work func(context.Context) error) error {
			if !failed {
				failed = true
				return errBroken
			}
			working, stop := context.WithTimeout(ctx, time.Second)
			defer stop()
			_ = work(working)
			return idle(ctx)
		}
		handler, _ := newStatus(t, s)
		waiting := "component steady: it is not running\n"
		synctest.Wait()
		expect(t, handler, "/readyz", http.StatusServiceUnavailable, "component worker: broken\n"+waiting)
		<-time.After(1500 * time.Millisecond)
		expect(t, handler, "/readyz", http.StatusOK, "ready\n")
		<-time.After(time.Second)
		expect(t, handler, "/readyz", http.StatusServiceUnavailable, waiting)
	})
}

func TestReadinessWhileStopping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(finishes("slow", time.Second, nil))
		asked := 0
		s.Checks = []Check{{"database", func(context.Context) error { asked++; return nil }}}
		handler, stop := newStatus(t, s)
		stop()
		expect(t, handler, "/readyz", http.StatusServiceUnavailable, "the process is stopping\n")
		expect(t, handler, "/healthz", http.StatusOK, "alive\n")
		if asked != 0 {
			t.Errorf("the database was asked %d times", asked)
		}
	})
}

func TestChecks(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	answer := func(context.Context) error { return nil }
	hesitate := func(context.Context) error {
		<-time.After(1500 * time.Millisecond)
		return nil
	}
	for name, test := range map[string]struct {
		checks []Check
		status int
		body   string
		took   time.Duration
	}{
		"all answer": {[]Check{{"database", answer}, {"broker", answer}}, http.StatusOK, "ready\n", 0},
		"some are slow": {
			[]Check{{"database", hesitate}, {"broker", hesitate}}, http.StatusOK, "ready\n", 1500 * time.Millisecond,
		},
		"one fails": {
			[]Check{{"database", answer}, {"broker", func(context.Context) error { return errBroken }}},
			http.StatusServiceUnavailable, "broker: broken\n", 0,
		},
		"some are silent": {
			[]Check{{"database", hang}, {"broker", answer}, {"solver database", hang}},
			http.StatusServiceUnavailable,
			"database: context deadline exceeded\nsolver database: context deadline exceeded\n", checkTimeout,
		},
		"errors of several lines": {
			[]Check{{"database", func(context.Context) error { return errors.Join(errBroken, errEnded) }}},
			http.StatusServiceUnavailable, "database: broken; it has ended without having been asked to\n", 0,
		},
		"panic": {[]Check{{"database", panicHere}}, http.StatusServiceUnavailable, "database: panic: no way\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, _ := newServer(finishes("x", 0, nil))
				s.Checks = test.checks
				handler, _ := newStatus(t, s)
				synctest.Wait()
				beginning := time.Now()
				expect(t, handler, "/readyz", test.status, test.body)
				if took := time.Since(beginning); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
			})
		})
	}
}

// However many look, and however often, the servers are not asked more than once a second.
func TestChecksAreRare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked, answered atomic.Int32
		s, _ := newServer(finishes("x", 0, nil))
		s.Checks = []Check{{"database", func(context.Context) error {
			asked.Add(1)
			<-time.After(100 * time.Millisecond)
			return errBroken
		}}}
		handler, _ := newStatus(t, s)
		synctest.Wait()
		for range 105 { // 10.5 seconds
			for range 5 {
				go func() {
					if status, _ := get(t, handler, "/readyz"); status == http.StatusServiceUnavailable {
						answered.Add(1)
					}
				}()
			}
			<-time.After(100 * time.Millisecond)
		}
		synctest.Wait()
		<-time.After(time.Second)
		if answered.Load() != 105*5 || asked.Load() < 9 || asked.Load() > 11 {
			t.Errorf("%d answers, the database was asked %d times", answered.Load(), asked.Load())
		}
	})
}

func TestServersComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		s, _ := newServer(finishes("x", 0, nil))
		s.Checks = []Check{{"database", func(context.Context) error {
			if broken.Load() {
				return errBroken
			}
			return nil
		}}}
		handler, _ := newStatus(t, s)
		synctest.Wait()
		for range 2 {
			broken.Store(false)
			<-time.After(checkInterval)
			expect(t, handler, "/readyz", http.StatusOK, "ready\n")
			broken.Store(true)
			<-time.After(checkInterval)
			expect(t, handler, "/readyz", http.StatusServiceUnavailable, "database: broken\n")
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(finishes("x", 0, nil))
		handler, _ := newStatus(t, s)
		synctest.Wait()
		status, body := get(t, handler, "/metrics")
		for _, want := range []string{
			"trade_component_running{component=\"x\"} 1\n",
			"trade_component_restarts_total{component=\"x\"} 0\n",
			"\ntrade_build_info{",
			"\ngo_goroutines ",
			"\nprocess_start_time_seconds ",
		} {
			if status != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("GET /metrics: %d, without %s in\n%s", status, want, body)
			}
		}
		problems, err := testutil.GatherAndLint(s.Registry)
		if err != nil || len(problems) > 0 {
			t.Errorf("the linter of metrics has found %v, %v", problems, err)
		}
	})
}

// Not in a bubble: the connections are real.
func TestStatusServer(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	s, log := newServer(Component{Name: "x", Run: func(ctx context.Context) error {
		close(started)
		return idle(ctx)
	}})
	s.StatusAddress = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.run(ctx, nil) }()
	<-started
	entries := log.entries(t, slog.LevelInfo, "serving status requests")
	if len(entries) != 1 {
		t.Fatalf("logged before the component was started: %v", entries)
	}
	url := "http://" + entries[0]["address"].(string)
	for path, want := range map[string]string{"/healthz": "alive\n", "/readyz": "ready\n"} {
		response, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("GET %s: %s %q, %v", path, response.Status, body, err)
		}
		_ = response.Body.Close()
	}
	cancel()
	if err := <-result; err != nil {
		t.Errorf("error: %v", err)
	}
	if response, err := http.Get(url + "/healthz"); err == nil {
		t.Errorf("answered after the end: %s", response.Status)
		_ = response.Body.Close()
	}
}

func TestStatusAddressInUse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	s, _ := newServer(Component{Name: "x", Run: func(ctx context.Context) error {
		t.Error("the component has been started")
		return idle(ctx)
	}})
	s.StatusAddress = listener.Addr().String()
	err = s.run(t.Context(), nil)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), s.StatusAddress) {
		t.Errorf("error: %v", err)
	}
}
