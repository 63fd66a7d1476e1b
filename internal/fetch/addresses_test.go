package fetch

import (
	"net/netip"
	"testing"
)

// The first and the last address of each network, and their neighbours outside.
func TestPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"0.0.0.0": false, "0.255.255.255": false, "1.0.0.0": true,
		"9.255.255.255": true, "10.0.0.0": false, "10.255.255.255": false, "11.0.0.0": true,
		"100.63.255.255": true, "100.64.0.0": false, "100.127.255.255": false, "100.128.0.0": true,
		"126.255.255.255": true, "127.0.0.0": false, "127.255.255.255": false, "128.0.0.0": true,
		"169.253.255.255": true, "169.254.0.0": false, "169.254.169.254": false, "169.254.255.255": false, "169.255.0.0": true,
		"172.15.255.255": true, "172.16.0.0": false, "172.31.255.255": false, "172.32.0.0": true,
		"191.255.255.255": true, "192.0.0.0": false, "192.0.0.255": false, "192.0.1.0": true, "192.0.1.255": true,
		"192.0.2.0": false, "192.0.2.255": false, "192.0.3.0": true,
		"192.167.255.255": true, "192.168.0.0": false, "192.168.255.255": false, "192.169.0.0": true,
		"198.17.255.255": true, "198.18.0.0": false, "198.19.255.255": false, "198.20.0.0": true,
		"198.51.99.255": true, "198.51.100.0": false, "198.51.100.255": false, "198.51.101.0": true,
		"203.0.112.255": true, "203.0.113.0": false, "203.0.113.255": false, "203.0.114.0": true,
		"223.255.255.255": true, "224.0.0.0": false, "239.255.255.255": false, "240.0.0.0": false, "255.255.255.255": false,

		"::": false, "::1": false, "::2": true,
		"::ffff:127.0.0.1": false, "::ffff:193.0.0.7": true, "::ffff:10.1.2.3": false,
		"64:ff9b::127.0.0.1": false, "64:ff9b::193.0.0.7": true, "64:ff9b:0:0:0:1::": true,
		"64:ff9b:1::": false, "64:ff9b:1:ffff:ffff:ffff:ffff:ffff": false, "64:ff9b:2::": true,
		"100::": false, "100::ffff:ffff:ffff:ffff": false, "100:0:0:1::": true,
		"2001::": false, "2001:0:ffff:ffff:ffff:ffff:ffff:ffff": false, "2001:1::": true,
		"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db8::": false, "2001:db8:ffff::": false, "2001:db9::": true,
		"2002:7f00:1::": false, "2002:a00:1::": false, "2002:c100:7::": true, "2003::": true,
		"2a00:1450::1": true, "fbff:ffff::": true, "fc00::": false, "fdff:ffff::": false, "fe00::": true,
		"fe7f:ffff::": true, "fe80::": false, "fe80::1%eth0": false, "febf:ffff::": false, "fec0::": false, "feff:ffff::": false,
		"ff00::": false, "ff02::1": false, "2a00:1450::1%eth0": true,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address at all is public")
	}
}
