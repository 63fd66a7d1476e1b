package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

// newTestFleet returns a fleet of one worker in parts, whose program is a shell script.
func newTestFleet(t *testing.T, script string, healthy bool) *fleet {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/bash\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(t.Context(), fleetSettings{
		program: program, dir: dir, shards: 1, inParts: true, healthy: func() bool { return healthy },
		stores: &stores{workerURLs: []string{""}}, pace: pace{rest: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.stopAll() // some may have been started just now, and not know yet how to stop
	})
	return f
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, func() error {
		if !condition() {
			return errors.New("nothing has happened")
		}
		return nil
	})
}

// What each of the commands does, as a shell script: it begins, and waits until it is asked to end.
const patient = `trap 'exit 0' TERM; echo begin; while true; do sleep 0.1; done`

func TestProcessesThatEndByThemselves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command string // that ends
		status  int
		healthy bool // all servers are there
		again   bool // it is started again, and nobody complains
	}{
		"a part, without a server":                {"flush_all", 1, false, true},
		"a part, though all servers are there":    {"flush_all", 1, true, false},
		"a part that has crashed":                 {"flush_all", 2, false, false},
		"a part that thinks that it has finished": {"flush_all", 0, false, false},
		"a worker": {"worker", 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := fmt.Sprintf(`[ $1 = %s ] && echo begin && exit %d; %s`, c.command, c.status, patient)
			f := newTestFleet(t, script, c.healthy)
			if err := f.startWorkers(); err != nil {
				t.Fatal(err)
			}
			process := workerProcess(0)
			if c.command != "worker" {
				process = partProcess(0, c.command)
			}
			eventually(t, func() bool { return f.lost() != nil || f.partRestarts() > 1 })
			if err := f.lost(); c.again && err != nil || !c.again && !strings.Contains(fmt.Sprint(err), process+" has ended by itself") {
				t.Errorf("the fleet has lost: %v", err)
			}
			log, err := os.ReadFile(f.logFile(process))
			if err != nil || (strings.Count(string(log), "begin") > 1) != c.again {
				t.Errorf("its log: %q, %v", log, err)
			}
		})
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, patient, true)
	if killed, err := f.kill(workerProcess(0)); killed || err != nil {
		t.Errorf("killed before it has been started: %v, %v", killed, err)
	}
	if err := f.startWorkers(); err != nil {
		t.Fatal(err)
	}
	begun := func(times int) {
		eventually(t, func() bool {
			log, err := os.ReadFile(f.logFile(workerProcess(0)))
			return err == nil && strings.Count(string(log), "begin") == times
		})
	}
	for n := range 3 {
		begun(n + 1)
		if killed, err := f.kill(workerProcess(0)); !killed || err != nil {
			t.Errorf("killed: %v, %v", killed, err)
		}
	}
	begun(4)
	if err := f.stop(workerProcess(0)); err != nil {
		t.Error(err)
	}
	if killed, err := f.kill(workerProcess(0)); killed || err != nil {
		t.Errorf("killed after it has been stopped: %v, %v", killed, err)
	}
	if err := f.startAgain(workerProcess(0)); err != nil || f.crew[workerProcess(0)] != nil {
		t.Errorf("it has been started again, %v", err)
	}
	if err := f.lost(); err != nil {
		t.Errorf("to be killed is taken for an end by itself: %v", err)
	}
}

func TestCrashesAreFound(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, `[ $1 = worker ] && echo "error=\"panic: no way\""; `+patient, true)
	if err := f.start(solverProcess); err != nil {
		t.Fatal(err)
	}
	if err := f.startWorkers(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		found, err := f.crashes()
		return err == nil && len(found) == 1 && strings.HasSuffix(found[0], "worker-0.log")
	})
}
