package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var errBroken = errors.New("broken")

// What is logged when a component is restarted.
const restartMessage = "a component has failed, and is restarted"

// newServer returns a supervised server, and its log.
func newServer(components ...Component) (*Server, *logbook) {
	log := new(logbook)
	return &Server{
		Name:       "worker",
		Components: components,
		Supervise:  true,
		Registry:   prometheus.NewRegistry(),
		Logger:     log.logger(),
	}, log
}

// lives returns a component each run of which takes as long as a function of the number of its run says, and fails. It
// tells when it was started.
func lives(name string, life func(run int) time.Duration) (component Component, starts func() []time.Duration) {
	var mu sync.Mutex
	var started []time.Duration
	beginning := time.Now()
	run := func(ctx context.Context) error {
		mu.Lock()
		started = append(started, time.Since(beginning))
		n := len(started)
		mu.Unlock()
		select {
		case <-time.After(life(n)):
			return errBroken
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return Component{Name: name, Run: run}, func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(started)
	}
}

// runFor runs a server for some time of the bubble's clock.
func runFor(t *testing.T, s *Server, duration time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	if err := s.run(ctx, nil); err != nil {
		t.Errorf("run: %v", err)
	}
}

// start runs a server in the background. What stop sends are signals.
func start(t *testing.T, s *Server) (signals chan<- os.Signal, result <-chan error) {
	t.Helper()
	sent, returned := make(chan os.Signal, 2), make(chan error, 1)
	go func() { returned <- s.run(t.Context(), sent) }()
	synctest.Wait()
	return sent, returned
}

func TestPatience(t *testing.T) {
	t.Parallel()
	var p patience
	for i, step := range []struct{ lived, want time.Duration }{
		{0, time.Second},
		{30*time.Second - 1, 2 * time.Second},
		{time.Second, 3 * time.Second},
		{30 * time.Second, 0},
		{time.Hour, 0},
		{0, time.Second},
		{0, 2 * time.Second},
	} {
		if got := p.after(step.lived); got != step.want {
			t.Errorf("step %d: pause of %v after %v, want %v", i, got, step.lived, step.want)
		}
	}
	for n := 3; n <= 100; n++ {
		want := min(time.Duration(n)*time.Second, time.Minute)
		if got := p.after(0); got != want {
			t.Errorf("failure %d: pause of %v, want %v", n, got, want)
		}
	}
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flaky, flakyStarts := lives("flaky", func(run int) time.Duration {
			return []time.Duration{0, 10 * time.Second, 30 * time.Second, 0, time.Hour}[run-1]
		})
		steady, steadyStarts := lives("steady", func(int) time.Duration { return time.Hour })
		s, log := newServer(flaky, steady)
		runFor(t, s, 5*time.Minute)

		want := []time.Duration{0, 1 * time.Second, 13 * time.Second, 43 * time.Second, 44 * time.Second}
		if got := flakyStarts(); !slices.Equal(got, want) {
			t.Errorf("started at %v, want %v", got, want)
		}
		if got := steadyStarts(); len(got) != 1 {
			t.Errorf("the other component was started at %v", got)
		}
		var pauses []time.Duration
		for _, entry := range log.entries(t, slog.LevelError, restartMessage) {
			if entry["component"] != "flaky" || entry["error"] != "broken" {
				t.Errorf("logged: %v", entry)
			}
			pauses = append(pauses, time.Duration(entry["pause"].(float64)))
		}
		if want := []time.Duration{time.Second, 2 * time.Second, 0, time.Second}; !slices.Equal(pauses, want) {
			t.Errorf("logged pauses: %v, want %v", pauses, want)
		}
		expectMetrics(t, s, `
			# HELP trade_component_restarts_total How often a component has been restarted, after it had failed.
			# TYPE trade_component_restarts_total counter
			trade_component_restarts_total{component="flaky"} 4
			trade_component_restarts_total{component="steady"} 0
		`, "trade_component_restarts_total")
	})
}

func expectMetrics(t *testing.T, s *Server, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(s.Registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestRunningMetric(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flaky, _ := lives("flaky", func(int) time.Duration { return time.Second })
		steady, _ := lives("steady", func(int) time.Duration { return time.Hour })
		finished := Component{Name: "finished", EndsByItself: true, Run: func(context.Context) error { return nil }}
		waiting, _ := lives("waiting", func(int) time.Duration { return time.Hour })
		var held atomic.Bool
		held.Store(true)
		waiting.StandsBy = held.Load
		s, _ := newServer(flaky, steady, finished, waiting)
		signals, result := start(t, s)
		expect := func(flaky, steady, waiting, standingBy int) {
			t.Helper()
			expectMetrics(t, s, fmt.Sprintf(`
				# HELP trade_component_running Whether a component is running: 1 if it is, 0 if it waits or has failed. One that has done its work is left out.
				# TYPE trade_component_running gauge
				trade_component_running{component="flaky"} %d
				trade_component_running{component="steady"} %d
				trade_component_running{component="waiting"} %d
				# HELP trade_component_standing_by Whether a component waits because another process does the same: 1 if it does, 0 if not.
				# TYPE trade_component_standing_by gauge
				trade_component_standing_by{component="flaky"} 0
				trade_component_standing_by{component="steady"} 0
				trade_component_standing_by{component="waiting"} %d
			`, flaky, steady, waiting, standingBy), "trade_component_running", "trade_component_standing_by")
		}
		expect(1, 1, 0, 1)
		held.Store(false)
		expect(1, 1, 1, 0)
		held.Store(true)
		time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // the bubble's clock: it takes no time
		expect(0, 1, 0, 1)
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock: it takes no time
		expect(1, 1, 0, 1)
		signals <- syscall.SIGTERM
		if err := <-result; err != nil {
			t.Error(err)
		}
		expect(0, 0, 0, 0)
	})
}

// A component that does not work as it should is a failure, whichever way it ends.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		run  func(context.Context) error
		text string
		is   error
	}{
		"error": {func(context.Context) error { return errBroken }, "broken", errBroken},
		"quiet end": {
			func(context.Context) error { return nil }, "it has ended without having been asked to", errEnded,
		},
		"panic":       {func(context.Context) error { panic("no way") }, "panic: no way", nil},
		"error panic": {func(context.Context) error { panic(errBroken) }, "panic: broken", errBroken},
		"cancellation of its own": {
			func(context.Context) error { return context.Canceled }, "context canceled", context.Canceled,
		},
	} {
		t.Run("supervised/"+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, log := newServer(Component{Name: "x", Run: test.run})
				runFor(t, s, 3500*time.Millisecond) // it fails after 0, 1, and 3 seconds
				entries := log.entries(t, slog.LevelError, restartMessage)
				if len(entries) != 3 || entries[0]["error"] != test.text {
					t.Errorf("logged: %v", entries)
				}
			})
		})
		t.Run("alone/"+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				other, starts := lives("other", func(int) time.Duration { return time.Hour })
				s, _ := newServer(Component{Name: "x", Run: test.run}, other)
				s.Supervise = false
				err := s.run(t.Context(), nil)
				if err == nil || err.Error() != "component x: "+test.text {
					t.Errorf("error: %v", err)
				}
				if test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("error %v is not %v", err, test.is)
				}
				if len(starts()) != 1 {
					t.Errorf("the other component was started at %v", starts())
				}
			})
		})
	}
}

func panicHere(context.Context) error { panic("no way") }

func TestPanicsAreLoggedWithTheirStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, log := newServer(Component{Name: "x", Run: panicHere})
		s.Supervise = false
		if err := s.run(t.Context(), nil); err == nil {
			t.Error("no error")
		}
		entries := log.entries(t, slog.LevelError, "a component has panicked")
		if len(entries) != 1 || entries[0]["component"] != "x" || entries[0]["panic"] != "no way" ||
			!strings.Contains(entries[0]["stack"].(string), "panicHere") {
			t.Errorf("logged: %v", entries)
		}
	})
}

func TestFatal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wrongSetting := fmt.Errorf("start: %w", Fatal(errBroken))
		var ended atomic.Bool
		slow := Component{Name: "slow", Run: func(ctx context.Context) error {
			<-ctx.Done()
			<-time.After(5 * time.Second)
			ended.Store(true)
			return nil
		}}
		s, log := newServer(slow, Component{Name: "x", Run: func(context.Context) error {
			<-time.After(time.Minute)
			return wrongSetting
		}})
		beginning := time.Now()
		err := s.run(t.Context(), nil)
		if !errors.Is(err, errBroken) || err.Error() != "component x: start: broken" {
			t.Errorf("error: %v", err)
		}
		if !ended.Load() || time.Since(beginning) != 65*time.Second {
			t.Errorf("returned after %v, the other component has ended: %v", time.Since(beginning), ended.Load())
		}
		if entries := log.entries(t, slog.LevelError, restartMessage); len(entries) > 0 {
			t.Errorf("logged: %v", entries)
		}
	})
	if Fatal(nil) != nil {
		t.Error("Fatal(nil) is an error")
	}
}

func TestEndByItself(t *testing.T) {
	t.Parallel()
	for _, supervise := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			passes := 0
			s, log := newServer(
				Component{Name: "quick", EndsByItself: true, Run: func(context.Context) error { passes++; return nil }},
				Component{Name: "slow", EndsByItself: true, Run: func(context.Context) error {
					<-time.After(time.Hour)
					return nil
				}},
			)
			s.Supervise = supervise
			beginning := time.Now()
			if err := s.run(t.Context(), nil); err != nil || passes != 1 || time.Since(beginning) != time.Hour {
				t.Errorf("error %v, %d passes, %v, log: %s", err, passes, time.Since(beginning), &log.text)
			}
		})
	}
}

func TestFailureOfAComponentThatMayEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fails := func(context.Context) error { return errBroken }
		s, _ := newServer(Component{Name: "x", EndsByItself: true, Run: fails})
		s.Supervise = false
		if err := s.run(t.Context(), nil); !errors.Is(err, errBroken) {
			t.Errorf("error: %v", err)
		}
	})
}

// finishes returns a component that goes on for some time after it has been asked to end.
func finishes(name string, after time.Duration, err error) Component {
	return Component{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		<-time.After(after)
		return err
	}}
}

func TestStop(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		signals []time.Duration // when they come, after the first one
		finish  time.Duration   // how long the slower component takes to end
		want    error
		text    string
		stopped time.Duration
	}{
		"in time":  {finish: 7 * time.Second, stopped: 7 * time.Second},
		"at once":  {finish: 0, stopped: 0},
		"too late": {finish: 9 * time.Second, want: ErrNotStopped, text: "within 7.5s: slow", stopped: StopTimeout},
		"second signal": {
			signals: []time.Duration{time.Second}, finish: 3 * time.Second,
			want: ErrInterrupted, text: ": slow", stopped: time.Second,
		},
		"two signals at a time": {
			signals: []time.Duration{0}, finish: time.Second,
			want: ErrInterrupted, text: ": slow", stopped: 0,
		},
		"second signal after the end": {
			signals: []time.Duration{5 * time.Second}, finish: 3 * time.Second,
			stopped: 3 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, _ := newServer(finishes("slow", test.finish, errBroken), finishes("fast", 0, nil))
				signals, result := start(t, s)
				beginning := time.Now()
				signals <- syscall.SIGTERM
				synctest.Wait()
				for _, delay := range test.signals {
					time.AfterFunc(delay, func() { signals <- syscall.SIGINT })
				}
				err := <-result
				if !errors.Is(err, test.want) || test.want != nil && !strings.HasSuffix(err.Error(), test.text) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if got := time.Since(beginning); got != test.stopped {
					t.Errorf("stopped after %v, want %v", got, test.stopped)
				}
				<-time.After(10 * time.Second) // until the components have ended
			})
		})
	}
}

func TestStopDuringAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flaky, starts := lives("flaky", func(int) time.Duration { return 0 })
		s, _ := newServer(flaky)
		signals, result := start(t, s)
		beginning := time.Now()
		signals <- syscall.SIGHUP
		if err := <-result; err != nil || time.Since(beginning) != 0 || len(starts()) != 1 {
			t.Errorf("error %v after %v, started at %v", err, time.Since(beginning), starts())
		}
	})
}

// An operator who sees a process end, and asks it to, does not mean "at once".
func TestSignalAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(finishes("slow", 3*time.Second, nil), Component{Name: "x", Run: func(context.Context) error {
			return Fatal(errBroken)
		}})
		signals, result := start(t, s)
		signals <- syscall.SIGTERM
		if err := <-result; !errors.Is(err, errBroken) || errors.Is(err, ErrInterrupted) {
			t.Errorf("error: %v", err)
		}
	})
}

func TestFailureAndNotStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(finishes("slow", 9*time.Second, nil), Component{Name: "x", Run: func(context.Context) error {
			return Fatal(errBroken)
		}})
		if err := s.run(t.Context(), nil); !errors.Is(err, errBroken) || !errors.Is(err, ErrNotStopped) {
			t.Errorf("error: %v", err)
		}
		<-time.After(2 * time.Second) // until the component has ended
	})
}

func TestFailureWhileStopping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, log := newServer(
			finishes("cancelled", 0, fmt.Errorf("commit: %w", context.Canceled)),
			finishes("failed", 0, Fatal(errBroken)),
			finishes("stopped", 0, errStopRequested),
		)
		signals, result := start(t, s)
		signals <- syscall.SIGTERM
		if err := <-result; err != nil {
			t.Errorf("error: %v", err)
		}
		entries := log.entries(t, slog.LevelInfo, "a component has failed while it was ended")
		if len(entries) != 1 || entries[0]["component"] != "failed" || entries[0]["error"] != "broken" {
			t.Errorf("logged: %v", entries)
		}
	})
}

// Not in a bubble: the signals are real.
func TestSignals(t *testing.T) { //nolint:paralleltest // signals go to the whole process
	for _, received := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		started := make(chan struct{})
		s, log := newServer(Component{Name: "x", Run: func(ctx context.Context) error {
			close(started)
			<-ctx.Done()
			return nil
		}})
		result := make(chan error, 1)
		go func() { result <- s.Run(t.Context()) }()
		<-started
		if err := syscall.Kill(os.Getpid(), received); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Errorf("%v: error %v", received, err)
		}
		if entries := log.entries(t, slog.LevelInfo, "stopping"); len(entries) != 1 ||
			entries[0]["signal"] != received.String() {
			t.Errorf("%v: logged: %v", received, entries)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		steady, starts := lives("steady", func(int) time.Duration { return time.Hour })
		s, log := newServer(steady)
		attempts := 0
		s.Guard = func(ctx context.Context, work func(context.Context) error) error {
			if attempts++; attempts == 1 {
				return errBroken // the database is not there
			}
			for { // as if the lock were lost every minute
				working, stop := context.WithTimeout(ctx, time.Minute)
				err := work(working)
				stop()
				if err != nil || ctx.Err() != nil {
					return err
				}
			}
		}
		runFor(t, s, 150*time.Second)
		want := []time.Duration{1 * time.Second, 61 * time.Second, 121 * time.Second}
		if got := starts(); !slices.Equal(got, want) {
			t.Errorf("started at %v, want %v", got, want)
		}
		entries := log.entries(t, slog.LevelError, restartMessage)
		if len(entries) != 1 || entries[0]["component"] != "worker" {
			t.Errorf("logged: %v", entries)
		}
	})
}

func TestFatalFailuresUnderAGuard(t *testing.T) {
	t.Parallel()
	fails := func(context.Context) error { return Fatal(errBroken) }
	for want, test := range map[string]struct {
		component func(context.Context) error
		guard     func(context.Context, func(context.Context) error) error
	}{
		"component x: broken": {component: fails, guard: runUnguarded},
		"component worker: broken": {
			component: idle,
			guard:     func(ctx context.Context, _ func(context.Context) error) error { return fails(ctx) },
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			other, _ := lives("other", func(int) time.Duration { return time.Hour })
			s, _ := newServer(other, Component{Name: "x", Run: test.component})
			s.Guard = test.guard
			if err := s.run(t.Context(), nil); !errors.Is(err, errBroken) || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

func TestCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for n, want := range map[int][]string{
			-1: {"x"}, 0: {"x"}, 1: {"x"}, 3: {"x-1", "x-2", "x-3"},
		} {
			runs := new(atomic.Int32)
			copies := Copies(n, Component{Name: "x", Run: func(ctx context.Context) error {
				runs.Add(1)
				return idle(ctx)
			}})
			var names []string
			for _, component := range copies {
				names = append(names, component.Name)
			}
			if !slices.Equal(names, want) {
				t.Errorf("%d copies: %v, want %v", n, names, want)
			}
			s, log := newServer(copies...)
			runFor(t, s, time.Hour)
			if got := int(runs.Load()); got != max(n, 0) {
				t.Errorf("%d copies: %d runs", n, got)
			}
			if entries := log.entries(t, slog.LevelError, restartMessage); len(entries) > 0 {
				t.Errorf("%d copies: logged: %v", n, entries)
			}
		}
	})
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, mistake := range map[string]func(*Server){
		"no components":    func(s *Server) { s.Components = nil },
		"no name":          func(s *Server) { s.Components[1].Name = "" },
		"the same name":    func(s *Server) { s.Components[1].Name = "x" },
		"the guard's name": func(s *Server) { s.Components[1].Name, s.Guard = "worker", runUnguarded },
		"used twice":       func(s *Server) { _ = s.Registry.Register(newRestarts()) },
	} {
		x := Component{Name: "x", Run: func(context.Context) error {
			t.Errorf("%s: a component has been started", name)
			return Fatal(errBroken)
		}}
		s, _ := newServer(x, x)
		s.Components[1].Name = "y"
		mistake(s)
		if err := s.run(t.Context(), nil); err == nil || errors.Is(err, errBroken) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func runUnguarded(ctx context.Context, work func(context.Context) error) error { return work(ctx) }
