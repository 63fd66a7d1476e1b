package broker_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A frameRelay relays a connection to a broker, and can say something to the client in the broker's name.
type frameRelay struct {
	url   string // for the client
	limit int64  // number of bytes of a connection that get to the broker before it breaks

	mu     sync.Mutex
	client net.Conn // nil until there is one
}

// newFrameRelay starts a relay without a limit, which ends with the test.
func newFrameRelay(t *testing.T, targetURL string) *frameRelay {
	t.Helper()
	target, err := url.Parse(targetURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { _ = listener.Close() })

	near := *target
	near.Host = listener.Addr().String()
	r := &frameRelay{url: near.String(), limit: math.MaxInt64}
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			server, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.Host)
			if err != nil {
				t.Error(err)
				return
			}
			r.mu.Lock()
			r.client = client
			r.mu.Unlock()
			running.Go(func() { r.toServer(server, client) })
			running.Go(func() { r.toClient(server) })
		}
	})
	return r
}

// inject sends a frame to the client that has come last.
func (r *frameRelay) inject(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.client.Write(frame) // should the client be gone, the test notices
}

func (r *frameRelay) toServer(server, client net.Conn) {
	_, _ = io.CopyN(server, client, r.limit)
	_ = server.Close() // toClient closes the other one
}

// toClient passes on whole frames, so what is injected comes between two of them.
func (r *frameRelay) toClient(server net.Conn) {
	r.mu.Lock()
	client := r.client
	r.mu.Unlock()
	defer func() { _ = client.Close() }()
	from := bufio.NewReader(server)
	for {
		header, err := from.Peek(7) // type, channel, and size of the payload, which an octet follows
		if err != nil {
			return
		}
		frame := make([]byte, 7+binary.BigEndian.Uint32(header[3:])+1)
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		r.mu.Lock()
		_, err = client.Write(frame)
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// unblockedFrame says connection.unblocked.
var unblockedFrame = []byte{1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 61, 0xCE}

// blockedFrame says connection.blocked.
func blockedFrame(reason string) []byte {
	payload := append([]byte{0, 10, 0, 60, byte(len(reason))}, reason...)
	frame := append([]byte{1, 0, 0, 0, 0, 0, byte(len(payload))}, payload...)
	return append(frame, 0xCE)
}
