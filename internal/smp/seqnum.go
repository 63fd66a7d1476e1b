package smp

import (
	"time"
)

// IsLaterSeqnum tells whether sequence number a is later than b. Sequence numbers wrap: of two that are exactly 2^31
// apart neither is later (section 8.2).
func IsLaterSeqnum(a, b int32) bool { return a-b > 0 }

// NextSeqnum returns the sequence number after n (section 8.2).
func NextSeqnum(n int32) int32 { return n + 1 }

// An AccountVersion is the place of an AccountUpdate in the history of one account. Of several updates only the latest
// counts, whatever the order in which they arrive (section 8.2).
type AccountVersion struct {
	CreationDate     Date
	LastChangeTS     time.Time
	LastChangeSeqnum int32
}

// IsLaterThan tells whether v is strictly later than other.
func (v AccountVersion) IsLaterThan(other AccountVersion) bool {
	if v.CreationDate != other.CreationDate {
		return v.CreationDate > other.CreationDate
	}
	if !v.LastChangeTS.Equal(other.LastChangeTS) {
		return v.LastChangeTS.After(other.LastChangeTS)
	}
	return IsLaterSeqnum(v.LastChangeSeqnum, other.LastChangeSeqnum)
}
