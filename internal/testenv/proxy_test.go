package testenv_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestProxyPassesOn(t *testing.T) {
	t.Parallel()
	server := newEchoServer(t)
	proxy := testenv.NewProxy(t, "tcp://user:secret@"+server.address+"/path")
	if want := "tcp://user:secret@" + proxy.Addr() + "/path"; proxy.URL() != want {
		t.Errorf("URL %s, want %s", proxy.URL(), want)
	}
	conn := dial(t, proxy)
	big := strings.Repeat("x", 1<<20) + "\n"
	go func() { _, _ = io.WriteString(conn, big) }()
	if got, err := bufio.NewReader(conn).ReadString('\n'); got != big || err != nil {
		t.Errorf("%d bytes came back (%v), want %d", len(got), err, len(big))
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want %v", err, io.EOF)
	}
}

func TestProxyCuts(t *testing.T) {
	t.Parallel()
	proxy := newEchoProxy(t)
	one, two := dial(t, proxy), dial(t, proxy)
	say(t, one, "a\n")
	say(t, two, "b\n")
	proxy.Cut()
	wantReset(t, one)
	wantReset(t, two)
	say(t, dial(t, proxy), "c\n")
}

func TestProxyCutsOnTheWayToTheServer(t *testing.T) {
	t.Parallel()
	server := newEchoServer(t)
	proxy := testenv.NewProxy(t, "tcp://"+server.address)
	conn := dial(t, proxy)
	say(t, conn, "ab\n")
	proxy.CutAfter(testenv.ToServer, 4)
	say(t, conn, "cde\n")
	write(t, conn, "f\n")
	wantReset(t, conn)
	if got := server.received(); got != "ab\ncde\n" {
		t.Errorf("the server has got %q", got)
	}
	say(t, dial(t, proxy), "again\n")
}

func TestProxyCutsInTheMiddle(t *testing.T) {
	t.Parallel()
	server := newEchoServer(t)
	proxy := testenv.NewProxy(t, "tcp://"+server.address)
	conn := dial(t, proxy)
	proxy.CutAfter(testenv.ToServer, 2)
	write(t, conn, "abcdef\n")
	if echo, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v after %q, want %v", err, echo, syscall.ECONNRESET)
	}
	testenv.Eventually(t, 10*time.Second, func() error {
		if got := server.received(); got != "ab" {
			return errors.New("the server has got " + got)
		}
		return nil
	})
}

func TestProxyLosesTheAnswer(t *testing.T) {
	t.Parallel()
	server := newEchoServer(t)
	proxy := testenv.NewProxy(t, "tcp://"+server.address)
	conn := dial(t, proxy)
	proxy.CutAfter(testenv.ToClient, 0)
	write(t, conn, "commit\n")
	wantReset(t, conn)
	if got := server.received(); got != "commit\n" {
		t.Errorf("the server has got %q", got)
	}
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	proxy := newEchoProxy(t)
	old := dial(t, proxy)
	say(t, old, "a\n")
	proxy.Refuse()
	wantNoConnection(t, proxy)
	say(t, old, "b\n")
	proxy.Accept()
	say(t, dial(t, proxy), "c\n")
}

func TestProxyStalls(t *testing.T) {
	t.Parallel()
	proxy := newEchoProxy(t)
	conn := dial(t, proxy)
	say(t, conn, "a\n")
	proxy.Stall()
	write(t, conn, "b\n")
	late := dial(t, proxy)
	write(t, late, "c\n")
	for _, conn := range []*net.TCPConn{conn, late} {
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("stalled, but read %d bytes (%v)", n, err)
		}
	}
	proxy.Resume()
	hear(t, conn, "b\n")
	hear(t, late, "c\n")

	proxy.Stall()
	write(t, conn, "d\n")
	proxy.Cut()
	wantReset(t, conn)
}

func TestProxyOfADeadServer(t *testing.T) {
	t.Parallel()
	server := newEchoServer(t)
	proxy := testenv.NewProxy(t, "tcp://"+server.address)
	server.close()
	wantNoConnection(t, proxy)
}

// echoServer sends back what it gets, and keeps it.
type echoServer struct {
	address string
	close   func()
	mu      sync.Mutex
	content strings.Builder
}

func newEchoServer(t *testing.T) *echoServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	s := &echoServer{address: listener.Addr().String()}
	s.close = sync.OnceFunc(func() {
		_ = listener.Close()
		running.Wait()
	})
	t.Cleanup(s.close)
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				_, _ = io.Copy(conn, io.TeeReader(conn, s))
				_ = conn.Close()
			})
		}
	})
	return s
}

func (s *echoServer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content.Write(p)
}

func (s *echoServer) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content.String()
}

func newEchoProxy(t *testing.T) *testenv.Proxy {
	t.Helper()
	return testenv.NewProxy(t, "tcp://"+newEchoServer(t).address)
}

func dial(t *testing.T, proxy *testenv.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func write(t *testing.T, conn *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn *net.TCPConn, want string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("heard %q (%v), want %q", got, err, want)
	}
}

// say sends a text and waits for the echo.
func say(t *testing.T, conn *net.TCPConn, text string) {
	t.Helper()
	write(t, conn, text)
	hear(t, conn, text)
}

func wantReset(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("reading from the connection: %v, want %v", err, syscall.ECONNRESET)
	}
}

// wantNoConnection wants a connection to be reset, before or after the dialer has learned that it was accepted.
func wantNoConnection(t *testing.T, proxy *testenv.Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("connecting: %v, want %v", err, syscall.ECONNRESET)
	}
}
