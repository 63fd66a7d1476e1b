package shard_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
)

func mustParse(t *testing.T, bindingKey string) shard.Realm {
	t.Helper()
	realm, err := shard.ParseRealm(bindingKey)
	if err != nil {
		t.Fatal(err)
	}
	return realm
}

type ownership struct{ realm, parent bool }

func owns(realm shard.Realm, key shard.Key) ownership {
	return ownership{realm.Match(key), realm.MatchParent(key)}
}

// The second table of messages.md 2.5.
func TestWorkedRealms(t *testing.T) {
	t.Parallel()
	for _, worked := range []struct {
		bindingKey               string
		mask, prefix             uint32
		parentMask, parentPrefix uint32
		hashMask, hashPrefix     int16
		of123, of3               ownership
	}{
		{"#", 0, 0, 0, 0, 0, 0, ownership{true, true}, ownership{true, true}},
		{"0.#", 0x80000000, 0, 0, 0, -32768, 0, ownership{false, true}, ownership{true, true}},
		{"1.#", 0x80000000, 0x80000000, 0, 0, -32768, -32768, ownership{true, true}, ownership{false, true}},
		{
			"1.0.#", 0xc0000000, 0x80000000, 0x80000000, 0x80000000, -16384, -32768,
			ownership{false, true},
			ownership{false, false},
		},
		{
			"0.1.#", 0xc0000000, 0x40000000, 0x80000000, 0, -16384, 16384,
			ownership{false, false},
			ownership{true, true},
		},
		{
			"1.1.1.1.1.1.0.#", 0xfe000000, 0xfc000000, 0xfc000000, 0xfc000000, -512, -1024,
			ownership{true, true},
			ownership{false, false},
		},
	} {
		t.Run(worked.bindingKey, func(t *testing.T) {
			t.Parallel()
			realm := mustParse(t, worked.bindingKey)
			if realm.Mask() != worked.mask || realm.Prefix() != worked.prefix {
				t.Errorf("mask %08x, prefix %08x", realm.Mask(), realm.Prefix())
			}
			parent := realm.Parent()
			if parent.Mask() != worked.parentMask || parent.Prefix() != worked.parentPrefix {
				t.Errorf("parent mask %08x, parent prefix %08x", parent.Mask(), parent.Prefix())
			}
			if realm.HashMask() != worked.hashMask || realm.HashPrefix() != worked.hashPrefix {
				t.Errorf("hash mask %d, hash prefix %d", realm.HashMask(), realm.HashPrefix())
			}
			if got := owns(realm, shard.KeyOf[int64](123)); got != worked.of123 {
				t.Errorf("123: %v", got)
			}
			if got := owns(realm, shard.KeyOf[int64](3)); got != worked.of3 {
				t.Errorf("3: %v", got)
			}
		})
	}
}

func TestParseRealmRefuses(t *testing.T) {
	t.Parallel()
	for bindingKey, complaint := range map[string]string{
		"":                             "at byte 0,",
		"0":                            "at byte 0,",
		"0.1":                          "at byte 2,",
		"0.1.":                         "at byte 4,",
		"*.#":                          "at byte 0,",
		"2.#":                          "at byte 0,",
		"/.#":                          "at byte 0,",
		"#.0":                          "at byte 0,",
		"##":                           "at byte 0,",
		"0#":                           "at byte 0,",
		"0..#":                         "at byte 2,",
		"0.#\n":                        "at byte 2,",
		"\t0.#":                        "at byte 0,",
		"0.1.x.#":                      "at byte 4,",
		strings.Repeat("1.", 21) + "#": "more than 20 bits",
	} {
		realm, err := shard.ParseRealm(bindingKey)
		if !errors.Is(err, shard.ErrInvalidBindingKey) || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: error %v, want one that says %q", bindingKey, err, complaint)
		}
		if realm != (shard.Realm{}) {
			t.Errorf("%q: got a realm besides the error: %v", bindingKey, realm)
		}
		if _, workerErr := shard.ParseWorkerRealm(bindingKey); !errors.Is(workerErr, shard.ErrInvalidBindingKey) {
			t.Errorf("%q for a worker: error %v", bindingKey, workerErr)
		}
	}
}

func TestRealmSizes(t *testing.T) {
	t.Parallel()
	for size := range shard.MaxRealmBits + 1 {
		bindingKey := strings.Repeat("1.", size) + "#"
		realm := mustParse(t, bindingKey)
		if realm.Bits() != size || realm.String() != bindingKey {
			t.Errorf("%d bits are read as %d bits, %v", size, realm.Bits(), realm)
		}
		if (realm.HashMask() < 0) != (size > 0) {
			t.Errorf("%d bits: hash mask %d", size, realm.HashMask())
		}
		workerRealm, err := shard.ParseWorkerRealm(bindingKey)
		switch {
		case size <= 16:
			if err != nil || workerRealm != realm {
				t.Errorf("%d bits for a worker: %v, %v", size, workerRealm, err)
			}
		case !errors.Is(err, shard.ErrRealmTooSmall) || workerRealm != (shard.Realm{}):
			t.Errorf("%d bits for a worker: %v, %v", size, workerRealm, err)
		}
	}
}

func bindingKeys(maxBits int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		digits := rapid.SliceOfN(rapid.SampledFrom([]string{"0.", "1."}), 0, maxBits).Draw(t, "digits")
		return strings.Join(digits, "") + "#"
	})
}

// keysAround draws keys that have a fair chance to be in the realm or beside it: a random number of the realm's bits
// and random ones after them.
func keysAround(realm shard.Realm) *rapid.Generator[shard.Key] {
	return rapid.Custom(func(t *rapid.T) shard.Key {
		shared := rapid.IntRange(0, realm.Bits()).Draw(t, "shared bits")
		mask := ^uint32(0) >> shared
		return shard.Key(realm.Prefix()&^mask | rapid.Uint32().Draw(t, "other bits")&mask)
	})
}

func TestMatchImpliesMatchParent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		realm, err := shard.ParseRealm(bindingKeys(shard.MaxRealmBits).Draw(t, "binding key"))
		if err != nil {
			t.Fatal(err)
		}
		key := keysAround(realm).Draw(t, "key")
		if realm.Match(key) && !realm.MatchParent(key) {
			t.Fatalf("%08x is in %v, but not in its parent %v", uint32(key), realm, realm.Parent())
		}
		if realm.Bits() > 0 && realm.Parent().Bits() != realm.Bits()-1 {
			t.Fatalf("the parent of %v is %v", realm, realm.Parent())
		}
	})
}

// sqlFilter is what PostgreSQL computes of "hash & hash_mask = hash_prefix" on SMALLINT columns.
func sqlFilter(hash int16, realm shard.Realm) bool {
	return hash&realm.HashMask() == realm.HashPrefix()
}

// For all 2^17-1 realms that a worker may have: the first and the last key inside, and their neighbours outside.
func TestSQLFilterAgreesWithMatch(t *testing.T) {
	t.Parallel()
	for size := range shard.MaxWorkerRealmBits + 1 {
		for number := range 1 << size {
			realm := mustParse(t, bindingKeyOf(number, size))
			first := shard.Key(realm.Prefix())
			last := first | shard.Key(^realm.Mask())
			for key, want := range map[shard.Key]bool{
				first - 1: size == 0, first: true, last: true, last + 1: size == 0,
			} {
				if realm.Match(key) != want || sqlFilter(key.Hash16(), realm) != want {
					t.Fatalf("%08x in %v: %t by Match, %t by the filter, want %t",
						uint32(key), realm, realm.Match(key), sqlFilter(key.Hash16(), realm), want)
				}
			}
		}
	}
}

// bindingKeyOf writes the lowest bits of a number as a binding key.
func bindingKeyOf(number, size int) string {
	text := make([]byte, 0, 2*size+1)
	for i := range size {
		text = append(text, '0'+byte(number>>(size-1-i)&1), '.')
	}
	return string(append(text, '#'))
}

func TestSQLFilterAgreesWithMatchOnIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		realm, err := shard.ParseWorkerRealm(bindingKeys(shard.MaxWorkerRealmBits).Draw(t, "binding key"))
		if err != nil {
			t.Fatal(err)
		}
		key := shard.KeyOf(rapid.Int64().Draw(t, "id"))
		if realm.Match(key) != sqlFilter(key.Hash16(), realm) {
			t.Fatalf("%08x in %v: %t by Match only", uint32(key), realm, realm.Match(key))
		}
	})
}

// topicMatch does what a broker's topic exchange does with patterns that have no "*": compare words; "#" stands for any
// number of words.
func topicMatch(pattern, routingKey string) bool {
	prefix, ok := strings.CutSuffix(pattern, "#")
	return ok && strings.HasPrefix(routingKey+".", prefix)
}

func TestBrokerAgreesWithMatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bindingKey := bindingKeys(shard.MaxRealmBits).Draw(t, "binding key")
		realm, err := shard.ParseRealm(bindingKey)
		if err != nil {
			t.Fatal(err)
		}
		key := keysAround(realm).Draw(t, "key")
		if realm.Match(key) != topicMatch(bindingKey, key.RoutingKey()) {
			t.Fatalf("%08x in %v: %t by Match only", uint32(key), realm, realm.Match(key))
		}
	})
}

var bindingKeyGrammar = regexp.MustCompile(`\A(?:[01]\.){0,20}#\z`)

func FuzzParseRealm(f *testing.F) {
	for _, seed := range []string{"#", "0.#", "1.1.0.#", "", "0", "2.#", "#.0", "0.#\n", strings.Repeat("0.", 21) + "#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, bindingKey string) {
		realm, err := shard.ParseRealm(bindingKey)
		if valid := bindingKeyGrammar.MatchString(bindingKey); valid != (err == nil) {
			t.Fatalf("%q: error %v, but the grammar says %t", bindingKey, err, valid)
		}
		if err == nil && realm.String() != bindingKey {
			t.Fatalf("%q is read as %v", bindingKey, realm)
		}
		if err == nil && (realm.Prefix()&^realm.Mask() != 0 || !realm.Match(shard.Key(realm.Prefix()))) {
			t.Fatalf("%q: mask %08x, prefix %08x", bindingKey, realm.Mask(), realm.Prefix())
		}
	})
}
