package collector

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A Pool is the range of creditor IDs that collectors may have, both ends included. They have the same sign, and neither
// is zero; First is not greater than Last.
type Pool struct {
	First, Last swpt.CreditorID
}

// Contains reports whether an ID is in the pool.
func (p Pool) Contains(id swpt.CreditorID) bool {
	return p.First <= id && id <= p.Last
}

// size is the number of IDs in the pool, at most 2^63.
func (p Pool) size() uint64 {
	return uint64(p.Last) - uint64(p.First) + 1 //nolint:gosec // in two's complement, the difference is right
}

// usable is how many of the IDs may be used for one debtor: three quarters, rounded down. The rest is left free, so that
// free IDs are found quickly.
func (p Pool) usable() uint64 {
	n := p.size()
	return n/4*3 + n%4*3/4
}

// IDs returns the endless sequence in which a debtor's collectors get their IDs. IDs come again in it. It depends on the
// pool and the debtor alone, in all processes and releases: whoever adds a collector at the same time adds the same one,
// and notices.
func (p Pool) IDs(debtor swpt.DebtorID) iter.Seq[swpt.CreditorID] {
	return func(yield func(swpt.CreditorID) bool) {
		var source [16]byte
		binary.BigEndian.PutUint64(source[:8], uint64(debtor)) //nolint:gosec // the same bits
		for i := uint64(0); ; i++ {
			binary.BigEndian.PutUint64(source[8:], i)
			digest := sha256.Sum256(source[:])
			place := binary.BigEndian.Uint64(digest[:8]) % p.size()
			if !yield(swpt.CreditorID(uint64(p.First) + place)) { //nolint:gosec // in two's complement, the sum is right
				return
			}
		}
	}
}

// next returns the first n IDs of a debtor's sequence that are not used, and marks them as used. So many have to be free.
func (p Pool) next(debtor swpt.DebtorID, used map[swpt.CreditorID]bool, n int) []swpt.CreditorID {
	ids := make([]swpt.CreditorID, 0, n)
	for id := range p.IDs(debtor) {
		if len(ids) == n {
			break
		}
		if !used[id] {
			used[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}
