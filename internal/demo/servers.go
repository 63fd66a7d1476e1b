package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A serverKind is a kind of server, as scripts/services has it.
type serverKind string

const (
	postgresServer serverKind = "postgres"
	brokerServer   serverKind = "broker"
)

// String returns how people call it.
func (k serverKind) String() string {
	if k == postgresServer {
		return "PostgreSQL"
	}
	return "RabbitMQ"
}

// servers are a PostgreSQL server and a RabbitMQ broker that belong to the demo alone, which may stop and kill them.
type servers struct {
	directory        string // with their data, removed at the end
	postgres, broker *server
}

// startServers starts both, with settings with which even a power failure would lose nothing. The script is
// scripts/services.
func startServers(ctx context.Context, script, logs string) (*servers, error) {
	directory, err := os.MkdirTemp("", "circular-trade-demo-")
	if err != nil {
		return nil, err
	}
	// When root runs the demo, the servers run as somebody else, and have to get there.
	if err := os.Chmod(directory, 0o711); err != nil {
		return nil, err
	}
	s := &servers{
		directory: directory,
		postgres:  newServer(script, postgresServer, directory, logs),
		broker:    newServer(script, brokerServer, directory, logs),
	}
	var starting errgroup.Group
	starting.Go(func() error { return s.postgres.start(ctx) })
	starting.Go(func() error { return s.broker.start(ctx) })
	if err := starting.Wait(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close ends the servers, and keeps only their logs.
func (s *servers) close() error {
	var errs []error
	for _, server := range []*server{s.postgres, s.broker} {
		errs = append(errs, server.end(syscall.SIGTERM), server.keepLog())
	}
	return errors.Join(append(errs, os.RemoveAll(s.directory))...)
}

// healthy tells whether both servers answer, and have for so long that everybody should have noticed.
func (s *servers) healthy(now time.Time) bool {
	return s.postgres.healthy(now) && s.broker.healthy(now)
}

// A server is one of them. It has the same address and data each time that it is started.
type server struct {
	script, directory, log string
	kind                   serverKind

	mu      sync.Mutex
	process *exec.Cmd // of the script; nil when it does not run
	url     string
	pages   string    // URL of the broker's management pages
	since   time.Time // when it has answered again
}

func newServer(script string, kind serverKind, directory, logs string) *server {
	return &server{
		script: script, kind: kind,
		directory: filepath.Join(directory, string(kind)), log: filepath.Join(logs, string(kind)+".log"),
	}
}

var serverURL = regexp.MustCompile(`(?m)^export TEST_(?:POSTGRES|BROKER)(_MANAGEMENT)?_URL='(.*)'$`)

// start starts the server, and returns when it answers.
func (s *server) start(ctx context.Context) error {
	// The end of a context would kill the script, but it has to be asked to end.
	cmd := exec.Command(s.script, s.arguments()...) //nolint:gosec,noctx // it is scripts/services
	shield(cmd)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if cmd.Stderr, err = os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return err
	}
	defer func() { _ = cmd.Stderr.(*os.File).Close() }() // the process has its own
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running %s: %w", s.script, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	// The script closes its output when the server answers, and when it does not start.
	variables, _ := io.ReadAll(output)
	urls := serverURL.FindAllSubmatch(variables, -1)
	if urls == nil {
		return errors.Join(fmt.Errorf("the %s server does not start: see %s", s.kind, s.log), cmd.Wait(), ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.since = cmd, time.Now()
	for _, url := range urls {
		if len(url[1]) == 0 {
			s.url = string(url[2])
		} else {
			s.pages = string(url[2])
		}
	}
	return nil
}

// freezeSeconds is how long the broker does nothing before it is killed. What is sent to it meanwhile has not been
// confirmed, so nobody may take it for sent.
const freezeSeconds = "1.5"

func (s *server) arguments() []string {
	options := []string{"--freeze", freezeSeconds}
	if s.kind == postgresServer {
		options = []string{"--durable"}
	}
	return append(options, "--"+string(s.kind), s.directory)
}

// end stops the server in an orderly way, by SIGTERM, or kills it, by killServer. It returns when it is gone.
func (s *server) end(signal syscall.Signal) error {
	s.mu.Lock()
	process := s.process
	s.process = nil
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	_ = process.Process.Signal(signal) // if this fails, the script has ended, with another status
	_ = process.Wait()
	want := 128 + int(signal)
	if signal == killServer {
		want = 128 + int(syscall.SIGKILL)
	}
	if status := process.ProcessState.ExitCode(); status != want {
		return fmt.Errorf("the %s server has ended with status %d: see %s", s.kind, status, s.log)
	}
	return nil
}

// healthy tells whether the server answers, and has for so long that everybody should have noticed.
func (s *server) healthy(now time.Time) bool {
	const enough = 15 * time.Second // more than the longest pause before clients try again
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process != nil && now.Sub(s.since) > enough
}

// keepLog adds what the server has logged to the log.
func (s *server) keepLog() error {
	text, err := os.ReadFile(filepath.Join(s.directory, "log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = log.Write(text)
	return errors.Join(err, log.Close())
}
