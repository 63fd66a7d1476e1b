package report

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A model is all that the report shows. The template renders the fields themselves, the script what is in Page.
type model struct {
	Title       string
	Strategy    string
	Seed        int64
	Elapsed     time.Duration
	GeneratedAt time.Time

	Base              string // what the page calls the base currency
	BaseID            swpt.DebtorID
	BaseRegistered    bool
	MaxDistanceToBase int
	MinTradeAmount    string

	Registered, Tradable, Traded int // currencies
	Traders, Served              int
	Offers, ServedOffers         int

	Supply, Demand           side
	UnmetDemand, UnmetSupply []limit

	Rings, LongestRing int

	Page pageData
}

// A pageData is what the script draws.
type pageData struct {
	States       [states]stateText `json:"states"`
	Base         int32             `json:"base"` // index of a currency, or none
	MaxDistance  int               `json:"maxDistance"`
	Currencies   currencyColumns   `json:"currencies"`
	Satisfaction satisfaction      `json:"satisfaction"`
	Lengths      []lengthBin       `json:"lengths"`
	Rings        []ring            `json:"rings"`
}

// currencyColumns has an entry for each registered currency in each column. Values are in tokens of the base currency.
// What is known of the market is zero for currencies that are not clearable.
type currencyColumns struct {
	Locator   []string `json:"locator"`
	ID        []string `json:"id"`
	Parent    []int32  `json:"parent"` // see forest
	Rate      []number `json:"rate"`   // NaN if there is no peg
	Price     []number `json:"price"`
	Distance  []int    `json:"distance"`
	State     []state  `json:"state"`
	Confirmed []bit    `json:"confirmed"`
	Sells     []int    `json:"sells"`
	Buys      []int    `json:"buys"`
	Takings   []int    `json:"takings"`
	Givings   []int    `json:"givings"`
	Offered   []number `json:"offered"`
	Wanted    []number `json:"wanted"`
	Cleared   []number `json:"cleared"`

	// Dangling has the locator and the debtor ID of pegs that lead to no currency, or that close a cycle of pegs.
	Dangling map[int]danglingPeg `json:"dangling"`
}

type danglingPeg struct {
	Locator string `json:"locator"`
	ID      string `json:"id"`
}

// A bit is 1 for true, 0 for false, which is shorter as JSON.
type bit int

func newModel(d Data, rings iter.Seq[solver.Ring]) model {
	f := newForest(registered(d.Prices), d.Params)
	ringSummary := summariseRings(rings)
	m := model{
		Title:             d.Title,
		Strategy:          d.Strategy,
		Seed:              d.Seed,
		Elapsed:           d.Elapsed,
		GeneratedAt:       d.GeneratedAt.UTC(),
		Base:              displayName(d.Params.BaseLocator),
		BaseID:            d.Params.BaseDebtorID,
		BaseRegistered:    f.base != none,
		MaxDistanceToBase: d.Params.MaxDistanceToBase,
		MinTradeAmount:    groupDigits(strconv.FormatInt(d.Params.MinTradeAmount, 10)),
		Registered:        len(f.currencies),
		Rings:             ringSummary.Count,
		LongestRing:       ringSummary.Longest,
		Page: pageData{
			States:      stateTexts,
			Base:        f.base,
			MaxDistance: d.Params.MaxDistanceToBase,
			Currencies:  newCurrencyColumns(f),
			Lengths:     ringSummary.Lengths,
			Rings:       ringSummary.Top,
		},
	}
	outcome := d.Outcome
	if outcome == nil {
		outcome = &solver.Outcome{}
	}
	m.addOutcome(outcome, f)
	return m
}

func registered(prices *solver.Prices) []solver.PricedCurrency {
	if prices == nil {
		return nil
	}
	return slices.Collect(prices.Currencies())
}

func newCurrencyColumns(f *forest) currencyColumns {
	n := len(f.currencies)
	c := currencyColumns{
		Locator:   make([]string, n),
		ID:        make([]string, n),
		Parent:    f.parent,
		Rate:      make([]number, n),
		Price:     make([]number, n),
		Distance:  make([]int, n),
		State:     make([]state, n),
		Confirmed: make([]bit, n),
		Sells:     make([]int, n),
		Buys:      make([]int, n),
		Takings:   make([]int, n),
		Givings:   make([]int, n),
		Offered:   make([]number, n),
		Wanted:    make([]number, n),
		Cleared:   make([]number, n),
		Dangling:  make(map[int]danglingPeg),
	}
	for i := range f.currencies {
		c.describe(f, i)
	}
	return c
}

func (c *currencyColumns) describe(f *forest, i int) {
	currency := &f.currencies[i]
	c.Locator[i] = printable(currency.Locator)
	c.ID[i] = formatID(currency.DebtorID)
	c.Rate[i] = number(math.NaN())
	if currency.Peg != nil {
		c.Rate[i] = number(currency.Peg.Rate)
	}
	c.Price[i] = number(currency.Price)
	c.Distance[i] = currency.Distance
	c.State[i] = f.stateOf(index(i))
	if currency.Confirmed {
		c.Confirmed[i] = 1
	}
	if peg := f.danglingPeg(index(i)); peg != nil {
		c.Dangling[i] = danglingPeg{Locator: printable(peg.Locator), ID: formatID(peg.DebtorID)}
	}
}

// addOutcome fills in what is known of the currencies that took part in the clearing. These are clearable, of which
// there is only one with a given debtor ID.
func (m *model) addOutcome(o *solver.Outcome, f *forest) {
	m.Traders, m.Served = o.Traders, o.Served
	position := make(map[swpt.DebtorID]int)
	for i := range f.currencies {
		if f.currencies[i].Clearable {
			m.Tradable++
			position[f.currencies[i].DebtorID] = i
		}
	}
	for i := range o.Currencies {
		c := &o.Currencies[i]
		m.add(c)
		if at, found := position[c.Debtor]; found {
			m.Page.Currencies.set(at, c)
		}
	}
	name := func(id swpt.DebtorID) string {
		if at, found := position[id]; found {
			return displayName(f.currencies[at].Locator)
		}
		return "debtor " + formatID(id)
	}
	m.UnmetDemand = unmetDemand(o.Currencies, m.Demand, name)
	m.UnmetSupply = unmetSupply(o.Currencies, m.Supply, name)
	m.Page.Satisfaction = newSatisfaction(o.Currencies)
}

func (m *model) add(c *solver.CurrencyOutcome) {
	if c.Cleared > 0 {
		m.Traded++
	}
	m.Offers += c.Sells + c.Buys
	m.ServedOffers += c.Takings + c.Givings
	m.Supply.add(c.Offered, c.Wanted, c.Cleared)
	m.Demand.add(c.Wanted, c.Offered, c.Cleared)
}

func (c *currencyColumns) set(at int, o *solver.CurrencyOutcome) {
	c.Sells[at], c.Buys[at] = o.Sells, o.Buys
	c.Takings[at], c.Givings[at] = o.Takings, o.Givings
	c.Offered[at], c.Wanted[at], c.Cleared[at] = number(o.Offered), number(o.Wanted), number(o.Cleared)
}

func formatID[ID ~int64](id ID) string { return strconv.FormatInt(int64(id), 10) }
