package testenv

import (
	"net"
	"testing"
)

// FreePort returns a port that nobody listens at.
func FreePort(tb testing.TB) int {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("Looking for a free port: %v", err)
	}
	defer func() { _ = listener.Close() }() // nobody has used it
	address, isTCP := listener.Addr().(*net.TCPAddr)
	if !isTCP {
		tb.Fatalf("Looking for a free port: the address is a %T.", listener.Addr())
	}
	return address.Port
}
