package adminapi

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Limits protect the API, and what is behind it. All have to be positive.
type Limits struct {
	// Concurrent is how many requests that need a token are served at a time.
	Concurrent int
	// Waiting is how many others may wait, and QueueTime how long.
	Waiting   int
	QueueTime time.Duration
	// RequestTime is how long it may take to serve one, after its token has been introspected.
	RequestTime time.Duration
	// BodyTime is how long the body of a request may take to come.
	BodyTime time.Duration
	// Rate is how many requests a second an address may send in the long run, and Burst how many at once.
	Rate  float64
	Burst int
}

// DefaultLimits returns limits that nobody should meet who uses the API as it is meant.
func DefaultLimits(concurrent int) Limits {
	return Limits{
		Concurrent:  concurrent,
		Waiting:     1000,
		QueueTime:   10 * time.Second,
		RequestTime: 20 * time.Second,
		BodyTime:    5 * time.Second,
		Rate:        100,
		Burst:       500,
	}
}

// slots has requests wait until not too many others are served.
type slots struct {
	free    chan struct{}
	waiting atomic.Int64
	limits  Limits
}

func newSlots(limits Limits) *slots {
	return &slots{free: make(chan struct{}, limits.Concurrent), limits: limits}
}

// acquire waits for a slot, and reports whether there is one. It has to be released. There is none for a request that has
// ended, because the client is gone or the server stops.
func (s *slots) acquire(ctx context.Context) bool {
	if !s.wait(ctx) {
		return false
	}
	if ctx.Err() != nil {
		s.release()
		return false
	}
	return true
}

func (s *slots) wait(ctx context.Context) bool {
	select {
	case s.free <- struct{}{}:
		return true
	default:
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > int64(s.limits.Waiting) {
		return false
	}
	timeout := time.NewTimer(s.limits.QueueTime)
	defer timeout.Stop()
	select {
	case s.free <- struct{}{}:
		return true
	case <-timeout.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (s *slots) release() { <-s.free }

// maxClients is how many addresses are remembered. Those that have been quiet for the longest time are forgotten first.
const maxClients = 10_000

// clients keeps addresses from sending too many requests.
type clients struct {
	limits   Limits
	limiters *lru.Cache[string, *rate.Limiter]
}

func newClients(limits Limits) (*clients, error) {
	limiters, err := lru.New[string, *rate.Limiter](maxClients)
	return &clients{limits, limiters}, err
}

// limit answers too many requests from one address by itself.
func (c *clients) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := clientOf(r)
		limiter := rate.NewLimiter(rate.Limit(c.limits.Rate), c.limits.Burst)
		if known, found, _ := c.limiters.PeekOrAdd(client, limiter); found {
			limiter = known
			c.limiters.Get(client) // it has not been quiet
		}
		if !limiter.Allow() {
			w.Header().Set("Retry-After", "1")
			newError(http.StatusTooManyRequests, tooFast).write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clientOf returns who has sent a request: what the proxy in front of this server says, or else the other end of the
// connection. Whoever has a network of IPv6 addresses is one client.
func clientOf(r *http.Request) string {
	text := r.RemoteAddr
	if forwarded := r.Header.Values("X-Forwarded-For"); len(forwarded) > 0 {
		last := forwarded[len(forwarded)-1]
		text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	}
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return "unknown"
	}
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.String()
		}
	}
	return address.String()
}
