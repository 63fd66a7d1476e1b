package solver_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A maker makes random books.
type maker struct {
	*rand.Rand
	*book
	depth  map[swpt.DebtorID]int
	offers map[offerKey]bool
}

type offerKey struct {
	account
	sells bool
}

// base is the base currency of random books; others follow it.
const base = 60

func newMaker(r *rand.Rand, minimum int64) *maker {
	m := &maker{r, &book{params: turn(base, 10, minimum)}, make(map[swpt.DebtorID]int), make(map[offerKey]bool)}
	m.currencies = append(m.currencies, solver.Currency{Confirmed: true, Locator: locator(base), DebtorID: base})
	return m
}

// peg adds the next currency.
func (m *maker) peg(to swpt.DebtorID, rate float64) swpt.DebtorID {
	id := swpt.DebtorID(base + len(m.currencies))
	m.currencies = append(m.currencies, solver.Currency{
		Confirmed: true, Locator: locator(id), DebtorID: id,
		Peg: &solver.Peg{Locator: locator(to), DebtorID: to, Rate: rate},
	})
	m.depth[id] = m.depth[to] + 1
	return id
}

// tree adds currencies that are pegged to any others, at rates around 1 that spread as given.
func (m *maker) tree(currencies int, spread float64) {
	for range currencies {
		to := m.any()
		for m.depth[to] > 5 {
			to = m.any()
		}
		m.peg(to, math.Exp(m.NormFloat64()*spread))
	}
}

func (m *maker) any() swpt.DebtorID { return swpt.DebtorID(base + m.IntN(len(m.currencies))) }

// popular prefers currencies with low IDs.
func (m *maker) popular() swpt.DebtorID {
	n := float64(len(m.currencies))
	return swpt.DebtorID(base + int(math.Pow(n+1, m.Float64())) - 1)
}

// collect registers collectors for a currency.
func (m *maker) collect(debtor swpt.DebtorID, number int) {
	for _, i := range m.Perm(2 * number)[:number] {
		m.collectors = append(m.collectors, collectorAccount{debtor, swpt.CreditorID(-1000 - i)})
	}
}

// sell adds a sell offer, unless the trader has one in this currency, through any collector.
func (m *maker) sell(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64) {
	if key := (offerKey{account{creditor, debtor}, true}); !m.offers[key] {
		m.offers[key] = true
		collector := swpt.CreditorID(-1000 - m.IntN(5))
		m.sells = append(m.sells, solver.SellOffer{Creditor: creditor, Debtor: debtor, Amount: amount, Collector: collector})
	}
}

func (m *maker) buy(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64) {
	if key := (offerKey{account{creditor, debtor}, false}); !m.offers[key] {
		m.offers[key] = true
		m.buys = append(m.buys, solver.BuyOffer{Creditor: creditor, Debtor: debtor, Amount: amount})
	}
}

// trade adds traders with one to three sell and buy offers in currencies that something chooses for each trader.
func (m *maker) trade(traders int, choose func(trader int) swpt.DebtorID, amount func() int64) *book {
	for i := range traders {
		creditor := swpt.CreditorID(1 + i)
		for range 1 + m.IntN(3) {
			m.sell(creditor, choose(i), amount())
		}
		for range 1 + m.IntN(3) {
			m.buy(creditor, choose(i), amount())
		}
	}
	return m.book
}

// ordinary amounts are some thousands, most of them above 1000.
func (m *maker) ordinary() int64 { return int64(math.Exp(9 + 1.5*m.NormFloat64())) }

// huge amounts are near the end of the range, and near other ends.
func (m *maker) huge() int64 {
	few := m.Int64N(3)
	switch m.IntN(6) {
	case 0:
		return math.MaxInt64 - few
	case 1:
		return 1<<62 - 1 + few
	case 2:
		return 1<<53 - 1 + few
	case 3:
		return m.Int64() >> m.IntN(60)
	default:
		return max(1, m.Int64())
	}
}

func (m *maker) mixed() int64 {
	if m.IntN(4) == 0 {
		return m.huge()
	}
	return m.ordinary()
}

// shapes are ways to make books, by name.
func shapes() map[string]func(*rand.Rand) *book {
	popular := func(m *maker) func(int) swpt.DebtorID { return func(int) swpt.DebtorID { return m.popular() } }
	traders := func(r *rand.Rand) int { return 2 + r.IntN(80) }
	return map[string]func(*rand.Rand) *book{
		"ordinary": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(20, 0.7)
			for id := range swpt.DebtorID(20) {
				m.collect(base+id, r.IntN(4))
			}
			return m.trade(100, popular(m), m.ordinary)
		},
		// Each trader belongs to a community with currencies of its own; few trade with the next community.
		"communities": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(29, 0.7)
			return m.trade(traders(r), func(trader int) swpt.DebtorID {
				community := trader%6 + r.IntN(20)/19
				return swpt.DebtorID(base + community%6*5 + r.IntN(5))
			}, m.ordinary)
		},
		// Everybody sells something of their own for one currency, or the other way round.
		"hub": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(20, 0.7)
			m.collect(base, 1)
			for creditor := range swpt.CreditorID(traders(r)) {
				if m.sell(creditor+1, m.any(), m.ordinary()); r.IntN(2) == 0 {
					m.sell(creditor+1, base, m.ordinary())
				}
				if m.buy(creditor+1, base, m.ordinary()); r.IntN(2) == 0 {
					m.buy(creditor+1, m.any(), m.ordinary())
				}
			}
			return m.book
		},
		// Each currency is pegged to the one before, also beyond the limit.
		"deep pegs": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			for range 14 {
				m.peg(swpt.DebtorID(base+len(m.currencies)-1), math.Exp(r.NormFloat64()))
			}
			return m.trade(traders(r), func(int) swpt.DebtorID { return m.any() }, m.ordinary)
		},
		"many collectors": func(r *rand.Rand) *book {
			m := newMaker(r, 10)
			m.tree(3, 0.7)
			m.collect(base, 300)
			m.collect(base+1, 500)
			m.trade(300, popular(m), m.ordinary)
			for i := range m.sells {
				m.sells[i].Collector = swpt.CreditorID(-1000 - r.IntN(800))
			}
			return m.book
		},
		// Prices differ by six orders of magnitude, so that the minimum costs much.
		"wide rates": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			for range 15 {
				m.peg(base, math.Pow(10, 6*r.Float64()-3))
			}
			return m.trade(traders(r), popular(m), m.ordinary)
		},
		"huge amounts": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(6, 2)
			m.collect(base+1, 3)
			return m.trade(traders(r), popular(m), m.huge)
		},
		// The sums of what is sold and bought overflow in one currency, and for its collectors.
		"overflow": func(r *rand.Rand) *book {
			m := newMaker(r, 1)
			m.tree(2, 0.1)
			m.collect(base, r.IntN(3))
			for creditor := range swpt.CreditorID(traders(r)) {
				own := m.peg(base, 1)
				m.collect(own, r.IntN(2))
				m.sell(creditor+1, base, math.MaxInt64-r.Int64N(3))
				m.buy(creditor+1, own, math.MaxInt64-r.Int64N(3))
				m.buy(-creditor-1, base, math.MaxInt64-r.Int64N(3))
				m.sell(-creditor-1, own, math.MaxInt64-r.Int64N(3))
			}
			return m.book
		},
		"mixed amounts": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(10, 2)
			return m.trade(traders(r), popular(m), m.mixed)
		},
		// Huge offers in gigantic currencies, for each other and for ordinary ones.
		"gigantic": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(8, 0.7)
			for range 3 {
				m.peg(base, 1e30)
			}
			m.trade(traders(r), func(int) swpt.DebtorID { return swpt.DebtorID(base + r.IntN(9)) }, m.ordinary)
			for i := range swpt.CreditorID(r.IntN(10)) {
				m.sell(1000+i, swpt.DebtorID(base+9+r.IntN(3)), m.huge())
				m.buy(1000+i, m.any(), m.huge())
			}
			return m.book
		},
		// Prices at the bounds of 32-bit floats, and in between.
		"price bounds": func(r *rand.Rand) *book {
			m := newMaker(r, 1+r.Int64N(1000))
			for range 3 {
				m.peg(base, math.MaxFloat32)
				m.peg(base, 0x1p-126)
			}
			for range 6 {
				m.peg(base, math.Pow(10, 76*r.Float64()-38))
			}
			return m.trade(traders(r), popular(m), m.mixed)
		},
		"worthless": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(6, 0.7)
			for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), 1e-40, 1e40, 1, 2} {
				m.peg(m.any(), rate)
			}
			for range 5 {
				m.currencies[1+r.IntN(15)].Confirmed = false
			}
			m.currencies[1+r.IntN(15)].DebtorID = 0
			m.currencies[15].DebtorID = m.currencies[14].DebtorID // the name is taken, but not confirmed
			m.currencies[15].Confirmed = false
			return m.trade(traders(r), func(int) swpt.DebtorID { return swpt.DebtorID(base + r.IntN(18)) }, m.ordinary)
		},
		// Most traders have offers of both kinds in a currency.
		"netting": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(3, 0.7)
			m.collect(base+1, 2)
			return m.trade(traders(r), popular(m), m.mixed)
		},
		"minimum of one": func(r *rand.Rand) *book {
			m := newMaker(r, 1)
			m.tree(10, 2)
			return m.trade(traders(r), popular(m), func() int64 { return int64(math.Exp(4 * r.Float64())) })
		},
		"minimum of 2^62": func(r *rand.Rand) *book {
			m := newMaker(r, 1<<62)
			m.tree(3, 0.2)
			return m.trade(traders(r), popular(m), func() int64 { return 1<<62 + r.Int64N(1<<62) })
		},
		// One sells to many, who sell to one, up to amounts where floats do not tell single tokens.
		"crowd": func(r *rand.Rand) *book {
			whole, crowd := int64(math.MaxInt64)>>r.IntN(60), 1+r.Int64N(200)
			share := max(1, whole/crowd)
			m := newMaker(r, max(1, []int64{1, share / 8, share / 2, share - 3}[r.IntN(4)]))
			spread := []float64{0, 1e-9, 0.3, 1}[r.IntN(4)]
			a, b := m.peg(base, math.Exp(spread*r.NormFloat64())), m.peg(base, math.Exp(spread*r.NormFloat64()))
			m.sell(1, a, whole)
			m.buy(1, b, whole)
			for i := range swpt.CreditorID(crowd) {
				m.buy(10+i, a, share+r.Int64N(3))
				m.sell(10+i, b, max(1, share-r.Int64N(3)))
			}
			return m.book
		},
		"crowd with giants": func(r *rand.Rand) *book {
			m := newMaker(r, 1)
			m.tree(4, 1)
			for i := range swpt.CreditorID(1 + r.IntN(4)) {
				m.sell(1+i, m.any(), math.MaxInt64-r.Int64N(1000))
				m.buy(1+i, m.any(), math.MaxInt64-r.Int64N(1000))
			}
			for i := range swpt.CreditorID(200) {
				m.sell(10+i, m.any(), 1+r.Int64N(1<<53))
				m.buy(10+i, m.any(), 1+r.Int64N(1<<53))
			}
			return m.book
		},
		// Giants make the unit coarse for a crowd that wants the minimum, for hardly more than that.
		"minimal crowd with giants": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			crowd, giant := 1+r.Int64N(3000), int64(3e15)<<r.IntN(3)
			price := (129 + 1e-4*r.Float64()) / 128 // a unit is the 128th part of a token or larger
			a, b := m.peg(base, price*(1+1e-5*r.Float64())), m.peg(base, price)
			c, d, e := m.peg(base, price*(1+0.01*r.Float64())), m.peg(base, 1), m.peg(base, 1)
			for i := range swpt.CreditorID(crowd) {
				m.sell(10+i, a, 5000)
				m.buy(10+i, b, 1000)
				m.buy(10+i, c, 1000)
			}
			m.sell(1, b, crowd*1000)
			m.buy(1, a, crowd*1000-r.Int64N(2)*1003)
			m.sell(2, c, 1000)
			m.buy(2, a, 1003+997*r.Int64N(2))
			m.sell(3, d, giant)
			m.buy(3, e, giant)
			m.sell(4, e, giant)
			m.buy(4, d, giant)
			return m.book
		},
		// Floats just tell single tokens.
		"fine amounts": func(r *rand.Rand) *book {
			m := newMaker(r, 1+r.Int64N(1000))
			m.tree(1+r.IntN(8), 1)
			least := int64(1) << (46 + r.IntN(5))
			return m.trade(traders(r), popular(m), func() int64 { return least + r.Int64N(1<<53-least) })
		},
		"exact minimum": func(r *rand.Rand) *book {
			m := newMaker(r, 1<<r.IntN(60))
			m.tree(1+r.IntN(8), 0.01*float64(r.IntN(3)))
			return m.trade(traders(r), popular(m), func() int64 { return m.params.MinTradeAmount + r.Int64N(3) })
		},
		"odd offers": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(3, 0.7)
			m.trade(traders(r), popular(m), m.ordinary)
			m.sell(0, base, 5000)
			m.buy(0, base+1, 5000)
			for range 10 {
				m.sells[r.IntN(len(m.sells))].Amount = []int64{0, -1, math.MinInt64, 999}[r.IntN(4)]
				m.buys[r.IntN(len(m.buys))].Amount = []int64{0, -1, math.MinInt64, 999}[r.IntN(4)]
				m.sells[r.IntN(len(m.sells))].Collector = 0
			}
			return m.book
		},
		"only sells": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(3, 0.7)
			m.trade(traders(r), popular(m), m.ordinary)
			m.buys = nil
			return m.book
		},
		"only buys": func(r *rand.Rand) *book {
			m := newMaker(r, 1000)
			m.tree(3, 0.7)
			m.trade(traders(r), popular(m), m.ordinary)
			m.sells = nil
			return m.book
		},
		"no offers":     func(r *rand.Rand) *book { return newMaker(r, 1000).book },
		"no currencies": func(*rand.Rand) *book { return &book{params: turn(base, 10, 1000)} },
	}
}

// Shapes without any trade, whatever the seed.
var tradeless = []string{"only sells", "only buys", "no offers", "no currencies"}

// Books of all shapes have sound outcomes, which do not depend on the order in which the books come.
func TestShapes(t *testing.T) {
	t.Parallel()
	const books = 30
	for name, shape := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range strategies() {
				t.Run(s.Name(), func(t *testing.T) {
					t.Parallel()
					total := 0.0
					for seed := range uint64(books) {
						b := shape(dice(seed))
						out := b.clear(t, s, int64(seed))
						if checkOutcome(t, b, out); t.Failed() {
							t.Fatalf("book %d is not cleared properly", seed)
						}
						again := b.shuffled(dice(seed)).clear(t, s, int64(seed))
						if !reflect.DeepEqual(published(again), published(out)) {
							t.Fatalf("book %d is cleared in another way if it comes in another order", seed)
						}
						total += value(out)
					}
					if (total > 0) == slices.Contains(tradeless, name) {
						t.Errorf("the cleared value is %g", total)
					}
				})
			}
		})
	}
}

// Under any seed, a book of any shape has a sound outcome.
func TestRandomShapes(t *testing.T) {
	t.Parallel()
	shapes := shapes()
	names := make([]string, 0, len(shapes))
	for name := range shapes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				shape := shapes[rapid.SampledFrom(names).Draw(t, "shape")]
				b := shape(dice(rapid.Uint64().Draw(t, "book")))
				checkOutcome(t, b, b.clear(t, s, rapid.Int64().Draw(t, "seed")))
			})
		})
	}
}

// Small books of whatever offers have sound outcomes, whatever their order.
func TestRandomBooks(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				b := drawBook(t)
				seed := rapid.Int64().Draw(t, "seed")
				out := b.clear(t, s, seed)
				checkOutcome(t, b, out)
				again := b.shuffled(dice(rapid.Uint64().Draw(t, "order"))).clear(t, s, seed)
				if !reflect.DeepEqual(published(again), published(out)) {
					t.Errorf("in another order:\n%s\nat first:\n%s", describe(again), describe(out))
				}
			})
		})
	}
}

// drawBook draws a book with few currencies, in which everybody may offer everything.
func drawBook(t *rapid.T) *book {
	b := &book{params: turn(base, 10, rapid.SampledFrom([]int64{1, 10, 1000, 1 << 62}).Draw(t, "minimum"))}
	b.currencies = append(b.currencies, solver.Currency{Confirmed: true, Locator: locator(base), DebtorID: base})
	rate := rapid.OneOf(
		rapid.SampledFrom([]float64{1, 0.5, 2, 1.0 / 3, 0.1, 7, 1e-3, 1e3, 1e-30, 1e30, 0x1p-126, math.MaxFloat32, 0}),
		rapid.Float64Range(1e-6, 1e6),
	)
	last := swpt.DebtorID(base + rapid.IntRange(1, 4).Draw(t, "currencies"))
	for id := swpt.DebtorID(base + 1); id <= last; id++ {
		peg := &solver.Peg{Locator: locator(base), DebtorID: base, Rate: rate.Draw(t, "rate")}
		b.currencies = append(b.currencies, solver.Currency{Confirmed: true, Locator: locator(id), DebtorID: id, Peg: peg})
	}
	amount := rapid.OneOf(
		rapid.Int64Range(1, 5000),
		rapid.Int64Range(1, math.MaxInt64),
		rapid.SampledFrom([]int64{
			b.params.MinTradeAmount, b.params.MinTradeAmount + 1, 2*b.params.MinTradeAmount - 1, math.MaxInt64, 1 << 53, 1<<53 + 1,
		}),
	)
	collector := rapid.Map(rapid.IntRange(800, 803), func(id int) swpt.CreditorID { return swpt.CreditorID(id) })
	for id := swpt.DebtorID(base); id <= last; id++ {
		for _, k := range rapid.SliceOfNDistinct(collector, 0, 2, rapid.ID).Draw(t, "collectors") {
			b.collectors = append(b.collectors, collectorAccount{id, k})
		}
	}
	for creditor := range swpt.CreditorID(rapid.IntRange(2, 6).Draw(t, "traders")) {
		for id := swpt.DebtorID(base); id <= last; id++ {
			switch rapid.SampledFrom([]string{"nothing", "sell", "buy", "sell", "buy", "both"}).Draw(t, "offer") {
			case "both":
				b.buys = append(b.buys, solver.BuyOffer{Creditor: creditor + 1, Debtor: id, Amount: amount.Draw(t, "bought")})
				fallthrough
			case "sell":
				b.sells = append(b.sells, solver.SellOffer{
					Creditor: creditor + 1, Debtor: id, Amount: amount.Draw(t, "sold"), Collector: collector.Draw(t, "collector"),
				})
			case "buy":
				b.buys = append(b.buys, solver.BuyOffer{Creditor: creditor + 1, Debtor: id, Amount: amount.Draw(t, "bought")})
			}
		}
	}
	return b
}

// The number of processors makes no difference.
func TestProcessors(t *testing.T) { //nolint:paralleltest // GOMAXPROCS is everybody's
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, name := range []string{"ordinary", "many collectors", "mixed amounts", "crowd"} {
		b := shapes()[name](dice(3))
		for _, s := range strategies() {
			var first result
			for _, processors := range []int{1, 2, 3, 16} {
				runtime.GOMAXPROCS(processors)
				got := published(b.clear(t, s, 1))
				if processors == 1 {
					first = got
				}
				if len(got.takings) == 0 || !reflect.DeepEqual(got, first) {
					t.Errorf("%s, %s: another outcome with %d processors", name, s.Name(), processors)
				}
			}
		}
	}
}

// Traders with low IDs, or those who come first, have no advantage: the seed decides who of two equals may trade.
func TestSeedDecidesTies(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			b := notation{
				currencies: "61 × 1",
				offers: `1: sell 60 5000 @801, buy 61 5000
				2: sell 61 5000 @802, buy 60 5000
				3: sell 61 5000 @802, buy 60 5000`,
			}.book(t)
			var wins [2]int
			for seed := range int64(300) {
				out := b.clear(t, s, seed)
				checkOutcome(t, b, out)
				wins[out.Takings[1].Creditor-2]++
			}
			mustBeEven(t, wins[:]...)
		})
	}
}

// Huge offers in currencies that others do not want make hardly a difference to ordinary trades, even if those who make
// them would like to get the ordinary currencies, too.
func TestHugeOffersStarveNobody(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				for _, price := range []float64{1e-30, 1, 1e30, 3e38} {
					m := newMaker(dice(seed), 1000)
					m.tree(8, 0.7)
					m.trade(40, func(int) swpt.DebtorID { return m.any() }, m.ordinary)
					alone := value(m.clear(t, s, 1))
					wanting := seed%2 == 0
					huge := m.addHugeOffers(price, wanting)
					out := m.clear(t, s, 1)
					checkOutcome(t, m.book, out)
					share := 0.999
					switch { // ties are decided in another way
					case wanting && s == solver.Optimal():
						share = 0.97
					case wanting:
						share = 0.8
					}
					ordinary := 0.0
					for _, c := range out.Currencies {
						if all := math.MaxInt64 * price; !slices.Contains(huge, c.Debtor) {
							ordinary += c.Cleared
						} else if c.Cleared < all*(1-1e-9) {
							t.Errorf("book %d, price %g: huge offers are cleared for %g of %g", seed, price, c.Cleared, all)
						}
					}
					if ordinary < share*alone {
						t.Errorf("book %d, price %g: %g is cleared beside huge offers, %g alone", seed, price, ordinary, alone)
					}
				}
			}
		})
	}
}

// addHugeOffers adds two traders who swap all they can of two new currencies, which it returns, and one who can sell
// nothing. They may want ordinary currencies, too.
func (m *maker) addHugeOffers(price float64, wanting bool) []swpt.DebtorID {
	a, b, c := m.peg(base, price), m.peg(base, price), m.peg(base, price)
	m.sell(-1, a, math.MaxInt64)
	m.buy(-1, b, math.MaxInt64)
	m.sell(-2, b, math.MaxInt64)
	m.buy(-2, a, math.MaxInt64)
	m.sell(-3, c, math.MaxInt64)
	for creditor := swpt.CreditorID(-3); wanting && creditor < 0; creditor++ {
		m.buy(creditor, base, math.MaxInt64)
		m.buy(creditor, base+1, math.MaxInt64)
	}
	return []swpt.DebtorID{a, b}
}

// Nor do many huge offers of which something is always left over, beside some that would have to wait for a finer scale.
func TestManyHugeOffersStarveNobody(t *testing.T) {
	t.Parallel()
	const (
		crowd  = 128
		giant  = 1 << 50
		medium = 1 << 40
	)
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			m := newMaker(dice(1), 1000)
			m.tree(8, 0.7)
			m.trade(400, func(int) swpt.DebtorID { return m.any() }, m.ordinary)
			alone := value(m.clear(t, s, 1))
			a, b := m.peg(base, 0x1p41), m.peg(base, 0x1p41)
			// Two cheap currencies, of which so many tokens are worth so little that they wait, too.
			c, d := m.peg(base, 0x1.b7p-40), m.peg(base, 0x1.5p-40)
			m.swaps(-1, 1, c, d, 1<<60)
			m.swaps(-1000, 2*crowd, a, b, medium)
			m.swaps(-2000, crowd, a, b, giant)
			for i := range swpt.CreditorID(crowd) { // nobody buys what they sell
				m.sell(-3000-i, a, giant)
				m.buy(-3000-i, b, giant)
			}
			out := m.clear(t, s, 1)
			checkOutcome(t, m.book, out)
			ordinary := 0.0
			for _, currency := range out.Currencies {
				if currency.Debtor < a {
					ordinary += currency.Cleared
				}
			}
			if ordinary < 0.999*alone {
				t.Errorf("%g is cleared beside huge offers, %g alone", ordinary, alone)
			}
		})
	}
}

// Nor do huge offers keep somebody whose large offer serves a crowd from doing so.
func TestMakerBesideHugeOffers(t *testing.T) {
	t.Parallel()
	const crowd = 300
	for _, s := range strategies() {
		for _, giants := range []int{100, 1000} {
			t.Run(s.Name()+strconv.Itoa(giants), func(t *testing.T) {
				t.Parallel()
				for bits := 20; bits < 45; bits += 4 { // of what each of the crowd offers
					m := newMaker(dice(1), 1000)
					x, y, a, b := m.peg(base, 1), m.peg(base, 1), m.peg(base, 1), m.peg(base, 1)
					amount := int64(1)<<bits + 1
					m.sell(1, x, crowd*amount)
					m.buy(1, y, crowd*amount)
					for i := range swpt.CreditorID(crowd) {
						m.sell(10+i, y, amount)
						m.buy(10+i, x, amount)
					}
					m.swaps(-1, giants, a, b, 1<<46)
					for i := range swpt.CreditorID(giants) { // nobody buys what they sell
						m.sell(-10000-i, a, 1<<46)
						m.buy(-10000-i, b, 1<<46)
					}
					out := m.clear(t, s, 1)
					checkOutcome(t, m.book, out)
					for _, c := range out.Currencies {
						if want := crowd * float64(amount); (c.Debtor == x || c.Debtor == y) && c.Cleared < want*(1-1e-9) {
							t.Errorf("beside giants, %g of %g is cleared", c.Cleared, want)
						}
					}
				}
			})
		}
	}
}

// A currency so dear that an account of it cannot begin to trade on a fine scale can go on trading there.
func TestDearCurrencyOnAFineScale(t *testing.T) {
	t.Parallel()
	const crowd, large = 100, int64(1e14)
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			for _, dear := range []int64{1e3, 1e4, 1e5, 1e6} {
				for bits := 50; bits <= 60; bits += 2 { // of offers that make the first scale coarse
					m := newMaker(dice(1), 1000)
					x, y, d, a, b := m.peg(base, 1), m.peg(base, 1), m.peg(base, float64(dear)), m.peg(base, 1), m.peg(base, 1)
					m.sell(1, x, large)
					m.buy(1, d, large/dear)
					m.sell(2, d, large/dear)
					m.buy(2, y, large)
					m.sell(3, y, large/2)
					m.buy(3, x, large/2)
					for i := range swpt.CreditorID(crowd) {
						m.sell(10+i, y, max(1000, dear/2))
						m.buy(10+i, x, max(1000, dear/2))
					}
					m.swaps(-1, 1, a, b, 1<<bits)
					out := m.clear(t, s, 1)
					checkOutcome(t, m.book, out)
					trading := 0
					for _, ch := range out.Takings {
						if ch.Creditor >= 10 {
							trading++
						}
					}
					if trading != crowd {
						t.Errorf("at the price %d, beside offers of 2^%d tokens, %d trade", dear, bits, trading)
					}
				}
			}
		})
	}
}

// swaps adds pairs of traders, numbered downwards, who want to swap an amount of one currency for as many tokens of
// another one.
func (m *maker) swaps(first swpt.CreditorID, pairs int, a, b swpt.DebtorID, amount int64) {
	for i := range swpt.CreditorID(pairs) {
		m.sell(first-2*i, a, amount)
		m.buy(first-2*i, b, amount)
		m.sell(first-2*i-1, b, amount)
		m.buy(first-2*i-1, a, amount)
	}
}

// However far prices and values are apart, in whatever groups, outcomes are right to the token.
func TestBooksOfManyTiers(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			several := false
			for seed := range uint64(400) {
				r := dice(seed)
				minimum := int64(1) << r.IntN(1+oneOf(r, 0, 10, 20, 45))
				m := newMaker(r, minimum)
				spread := oneOf[float64](r, 2, 30, 60, 120)
				tier := func() float64 { return (2*r.Float64() - 1) * spread }
				prices, values := make([]float64, 1+r.IntN(5)), make([]float64, 1+r.IntN(4))
				for i := range prices {
					prices[i] = tier()
				}
				for i := range values {
					values[i] = tier() + 40
				}
				price := map[swpt.DebtorID]float64{base: 1}
				for range 2 + r.IntN(12) {
					p := math.Exp2(oneOf(r, prices...) + 3*r.Float64())
					price[m.peg(base, p)] = p
				}
				for creditor := range swpt.CreditorID(2 + r.IntN(oneOf(r, 10, 100, 1000))) {
					for range 4 {
						debtor, amount := m.any(), math.Exp2(63*r.Float64())
						switch r.IntN(10) {
						case 0:
							amount = float64(minimum)
						case 1, 2:
						default:
							amount = math.Exp2(oneOf(r, values...)+2*r.Float64()) / price[debtor]
						}
						whole := int64(min(max(amount, float64(minimum)), math.MaxInt64-1024))
						if r.IntN(2) == 0 {
							m.sell(1+creditor, debtor, whole)
						} else {
							m.buy(1+creditor, debtor, whole)
						}
					}
				}
				out := m.clear(t, s, 1)
				if checkOutcome(t, m.book, out); t.Failed() {
					t.Fatalf("book %d is not cleared properly", seed)
				}
				several = several || len(out.Takings) > 100
			}
			if !several {
				t.Error("no book had many trades")
			}
		})
	}
}

func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// Groups of traders, each of which trades at a sixteenth of the value of the one before, with something left over, all
// trade: as many scales as there can be.
func TestLadder(t *testing.T) {
	t.Parallel()
	const crowd, amount = 20, 1 << 30
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			m := newMaker(dice(1), 1000)
			rungs := 0
			for exponent := 120; exponent > -120; exponent -= 4 {
				a, b := m.peg(base, math.Ldexp(1, exponent)), m.peg(base, math.Ldexp(1, exponent))
				m.swaps(swpt.CreditorID(-1000*rungs-1), crowd, a, b, amount)
				for i := range swpt.CreditorID(crowd) {
					m.sell(1+i, a, amount)
					m.buy(1+i, b, amount)
				}
				rungs++
			}
			out := m.clear(t, s, 1)
			checkOutcome(t, m.book, out)
			taken := map[swpt.DebtorID]int64{}
			for _, ch := range out.Takings {
				taken[ch.Debtor] += ch.Amount
			}
			for _, c := range out.Currencies {
				if got := taken[c.Debtor]; c.Debtor != base && got < crowd*amount-crowd {
					t.Errorf("%d of %d tokens at the price %g are taken", got, crowd*amount, c.Price)
				}
			}
		})
	}
}

// Swaps at prices from one end of the range to the other all take place, in full but for numerical noise, next to each
// other.
func TestAllScalesAreCleared(t *testing.T) {
	t.Parallel()
	for _, amount := range []int64{1001, 12345, 1e12, math.MaxInt64} {
		t.Run(strconv.FormatInt(amount, 10), func(t *testing.T) {
			t.Parallel()
			for _, s := range strategies() {
				t.Run(s.Name(), func(t *testing.T) {
					t.Parallel()
					mustClearAllScales(t, s, amount)
				})
			}
		})
	}
}

// So do swaps of exactly the minimal amount.
func TestMinimumIsClearedOnAllScales(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			mustClearAllScales(t, s, 1000)
		})
	}
}

// A crowd that offers exactly the minimal amount trades, even where giants make the unit too coarse for that price.
func TestMinimumIsClearedBesideGiants(t *testing.T) {
	t.Parallel()
	const (
		giant = 3e15
		crowd = 2000
	)
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			m := newMaker(dice(1), 1000)
			a, b, c, d := m.peg(base, 1.1001), m.peg(base, 1.1001), m.peg(base, 1), m.peg(base, 1)
			swap := func(first, second swpt.CreditorID, a, b swpt.DebtorID, amount int64) {
				m.sell(first, a, amount)
				m.buy(first, b, amount)
				m.sell(second, b, amount)
				m.buy(second, a, amount)
			}
			swap(-1, -2, c, d, giant)
			for i := range swpt.CreditorID(crowd) {
				swap(1+i, -10-i, a, b, 1000)
			}
			out := m.clear(t, s, 1)
			checkOutcome(t, m.book, out)
			if got, want := len(out.Takings), 2+2*crowd; got != want {
				t.Errorf("%d takings, want %d", got, want)
			}
		})
	}
}

func mustClearAllScales(t *testing.T, s solver.Strategy, amount int64) {
	t.Helper()
	m := newMaker(dice(1), 1000)
	for exponent := -37; exponent <= 38; exponent++ {
		price := math.Pow10(exponent)
		a, b := m.peg(base, price), m.peg(base, price)
		creditor := swpt.CreditorID(len(m.currencies))
		m.sell(creditor, a, amount)
		m.buy(creditor, b, amount)
		m.sell(-creditor, b, amount)
		m.buy(-creditor, a, amount)
	}
	out := m.clear(t, s, 1)
	checkOutcome(t, m.book, out)
	for _, ch := range slices.Concat(out.Takings, out.Givings) {
		if ch.Amount < amount-amount/1e9 {
			t.Errorf("%+v, want %d", ch, amount)
		}
	}
	if len(out.Takings) != len(m.sells) || len(out.Givings) != len(m.buys) {
		t.Errorf("%d takings and %d givings of %d", len(out.Takings), len(out.Givings), len(m.sells))
	}
}

// Somebody who offers all tokens that there can be, but cannot get anything for them, does not keep others from selling
// theirs.
func TestUnusableHugeSellOffer(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			b := notation{
				currencies: "61 × 1; 62 × 1",
				offers: `1: sell 60 M @801, buy 62 5000, buy 61 1000
				2: sell 60 5000 @802, buy 61 5000
				3: sell 61 5000 @803, buy 60 5000
				4: sell 62 5000 @804`,
			}.book(t)
			for seed := range int64(20) {
				out := b.clear(t, s, seed)
				checkOutcome(t, b, out)
				if value(out) != 10000 {
					t.Fatalf("seed %d: the cleared value is %g\n%s", seed, value(out), describe(out))
				}
			}
		})
	}
}

// One seller of very many tokens has buyers that each want so few that their changes must be right to the token (G3).
func TestHugeSellerOfManyBuyers(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(10) {
				r := dice(seed)
				m := newMaker(r, 1)
				a := m.peg(base, 1/3.0)
				const crowd = 1500
				m.sell(1, a, math.MaxInt64)
				m.buy(1, base, math.MaxInt64)
				for i := range swpt.CreditorID(crowd) {
					m.buy(10+i, a, 1<<52-r.Int64N(1<<51))
					m.sell(10+i, base, 1<<52-r.Int64N(1<<51))
				}
				out := m.clear(t, s, 1)
				if checkOutcome(t, m.book, out); t.Failed() {
					t.Fatalf("book %d is not cleared properly", seed)
				}
				if value(out) < 1<<52*crowd/4 {
					t.Errorf("book %d: the cleared value is %g", seed, value(out))
				}
			}
		})
	}
}
