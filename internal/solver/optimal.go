package solver

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Optimal returns the strategy that clears the largest total value that can be had if trades may be of any size, gives
// up the trades that are too small after that, and makes the best of what is left (solver.md section 6).
func Optimal() Strategy { return optimal{} }

type optimal struct{}

func (optimal) Name() string { return "optimal" }

// Books of more offers than this are large. They are cleared with a little less than the largest value, to be done
// sooner: imbalances that are small in all, and small trades that matter little, are settled by finish.
const (
	largeBook  = 1 << 19
	smallRest  = 1e-3 // of the imbalances at the beginning
	smallShare = 1e-2 // of the value of all trades
)

// Which trades are given up first can matter much in a book of no more offers than smallBook, where there is time to try
// several ways: to give up all small flows at once, or only a part of them before the others get another chance. No part
// is best for all books, and many more hardly help.
const smallBook = 1 << 16

var partsGivenUp = []float64{1, 0.5, 0.1}

func (optimal) clear(ctx context.Context, g *graph, p *progress) error {
	f := newCirculation(g)
	for arc, capacity := range g.capacity {
		f.setFlow(int32(arc), capacity)
	}
	surplus, rest := f.findSurplus(), int64(0)
	if g.arcs() > largeBook {
		rest = int64(float64(surplus) * smallRest)
	}
	err := f.balance(ctx, rest, func(left int64) {
		p.report("balancing currencies", 1-float64(left)/float64(max(1, surplus)))
	})
	if err != nil {
		return err
	}
	if g.arcs() > smallBook {
		return complete(ctx, f, 1, p)
	}
	return completeWell(ctx, f, p)
}

// completeWell makes a clearing of a largest circulation in several ways, and keeps the best one. Among them is to start
// anew with the greedy strategy.
func completeWell(ctx context.Context, f *circulation, p *progress) error {
	g := f.g
	largest, nodes := slices.Clone(g.flow), slices.Clone(f.nodes)
	clear(g.flow)
	if err := Greedy().clear(ctx, g, p); err != nil {
		return err
	}
	best, bestValue := slices.Clone(g.flow), g.value()
	for _, part := range partsGivenUp {
		copy(g.flow, largest)
		f := newCirculation(g)
		copy(f.nodes, nodes)
		if err := complete(ctx, f, part, p); err != nil {
			return err
		}
		if value := g.value(); value > bestValue {
			bestValue = value
			copy(best, g.flow)
		}
	}
	copy(g.flow, best)
	return nil
}

// complete makes a clearing of a largest circulation: it gives up flows that are too small, and adds what is possible.
func complete(ctx context.Context, f *circulation, part float64, p *progress) error {
	if err := enforceMinimum(ctx, f, part, p); err != nil {
		return err
	}
	return newCycleSearch(f.g).run(ctx, p)
}

// enforceMinimum gives up the flows that are below the least flow of their arc, round by round: the given part of them,
// those which are smallest in proportion. After each round the flow is made a largest one again, and others may become
// too small.
func enforceMinimum(ctx context.Context, f *circulation, part float64, p *progress) error {
	g := f.g
	withdrawn := make(map[int32]int64) // capacities of arcs
	small, share := g.smallFlows()
	for first := len(small); len(small) > 0; small, share = g.smallFlows() {
		p.report("giving up small trades", 1-float64(len(small))/float64(max(first, len(small))))
		if g.arcs() > largeBook && share < smallShare {
			break
		}
		for _, arc := range small[:int(math.Ceil(part*float64(len(small))))] {
			withdrawn[arc] = g.capacity[arc]
			g.capacity[arc] = 0
			f.setFlow(arc, 0)
		}
		if err := f.balance(ctx, 0, func(int64) {}); err != nil {
			return err
		}
	}
	for _, arc := range small {
		f.setFlow(arc, 0)
	}
	if err := f.finish(ctx); err != nil {
		return err
	}
	for arc, capacity := range withdrawn {
		g.capacity[arc] = capacity
	}
	return nil
}

// smallFlows lists the arcs with too little flow, the smallest ones in proportion first. The second result is the share
// of all value that flows there.
func (g *graph) smallFlows() (arcs []int32, share float64) {
	small, all := 0.0, 0.0
	for arc, flow := range g.flow {
		all += float64(flow)
		if flow > 0 && flow < g.least[arc] {
			small += float64(flow)
			arcs = append(arcs, int32(arc))
		}
	}
	proportion := func(arc int32) float64 { return float64(g.flow[arc]) / float64(g.least[arc]) }
	slices.SortFunc(arcs, func(a, b int32) int {
		return cmp.Or(cmp.Compare(proportion(a), proportion(b)), cmp.Compare(a, b))
	})
	return arcs, small / max(1, all)
}

// value is the total flow, in units.
func (g *graph) value() float64 {
	total := 0.0
	for _, flow := range g.flow {
		total += float64(flow)
	}
	return total
}
