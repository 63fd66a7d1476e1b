package solver_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// An oracle finds the largest circulation of a small book in a way that is obviously right, if slow: as long as there is
// a cycle of residual arcs along which the total value grows, it pushes as much as possible along that cycle. Values are
// integers, so the total grows by at least one unit each time.
type oracle struct {
	node map[any]int // of a creditor ID or a debtor ID
	arcs []oracleArc
}

// An oracleArc stands for an offer, as in solver.md section 4.2. A unit that goes through a sell arc counts.
type oracleArc struct {
	from, to             int
	sells                bool
	capacity, flow, most int64 // most is the capacity that the arc had before removeSmall
	least                float64
}

// oracleUnit is the value of a unit: capacities of ordinary books become large numbers, but do not overflow.
const oracleUnit = 1e-6

// newOracle makes the offer graph. Nobody may sell and buy the same.
func newOracle(b *book) *oracle {
	o := &oracle{node: make(map[any]int)}
	c := newChecker(b)
	for _, offer := range b.sells {
		if _, admitted := c.sells[account{offer.Creditor, offer.Debtor}]; admitted {
			o.add(o.at(offer.Debtor), o.at(offer.Creditor), true, offer.Amount, c.price[offer.Debtor], c.minimum)
		}
	}
	for _, offer := range b.buys {
		if _, admitted := c.buys[account{offer.Creditor, offer.Debtor}]; admitted {
			o.add(o.at(offer.Creditor), o.at(offer.Debtor), false, offer.Amount, c.price[offer.Debtor], c.minimum)
		}
	}
	return o
}

func (o *oracle) at(id any) int {
	if _, found := o.node[id]; !found {
		o.node[id] = len(o.node)
	}
	return o.node[id]
}

func (o *oracle) add(from, to int, sells bool, amount int64, price float64, minimum int64) {
	capacity := int64(float64(amount) * price / oracleUnit)
	least := float64(minimum) * price / oracleUnit * (1 - 1e-9)
	o.arcs = append(o.arcs, oracleArc{from: from, to: to, sells: sells, capacity: capacity, most: capacity, least: least})
}

// Residual arcs are numbered: 2i stands for more flow on arc i, 2i+1, in the other direction, for less.
func (o *oracle) look(r int) (from, to int, room int64, gain int) {
	a := &o.arcs[r/2]
	if a.sells {
		gain = 1
	}
	if r%2 == 1 {
		return a.to, a.from, a.flow, -gain
	}
	return a.from, a.to, a.capacity - a.flow, gain
}

// solve finds the largest circulation, and returns its value.
func (o *oracle) solve() float64 {
	for cycle := o.findGain(); cycle != nil; cycle = o.findGain() {
		most := int64(math.MaxInt64)
		for _, r := range cycle {
			_, _, room, _ := o.look(r)
			most = min(most, room)
		}
		for _, r := range cycle {
			o.arcs[r/2].flow += most * int64(1-r%2*2)
		}
	}
	total := 0.0
	for _, a := range o.arcs {
		if a.sells {
			total += float64(a.flow) * oracleUnit
		}
	}
	return total
}

// findGain is the Bellman-Ford search for a cycle of residual arcs that gains something. It returns nil if there is none.
func (o *oracle) findGain() []int {
	best, last := make([]int, len(o.node)), slices.Repeat([]int{-1}, len(o.node))
	for {
		relaxed := -1
		for r := range 2 * len(o.arcs) {
			from, to, room, gain := o.look(r)
			if room > 0 && best[from]+gain > best[to] {
				best[to], last[to], relaxed = best[from]+gain, r, to
			}
		}
		if relaxed < 0 {
			return nil
		}
		if cycle := o.cycleBefore(relaxed, last); cycle != nil {
			return cycle
		}
	}
}

// cycleBefore goes back from a node along the arcs that were last on the best ways to nodes. If these ways have a
// beginning, it returns nil, else the cycle that they come from.
func (o *oracle) cycleBefore(v int, last []int) (cycle []int) {
	for range o.node { // after that many steps we are on the cycle for certain
		if last[v] < 0 {
			return nil
		}
		v, _, _, _ = o.look(last[v])
	}
	for start := v; len(cycle) == 0 || v != start; {
		cycle = append(cycle, last[v])
		v, _, _, _ = o.look(last[v])
	}
	return cycle
}

// removeSmall solves, and as long as there are flows below the minimum trade amount, removes their offers and solves the
// rest again. It returns the value.
func (o *oracle) removeSmall() float64 {
	for {
		total, removed := o.solve(), false
		for i := range o.arcs {
			if a := &o.arcs[i]; a.flow > 0 && float64(a.flow) < a.least {
				a.capacity, removed = 0, true
			}
		}
		if !removed {
			return total
		}
		for i := range o.arcs {
			o.arcs[i].flow = 0
		}
	}
}

// unbalanced returns the first node where the flow is not conserved, or -1.
func (o *oracle) unbalanced() int {
	inflow := make([]int64, len(o.node))
	for _, a := range o.arcs {
		if a.flow < 0 || a.flow > a.capacity {
			return a.from
		}
		inflow[a.from] -= a.flow
		inflow[a.to] += a.flow
	}
	return slices.IndexFunc(inflow, func(n int64) bool { return n != 0 })
}

func TestOracle(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]float64{
		"S1 swap": 12000, "S2 ring of three": 23100, "S3 two rings share a trader": 71000, "S4 leftovers": 11000,
		"S5 open chain": 0, "S17 greedy is not optimal": 15000, "S13 minimum in tokens": 21000,
	} {
		c := workedCases()[name]
		c.minimum = 1
		o := newOracle(c.book(t))
		if got := o.solve(); math.Abs(got-want) > 1e-3 || o.unbalanced() >= 0 {
			t.Errorf("%s: optimum %g, want %g", name, got, want)
		}
	}
	small := notation{
		currencies: "61 × 10; 62 × 1",
		offers: `1: sell 60 5000 @801, buy 61 5000, buy 62 1000
			2: sell 61 2000 @802, buy 60 2000
			3: sell 62 3000 @803, buy 60 3000`,
	}.book(t)
	if all, rest := newOracle(small).solve(), newOracle(small).removeSmall(); all != 6000 || rest != 2000 {
		t.Errorf("optimum %g, %g when small flows are removed", all, rest)
	}
}

// smallBook makes a book with few currencies and traders, all offers of which are admitted, and none of which needs
// netting.
func smallBook(r *rand.Rand, minimum int64, amount func() int64) *book {
	m := newMaker(r, minimum)
	m.tree(1+r.IntN(6), 0.7)
	for creditor := range swpt.CreditorID(3 + r.IntN(10)) {
		for id := range m.currencies {
			debtor := swpt.DebtorID(base + id)
			switch r.IntN(5) {
			case 0, 1:
				m.sell(creditor+1, debtor, max(minimum, amount()))
			case 2, 3:
				m.buy(creditor+1, debtor, max(minimum, amount()))
			}
		}
	}
	return m.book
}

// If amounts are so large that neither rounding nor the minimum matters, optimal clears the optimum, and greedy most of
// it.
func TestOptimalIsOptimal(t *testing.T) {
	t.Parallel()
	const books = 300
	var greedyOfOptimum ratios
	for seed := range uint64(books) {
		r := dice(seed)
		b := smallBook(r, 1, func() int64 { return int64(1e8 * (1 + 20*r.Float64())) })
		o := newOracle(b)
		optimum := o.solve()
		if o.unbalanced() >= 0 {
			t.Fatalf("book %d: the oracle is wrong", seed)
		}
		optimal, greedy := b.clear(t, solver.Optimal(), 1), b.clear(t, solver.Greedy(), 1)
		checkOutcome(t, b, optimal)
		checkOutcome(t, b, greedy)
		if math.Abs(value(optimal)-optimum) > 1e-6*optimum {
			t.Errorf("book %d: %g is cleared, the optimum is %g", seed, value(optimal), optimum)
		}
		if value(greedy) > optimum*(1+1e-6) {
			t.Errorf("book %d: %g is cleared by greedy, the optimum is %g", seed, value(greedy), optimum)
		}
		greedyOfOptimum.add(value(greedy), optimum)
	}
	if greedyOfOptimum.log(t, "greedy, of the optimum"); greedyOfOptimum.mean() < 0.8 {
		t.Errorf("greedy clears only %.4f of the optimum", greedyOfOptimum.mean())
	}
}

// Ratios of numbers that belong together.
type ratios struct {
	each          []float64
	first, second float64 // sums
}

func (s *ratios) add(first, second float64) {
	s.first += first
	s.second += second
	if first > 0 || second > 0 {
		s.each = append(s.each, first/second)
		slices.Sort(s.each)
	}
}

// mean counts something instead of nothing as twice as much.
func (s *ratios) mean() float64 {
	sum := 0.0
	for _, r := range s.each {
		sum += min(r, 2)
	}
	return sum / float64(len(s.each))
}

// at returns the ratio that a part of all ratios does not reach.
func (s *ratios) at(part float64) float64 { return s.each[int(part*float64(len(s.each)-1))] }

func (s *ratios) log(t *testing.T, name string) {
	t.Helper()
	t.Logf("%s: least %.4f, 1%% %.4f, 5%% %.4f, 25%% %.4f, median %.4f, 75%% %.4f, 95%% %.4f, most %.4f; mean %.4f of %d; sums %.4f",
		name, s.at(0), s.at(0.01), s.at(0.05), s.at(0.25), s.at(0.5), s.at(0.75), s.at(0.95), s.at(1), s.mean(), len(s.each), s.first/s.second)
}

// Where the minimum trade amount matters, optimal clears no more than the optimum without it, and on average at least
// what removing the too small flows and solving again leaves. In books of which the minimum makes a puzzle, either way
// may find nothing at all, so there is no bound for each of them.
func TestOptimalWithMinimum(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		books int
		make  func(r *rand.Rand) *book

		// What optimal must clear of what repeated removal leaves: in each book, and in all but 5% of them.
		least, usual float64
	}{
		"few offers at the minimum":   {400, smallNear(0.05), 0, 0.9},
		"few offers near the minimum": {400, smallNear(0.7), 0, 0.75},
		"few offers":                  {400, smallNear(2), 0, 0.75},
		"ordinary":                    {300, func(r *rand.Rand) *book { return mediumBook(r, 0.7) }, 0.85, 0.95},
		"wide rates":                  {300, func(r *rand.Rand) *book { return mediumBook(r, 3) }, 0, 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ofOptimum, ofRemoval, greedyOfOptimal ratios
			for seed := range uint64(c.books) {
				b := c.make(dice(seed))
				optimum, removal := newOracle(b).solve(), newOracle(b).removeSmall()
				optimal, greedy := b.clear(t, solver.Optimal(), 1), b.clear(t, solver.Greedy(), 1)
				checkOutcome(t, b, optimal)
				checkOutcome(t, b, greedy)
				if most := optimum + roundingOf(b); value(optimal) > most || value(greedy) > most {
					t.Errorf("book %d: %g and %g are cleared, the optimum is %g", seed, value(optimal), value(greedy), optimum)
				}
				if value(optimal) < c.least*removal {
					t.Errorf("book %d: %g is cleared, repeated removal leaves %g", seed, value(optimal), removal)
				}
				ofOptimum.add(value(optimal), optimum)
				ofRemoval.add(value(optimal), removal)
				greedyOfOptimal.add(value(greedy), value(optimal))
			}
			ofOptimum.log(t, "optimal, of the optimum without minimum")
			ofRemoval.log(t, "optimal, of repeated removal")
			greedyOfOptimal.log(t, "greedy, of optimal")
			if ofRemoval.at(0.05) < c.usual || ofRemoval.mean() < 0.999 || ofRemoval.first < 0.999*ofRemoval.second {
				t.Error("optimal is worse than repeated removal")
			}
			if greedyOfOptimal.first > greedyOfOptimal.second {
				t.Error("greedy is better than optimal")
			}
		})
	}
}

// smallNear makes small books with amounts that exceed the minimum by some spread.
func smallNear(spread float64) func(r *rand.Rand) *book {
	return func(r *rand.Rand) *book {
		return smallBook(r, 1000, func() int64 { return int64(1000 * math.Exp(spread*math.Abs(r.NormFloat64()))) })
	}
}

// roundingOf is more than rounding can change the cleared value of a book by: a token a currency.
func roundingOf(b *book) float64 {
	sum := 0.0
	for _, price := range newChecker(b).price {
		sum += price
	}
	return sum
}

// mediumBook makes a book like those of the benchmarks, in which nobody sells and buys the same.
func mediumBook(r *rand.Rand, spread float64) *book {
	m := newMaker(r, 1000)
	m.tree(10, spread)
	for creditor := range swpt.CreditorID(30 + r.IntN(30)) {
		for range 1 + r.IntN(3) {
			if id := m.popular(); !m.offers[offerKey{account{creditor + 1, id}, false}] {
				m.sell(creditor+1, id, m.ordinary())
			}
		}
		for range 1 + r.IntN(3) {
			if id := m.popular(); !m.offers[offerKey{account{creditor + 1, id}, true}] {
				m.buy(creditor+1, id, m.ordinary())
			}
		}
	}
	return m.book
}

// A leftover is a circular trade that could have been cleared in addition.
type leftover struct {
	currencies []swpt.DebtorID
	traders    []swpt.CreditorID
	value      float64
}

// An explorer looks for leftovers by trying all cycles up to a length.
type explorer struct {
	longest int
	minimum float64
	price   map[swpt.DebtorID]float64
	sells   map[swpt.DebtorID]map[swpt.CreditorID]rest // by what is sold, and by whom
	buys    map[swpt.CreditorID]map[swpt.DebtorID]rest
	found   *leftover
}

// A rest is what is left of an offer, in tokens, and the least that must be added to what has been traded.
type rest struct{ tokens, least float64 }

// findLeftover returns the best leftover of up to some currencies, or nil. In it, accounts that have not changed change
// by the minimum or more, and others by more than rounding may have left.
func findLeftover(b *book, out *solver.Outcome, longest int) *leftover {
	const rounding = 2
	c := newChecker(b)
	e := &explorer{
		longest: longest, minimum: float64(c.minimum), price: c.price,
		sells: make(map[swpt.DebtorID]map[swpt.CreditorID]rest),
		buys:  make(map[swpt.CreditorID]map[swpt.DebtorID]rest),
	}
	changed := make(map[account]float64)
	for _, ch := range slices.Concat(out.Takings, out.Givings) {
		changed[account{ch.Creditor, ch.Debtor}] = float64(ch.Amount)
	}
	restOf := func(a account, offered int64) rest {
		if changed[a] > 0 {
			return rest{float64(offered) - changed[a], 1 + rounding + 1e-9*changed[a]}
		}
		return rest{float64(offered), e.minimum}
	}
	for a, o := range c.netSells {
		put(e.sells, a.debtor, a.creditor, restOf(a, o.Amount))
	}
	for a, o := range c.netBuys {
		put(e.buys, a.creditor, a.debtor, restOf(a, o.Amount))
	}
	for start := range e.sells {
		e.explore([]swpt.DebtorID{start}, nil, 0, math.Inf(1))
	}
	return e.found
}

func put[K, L comparable, V any](m map[K]map[L]V, key K, inner L, v V) {
	if m[key] == nil {
		m[key] = make(map[L]V)
	}
	m[key][inner] = v
}

// explore goes on from the last currency of a path, along which a value from least to most can flow.
func (e *explorer) explore(currencies []swpt.DebtorID, traders []swpt.CreditorID, least, most float64) {
	limit := func(id swpt.DebtorID, r rest, least, most float64) (float64, float64) {
		return max(least, r.least*e.price[id]), min(most, r.tokens*e.price[id])
	}
	last := currencies[len(currencies)-1]
	for trader, sell := range e.sells[last] {
		low, high := limit(last, sell, least, most)
		if slices.Contains(traders, trader) || low > high*(1+1e-12) {
			continue
		}
		for next, buy := range e.buys[trader] {
			low, high := limit(next, buy, low, high)
			if low > high*(1+1e-12) {
				continue
			}
			along := append(slices.Clone(traders), trader)
			if next == currencies[0] {
				if len(along) > 1 && (e.found == nil || high > e.found.value) {
					e.found = &leftover{currencies, along, high}
				}
				continue
			}
			if next > currencies[0] && len(currencies) < e.longest && !slices.Contains(currencies, next) {
				e.explore(append(slices.Clone(currencies), next), along, low, high)
			}
		}
	}
}

func TestLeftoversAreFound(t *testing.T) {
	t.Parallel()
	for name, longest := range map[string]int{"S1 swap": 2, "S2 ring of three": 3, "S17 greedy is not optimal": 2} {
		b := workedCases()[name].book(t)
		if findLeftover(b, &solver.Outcome{}, longest) == nil {
			t.Errorf("%s: nothing is left of an untouched book", name)
		}
		if longest > 2 && findLeftover(b, &solver.Outcome{}, longest-1) != nil {
			t.Errorf("%s: a ring of less than %d", name, longest)
		}
	}
}

// In the worked cases, no circular trade is left (G6).
func TestWorkedCasesAreMaximal(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			for name, c := range workedCases() {
				b := c.book(t)
				if left := findLeftover(b, b.clear(t, s, 1), 4); left != nil {
					t.Errorf("%s: %+v is left", name, *left)
				}
			}
		})
	}
}

// In random books, nothing is left, or hardly ever anything.
func TestRandomBooksAreMaximal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		books   int
		make    func(r *rand.Rand) *book
		longest int
	}{
		"few offers at the minimum":   {400, smallNear(0.05), 4},
		"few offers near the minimum": {400, smallNear(0.7), 4},
		"few offers":                  {400, smallNear(2), 4},
		"ordinary":                    {60, func(r *rand.Rand) *book { return mediumBook(r, 0.7) }, 4},
		"wide rates":                  {60, func(r *rand.Rand) *book { return mediumBook(r, 3) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range strategies() {
				t.Run(s.Name(), func(t *testing.T) {
					t.Parallel()
					left, share := 0, 0.0
					for seed := range uint64(c.books) {
						b := c.make(dice(1000 + seed))
						out := b.clear(t, s, 1)
						if found := findLeftover(b, out, c.longest); found != nil {
							left++
							share += found.value / max(1, value(out))
							t.Logf("book %d: %+v is left, %g is cleared", seed, *found, value(out))
						}
					}
					t.Logf("something is left in %d of %d books, on average %.2g of what is cleared",
						left, c.books, share/float64(c.books))
					if left > c.books/100 {
						t.Errorf("something is left in %d of %d books", left, c.books)
					}
				})
			}
		})
	}
}
