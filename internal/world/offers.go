package world

import (
	"context"
	"fmt"
	"math"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
)

// policyName is what customers call it when they want to trade.
const policyName = "conservative"

// A seller keeps so much beside what is offered for sale, because more has to be locked than is sold: at the worst
// interest rate, a twentieth melts in a month.
const (
	reserveShare = 0.08
	leastReserve = 1000
)

// FromBook returns a scenario in which customers want what the offers of a book say.
func FromBook(ctx context.Context, b *book.Book, opts book.LoadOptions) (Scenario, error) {
	rows, err := b.Rows(ctx, opts)
	if err != nil {
		return Scenario{}, err
	}
	return FromRows("book", rows)
}

// FromSynthetic returns a scenario in which customers want what the offers of a synthetic book say.
func FromSynthetic(s book.Synthetic) (Scenario, error) {
	rows, err := s.Rows()
	if err != nil {
		return Scenario{}, err
	}
	return FromRows(fmt.Sprintf("%d traders, %d currencies, seed %d", s.Traders, s.Currencies, s.Seed), rows)
}

// FromRows returns a scenario in which customers want what the offers say: a seller has what is offered, and some more,
// a buyer has nothing. Currencies that are not confirmed become dummies, and so does a base currency that nobody
// trades. Offers that cannot be are left out: without an amount, in such currencies, or to buy what one sells.
// Creditors whose IDs are not those of customers get IDs that are.
func FromRows(name string, rows *book.Rows) (Scenario, error) {
	g := generator{
		scenario: Scenario{Name: name},
		numbers:  make(map[swpt.CreditorID]int),
		traded:   make(map[swpt.DebtorID]bool),
		dummy:    make(map[swpt.DebtorID]bool),
	}
	g.addCurrencies(rows)
	for _, o := range rows.Sells {
		g.sell(o)
	}
	for _, o := range rows.Buys {
		g.buy(o)
	}
	g.number()
	g.scenario.approvePegs()
	return g.scenario, g.scenario.Validate()
}

type generator struct {
	scenario Scenario
	numbers  map[swpt.CreditorID]int // of customers, by creditor ID
	traded   map[swpt.DebtorID]bool
	dummy    map[swpt.DebtorID]bool
}

func (g *generator) addCurrencies(rows *book.Rows) {
	for _, o := range rows.Sells {
		g.traded[o.Debtor] = true
	}
	for _, o := range rows.Buys {
		g.traded[o.Debtor] = true
	}
	collectors := make(map[swpt.DebtorID]int)
	for _, c := range rows.Collectors {
		collectors[c.Debtor]++
	}
	byLocator := make(map[string]swpt.DebtorID, len(rows.Currencies))
	for _, c := range rows.Currencies {
		byLocator[c.Locator] = c.DebtorID
	}
	for i, row := range rows.Currencies {
		if _, again := g.dummy[row.DebtorID]; again || row.DebtorID == 0 {
			continue // another page that claims to be about the same currency
		}
		c := Currency{
			Debtor: row.DebtorID, Name: fmt.Sprintf("Currency %d", row.DebtorID),
			Unit: fmt.Sprintf("tokens of %d", row.DebtorID), Divisor: 1,
			Dummy:      !row.Confirmed || i == 0 && !g.traded[row.DebtorID],
			Collectors: collectors[row.DebtorID],
		}
		if peg := row.Peg; peg != nil && i > 0 && byLocator[peg.Locator] == peg.DebtorID && peg.DebtorID != 0 {
			c.Peg = &agent.Peg{Debtor: peg.DebtorID, Rate: peg.Rate}
		}
		g.dummy[c.Debtor] = c.Dummy
		g.scenario.Currencies = append(g.scenario.Currencies, c)
	}
}

// account returns a new account of a creditor, or nil if there can be none.
func (g *generator) account(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64) *Account {
	dummy, known := g.dummy[debtor]
	if amount <= 0 || !known || dummy {
		return nil
	}
	n, found := g.numbers[creditor]
	if !found {
		n = len(g.scenario.Customers)
		g.numbers[creditor] = n
		g.scenario.Customers = append(g.scenario.Customers, Customer{
			ID: creditor, Name: fmt.Sprintf("Creditor %d", creditor),
		})
	}
	customer := &g.scenario.Customers[n]
	if customer.has(debtor) {
		return nil
	}
	customer.Accounts = append(customer.Accounts, Account{Debtor: debtor})
	return &customer.Accounts[len(customer.Accounts)-1]
}

func (g *generator) sell(o solver.SellOffer) {
	if a := g.account(o.Creditor, o.Debtor, o.Amount); a != nil {
		reserve := int64(float64(o.Amount)*reserveShare) + leastReserve
		a.Balance = o.Amount + reserve
		a.Policy = agent.Policy{Name: policyName, MinPrincipal: 0, MaxPrincipal: reserve}
	}
}

func (g *generator) buy(o solver.BuyOffer) {
	if a := g.account(o.Creditor, o.Debtor, o.Amount); a != nil {
		a.Policy = agent.Policy{Name: policyName, MinPrincipal: o.Amount, MaxPrincipal: math.MaxInt64}
	}
}

// number gives all customers IDs of customers, unless they have them already.
func (g *generator) number() {
	customers := g.scenario.Customers
	const range40 = swpt.CreditorID(1) << rangeShift
	inRange, shifted := true, true
	for i := range customers {
		id := customers[i].ID
		inRange = inRange && FirstCustomer <= id && id <= LastCustomer
		shifted = shifted && FirstCustomer <= id|range40 && id|range40 <= LastCustomer && 0 < id && id < range40
	}
	for i := range customers {
		switch {
		case inRange:
		case shifted: // synthetic books: the IDs are those of customers but for the range
			customers[i].ID |= range40
		default:
			customers[i].ID = FirstCustomer + swpt.CreditorID(i)
		}
	}
}
