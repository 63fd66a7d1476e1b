package solver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// A circulation turns the flow of a graph into one of the largest total value (solver.md section 6). It keeps a
// pseudo-flow, in which nodes may have a surplus or a deficit, together with node potentials that prove that no other
// flow with these imbalances is larger: counting 1 for each unit that leaves an arc and -1 for each unit that enters
// one, no residual arc has a negative reduced cost. Surpluses are sent to deficits along the cheapest residual paths, as
// many at a time as a blocking flow takes. That keeps the proof valid, so when no imbalance is left, the flow is a
// largest circulation. Residual arcs may be taken away at any time; balance then goes on from the flow at hand.
//
// Nodes are numbered traders first, currencies behind them. A link is an arc seen from one of its nodes; first come
// those of traders, which are numbered like the arcs, then those of currencies. The search jumps about in memory, so
// what it needs is kept small and together.
type circulation struct {
	g     *graph
	nodes []node   // and one more, for the end of the last one's links
	links []uint32 // the node at the other end, and flags
	twins []int32  // the same arc's link at the other end

	excess     []int64 // of a node: inflow minus outflow, a surplus if positive, a deficit if negative
	unbalanced []int32 // all nodes with a surplus or a deficit; others too, and a node may occur twice
	surplus    []int32 // the nodes with a surplus
	deficit    []int32 // the nodes with a deficit

	// frozen is set by finish.
	frozen bool

	// What the latest search has reached: the nodes, and the same by distance.
	reached []int32
	buckets [][]int32

	path []step // of the latest blocking flow, from a surplus node on; step.arc is a link here
}

type node struct {
	potential int32

	// Of the latest search: the level falls along each path that it found; the distance is the reduced cost of the
	// cheapest path to a deficit.
	level, distance int32

	firstLink int32

	cursor int32 // of the latest blocking flow: the next link to try
}

// Values of node.level other than levels, which are positive.
const (
	unreached = 0
	deadEnd   = -1
	pending   = -2 // in a bucket that has not been opened yet
)

// Flags of a link. It is open if its residual arc exists: a growing one if there is room for more flow, another one if
// there is flow that can be undone.
const (
	open     = 1
	growing  = 2
	backOpen = 4 // the twin is open
	flagBits = 3
)

func newCirculation(g *graph) *circulation {
	nodes := g.traders() + g.currencies()
	f := &circulation{
		g:       g,
		nodes:   make([]node, nodes+1),
		links:   make([]uint32, 2*g.arcs()),
		twins:   make([]int32, 2*g.arcs()),
		excess:  make([]int64, nodes),
		buckets: make([][]int32, 1),
	}
	traders, arcs := int32(g.traders()), int32(g.arcs())
	for t := range traders {
		f.nodes[t].firstLink = g.firstArc[t]
	}
	for c := range int32(g.currencies()) {
		f.nodes[traders+c].firstLink = arcs + g.firstEnd[c]
		for i := g.firstEnd[c]; i < g.firstEnd[c+1]; i++ {
			arc := g.ends[i].arc
			toTrader, toCurrency := uint32(g.ends[i].trader)<<flagBits, uint32(traders+c)<<flagBits
			if i < g.firstBuyEnd[c] {
				toTrader |= growing
			} else {
				toCurrency |= growing
			}
			f.links[arc], f.twins[arc] = toCurrency, arcs+i
			f.links[arcs+i], f.twins[arcs+i] = toTrader, arc
		}
	}
	f.nodes[nodes].firstLink = 2 * arcs
	for arc := range arcs {
		f.refresh(arc)
	}
	return f
}

func (f *circulation) head(l int32) int32 { return int32(f.links[l] >> flagBits) }

// setFlow changes the flow of an arc without regard to balance.
func (f *circulation) setFlow(arc int32, flow int64) {
	delta := flow - f.g.flow[arc]
	f.g.flow[arc] = flow
	f.refresh(arc)
	if delta == 0 {
		return
	}
	trader, currency := f.g.trader[arc], f.head(arc)
	if f.links[arc]&growing == 0 { // a sell arc, which leads to its trader
		delta = -delta
	}
	f.excess[trader] -= delta
	f.excess[currency] += delta
	f.unbalanced = append(f.unbalanced, trader, currency)
}

// refresh opens and closes the links of an arc according to its flow.
func (f *circulation) refresh(arc int32) {
	grow, shrink := &f.links[arc], &f.links[f.twins[arc]]
	if *grow&growing == 0 {
		grow, shrink = shrink, grow
	}
	flow, least := f.g.flow[arc], int64(0)
	canGrow := flow < f.g.capacity[arc]
	if f.frozen {
		least = f.g.least[arc]
		canGrow = canGrow && flow >= max(1, least)
	}
	*grow &^= open | backOpen
	*shrink &^= open | backOpen
	if canGrow {
		*grow |= open
		*shrink |= backOpen
	}
	if flow > least {
		*shrink |= open
		*grow |= backOpen
	}
}

// balance sends all surpluses to deficits, or all but the given rest.
func (f *circulation) balance(ctx context.Context, rest int64, report func(surplus int64)) error {
	for {
		surplus := f.findSurplus()
		report(surplus)
		if surplus <= rest {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !f.search() {
			return fmt.Errorf("%w: a flow cannot be undone", ErrInternal)
		}
		for _, v := range f.surplus {
			f.discharge(v)
		}
	}
}

// eachReached visits the nodes that the latest search has reached.
func (f *circulation) eachReached(visit func(n *node)) {
	const many = 8
	if len(f.reached) < len(f.nodes)/many {
		for _, v := range f.reached {
			visit(&f.nodes[v])
		}
		return
	}
	for i := range f.nodes { // in order, which is faster
		if n := &f.nodes[i]; n.level != unreached {
			visit(n)
		}
	}
}

// findSurplus lists the nodes with a surplus, and forgets the latest search. It returns the sum of all surpluses.
func (f *circulation) findSurplus() int64 {
	f.eachReached(func(n *node) { n.level = unreached })
	f.reached = f.reached[:0]
	f.surplus, f.deficit = f.surplus[:0], f.deficit[:0]
	total := int64(0)
	unbalanced := f.unbalanced[:0]
	for _, v := range f.unbalanced {
		if f.excess[v] == 0 || f.nodes[v].level != unreached {
			continue
		}
		f.nodes[v].level = pending
		f.reached = append(f.reached, v)
		unbalanced = append(unbalanced, v)
		if f.excess[v] > 0 {
			f.surplus = append(f.surplus, v)
			total += f.excess[v]
		} else {
			f.deficit = append(f.deficit, v)
		}
	}
	for _, v := range f.reached {
		f.nodes[v].level = unreached
	}
	f.reached = f.reached[:0]
	f.unbalanced = unbalanced
	return total
}

// search goes backwards from all deficits and finds the cheapest residual path from each surplus node to a deficit. It
// changes the potentials so that all arcs of these paths have a reduced cost of 0. It tells whether there is any path.
func (f *circulation) search() (found bool) {
	for d := range f.buckets {
		f.buckets[d] = f.buckets[d][:0]
	}
	f.buckets[0] = append(f.buckets[0], f.deficit...)
	for _, v := range f.deficit {
		f.nodes[v].level, f.nodes[v].distance = pending, 0
	}
	f.reached = append(f.reached, f.deficit...)
	awaited := len(f.surplus)
	level, farthest := int32(0), int32(0)
	for d := int32(0); awaited > 0 && int(d) < len(f.buckets); d++ { // buckets are added meanwhile
		if len(f.buckets[d]) > 0 {
			level, awaited = f.openBucket(d, level, awaited)
			farthest = d
		}
	}
	f.eachReached(func(n *node) {
		n.potential += max(0, farthest-n.distance)
		n.cursor = n.firstLink
	})
	return awaited < len(f.surplus)
}

// openBucket scans the nodes at distance d, breadth first, until no surplus nodes are awaited any more. The nodes that
// were reached from nearer ones are on the level behind the given one. It returns the last level, and how many surplus
// nodes are still awaited.
func (f *circulation) openBucket(d, level int32, awaited int) (last int32, stillAwaited int) {
	first := level + 1
	for i := 0; awaited > 0 && i < len(f.buckets[d]); i++ {
		v := f.buckets[d][i]
		n := &f.nodes[v]
		if n.distance != d {
			continue // reached on a cheaper path later
		}
		if n.level == pending {
			n.level = first
		}
		level = n.level
		if f.excess[v] > 0 {
			awaited--
		}
		f.scan(v)
	}
	return level, awaited
}

// scan reaches out to those neighbours of a node from which a residual arc leads to it.
func (f *circulation) scan(v int32) {
	n := f.nodes[v]
	base := n.distance - n.potential
	for _, l := range f.links[n.firstLink:f.nodes[v+1].firstLink] {
		if l&backOpen == 0 {
			continue
		}
		neighbour := &f.nodes[l>>flagBits]
		if neighbour.level > 0 {
			continue // has been scanned, or waits in the open bucket
		}
		w := int32(l >> flagBits)
		d := n.distance
		if !f.frozen {
			d = base - cost(l) + neighbour.potential
		}
		if neighbour.level == unreached {
			f.reached = append(f.reached, w)
		} else if neighbour.distance <= d {
			continue
		}
		neighbour.distance = d
		neighbour.level = pending
		if d == n.distance {
			neighbour.level = n.level + 1
		}
		for int(d) >= len(f.buckets) {
			f.buckets = append(f.buckets, nil)
		}
		f.buckets[d] = append(f.buckets[d], w)
	}
}

// cost of a link: growing flow is a gain.
func cost(l uint32) int32 { return 1 - int32(l&growing) }

// discharge sends the surplus of a node to deficits, along arcs of reduced cost 0 and ever lower levels.
func (f *circulation) discharge(source int32) {
	f.path = f.path[:0]
	if f.nodes[source].level <= 0 {
		return
	}
	for v := source; f.excess[source] > 0; {
		if f.excess[v] < 0 {
			v = f.augment(source, v)
			continue
		}
		if f.advance(v) {
			link := f.nodes[v].cursor
			f.path = append(f.path, step{v, link})
			v = f.head(link)
			continue
		}
		f.nodes[v].level = deadEnd
		if len(f.path) == 0 {
			return
		}
		v = f.path[len(f.path)-1].node
		f.path = f.path[:len(f.path)-1]
		f.nodes[v].cursor++
	}
}

// advance moves the cursor of a node to the next link that leads on.
func (f *circulation) advance(v int32) bool {
	n := &f.nodes[v]
	last := f.nodes[v+1].firstLink
	for i, l := range f.links[n.cursor:last] {
		if l&open == 0 {
			continue
		}
		next := &f.nodes[l>>flagBits]
		if next.level > 0 && next.level < n.level && (f.frozen || next.potential == n.potential+cost(l)) {
			n.cursor += int32(i)
			return true
		}
	}
	n.cursor = last
	return false
}

// augment pushes as much as possible along the path from a surplus node to a deficit node. It returns the node from
// which the next path may go on.
func (f *circulation) augment(source, target int32) int32 {
	g := f.g
	amount := min(f.excess[source], -f.excess[target])
	for _, s := range f.path {
		if arc := f.arc(s.arc); f.links[s.arc]&growing != 0 {
			amount = min(amount, g.capacity[arc]-g.flow[arc])
		} else if f.frozen {
			amount = min(amount, g.flow[arc]-g.least[arc])
		} else {
			amount = min(amount, g.flow[arc])
		}
	}
	f.excess[source] -= amount
	f.excess[target] += amount
	keep, at := len(f.path), target
	for i, s := range slices.Backward(f.path) {
		arc := f.arc(s.arc)
		if f.links[s.arc]&growing != 0 {
			g.flow[arc] += amount
		} else {
			g.flow[arc] -= amount
		}
		f.refresh(arc)
		if f.links[s.arc]&open == 0 {
			keep, at = i, s.node
		}
	}
	f.path = f.path[:keep]
	return at
}

func (f *circulation) arc(link int32) int32 {
	if int(link) < f.g.arcs() {
		return link
	}
	return f.twins[link]
}

// finish balances an almost good flow quickly. It only uses residual arcs along which no flow becomes positive, or
// smaller than its least flow, so no new small flows come about; and it takes all of them to be equally cheap, so it
// gives up on the largest value. Where it does not get on, it undoes the smallest flows that stand in the way.
func (f *circulation) finish(ctx context.Context) error {
	const (
		patience = 1       // times that single flows of a trader are undone, before all of them are
		slow     = 7. / 8. // of the surplus nodes left after a search: such progress is not worth the time
	)
	f.frozen = true
	for arc := range int32(f.g.arcs()) {
		f.refresh(arc)
	}
	for cuts, before := 0, 0; ; {
		f.findSurplus()
		if len(f.surplus) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if float64(len(f.surplus)) > slow*float64(before) && before > 0 {
			f.cutLoose(cuts >= patience)
			cuts, before = cuts+1, 0
			continue
		}
		before = len(f.surplus)
		f.search()
		for _, v := range f.surplus {
			f.discharge(v)
		}
	}
}

// cutLoose undoes the smallest flow that causes the imbalance of a trader, or of a currency if all traders are balanced;
// or all flows of the traders and of the less popular currencies, and as many of the smallest flows of the popular ones
// as it takes. The imbalances move on to the neighbours.
func (f *circulation) cutLoose(all bool) {
	const few = 64 // links of a less popular currency
	nodes := slices.Clone(f.unbalanced)
	if !all && slices.ContainsFunc(nodes, f.isTrader) {
		nodes = slices.DeleteFunc(nodes, func(v int32) bool { return !f.isTrader(v) })
	}
	for _, v := range nodes {
		first, last := f.nodes[v].firstLink, f.nodes[v+1].firstLink
		if all && last-first <= few {
			for l := first; l < last; l++ {
				f.setFlow(f.arc(l), 0)
			}
			continue
		}
		enough := int64(1)
		if all {
			enough = max(f.excess[v], -f.excess[v])
		}
		for _, arc := range f.smallestFlows(v, enough) {
			f.setFlow(arc, 0)
		}
	}
}

// smallestFlows lists the arcs with the smallest flows that add to the imbalance of a node, and together are enough.
func (f *circulation) smallestFlows(v int32, enough int64) (arcs []int32) {
	if f.excess[v] == 0 {
		return nil
	}
	for l := f.nodes[v].firstLink; l < f.nodes[v+1].firstLink; l++ {
		arc, leaves := f.arc(l), f.links[l]&growing != 0
		if f.g.flow[arc] > 0 && leaves == (f.excess[v] < 0) {
			arcs = append(arcs, arc)
		}
	}
	slices.SortFunc(arcs, func(a, b int32) int {
		return cmp.Or(cmp.Compare(f.g.flow[a], f.g.flow[b]), cmp.Compare(a, b))
	})
	for i, arc := range arcs {
		if enough -= f.g.flow[arc]; enough <= 0 {
			return arcs[:i+1]
		}
	}
	return arcs
}

func (f *circulation) isTrader(v int32) bool { return int(v) < f.g.traders() }
