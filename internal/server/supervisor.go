package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A supervisor runs the components of a server, and knows how they are doing.
type supervisor struct {
	components []*supervised
	guard      *supervised // nil if there is none
	restart    bool
	end        context.CancelCauseFunc // ends the context in which everything runs
	logger     *slog.Logger
}

func newSupervisor(s *Server, restarts *prometheus.CounterVec, end context.CancelCauseFunc) *supervisor {
	v := &supervisor{restart: s.Supervise, end: end, logger: s.Logger}
	for _, component := range s.Components {
		v.components = append(v.components, newSupervised(component, restarts))
	}
	if s.Guard != nil {
		v.guard = newSupervised(Component{Name: s.Name, Run: func(ctx context.Context) error {
			return s.Guard(ctx, v.runComponents)
		}}, restarts)
	}
	return v
}

// errStopRequested is the reason for which the components' contexts end on a signal.
var errStopRequested = errors.New("the process has been asked to stop")

// runUntilStopped runs everything, and ends it on a signal. If that is not over in time, it returns nevertheless.
func (v *supervisor) runUntilStopped(ctx context.Context, signals <-chan os.Signal) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.run(ctx)
	}()
	asked, stopping := false, ctx.Done()
	var timeout <-chan time.Time
	for {
		select {
		case <-ended:
			return nil
		case <-stopping:
			stopping, timeout = nil, time.After(StopTimeout)
		case <-timeout:
			return fmt.Errorf("%w within %v: %s", ErrNotStopped, StopTimeout, v.running())
		case received := <-signals:
			if asked {
				return fmt.Errorf("%w: %s", ErrInterrupted, v.running())
			}
			asked = true
			v.logger.InfoContext(ctx, "stopping", slog.String("signal", received.String()))
			v.end(errStopRequested)
		}
	}
}

// run runs everything, until the context ends or all components have ended by themselves.
func (v *supervisor) run(ctx context.Context) {
	if v.guard != nil {
		v.supervise(ctx, v.guard)
		return
	}
	_ = v.runComponents(ctx) // the error is for guards, and always nil
}

// runComponents is the work that the guard surrounds.
func (v *supervisor) runComponents(ctx context.Context) error {
	var all sync.WaitGroup
	for _, component := range v.components {
		all.Go(func() { v.supervise(ctx, component) })
	}
	all.Wait()
	return nil
}

// supervise runs a component, until the context ends or the component has ended by itself. Where there are no restarts,
// or they would not help, a failure ends everything.
func (v *supervisor) supervise(ctx context.Context, c *supervised) {
	var patience patience
	for {
		started := time.Now()
		err := c.runOnce(ctx, v.logger)
		if ctx.Err() != nil {
			v.logLateFailure(ctx, c, err)
			return
		}
		if err == nil {
			return
		}
		if !v.restart || isFatal(err) {
			v.end(&componentError{name: c.Name, err: err})
			return
		}
		lived := time.Since(started)
		pause := patience.after(lived)
		v.logger.ErrorContext(ctx, "a component has failed, and is restarted", slog.String("component", c.Name),
			slog.Any("error", err), slog.Duration("lived", lived), slog.Duration("pause", pause))
		if !wait(ctx, pause) {
			return
		}
		c.restarts.Inc()
	}
}

// wait waits for the pause to be over, and reports whether the context has not ended first.
func wait(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// logLateFailure tells what a component had to say that was ended. That it could not finish is no news.
func (v *supervisor) logLateFailure(ctx context.Context, c *supervised, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)) {
		return
	}
	v.logger.InfoContext(ctx, "a component has failed while it was ended",
		slog.String("component", c.Name), slog.Any("error", err))
}

// all returns the guard, if there is one, and the components.
func (v *supervisor) all() []*supervised {
	if v.guard == nil {
		return v.components
	}
	return append([]*supervised{v.guard}, v.components...)
}

// running lists what has not ended yet.
func (v *supervisor) running() string {
	var names []string
	for _, c := range v.all() {
		if running, _ := c.get(); running {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

const (
	longLife     = 30 * time.Second // after which a failure does not count as one of a series
	longestPause = 60 * time.Second
)

// A patience is the number of consecutive failures of a component before it had lived for long.
type patience struct{ failures int }

// after returns how long to wait before the component is restarted that has failed after a life of this length.
func (p *patience) after(lived time.Duration) time.Duration {
	if lived >= longLife {
		p.failures = 0
		return 0
	}
	p.failures++
	return min(time.Duration(p.failures)*time.Second, longestPause)
}

// A supervised component is a component together with how it is doing.
type supervised struct {
	Component
	restarts prometheus.Counter

	mu      sync.Mutex
	running bool
	trouble error // why it does not run; nil if it does, or has ended by itself
}

// errNotRunning is the trouble of a component that waits for the guard, or has been ended.
var errNotRunning = errors.New("it is not running")

func newSupervised(component Component, restarts *prometheus.CounterVec) *supervised {
	return &supervised{
		Component: component, restarts: restarts.WithLabelValues(component.Name), trouble: errNotRunning,
	}
}

// runOnce runs the component once. It makes a panic an error, and tells the log where it has happened.
func (c *supervised) runOnce(ctx context.Context, logger *slog.Logger) (err error) {
	c.set(true, nil)
	defer func() {
		if value := recover(); value != nil {
			logger.ErrorContext(ctx, "a component has panicked", slog.String("component", c.Name),
				slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
			err = panicError{value}
		}
		switch {
		case ctx.Err() != nil:
			c.set(false, errNotRunning)
		case err == nil && !c.EndsByItself:
			err = errEnded
			c.set(false, err)
		default:
			c.set(false, err)
		}
	}()
	return c.Run(ctx)
}

func (c *supervised) set(running bool, trouble error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.trouble = running, trouble
}

func (c *supervised) get() (running bool, trouble error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running, c.trouble
}
