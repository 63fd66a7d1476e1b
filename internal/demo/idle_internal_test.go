package demo

import (
	"testing"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world"
)

func TestCanTrade(t *testing.T) {
	t.Parallel()
	const one, other swpt.DebtorID = 8001, 9001
	unpriced, apart := issued(one), issued(one)
	unpriced.Peg = nil
	apart.Dummy = true
	synthetic, err := world.FromSynthetic(book.Synthetic{Currencies: 10, Traders: 200, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	market := func(first world.Currency, customers ...world.Customer) world.Scenario {
		s := scenarioOf("two currencies", first, issued(other))
		s.Customers = customers
		return s
	}
	giver, taker := trader(1, sells(one, 5000), buys(other, 5000)), trader(2, sells(other, 5000), buys(one, 5000))
	undecided := trader(2, sells(other, 5000), buys(one, 5000))
	undecided.Accounts[0].Policy.Name = ""
	for name, c := range map[string]struct {
		scenario world.Scenario
		want     bool
	}{
		"the town":           {world.Town(), true},
		"made up":            {synthetic, true},
		"two fit together":   {market(issued(one), giver, taker), true},
		"nobody is there":    {market(issued(one)), false},
		"one is alone":       {market(issued(one), giver), false},
		"too little":         {market(issued(one), giver, trader(2, sells(other, 999), buys(one, 999))), false},
		"somebody is not in": {market(issued(one), giver, undecided), false},
		"without a price":    {market(unpriced, giver, taker), false},
		"nobody issues it":   {market(apart, giver, taker), false},
	} {
		if got, err := canTrade(t.Context(), &c.scenario); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// What keeps people from trading in a run with faults may be the faults.
func TestFaultsExcuseIdleness(t *testing.T) {
	t.Parallel()
	for _, faults := range []bool{false, true} {
		s := &show{Settings: Settings{Scenario: world.Town(), Faults: faults}}
		if got, err := s.mayBeIdle(t.Context()); got != faults || err != nil {
			t.Errorf("with faults: %v; idle: %v, %v", faults, got, err)
		}
	}
}
