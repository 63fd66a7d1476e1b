package testenv

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// Server is a server that belongs to one test, which may stop and kill it. It has the same address and data each time
// that it is started. The methods are for the test's own goroutine, one at a time.
type Server struct {
	tb        testing.TB
	kind      string // as scripts/services has it
	directory string
	url       string
	process   *exec.Cmd // nil when it does not run
	messages  bytes.Buffer
}

// The exit statuses of scripts/services after the signals that it is sent here.
const (
	statusStopped = 128 + int(syscall.SIGTERM)
	statusKilled  = 128 + int(syscall.SIGKILL)
)

// StartPostgres starts a PostgreSQL server, which takes about two seconds. It ends with the test.
func StartPostgres(tb testing.TB) *Server {
	tb.Helper()
	return startServer(tb, "postgres")
}

// StartBroker starts a RabbitMQ broker, which takes about five seconds, each time. It ends with the test.
func StartBroker(tb testing.TB) *Server {
	tb.Helper()
	return startServer(tb, "broker")
}

func startServer(tb testing.TB, kind string) *Server {
	tb.Helper()
	directory := tb.TempDir()
	// When root runs the test, the server runs as somebody else, and has to get there.
	if err := os.Chmod(filepath.Dir(directory), 0o711); err != nil {
		tb.Fatalf("Making a directory for a server: %v", err)
	}
	s := &Server{tb: tb, kind: kind, directory: directory}
	tb.Cleanup(func() {
		if s.process != nil {
			s.Kill()
		}
	})
	s.Start()
	return s
}

// URL returns the URL of the server: that of its default database as superuser, or of its default virtual host as
// administrator.
func (s *Server) URL() string {
	return s.url
}

// Start starts the server again, and returns when it answers.
func (s *Server) Start() {
	s.tb.Helper()
	if s.process != nil {
		s.tb.Fatalf("The %s server runs already.", s.kind)
	}
	s.messages.Reset()
	// The test's context ends too early: other clean-ups may still need the server.
	ctx := context.WithoutCancel(s.tb.Context())
	process := exec.CommandContext(ctx, servicesScript(s.tb), "--"+s.kind, s.directory) //nolint:gosec // our own script
	process.Stderr = &s.messages
	output, err := process.StdoutPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		s.tb.Fatalf("Starting scripts/services: %v", err)
	}
	s.process = process
	// The script closes its output when the server answers, and when it does not start.
	variables, err := io.ReadAll(output)
	url := regexp.MustCompile(`(?m)^export TEST_(?:POSTGRES|BROKER)_URL='(.*)'$`).FindSubmatch(variables)
	if err != nil || url == nil {
		_ = s.process.Wait()
		s.process = nil
		s.tb.Fatalf("The %s server does not start:\n%s", s.kind, &s.messages)
	}
	s.url = string(url[1])
}

// Stop stops the server in an orderly way: it takes leave of its clients. It returns when the server has ended.
func (s *Server) Stop() {
	s.tb.Helper()
	s.end(syscall.SIGTERM, statusStopped)
}

// Kill kills all processes of the server. It returns when they are gone.
func (s *Server) Kill() {
	s.tb.Helper()
	s.end(syscall.SIGUSR1, statusKilled)
}

// end sends a signal to the script that runs the server, and waits for it to end with the right status.
func (s *Server) end(signal syscall.Signal, want int) {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatalf("The %s server does not run.", s.kind)
	}
	_ = s.process.Process.Signal(signal) // if this fails, the script has ended, with another status
	_ = s.process.Wait()
	status := s.process.ProcessState.ExitCode()
	s.process = nil
	if status != want {
		s.tb.Fatalf("Ending the %s server: status %d, not %d:\n%s", s.kind, status, want, &s.messages)
	}
}

// servicesScript returns the path of scripts/services. Tests run in the directory of their package.
func servicesScript(tb testing.TB) string {
	tb.Helper()
	directory, err := os.Getwd()
	if err != nil {
		tb.Fatalf("Looking for scripts/services: %v", err)
	}
	for {
		script := filepath.Join(directory, "scripts", "services")
		if _, err := os.Stat(script); err == nil {
			return script
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			tb.Fatal("There is no scripts/services in any directory above the test's.")
		}
		directory = parent
	}
}
