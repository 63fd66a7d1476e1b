package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

const (
	// topLimits is how many currencies are listed on each side of the market as its bottlenecks.
	topLimits = 8

	// negligible is the share of an amount that counts as nothing, as rounding to whole tokens leaves such remainders.
	negligible = 1e-3
)

// A side splits all that was offered, or all that was wanted, by what has become of it. Values add up to Total.
type side struct {
	Total   float64
	Cleared float64

	// NoPartner is what exceeds the other side of the same currency: more is wanted than offered, or the reverse.
	NoPartner float64

	// NoCircle has a counterpart in the same currency, but no way back from one to the other: somewhere on the way
	// traders give too little in return, or what nobody wants, or less than the minimal trade amount.
	NoCircle float64
}

func (s *side) add(total, opposite, cleared float64) {
	s.Total += total
	s.Cleared += cleared
	s.NoPartner += max(0, total-opposite)
	s.NoCircle += max(0, min(total, opposite)-cleared)
}

// Share is the cleared part of the total, NaN if there is nothing.
func (s side) Share() float64 { return s.Cleared / s.Total }

// Unmet is what was not cleared.
func (s side) Unmet() float64 { return max(0, s.Total-s.Cleared) }

// Matchable is what was offered and wanted in the same currencies, hence the most that could have been cleared.
func (s side) Matchable() float64 { return s.Cleared + s.NoCircle }

// A limit is a currency in which much was wanted, or offered, in vain.
type limit struct {
	Currency string // as the page calls it
	Debtor   string // ID
	Unmet    float64
	OfTotal  float64 // share of what was wanted, or offered, in this currency
	OfAll    float64 // share of all that was in vain on this side of the market

	// Before, the currency, and After make a sentence that says what was missing.
	Before, After string
}

// unmetDemand lists the currencies with the most demand left, unmetSupply those with the most supply. Function name
// tells what the page calls a currency.
func unmetDemand(currencies []solver.CurrencyOutcome, all side, name func(swpt.DebtorID) string) []limit {
	wanted := func(c solver.CurrencyOutcome) float64 { return c.Wanted }
	return largestLimits(currencies, all, wanted, demandSentence, name)
}

func unmetSupply(currencies []solver.CurrencyOutcome, all side, name func(swpt.DebtorID) string) []limit {
	offered := func(c solver.CurrencyOutcome) float64 { return c.Offered }
	return largestLimits(currencies, all, offered, supplySentence, name)
}

func largestLimits(
	currencies []solver.CurrencyOutcome, all side, total func(solver.CurrencyOutcome) float64,
	sentence func(solver.CurrencyOutcome) (before, after string), name func(swpt.DebtorID) string,
) []limit {
	left := func(c solver.CurrencyOutcome) float64 { return total(c) - c.Cleared }
	var unmet []solver.CurrencyOutcome
	for _, c := range currencies {
		if !exhausted(c.Cleared, total(c)) {
			unmet = append(unmet, c)
		}
	}
	slices.SortStableFunc(unmet, func(a, b solver.CurrencyOutcome) int { return cmp.Compare(left(b), left(a)) })
	var limits []limit
	for _, c := range unmet[:min(topLimits, len(unmet))] {
		before, after := sentence(c)
		limits = append(limits, limit{
			Currency: name(c.Debtor),
			Debtor:   formatID(c.Debtor),
			Unmet:    left(c),
			OfTotal:  left(c) / total(c),
			OfAll:    min(1, left(c)/all.Unmet()),
			Before:   before,
			After:    after,
		})
	}
	return limits
}

func demandSentence(c solver.CurrencyOutcome) (before, after string) {
	wanted, offered := formatValue(c.Wanted), formatValue(c.Offered)
	switch {
	case c.Offered <= 0:
		return "Nobody sells ", fmt.Sprintf(", though %s of it is wanted.", wanted)
	case c.Offered < c.Wanted && exhausted(c.Cleared, c.Offered):
		return "Nobody sells enough of ",
			fmt.Sprintf(": %s is wanted, only %s was for sale, and all of that was sold.", wanted, offered)
	case c.Offered < c.Wanted:
		return "Too little of ", fmt.Sprintf(" is for sale, %s against %s wanted, and some of that was left over: "+
			"its buyers give too little in return, or what is not wanted.", offered, wanted)
	}
	return "Enough of ", " is for sale, but its buyers give too little in return, or what is not wanted."
}

func supplySentence(c solver.CurrencyOutcome) (before, after string) {
	wanted, offered := formatValue(c.Wanted), formatValue(c.Offered)
	switch {
	case c.Wanted <= 0:
		return "Nobody wants ", fmt.Sprintf(", though %s of it is for sale.", offered)
	case c.Wanted < c.Offered && exhausted(c.Cleared, c.Wanted):
		return "Too few want ",
			fmt.Sprintf(": %s is for sale, only %s was wanted, and all of that was bought.", offered, wanted)
	case c.Wanted < c.Offered:
		return "Too few want ", fmt.Sprintf(", %s against %s for sale, and some of them in vain: "+
			"its sellers ask for too little in return, or for what is too scarce.", wanted, offered)
	}
	return "Enough people want ", ", but its sellers ask for too little in return, or for what is too scarce."
}

// exhausted tells whether all of an amount was cleared, but for a remainder.
func exhausted(cleared, amount float64) bool { return cleared >= amount*(1-negligible) }
