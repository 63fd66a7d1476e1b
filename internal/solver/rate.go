package solver

import (
	"math"
	"math/bits"
)

// A rate is the value of a currency's tokens: tokens of them are worth units. Both are integers, so nothing is lost when
// amounts are turned into value and back. It approximates a price, in units a token, that was computed in floats.
type rate struct {
	units, tokens uint64
	least         int64 // units that the minimal trade amount is worth, rounded up
}

// newRate finds the rate for a price. If the minimal amount is worth many units, they are made a whole number of units,
// so that offers of just that amount fit in.
func newRate(price float64, minAmount int64) rate {
	const (
		many   = 1 << 54 // rounding that to an integer makes no token's difference where floats resolve tokens
		widest = 62      // bits
	)
	minimum := price * float64(minAmount)
	if minimum >= 1<<widest {
		return rate{units: 0, tokens: 1, least: math.MaxInt64} // nobody can trade that much
	}
	shift := 0
	if minimum < many {
		shift = max(0, widest-max(bits.Len64(uint64(minAmount)), exponent(minimum)))
	}
	r := rate{tokens: uint64(minAmount) << shift}
	r.units = uint64(math.Round(math.Ldexp(minimum, shift)))
	r.least = int64(max(1, (r.units+1<<shift-1)>>shift))
	return r
}

// exponent returns the least n for which the value is below 2^n.
func exponent(value float64) int {
	_, n := math.Frexp(value)
	return n
}

// value returns what an amount is worth, in units and rounded down, or math.MaxInt64 if that is out of range.
func (r rate) value(amount int64) int64 {
	high, low := bits.Mul64(uint64(amount), r.units)
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
	whole, rest := bits.Div64(high, low, r.units)
	fraction, _ = bits.Div64(rest, 0, r.units)
	return whole, fraction
}
