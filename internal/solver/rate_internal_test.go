package solver

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// A rate is the price exactly, or nearly so where the minimal amount is to be a whole number of units; and what is
// computed with it is right to the last bit.
func TestRates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fraction := rapid.Float64Range(0.5, math.Nextafter(1, 0)).Draw(t, "fraction")
		price := math.Ldexp(fraction, rapid.IntRange(-250, 62).Draw(t, "exponent"))
		minimum := rapid.Int64Range(1, math.MaxInt64>>rapid.IntRange(0, 62).Draw(t, "bits")).Draw(t, "minimal amount")
		r := newRate(price, minimum)
		isTooMuch := price*float64(minimum) >= 1<<62
		if isTooMuch && r.least != math.MaxInt64 {
			t.Fatalf("the least number of units is %d", r.least)
		}
		if price >= 1<<62 {
			if got := r.value(math.MaxInt64); got != 0 {
				t.Fatalf("all tokens are worth %d units", got)
			}
			return
		}
		// Units a token.
		exact := new(big.Rat).SetFrac(new(big.Int).SetUint64(r.units), shifted(r.tokens, r.shift))
		off, _ := new(big.Rat).Sub(new(big.Rat).Quo(exact, new(big.Rat).SetFloat64(price)), big.NewRat(1, 1)).Float64()
		if math.Abs(off) > 0x1p-52 {
			t.Fatalf("%+v is off by %g", r, off)
		}
		least := new(big.Rat).Mul(exact, new(big.Rat).SetInt64(minimum))
		if want := ceil(least); !isTooMuch && want.Cmp(big.NewInt(r.least)) != 0 {
			t.Fatalf("the least number of units is %d, want %v", r.least, want)
		}
		if !isTooMuch && least.Cmp(new(big.Rat).SetInt64(1<<54+1)) > 0 && !least.IsInt() {
			t.Fatalf("the minimal amount is worth %v units", least)
		}

		amount := rapid.Int64Min(0).Draw(t, "amount")
		want := floor(new(big.Rat).Mul(exact, new(big.Rat).SetInt64(amount)))
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		units := r.value(amount)
		if want.Cmp(big.NewInt(units)) != 0 {
			t.Fatalf("%d tokens are worth %d units, want %v", amount, units, want)
		}
		if units == math.MaxInt64 {
			return
		}
		whole, part := r.amount(units)
		got := new(big.Int).Add(shifted(whole, 64), new(big.Int).SetUint64(part))
		tokens := new(big.Rat).Quo(new(big.Rat).SetInt64(units), exact)
		if want := floor(tokens.Mul(tokens, new(big.Rat).SetInt(shifted(1, 64)))); want.Cmp(got) != 0 {
			t.Fatalf("%d units are %v·2^-64 tokens, want %v", units, got, want)
		}
	})
}

func shifted(x uint64, n uint) *big.Int { return new(big.Int).Lsh(new(big.Int).SetUint64(x), n) }

func floor(x *big.Rat) *big.Int { return new(big.Int).Div(x.Num(), x.Denom()) }

func ceil(x *big.Rat) *big.Int {
	negative := new(big.Rat).Neg(x)
	return new(big.Int).Neg(floor(negative))
}
