package config

import (
	"bufio"
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// substituteLocalhost changes the URLs in those variables of the environment that one of them names, see [Localhost].
func substituteLocalhost(environment map[string]string, defaultGateway func() (netip.Addr, bool)) {
	names := strings.Fields(environment[localhostVariable])
	if len(names) == 0 || defaultGateway == nil {
		return
	}
	gateway, found := defaultGateway()
	if !found {
		return
	}
	for _, name := range names {
		text := environment[name]
		if start, end := hostOf(text); text[start:end] == "localhost" {
			environment[name] = text[:start] + gateway.String() + text[end:]
		}
	}
}

const localhostVariable = "SUBSTITUTE_LOCALHOST_IN_VARS"

// DefaultGateway returns the address to which this machine sends what is for no network that it knows, and whether
// there is one. In a container, this is usually the machine that the container runs on. Only IPv4 is looked at, and
// only Linux tells.
func DefaultGateway() (netip.Addr, bool) {
	table, err := os.Open("/proc/net/route")
	if err != nil {
		return netip.Addr{}, false
	}
	defer func() { _ = table.Close() }()
	return findDefaultGateway(table)
}

// Flags of a route.
const (
	routeUp      = 0x1
	routeGateway = 0x2
)

// findDefaultGateway reads a table in the form of /proc/net/route: a line of headers, then a route a line, with numbers
// in hexadecimal, and addresses in the byte order of the machine. Of several default routes, it takes the one with the
// smallest metric, and of those the first.
func findDefaultGateway(table io.Reader) (netip.Addr, bool) {
	const destination, gateway, flags, metric, mask, columns = 1, 2, 3, 6, 7, 8
	var (
		best       netip.Addr
		bestMetric uint64
	)
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < columns || fields[destination] != "00000000" || fields[mask] != "00000000" {
			continue
		}
		address, err1 := strconv.ParseUint(fields[gateway], 16, 32)
		set, err2 := strconv.ParseUint(fields[flags], 16, 32)
		cost, err3 := strconv.ParseUint(fields[metric], 10, 32)
		if err1 != nil || err2 != nil || err3 != nil || set&(routeUp|routeGateway) != routeUp|routeGateway {
			continue
		}
		if !best.IsValid() || cost < bestMetric {
			best, bestMetric = netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, uint32(address)))), cost
		}
	}
	return best, best.IsValid()
}
