// Package interest tells which interest rates have to be reckoned with on an account, and which can be forgotten.
//
// All functions are pure. Rates are in percent per year, as accounting authorities announce them.
package interest

import "time"

// A Change is when an interest rate came into force on an account.
type Change struct {
	At   time.Time
	Rate float64 // percent per year
}

// Worst returns the lowest interest rate that may have been in force on an account since some instant, and when the
// latest of the changes that it knows of took place. The current rate is the one that has been announced last; the
// changes before it come newest first. Those older than the first one before the instant do not matter: that one's
// rate was in force then. See the chapter about transfers, section 4.4, step 2.
func Worst(current Change, changes []Change, since time.Time) (rate float64, latest time.Time) {
	rate, latest = current.Rate, current.At
	for _, change := range changes {
		rate = min(rate, change.Rate)
		if change.At.After(latest) {
			latest = change.At
		}
		if change.At.Before(since) {
			break
		}
	}
	return rate, latest
}
