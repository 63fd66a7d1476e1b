package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// StopTimeout is how long components may take to end once they have been asked to. Operators are promised that a
// process is over 8 seconds after it has got a signal; the rest is for what the process does after [Server.Run].
const StopTimeout = 7500 * time.Millisecond

var (
	// ErrNotStopped tells that some components were asked to end, and did not within [StopTimeout]. They still run, and
	// hold on to what they use, so the process should exit at once, without tidying up after them.
	ErrNotStopped = errors.New("not all components have ended")

	// ErrInterrupted tells that a second signal has come before all components had ended. What is said about
	// [ErrNotStopped] applies here, too.
	ErrInterrupted = errors.New("interrupted before all components have ended")
)

// A Server is a process made of components.
type Server struct {
	// Name is the server's name among the components, if it has a guard.
	Name string

	// Components are what the server runs, at least one.
	Components []Component

	// Supervise has components restarted when they fail: at once if they have lived for 30 seconds, otherwise after a
	// pause, which is a second longer each time, up to a minute. Without it, the first failure ends the process.
	Supervise bool

	// Guard, if it is not nil, decides when the components may run: work runs all of them until its context ends, and
	// returns nil when they have ended. Guard may call it several times, one after the other. It is treated like the
	// Run of a component.
	Guard func(ctx context.Context, work func(context.Context) error) error

	// Checks find out whether the servers answer that components depend on.
	Checks []Check

	// StatusAddress is where /healthz, /readyz and /metrics are served, such as ":9090". Empty: they are not.
	StatusAddress string

	// Registry takes metrics of the components, the build, the process, and the Go runtime. It is what /metrics shows.
	Registry *prometheus.Registry

	Logger *slog.Logger
}

// Run runs the components until the process gets SIGTERM, SIGINT or SIGHUP, or the context ends, or all components have
// ended by themselves. It returns nil if then everything has ended as it should, and otherwise an error:
//
//   - It cannot listen at the StatusAddress. Nothing has been started.
//   - A component, or the guard, has failed in a way that ends the process. All others have been ended.
//   - Components that were asked to end have not done so: [ErrNotStopped], [ErrInterrupted].
//
// Failures that Run returns are not in the log. A server can be run only once.
func (s *Server) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	return s.run(ctx, signals)
}

func (s *Server) run(ctx context.Context, signals <-chan os.Signal) error {
	if err := s.validate(); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	restarts := newRestarts()
	v := newSupervisor(s, restarts, end)
	if err := registerMetrics(s.Registry, restarts, v); err != nil {
		return err
	}
	if s.StatusAddress != "" {
		handler := statusHandler(ctx, newReadiness(v, s.Checks), s.Registry, s.Logger)
		status, err := serveStatus(ctx, s.StatusAddress, handler, s.Logger)
		if err != nil {
			return err
		}
		defer status.close()
	}
	if err := v.runUntilStopped(ctx, signals); err != nil {
		return errors.Join(failure(ctx), err)
	}
	return failure(ctx)
}

// failure returns the component's failure that has ended the context, if it was one.
func failure(ctx context.Context) error {
	if failed, ok := errors.AsType[*componentError](context.Cause(ctx)); ok {
		return failed
	}
	return nil
}

// validate finds mistakes of the program.
func (s *Server) validate() error {
	if len(s.Components) == 0 {
		return errors.New("a server needs components to run")
	}
	names := map[string]bool{}
	if s.Guard != nil {
		names[s.Name] = true
	}
	for _, component := range s.Components {
		if component.Name == "" || names[component.Name] {
			return fmt.Errorf("component %q: each one needs a name of its own", component.Name)
		}
		names[component.Name] = true
	}
	return nil
}
