package adminapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// serve has a node listen. Its Serve ends when stop is called, and is waited for at the end of the test.
func (n *node) serve(t *testing.T) (address string, stop func(), ended <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	result := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		result <- n.api.Serve(ctx, listener)
	}()
	t.Cleanup(func() { cancel(); <-finished })
	return listener.Addr().String(), cancel, result
}

// say sends lines, and returns the status line of the answer.
func say(t *testing.T, address string, lines ...string) string {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(connection, strings.Join(lines, "\r\n"))
	status, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(status)
}

// What is no proper HTTP gets an answer, too.
func TestImproperRequests(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	address, _, _ := n.serve(t)
	authorization := "Authorization: Bearer " + n.token("root", allScopes)
	const post = "POST /trade/collectors/5/activate HTTP/1.1"
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{"GET /trade/health/check/public HTTP/1.1", "Host: x", "", ""}, "HTTP/1.1 200 OK"},
		{[]string{"OPTIONS * HTTP/1.1", "Host: x", "", ""}, "HTTP/1.1 404 Not Found"},
		{[]string{"GET http://y/trade/turns HTTP/1.1", "Host: x", "", ""}, "HTTP/1.1 401 Unauthorized"},
		{[]string{"GET http://y/trade/turns HTTP/1.1", "Host: x", authorization, "", ""}, "HTTP/1.1 200 OK"},
		{[]string{"CONNECT y:80 HTTP/1.1", "Host: x", authorization, "", ""}, "HTTP/1.1 404 Not Found"},
		{[]string{"garbage", "", ""}, "HTTP/1.1 400 Bad Request"},
		{[]string{"GET / HTTP/1.1", "Host: x", "X: " + strings.Repeat("x", 32<<10), "", ""}, "HTTP/1.1 431 Request Header Fields Too Large"},
		{[]string{post, "Host: x", authorization, "Content-Length: 2", "", "{}"}, "HTTP/1.1 204 No Content"},
		{[]string{post, "Host: x", authorization, "Transfer-Encoding: chunked", "", "2", "{}", "0", "", ""}, "HTTP/1.1 204 No Content"},
		{[]string{post, "Host: x", authorization, "Transfer-Encoding: chunked", "", "x", "{}", "0", "", ""}, "HTTP/1.1 400 Bad Request"},
		{[]string{post, "Host: x", authorization, "Content-Length: 1000000", "", strings.Repeat(" ", 20_000)}, "HTTP/1.1 413 Request Entity Too Large"},
		{[]string{post, "Host: x", authorization, "Content-Length: 10", "", "{}"}, "HTTP/1.1 408 Request Timeout"},
	} {
		if got := say(t, address, c.lines...); got != c.want {
			t.Errorf("%.200q: %q, want %q", c.lines, got, c.want)
		}
	}
}

// The time for the body is not that of the request, whether there is a body or not.
func TestBodyTime(t *testing.T) {
	t.Parallel()
	const bodyTime, requestTime = 100 * time.Millisecond, 600 * time.Millisecond
	n := newMigratedNode(t, func(c *adminapi.Config) { c.Limits.BodyTime, c.Limits.RequestTime = bodyTime, requestTime })
	address, _, _ := n.serve(t)
	authorization := "Authorization: Bearer " + n.token("root", allScopes)
	tx, err := n.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	if _, err := tx.Exec(t.Context(), "LOCK TABLE collector_account"); err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string][]string{
		"no body": {"GET /trade/collectors/5 HTTP/1.1", "Host: x", authorization, "", ""},
		"a body":  {"POST /trade/collectors/5/activate HTTP/1.1", "Host: x", authorization, "Content-Length: 2", "", "{}"},
		"a body of chunks": {
			"POST /trade/collectors/5/activate HTTP/1.1", "Host: x", authorization, "Transfer-Encoding: chunked", "", "2", "{}", "0", "", "",
		},
		"an empty body": {"POST /trade/collectors/5/activate HTTP/1.1", "Host: x", authorization, "Content-Length: 0", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			status := say(t, address, lines...)
			if took := time.Since(begun); status != "HTTP/1.1 503 Service Unavailable" || took < requestTime {
				t.Errorf("the answer is %q after %v", status, took)
			}
		})
	}
}

// A server that has to end finishes what it is at. It does not wait for ever, and leaves no requests behind.
func TestStopping(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	address, stop, ended := n.serve(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	n.answers.Store("slow", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = io.WriteString(w, `{"active":true,"sub":"root","scope":"access"}`)
	}))
	status := make(chan string)
	go func() {
		status <- say(t, address, "GET /trade/turns HTTP/1.1", "Host: x", "Authorization: Bearer slow", "", "")
	}()
	<-asked
	stop()
	testenv.Eventually(t, patience, func() error {
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			return errors.New("it still accepts connections")
		}
		return nil
	})
	close(answer)
	if got := <-status; got != "HTTP/1.1 200 OK" {
		t.Errorf("the last answer is %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// What does not end in time is ended.
func TestStoppingInTime(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	n.exec(t, "SELECT 1")
	tx, err := n.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // the database is dropped
	if _, err := tx.Exec(t.Context(), "LOCK TABLE turn"); err != nil {
		t.Fatal(err)
	}
	address, stop, ended := n.serve(t)
	status := make(chan string)
	go func() {
		status <- say(t, address, "GET /trade/turns HTTP/1.1", "Host: x", "Authorization: Bearer "+n.token("root", allScopes), "", "")
	}()
	testenv.Eventually(t, patience, func() error {
		if n.count(t, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0 {
			return errors.New("nobody waits for the table")
		}
		return nil
	})
	begun := time.Now()
	stop()
	if err := <-ended; err != nil || time.Since(begun) > 7*time.Second {
		t.Errorf("it ends with %v after %v", err, time.Since(begun))
	}
	<-status
}
