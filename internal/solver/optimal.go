package solver

import "context"

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
	if err := enforceMinimum(ctx, f, p); err != nil {
		return err
	}
	return newCycleSearch(g).run(ctx, p)
}

// enforceMinimum gives up all flows that are below the least flow of their arc, round by round. After each round the
// flow is made a largest one again, and others may become too small.
func enforceMinimum(ctx context.Context, f *circulation, p *progress) error {
	g := f.g
	withdrawn := make(map[int32]int64) // capacities of arcs
	small, share := smallFlows(g)
	for first := len(small); len(small) > 0; small, share = smallFlows(g) {
		p.report("giving up small trades", 1-float64(len(small))/float64(max(first, len(small))))
		if g.arcs() > largeBook && share < smallShare {
			break
		}
		for _, arc := range small {
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

// smallFlows lists the arcs with too little flow. The second result is the share of all value that flows there.
func smallFlows(g *graph) (arcs []int32, share float64) {
	small, all := 0.0, 0.0
	for arc, flow := range g.flow {
		all += float64(flow)
		if flow > 0 && flow < g.least[arc] {
			small += float64(flow)
			arcs = append(arcs, int32(arc))
		}
	}
	return arcs, small / max(1, all)
}
