package solver

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// ErrDuplicateBid tells that a batch holds two bids of one creditor for one debtor.
var ErrDuplicateBid = errors.New("duplicate bid")

// priceTolerance is the relative difference from which on a trader's price does not agree with the currency's.
const priceTolerance = 1e-5

// A Bid is what a trading policy says of an account at the moment: buy Amount tokens if it is positive, sell them if it
// is negative, or do nothing but know a rate if it is 0. PegDebtor is the currency to which the trader takes this one to
// be pegged, at PegRate; 0 means none. Account is whatever the caller wants to find in the candidate offer again.
type Bid[A any] struct {
	Creditor  swpt.CreditorID
	Debtor    swpt.DebtorID
	Amount    int64
	PegDebtor swpt.DebtorID
	PegRate   float64
	Account   A
}

// An Analyzer turns bids into candidate offers, as solver.md section 3 says, and collects the currencies that traders
// would sell if only these were confirmed.
type Analyzer[A any] struct {
	prices    *Prices
	toConfirm map[swpt.DebtorID]struct{}

	// Of the current trader's bids.
	price []float64 // NaN if not priceable, or not sane
	state []bidState
	path  []int
}

type bidState uint8

const (
	unknown bidState = iota
	onPath           // its price is being looked for
	priceable
	notPriceable
)

// NewAnalyzer returns an analyzer that compares bids with the given prices.
func NewAnalyzer[A any](prices *Prices) *Analyzer[A] {
	return &Analyzer[A]{prices: prices, toConfirm: make(map[swpt.DebtorID]struct{})}
}

// Candidates returns the bids of a batch that become candidate offers. A batch must hold all bids of each of its
// traders. It is left in another order, and bids for debtor 0 are dropped from it: what was their room at its end is
// zeroed. If two bids of a creditor are for the same debtor, Candidates returns ErrDuplicateBid.
func (a *Analyzer[A]) Candidates(batch []Bid[A]) ([]Bid[A], error) {
	batch = slices.DeleteFunc(batch, func(b Bid[A]) bool { return b.Debtor == 0 })
	slices.SortFunc(batch, func(x, y Bid[A]) int {
		return cmp.Or(cmp.Compare(x.Creditor, y.Creditor), cmp.Compare(x.Debtor, y.Debtor))
	})
	for i := 1; i < len(batch); i++ {
		if b := &batch[i]; b.Creditor == batch[i-1].Creditor && b.Debtor == batch[i-1].Debtor {
			return nil, fmt.Errorf("%w of creditor %d for debtor %d", ErrDuplicateBid, b.Creditor, b.Debtor)
		}
	}
	candidates := batch[:0:0]
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && batch[n].Creditor == batch[0].Creditor {
			n++
		}
		candidates = a.appendCandidates(candidates, batch[:n])
		batch = batch[n:]
	}
	return candidates, nil
}

// appendCandidates appends the candidate offers of one trader, if there are both sells and buys among them.
func (a *Analyzer[A]) appendCandidates(candidates, bids []Bid[A]) []Bid[A] {
	before := len(candidates)
	sells, buys := false, false
	a.priceBids(bids)
	for i, bid := range bids {
		if a.state[i] != priceable {
			continue
		}
		bid.Amount = max(bid.Amount, -math.MaxInt64)
		if -bid.Amount >= a.prices.params.MinTradeAmount && !a.prices.Tradable(bid.Debtor) {
			a.toConfirm[bid.Debtor] = struct{}{}
		}
		if !a.acceptable(bid, a.price[i]) {
			continue
		}
		candidates = append(candidates, bid)
		sells = sells || bid.Amount < 0
		buys = buys || bid.Amount > 0
	}
	if !sells || !buys {
		return candidates[:before]
	}
	return candidates
}

func (a *Analyzer[A]) acceptable(bid Bid[A], price float64) bool {
	minimum := a.prices.params.MinTradeAmount
	if -minimum < bid.Amount && bid.Amount < minimum || !a.prices.Clearable(bid.Debtor) {
		return false
	}
	return math.Abs(1-price/a.prices.Price(bid.Debtor)) < priceTolerance
}

// priceBids computes the prices of a trader's bids, which are ordered by debtor, from the trader's own rates.
func (a *Analyzer[A]) priceBids(bids []Bid[A]) {
	a.price = slices.Grow(a.price[:0], len(bids))[:len(bids)]
	a.state = slices.Grow(a.state[:0], len(bids))[:len(bids)]
	clear(a.state)
	for i := range bids {
		a.path = a.path[:0]
		price, state := a.follow(bids, i)
		for _, j := range slices.Backward(a.path) {
			if bids[j].Debtor != a.prices.params.BaseDebtorID {
				price *= bids[j].PegRate
			}
			a.price[j], a.state[j] = price, state
		}
	}
}

// follow walks along pegs from a bid on, to something whose price is known, and notes the bids on the way in a.path. It
// returns that price and whether it exists.
func (a *Analyzer[A]) follow(bids []Bid[A], i int) (float64, bidState) {
	for {
		switch a.state[i] {
		case onPath:
			return math.NaN(), notPriceable
		case priceable, notPriceable:
			return a.price[i], a.state[i]
		case unknown:
		}
		a.state[i] = onPath
		a.path = append(a.path, i)
		switch bid := &bids[i]; {
		case bid.Debtor == a.prices.params.BaseDebtorID:
			return 1, priceable
		case bid.PegDebtor == 0:
			return math.NaN(), notPriceable
		}
		peg := bids[i].PegDebtor
		next, found := slices.BinarySearchFunc(bids, peg, func(b Bid[A], id swpt.DebtorID) int {
			return cmp.Compare(b.Debtor, id)
		})
		if !found {
			if peg == a.prices.params.BaseDebtorID {
				return 1, priceable
			}
			return math.NaN(), notPriceable
		}
		i = next
	}
}

// ToConfirm returns the debtors, in ascending order, that traders of all batches so far wanted to sell at a known price,
// but whose currencies are not tradable.
func (a *Analyzer[A]) ToConfirm() []swpt.DebtorID {
	return slices.Sorted(maps.Keys(a.toConfirm))
}

// Forget removes a debtor from those to be confirmed.
func (a *Analyzer[A]) Forget(debtor swpt.DebtorID) { delete(a.toConfirm, debtor) }
