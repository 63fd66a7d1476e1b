package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Errors of a market.
var (
	ErrCleared        = errors.New("the market has been cleared already")
	ErrTooLarge       = errors.New("the market is too large: more than 2^29 offers")
	ErrDuplicateOffer = errors.New("duplicate offer")
	ErrInternal       = errors.New("internal error of the solver")
)

// A DuplicateOfferError tells which account has two offers of one kind. It matches ErrDuplicateOffer.
type DuplicateOfferError struct {
	Creditor swpt.CreditorID
	Debtor   swpt.DebtorID
	Selling  bool
}

func (e *DuplicateOfferError) Error() string {
	kind := "buy"
	if e.Selling {
		kind = "sell"
	}
	return fmt.Sprintf("creditor %d has two %s offers for debtor %d", e.Creditor, kind, e.Debtor)
}

// Is makes errors.Is(e, ErrDuplicateOffer) true.
func (e *DuplicateOfferError) Is(target error) bool { return target == ErrDuplicateOffer }

// A SellOffer is an amount of tokens, greater than 0, that a creditor has locked for sale through a collector.
type SellOffer struct {
	Creditor  swpt.CreditorID
	Debtor    swpt.DebtorID
	Amount    int64
	Collector swpt.CreditorID
}

// A BuyOffer is an amount of tokens, greater than 0, that a creditor wants to get.
type BuyOffer struct {
	Creditor swpt.CreditorID
	Debtor   swpt.DebtorID
	Amount   int64
}

// A Verdict tells what a market makes of an offer.
type Verdict int

// Only Admitted offers take part. NotClearable and BelowMinimum are matters of course; the others are worth a warning.
const (
	Admitted      Verdict = iota
	NotClearable          // the currency cannot be traded
	BelowMinimum          // the amount is below the minimal trade amount
	InvalidAmount         // the amount is zero or negative
	NoCreditor            // the creditor ID is 0
	NoCollector           // a sell offer whose collector ID is 0
)

// Options of a clearing.
type Options struct {
	// Strategy is Optimal() if nil.
	Strategy Strategy

	// Seed decides ties among traders, and which collector gives to whom. The same seed gives the same outcome.
	Seed int64

	// Progress, if not nil, is called now and then, from one goroutine, with the name of the step that goes on and the
	// share of it that is done, from 0 to 1.
	Progress func(step string, share float64)
}

// A Change is what one account gives up (a taking) or receives (a giving), through a collector. The amount is
// positive in both.
type Change struct {
	Creditor  swpt.CreditorID
	Debtor    swpt.DebtorID
	Amount    int64
	Collector swpt.CreditorID
}

// A Transfer moves tokens between two collectors of a currency.
type Transfer struct {
	Debtor   swpt.DebtorID
	From, To swpt.CreditorID
	Amount   int64
}

// A CurrencyOutcome sums up a clearable currency. Values are in tokens of the base currency.
type CurrencyOutcome struct {
	Debtor           swpt.DebtorID
	Price            float64 // of one token
	Sells, Buys      int     // admitted offers
	Takings, Givings int     // offers that were served, at least in part
	Offered, Wanted  float64 // value of the admitted sell and buy offers
	Cleared          float64 // value taken, which is the value given
}

// An Outcome is the result of a clearing; solver.md section 5.4 lists what holds for it.
type Outcome struct {
	Takings   []Change // ordered by creditor and debtor
	Givings   []Change // ordered by creditor and debtor
	Transfers []Transfer

	// Currencies has an entry for each clearable currency, ordered by debtor ID.
	Currencies []CurrencyOutcome

	// Traders is the number of creditors with an admitted offer, Served of those with a taking.
	Traders, Served int

	graph   *graph
	scales  []cleared
	amounts []int64 // tokens, of each arc of the graph
}

// A RingStep says that Creditor gives Amount tokens of Debtor to the creditor of the next step; the last one gives to
// the first one.
type RingStep struct {
	Creditor swpt.CreditorID
	Debtor   swpt.DebtorID
	Amount   int64
}

// A Ring is a circular trade of the given value, in tokens of the base currency.
type Ring struct {
	Value float64
	Steps []RingStep
}

// A Market collects the offers of a turn and clears them, once. It is not safe for concurrent use.
type Market struct {
	prices     *Prices
	collectors map[swpt.DebtorID][]swpt.CreditorID
	sells      offerColumns
	buys       offerColumns
	cleared    bool
}

// NewMarket returns a market without offers.
func NewMarket(prices *Prices) *Market {
	return &Market{prices: prices, collectors: make(map[swpt.DebtorID][]swpt.CreditorID)}
}

// AddCollector registers an active collector account of a currency. Currencies that are not clearable are ignored, and
// so are a collector ID of 0 and a second registration of the same account. It returns ErrCleared after Clear.
func (m *Market) AddCollector(debtor swpt.DebtorID, collector swpt.CreditorID) error {
	if m.cleared {
		return ErrCleared
	}
	if m.prices.Clearable(debtor) && collector != 0 {
		m.collectors[debtor] = append(m.collectors[debtor], collector)
	}
	return nil
}

// AddSell adds a sell offer. There may be one for each pair of creditor and debtor; Clear finds duplicates. It returns
// ErrCleared after Clear.
func (m *Market) AddSell(o SellOffer) (Verdict, error) {
	verdict, currency, err := m.examine(o.Creditor, o.Debtor, o.Collector, o.Amount)
	if err == nil && verdict == Admitted {
		m.sells.add(o.Creditor, currency, o.Amount)
		m.sells.collector = append(m.sells.collector, o.Collector)
	}
	return verdict, err
}

// AddBuy adds a buy offer. There may be one for each pair of creditor and debtor; Clear finds duplicates. It returns
// ErrCleared after Clear.
func (m *Market) AddBuy(o BuyOffer) (Verdict, error) {
	const whichever = -1 // buy offers need no collector
	verdict, currency, err := m.examine(o.Creditor, o.Debtor, whichever, o.Amount)
	if err == nil && verdict == Admitted {
		m.buys.add(o.Creditor, currency, o.Amount)
	}
	return verdict, err
}

func (m *Market) examine(
	creditor swpt.CreditorID, debtor swpt.DebtorID, collector swpt.CreditorID, amount int64,
) (verdict Verdict, currency int32, err error) {
	const maxOffers = 1 << 29
	if m.cleared {
		return Admitted, 0, ErrCleared
	}
	if m.sells.len()+m.buys.len() == maxOffers {
		return Admitted, 0, ErrTooLarge
	}
	currency, found := m.prices.tradable[debtor]
	switch {
	case !found || !m.prices.currencies[currency].Clearable:
		return NotClearable, 0, nil
	case amount <= 0:
		return InvalidAmount, 0, nil
	case creditor == 0:
		return NoCreditor, 0, nil
	case collector == 0:
		return NoCollector, 0, nil
	case amount < m.prices.params.MinTradeAmount:
		return BelowMinimum, 0, nil
	}
	return Admitted, currency, nil
}

// Clear computes the outcome. It returns ErrCleared if the market has been cleared before, a *DuplicateOfferError if
// there are two offers of one kind in one account, and the context's error if that ends. ErrInternal means a mistake in
// this package; there is no outcome then.
func (m *Market) Clear(ctx context.Context, opts Options) (*Outcome, error) {
	if m.cleared {
		return nil, ErrCleared
	}
	m.cleared = true
	if opts.Strategy == nil {
		opts.Strategy = Optimal()
	}
	seed := uint64(opts.Seed)
	p := &progress{opts.Progress}

	p.report("building the offer graph", 0)
	order, rank, sellers := m.rankCurrencies()
	tickets, err := m.sortTickets(ctx, seed, rank)
	if err != nil {
		return nil, err
	}
	out := &Outcome{}
	g, err := m.newGraph(tickets, m.groupTickets(tickets, sellers), order, out)
	if err != nil {
		return nil, err
	}
	exact, err := g.clear(ctx, opts.Strategy, p)
	if err != nil {
		return nil, err
	}
	p.report("rounding to tokens", 0)
	amounts, err := g.round(ctx, exact)
	if err != nil {
		return nil, err
	}
	out.graph, out.scales, out.amounts = g, exact.scales, amounts
	p.report("aggregating", 0)
	for debtor, registered := range m.collectors {
		slices.Sort(registered)
		m.collectors[debtor] = slices.Compact(registered)
	}
	a := aggregation{m: m, g: g, amounts: amounts, seed: seed, collector: make([]swpt.CreditorID, g.arcs())}
	if err := a.fill(ctx, out); err != nil {
		return nil, err
	}
	return out, nil
}

// rankCurrencies orders the clearable currencies by popularity. It returns the indices of the ordered currencies among
// the registered ones, the other way round, and how many sell offers each of the ordered currencies has.
func (m *Market) rankCurrencies() (order, rank, sellers []int32) {
	count := make([]int32, len(m.prices.currencies))
	for _, i := range m.sells.currency {
		count[i]++
	}
	for i := range m.prices.currencies {
		if m.prices.currencies[i].Clearable {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(
			cmp.Compare(count[b], count[a]),
			cmp.Compare(m.prices.currencies[a].DebtorID, m.prices.currencies[b].DebtorID),
		)
	})
	rank = make([]int32, len(m.prices.currencies))
	sellers = make([]int32, len(order))
	for c, i := range order {
		rank[i], sellers[c] = int32(c), count[i]
	}
	return order, rank, sellers
}

// creditorOf returns the creditor of an offer, see ticket.
func (m *Market) creditorOf(offer int32) swpt.CreditorID {
	if sells := int32(m.sells.len()); offer >= sells {
		return m.buys.creditor[offer-sells]
	}
	return m.sells.creditor[offer]
}

// offerColumns holds admitted offers, in the order of their arrival.
type offerColumns struct {
	creditor  []swpt.CreditorID
	currency  []int32 // index into Prices.currencies
	amount    []int64
	collector []swpt.CreditorID // of sell offers only
}

func (o *offerColumns) len() int { return len(o.creditor) }

func (o *offerColumns) add(creditor swpt.CreditorID, currency int32, amount int64) {
	o.creditor = append(o.creditor, creditor)
	o.currency = append(o.currency, currency)
	o.amount = append(o.amount, amount)
}
