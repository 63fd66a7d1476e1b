package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

// asProgram is the variable that makes this test program the program itself.
const asProgram = "CIRCULAR_TRADE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	// Most of these tests wait for others most of the time.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// stopTime is how long a process may take to end after a signal.
const stopTime = 8 * time.Second

// A process is the program in a process of its own, with nothing in its environment but what it is given.
type process struct {
	name   string
	cmd    *exec.Cmd
	status string // where it tells how it is doing
	output output
	ended  chan struct{}
	err    error // when it has ended
}

// An output is what a process has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(line)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts the program. It is killed when the test ends, if it still runs.
func launch(t *testing.T, environment []string, args ...string) *process {
	t.Helper()
	port := strconv.Itoa(testenv.FreePort(t))
	p := &process{
		name: "trade " + strings.Join(args, " "), status: "http://127.0.0.1:" + port + "/", ended: make(chan struct{}),
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], args...) //nolint:gosec // this is the test itself
	p.cmd.Env = append(append([]string{}, environment...), asProgram+"=1", "APP_STATUS_PORT="+port,
		"GORACE=atexit_sleep_ms=0") // the race detector would have each process wait for a second at its end
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	return p
}

// await waits for the process to end, and returns its status.
func (p *process) await(t *testing.T, patience time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s has not ended within %v; it says\n%s", p.name, patience, &p.output)
	}
	if exit, failed := errors.AsType[*exec.ExitError](p.err); failed {
		return exit.ExitCode()
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	return 0
}

func (p *process) mustEnd(t *testing.T, status int) {
	t.Helper()
	if got := p.await(t, servicePatience); got != status {
		t.Errorf("%s ends with status %d, want %d; it says\n%s", p.name, got, status, &p.output)
	}
}

// mustStop asks the process to end, which it has to do in time.
func (p *process) mustStop(t *testing.T, s syscall.Signal, status int) {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("%s has ended by itself: %v; it says\n%s", p.name, p.err, &p.output)
	default:
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if got := p.await(t, stopTime); got != status {
		t.Errorf("%s ends with status %d after %v, want %d; it says\n%s", p.name, got, s, status, &p.output)
	}
}

// get returns the answer of a server, or 0 if there is none.
func get(url string) (code int, body string) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// mustBecome waits until the process is ready (200), or says that it is not (503), and returns what else it says.
func (p *process) mustBecome(t *testing.T, want int) (said string) {
	t.Helper()
	testenv.Eventually(t, servicePatience, func() error {
		code, body := get(p.status + "readyz")
		if said = body; code == want {
			return nil
		}
		return fmt.Errorf("%s is not ready: %d %s; it says\n%s", p.name, code, body, &p.output)
	})
	return said
}

// mustMeasure waits until the metrics have all of these lines.
func (p *process) mustMeasure(t *testing.T, lines ...string) {
	t.Helper()
	testenv.Eventually(t, servicePatience, func() error {
		_, metrics := get(p.status + "metrics")
		for _, line := range lines {
			if !strings.Contains(metrics, "\n"+line+"\n") {
				return fmt.Errorf("the metrics of %s lack %s", p.name, line)
			}
		}
		return nil
	})
}

func (p *process) mustSay(t *testing.T, want string) {
	t.Helper()
	testenv.Eventually(t, servicePatience, func() error {
		if said := p.output.String(); !strings.Contains(said, want) {
			return fmt.Errorf("%s does not say %q, but\n%s", p.name, want, said)
		}
		return nil
	})
}
