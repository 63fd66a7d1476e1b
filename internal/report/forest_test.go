package report

import (
	"math"
	"slices"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func forestOf(tb testing.TB, m *market) *forest {
	tb.Helper()
	return newForest(slices.Collect(m.prices(tb).Currencies()), m.params)
}

func TestStateTells(t *testing.T) {
	t.Parallel()
	const id = 61
	pegged := func(rate float64) solver.Currency {
		return solver.Currency{Confirmed: true, Locator: locatorOf(id), DebtorID: id, Peg: pegTo(baseID, rate)}
	}
	unconfirmedAt := func(rate float64) solver.Currency {
		c := pegged(rate)
		c.Confirmed = false
		return c
	}
	for name, c := range map[string]struct {
		currency solver.Currency
		want     state
	}{
		"sound":                     {pegged(2), clearable},
		"not confirmed":             {unconfirmedAt(2), unconfirmed},
		"zero rate":                 {pegged(0), priceZero},
		"zero rate, not confirmed":  {unconfirmedAt(0), priceZero},
		"negative rate":             {pegged(-2), priceNegative},
		"infinite rate":             {pegged(math.Inf(1)), priceUndefined},
		"negative and infinite":     {pegged(math.Inf(-1)), priceUndefined},
		"NaN rate":                  {pegged(math.NaN()), priceUndefined},
		"tiny rate":                 {pegged(1e-40), priceTooSmall},
		"tiny rate, not confirmed":  {unconfirmedAt(1e-40), unconfirmed},
		"enormous rate":             {pegged(1e40), priceTooLarge},
		"no peg":                    {solver.Currency{Confirmed: true, Locator: "x", DebtorID: id}, unpegged},
		"unknown peg":               {solver.Currency{Locator: "x", DebtorID: id, Peg: pegTo(99, 1)}, pegUnknown},
		"peg ID of another locator": {solver.Currency{Locator: "x", DebtorID: id, Peg: &solver.Peg{Locator: locatorOf(baseID), DebtorID: 99, Rate: 1}}, pegMismatch},
		"peg to itself":             {solver.Currency{Locator: locatorOf(id), DebtorID: id, Peg: pegTo(id, 1)}, pegCycle},
	} {
		m := newMarket()
		m.addCurrency(c.currency)
		if got := forestOf(t, m).stateOf(1); got != c.want {
			t.Errorf("%s: state is %q, want %q", name, stateTexts[got].Label, stateTexts[c.want].Label)
		}
	}
}

func TestStateOfWholeTrees(t *testing.T) {
	t.Parallel()
	m := village(t)
	f := forestOf(t, m)
	got := make(map[string]state)
	for i, c := range f.currencies {
		got[c.Locator] = f.stateOf(index(i))
	}
	for id, want := range map[swpt.DebtorID]state{
		60: clearable, 61: clearable, 64: clearable, 65: tooFar, 66: unconfirmed, 67: pegCycle, 68: pegCycle, 69: pegCycle,
		70: belowCycle, 71: unpegged, 72: pegUnknown, 73: pegMismatch, 74: priceZero, 75: detached,
	} {
		if got[locatorOf(id)] != want {
			t.Errorf("currency %d is %q, want %q", id, stateTexts[got[locatorOf(id)]].Label, stateTexts[want].Label)
		}
	}
}

func TestStatesAreExplained(t *testing.T) {
	t.Parallel()
	labels := make(map[string]bool)
	for _, text := range stateTexts {
		if text.Kind == "" || text.Why == "" || labels[text.Label] {
			t.Errorf("state %q is not explained, or not unique", text.Label)
		}
		labels[text.Label] = true
	}
}

func TestUnregisteredBaseLeavesNothingPriceable(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.currencies = nil
	m.add(61, pegTo(baseID, 2))
	m.add(62, pegTo(61, 2))
	f := forestOf(t, m)
	if f.base != none {
		t.Errorf("the base is %d, want none", f.base)
	}
	if a, b := f.stateOf(0), f.stateOf(1); a != pegUnknown || b != detached {
		t.Errorf("states are %q and %q", stateTexts[a].Label, stateTexts[b].Label)
	}
}

func TestForestCutsCyclesOnce(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.add(61, pegTo(62, 1)) // index 1, pegged to the cycle of 2, 3 and 4
	m.add(62, pegTo(63, 1))
	m.add(63, pegTo(64, 1))
	m.add(64, pegTo(62, 1))
	m.add(65, pegTo(64, 1))
	m.add(66, pegTo(baseID, 1))
	f := forestOf(t, m)
	if want := []int32{none, 2, none, 4, 2, 4, 0}; !slices.Equal(f.parent, want) {
		t.Errorf("parents are %v, want %v", f.parent, want)
	}
	if want := []int32{0, 2, 2, 2, 2, 2, 0}; !slices.Equal(f.root, want) {
		t.Errorf("roots are %v, want %v", f.root, want)
	}
	if want := []bool{false, false, true, true, true, false, false}; !slices.Equal(f.onCycle, want) {
		t.Errorf("members of cycles are %v, want %v", f.onCycle, want)
	}
	if peg := f.danglingPeg(2); peg == nil || peg.DebtorID != 63 {
		t.Errorf("the peg that closes the cycle is %v, want that to 63", peg)
	}
	for _, i := range []int32{0, 1, 3, 6} {
		if peg := f.danglingPeg(i); peg != nil {
			t.Errorf("currency %d has a dangling peg to %v", i, peg)
		}
	}
}

func TestForestIgnoresThePegOfTheBase(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.currencies[0].Peg = pegTo(61, 3)
	m.add(61, pegTo(baseID, 2))
	f := forestOf(t, m)
	if !slices.Equal(f.parent, []int32{none, 0}) || f.onCycle[0] || f.danglingPeg(0) != nil {
		t.Errorf("parents are %v, cycle members %v", f.parent, f.onCycle)
	}
}

func TestForestTakesLongChains(t *testing.T) {
	t.Parallel()
	const length = 200_000
	m := newMarket()
	for i := range swpt.DebtorID(length) {
		m.add(baseID+1+i, pegTo(baseID+i, 1))
	}
	slices.Reverse(m.currencies) // so that the deepest comes first
	f := forestOf(t, m)
	if got := f.stateOf(0); got != tooFar || f.root[0] != length {
		t.Errorf("the end of the chain is %q, below %d", stateTexts[got].Label, f.root[0])
	}
}
