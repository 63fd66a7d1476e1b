package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// checkTimeout is how long a server may take to answer before it counts as unavailable. Most probes wait a second,
	// or a few; whoever waits longer should hear which server is the culprit.
	checkTimeout = 2 * time.Second
	// checkInterval is how long the answers count. However often somebody looks, the servers are not asked more often.
	checkInterval = time.Second

	statusReadTimeout  = 5 * time.Second
	statusWriteTimeout = 15 * time.Second
	statusIdleTimeout  = 2 * time.Minute // longer than the usual pause between two looks
	statusHeaderBytes  = 1 << 14
	// statusCloseTimeout is for the requests that are being answered when the process ends.
	statusCloseTimeout = 100 * time.Millisecond
)

// A statusServer tells others how the process is doing.
type statusServer struct {
	server *http.Server
	ended  chan struct{}
}

// serveStatus serves status requests until the server is closed.
func serveStatus(
	ctx context.Context, address string, handler http.Handler, logger *slog.Logger,
) (*statusServer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for status requests; is the port of another process configured? %w", err)
	}
	s := &statusServer{
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: statusReadTimeout,
			ReadTimeout:       statusReadTimeout,
			WriteTimeout:      statusWriteTimeout,
			IdleTimeout:       statusIdleTimeout,
			MaxHeaderBytes:    statusHeaderBytes,
			ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		},
		ended: make(chan struct{}),
	}
	logger.InfoContext(ctx, "serving status requests", slog.String("address", listener.Addr().String()))
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.ErrorContext(ctx, "status requests are not served any more", slog.Any("error", err))
		}
	}()
	return s, nil
}

func (s *statusServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), statusCloseTimeout)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // there is nothing left to do about what cannot be closed
	}
	<-s.ended
}

// statusHandler answers status requests. The context ends when the process is asked to stop.
func statusHandler(
	ctx context.Context, ready *readiness, registry *prometheus.Registry, logger *slog.Logger,
) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "alive")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if culprits := ready.culprits(ctx); len(culprits) > 0 {
			answer(w, http.StatusServiceUnavailable, culprits...)
		} else {
			answer(w, http.StatusOK, "ready")
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelError),
	}))
	return mux
}

func answer(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	for _, line := range lines {
		_, _ = io.WriteString(w, strings.ReplaceAll(line, "\n", "; ")+"\n") // who has asked may be gone
	}
}

// readiness finds out whether the process can do its work.
type readiness struct {
	supervisor *supervisor
	checks     []Check

	// One goroutine at a time asks the servers. The others wait for what it hears.
	asking     chan struct{}
	askedAt    time.Time
	unanswered []string
}

func newReadiness(v *supervisor, checks []Check) *readiness {
	return &readiness{supervisor: v, checks: checks, asking: make(chan struct{}, 1)}
}

// culprits returns why the process is not ready, a line each. It is ready if there are none.
func (r *readiness) culprits(ctx context.Context) []string {
	if ctx.Err() != nil {
		return []string{"the process is stopping"}
	}
	var culprits []string
	for _, c := range r.supervisor.all() {
		if _, trouble := c.get(); trouble != nil {
			culprits = append(culprits, "component "+c.Name+": "+trouble.Error())
		}
	}
	return append(culprits, r.unansweredChecks(ctx)...)
}

// unansweredChecks asks all servers at the same time, unless that has been done just now.
func (r *readiness) unansweredChecks(ctx context.Context) []string {
	r.asking <- struct{}{}
	defer func() { <-r.asking }()
	if !r.askedAt.IsZero() && time.Since(r.askedAt) < checkInterval {
		return r.unanswered
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	failures := make([]error, len(r.checks))
	var all sync.WaitGroup
	for i, check := range r.checks {
		all.Go(func() { failures[i] = check.ask(ctx) })
	}
	all.Wait()
	r.askedAt, r.unanswered = time.Now(), nil
	for i, failure := range failures {
		if failure != nil {
			r.unanswered = append(r.unanswered, r.checks[i].Name+": "+failure.Error())
		}
	}
	return r.unanswered
}

// ask makes a panic an error: a look at the process must not end it.
func (c Check) ask(ctx context.Context) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panicError{value}
		}
	}()
	return c.Answers(ctx)
}
