package shard_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
)

// The table of messages.md 2.5.
var workedKeys = []struct {
	of         string
	key        shard.Key
	want       uint32
	routingKey string
	hash16     int16
}{
	{"0", shard.KeyOf[int64](0), 0x7dea362b, "0.1.1.1.1.1.0.1.1.1.1.0.1.0.1.0.0.0.1.1.0.1.1.0", 32234},
	{"1", shard.KeyOf[int64](1), 0xfa5ad9a8, "1.1.1.1.1.0.1.0.0.1.0.1.1.0.1.0.1.1.0.1.1.0.0.1", -1446},
	{"-1", shard.KeyOf[int64](-1), 0xc2cb56f4, "1.1.0.0.0.0.1.0.1.1.0.0.1.0.1.1.0.1.0.1.0.1.1.0", -15669},
	{"3", shard.KeyOf[int64](3), 0x596be2d4, "0.1.0.1.1.0.0.1.0.1.1.0.1.0.1.1.1.1.1.0.0.0.1.0", 22891},
	{"123", shard.KeyOf[int64](123), 0xfc1063e1, "1.1.1.1.1.1.0.0.0.0.0.1.0.0.0.0.0.1.1.0.0.0.1.1", -1008},
	{"-123", shard.KeyOf[int64](-123), 0xc3feaf12, "1.1.0.0.0.0.1.1.1.1.1.1.1.1.1.0.1.0.1.0.1.1.1.1", -15362},
	{
		"first collector", shard.KeyOf[int64](0x10000000000), 0xd650e309,
		"1.1.0.1.0.1.1.0.0.1.0.1.0.0.0.0.1.1.1.0.0.0.1.1", -10672,
	},
	{
		"smallest int64", shard.KeyOf[int64](math.MinInt64), 0x54409ea5,
		"0.1.0.1.0.1.0.0.0.1.0.0.0.0.0.0.1.0.0.1.1.1.1.0", 21568,
	},
	{"(123, 456)", shard.KeyOfInts(123, 456), 0x084434f0, "0.0.0.0.1.0.0.0.0.1.0.0.0.1.0.0.0.0.1.1.0.1.0.0", 2116},
	{"(1, 2)", shard.KeyOfInts(1, 2), 0xf014c44f, "1.1.1.1.0.0.0.0.0.0.0.1.0.1.0.0.1.1.0.0.0.1.0.0", -4076},
	{
		"an IRI", shard.KeyOfString("https://example.com/iri"), 0x43d4c51c,
		"0.1.0.0.0.0.1.1.1.1.0.1.0.1.0.0.1.1.0.0.0.1.0.1", 17364,
	},
	{
		"a Cyrillic IRI", shard.KeyOfString("https://пример.рф/"), 0xa2c4752e,
		"1.0.1.0.0.0.1.0.1.1.0.0.0.1.0.0.0.1.1.1.0.1.0.1", -23868,
	},
}

func TestWorkedKeys(t *testing.T) {
	t.Parallel()
	for _, worked := range workedKeys {
		t.Run(worked.of, func(t *testing.T) {
			t.Parallel()
			if uint32(worked.key) != worked.want {
				t.Errorf("key %08x, want %08x", uint32(worked.key), worked.want)
			}
			if got := worked.key.RoutingKey(); got != worked.routingKey {
				t.Errorf("routing key %s, want %s", got, worked.routingKey)
			}
			if got := worked.key.Hash16(); got != worked.hash16 {
				t.Errorf("hash %d, want %d", got, worked.hash16)
			}
		})
	}
}

// The examples of messages.md 2.3.
func TestHexRoutingKey(t *testing.T) {
	t.Parallel()
	for id, want := range map[int64]string{
		2:             "00.00.00.00.00.00.00.02",
		-2:            "ff.ff.ff.ff.ff.ff.ff.fe",
		666:           "00.00.00.00.00.00.02.9a",
		4294967296:    "00.00.00.01.00.00.00.00",
		math.MinInt64: "80.00.00.00.00.00.00.00",
		math.MaxInt64: "7f.ff.ff.ff.ff.ff.ff.ff",
	} {
		if got := shard.HexRoutingKey(id); got != want {
			t.Errorf("%d: %s, want %s", id, got, want)
		}
	}
}

func TestHexRoutingKeyHoldsTheID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Int64().Draw(t, "id")
		got, err := strconv.ParseUint(strings.ReplaceAll(shard.HexRoutingKey(id), ".", ""), 16, 64)
		if err != nil || int64(got) != id {
			t.Fatalf("%d reads back as %d, %v", id, int64(got), err)
		}
	})
}

func TestKeysOfIntegersAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.Int64(), 1, 12).Draw(t, "ids")
		if one, several := shard.KeyOf(ids[0]), shard.KeyOfInts(ids[0]); one != several {
			t.Fatalf("%08x alone, %08x as the first of several", one, several)
		}
		var digested strings.Builder
		for _, id := range ids {
			for shift := 56; shift >= 0; shift -= 8 {
				digested.WriteByte(byte(id >> shift))
			}
		}
		if ints, bytes := shard.KeyOfInts(ids...), shard.KeyOfString(digested.String()); ints != bytes {
			t.Fatalf("%08x from integers, %08x from their bytes", ints, bytes)
		}
	})
}

func TestRoutingKeyHoldsTheHighestBits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := shard.Key(rapid.Uint32().Draw(t, "key"))
		got, err := strconv.ParseUint(strings.ReplaceAll(key.RoutingKey(), ".", ""), 2, 64)
		if err != nil || got != uint64(key>>8) {
			t.Fatalf("%08x has routing key %s", uint32(key), key.RoutingKey())
		}
		if appended := string(key.AppendRoutingKey([]byte("before "))); appended != "before "+key.RoutingKey() {
			t.Fatalf("appended to a text: %q", appended)
		}
	})
}

var (
	keySink    shard.Key
	hashSink   int16
	matchSink  bool
	stringSink string
)

//nolint:paralleltest // Allocations of other tests would count.
func TestHotPathAllocations(t *testing.T) {
	realm, err := shard.ParseRealm("1.1.0.#")
	if err != nil {
		t.Fatal(err)
	}
	var (
		id      = int64(123)
		key     = shard.KeyOf(id)
		dst     = make([]byte, 0, 64)
		locator = strings.Repeat("щ", 400) // 800 bytes
	)
	for _, step := range []struct {
		name string
		want float64
		do   func()
	}{
		{"KeyOf", 0, func() { keySink = shard.KeyOf(id) }},
		{"KeyOfInts, a pair", 0, func() { keySink = shard.KeyOfInts(id, 456) }},
		{"KeyOfString, 800 bytes", 0, func() { keySink = shard.KeyOfString(locator) }},
		{"Hash16", 0, func() { hashSink = shard.KeyOf(id).Hash16() }},
		{"Match", 0, func() { matchSink = realm.Match(shard.KeyOf(id)) }},
		{"MatchParent", 0, func() { matchSink = realm.MatchParent(shard.KeyOf(id)) }},
		{"AppendRoutingKey", 0, func() { dst = key.AppendRoutingKey(dst[:0]) }},
		{"AppendHexRoutingKey", 0, func() { dst = shard.AppendHexRoutingKey(dst[:0], id) }},
		{"RoutingKey", 1, func() { stringSink = key.RoutingKey() }},
		{"HexRoutingKey", 1, func() { stringSink = shard.HexRoutingKey(id) }},
	} {
		if got := testing.AllocsPerRun(100, step.do); got != step.want {
			t.Errorf("%s: %g allocations, want %g", step.name, got, step.want)
		}
	}
}

func BenchmarkKeyOf(b *testing.B) {
	b.ReportAllocs()
	for id := int64(0); b.Loop(); id++ {
		keySink = shard.KeyOf(id)
	}
}

func BenchmarkKeyOfString(b *testing.B) {
	for _, length := range []int{40, 200, 800} {
		b.Run(fmt.Sprintf("bytes=%d", length), func(b *testing.B) {
			b.ReportAllocs()
			text := strings.Repeat("x", length)
			for b.Loop() {
				keySink = shard.KeyOfString(text)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	realm, err := shard.ParseRealm("1.1.0.#")
	if err != nil {
		b.Fatal(err)
	}
	for key := shard.Key(0); b.Loop(); key += 0x9e3779b9 {
		matchSink = realm.Match(key)
	}
}

func BenchmarkAppendRoutingKey(b *testing.B) {
	b.ReportAllocs()
	dst := make([]byte, 0, 64)
	for key := shard.Key(0); b.Loop(); key += 0x9e3779b9 {
		dst = key.AppendRoutingKey(dst[:0])
	}
}

func BenchmarkRoutingKey(b *testing.B) {
	b.ReportAllocs()
	for key := shard.Key(0); b.Loop(); key += 0x9e3779b9 {
		stringSink = key.RoutingKey()
	}
}

func BenchmarkAppendHexRoutingKey(b *testing.B) {
	b.ReportAllocs()
	dst := make([]byte, 0, 64)
	for id := int64(-1); b.Loop(); id -= 0x9e3779b97f4a7c {
		dst = shard.AppendHexRoutingKey(dst[:0], id)
	}
}
