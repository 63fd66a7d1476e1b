package solver

import (
	"math"
	"math/bits"
)

// A rate is the value of a currency's tokens: tokens·2^shift tokens are worth units. All are integers, so nothing is lost
// when amounts are turned into value and back. It is as good as exactly a price, in units a token, that was computed in
// floats, however many tokens it takes for one unit.
type rate struct {
	units, tokens uint64
	shift         uint
	least         int64 // units that the minimal trade amount is worth, rounded up
}

// newRate finds the rate for a price. If the minimal amount is worth many units, they are made a whole number of units,
// so that offers of just that amount fit in.
func newRate(price float64, minAmount int64) rate {
	const (
		many   = 1 << 54 // rounding that to an integer makes no token's difference where floats resolve tokens
		widest = 62      // bits
	)
	switch minimum := price * float64(minAmount); {
	case price >= 1<<widest:
		return rate{units: 0, tokens: 1, least: math.MaxInt64} // nobody can trade that much
	case minimum >= many && minimum < 1<<widest:
		units := math.Round(minimum)
		return rate{units: uint64(units), tokens: uint64(minAmount), least: int64(units)}
	default:
		fraction, exponent := math.Frexp(price)
		r := rate{units: uint64(math.Ldexp(fraction, widest)), tokens: 1, shift: uint(widest - exponent)}
		r.least = math.MaxInt64 // only who has traded already can trade more
		if minimum < many {
			high, low := bits.Mul64(uint64(minAmount), r.units)
			low, borrow := bits.Sub64(low, 1, 0)
			_, low = shiftRight(high-borrow, low, r.shift)
			r.least = int64(low) + 1
		}
		return r
	}
}

// exponent returns the least n for which the value is below 2^n.
func exponent(value float64) int {
	_, n := math.Frexp(value)
	return n
}

// value returns what an amount is worth, in units and rounded down, or math.MaxInt64 if that is out of range.
func (r rate) value(amount int64) int64 {
	high, low := bits.Mul64(uint64(amount), r.units)
	high, low = shiftRight(high, low, r.shift)
	if high >= r.tokens {
		return math.MaxInt64
	}
	units, _ := bits.Div64(high, low, r.tokens)
	return int64(min(units, math.MaxInt64))
}

// amount returns how many tokens are worth so many units: whole ones, which must be less than 2^64, and a fraction of a
// token, in 2^-64 and rounded down.
func (r rate) amount(units int64) (whole, fraction uint64) {
	high, low := bits.Mul64(uint64(units), r.tokens)
	high, low = shiftLeft(high, low, r.shift)
	whole, rest := bits.Div64(high, low, r.units)
	fraction, _ = bits.Div64(rest, 0, r.units)
	return whole, fraction
}

// shiftRight divides a number of 128 bits by 2^n, and rounds down.
func shiftRight(high, low uint64, n uint) (uint64, uint64) {
	if n >= 64 {
		high, low, n = 0, high, n-64
	}
	return high >> n, low>>n | high<<(64-n)
}

// shiftLeft multiplies a number of 128 bits by 2^n. The product must be below 2^128.
func shiftLeft(high, low uint64, n uint) (uint64, uint64) {
	if n >= 64 {
		high, low, n = low, 0, n-64
	}
	return high<<n | low>>(64-n), low << n
}
