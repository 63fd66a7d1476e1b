package fetch

import (
	"fmt"
	"net/netip"
)

// A RefusedError tells that a host has no other addresses than such that are not public.
type RefusedError struct {
	Host    string
	Address netip.Addr // one of them
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the host %q has the address %v, which is not public", e.Host, e.Address)
}

// Networks that are not public: what is there is the operator's own, or nobody's.
var (
	refusedIPv4 = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
		"240.0.0.0/4",
	)
	refusedIPv6 = prefixes(
		"::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "fc00::/7", "fe80::/10",
		"fec0::/10", "ff00::/8",
	)
)

// Networks of IPv6 whose addresses stand for addresses of IPv4, which begin at the given byte.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
}

func prefixes(texts ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		parsed[i] = netip.MustParsePrefix(text)
	}
	return parsed
}

// public reports whether an address may be one of somebody else's public server.
func public(address netip.Addr) bool {
	address = address.WithZone("").Unmap()
	if address.Is4() {
		return !isIn(refusedIPv4, address)
	}
	for _, e := range embedding {
		if e.prefix.Contains(address) {
			bytes := address.As16()
			return !isIn(refusedIPv4, netip.AddrFrom4([4]byte(bytes[e.at:e.at+4])))
		}
	}
	return address.IsValid() && !isIn(refusedIPv6, address)
}

func isIn(networks []netip.Prefix, address netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
