package solver

import (
	"context"
	"math"
	"math/bits"
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
	finerBits  = 4       // a scale of which the unit is not smaller than the last one by that many bits is the last one
)

// A cleared is the flow on one scale.
type cleared struct {
	unit  float64 // of value, a power of two
	rates []rate  // of the currencies
	flow  []int64 // in units
}

// A scaling is the state of a clearing on several scales.
type scaling struct {
	results []cleared

	// Of each arc.
	rest []float64 // the value that it may carry yet
	done []bool    // it has been part of a flow problem
	used []bool    // it has got some flow

	// Of each currency, see admitMinimal.
	excess []float64
}

// clear lets the strategy decide the flow, on as many scales as it takes.
func (g *graph) clear(ctx context.Context, s Strategy, p *progress) ([]cleared, error) {
	sc := scaling{
		rest:   g.bounds(),
		done:   make([]bool, g.arcs()),
		used:   make([]bool, g.arcs()),
		excess: make([]float64, g.currencies()),
	}
	for {
		unit, waiting := g.setScale(&sc)
		if unit == 0 {
			return sc.results, nil
		}
		if err := s.clear(ctx, g, p); err != nil {
			return nil, err
		}
		if waiting == 0 {
			return sc.results, nil
		}
		for arc, flow := range g.flow {
			sc.rest[arc] -= float64(flow) * unit
			sc.used[arc] = sc.used[arc] || flow > 0
			if sc.done[arc] {
				sc.rest[arc] = max(0, min(sc.rest[arc], waiting))
			}
		}
	}
}

// setScale states the flow problem for what rests, in the smallest possible unit. It returns the unit, which is 0 if
// nothing rests, and the value of the offers that must wait for a finer scale.
func (g *graph) setScale(sc *scaling) (unit, waiting float64) {
	total := sum(sc.rest)
	if !(total > 0) || math.IsInf(total, 1) {
		return 0, 0
	}
	unit = math.Ldexp(1, exponent(total)-totalBits)
	last := len(sc.results) > 0 && unit > math.Ldexp(sc.results[len(sc.results)-1].unit, -finerBits)
	rates := make([]rate, g.currencies())
	for c, price := range g.price {
		rates[c] = newRate(price/unit, g.minAmount)
	}
	admitted := g.admitMinimal(sc, rates, unit)
	g.capacity, g.least, g.flow = make([]int64, g.arcs()), make([]int64, g.arcs()), make([]int64, g.arcs())
	for arc, c := range g.currency {
		units := sc.rest[arc] / unit
		fine := units*float64(g.arcs()) >= bookUnits || g.price[c] >= tokenUnits*unit || sc.done[arc]
		most, least := rates[c].value(g.unsold(sc.results, int32(arc))), int64(0)
		capacity := min(int64(units*slightlyMore), most)
		if !sc.used[arc] {
			least = rates[c].least
			if capacity < least && g.price[c] >= unit && sc.rest[arc]*slightlyMore >= float64(g.minAmount)*g.price[c] {
				if most >= least || admitted[c] {
					capacity = least
				} else {
					fine = false
				}
			}
		}
		switch {
		case !fine && !last:
			waiting += sc.rest[arc]
		case capacity >= least:
			g.capacity[arc], g.least[arc] = capacity, least
			sc.done[arc] = true
		}
	}
	sc.results = append(sc.results, cleared{unit, rates, g.flow})
	return unit, waiting
}

// admitMinimal decides, for each currency, whether offers of just the minimal amount may take part although that is
// not a whole number of units. Then slightly more flows there than is on offer. Rounding to tokens makes good for it as
// long as it is, in each currency, only a small part of a token in all.
func (g *graph) admitMinimal(sc *scaling, rates []rate, unit float64) (admitted []bool) {
	const most = 0.25 // tokens; less than 1 would do
	excess := make([]float64, g.currencies())
	for arc, c := range g.currency {
		if sc.rest[arc] > 0 && !sc.used[arc] && rates[c].value(g.offered[arc]) < rates[c].least {
			excess[c] += unit / g.price[c]
		}
	}
	admitted = make([]bool, g.currencies())
	for c := range admitted {
		if admitted[c] = sc.excess[c]+excess[c] <= most; admitted[c] {
			sc.excess[c] += excess[c]
		}
	}
	return admitted
}

// unsold returns what is left of an offer, in whole tokens.
func (g *graph) unsold(results []cleared, arc int32) int64 {
	whole, fraction := g.tokens(results, arc)
	if fraction > 0 {
		whole++
	}
	return g.offered[arc] - int64(min(whole, uint64(g.offered[arc])))
}

// tokens returns how many tokens flow through an arc: whole ones, and a fraction of a token in 2^-64. The fraction is too
// small by no more than 2^-64 a scale.
func (g *graph) tokens(results []cleared, arc int32) (whole, fraction uint64) {
	for _, result := range results {
		if result.flow[arc] == 0 {
			continue
		}
		w, f := result.rates[g.currency[arc]].amount(result.flow[arc])
		var carry uint64
		fraction, carry = bits.Add64(fraction, f, 0)
		whole += w + carry
	}
	return whole, fraction
}
