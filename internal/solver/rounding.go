package solver

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// round turns flows of value into whole tokens: for each arc the amount by which its account changes. In each currency
// exactly as much is taken as is given, and each amount is less than one token away from its flow, so that nobody gains
// or loses more than that. See solver.md section 4.5.
func (g *graph) round(ctx context.Context, results []cleared) ([]int64, error) {
	amounts := make([]int64, g.arcs())
	return amounts, g.eachCurrency(ctx, func() func(c int) error {
		r := rounder{g: g, results: results, amounts: amounts}
		if len(results) > 0 {
			r.unit = results[len(results)-1].unit
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
	results     []cleared
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
	low, high int64   // the integers next to the exact number
	most      int64   // the offer
	fraction  float64 // by how much the exact number exceeds the amount; negative if that is the integer above
	settled   bool    // the difference is nothing but numerical noise
}

func (r *rounder) roundCurrency(c int) error {
	r.load(&r.sells, r.g.sellEnds(c))
	r.load(&r.buys, r.g.buyEnds(c))
	target := r.target()
	for _, side := range []*roundedSide{&r.sells, &r.buys} {
		side.settle(target)
	}
	if r.sells.sum < r.buys.sum {
		r.sells.stretch(r.buys.sum)
		r.buys.cut(r.sells.sum)
	} else {
		r.buys.stretch(r.sells.sum)
		r.sells.cut(r.buys.sum)
	}
	for _, side := range []*roundedSide{&r.sells, &r.buys} {
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
		whole, fraction := r.g.tokens(r.results, end.arc)
		if whole > 0 || fraction > 0 {
			ch := r.newChange(end.arc, whole, fraction)
			side.changes = append(side.changes, ch)
			side.sum += uint64(ch.amount)
		}
	}
}

// tokens returns what flows through an arc, as an integer and a fraction in [0, 1).
func (g *graph) tokens(results []cleared, arc int32) (whole uint64, fraction float64) {
	price := g.price[g.currency[arc]]
	for _, result := range results {
		w, f := divide(result.flow[arc], price/result.unit)
		whole += w
		fraction += f
	}
	carry := math.Floor(fraction)
	return whole + uint64(carry), fraction - carry
}

// multiply returns amount*price, rounded down, or math.MaxInt64 if that is out of range. It does not lose digits.
func multiply(amount int64, price float64) int64 {
	switch {
	case amount == 0:
		return 0
	case float64(amount)*price >= 1<<62:
		return math.MaxInt64
	}
	mantissa, exponent := split(price)
	high, low := bits.Mul64(uint64(amount), mantissa)
	switch {
	case exponent >= 0:
		return int64(low << exponent)
	case exponent > -64:
		return int64(high<<(64+exponent) | low>>-exponent)
	default:
		return int64(high >> (-exponent - 64))
	}
}

// divide returns flow/price as an integer, which must be below 2^64, and a fraction in [0, 1). It does not lose digits.
func divide(flow int64, price float64) (whole uint64, fraction float64) {
	if flow == 0 || price > math.MaxInt64 {
		return 0, float64(flow) / price
	}
	mantissa, exponent := split(price)
	high, low := uint64(0), uint64(flow)
	switch {
	case exponent > 0:
		mantissa <<= exponent
	case exponent > -64:
		high, low = low>>(64+exponent), low<<-exponent
	default:
		high, low = low<<(-exponent-64), 0
	}
	whole, rest := bits.Div64(high, low, mantissa)
	return whole, float64(rest) / float64(mantissa)
}

// split returns integers such that price = mantissa * 2^exponent.
func split(price float64) (mantissa uint64, exponent int) {
	const digits = 53
	fraction, exponent := math.Frexp(price)
	return uint64(math.Ldexp(fraction, digits)), exponent - digits
}

// newChange finds the integers next to a number of tokens. A number that is as good as an integer, as all of the offer,
// or as the minimal amount, is that.
func (r *rounder) newChange(arc int32, whole uint64, fraction float64) change {
	most := r.g.offered[arc]
	low := most
	if whole < uint64(most) {
		low = int64(whole)
	}
	high := low
	if fraction > 0 {
		high = min(low+1, most)
	}
	ch := change{arc: arc, low: max(low, r.g.minAmount), high: max(high, r.g.minAmount), most: most}
	fraction += float64(low - ch.low)
	noise := min(1e-9*float64(ch.low), 0.01)
	unsaid := max(noise, min(1, r.unit/r.g.price[r.g.currency[arc]])) // what a unit cannot express
	if ch.low >= wholeFloats {
		noise = float64(ch.low) * 0x1p-50
		unsaid = noise
	}
	switch {
	case float64(most-ch.low)-fraction <= unsaid:
		ch.amount, ch.high, ch.settled = most, most, true
	case float64(ch.high-ch.low)-fraction <= noise:
		ch.amount, ch.settled = ch.high, true
	default:
		ch.amount, ch.settled = ch.low, fraction <= noise
	}
	ch.fraction = fraction - float64(ch.amount-ch.low)
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

// stretch makes amounts larger than they should be, by single tokens, the largest ones first, as far as their offers
// allow. It is needed if noise has led to two sides that cannot quite meet.
func (s *roundedSide) stretch(target uint64) {
	if s.sum < target {
		s.sortByAmount()
	}
	for s.sum < target {
		before := s.sum
		for i := range s.changes {
			if ch := &s.changes[i]; s.sum < target && ch.amount < ch.most {
				s.add(ch, 1)
			}
		}
		if s.sum == before {
			return
		}
	}
}

// cut makes amounts smaller than they should be, where stretch does not help.
func (s *roundedSide) cut(target uint64) {
	if s.sum > target {
		s.sortByAmount()
	}
	for i := 0; s.sum > target; i = (i + 1) % len(s.changes) {
		s.add(&s.changes[i], -1)
	}
}

func (s *roundedSide) sortByAmount() {
	slices.SortFunc(s.changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(b.amount, a.amount), cmp.Compare(a.arc, b.arc))
	})
}

func (s *roundedSide) add(ch *change, tokens int64) {
	ch.amount += tokens
	s.sum += uint64(tokens) // wraps around if negative
}
