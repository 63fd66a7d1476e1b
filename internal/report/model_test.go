package report

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func TestModelSumsUpTheMarket(t *testing.T) {
	t.Parallel()
	m := village(t).model(t)
	got := []int{m.Registered, m.Tradable, m.Traded, m.Traders, m.Served, m.Offers, m.ServedOffers, m.Rings, m.LongestRing}
	if want := []int{17, 5, 5, 18, 12, 29, 24, 4, 5}; !reflect.DeepEqual(got, want) {
		t.Errorf("headline numbers are %v, want %v", got, want)
	}
	const cleared = 3*12_500 + 2*7_700 + 5*4_200.5 + 2*1_100
	if m.Supply.Cleared != cleared || m.Supply.Total != cleared+5_200 || m.Demand.Total != cleared+9_620 {
		t.Errorf("supply is %+v, demand %+v", m.Supply, m.Demand)
	}
	if m.Supply.NoCircle != 120 || m.Supply.NoPartner != 5_080 || m.Demand.NoCircle != 120 || m.Demand.NoPartner != 9_500 {
		t.Errorf("supply is %+v, demand %+v", m.Supply, m.Demand)
	}
	sum := number(0)
	for _, bin := range m.Page.Lengths {
		sum += bin.Value
	}
	if float64(sum) != cleared {
		t.Errorf("rings are worth %v, want %v", float64(sum), cleared)
	}
}

func TestModelGivesTheMarketOfAnIDToItsTradableClaimant(t *testing.T) {
	t.Parallel()
	columns := village(t).model(t).Page.Currencies
	for i, id := range columns.ID {
		if id != "61" {
			continue
		}
		isTradable := columns.Locator[i] == locatorOf(61)
		if got := columns.Cleared[i] > 0; got != isTradable {
			t.Errorf("%s: volume is %v", columns.Locator[i], float64(columns.Cleared[i]))
		}
	}
}

func TestModelTellsDanglingPegs(t *testing.T) {
	t.Parallel()
	columns := village(t).model(t).Page.Currencies
	got := make(map[string]danglingPeg)
	for i, peg := range columns.Dangling {
		got[columns.ID[i]] = peg
	}
	want := map[string]danglingPeg{
		"67": {locatorOf(68), "68"}, // closes the cycle
		"72": {locatorOf(999), "999"},
		"73": {locatorOf(61), "62"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("dangling pegs are %v, want %v", got, want)
	}
}

func TestModelWithoutAnything(t *testing.T) {
	t.Parallel()
	m := newModel(Data{}, ringsOf(nil))
	if m.Registered != 0 || m.Offers != 0 || m.Rings != 0 || m.BaseRegistered {
		t.Errorf("the model of nothing is %+v", m)
	}
	if m.UnmetDemand != nil || m.UnmetSupply != nil {
		t.Error("nothing limits a market that is empty")
	}
}

func TestSideOfHugeValues(t *testing.T) {
	t.Parallel()
	var s side
	s.add(3e57, 1e57, 0.9e57)
	s.add(1e57, 2e57, 1e57)
	if math.Abs(s.NoPartner/2e57-1) > 1e-12 || math.Abs(s.NoCircle/0.1e57-1) > 1e-12 || math.Abs(s.Share()-0.475) > 1e-12 {
		t.Errorf("the side is %+v, its share %v", s, s.Share())
	}
}

func TestLimitsSayWhatWasMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offered, wanted, cleared float64
		demand, supply           string // how sentences begin, "" if there is none
	}{
		"all cleared":              {100, 100, 100, "", ""},
		"a remainder of rounding":  {1e6, 1e6, 1e6 - 1, "", ""},
		"only wanted":              {0, 100, 0, "Nobody sells X, though 100 of it is wanted.", ""},
		"only offered":             {100, 0, 0, "", "Nobody wants X, though 100 of it is for sale."},
		"scarce":                   {40, 100, 40, "Nobody sells enough of X: 100 is wanted, only 40 was for sale", ""},
		"abundant":                 {100, 40, 40, "", "Too few want X: 100 is for sale, only 40 was wanted"},
		"scarce, and not all sold": {40, 100, 20, "Too little of X is for sale, 40 against 100", "Enough people want X,"},
		"abundant, wishes left":    {100, 40, 20, "Enough of X is for sale,", "Too few want X, 40 against 100 for sale"},
		"balanced, but no ring":    {100, 100, 0, "Enough of X is for sale,", "Enough people want X,"},
	} {
		currencies := []solver.CurrencyOutcome{{Debtor: 61, Offered: c.offered, Wanted: c.wanted, Cleared: c.cleared}}
		nameX := func(swpt.DebtorID) string { return "X" }
		var supply, demand side
		supply.add(c.offered, c.wanted, c.cleared)
		demand.add(c.wanted, c.offered, c.cleared)
		if got := sentenceOf(unmetDemand(currencies, demand, nameX)); !begins(got, c.demand) {
			t.Errorf("%s: demand: %q, want %q", name, got, c.demand)
		}
		if got := sentenceOf(unmetSupply(currencies, supply, nameX)); !begins(got, c.supply) {
			t.Errorf("%s: supply: %q, want %q", name, got, c.supply)
		}
	}
}

func sentenceOf(limits []limit) string {
	if len(limits) == 0 {
		return ""
	}
	return limits[0].Before + limits[0].Currency + limits[0].After
}

func begins(sentence, start string) bool {
	return strings.HasPrefix(sentence, start) && (sentence == "") == (start == "")
}

func TestLimitsAreTheLargest(t *testing.T) {
	t.Parallel()
	var currencies []solver.CurrencyOutcome
	var demand side
	for i := range 30 {
		c := solver.CurrencyOutcome{Debtor: swpt.DebtorID(i + 1), Wanted: float64(100 + i*7%30), Cleared: 100, Offered: 100}
		demand.add(c.Wanted, c.Offered, c.Cleared)
		currencies = append(currencies, c)
	}
	limits := unmetDemand(currencies, demand, func(swpt.DebtorID) string { return "" })
	if len(limits) != topLimits {
		t.Fatalf("%d limits, want %d", len(limits), topLimits)
	}
	for i, l := range limits {
		want := float64(29 - i)
		if l.Unmet != want || l.OfTotal != want/(100+want) || math.Abs(l.OfAll-want/435) > 1e-12 {
			t.Errorf("limit %d is %+v, want %v unmet", i, l, want)
		}
	}
}

func TestSatisfactionClasses(t *testing.T) {
	t.Parallel()
	s := newSatisfaction([]solver.CurrencyOutcome{
		{Offered: 100, Wanted: 50, Cleared: 50},       // half of the supply, all of the demand
		{Offered: 100, Wanted: 0},                     // none of the supply, no demand to speak of
		{Offered: 1000, Wanted: 1e6, Cleared: 999.5},  // all but a remainder, and hardly anything
		{Offered: 200, Wanted: 2000, Cleared: 199},    // over 90 %, under 10 %
		{Offered: 1e57, Wanted: 1e57, Cleared: 1e56},  // a tenth is not under a tenth
		{Offered: 10, Wanted: 10, Cleared: 10.000001}, // more than all, by float noise
		{},
	})
	if want := [satisfactionBins]int{0: 1, 2: 1, 6: 1, 10: 1, 11: 2}; s.Supply != want {
		t.Errorf("supply is %v, want %v", s.Supply, want)
	}
	if want := [satisfactionBins]int{1: 2, 2: 1, 11: 2}; s.Demand != want {
		t.Errorf("demand is %v, want %v", s.Demand, want)
	}
	if s.SupplyValue[11] != 1010 || s.DemandValue[1] != 1_002_000 {
		t.Errorf("values are %v and %v", s.SupplyValue, s.DemandValue)
	}
}
