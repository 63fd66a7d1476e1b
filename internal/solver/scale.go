package solver

import (
	"context"
	"math"
)

// Flows are computed in integers, so that they balance exactly and algorithms end for certain. The unit is chosen so
// small that capacities, and sums of them, just fit in 64 bits. In a book whose offers differ very much in value, a few
// huge ones would leave no units for the small ones, and anybody can make a huge offer in a currency of their own. Such
// a book is therefore cleared on several scales: first the offers that the unit is fine enough for, then, with a smaller
// unit, the rest, together with what is left of the others.
const (
	totalBits  = 61      // sums of capacities are below 2^totalBits
	tokenUnits = 128     // a unit is fine enough for an offer if a token is worth that many units, or
	bookUnits  = 1 << 53 // if the book would be worth that many, were all offers like this one
	maxScales  = 32

	wholeFloats = 1 << 53 // floats do not tell single tokens any more from this number on
)

// A cleared is the flow on one scale.
type cleared struct {
	unit float64 // of value, a power of two
	flow []int64 // in units
}

// clear lets the strategy decide the flow, on as many scales as it takes.
func (g *graph) clear(ctx context.Context, s Strategy, p *progress) ([]cleared, error) {
	rest := g.bounds()
	done := make([]bool, g.arcs()) // the arc has been part of a flow problem
	used := make([]bool, g.arcs()) // the arc has got some flow
	var results []cleared
	for range maxScales {
		unit, finer := g.setScale(rest, results, done, used)
		if unit == 0 {
			break
		}
		if err := s.clear(ctx, g, p); err != nil {
			return nil, err
		}
		results = append(results, cleared{unit, g.flow})
		if finer == 0 {
			break
		}
		for arc, flow := range g.flow {
			rest[arc] -= float64(flow) * unit
			used[arc] = used[arc] || flow > 0
			if done[arc] {
				rest[arc] = max(0, min(rest[arc], finer))
			}
		}
	}
	return results, nil
}

// unsold returns what is left of an offer, in whole tokens.
func (g *graph) unsold(results []cleared, arc int32) int64 {
	whole, fraction := g.tokens(results, arc)
	if fraction > 0 {
		whole++
	}
	return g.offered[arc] - int64(min(whole, uint64(g.offered[arc])))
}

// setScale states the flow problem for what rests, in the smallest possible unit. It returns the unit, which is 0 if
// nothing rests, and the value of the offers that must wait for a finer scale.
func (g *graph) setScale(rest []float64, results []cleared, done, used []bool) (unit, finer float64) {
	total := sum(rest)
	if !(total > 0) || math.IsInf(total, 1) {
		return 0, 0
	}
	_, exponent := math.Frexp(total)
	unit = math.Ldexp(1, exponent-totalBits)
	g.capacity, g.least, g.flow = make([]int64, g.arcs()), make([]int64, g.arcs()), make([]int64, g.arcs())
	for arc, c := range g.currency {
		units := rest[arc] / unit
		if units*float64(len(rest)) < bookUnits && g.price[c] < tokenUnits*unit && !done[arc] {
			finer += rest[arc]
			continue
		}
		done[arc] = true
		g.capacity[arc] = min(int64(units*slightlyMore), multiply(g.unsold(results, int32(arc)), g.price[c]/unit))
		if !used[arc] {
			g.least[arc] = leastUnits(g.minAmount, g.price[c]/unit)
		}
	}
	return unit, finer
}

// leastUnits expresses the minimal trade amount in units, at a price in units. If these are small parts of a token, or the
// amount is so large that floats do not tell single tokens, it is rounded down: what is missing is as good as nothing, and
// rounding to tokens makes good for it.
func leastUnits(minAmount int64, price float64) int64 {
	units := multiply(minAmount, price)
	if price < tokenUnits && minAmount < wholeFloats {
		units++ // far from overflow at such a price
	}
	return max(1, units)
}
