package world

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
)

// A Scenario is what there is when a world begins.
type Scenario struct {
	Name       string
	Currencies []Currency // the first one is the base currency
	Customers  []Customer
}

// A Currency is a debtor, and what its issuer says about it.
type Currency struct {
	Debtor  swpt.DebtorID
	Name    string // of the issuer, as "Mill Street Bakery"
	Summary string // what the tokens are good for, in a sentence; may be empty

	// Unit names what Divisor tokens are, in plural, as "loaves". Amounts are shown with so many Decimals.
	Unit     string
	Divisor  int64 // at least 1
	Decimals int

	// Dummy tells that nobody issues the currency, so that there are no accounts: it is a unit to compare with.
	Dummy bool
	Peg   *agent.Peg // nil: none
	Rate  float64    // interest, percent per year, −50 to 100

	// Collectors is how many collector accounts there should be, which is up to those who run the service. 0 means 1.
	Collectors int
}

// Amount returns a number of tokens in words, as "12.5 loaves".
func (c *Currency) Amount(tokens int64) string {
	units := float64(tokens) / float64(max(1, c.Divisor))
	return strconv.FormatFloat(units, 'f', c.Decimals, 64) + " " + c.Unit
}

// A Customer is somebody with accounts.
type Customer struct {
	ID       swpt.CreditorID // one of [FirstCustomer] to [LastCustomer]
	Name     string
	About    string // who that is, and what they wish, in a sentence or two; may be empty
	Accounts []Account
}

// The creditor IDs of customers.
const (
	FirstCustomer swpt.CreditorID = 0x10100000000
	LastCustomer  swpt.CreditorID = 0x1ffffffffff
)

// An Account is what a customer has of a currency, and wants to have.
type Account struct {
	Debtor     swpt.DebtorID
	Balance    int64 // tokens, 0 or more
	Policy     agent.Policy
	Negligible float64 // payments to the account up to this many tokens are not reported singly, 0 or more
}

// ErrScenario tells that a scenario contradicts itself.
var ErrScenario = errors.New("the scenario is not possible")

// maxIssued limits how many tokens of a currency there are, so that sums of them do not overflow.
const maxIssued = 1 << 61

// Validate returns an error that wraps [ErrScenario] if there can be no such world.
func (s *Scenario) Validate() error {
	if len(s.Currencies) == 0 {
		return fmt.Errorf("%w: there is no base currency", ErrScenario)
	}
	currencies := make(map[swpt.DebtorID]*Currency, len(s.Currencies))
	for i := range s.Currencies {
		c := &s.Currencies[i]
		switch {
		case c.Debtor == 0:
			return fmt.Errorf("%w: currency %q has the ID 0", ErrScenario, c.Name)
		case currencies[c.Debtor] != nil:
			return fmt.Errorf("%w: two currencies have the ID %d", ErrScenario, c.Debtor)
		case c.Rate < -50 || c.Rate > 100 || math.IsNaN(c.Rate):
			return fmt.Errorf("%w: the interest rate of currency %d is %v, must be from -50 to 100",
				ErrScenario, c.Debtor, c.Rate)
		case i == 0 && c.Peg != nil:
			return fmt.Errorf("%w: the base currency is pegged", ErrScenario)
		}
		currencies[c.Debtor] = c
	}
	for i := range s.Currencies {
		if peg := s.Currencies[i].Peg; peg != nil && currencies[peg.Debtor] == nil {
			return fmt.Errorf("%w: currency %d is pegged to %d, which there is not",
				ErrScenario, s.Currencies[i].Debtor, peg.Debtor)
		}
	}
	return s.validateCustomers(currencies)
}

func (s *Scenario) validateCustomers(currencies map[swpt.DebtorID]*Currency) error {
	issued := make(map[swpt.DebtorID]int64)
	customers := make(map[swpt.CreditorID]bool, len(s.Customers))
	for i := range s.Customers {
		customer := &s.Customers[i]
		if customer.ID < FirstCustomer || customer.ID > LastCustomer || customers[customer.ID] {
			return fmt.Errorf("%w: %s has the ID %#x, which is out of range, or somebody else's",
				ErrScenario, customer.Name, uint64(customer.ID))
		}
		customers[customer.ID] = true
		seen := make(map[swpt.DebtorID]bool, len(customer.Accounts))
		for _, account := range customer.Accounts {
			c := currencies[account.Debtor]
			switch {
			case c == nil || c.Dummy || seen[account.Debtor]:
				return fmt.Errorf("%w: %s cannot have an account in currency %d, or has another one",
					ErrScenario, customer.Name, account.Debtor)
			case account.Balance < 0 || account.Negligible < 0 || account.Policy.MinPrincipal > account.Policy.MaxPrincipal:
				return fmt.Errorf("%w: the account of %s in currency %d has a negative balance, or is to have less than nothing",
					ErrScenario, customer.Name, account.Debtor)
			case issued[account.Debtor] > maxIssued-account.Balance:
				return fmt.Errorf("%w: there are too many tokens of currency %d", ErrScenario, account.Debtor)
			}
			seen[account.Debtor] = true
			issued[account.Debtor] += account.Balance
		}
	}
	return nil
}

// accounts returns the number of all accounts.
func (s *Scenario) accounts() int {
	n := 0
	for i := range s.Customers {
		n += len(s.Customers[i].Accounts)
	}
	return n
}

// prices returns what a token of each currency is worth in tokens of the base currency, as the pegs say; currencies
// that have no price are missing.
func (s *Scenario) prices() map[swpt.DebtorID]float64 {
	pegs := make(map[swpt.DebtorID]*agent.Peg, len(s.Currencies))
	for i := range s.Currencies {
		pegs[s.Currencies[i].Debtor] = s.Currencies[i].Peg
	}
	base := s.Currencies[0].Debtor
	prices := map[swpt.DebtorID]float64{}
	for debtor := range pegs {
		price, at, steps := 1.0, debtor, 0
		for ; at != base && pegs[at] != nil && steps <= len(pegs); steps++ {
			price *= pegs[at].Rate
			at = pegs[at].Debtor
		}
		if at == base {
			prices[debtor] = price
		}
	}
	return prices
}

// approvePegs lets each customer approve the current prices: by the peg of the currency, if the customer has an account
// in the peg's currency, too, otherwise by a direct peg to the base currency. Policies that have a peg keep it.
func (s *Scenario) approvePegs() {
	prices := s.prices()
	base := s.Currencies[0].Debtor
	pegs := make(map[swpt.DebtorID]*agent.Peg, len(s.Currencies))
	for i := range s.Currencies {
		pegs[s.Currencies[i].Debtor] = s.Currencies[i].Peg
	}
	for i := range s.Customers {
		customer := &s.Customers[i]
		for k := range customer.Accounts {
			account := &customer.Accounts[k]
			price, priced := prices[account.Debtor]
			if account.Policy.Peg != nil || !priced || account.Debtor == base {
				continue
			}
			account.Policy.Peg = &agent.Peg{Debtor: base, Rate: price}
			if peg := pegs[account.Debtor]; peg != nil && customer.has(peg.Debtor) {
				account.Policy.Peg = peg
			}
		}
	}
}

func (c *Customer) has(debtor swpt.DebtorID) bool {
	for i := range c.Accounts {
		if c.Accounts[i].Debtor == debtor {
			return true
		}
	}
	return false
}

// identity returns the name by which the documents know a currency.
func (c *Currency) identity() string { return smp.DebtorURI(c.Debtor) }

// sentence returns a text that ends with a full stop.
func sentence(text string) string { return strings.TrimRight(text, ". ") + "." }
