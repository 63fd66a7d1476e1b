// Package demurrage computes how amounts on accounts shrink under negative interest.
//
// All functions are pure. Rates are in percent per year, as accounting authorities announce them: −10 takes a tenth of an
// amount in a year of 365.25 days.
package demurrage

import (
	"math"
	"time"
)

// secondsInYear is the length of the year that interest rates refer to.
const secondsInYear = 365.25 * 86400

// worthless is the rate below which nothing is assumed to remain of an amount, however short the time.
const worthless = -99.9999

// Remaining returns which part of an amount remains, in the worst case, after some time at an interest rate: from 0 to 1.
// Positive rates count as zero, and so do negative times.
func Remaining(rate float64, after time.Duration) float64 {
	if rate < worthless {
		return 0
	}
	return min(math.Exp(logPerSecond(rate)*max(0, after.Seconds())), 1)
}

// logPerSecond returns the logarithm of what an amount is multiplied by in a second.
func logPerSecond(rate float64) float64 {
	return math.Log(1+rate/100) / secondsInYear
}

// Contain returns the integral part of a value, or the nearest integer from −(2⁶³−1) to 2⁶³−1 if there it has no place.
// NaN becomes 0.
func Contain(v float64) int64 {
	switch {
	case v >= math.MaxInt64: // the constant becomes 2⁶³
		return math.MaxInt64
	case v <= math.MinInt64:
		return -math.MaxInt64
	case math.IsNaN(v):
		return 0
	default:
		return int64(v)
	}
}
