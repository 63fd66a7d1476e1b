package settlement_test

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/settlement"
)

type quantities struct{ missingCollected, toSend, hoarded, missingReceived, toDispatch int64 }

func quantitiesOf(a settlement.Amounts) quantities {
	return quantities{
		a.MissingCollected(), a.AvailableToSend(), a.Hoarded(), a.MissingReceived(), a.AvailableToDispatch(),
	}
}

func TestQuantities(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	for name, c := range map[string]struct {
		amounts settlement.Amounts
		want    quantities
	}{
		"example 9, nothing yet": {
			settlement.Amounts{ToCollect: 50000, ToSend: 5000, ToReceive: 10000, ToDispatch: 55000},
			quantities{50000, 0, 5000, 10000, 0},
		},
		"example 9, collected": {
			settlement.Amounts{ToCollect: 50000, ToSend: 5000, ToReceive: 10000, ToDispatch: 55000, Collected: 46000},
			quantities{4000, 1000, 4000, 10000, 45000},
		},
		"example 9, received": {
			settlement.Amounts{ToCollect: 50000, ToSend: 5000, ToReceive: 10000, ToDispatch: 55000, Collected: 46000, Received: 9900},
			quantities{4000, 1000, 4000, 100, 54900},
		},
		"example 10, small shortage": {
			settlement.Amounts{ToCollect: 10000, ToSend: 3000, ToDispatch: 7000, Collected: 9200},
			quantities{800, 2200, 800, 0, 7000},
		},
		"example 10, large shortage": {
			settlement.Amounts{ToCollect: 10000, ToSend: 3000, ToDispatch: 7000, Collected: 6000},
			quantities{4000, 0, 3000, 0, 6000},
		},
		"example 11": {
			settlement.Amounts{
				ToCollect: 10000, ToSend: 3000, ToReceive: 5000, ToDispatch: 12000, Collected: 10000, Received: 999 + 3996,
			},
			quantities{0, 3000, 0, 5, 11995},
		},
		"more received than expected": {
			settlement.Amounts{ToReceive: 10, ToDispatch: 10, Received: most},
			quantities{0, 0, 0, 0, 10},
		},
		"more collected than expected": {
			settlement.Amounts{ToCollect: 10, ToSend: 10, Collected: most},
			quantities{0, 10, 0, 0, 0},
		},
		"own sales": { // the collector itself sells 100, which are never collected
			settlement.Amounts{ToCollect: 10, ToSend: 110, Collected: 0},
			quantities{10, 100, 10, 0, 0},
		},
		"largest amounts, all missing": {
			settlement.Amounts{ToCollect: most, ToSend: most, ToReceive: most, ToDispatch: most},
			quantities{most, 0, most, most, 0},
		},
		"largest amounts, nothing to send": {
			settlement.Amounts{ToCollect: most, ToReceive: most, ToDispatch: most},
			quantities{most, 0, 0, most, 0},
		},
		"largest amounts, all there": {
			settlement.Amounts{ToCollect: most, ToSend: most, ToReceive: most, ToDispatch: most, Collected: most, Received: most},
			quantities{0, most, 0, 0, most},
		},
	} {
		if got := quantitiesOf(c.amounts); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestNominal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount, available, total int64
		want                     float64
	}{
		{12000, 11995, 12000, 11995}, // example 11
		{2000, 2500, 3000, 1666.6666666666667},
		{1000, 2500, 3000, 833.3333333333334},
		{2, 250, 502, 0.9960159362549801},
		{500, 250, 502, 249.003984063745},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64, 1 << 63},
		{math.MaxInt64, 0, math.MaxInt64, 0},
		{2, 1, math.MaxInt64, 2.0 / (1 << 63)},
		// The quotient of the rounded numbers would be greater.
		{1, 1<<53 + 1, 3, 3002399751580331},
	} {
		if got := settlement.Nominal(c.amount, settlement.Share(c.available, c.total)); got != c.want {
			t.Errorf("%d of %d/%d is %v, want %v", c.amount, c.available, c.total, got, c.want)
		}
	}
}

// amount draws amounts of all sizes, the limits included.
func amount(t *rapid.T, name string, most int64) int64 {
	return min(most, rapid.OneOf(
		rapid.Int64Range(0, 20), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(0, math.MaxInt64),
		rapid.Int64Range(math.MaxInt64-20, math.MaxInt64),
	).Draw(t, name))
}

func someAmounts(t *rapid.T) settlement.Amounts {
	a := settlement.Amounts{
		ToCollect: amount(t, "to collect", math.MaxInt64), ToReceive: amount(t, "to receive", math.MaxInt64),
		ToDispatch: amount(t, "to dispatch", math.MaxInt64), Received: amount(t, "received", math.MaxInt64),
	}
	a.ToSend = amount(t, "to send", a.ToCollect)
	a.Collected = amount(t, "collected", a.ToCollect)
	return a
}

// All quantities are within their bounds, and are what the formulas say, computed without bounds.
func TestQuantitiesAsInFormulas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := someAmounts(t)
		big0, sub, add := new(big.Int), func(x, y *big.Int) *big.Int { return new(big.Int).Sub(x, y) },
			func(x, y *big.Int) *big.Int { return new(big.Int).Add(x, y) }
		positive := func(x *big.Int) *big.Int {
			if x.Cmp(big0) < 0 {
				return big0
			}
			return x
		}
		missingCollected := sub(big.NewInt(a.ToCollect), big.NewInt(a.Collected))
		toSend := positive(sub(big.NewInt(a.ToSend), missingCollected))
		hoarded := sub(big.NewInt(a.ToSend), toSend)
		missingReceived := positive(sub(big.NewInt(a.ToReceive), big.NewInt(a.Received)))
		toDispatch := positive(sub(add(sub(big.NewInt(a.ToDispatch), missingCollected), hoarded), missingReceived))
		want := quantities{
			missingCollected.Int64(), toSend.Int64(), hoarded.Int64(), missingReceived.Int64(), toDispatch.Int64(),
		}
		if got := quantitiesOf(a); got != want {
			t.Fatalf("%+v: %+v, want %+v", a, got, want)
		}
	})
}

// M2: if the solver has balanced the amounts, what goes out is never more than what has come in.
func TestQuantitiesAreCovered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := settlement.Amounts{ToCollect: amount(t, "to collect", 1<<61), ToReceive: amount(t, "to receive", 1<<61)}
		a.ToSend = amount(t, "to send", a.ToCollect)
		a.ToDispatch = a.ToCollect + a.ToReceive - a.ToSend
		a.Collected = amount(t, "collected", a.ToCollect)
		a.Received = amount(t, "received", math.MaxInt64)
		if a.AvailableToSend() > a.Collected {
			t.Fatalf("%+v: sends %d", a, a.AvailableToSend())
		}
		if in := a.Collected + min(a.Received, a.ToReceive); a.AvailableToDispatch() > in-a.AvailableToSend() {
			t.Fatalf("%+v: sends %d and dispatches %d", a, a.AvailableToSend(), a.AvailableToDispatch())
		}
	})
}

// M17: the less has come, the less goes out.
func TestQuantitiesAreMonotonic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		more := someAmounts(t)
		less := more
		less.Collected -= amount(t, "less collected", more.Collected)
		if less.AvailableToSend() > more.AvailableToSend() || less.AvailableToDispatch() > more.AvailableToDispatch() {
			t.Fatalf("%+v: %+v; with more collected, %+v", less, quantitiesOf(less), quantitiesOf(more))
		}
		less.Received -= amount(t, "less received", more.Received)
		if less.AvailableToDispatch() > more.AvailableToDispatch() {
			t.Fatalf("%+v: %+v; with more, %+v", less, quantitiesOf(less), quantitiesOf(more))
		}
	})
}

// The nominal amounts of all rows together are what is available, but for rounding that the smallest cut covers.
func TestNominalAmountsAddUp(t *testing.T) {
	t.Parallel()
	const cut = 1e-10
	rapid.Check(t, func(t *rapid.T) {
		amounts := rapid.SliceOfN(rapid.Int64Range(2, 1<<56), 1, 50).Draw(t, "amounts")
		var total int64
		for _, a := range amounts {
			total += a
		}
		available := amount(t, "available", total)
		share := settlement.Share(available, total)
		var out int64
		for _, a := range amounts {
			transferred := int64(settlement.Nominal(a, share) * (1 - cut))
			if transferred > a {
				t.Fatalf("%d of %d are transferred", transferred, a)
			}
			out += transferred
		}
		if out > available {
			t.Fatalf("%d are transferred, and %d are available", out, available)
		}
	})
}
