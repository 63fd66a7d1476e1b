package solver_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// The account data of a bid is, in these tests, what the bid looks like, so that it is seen to stay with it.
type bid = solver.Bid[string]

// bidPrices are those of solver.md section 7.2.
func bidPrices(t tester) *solver.Prices {
	t.Helper()
	peg := func(id swpt.DebtorID, rate float64) *solver.Peg {
		return &solver.Peg{Locator: locator(id), DebtorID: id, Rate: rate}
	}
	return mustPrice(t, turn(40, 2, 1000), []solver.Currency{
		{Confirmed: true, Locator: "L40", DebtorID: 40},
		{Confirmed: true, Locator: "L41", DebtorID: 41, Peg: peg(40, 2)},
		{Confirmed: true, Locator: "L42", DebtorID: 42, Peg: peg(41, 3)},
		{Confirmed: true, Locator: "L43", DebtorID: 43, Peg: peg(42, 4)},
		{Confirmed: false, Locator: "L44", DebtorID: 44, Peg: peg(40, 0.5)},
	})
}

// parseBids reads "40 +5000; 41 -1000 → 40 × 2". The peg 0 stands for none.
func parseBids(t *testing.T, creditor swpt.CreditorID, text string) []bid {
	t.Helper()
	var bids []bid
	for _, item := range split(text, ";") {
		b := bid{Creditor: creditor, Account: item}
		item, rate, pegged := strings.Cut(item, " × ")
		if pegged {
			b.PegRate = decimal(t, rate)
		}
		item, peg, _ := strings.Cut(item, " → ")
		if pegged {
			b.PegDebtor = swpt.DebtorID(number(t, peg))
		}
		w := words(t, item, "# #")
		b.Debtor, b.Amount = swpt.DebtorID(w[0]), w[1]
		bids = append(bids, b)
	}
	return bids
}

// mustBecome analyses a batch. What is wanted is a part of the bids, as text.
func mustBecome(t *testing.T, a *solver.Analyzer[string], bids []bid, want string) {
	t.Helper()
	expected := make(map[string]bool)
	for _, item := range split(want, ";") {
		expected[item] = true
	}
	all := make(map[string]bid)
	for _, b := range bids {
		all[b.Account] = b
	}
	candidates, err := a.Candidates(slices.Clone(bids))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range candidates {
		if !expected[c.Account] {
			t.Errorf("%q is a candidate", c.Account)
		}
		original := all[c.Account]
		original.Amount = max(original.Amount, -math.MaxInt64)
		if c.Creditor != original.Creditor || c.Debtor != original.Debtor || c.Amount != original.Amount {
			t.Errorf("candidate %+v comes from %+v", c, all[c.Account])
		}
		delete(expected, c.Account)
	}
	for item := range expected {
		t.Errorf("%q is not a candidate", item)
	}
}

func mustNeed(t *testing.T, a *solver.Analyzer[string], want ...swpt.DebtorID) {
	t.Helper()
	if got := a.ToConfirm(); !slices.Equal(got, want) {
		t.Errorf("to be confirmed: %v, want %v", got, want)
	}
}

// The rows of the table in section 7.2, and more like them. Each trader has a batch of their own.
func TestCandidates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bids       string
		candidates string
		confirm    []swpt.DebtorID
	}{
		"1": {
			bids:       "40 +5000; 41 -1000 → 40 × 2; 42 +999 → 41 × 3",
			candidates: "40 +5000; 41 -1000 → 40 × 2",
		},
		"2": {
			bids:       "42 -7000 → 40 × 6; 41 +3000 → 42 × 0.3333333333333333",
			candidates: "42 -7000 → 40 × 6; 41 +3000 → 42 × 0.3333333333333333",
		},
		"3": {bids: "41 -9000 → 40 × 2; 42 -9000 → 41 × 3"},
		"4": {bids: "40 -5000; 41 +5000 → 40 × 2.1; 42 +5000 → 41 × 3"},
		"5": {
			bids:       "40 +2000; 41 0 → 40 × 2; 42 -2000 → 41 × 3",
			candidates: "40 +2000; 42 -2000 → 41 × 3",
		},
		"6": {bids: "40 +2000; 42 -2000 → 41 × 3"},
		"7": {
			bids: `40 +8000; 41 0 → 40 × 2; 42 0 → 41 × 3; 43 -1000 → 42 × 4; 44 -1500 → 40 × 123; 45 -1000 → 40 × 1;
				46 -999 → 40 × 1; 47 +5000 → 40 × 1; 48 -5000`,
			confirm: []swpt.DebtorID{43, 44, 45},
		},

		"only buys": {bids: "40 +2000; 41 +2000 → 40 × 2"},
		"a sell that is too small does not help": {
			bids: "40 +2000; 41 -999 → 40 × 2; 42 -9000 → 41 × 2",
		},
		"a sell that is not tradable does not help": {
			bids: "40 +2000; 44 -9000 → 40 × 0.5", confirm: []swpt.DebtorID{44},
		},
		"exactly the minimum": {
			bids: "40 +1000; 41 -1000 → 40 × 2", candidates: "40 +1000; 41 -1000 → 40 × 2",
		},
		"smallest amount": {
			bids:       "40 +9223372036854775807; 41 -9223372036854775808 → 40 × 2",
			candidates: "40 +9223372036854775807; 41 -9223372036854775808 → 40 × 2",
		},
		"smallest amount, not tradable": {
			bids: "44 -9223372036854775808 → 40 × 2", confirm: []swpt.DebtorID{44},
		},
		"debtor 0 is dropped": {
			bids:       "0 -5000 → 40 × 1; 40 +5000; 41 -5000 → 40 × 2",
			candidates: "40 +5000; 41 -5000 → 40 × 2",
		},
		"debtor 0 is not a sell":      {bids: "0 -5000 → 40 × 1; 40 +5000"},
		"debtor 0 is not a link":      {bids: "40 +5000; 0 0 → 40 × 2; 41 -5000 → 0 × 1"},
		"peg 0 is none":               {bids: "40 +5000; 41 -5000 → 0 × 2"},
		"the base's peg is ignored":   {bids: "40 +5000 → 41 × 7; 41 -5000 → 40 × 2", candidates: "40 +5000 → 41 × 7; 41 -5000 → 40 × 2"},
		"the base pegged to itself":   {bids: "40 +5000 → 40 × 0; 41 -5000 → 40 × 2", candidates: "40 +5000 → 40 × 0; 41 -5000 → 40 × 2"},
		"the base pegged to nothing":  {bids: "40 +5000 → 99 × 5; 41 -5000 → 40 × 2", candidates: "40 +5000 → 99 × 5; 41 -5000 → 40 × 2"},
		"cycle":                       {bids: "40 +5000; 41 -5000 → 42 × 0.3333333333333333; 42 -5000 → 41 × 3"},
		"pegged to itself":            {bids: "40 +5000; 41 -5000 → 41 × 1"},
		"hangs on a cycle":            {bids: "40 +5000; 45 0 → 46 × 1; 46 0 → 45 × 1; 41 -5000 → 45 × 2; 47 -5000 → 46 × 1"},
		"link without price":          {bids: "40 +5000; 45 0; 41 -5000 → 45 × 2; 47 -5000 → 45 × 2"},
		"no distance limit":           {bids: "40 +5000; 51 0 → 40 × 2; 52 0 → 51 × 2; 53 0 → 52 × 2; 54 0 → 53 × 2; 41 -5000 → 54 × 0.125", candidates: "40 +5000; 41 -5000 → 54 × 0.125"},
		"links through zero":          {bids: "40 +5000; 51 0 → 40 × 0; 41 -5000 → 51 × 2; 52 -5000 → 51 × 1", confirm: []swpt.DebtorID{52}},
		"links through NaN":           {bids: "40 +5000; 51 0 → 40 × NaN; 41 -5000 → 51 × 2; 52 -5000 → 51 × 1", confirm: []swpt.DebtorID{52}},
		"links through infinity":      {bids: "40 +5000; 51 0 → 40 × ∞; 41 -5000 → 51 × 2; 52 -5000 → 51 × 1", confirm: []swpt.DebtorID{52}},
		"two wrongs make a right":     {bids: "40 +5000; 51 0 → 40 × -4; 41 -5000 → 51 × -0.5", candidates: "40 +5000; 41 -5000 → 51 × -0.5"},
		"own links, not the market's": {bids: "40 +5000; 42 -5000 → 41 × 3; 43 -5000 → 42 × 4"},
		"to confirm without a buy":    {bids: "45 -1000 → 40 × 1", confirm: []swpt.DebtorID{45}},
		"not confirmed if it is bought, or a link": {
			bids: "40 -5000; 45 +5000 → 40 × 1; 46 0 → 40 × 1",
		},
		"tradable though worth nothing here": {bids: "41 -5000 → 40 × 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := solver.NewAnalyzer[string](bidPrices(t))
			mustBecome(t, a, parseBids(t, 1, c.bids), c.candidates)
			mustNeed(t, a, c.confirm...)
		})
	}
}

// A trader's bids do not matter for others.
func TestCandidatesOfManyTraders(t *testing.T) {
	t.Parallel()
	a := solver.NewAnalyzer[string](bidPrices(t))
	bids := slices.Concat(
		parseBids(t, 5, "40 +2000; 41 0 → 40 × 2"),
		parseBids(t, 6, "41 +9000 → 40 × 2; 42 -9000 → 41 × 3"),
		parseBids(t, -7, "42 -8000 → 41 × 3"),
		parseBids(t, 0, "40 +7000"),
		parseBids(t, math.MinInt64, "40 +1234; 42 -1234 → 40 × 6"),
	)
	mustBecome(t, a, bids, "41 +9000 → 40 × 2; 42 -9000 → 41 × 3; 40 +1234; 42 -1234 → 40 × 6")
	slices.Reverse(bids)
	mustBecome(t, a, bids, "41 +9000 → 40 × 2; 42 -9000 → 41 × 3; 40 +1234; 42 -1234 → 40 × 6")
}

func TestBatches(t *testing.T) {
	t.Parallel()
	a := solver.NewAnalyzer[string](bidPrices(t))
	mustNeed(t, a)
	mustBecome(t, a, parseBids(t, 7, "40 +8000; 44 -1500 → 40 × 123; 45 -1000 → 40 × 1; 49 -1000 → 40 × 1"), "")
	mustBecome(t, a, nil, "")
	mustNeed(t, a, 44, 45, 49)
	a.Forget(45)
	a.Forget(45)
	a.Forget(1)
	mustNeed(t, a, 44, 49)
	mustBecome(t, a, parseBids(t, 8, "40 +1000; 41 -1000 → 40 × 2; 45 -1000"), "40 +1000; 41 -1000 → 40 × 2")
	mustNeed(t, a, 44, 49)
	mustBecome(t, a, parseBids(t, 7, "41 -1000 → 40 × 2; 45 -1000 → 40 × 1; 44 -1000 → 40 × 1"), "")
	mustNeed(t, a, 44, 45, 49)
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	for rate, passes := range map[string]bool{
		"2": true, "2.000018": true, "1.999982": true, "2.000022": false, "1.999978": false, "-2": false, "0": false,
		"∞": false, "-∞": false, "NaN": false, "1": false, "4": false,
	} {
		item := "41 -5000 → 40 × " + rate
		want := ""
		if passes {
			want = "40 +5000; " + item
		}
		mustBecome(t, solver.NewAnalyzer[string](bidPrices(t)), parseBids(t, 1, "40 +5000; "+item), want)
	}
}

// The tolerance is relative, hence the same for tiny and for gigantic prices.
func TestToleranceAtAllMagnitudes(t *testing.T) {
	t.Parallel()
	for exponent := -37; exponent <= 38; exponent++ {
		price := math.Pow10(exponent)
		prices := mustPrice(t, turn(40, 2, 1), []solver.Currency{
			{Confirmed: true, Locator: "L40", DebtorID: 40},
			{Confirmed: true, Locator: "L41", DebtorID: 41, Peg: &solver.Peg{Locator: "L40", DebtorID: 40, Rate: price}},
		})
		for difference, passes := range map[float64]bool{
			0: true, 0.95e-5: true, -0.95e-5: true, 1.05e-5: false, -1.05e-5: false, 1: false, -1: false,
		} {
			candidates, err := solver.NewAnalyzer[string](prices).Candidates([]bid{
				{Creditor: 1, Debtor: 40, Amount: 1},
				{Creditor: 1, Debtor: 41, Amount: -1, PegDebtor: 40, PegRate: price * (1 + difference)},
			})
			if err != nil || (len(candidates) == 2) != passes || !passes && len(candidates) > 0 {
				t.Errorf("price %g, difference %g: %v, %v", price, difference, candidates, err)
			}
		}
	}
}

// Currencies that are tradable, but not clearable, are neither offered nor asked to be confirmed.
func TestCandidatesAreClearable(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{-2, 0, math.NaN(), math.Inf(1), math.Inf(-1), 1e-39, 1e39} {
		prices := mustPrice(t, turn(40, 2, 1), []solver.Currency{
			{Confirmed: true, Locator: "L40", DebtorID: 40},
			{Confirmed: true, Locator: "L41", DebtorID: 41, Peg: &solver.Peg{Locator: "L40", DebtorID: 40, Rate: rate}},
		})
		a := solver.NewAnalyzer[string](prices)
		candidates, err := a.Candidates([]bid{
			{Creditor: 1, Debtor: 40, Amount: 5},
			{Creditor: 1, Debtor: 41, Amount: -5, PegDebtor: 40, PegRate: rate},
		})
		if err != nil || len(candidates) > 0 || len(a.ToConfirm()) > 0 {
			t.Errorf("rate %v: %v, %v, to be confirmed %v", rate, candidates, err, a.ToConfirm())
		}
	}
}

// Whoever has the base currency's ID in their bids knows its price, even if the base itself is not confirmed, or absent.
func TestBaseToBeConfirmed(t *testing.T) {
	t.Parallel()
	for name, list := range map[string][]solver.Currency{
		"unconfirmed": {{Locator: "L40", DebtorID: 40}},
		"absent":      nil,
	} {
		a := solver.NewAnalyzer[string](mustPrice(t, turn(40, 2, 1000), list))
		mustBecome(t, a, parseBids(t, 1, "40 -5000; 41 -5000 → 40 × 2; 42 -5000"), "")
		if got := a.ToConfirm(); !slices.Equal(got, []swpt.DebtorID{40, 41}) {
			t.Errorf("base %s: %v are to be confirmed", name, got)
		}
	}
}

func TestDuplicateBid(t *testing.T) {
	t.Parallel()
	for bids, fails := range map[string]bool{
		"41 -1000 → 40 × 2; 40 +5000; 41 -1000 → 40 × 2": true,
		"41 -1000 → 40 × 2; 41 +5000 → 40 × 2":           true,
		"41 0; 41 0":                            true,
		"40 +5000; 40 0":                        true,
		"41 -1000 → 40 × 2; 40 +5000":           false,
		"0 -1000 → 40 × 2; 0 +1000; 40 0; 41 0": false, // those for debtor 0 are as good as not there
	} {
		a := solver.NewAnalyzer[string](bidPrices(t))
		others := parseBids(t, 2, "40 +1000; 41 -1000 → 40 × 2")
		_, err := a.Candidates(slices.Concat(parseBids(t, 1, bids), others))
		if fails != errors.Is(err, solver.ErrDuplicateBid) || !fails && err != nil {
			t.Errorf("%s: %v", bids, err)
		}
	}
}

// naiveBids analyses the bids of one trader by going up from each bid to the base.
type naiveBids struct {
	base     swpt.DebtorID
	byDebtor map[swpt.DebtorID]bid
}

func (n naiveBids) price(debtor swpt.DebtorID, visited []swpt.DebtorID) (float64, bool) {
	if debtor == n.base {
		return 1, true
	}
	b, found := n.byDebtor[debtor]
	if !found || debtor == 0 || slices.Contains(visited, debtor) {
		return 0, false
	}
	price, found := n.price(b.PegDebtor, append(visited, debtor))
	return price * b.PegRate, found
}

// analyse returns the bids that become candidates, and the debtors to be confirmed. It gives up if a bid is so near to
// the tolerance that it may go either way.
func (n naiveBids) analyse(t *rapid.T, prices *solver.Prices) (candidates []bid, confirm []swpt.DebtorID) {
	minimum := prices.Params().MinTradeAmount
	sells, buys := 0, 0
	for _, b := range n.byDebtor {
		price, found := n.price(b.Debtor, nil)
		if !found {
			continue
		}
		if b.Amount <= -minimum && !prices.Tradable(b.Debtor) {
			confirm = append(confirm, b.Debtor)
		}
		difference := math.Abs(1 - price/prices.Price(b.Debtor))
		if difference > 0.95e-5 && difference < 1.05e-5 {
			t.Skip("near the tolerance")
		}
		if !prices.Clearable(b.Debtor) || !(difference < 1e-5) {
			continue
		}
		switch {
		case b.Amount <= -minimum:
			sells++
		case b.Amount >= minimum:
			buys++
		default:
			continue
		}
		b.Amount = max(b.Amount, -math.MaxInt64)
		candidates = append(candidates, b)
	}
	if sells == 0 || buys == 0 {
		candidates = nil
	}
	return candidates, confirm
}

// Random bids of several traders become what the naive way says.
func TestRandomBids(t *testing.T) {
	t.Parallel()
	offered, needed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		prices := bidPrices(t)
		traders, bids := drawBids(t)
		var want []bid
		confirm := make(map[swpt.DebtorID]bool)
		for _, naive := range traders {
			candidates, debtors := naive.analyse(t, prices)
			want = append(want, candidates...)
			for _, id := range debtors {
				confirm[id] = true
			}
		}
		a := solver.NewAnalyzer[string](prices)
		got, err := a.Candidates(bids)
		if err != nil {
			t.Fatal(err)
		}
		if describeBids(got) != describeBids(want) {
			t.Fatalf("candidates are\n%s\nwant\n%s", describeBids(got), describeBids(want))
		}
		if need := slices.Sorted(maps.Keys(confirm)); !slices.Equal(a.ToConfirm(), need) {
			t.Fatalf("to be confirmed: %v, want %v", a.ToConfirm(), need)
		}
		offered += len(got)
		needed += len(confirm)
	})
	if offered == 0 || needed == 0 {
		t.Errorf("%d candidates, %d to be confirmed", offered, needed)
	}
}

// drawBids draws the bids of some traders, most of whom know the market's prices.
func drawBids(t *rapid.T) (traders []naiveBids, bids []bid) {
	price := map[swpt.DebtorID]float64{40: 1, 41: 2, 42: 6, 43: 24, 44: 0.5, 45: 1, 46: 1, 0: 1}
	debtor := rapid.SampledFrom([]swpt.DebtorID{40, 41, 42, 43, 44, 45, 46, 0})
	peg := rapid.OneOf(rapid.Just[swpt.DebtorID](40), debtor)
	amount := rapid.OneOf(
		rapid.SampledFrom([]int64{-5000, 5000, -1000, 1000, 0, -999, 999, math.MaxInt64, math.MinInt64}),
		rapid.Int64Range(-3000, 3000), rapid.Int64(),
	)
	wrong := rapid.OneOf(
		rapid.SampledFrom([]float64{0, -1, 1 + 0.9e-5, 1 - 0.9e-5, 1 + 1.1e-5, math.Inf(1), math.NaN()}), rapid.Float64(),
	)
	for creditor := range rapid.IntRange(1, 4).Draw(t, "traders") {
		naive := naiveBids{base: 40, byDebtor: make(map[swpt.DebtorID]bid)}
		for _, id := range rapid.SliceOfNDistinct(debtor, 2, 8, rapid.ID).Draw(t, "debtors") {
			b := bid{Creditor: swpt.CreditorID(creditor - 1), Debtor: id, Amount: amount.Draw(t, "amount")}
			b.PegDebtor = peg.Draw(t, "peg")
			b.PegRate = price[id] / price[b.PegDebtor]
			if rapid.IntRange(0, 7).Draw(t, "right") == 0 {
				b.PegRate *= wrong.Draw(t, "wrong")
			}
			b.Account = fmt.Sprint(creditor, id, b.Amount, b.PegDebtor, b.PegRate)
			naive.byDebtor[id] = b
			bids = append(bids, b)
		}
		traders = append(traders, naive)
	}
	return traders, rapid.Permutation(bids).Draw(t, "order")
}

func describeBids(bids []bid) string {
	lines := make([]string, len(bids))
	for i, b := range bids {
		lines[i] = fmt.Sprintf("%+v", b)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
