package guard_test

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// After so many seconds at most, one side knows that the other one is gone.
const longestSilence = 30

// silence returns after how many seconds the operating system gives a silent peer up. Without keep-alive probes, it
// never does.
func silence(t *testing.T, conn net.Conn) (seconds int, ever bool) {
	t.Helper()
	socket, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, option int) (value int) {
		t.Helper()
		var failure error
		err := socket.Control(func(fd uintptr) { value, failure = syscall.GetsockoptInt(int(fd), level, option) })
		if err := errors.Join(err, failure); err != nil {
			t.Fatal(err)
		}
		return value
	}
	return option(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE) +
			option(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL)*option(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT),
		option(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) != 0
}

func TestKeepAliveOfTheClient(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"TCP": func(conn net.Conn) net.Conn { return conn },
		"TLS": func(conn net.Conn) net.Conn { return tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12}) },
	} {
		dialer := net.Dialer{KeepAlive: -1} // disabled
		conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, ever := silence(t, conn); ever {
			t.Fatalf("%s: probes are sent anyway", name)
		}
		if err := guard.KeepAliveConn(wrap(conn)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if seconds, ever := silence(t, conn); !ever || seconds > longestSilence {
			t.Errorf("%s: a lost server is noticed after %d seconds: %v", name, seconds, ever)
		}
	}
}

func TestKeepAliveOfBothSides(t *testing.T) {
	t.Parallel()
	o := newObserver(t, testenv.NewDatabase(t))
	if err := guard.PrepareSession(t.Context(), o.Conn); err != nil {
		t.Fatal(err)
	}
	if seconds, ever := silence(t, o.PgConn().Conn()); !ever || seconds > longestSilence {
		t.Errorf("a lost server is noticed after %d seconds: %v", seconds, ever)
	}
	setting := func(name string) int {
		t.Helper()
		return query[int](o, "SELECT setting::int FROM pg_settings WHERE name = $1", name)
	}
	seconds := setting("tcp_keepalives_idle") + setting("tcp_keepalives_interval")*setting("tcp_keepalives_count")
	if seconds > longestSilence {
		t.Errorf("a lost client is noticed after %d seconds", seconds)
	}
	if timeout := setting("tcp_user_timeout"); timeout == 0 || timeout > longestSilence*1000 {
		t.Errorf("a lost client is waited for %d ms", timeout)
	}
}

// A socket of the file system needs no probes.
func TestNoKeepAlive(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer func() { _, _ = client.Close(), server.Close() }()
	if err := guard.KeepAliveConn(client); err != nil {
		t.Error(err)
	}
}
