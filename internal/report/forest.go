package report

import "github.com/circular-trade/circular-trade/internal/solver"

// none stands for no currency.
const none = -1

// A forest links the registered currencies, known by their indices, to the ones that they are pegged to. The base
// currency, and all currencies that are not pegged to a registered one, are roots. So is one member of each cycle of
// pegs, which makes a tree of the cycle and all that is pegged to it.
type forest struct {
	currencies []solver.PricedCurrency
	byLocator  map[string]int32
	base       int32   // none if it is not registered
	parent     []int32 // none for a root
	root       []int32 // of the tree that the currency is in
	onCycle    []bool
}

func newForest(currencies []solver.PricedCurrency, params solver.Params) *forest {
	f := &forest{
		currencies: currencies,
		byLocator:  make(map[string]int32, len(currencies)),
		base:       none,
		parent:     make([]int32, len(currencies)),
		root:       make([]int32, len(currencies)),
		onCycle:    make([]bool, len(currencies)),
	}
	for i, c := range currencies {
		f.byLocator[c.Locator] = index(i)
	}
	if base, found := f.byLocator[params.BaseLocator]; found && currencies[base].DebtorID == params.BaseDebtorID {
		f.base = base
	}
	for i := range currencies {
		f.parent[i] = f.resolve(index(i))
		f.root[i] = none
	}
	for i := range currencies {
		f.findRoot(index(i))
	}
	return f
}

// resolve returns the currency that another one is pegged to, or none.
func (f *forest) resolve(i int32) int32 {
	peg := f.currencies[i].Peg
	if peg == nil || i == f.base {
		return none
	}
	parent, found := f.byLocator[peg.Locator]
	if !found || f.currencies[parent].DebtorID != peg.DebtorID {
		return none
	}
	return parent
}

// findRoot follows the pegs upwards until it meets a root, or a currency whose root is known, or the path itself,
// which means that the currency met is on a cycle; the cycle is cut there. All on the path then have that root.
func (f *forest) findRoot(i int32) {
	const onPath = -2
	var path []int32
	at := i
	for f.root[at] == none {
		f.root[at] = onPath
		path = append(path, at)
		if f.parent[at] == none {
			break
		}
		at = f.parent[at]
	}
	root := f.root[at]
	if root == onPath {
		root = at
		f.cutCycle(at)
	}
	for _, member := range path {
		f.root[member] = root
	}
}

// cutCycle makes a root of a currency, and marks those that it reaches through pegs, if they lead back to it.
func (f *forest) cutCycle(root int32) {
	if f.parent[root] == none {
		return
	}
	for at := f.parent[root]; at != root; at = f.parent[at] {
		f.onCycle[at] = true
	}
	f.onCycle[root] = true
	f.parent[root] = none
}

// danglingPeg returns the peg of a root, which leads to no currency or back into its own tree, and nil for all others.
func (f *forest) danglingPeg(i int32) *solver.Peg {
	if i == f.base || f.parent[i] != none {
		return nil
	}
	return f.currencies[i].Peg
}

func index(i int) int32 { return int32(i) } //nolint:gosec // 2^31 currencies do not fit in memory
