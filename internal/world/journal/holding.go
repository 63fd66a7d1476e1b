package journal

import (
	"math"
	"time"
)

// secondsInYear is the length of the year that interest rates refer to.
const secondsInYear = 365.25 * 86400

// A Holding is what an account holds, as of a moment (peers.md, section 1.3).
type Holding struct {
	Principal int64   // tokens
	Interest  float64 // tokens, accumulated up to At
	Rate      float64 // percent per year, in force since RateSince
	RateSince time.Time
	At        time.Time
}

// Accrued returns the interest that has been accumulated by a moment that is not before At. Principal and interest
// together are the balance. Debts bear no interest.
func (h Holding) Accrued(t time.Time) float64 {
	base := float64(h.Principal) + h.Interest
	if base <= 0 {
		return h.Interest
	}
	return h.Interest + base*Growth(h.Rate, t.Sub(h.At))
}

// Balance returns the principal and the accumulated interest at a moment.
func (h Holding) Balance(t time.Time) float64 { return float64(h.Principal) + h.Accrued(t) }

// Spendable returns the balance at a moment, rounded down, without losing the digits of a large principal.
func (h Holding) Spendable(t time.Time) int64 {
	const limit = 1 << 62
	whole := math.Floor(h.Accrued(t))
	switch {
	case whole >= limit:
		return math.MaxInt64
	case whole <= -limit:
		return -math.MaxInt64
	}
	return Sum(h.Principal, int64(whole))
}

// Growth returns by which part of itself an amount grows in some time, at a rate in percent per year; if the rate is
// negative, so is the growth.
func Growth(rate float64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return math.Expm1(math.Log1p(rate/100) / secondsInYear * d.Seconds())
}

// Sum returns the sum of two amounts, or ±(2⁶³−1) if it is out of range.
func Sum(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0, sum == math.MinInt64:
		return -math.MaxInt64
	}
	return sum
}
