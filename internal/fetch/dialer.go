package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// A Resolver finds the addresses of hosts. A [*net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// A dialer connects to hosts. What it checks is the very address that it connects to, so it does not matter what the
// name of a host stands for at other times.
type dialer struct {
	resolver     Resolver
	connect      func(ctx context.Context, address netip.AddrPort) (net.Conn, error)
	allowPrivate bool
	timeout      time.Duration
}

// minTimePerAddress is what an address is given even if there are many, so that at least some get a fair chance.
const minTimePerAddress = 2 * time.Second

func (d *dialer) dial(ctx context.Context, _, hostPort string) (net.Conn, error) {
	// The transport finishes what it has begun to dial even if the request is over.
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	addresses, err := d.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	var failures []error
	for i, address := range addresses {
		conn, err := d.try(ctx, netip.AddrPortFrom(address, uint16(port)), len(addresses)-i)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// lookUp returns the addresses of a host that may be connected to, at least one.
func (d *dialer) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, literal)
	} else if addresses, err = d.resolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, fmt.Errorf("looking up the host %q: %w", host, err)
	}
	var allowed []netip.Addr
	for _, address := range addresses {
		if d.allowPrivate || public(address) {
			allowed = append(allowed, address.Unmap())
		}
	}
	switch {
	case len(allowed) > 0:
		return allowed, nil
	case len(addresses) > 0:
		return nil, &RefusedError{Host: host, Address: addresses[0]}
	default:
		return nil, fmt.Errorf("looking up the host %q: it has no address", host)
	}
}

// try connects to one of some addresses that are left, which share the time.
func (d *dialer) try(ctx context.Context, address netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(deadline)/time.Duration(left), minTimePerAddress))
		defer cancel()
	}
	return d.connect(ctx, address)
}

// connectTCP is how connections are made unless a test wants it otherwise.
func connectTCP(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address.String())
}
