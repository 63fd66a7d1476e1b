package shard

import (
	"crypto/md5" //nolint:gosec // The digest spreads keys over shards, and other nodes compute the same one.
	"encoding/binary"
)

// A Key says where in the space of all shards a record or a message belongs: the first four bytes of the MD5 digest
// of what it is sharded by, as a big-endian number. Every value of the 32 bits is a valid key.
type Key uint32

const (
	// RoutingKeyBits is the number of binary digits in a routing key, taken from the highest bits of a [Key].
	RoutingKeyBits = 24

	routingKeyLen = len(routingKeyZeros)

	// maxShortString is the length in bytes up to which KeyOfString hashes without allocating. The strings that
	// messages are sharded by have at most 200 characters of at most 4 bytes.
	maxShortString = 800
)

// The routing key of the key 0, which those of other keys are made from.
const routingKeyZeros = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"

// KeyOf returns the key of a single 64-bit integer, such as a creditor ID, a debtor ID, or a collector ID.
func KeyOf[ID ~int64](id ID) Key {
	var digested [8]byte
	binary.BigEndian.PutUint64(digested[:], uint64(id))
	return keyOfBytes(digested[:])
}

// KeyOfInts returns the key of several 64-bit integers in their order. Accounting authorities use it for accounts:
// the pair of the debtor ID and the creditor ID. With one integer it returns the same as [KeyOf].
func KeyOfInts(ids ...int64) Key {
	var space [64]byte
	digested := space[:0]
	for _, id := range ids {
		digested = binary.BigEndian.AppendUint64(digested, uint64(id))
	}
	return keyOfBytes(digested)
}

// KeyOfString returns the key of a string's bytes as they are, without normalizing or trimming anything. Messages about
// documents are sharded by IRIs and debtor info locators.
func KeyOfString(s string) Key {
	var space [maxShortString]byte
	return keyOfBytes(append(space[:0], s...))
}

func keyOfBytes(digested []byte) Key {
	digest := md5.Sum(digested) //nolint:gosec // See the import.
	return Key(binary.BigEndian.Uint32(digest[:]))
}

// Hash16 returns the highest 16 bits of the key as a signed number, the form in which databases store it in SMALLINT
// columns. Compare it with [Realm.HashMask] and [Realm.HashPrefix].
func (k Key) Hash16() int16 {
	return int16(k >> 16)
}

// AppendRoutingKey appends the routing key to dst: the highest 24 bits of the key, the most significant first, each
// written as 0 or 1, with dots between them; 47 bytes. It allocates only when dst has to grow.
func (k Key) AppendRoutingKey(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, routingKeyZeros...)
	digits := dst[start:]
	for i := range RoutingKeyBits {
		digits[2*i] |= byte(k >> (31 - i) & 1)
	}
	return dst
}

// RoutingKey returns what [Key.AppendRoutingKey] appends, as a string.
func (k Key) RoutingKey() string {
	var space [routingKeyLen]byte
	return string(k.AppendRoutingKey(space[:0]))
}

const (
	hexDigits        = "0123456789abcdef"
	hexRoutingKeyLen = 8*3 - 1
)

// AppendHexRoutingKey appends the routing key of a message to an accounting authority: the eight bytes of the debtor ID
// in two's complement, the most significant first, each as two lowercase hexadecimal digits, with dots between them; 23
// bytes. It allocates only when dst has to grow.
func AppendHexRoutingKey[ID ~int64](dst []byte, debtorID ID) []byte {
	for shift := 56; shift >= 0; shift -= 8 {
		octet := byte(uint64(debtorID) >> shift)
		dst = append(dst, hexDigits[octet>>4], hexDigits[octet&15])
		if shift > 0 {
			dst = append(dst, '.')
		}
	}
	return dst
}

// HexRoutingKey returns what [AppendHexRoutingKey] appends, as a string.
func HexRoutingKey[ID ~int64](debtorID ID) string {
	var space [hexRoutingKeyLen]byte
	return string(AppendHexRoutingKey(space[:0], debtorID))
}
