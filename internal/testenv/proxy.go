package testenv

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A Direction is one of the two in which a Proxy passes bytes on.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// Proxy is a TCP proxy on the loopback interface, in front of a server: a network that breaks when it is told to. Its
// methods may be called at any time, by any goroutine.
type Proxy struct {
	target   *url.URL
	listener net.Listener

	mu       sync.Mutex
	refusing bool
	stalled  bool
	resumed  sync.Cond           // for those who wait because of stalled: this, or link.cut, has changed
	limits   map[Direction]int64 // how many bytes may pass before all connections are cut; none: any number
	links    map[*link]struct{}
}

// link is a client's connection, and the one to the server that belongs to it.
type link struct {
	client, server *net.TCPConn
	cut            bool // both are closed; guarded by Proxy.mu
}

// NewProxy starts a proxy in front of the server with the given URL, which needs a host and a port. It ends with the
// test.
func NewProxy(tb testing.TB, targetURL string) *Proxy {
	tb.Helper()
	target, err := url.Parse(targetURL)
	if err != nil || target.Port() == "" {
		tb.Fatalf("A proxy needs a URL with a host and a port, not %q.", targetURL)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		tb.Fatalf("Starting a proxy: %v", err)
	}
	p := &Proxy{
		target: target, listener: listener, limits: make(map[Direction]int64), links: make(map[*link]struct{}),
	}
	p.resumed.L = &p.mu
	var running sync.WaitGroup
	running.Go(func() { p.accept(ctx) })
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close()
		p.Refuse()
		p.Cut()
		running.Wait()
	})
	return p
}

// URL returns the server's URL with the proxy's address in place of the server's.
func (p *Proxy) URL() string {
	u := *p.target
	u.Host = p.Addr()
	return u.String()
}

// Addr returns the proxy's host and port.
func (p *Proxy) Addr() string {
	return p.listener.Addr().String()
}

// Cut resets all connections, on both sides. New ones can be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut = true
		l.reset()
	}
	clear(p.links)
	p.resumed.Broadcast()
}

// CutAfter lets n more bytes pass in a direction. Then, instead of passing on another one, it cuts all connections, and
// is over. With CutAfter(ToServer, n), a server learns of a part of a batch; with CutAfter(ToClient, 0), it does the
// next thing that it is asked for, but the client never learns that it did.
func (p *Proxy) CutAfter(direction Direction, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits[direction] = n
}

// Refuse resets new connections as soon as they are made: the client's attempt fails, or its first use of what it has
// got. Connections that exist are left alone.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
}

// Accept ends what Refuse has begun.
func (p *Proxy) Accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
}

// Stall lets no more bytes through, in either direction. Connections stay open, and new ones can be made.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = true
}

// Resume ends what Stall has begun. Nothing has been lost.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = false
	p.resumed.Broadcast()
}

// accept takes connections until the listener is closed, and waits for them to end.
func (p *Proxy) accept(ctx context.Context) {
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		connections.Go(func() { p.connect(ctx, conn.(*net.TCPConn)) })
	}
}

// connect connects a client with the server, and passes on what they say, until both have ended the connection, or it
// breaks.
func (p *Proxy) connect(ctx context.Context, client *net.TCPConn) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", p.target.Host)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: server.(*net.TCPConn)}
	if !p.add(l) {
		l.reset()
		return
	}
	defer p.remove(l)
	var answers sync.WaitGroup
	answers.Go(func() { p.pass(l, ToClient, l.client, l.server) })
	p.pass(l, ToServer, l.server, l.client)
	answers.Wait()
}

// add adds a link, unless connections are refused.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

// remove removes a link that has ended.
func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	_ = l.client.Close()
	_ = l.server.Close()
}

// pass passes on bytes in one direction, and the end of them. What breaks the connection on one side breaks it on the
// other.
func (p *Proxy) pass(l *link, direction Direction, to, from *net.TCPConn) {
	buffer := make([]byte, 32*1024)
	for {
		n, readErr := from.Read(buffer)
		allowed, ok := p.allow(l, direction, n)
		_, writeErr := to.Write(buffer[:allowed])
		switch {
		case !ok:
			p.Cut()
			return
		case errors.Is(readErr, io.EOF):
			_ = to.CloseWrite()
			return
		case readErr != nil || writeErr != nil:
			l.reset()
			return
		}
	}
}

// allow returns how many of the next n bytes may pass, once any may, and whether the connection is to go on after them.
func (p *Proxy) allow(l *link, direction Direction, n int) (allowed int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !l.cut {
		p.resumed.Wait()
	}
	if l.cut {
		return 0, true // the connections are closed already
	}
	limit, limited := p.limits[direction]
	if !limited {
		return n, true
	}
	if int64(n) <= limit {
		p.limits[direction] = limit - int64(n)
		return n, true
	}
	delete(p.limits, direction)
	return int(limit), false
}

// reset breaks both connections.
func (l *link) reset() {
	reset(l.client)
	reset(l.server)
}

// reset breaks a connection: the other side gets an error, where an orderly end would look like the end of a stream.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
