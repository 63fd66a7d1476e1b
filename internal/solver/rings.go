package solver

import (
	"iter"
	"math"
	"slices"
)

// Rings decomposes the outcome into circular trades, in no particular order. A yielded ring's steps are valid until the
// next ring only. For each account, the amounts of its steps add up to its taking.
func (o *Outcome) Rings() iter.Seq[Ring] {
	return func(yield func(Ring) bool) {
		d := newDecomposition(o)
		for scale := range o.scales {
			if !d.peel(scale, yield) {
				return
			}
		}
	}
}

// A decomposition takes rings off a flow until nothing is left.
type decomposition struct {
	o      *Outcome
	passed []float64 // value that has gone through each arc
	whole  []float64 // value that goes through each arc
	given  []int64   // tokens given so far on each arc
	last   []int     // the last scale on which something flows through each arc
	steps  []RingStep
}

func newDecomposition(o *Outcome) *decomposition {
	d := &decomposition{
		o:      o,
		passed: make([]float64, o.graph.arcs()),
		whole:  make([]float64, o.graph.arcs()),
		given:  make([]int64, o.graph.arcs()),
		last:   make([]int, o.graph.arcs()),
	}
	for scale, result := range o.scales {
		for i, arc := range result.arcs {
			d.whole[arc] += float64(result.flow[i]) * result.unit
			d.last[arc] = scale
		}
	}
	return d
}

// peel yields the rings of one scale. It returns false when the receiver has had enough.
func (d *decomposition) peel(scale int, yield func(Ring) bool) bool {
	result := d.o.scales[scale]
	flow := *d.o.graph
	flow.least = make([]int64, flow.arcs())
	search := newCycleSearch(&flow)
	for i, arc := range result.arcs {
		search.room[arc] = result.flow[i]
	}
	more := true
	search.found = func(cycle []step, value int64) bool {
		more = yield(d.ring(search, cycle, float64(value)*result.unit, scale))
		return more
	}
	search.searchClass(1)
	return more
}

// ring turns a cycle of the offer graph into steps. Tokens go against its direction, from sellers to buyers.
func (d *decomposition) ring(search *cycleSearch, cycle []step, value float64, scale int) Ring {
	g := search.g
	d.steps = d.steps[:0]
	for _, s := range slices.Backward(cycle) {
		if !g.sells(s.arc) {
			continue
		}
		d.passed[s.arc] += value
		d.steps = append(d.steps, RingStep{
			Creditor: g.creditor[g.trader[s.arc]],
			Debtor:   g.debtor[g.currency[s.arc]],
			Amount:   d.share(s.arc, search.room[s.arc] == 0 && d.last[s.arc] == scale),
		})
	}
	return Ring{Value: value, Steps: d.steps}
}

// share returns the tokens of a ring's step, such that they add up to the amount of the arc.
func (d *decomposition) share(arc int32, last bool) int64 {
	amount := d.o.amounts[arc]
	if part := d.passed[arc] / d.whole[arc]; !last && part < 1 {
		amount = min(amount, int64(math.Round(float64(amount)*part)))
	}
	amount -= d.given[arc]
	d.given[arc] += amount
	return amount
}
