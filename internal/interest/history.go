package interest

import (
	"math"
	"slices"
	"time"
)

// Record returns a history with one more change, or the same history if it has a change at that instant already. Histories
// come newest first. See the chapter about transfers, section 1.5.
func Record(history []Change, change Change) (longer []Change, isNew bool) {
	place, found := slices.BinarySearchFunc(history, change, func(a, b Change) int { return b.At.Compare(a.At) })
	if found {
		return history, false
	}
	return slices.Insert(slices.Clip(history), place, change), true
}

// Compact returns what has to be kept of a history. Of what it forgets, [Worst] needs nothing: it will find no higher
// rate than before, but maybe a lower one.
//
//   - A rate that is not lower than a later one is superseded, and forgotten.
//   - What came into force before the period that ends now is forgotten, except the rate in force at its beginning.
//   - There is a limit to the number of changes, see [Limit].
//
// While there are transfers that depend on the rates since an instant, pass that instant, and neither the age nor the
// number of changes makes any of these rates forgotten. Otherwise pass the zero time.
func Compact(history []Change, now time.Time, period time.Duration, since time.Time) []Change {
	beginning := now.Add(-period)
	depended := !since.IsZero()
	if depended && since.Before(beginning) {
		beginning = since
	}
	var kept []Change
	lowest := math.Inf(1)
	for n, change := range history {
		if change.Rate < lowest && (n < Limit(period) || depended) {
			kept = append(kept, change)
			lowest = change.Rate
		}
		if change.At.Before(since) {
			depended = false
		}
		if change.At.Before(beginning) {
			break
		}
	}
	return kept
}

// Limit is the number of changes after which [Compact] forgets the rest: one in three days, and 30 more.
func Limit(period time.Duration) int {
	const threeDays = 3 * 24 * time.Hour
	return int(period/threeDays) + 30
}

// MayForget reports whether [Compact], called with any part of a history, may forget changes because of their age or
// their number. If not, it does not matter what transfers depend on.
func MayForget(history []Change, now time.Time, period time.Duration) bool {
	beginning, old := now.Add(-period), 0
	for _, change := range history {
		if change.At.Before(beginning) {
			old++
		}
	}
	return len(history) > Limit(period) || old > 1
}
