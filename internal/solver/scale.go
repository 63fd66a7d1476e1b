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
	bookUnits  = 1 << 43 // if the book would be worth that many, were all offers like this one
	finerBits  = 4       // each scale has a unit smaller than the one before, by at least that many bits
)

// A clearing is what flows in the end.
type clearing struct {
	scales []cleared
	tokens []tokens // of each arc, on all scales together; nil before the first one
}

// A cleared is the flow on one scale.
type cleared struct {
	unit float64 // of value, a power of two
	arcs []int32 // those with a flow
	flow []int64 // in units, of each of these
}

// A tokens is an amount of tokens: whole ones, and a fraction of a token in 2^-64. When it has come from several scales,
// the fraction is too small by no more than 2^-64 a scale.
type tokens struct{ whole, fraction uint64 }

// A scaling is the state of a clearing on several scales.
type scaling struct {
	clearing
	unit  float64 // of the present scale
	rates []rate  // of the currencies, in this unit

	// Of each arc.
	rest []float64 // the value that it may carry yet
	done []bool    // it has been part of a flow problem

	// Of each currency, see admitMinimal.
	excess []float64
}

// clear lets the strategy decide the flow, on as many scales as it takes.
func (g *graph) clear(ctx context.Context, s Strategy, p *progress) (*clearing, error) {
	sc := scaling{
		rest:   g.bounds(),
		done:   make([]bool, g.arcs()),
		excess: make([]float64, g.currencies()),
		rates:  make([]rate, g.currencies()),
	}
	g.capacity, g.least, g.flow = make([]int64, g.arcs()), make([]int64, g.arcs()), make([]int64, g.arcs())
	for {
		waiting := g.setScale(&sc)
		if sc.unit == 0 {
			return &sc.clearing, nil
		}
		if err := s.clear(ctx, g, p); err != nil {
			return nil, err
		}
		g.take(&sc)
		if waiting == 0 {
			return &sc.clearing, nil
		}
		sc.limitRest(waiting)
	}
}

// setScale states the flow problem for what rests, in the smallest possible unit, which is 0 if nothing rests. It returns
// the value of the offers that must wait for a finer scale. What can neither take part nor wait is left out for good:
// large offers of just the minimal amount, in a currency in which this is not a whole number of units, or nearly so.
func (g *graph) setScale(sc *scaling) (waiting float64) {
	sc.unit = 0
	total := sum(sc.rest)
	if !(total > 0) || math.IsInf(total, 1) {
		return 0
	}
	sc.unit = math.Ldexp(1, exponent(total)-totalBits)
	for c, price := range g.price {
		sc.rates[c] = newRate(price/sc.unit, g.minAmount)
	}
	admitted := g.admitMinimal(sc)
	// If no more waits, and limitRest limits the rest, the next unit is smaller by at least finerBits.
	patience := math.Ldexp(sc.unit, totalBits-finerBits-2) / float64(g.arcs())
	for arc, c := range g.currency {
		rest, price := sc.rest[arc], g.price[c]
		g.capacity[arc], g.least[arc], g.flow[arc] = 0, 0, 0
		most, least := sc.rates[c].value(sc.unsold(g, int32(arc))), int64(0)
		capacity := min(int64(rest/sc.unit*slightlyMore), most)
		suffices := true
		if sc.through(int32(arc)) == (tokens{}) {
			least = sc.rates[c].least
			suffices = rest*slightlyMore >= float64(g.minAmount)*price
			if capacity < least && suffices && price >= sc.unit && (most >= least || admitted[c]) {
				capacity = least
			}
		}
		fine := rest/sc.unit*float64(g.arcs()) >= bookUnits || price >= tokenUnits*sc.unit || sc.done[arc]
		switch {
		case fine && capacity >= least:
			g.capacity[arc], g.least[arc] = capacity, least
			sc.done[arc] = true
		case !fine, suffices && rest <= patience:
			waiting += rest
			sc.done[arc] = false
		default:
			sc.rest[arc] = 0
		}
	}
	return waiting
}

// take notes what the strategy has decided.
func (g *graph) take(sc *scaling) {
	if sc.tokens == nil {
		sc.tokens = make([]tokens, g.arcs())
	}
	count := 0
	for _, flow := range g.flow {
		if flow > 0 {
			count++
		}
	}
	result := cleared{unit: sc.unit, arcs: make([]int32, 0, count), flow: make([]int64, 0, count)}
	for arc, flow := range g.flow {
		if flow > 0 {
			result.arcs, result.flow = append(result.arcs, int32(arc)), append(result.flow, flow)
			sc.rest[arc] -= float64(flow) * sc.unit
			sc.tokens[arc].add(sc.rates[g.currency[arc]].amount(flow))
		}
	}
	sc.scales = append(sc.scales, result)
}

// limitRest limits what is left of the arcs that have been part of a flow problem. All that they may carry yet has to
// flow through arcs that wait, too, so none of them needs to carry more than all of these. In sum, they must not keep the
// unit coarse: anybody can make any number of huge offers of which something is left. What waits for a finer unit is worth so
// little that each of them can still carry what thousands of the waiting arcs can.
func (sc *scaling) limitRest(most float64) {
	budget := math.Ldexp(sc.unit, totalBits-finerBits-1)
	for {
		total := 0.0
		for arc, done := range sc.done {
			if done {
				total += max(0, min(sc.rest[arc], most))
			}
		}
		if total <= budget {
			break
		}
		most /= 2
	}
	for arc, done := range sc.done {
		if done {
			sc.rest[arc] = max(0, min(sc.rest[arc], most))
		}
	}
}

// admitMinimal decides, for each currency, whether offers of just the minimal amount may take part although that is
// not a whole number of units. Then slightly more flows there than is on offer. Rounding to tokens makes good for it as
// long as it is, in each currency, only a small part of a token in all.
func (g *graph) admitMinimal(sc *scaling) (admitted []bool) {
	const most = 0.25 // tokens; less than 1 would do
	excess := make([]float64, g.currencies())
	for arc, c := range g.currency {
		if sc.rest[arc] > 0 && sc.through(int32(arc)) == (tokens{}) && sc.rates[c].value(g.offered[arc]) < sc.rates[c].least {
			excess[c] += sc.unit / g.price[c]
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
func (sc *scaling) unsold(g *graph, arc int32) int64 {
	through := sc.through(arc)
	sold := through.whole
	if through.fraction > 0 {
		sold++
	}
	return g.offered[arc] - int64(min(sold, uint64(g.offered[arc])))
}

// through returns what flows through an arc, so far.
func (c *clearing) through(arc int32) tokens {
	if c.tokens == nil {
		return tokens{}
	}
	return c.tokens[arc]
}

func (t *tokens) add(whole, fraction uint64) {
	var carry uint64
	t.fraction, carry = bits.Add64(t.fraction, fraction, 0)
	t.whole += whole + carry
}
