package shard

import (
	"errors"
	"fmt"
	"math/bits"
)

const (
	// MaxRealmBits is the largest number of bits that a binding key may have.
	MaxRealmBits = 20

	// MaxWorkerRealmBits is the largest number of bits in the realm of a worker, because the solver database knows
	// only the first 16 bits of each key.
	MaxWorkerRealmBits = 16
)

var (
	// ErrInvalidBindingKey tells that a text does not follow the grammar of binding keys.
	ErrInvalidBindingKey = errors.New("invalid binding key")

	// ErrRealmTooSmall tells that a realm is valid, but has more bits than a worker can have.
	ErrRealmTooSmall = errors.New("realm too small for a worker")
)

// A Realm is the part of all keys that one shard owns: the keys that begin with the realm's bits. The more bits it has,
// the smaller it is; the zero value has none, and owns every key. Realms can be compared with ==.
type Realm struct {
	mask   uint32 // bits.OnesCount32(mask) ones, then only zeros
	prefix uint32 // zero wherever mask is
}

// ParseRealm returns the realm of a queue's binding key: "0." or "1." repeated 0 to 20 times, then "#", and nothing
// else, white space included. All other texts give [ErrInvalidBindingKey].
func ParseRealm(bindingKey string) (Realm, error) {
	var realm Realm
	rest := bindingKey
	for rest != "#" {
		if len(rest) < 2 || rest[0]&^1 != '0' || rest[1] != '.' {
			return Realm{}, fmt.Errorf(`%w %q: at byte %d, want "0.", "1.", or "#" and the end`,
				ErrInvalidBindingKey, bindingKey, len(bindingKey)-len(rest))
		}
		if realm.Bits() == MaxRealmBits {
			return Realm{}, fmt.Errorf(`%w %q: more than %d bits`, ErrInvalidBindingKey, bindingKey, MaxRealmBits)
		}
		realm = realm.child(rest[0] & 1)
		rest = rest[2:]
	}
	return realm, nil
}

// ParseWorkerRealm is [ParseRealm] for workers: it also refuses realms of more than 16 bits, with [ErrRealmTooSmall].
// Such a worker would take rows out of the solver database that belong to the other shards with the same 16 bits.
func ParseWorkerRealm(bindingKey string) (Realm, error) {
	realm, err := ParseRealm(bindingKey)
	if err != nil {
		return Realm{}, err
	}
	if realm.Bits() > MaxWorkerRealmBits {
		return Realm{}, fmt.Errorf("%w: %q has %d bits, use a binding key of at most %d",
			ErrRealmTooSmall, bindingKey, realm.Bits(), MaxWorkerRealmBits)
	}
	return realm, nil
}

// child returns the half of the realm in which the next bit is the given one.
func (r Realm) child(bit byte) Realm {
	position := 31 - r.Bits()
	return Realm{mask: r.mask | 1<<position, prefix: r.prefix | uint32(bit)<<position}
}

// Parent returns the realm without its last bit, of which this one is a half. When a shard is split in two, each new
// shard begins with the database of the parent. The parent of "#" is "#".
func (r Realm) Parent() Realm {
	mask := r.mask & (r.mask << 1)
	return Realm{mask: mask, prefix: r.prefix & mask}
}

// Match reports whether the realm owns the key.
func (r Realm) Match(k Key) bool {
	return uint32(k)&r.mask == r.prefix
}

// MatchParent reports whether the realm's parent owns the key. If it does and the realm itself does not, then a record
// with this key is a left-over of the shard's split.
func (r Realm) MatchParent(k Key) bool {
	return r.Parent().Match(k)
}

// Bits returns the number of bits that all keys in the realm have in common, from 0 to [MaxRealmBits].
func (r Realm) Bits() int {
	return bits.OnesCount32(r.mask)
}

// Mask returns a number with ones in the bits that all keys in the realm have in common, which are the highest.
func (r Realm) Mask() uint32 {
	return r.mask
}

// Prefix returns the bits that all keys in the realm have in common, followed by zeros.
func (r Realm) Prefix() uint32 {
	return r.prefix
}

// HashMask returns the upper half of [Realm.Mask] for queries of the form "hash & mask = prefix", where the hash is
// [Key.Hash16]. It is negative unless the realm has no bits. With more than [MaxWorkerRealmBits] bits such queries
// return more than what the realm owns.
func (r Realm) HashMask() int16 {
	return int16(r.mask >> 16)
}

// HashPrefix returns the upper half of [Realm.Prefix], see [Realm.HashMask].
func (r Realm) HashPrefix() int16 {
	return int16(r.prefix >> 16)
}

// String returns the realm's binding key, from which [ParseRealm] makes the same realm.
func (r Realm) String() string {
	key := make([]byte, 0, 2*MaxRealmBits+1)
	for i := range r.Bits() {
		key = append(key, '0'+byte(r.prefix>>(31-i)&1), '.')
	}
	return string(append(key, '#'))
}
