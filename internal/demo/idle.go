package demo

import (
	"context"
	"strconv"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world"
)

// The limits of a turn: what processes are told, and what the service assumes if it is told nothing.
const (
	maxDistanceToBase = 10
	minTradeAmount    = 1000
)

// mayBeIdle tells whether it is all right that nobody has traded: servers have been away when they were needed, or no
// wishes fit together in the first place.
func (s *show) mayBeIdle(ctx context.Context) (bool, error) {
	if s.Faults {
		return true, nil
	}
	possible, err := canTrade(ctx, &s.Scenario)
	return !possible, err
}

// canTrade tells whether there are wishes that fit together, when the world begins.
func canTrade(ctx context.Context, s *world.Scenario) (bool, error) {
	prices, err := pricesOf(s)
	if err != nil {
		return false, err
	}
	market := solver.NewMarket(prices)
	const collector = 1 // any will do
	for i := range s.Currencies {
		if c := &s.Currencies[i]; !c.Dummy {
			if err := market.AddCollector(c.Debtor, collector); err != nil {
				return false, err
			}
		}
	}
	for i := range s.Customers {
		for _, a := range s.Customers[i].Accounts {
			if err := addWish(market, s.Customers[i].ID, a, collector); err != nil {
				return false, err
			}
		}
	}
	outcome, err := market.Clear(ctx, solver.Options{})
	return err == nil && len(outcome.Takings) > 0, err
}

// pricesOf returns the prices of all currencies that have one.
func pricesOf(s *world.Scenario) (*solver.Prices, error) {
	base := s.Currencies[0].Debtor
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator: locatorOf(base), BaseDebtorID: base, MaxDistanceToBase: maxDistanceToBase, MinTradeAmount: minTradeAmount,
	})
	if err != nil {
		return nil, err
	}
	for i := range s.Currencies {
		c := &s.Currencies[i]
		currency := solver.Currency{Locator: locatorOf(c.Debtor), DebtorID: c.Debtor, Confirmed: !c.Dummy}
		if c.Peg != nil {
			currency.Peg = &solver.Peg{Locator: locatorOf(c.Peg.Debtor), DebtorID: c.Peg.Debtor, Rate: c.Peg.Rate}
		}
		if err := tree.Register(currency); err != nil {
			return nil, err
		}
	}
	return tree.Prices()
}

// locatorOf returns something that only this currency has.
func locatorOf(debtor swpt.DebtorID) string { return strconv.FormatInt(int64(debtor), 10) }

// addWish offers what somebody has too much of, or asks for what somebody has too little of.
func addWish(market *solver.Market, customer swpt.CreditorID, a world.Account, collector swpt.CreditorID) (err error) {
	switch {
	case a.Policy.Name == "":
	case a.Balance > a.Policy.MaxPrincipal:
		_, err = market.AddSell(solver.SellOffer{
			Creditor: customer, Debtor: a.Debtor, Amount: a.Balance - a.Policy.MaxPrincipal, Collector: collector,
		})
	case a.Balance < a.Policy.MinPrincipal:
		_, err = market.AddBuy(solver.BuyOffer{Creditor: customer, Debtor: a.Debtor, Amount: a.Policy.MinPrincipal - a.Balance})
	}
	return err
}
