package solver

import (
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Prices outside these bounds would be subnormal, zero or infinite as 32-bit floats, which other implementations of
// the service use; a currency with such a price is not traded (solver.md section 1).
const (
	minPrice = 0x1p-126
	maxPrice = math.MaxFloat32
)

// Errors of a set of currencies; see the table at the end of solver.md section 2.
var (
	ErrInvalidParams    = errors.New("invalid trading parameters")
	ErrPriced           = errors.New("prices have been computed already")
	ErrDuplicateLocator = errors.New("debtor info locator is registered twice")
	ErrInconsistentBase = errors.New("base locator is registered with another debtor ID")
	ErrBaseClaimed      = errors.New("debtor ID of the base currency is claimed by another tradable currency")
	ErrDuplicateDebtor  = errors.New("two tradable currencies have the same debtor ID")
)

// Params are the trading parameters of a turn.
type Params struct {
	// BaseLocator and BaseDebtorID together identify the base currency, whose price is 1. The ID must not be 0.
	BaseLocator  string
	BaseDebtorID swpt.DebtorID

	// MaxDistanceToBase is the longest allowed chain of pegs, from 1 to 32767.
	MaxDistanceToBase int

	// MinTradeAmount is the smallest number of tokens by which an account may change, 1 or more.
	MinTradeAmount int64
}

func (p Params) validate() error {
	switch {
	case p.BaseDebtorID == 0:
		return fmt.Errorf("%w: the base debtor ID must not be 0", ErrInvalidParams)
	case p.MaxDistanceToBase < 1 || p.MaxDistanceToBase > math.MaxInt16:
		return fmt.Errorf("%w: the maximal distance to the base is %d, must be from 1 to %d",
			ErrInvalidParams, p.MaxDistanceToBase, math.MaxInt16)
	case p.MinTradeAmount < 1:
		return fmt.Errorf("%w: the minimal trade amount is %d, must be 1 or more", ErrInvalidParams, p.MinTradeAmount)
	}
	return nil
}

// A Peg ties a currency to another one: one token of it is worth Rate tokens of the peg currency.
type Peg struct {
	Locator  string
	DebtorID swpt.DebtorID
	Rate     float64
}

// A Currency as registered for a turn. Its identity is the pair (Locator, DebtorID); several currencies may claim one
// debtor ID, but at most one of them may be tradable. Peg is nil for a currency that is not pegged.
type Currency struct {
	Confirmed bool
	Locator   string
	DebtorID  swpt.DebtorID
	Peg       *Peg
}

// A PegTree collects the currencies of a turn and computes their prices, as solver.md section 2 says.
type PegTree struct {
	params     Params
	currencies []Currency
	byLocator  map[string]int32
	priced     bool
}

// NewPegTree returns an empty tree, or ErrInvalidParams.
func NewPegTree(params Params) (*PegTree, error) {
	if err := params.validate(); err != nil {
		return nil, err
	}
	return &PegTree{params: params, byLocator: make(map[string]int32)}, nil
}

// Register adds a currency to the tree. A currency with debtor ID 0 is ignored. It returns ErrDuplicateLocator if the
// locator was registered before, and ErrPriced after a call of Prices.
func (t *PegTree) Register(c Currency) error {
	if t.priced {
		return ErrPriced
	}
	if c.DebtorID == 0 {
		return nil
	}
	if _, found := t.byLocator[c.Locator]; found {
		return fmt.Errorf("%w: %q", ErrDuplicateLocator, c.Locator)
	}
	t.byLocator[c.Locator] = int32(len(t.currencies))
	t.currencies = append(t.currencies, c)
	return nil
}

// A PricedCurrency tells what has become of a registered currency.
type PricedCurrency struct {
	Currency

	// Price of one token in tokens of the base currency; NaN if the currency is not priceable. It may also be zero,
	// negative, infinite or NaN because of the exchange rates on the way to the base.
	Price float64

	// Distance is the number of pegs between the currency and the base; -1 if the currency is not priceable.
	Distance int

	// Tradable currencies are confirmed and priceable. Clearable ones are tradable at a sound price: only they may
	// be offered.
	Tradable, Clearable bool
}

// Prices holds what a turn knows about its currencies. It does not change, and may be used concurrently.
type Prices struct {
	params     Params
	currencies []PricedCurrency
	tradable   map[swpt.DebtorID]int32
}

// Prices computes the prices of all registered currencies. It returns ErrInconsistentBase, ErrDuplicateDebtor or
// ErrBaseClaimed if the set of currencies as a whole makes no sense.
func (t *PegTree) Prices() (*Prices, error) {
	t.priced = true
	p := &Prices{
		params:     t.params,
		currencies: make([]PricedCurrency, len(t.currencies)),
		tradable:   make(map[swpt.DebtorID]int32),
	}
	for i, c := range t.currencies {
		p.currencies[i] = PricedCurrency{Currency: c, Price: math.NaN(), Distance: -1}
	}
	base, found := t.byLocator[t.params.BaseLocator]
	if !found {
		return p, nil
	}
	if id := t.currencies[base].DebtorID; id != t.params.BaseDebtorID {
		return nil, fmt.Errorf("%w: %q is registered with %d, the base is %d",
			ErrInconsistentBase, t.params.BaseLocator, id, t.params.BaseDebtorID)
	}
	p.priceFrom(base, t.childrenOf(base))
	if err := p.findTradable(base); err != nil {
		return nil, err
	}
	return p, nil
}

// childrenOf lists, for each currency, those that are pegged to it. The base is nobody's child.
func (t *PegTree) childrenOf(base int32) func(parent int32) iter.Seq[int32] {
	const none = -1
	firstChild := make([]int32, len(t.currencies))
	nextSibling := make([]int32, len(t.currencies))
	for i := range firstChild {
		firstChild[i] = none
	}
	for i, c := range t.currencies {
		if c.Peg == nil || int32(i) == base {
			continue
		}
		parent, found := t.byLocator[c.Peg.Locator]
		if !found || t.currencies[parent].DebtorID != c.Peg.DebtorID {
			continue
		}
		nextSibling[i] = firstChild[parent]
		firstChild[parent] = int32(i)
	}
	return func(parent int32) iter.Seq[int32] {
		return func(yield func(int32) bool) {
			for child := firstChild[parent]; child != none; child = nextSibling[child] {
				if !yield(child) {
					return
				}
			}
		}
	}
}

// priceFrom walks the tree from the base outwards, level by level. Members of peg cycles are never reached.
func (p *Prices) priceFrom(base int32, childrenOf func(int32) iter.Seq[int32]) {
	p.currencies[base].Price = 1
	p.currencies[base].Distance = 0
	for queue := []int32{base}; len(queue) > 0; queue = queue[1:] {
		parent := &p.currencies[queue[0]]
		if parent.Distance == p.params.MaxDistanceToBase {
			return
		}
		for child := range childrenOf(queue[0]) {
			c := &p.currencies[child]
			c.Distance = parent.Distance + 1
			c.Price = parent.Price * c.Peg.Rate
			queue = append(queue, child)
		}
	}
}

func (p *Prices) findTradable(base int32) error {
	for i := range p.currencies {
		c := &p.currencies[i]
		c.Tradable = c.Confirmed && c.Distance >= 0
		if !c.Tradable {
			continue
		}
		c.Clearable = c.Price >= minPrice && c.Price <= maxPrice
		if other, found := p.tradable[c.DebtorID]; found {
			return fmt.Errorf("%w: %d is both %q and %q",
				ErrDuplicateDebtor, c.DebtorID, p.currencies[other].Locator, c.Locator)
		}
		p.tradable[c.DebtorID] = int32(i)
	}
	if claimer, found := p.tradable[p.params.BaseDebtorID]; found && claimer != base {
		return fmt.Errorf("%w: %d is claimed by %q",
			ErrBaseClaimed, p.params.BaseDebtorID, p.currencies[claimer].Locator)
	}
	return nil
}

// Params returns the trading parameters that the prices were computed with.
func (p *Prices) Params() Params { return p.params }

// Currencies yields all registered currencies, in the order of their registration.
func (p *Prices) Currencies() iter.Seq[PricedCurrency] {
	return func(yield func(PricedCurrency) bool) {
		for _, c := range p.currencies {
			if !yield(c) {
				return
			}
		}
	}
}

// Price returns the price of a tradable currency, in tokens of the base currency a token, and NaN for all other IDs.
func (p *Prices) Price(id swpt.DebtorID) float64 {
	if i, found := p.tradable[id]; found {
		return p.currencies[i].Price
	}
	return math.NaN()
}

// Tradable tells whether there is a confirmed and priceable currency with the given debtor ID.
func (p *Prices) Tradable(id swpt.DebtorID) bool {
	_, found := p.tradable[id]
	return found
}

// Clearable tells whether offers may be made in the currency: it is tradable, and its price is positive and neither too
// small nor too large.
func (p *Prices) Clearable(id swpt.DebtorID) bool {
	i, found := p.tradable[id]
	return found && p.currencies[i].Clearable
}
