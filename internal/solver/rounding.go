package solver

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// round turns flows of value into whole tokens: for each arc the amount by which its account changes. In each currency
// exactly as much is taken as is given, and each amount is no farther away from its flow than one token, or the unit of
// value should that be worth more, so that nobody gains or loses more than that.
//
// This is always possible. Both sides of a currency have the same sum of flows, and each can be rounded to any integer
// from the sum of the integers below its flows to the sum of those above; of these ranges, both contain one of the two
// integers next to the sum of flows. Offers that are exceeded by their flow change nothing about it, since that is a
// small part of a token in all.
func (g *graph) round(ctx context.Context, exact *clearing) ([]int64, error) {
	amounts := make([]int64, g.arcs())
	return amounts, g.eachCurrency(ctx, func() func(c int) error {
		r := rounder{g: g, exact: exact, amounts: amounts}
		if n := len(exact.scales); n > 0 {
			r.unit = exact.scales[n-1].unit
		}
		return r.roundCurrency
	})
}

// eachCurrency does some work for each currency, on all processors. Each worker uses a function of its own.
func (g *graph) eachCurrency(ctx context.Context, newWorker func() func(c int) error) error {
	workers, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		work := newWorker()
		workers.Go(func() error {
			for {
				c := int(next.Add(1)) - 1
				if c >= g.currencies() || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := work(c); err != nil {
					return err
				}
			}
		})
	}
	return workers.Wait()
}

type rounder struct {
	g           *graph
	exact       *clearing
	unit        float64 // the smallest one
	amounts     []int64
	sells, buys roundedSide
}

// A roundedSide is the sell or the buy side of a currency.
type roundedSide struct {
	changes []change
	sum     uint64      // of all amounts; below 2^64, see graph.limitSupply
	order   []candidate // of settle
}

// A candidate is a change that may go to the other integer.
type candidate struct {
	fraction float64
	change   int32
}

// A change is the amount of an account on its way from a real number of tokens to an integer one.
type change struct {
	arc       int32
	amount    int64
	low, high int64   // the least and the largest integer that it may become
	fraction  float64 // by how much the exact number exceeds the amount; negative if that is the integer above
	settled   bool    // the difference is nothing but numerical noise
}

func (r *rounder) roundCurrency(c int) error {
	r.load(&r.sells, r.g.sellEnds(c))
	r.load(&r.buys, r.g.buyEnds(c))
	target := r.target()
	for _, side := range []*roundedSide{&r.sells, &r.buys} {
		side.settle(target)
		if side.sum != target {
			return fmt.Errorf("%w: the two sides of currency %v cannot be rounded alike", ErrInternal, r.g.debtor[c])
		}
		for _, ch := range side.changes {
			r.amounts[ch.arc] = ch.amount
		}
	}
	return nil
}

// load computes the exact changes of one side, and rounds them down.
func (r *rounder) load(side *roundedSide, ends []end) {
	side.changes, side.sum = side.changes[:0], 0
	for _, end := range ends {
		if exact := r.exact.through(end.arc); exact != (tokens{}) {
			ch := r.newChange(end.arc, exact)
			side.changes = append(side.changes, ch)
			side.sum += uint64(ch.amount)
		}
	}
}

// newChange finds the integers next to a number of tokens. A number that is as good as an integer, or as all of the
// offer, begins as that.
func (r *rounder) newChange(arc int32, exact tokens) change {
	most := r.g.offered[arc]
	if exact.whole >= uint64(most) {
		return change{arc: arc, amount: most, low: most, high: most, settled: true}
	}
	low := int64(exact.whole)
	ch := change{arc: arc, amount: low, low: low, high: low, fraction: math.Ldexp(float64(exact.fraction), -64), settled: true}
	if exact.fraction > 0 {
		ch.high = low + 1
	}
	noise := min(1e-9*float64(low), 0.01)
	unsaid := min(r.unit/r.g.price[r.g.currency[arc]], max(1, 0x1p-53*float64(low))) // what a unit cannot express
	switch {
	case float64(most-low)-ch.fraction <= max(noise, unsaid):
		ch.high = most
		ch.amount, ch.fraction = most, ch.fraction-float64(most-low)
	case float64(ch.high-low)-ch.fraction <= noise:
		ch.amount, ch.fraction = ch.high, ch.fraction-float64(ch.high-low)
	default:
		ch.settled = ch.fraction <= noise
	}
	return ch
}

// target is the number of tokens that change hands: the integer nearest to the exact number that both sides can reach.
func (r *rounder) target() uint64 {
	exact := 0.0
	lowest, highest := uint64(0), uint64(math.MaxUint64)
	for _, side := range []*roundedSide{&r.sells, &r.buys} {
		low, high := side.sum, side.sum
		for _, ch := range side.changes {
			if !ch.settled {
				exact += ch.fraction / 2
			}
			low -= uint64(ch.amount - ch.low)
			high += uint64(ch.high - ch.amount)
		}
		lowest, highest = max(lowest, low), min(highest, high)
	}
	middle := float64(int64(r.buys.sum-r.sells.sum))/2 + exact
	target := r.sells.sum + uint64(int64(math.Round(middle))) // wraps around if negative
	return min(max(target, lowest), highest)
}

// settle changes amounts, between the integers next to the exact numbers, until they add up to the target, or nearly so;
// first those of which the exact numbers are nearest to the other integer.
func (s *roundedSide) settle(target uint64) {
	if s.sum == target {
		return
	}
	s.order = s.order[:0]
	for i := range s.changes {
		s.order = append(s.order, candidate{s.changes[i].fraction, int32(i)})
	}
	slices.SortFunc(s.order, func(a, b candidate) int {
		if a.fraction != b.fraction {
			return cmp.Compare(b.fraction, a.fraction)
		}
		return cmp.Compare(a.change, b.change)
	})
	for _, next := range s.order {
		if s.sum >= target {
			break
		}
		ch := &s.changes[next.change]
		s.add(ch, int64(min(target-s.sum, uint64(ch.high-ch.amount))))
	}
	for _, next := range slices.Backward(s.order) {
		if s.sum <= target {
			break
		}
		ch := &s.changes[next.change]
		s.add(ch, -int64(min(s.sum-target, uint64(ch.amount-ch.low))))
	}
}

func (s *roundedSide) add(ch *change, tokens int64) {
	ch.amount += tokens
	s.sum += uint64(tokens) // wraps around if negative
}
