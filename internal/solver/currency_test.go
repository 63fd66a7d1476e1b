package solver_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func TestParams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		params solver.Params
		valid  bool
	}{
		{solver.Params{BaseLocator: "L", BaseDebtorID: 60, MaxDistanceToBase: 10, MinTradeAmount: 1000}, true},
		{solver.Params{BaseLocator: "", BaseDebtorID: -1, MaxDistanceToBase: 1, MinTradeAmount: 1}, true},
		{solver.Params{
			BaseLocator: "L", BaseDebtorID: math.MinInt64, MaxDistanceToBase: math.MaxInt16, MinTradeAmount: math.MaxInt64,
		}, true},
		{solver.Params{BaseLocator: "L", BaseDebtorID: 0, MaxDistanceToBase: 10, MinTradeAmount: 1000}, false},
		{solver.Params{BaseLocator: "L", BaseDebtorID: 60, MaxDistanceToBase: 0, MinTradeAmount: 1000}, false},
		{solver.Params{BaseLocator: "L", BaseDebtorID: 60, MaxDistanceToBase: -1, MinTradeAmount: 1000}, false},
		{solver.Params{BaseLocator: "L", BaseDebtorID: 60, MaxDistanceToBase: math.MaxInt16 + 1, MinTradeAmount: 1000}, false},
		{solver.Params{BaseLocator: "L", BaseDebtorID: 60, MaxDistanceToBase: 10, MinTradeAmount: 0}, false},
		{solver.Params{BaseLocator: "L", BaseDebtorID: 60, MaxDistanceToBase: 10, MinTradeAmount: -1000}, false},
	} {
		tree, err := solver.NewPegTree(c.params)
		if (err == nil) != c.valid || !c.valid && !errors.Is(err, solver.ErrInvalidParams) {
			t.Errorf("%+v: %v", c.params, err)
		}
		if (tree != nil) != c.valid {
			t.Errorf("%+v: tree %v", c.params, tree)
		}
		if !c.valid {
			continue
		}
		if prices, err := tree.Prices(); err != nil || prices.Params() != c.params {
			t.Errorf("%+v: %v, %v", c.params, prices, err)
		}
	}
}

// Prices of confirmed currencies are looked up by debtor ID. Those that are not expected to have one have none.
func TestPrices(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		distance   int    // 10 if not set
		currencies string // the base is 40
		prices     string
		clearable  string // all with a price, if not set
	}{
		"P1": {
			distance: 3,
			currencies: `41 × 0.5; 42 → 41 × 4 unconfirmed; 43 → 42 × 0.25; 44 → 43 × 8; 45 → L40/99 × 2.5;
				46 → 77 × 2`,
			prices: "40: 1; 41: 0.5; 43: 0.5",
		},
		"P2": {
			currencies: `40 → 50 × 7; 50 × 0; 60 → 50 × 5; 51 × -2; 52 → 51 × -3; 53 × ∞; 54 × NaN; 55 → 56 × 1;
				56 → 55 × 1; 57 → 57 × 1; 58 → 55 × 2`,
			prices:    "40: 1; 50: 0; 60: 0; 51: -2; 52: 6; 53: ∞; 54: NaN",
			clearable: "40; 52",
		},
		"P4 with one unconfirmed": {
			currencies: "5 × 1 unconfirmed; L6/5 × 3",
			prices:     "40: 1; 5: 3",
		},
		"P4 with the other unconfirmed": {
			currencies: "5 × 1; L6/5 × 3 unconfirmed",
			prices:     "40: 1; 5: 1",
		},
		"infinity": {
			currencies: "41 × -∞; 42 → 41 × -1; 43 → 41 × 0; 44 → 43 × 7; 45 → 42 × 1e-300",
			prices:     "40: 1; 41: -∞; 42: ∞; 43: NaN; 44: NaN; 45: ∞",
			clearable:  "40",
		},
		"NaN is inherited": {
			currencies: "41 × NaN; 42 → 41 × 0; 43 → 42 × 1 unconfirmed; 44 → 43 × 1",
			prices:     "40: 1; 41: NaN; 42: NaN; 44: NaN",
			clearable:  "40",
		},
		"no peg":                             {currencies: "41; 42 → 41 × 1", prices: "40: 1"},
		"two claim an ID, one is too far":    {distance: 1, currencies: "5 × 2; L6/5 → 5 × 3", prices: "40: 1; 5: 2"},
		"two claim an ID, one has no peg":    {currencies: "5 × 2; L6/5", prices: "40: 1; 5: 2"},
		"two claim an ID, both unconfirmed":  {currencies: "5 × 2 unconfirmed; L6/5 × 3 unconfirmed", prices: "40: 1"},
		"pegged to an unconfirmed namesake":  {currencies: "5 × 2; L6/5 × 3 unconfirmed; 7 → L6/5 × 10", prices: "40: 1; 5: 2; 7: 30"},
		"debtor 0 is not there":              {currencies: "L7/0 × 1; 8 → L7/0 × 2; 9 × 3", prices: "40: 1; 9: 3"},
		"debtor 0 does not take the locator": {currencies: "L7/0 × 1; 7 × 2; L7/0 × 3", prices: "40: 1; 7: 2"},
		"the base's peg does not count":      {currencies: "40 → 41 × 5; 41 × 2", prices: "40: 1; 41: 2"},
		"the base pegged to itself":          {currencies: "40 → 40 × 5; 41 × 2", prices: "40: 1; 41: 2"},
		"unconfirmed base":                   {currencies: "40 unconfirmed; 41 × 2", prices: "41: 2"},
		"base without ID":                    {currencies: "L40/0; 41 × 2", prices: ""},
		"a cycle that meets the tree":        {currencies: "41 → 42 × 1; 42 → 43 × 1; 43 → 41 × 1; 44 × 2; 45 → 43 × 1", prices: "40: 1; 44: 2"},
		"negative IDs":                       {currencies: "-1 × 3; -9223372036854775808 → -1 × 5", prices: "40: 1; -1: 3; -9223372036854775808: 15"},
		"to the limit":                       {distance: 2, currencies: "41 × 2; 42 → 41 × 2; 43 → 42 × 2", prices: "40: 1; 41: 2; 42: 4"},
		"shortest limit":                     {distance: 1, currencies: "41 × 2; 42 → 41 × 2", prices: "40: 1; 41: 2"},
		"worthless on the way": {
			currencies: "41 × 1e-50; 42 → 41 × 1e50; 43 → 41 × 0.5",
			prices:     "40: 1; 41: 1e-50; 42: 1; 43: 0.5e-50",
			clearable:  "40; 42",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prices := mustPrice(t, turn(40, cmp.Or(c.distance, 10), 1000), parseCurrencies(t, 40, c.currencies))
			want := parsePrices(t, c.prices)
			clearable := split(c.clearable, ";")
			for id := swpt.DebtorID(-2); id < 100; id++ {
				p, found := want[id]
				mustBe := c.clearable == "" && found || slices.Contains(clearable, fmt.Sprint(id))
				mustPriceAt(t, prices, id, p, found, mustBe)
				delete(want, id)
			}
			for id, p := range want {
				mustPriceAt(t, prices, id, p, true, true)
			}
		})
	}
}

func parsePrices(t *testing.T, text string) map[swpt.DebtorID]float64 {
	t.Helper()
	prices := make(map[swpt.DebtorID]float64)
	for _, item := range split(text, ";") {
		id, price, _ := strings.Cut(item, ":")
		prices[swpt.DebtorID(number(t, id))] = decimal(t, price)
	}
	return prices
}

func mustPriceAt(t *testing.T, prices *solver.Prices, id swpt.DebtorID, price float64, tradable, clearable bool) {
	t.Helper()
	if !tradable {
		price = math.NaN()
	}
	if got := prices.Price(id); !same(got, price) && math.Abs(got-price) > 1e-7*math.Abs(price) {
		t.Errorf("price of %d is %v, want %v", id, got, price)
	}
	if got := prices.Tradable(id); got != tradable {
		t.Errorf("%d is tradable: %v", id, got)
	}
	if got := prices.Clearable(id); got != clearable {
		t.Errorf("%d is clearable: %v", id, got)
	}
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// Sound prices are those of normal 32-bit floats.
func TestPriceBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate      float64
		clearable bool
	}{
		{1.17549434e-38, false},
		{1.17549436e-38, true},
		{0x1p-126, true},
		{0x1p-127, false},
		{1e-45, false},
		{math.SmallestNonzeroFloat64, false},
		{3.40282346e38, true},
		{math.MaxFloat32, true},
		{3.40282348e38, false},
		{math.MaxFloat64, false},
		{-1.17549436e-38, false},
		{-1, false},
		{math.Copysign(0, -1), false},
	} {
		prices := mustPrice(t, turn(60, 10, 1), []solver.Currency{
			{Confirmed: true, Locator: "L60", DebtorID: 60},
			{Confirmed: true, Locator: "L61", DebtorID: 61, Peg: &solver.Peg{Locator: "L60", DebtorID: 60, Rate: c.rate}},
		})
		mustPriceAt(t, prices, 61, c.rate, true, c.clearable)
	}
}

func TestCurrencyErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		currencies string // the base is 40
		registers  error
		prices     error
	}{
		"same locator":                       {currencies: "41 × 1; 41 × 1", registers: solver.ErrDuplicateLocator},
		"same locator, other ID":             {currencies: "41 × 1; L41/42 × 1", registers: solver.ErrDuplicateLocator},
		"same locator, unconfirmed":          {currencies: "41 × 1; 41 × 1 unconfirmed", registers: solver.ErrDuplicateLocator},
		"base twice":                         {currencies: "40; 40", registers: solver.ErrDuplicateLocator},
		"P3":                                 {currencies: "40 unconfirmed; L5/40 × 1", prices: solver.ErrBaseClaimed},
		"P4":                                 {currencies: "5 × 1; L6/5 × 3", prices: solver.ErrDuplicateDebtor},
		"P4 with the same price":             {currencies: "5 × 1; L6/5 × 1", prices: solver.ErrDuplicateDebtor},
		"P4 without value":                   {currencies: "5 × 0; L6/5 × NaN", prices: solver.ErrDuplicateDebtor},
		"P5":                                 {currencies: "L40/99", prices: solver.ErrInconsistentBase},
		"P5 unconfirmed":                     {currencies: "L40/99 unconfirmed", prices: solver.ErrInconsistentBase},
		"the base's ID is taken":             {currencies: "40; L5/40 × 1", prices: solver.ErrDuplicateDebtor},
		"the base's ID is unconfirmed":       {currencies: "40; L5/40 × 1 unconfirmed"},
		"the base's ID is unpriceable":       {currencies: "40; L5/40"},
		"both claim the base, not confirmed": {currencies: "40 unconfirmed; L5/40 × 1 unconfirmed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree, err := solver.NewPegTree(turn(40, 10, 1000))
			if err != nil {
				t.Fatal(err)
			}
			for _, currency := range parseCurrencies(t, 40, c.currencies) {
				err = errors.Join(err, tree.Register(currency))
			}
			if !errors.Is(err, c.registers) {
				t.Errorf("registering: %v, want %v", err, c.registers)
			}
			prices, err := tree.Prices()
			if !errors.Is(err, c.prices) || (prices == nil) != (c.prices != nil) {
				t.Errorf("pricing: %v, want %v", err, c.prices)
			}
			after := solver.Currency{Confirmed: true, Locator: "after", DebtorID: 1}
			if err := tree.Register(after); !errors.Is(err, solver.ErrPriced) {
				t.Errorf("registering after pricing: %v", err)
			}
		})
	}
}

// Without the base, nothing has a price, and nothing is wrong.
func TestBaseIsAbsent(t *testing.T) {
	t.Parallel()
	prices := mustPrice(t, turn(40, 10, 1000), []solver.Currency{
		{Confirmed: true, Locator: "L5", DebtorID: 40},
		{Confirmed: true, Locator: "L6", DebtorID: 40, Peg: &solver.Peg{Locator: "L40", DebtorID: 40, Rate: 1}},
		{Confirmed: true, Locator: "L7", DebtorID: 7, Peg: &solver.Peg{Locator: "L5", DebtorID: 40, Rate: 1}},
	})
	for c := range prices.Currencies() {
		if !math.IsNaN(c.Price) || c.Distance != -1 || c.Tradable || c.Clearable {
			t.Errorf("%+v", c)
		}
		mustPriceAt(t, prices, c.DebtorID, 0, false, false)
	}
}

// Locators are equal only if they are the same bytes.
func TestLocatorsAreBytes(t *testing.T) {
	t.Parallel()
	list := []solver.Currency{{Confirmed: true, Locator: "https://example.com/é", DebtorID: 40}}
	others := []string{
		"", " ", "https://example.com/e\u0301", "HTTPS://example.com/é", "https://example.com/é/", " https://example.com/é",
		"https://example.com:443/é", "https://example.com/%C3%A9", "\xff", "https://example.com/é\x00",
	}
	for i, other := range others {
		list = append(list,
			solver.Currency{Confirmed: true, Locator: other, DebtorID: swpt.DebtorID(100 + i), Peg: &solver.Peg{
				Locator: list[0].Locator, DebtorID: 40, Rate: 2,
			}},
			solver.Currency{Confirmed: true, Locator: "child" + other, DebtorID: swpt.DebtorID(200 + i), Peg: &solver.Peg{
				Locator: other, DebtorID: swpt.DebtorID(100 + i), Rate: 3,
			}},
			solver.Currency{Confirmed: true, Locator: "stray" + other, DebtorID: swpt.DebtorID(300 + i), Peg: &solver.Peg{
				Locator: other, DebtorID: 40, Rate: 5,
			}})
	}
	params := turn(40, 10, 1)
	params.BaseLocator = list[0].Locator
	prices := mustPrice(t, params, list)
	for i := range others {
		mustPriceAt(t, prices, swpt.DebtorID(100+i), 2, true, true)
		mustPriceAt(t, prices, swpt.DebtorID(200+i), 6, true, true)
		mustPriceAt(t, prices, swpt.DebtorID(300+i), 0, false, false)
	}
}

// A chain of pegs may be as long as the largest limit, and a cycle that long does no harm.
func TestLongestChain(t *testing.T) {
	t.Parallel()
	const limit = math.MaxInt16
	list := []solver.Currency{{Confirmed: true, Locator: locator(1), DebtorID: 1}}
	for id := swpt.DebtorID(2); id < limit+5; id++ {
		peg := &solver.Peg{Locator: locator(id - 1), DebtorID: id - 1, Rate: 1}
		list = append(list, solver.Currency{Confirmed: true, Locator: locator(id), DebtorID: id, Peg: peg})
		round := &solver.Peg{Locator: locator(-id - 1), DebtorID: -id - 1, Rate: 1}
		if id == limit+4 {
			round = &solver.Peg{Locator: locator(-2), DebtorID: -2, Rate: 1}
		}
		list = append(list, solver.Currency{Confirmed: true, Locator: locator(-id), DebtorID: -id, Peg: round})
	}
	slices.Reverse(list)
	prices := mustPrice(t, turn(1, limit, 1), list)
	for c := range prices.Currencies() {
		near := c.DebtorID > 0 && c.DebtorID <= limit+1
		if near != c.Tradable || near && c.Distance != int(c.DebtorID)-1 || !near && c.Distance != -1 {
			t.Fatalf("%+v", c)
		}
	}
}

// naiveCurrencies prices currencies by going up from each one to the base.
type naiveCurrencies struct {
	params    solver.Params
	byLocator map[string]solver.Currency
}

func newNaiveCurrencies(params solver.Params, list []solver.Currency) naiveCurrencies {
	n := naiveCurrencies{params, make(map[string]solver.Currency)}
	for _, c := range list {
		if c.DebtorID != 0 {
			n.byLocator[c.Locator] = c
		}
	}
	return n
}

// price returns the price and the distance of a currency that is priceable within a number of hops.
func (n naiveCurrencies) price(c solver.Currency, hops int) (price float64, distance int, found bool) {
	if c.Locator == n.params.BaseLocator && c.DebtorID == n.params.BaseDebtorID {
		return 1, 0, true
	}
	if hops == 0 || c.Peg == nil {
		return 0, 0, false
	}
	peg, found := n.byLocator[c.Peg.Locator]
	if !found || peg.DebtorID != c.Peg.DebtorID {
		return 0, 0, false
	}
	price, distance, found = n.price(peg, hops-1)
	return price * c.Peg.Rate, distance + 1, found
}

// look tells what must become of a currency.
func (n naiveCurrencies) look(c solver.Currency) solver.PricedCurrency {
	want := solver.PricedCurrency{Currency: c, Price: math.NaN(), Distance: -1}
	price, distance, found := n.price(c, n.params.MaxDistanceToBase)
	if !found {
		return want
	}
	want.Price, want.Distance, want.Tradable = price, distance, c.Confirmed
	want.Clearable = c.Confirmed && price >= 1.17549435e-38 && price <= 3.40282347e38
	return want
}

// clearable returns the prices of all clearable currencies.
func (n naiveCurrencies) clearable() map[swpt.DebtorID]float64 {
	prices := make(map[swpt.DebtorID]float64)
	for _, c := range n.byLocator {
		if found := n.look(c); found.Clearable {
			prices[c.DebtorID] = found.Price
		}
	}
	return prices
}

// err returns the errors that prices may fail with; none if they must not fail.
func (n naiveCurrencies) err() (possible []error) {
	if base, found := n.byLocator[n.params.BaseLocator]; found && base.DebtorID != n.params.BaseDebtorID {
		return []error{solver.ErrInconsistentBase}
	}
	claims := make(map[swpt.DebtorID]int)
	for _, c := range n.byLocator {
		if n.look(c).Tradable {
			claims[c.DebtorID]++
		}
		if claims[c.DebtorID] == 2 {
			possible = append(possible, solver.ErrDuplicateDebtor)
		}
	}
	base := n.byLocator[n.params.BaseLocator]
	if claims[n.params.BaseDebtorID] > 0 && !base.Confirmed {
		possible = append(possible, solver.ErrBaseClaimed)
	}
	return possible
}

// Random currencies are priced as the naive way says, whatever the order in which they are registered.
func TestPricesOfRandomCurrencies(t *testing.T) {
	t.Parallel()
	failures := 0
	rapid.Check(t, func(t *rapid.T) {
		params := turn(1, rapid.IntRange(1, 4).Draw(t, "distance"), 1)
		list := drawCurrencies(t)
		naive := newNaiveCurrencies(params, list)
		possible := naive.err()
		if len(possible) > 0 {
			failures++
		}
		for range 2 {
			prices, err := register(t, params, list)
			if !slices.ContainsFunc(possible, func(e error) bool { return errors.Is(err, e) }) && (err != nil || possible != nil) {
				t.Fatalf("error %v, want one of %v", err, possible)
			}
			if err == nil {
				mustLookNaive(t, prices, naive)
			}
			list = rapid.Permutation(list).Draw(t, "another order")
		}
	})
	if failures == 0 {
		t.Error("no set of currencies was inconsistent")
	}
}

func register(t tester, params solver.Params, list []solver.Currency) (*solver.Prices, error) {
	t.Helper()
	tree, err := solver.NewPegTree(params)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if err := tree.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	return tree.Prices()
}

// drawCurrencies draws currencies with different locators, of which many are pegged to each other.
func drawCurrencies(t *rapid.T) []solver.Currency {
	ids := rapid.SampledFrom([]swpt.DebtorID{1, 2, 3, 4, 5, 6, 7, 8, 9, 0})
	pegs := rapid.OneOf(rapid.Just[swpt.DebtorID](1), ids)
	rate := rapid.OneOf(
		rapid.SampledFrom([]float64{0.5, 1, 2, -1, 0, math.Inf(1), math.Inf(-1), math.NaN(), 1e-30, 1e30}),
		rapid.Float64(),
	)
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) solver.Currency {
		id := ids.Draw(t, "debtor")
		c := solver.Currency{Confirmed: rapid.IntRange(0, 3).Draw(t, "confirmed") > 0, Locator: locator(id), DebtorID: id}
		if rapid.IntRange(0, 3).Draw(t, "usurper") == 3 {
			c.DebtorID = ids.Draw(t, "usurped")
		}
		if rapid.IntRange(0, 5).Draw(t, "pegged") > 0 {
			peg := pegs.Draw(t, "peg")
			c.Peg = &solver.Peg{Locator: locator(peg), DebtorID: peg, Rate: rate.Draw(t, "rate")}
		}
		return c
	}), 4, 10, func(c solver.Currency) string { return c.Locator }).Draw(t, "currencies")
}

func mustLookNaive(t *rapid.T, prices *solver.Prices, naive naiveCurrencies) {
	count := 0
	for got := range prices.Currencies() {
		count++
		want := naive.look(naive.byLocator[got.Locator])
		if !same(got.Price, want.Price) {
			t.Errorf("%+v has price %v, want %v", got.Currency, got.Price, want.Price)
		}
		if got.Currency != want.Currency || got.Distance != want.Distance || got.Tradable != want.Tradable ||
			got.Clearable != want.Clearable {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if want.Tradable && (!same(prices.Price(got.DebtorID), want.Price) || !prices.Tradable(got.DebtorID) ||
			prices.Clearable(got.DebtorID) != want.Clearable) {
			t.Errorf("debtor %d is not %+v", got.DebtorID, want)
		}
	}
	if count != len(naive.byLocator) {
		t.Errorf("%d currencies, want %d", count, len(naive.byLocator))
	}
}
