package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// aggregation finds, for the changes of a currency, the collectors through which they go, and the transfers between
// these that make good for what they take and give. See solver.md section 5.
type aggregation struct {
	m       *Market
	g       *graph
	amounts []int64
	seed    uint64

	// collector of each arc with an amount
	collector []swpt.CreditorID
}

// chooseCollectors chooses the collectors of a currency's changes: a seller's is that of the offer, a buyer's is drawn
// from the registered ones, or else is one of those who hold what the sellers give.
func (a *aggregation) chooseCollectors(c int) {
	takers := a.takers(c)
	registered := a.m.collectors[a.g.debtor[c]]
	for _, end := range a.g.buyEnds(c) {
		arc, amount := end.arc, a.amounts[end.arc]
		if amount == 0 {
			continue
		}
		if sell, found := a.g.nettedSell[arc]; found {
			a.collector[arc] = a.m.sells.collector[sell]
			continue
		}
		if len(registered) > 0 {
			a.collector[arc] = a.draw(registered, arc)
			continue
		}
		for a.collector[arc] = takers[0].collector; amount > 0 && len(takers) > 0; {
			part := min(amount, takers[0].amount)
			takers[0].amount -= part
			amount -= part
			if takers[0].amount == 0 {
				takers = takers[1:]
			}
		}
	}
}

type holding struct {
	collector swpt.CreditorID
	amount    int64
}

// takers lists what the sellers of a currency give, and to whom.
func (a *aggregation) takers(c int) []holding {
	var takers []holding
	for _, end := range a.g.sellEnds(c) {
		if amount := a.amounts[end.arc]; amount > 0 {
			collector := a.m.sells.collector[a.g.offer[end.arc]]
			a.collector[end.arc] = collector
			takers = append(takers, holding{collector, amount})
		}
	}
	return takers
}

// draw picks a collector for an account at random, but always the same one for the same seed.
func (a *aggregation) draw(registered []swpt.CreditorID, arc int32) swpt.CreditorID {
	account := key(a.g.creditor[a.g.trader[arc]], a.seed)
	dice := scramble(account, uint64(a.g.debtor[a.g.currency[arc]]))
	return registered[dice%uint64(len(registered))]
}

// equalise makes the transfers that bring the positions of a currency's collectors to zero.
func (a *aggregation) equalise(c int) ([]Transfer, error) {
	positions := make(map[swpt.CreditorID]int64)
	for _, end := range a.g.sellEnds(c) {
		positions[a.collector[end.arc]] += a.amounts[end.arc]
	}
	for _, end := range a.g.buyEnds(c) {
		positions[a.collector[end.arc]] -= a.amounts[end.arc]
	}
	var surplus, deficit []holding
	for _, collector := range slices.Sorted(maps.Keys(positions)) {
		if position := positions[collector]; position > 0 {
			surplus = append(surplus, holding{collector, position})
		} else if position < 0 {
			deficit = append(deficit, holding{collector, -position})
		}
	}
	largestFirst := func(a, b holding) int { return cmp.Compare(b.amount, a.amount) }
	slices.SortStableFunc(surplus, largestFirst)
	slices.SortStableFunc(deficit, largestFirst)
	var transfers []Transfer
	for len(surplus) > 0 && len(deficit) > 0 {
		from, to := &surplus[0], &deficit[0]
		amount := min(from.amount, to.amount)
		transfers = append(transfers, Transfer{a.g.debtor[c], from.collector, to.collector, amount})
		from.amount -= amount
		to.amount -= amount
		if from.amount == 0 {
			surplus = surplus[1:]
		}
		if to.amount == 0 {
			deficit = deficit[1:]
		}
	}
	if len(surplus)+len(deficit) > 0 {
		return nil, fmt.Errorf("%w: takings and givings of debtor %d differ", ErrInternal, a.g.debtor[c])
	}
	return transfers, nil
}

// fill completes the outcome.
func (a *aggregation) fill(ctx context.Context, out *Outcome) error {
	var traders []int32
	var workers errgroup.Group
	workers.Go(func() error {
		traders = a.tradersByCreditor()
		return nil
	})
	transfers := make([][]Transfer, a.g.currencies())
	err := a.g.eachCurrency(ctx, func() func(c int) error {
		return func(c int) (err error) {
			a.chooseCollectors(c)
			a.sumUp(c, &out.Currencies[c])
			transfers[c], err = a.equalise(c)
			return err
		}
	})
	if err := errors.Join(err, workers.Wait()); err != nil {
		return err
	}
	out.Transfers = slices.Concat(transfers...)
	slices.SortFunc(out.Currencies, func(a, b CurrencyOutcome) int { return cmp.Compare(a.Debtor, b.Debtor) })
	takings, givings := 0, 0
	for _, c := range out.Currencies {
		takings += c.Takings
		givings += c.Givings
	}
	out.Takings, out.Givings = make([]Change, 0, takings), make([]Change, 0, givings)
	workers.Go(func() error {
		for _, t := range traders {
			a.appendChanges(&out.Givings, t, a.g.firstBuy[t], a.g.firstArc[t+1])
		}
		return nil
	})
	for _, t := range traders {
		if a.appendChanges(&out.Takings, t, a.g.firstArc[t], a.g.firstBuy[t]) > 0 {
			out.Served++
		}
	}
	return workers.Wait()
}

func (a *aggregation) tradersByCreditor() []int32 {
	type named struct {
		creditor swpt.CreditorID
		trader   int32
	}
	traders := make([]named, a.g.traders())
	for t, creditor := range a.g.creditor {
		traders[t] = named{creditor, int32(t)}
	}
	slices.SortFunc(traders, func(a, b named) int { return cmp.Compare(a.creditor, b.creditor) })
	sorted := make([]int32, len(traders))
	for i, t := range traders {
		sorted[i] = t.trader
	}
	return sorted
}

// sumUp counts what has been cleared in a currency.
func (a *aggregation) sumUp(c int, out *CurrencyOutcome) {
	for _, end := range a.g.sellEnds(c) {
		if amount := a.amounts[end.arc]; amount > 0 {
			out.Takings++
			out.Cleared += float64(amount) * out.Price
		}
	}
	for _, end := range a.g.buyEnds(c) {
		if a.amounts[end.arc] > 0 {
			out.Givings++
		}
	}
}

// appendChanges appends the changes of some arcs of a trader, ordered by debtor, and returns their number.
func (a *aggregation) appendChanges(list *[]Change, trader, first, last int32) int {
	before := len(*list)
	for arc := first; arc < last; arc++ {
		if a.amounts[arc] > 0 {
			*list = append(*list, Change{
				Creditor:  a.g.creditor[trader],
				Debtor:    a.g.debtor[a.g.currency[arc]],
				Amount:    a.amounts[arc],
				Collector: a.collector[arc],
			})
		}
	}
	slices.SortFunc((*list)[before:], func(a, b Change) int { return cmp.Compare(a.Debtor, b.Debtor) })
	return len(*list) - before
}
