package report

import (
	"math"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// A state says whether a currency can be traded and, if not, why.
type state int

const (
	clearable state = iota
	unconfirmed
	priceZero
	priceNegative
	priceUndefined
	priceTooSmall
	priceTooLarge
	tooFar
	unpegged
	pegUnknown
	pegMismatch
	pegCycle
	belowCycle
	detached
	states // the number of states
)

// A stateText explains a state. Kind groups the states by what is wrong, which is what the page's colours tell.
type stateText struct {
	Kind  string `json:"kind"`
	Label string `json:"label"`
	Why   string `json:"why"`
}

var stateTexts = [states]stateText{
	clearable: {
		"good", "tradable",
		"Confirmed, and its pegs lead to the base currency at a sound price: it can be traded.",
	},
	unconfirmed: {
		"unconfirmed", "not confirmed",
		"Its pegs lead to the base currency, but it is not confirmed: its issuer has not been seen to use this locator, " +
			"or no account to trade it through is ready.",
	},
	priceZero: {
		"price", "worthless",
		"Its price is zero, because of an exchange rate of zero between it and the base currency.",
	},
	priceNegative: {
		"price", "negative price",
		"Its price is negative, because of a negative exchange rate between it and the base currency.",
	},
	priceUndefined: {
		"price", "price not a number",
		"Its price is infinite or not a number, because of such an exchange rate between it and the base currency.",
	},
	priceTooSmall: {
		"price", "price too small",
		"Its price is too close to zero to be exact in every implementation of the service.",
	},
	priceTooLarge: {
		"price", "price too large",
		"Its price is too large for every implementation of the service.",
	},
	tooFar: {
		"cut", "too far",
		"Its pegs lead to the base currency, but the chain is longer than the limit.",
	},
	unpegged: {
		"cut", "not pegged",
		"It is not pegged to any currency, so nothing tells its price.",
	},
	pegUnknown: {
		"cut", "unknown peg",
		"It is pegged to a currency that is not registered.",
	},
	pegMismatch: {
		"cut", "mismatched peg",
		"It is pegged to a locator that is registered with another debtor ID than the peg says.",
	},
	pegCycle: {
		"cut", "peg cycle",
		"Its pegs lead back to itself, so nothing tells its price.",
	},
	belowCycle: {
		"cut", "below a peg cycle",
		"Its pegs lead into a cycle of pegs, never to the base currency.",
	},
	detached: {
		"cut", "detached",
		"Its pegs lead to a currency that is not pegged any further, and is not the base currency.",
	},
}

// stateOf finds out what is the matter with a currency. Of several obstacles it names the one that is the hardest to
// overcome: no way to the base, then an unsound price, then the lack of confirmation.
func (f *forest) stateOf(i int32) state {
	c := &f.currencies[i]
	switch {
	case c.Distance < 0:
		return f.whyUnpriceable(i)
	case c.Clearable:
		return clearable
	case math.IsNaN(c.Price) || math.IsInf(c.Price, 0):
		return priceUndefined
	case c.Price == 0:
		return priceZero
	case c.Price < 0:
		return priceNegative
	case !c.Confirmed:
		return unconfirmed
	case c.Price < 1:
		return priceTooSmall
	}
	return priceTooLarge
}

func (f *forest) whyUnpriceable(i int32) state {
	switch root := f.root[i]; {
	case f.onCycle[i]:
		return pegCycle
	case f.onCycle[root]:
		return belowCycle
	case root == f.base:
		return tooFar
	case root != i:
		return detached
	}
	return f.whyNoParent(f.currencies[i].Peg)
}

func (f *forest) whyNoParent(peg *solver.Peg) state {
	if peg == nil {
		return unpegged
	}
	if _, registered := f.byLocator[peg.Locator]; registered {
		return pegMismatch
	}
	return pegUnknown
}
