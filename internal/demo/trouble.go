package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// killingWhileMoving is how long processes are killed while the tokens move, after the last turn.
const killingWhileMoving = 5 * time.Second

// trouble is that processes are killed, and servers, and all of them started again.
type trouble struct {
	fleet  *fleet
	stores *stores
	screen *screen

	gates map[stage]chan struct{} // closed when the stage has begun

	killing, serving sync.WaitGroup
	stopKilling      context.CancelFunc

	mu     sync.Mutex
	killed map[string]int // how often, by kind
	halted map[string]int // servers that have been stopped in an orderly way
	failed error
}

// makeTrouble begins to kill processes. Servers are killed, too, if they belong to the demo; that waits for the right
// stages.
func makeTrouble(ctx context.Context, s *show) *trouble {
	t := &trouble{
		fleet: s.fleet, stores: s.stores, screen: s.screen, gates: map[stage]chan struct{}{},
		killed: map[string]int{}, halted: map[string]int{},
	}
	for _, stage := range stages(s.Turns) {
		t.gates[stage] = make(chan struct{})
	}
	killing, stop := context.WithCancel(ctx)
	t.stopKilling = stop
	t.killing.Go(func() { t.killProcesses(killing, newKills(s.Seed, s.fleet.names())) })
	if s.servers != nil {
		for _, server := range []*server{s.servers.postgres, s.servers.broker} {
			faults := serverFaults(s.Seed, server.kind, s.Turns, s.pace)
			t.serving.Go(func() { t.endServer(ctx, server, faults) })
		}
	}
	t.enter(stage{})
	return t
}

// enter tells that a stage has begun. Stages before it have begun, too: they may have been too short to be seen.
func (t *trouble) enter(now stage) {
	if t == nil {
		return
	}
	for stage, gate := range t.gates {
		if !stage.after(now) {
			select {
			case <-gate:
			default:
				close(gate)
			}
		}
	}
}

// calm waits until all that is to happen to servers has happened, and they are back; and until processes have been killed
// for some time of the present stage. Then there is no more trouble. When the context has ended, it does not wait.
func (t *trouble) calm(ctx context.Context) {
	if t == nil {
		return
	}
	wait(ctx, killingWhileMoving)
	t.serving.Wait()
	t.stopKilling()
	t.killing.Wait()
}

// err returns an error if the trouble is not what it should be.
func (t *trouble) err() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *trouble) killProcesses(ctx context.Context, kills *kills) {
	for {
		pause, victim := kills.next()
		if !wait(ctx, pause) {
			return
		}
		killed, err := t.fleet.kill(victim)
		if err != nil {
			t.fail(err)
			return
		}
		if killed {
			t.count(t.killed, t.fleet.specs[victim].command)
		}
	}
}

// endServer does what is to happen to a server.
func (t *trouble) endServer(ctx context.Context, s *server, faults []serverFault) {
	for _, f := range faults {
		select {
		case <-t.gates[f.stage]:
		case <-ctx.Done():
			return
		}
		if !wait(ctx, f.delay) {
			return
		}
		if f.busy && !t.awaitResults(ctx, f.stage.turn) {
			return
		}
		counts, signal, what := t.killed, killServer, "killed"
		if f.orderly {
			counts, signal, what = t.halted, syscall.SIGTERM, "stopped"
		}
		t.screen.title("  %s is %s", s.kind, what)
		if err := s.end(signal); err != nil {
			t.fail(err)
			return
		}
		if !wait(ctx, f.away) {
			return
		}
		if err := s.start(ctx); err != nil {
			t.fail(err)
			return
		}
		t.count(counts, s.kind.String())
	}
}

// awaitResults waits until workers begin to act on the results of a turn: then they send a message for each account that
// has been locked. Should that have been too quick to be seen, it does not wait for long. It returns false if the context
// ends before.
func (t *trouble) awaitResults(ctx context.Context, turn int) bool {
	const lot, often, late = 20, 5 * time.Millisecond, 3 * time.Second
	var published time.Time
	for wait(ctx, often) {
		// What goes wrong is due to the other server, which will be back.
		if waiting, err := t.stores.revisions(ctx); err == nil && waiting >= lot {
			return true
		}
		select {
		case <-t.gates[stage{turn: turn, part: moving}]:
			if published.IsZero() {
				published = time.Now()
			} else if time.Since(published) > late {
				return true
			}
		default:
		}
	}
	return false
}

func (t *trouble) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = errors.Join(t.failed, err)
}

func (t *trouble) count(counts map[string]int, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts[what]++
}

// String tells what has been done.
func (t *trouble) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := "killed: " + list(t.killed)
	if len(t.halted) > 0 {
		text += "; stopped: " + list(t.halted)
	}
	return text
}

func list(counts map[string]int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d×", what, counts[what]))
	}
	return strings.Join(parts, ", ")
}

// wait returns after some time, and reports whether the context has not ended before.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
