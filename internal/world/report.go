package world

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// A Report tells where every token is, and whether all has been as it should be, by the journal.
type Report struct {
	Scenario, Profile string
	Seed              uint64

	Final      bool // the run has come to its quiet end
	Currencies []CurrencyReport
	Verdicts   []journal.Verdict
	Turnovers  []journal.Turnover
	Unfinished journal.Unfinished

	Heard   map[string]int // number of messages to authorities, by type
	Sent    map[string]int // number of messages to the service, or to the creditors agent, by type
	Fetches int            // number of documents, and redirections to them, that have been asked for
}

// A CurrencyReport tells where the tokens of a currency are. All four amounts add up to zero.
type CurrencyReport struct {
	Currency   *Currency
	Issued     int64 // on the root, so 0 or less
	Customers  int64
	Collectors int64
	InFlight   int64
}

// OK tells whether nothing has been wrong.
func (r *Report) OK() bool { return len(r.Failures()) == 0 }

// Failures returns the verdicts on what has been wrong.
func (r *Report) Failures() []journal.Verdict {
	return slices.DeleteFunc(slices.Clone(r.Verdicts), func(v journal.Verdict) bool { return v.OK() })
}

// Report returns what can be said now. After [World.Settle], the verdicts are final.
func (w *World) Report() Report {
	r := Report{
		Scenario: w.settings.Scenario.Name, Profile: w.settings.Profile.Name, Seed: w.settings.Seed,
		Heard: make(map[string]int), Sent: make(map[string]int),
	}
	w.look(func(s *simulation) { s.report(&r) })
	return r
}

func (s *simulation) report(r *Report) {
	r.Final = s.settled
	r.Fetches = s.issuers.fetches()
	r.Unfinished = s.checker.Unfinished()
	r.Turnovers = s.checker.Turnovers()
	r.Verdicts = s.checker.Verdicts()
	if s.settled {
		leniency := journal.Leniency{Kept: s.kept}
		if s.profile.Freedoms.FailForGood > 0 {
			leniency = journal.Leniency{Losses: true} // what has been refused for good stays with collectors
		}
		r.Verdicts = s.checker.FinalVerdicts(leniency)
	}
	for t, n := range s.traffic {
		if t.heard {
			r.Heard[t.typeName] = n
		} else {
			r.Sent[t.typeName] = n
		}
	}
	byDebtor := make(map[swpt.DebtorID]*CurrencyReport)
	for i := range s.scenario.Currencies {
		if c := &s.scenario.Currencies[i]; !c.Dummy {
			byDebtor[c.Debtor] = &CurrencyReport{Currency: c, InFlight: s.checker.InFlight(c.Debtor)}
		}
	}
	for purse := range s.checker.Purses {
		c := byDebtor[purse.Debtor]
		switch {
		case c == nil:
		case purse.Creditor == journal.Root:
			c.Issued += purse.Principal
		case journal.IsCollector(purse.Creditor):
			c.Collectors += purse.Principal
		default:
			c.Customers += purse.Principal
		}
	}
	for i := range s.scenario.Currencies {
		if c := byDebtor[s.scenario.Currencies[i].Debtor]; c != nil {
			r.Currencies = append(r.Currencies, *c)
		}
	}
}

// Progress is what the service has brought about so far.
type Progress struct {
	Collectors int            // accounts that there are of collectors
	Turns      []TurnProgress // those in which tokens have moved, in order
}

// A TurnProgress is what has happened in a turn so far, in all currencies together.
type TurnProgress struct {
	Turn                                  int32
	Currencies, Sellers, Sendings, Buyers int // how many have been traded, charged, made, paid
}

// Progress returns what the service has brought about. It costs less than a report.
func (w *World) Progress() Progress {
	var p Progress
	w.look(func(s *simulation) {
		for purse := range s.checker.Purses {
			if purse.Live && purse.Creditor != journal.Root && journal.IsCollector(purse.Creditor) {
				p.Collectors++
			}
		}
		for _, turnover := range s.checker.Turnovers() {
			p.count(&turnover)
		}
	})
	return p
}

// count counts the next turnover, in the order of turns.
func (p *Progress) count(t *journal.Turnover) {
	if n := len(p.Turns); n == 0 || p.Turns[n-1].Turn != t.Turn {
		p.Turns = append(p.Turns, TurnProgress{Turn: t.Turn})
	}
	turn := &p.Turns[len(p.Turns)-1]
	turn.Currencies++
	turn.Sellers += t.Sellers
	turn.Sendings += t.Sendings
	turn.Buyers += t.Buyers
}

// Write writes the report for people to read.
func (r *Report) Write(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // Flush tells what went wrong
	p("World: %s, %s, seed %d\n\n", r.Scenario, r.Profile, r.Seed)
	p("currency\tissued\tcustomers\tcollectors\tin flight\n")
	for i := range r.Currencies {
		c := &r.Currencies[i]
		p("%s\t%s\t%s\t%s\t%s\n", c.Currency.Name, c.Currency.Amount(-c.Issued), c.Currency.Amount(c.Customers),
			c.Currency.Amount(c.Collectors), c.Currency.Amount(c.InFlight))
	}
	p("\n")
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		sign := "holds"
		switch {
		case !v.OK():
			sign = "BROKEN"
		case v.Cases == 0:
			sign = "no case"
		}
		p("%s\t%s\t%d of %d\t%s\n", v.Check, sign, v.Cases-v.Failures, v.Cases, v.Statement)
		for _, example := range v.Examples {
			p("\t\t\t%s\n", example)
		}
	}
	return t.Flush()
}

// A Position is what a customer has of a currency, and how that came about.
type Position struct {
	Currency  *Currency
	Account   journal.Account
	AccountID string          // empty: there is none
	Before    int64           // tokens, when the world began
	Now       int64           // tokens, interest not included
	Ledger    int64           // tokens, by the books of the creditors agent
	Locked    int64           // tokens that are promised to somebody
	Policy    agent.Policy    // what the customer wants to have
	Trades    []journal.Trade // through the service, in the order of time
}

// Positions returns what a customer has of each currency, as in the scenario. It is nil if there is no such customer.
func (w *World) Positions(id swpt.CreditorID) []Position {
	for i := range w.settings.Scenario.Customers {
		if customer := &w.settings.Scenario.Customers[i]; customer.ID == id {
			positions := make([]Position, 0, len(customer.Accounts))
			w.look(func(s *simulation) {
				for _, account := range customer.Accounts {
					positions = append(positions, s.position(journal.Account{Debtor: account.Debtor, Creditor: id}))
				}
			})
			return positions
		}
	}
	return nil
}

// Position returns what a creditor, who may be a collector, has of a currency.
func (w *World) Position(account journal.Account) Position {
	var p Position
	w.look(func(s *simulation) { p = s.position(account) })
	return p
}

// HasFailed tells whether the service has wanted a payment to be committed, and the accounting authority has refused.
func (w *World) HasFailed(debtor swpt.DebtorID, note smp.Note) (failed bool) {
	w.look(func(s *simulation) { failed = s.checker.HasFailed(debtor, note) })
	return failed
}

func (s *simulation) position(account journal.Account) Position {
	p := Position{Account: account, Currency: s.currency(account.Debtor), Before: s.openings[account]}
	if h := s.debtors[account.Debtor]; h != nil {
		state := h.Account(h.account(account))
		p.AccountID, p.Now, p.Locked = state.AccountID, state.Holding.Principal, state.Locked
	}
	known := s.agent.Account(account)
	p.Ledger, p.Policy = known.Principal, known.Policy
	p.Trades = s.checker.Trades(account)
	return p
}

func (s *simulation) currency(debtor swpt.DebtorID) *Currency {
	for i := range s.scenario.Currencies {
		if s.scenario.Currencies[i].Debtor == debtor {
			return &s.scenario.Currencies[i]
		}
	}
	return nil
}

// Story tells in plain words what has happened to a customer, in a sentence or two. It is empty if there is no such
// customer.
func (w *World) Story(id swpt.CreditorID) string {
	positions := w.Positions(id)
	if positions == nil {
		return ""
	}
	customer := w.customer(id)
	var gave, got []string
	for i := range positions {
		p := &positions[i]
		given, gotten := int64(0), int64(0)
		for _, t := range p.Trades {
			if t.Amount < 0 {
				given -= t.Amount
			} else {
				gotten += t.Amount
			}
		}
		if given > 0 {
			gave = append(gave, p.Currency.Amount(given))
		}
		if gotten > 0 {
			got = append(got, p.Currency.Amount(gotten))
		}
	}
	who := customer.Name
	if customer.About != "" {
		who += ", who " + customer.About + ","
	}
	switch {
	case gave == nil && got == nil:
		return sentence(who + " has not traded")
	case got == nil:
		return sentence(who + " gave " + enumerate(gave) + " and is still to be paid")
	default:
		return sentence(who + " gave " + enumerate(gave) + " and got " + enumerate(got))
	}
}

func (w *World) customer(id swpt.CreditorID) *Customer {
	for i := range w.settings.Scenario.Customers {
		if customer := &w.settings.Scenario.Customers[i]; customer.ID == id {
			return customer
		}
	}
	return &Customer{ID: id}
}

// enumerate joins parts with commas, and "and" before the last one.
func enumerate(parts []string) string {
	switch n := len(parts); n {
	case 0:
		return "nothing"
	case 1:
		return parts[0]
	default:
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
}
