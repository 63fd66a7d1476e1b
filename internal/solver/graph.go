package solver

import (
	"cmp"
	"math"
	"slices"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A graph is the offer graph of solver.md section 4.2 in compact arrays. Traders and currencies are the nodes; an arc
// is what is left of an offer after netting. The arc of a sell offer leads from its currency to its trader, the arc of
// a buy offer from its trader to its currency. Traders who have nothing to give or nothing to get are left out.
type graph struct {
	// Arcs are numbered by trader: those of trader t start at firstArc[t], its buy arcs at firstBuy[t]. Both have one
	// entry more than there are traders.
	firstArc, firstBuy []int32
	creditor           []swpt.CreditorID // of a trader

	// Of each arc.
	trader, currency []int32
	offer            []int32 // see ticket
	offered          []int64 // tokens

	// nettedSell tells, for a buy arc whose trader also sells the currency, which offer that is. An offer to sell less
	// than the minimal amount was not admitted, so it is not there, and its collector does not count.
	nettedSell map[int32]int32

	// ends lists the arcs by currency: those of currency c start at firstEnd[c], its buy arcs at firstBuyEnd[c]. Both
	// kinds are ordered by trader.
	firstEnd, firstBuyEnd []int32
	ends                  []end

	// Of each currency. Currencies are ordered by popularity, the most popular one first.
	debtor []swpt.DebtorID
	price  []float64

	minAmount int64 // the minimal trade amount, in tokens

	// The flow problem at hand, in units of value: for each arc the most that may flow, the least that may flow if
	// anything does, and the flow.
	capacity, least, flow []int64
}

// An end is an arc seen from its currency.
type end struct{ arc, trader int32 }

func (g *graph) traders() int    { return len(g.creditor) }
func (g *graph) currencies() int { return len(g.debtor) }
func (g *graph) arcs() int       { return len(g.trader) }

// sells tells whether an arc stands for a sell offer.
func (g *graph) sells(arc int32) bool { return arc < g.firstBuy[g.trader[arc]] }

// sellEnds returns the sell arcs of a currency, buyEnds its buy arcs.
func (g *graph) sellEnds(c int) []end { return g.ends[g.firstEnd[c]:g.firstBuyEnd[c]] }
func (g *graph) buyEnds(c int) []end  { return g.ends[g.firstBuyEnd[c]:g.firstEnd[c+1]] }

// A group is the tickets of one trader.
type group struct {
	rank        int64  // how well connected the trader is, see solver.md section 4.3
	key         uint64 // see ticket
	first, last int32  // tickets first to last-1
}

// groupTickets makes a group of each trader's tickets. Well connected traders come first, so that what is visited
// together lies together; the order of the tickets, which depends on the seed, decides ties.
func (m *Market) groupTickets(tickets []ticket, sellers []int32) []group {
	var groups []group
	firstBuy := int32(m.sells.len())
	for i, n := int32(0), int32(len(tickets)); i < n; {
		g := group{key: tickets[i].key, first: i}
		for ; i < n && tickets[i].key == g.key; i++ {
			if tickets[i].offer >= firstBuy {
				g.rank += int64(sellers[tickets[i].currency])
			}
		}
		g.last = i
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b group) int {
		if a.rank != b.rank {
			return cmp.Compare(b.rank, a.rank)
		}
		return cmp.Compare(a.key, b.key)
	})
	return groups
}

// newGraph makes the graph of the market's offers, and fills in the numbers of the outcome that depend on offers alone.
func (m *Market) newGraph(
	tickets []ticket, groups []group, order []int32, out *Outcome,
) (*graph, error) {
	arcs := m.sells.len() + m.buys.len()
	g := &graph{
		firstArc: make([]int32, 0, len(groups)+1),
		firstBuy: make([]int32, 0, len(groups)+1),
		creditor: make([]swpt.CreditorID, 0, len(groups)),

		trader:     make([]int32, 0, arcs),
		currency:   make([]int32, 0, arcs),
		offer:      make([]int32, 0, arcs),
		offered:    make([]int64, 0, arcs),
		nettedSell: make(map[int32]int32),

		debtor:    make([]swpt.DebtorID, len(order)),
		price:     make([]float64, len(order)),
		minAmount: m.prices.params.MinTradeAmount,
	}
	out.Currencies = make([]CurrencyOutcome, len(order))
	for c, i := range order {
		currency := &m.prices.currencies[i]
		g.debtor[c], g.price[c] = currency.DebtorID, currency.Price
		out.Currencies[c] = CurrencyOutcome{Debtor: currency.DebtorID, Price: currency.Price}
	}
	b := graphBuilder{m: m, g: g, out: out}
	for _, group := range groups {
		if err := b.addTrader(tickets[group.first:group.last]); err != nil {
			return nil, err
		}
	}
	g.firstArc = append(g.firstArc, int32(g.arcs()))
	g.firstBuy = append(g.firstBuy, int32(g.arcs()))
	g.indexByCurrency()
	return g, nil
}

type graphBuilder struct {
	m   *Market
	g   *graph
	out *Outcome

	sells, buys []netOffer // of the current trader
}

// A netOffer is what remains of an offer when its trader's opposite offer in the same currency, if there is one, has
// been cancelled against it.
type netOffer struct {
	offer, currency int32
	opposite        int32 // the opposite offer, or -1
	amount          int64
}

// addTrader adds the arcs of a trader who has something to give and something to get. The tickets are those of the
// trader, as sortTickets orders them.
func (b *graphBuilder) addTrader(tickets []ticket) error {
	b.sells, b.buys = b.sells[:0], b.buys[:0]
	b.out.Traders++
	for _, t := range tickets {
		selling := int(t.offer) < b.m.sells.len()
		list := &b.buys
		if selling {
			list = &b.sells
		}
		o := netOffer{offer: t.offer, currency: t.currency, opposite: -1, amount: t.amount}
		if n := len(*list); n > 0 && (*list)[n-1].currency == o.currency {
			return &DuplicateOfferError{b.m.creditorOf(t.offer), b.g.debtor[o.currency], selling}
		}
		*list = append(*list, o)
		b.count(o, selling)
	}
	b.net()
	if len(b.sells) == 0 || len(b.buys) == 0 {
		return nil
	}
	g := b.g
	trader := int32(g.traders())
	g.firstArc = append(g.firstArc, int32(g.arcs()))
	b.addArcs(trader, b.sells)
	g.firstBuy = append(g.firstBuy, int32(g.arcs()))
	b.addArcs(trader, b.buys)
	g.creditor = append(g.creditor, b.m.creditorOf(tickets[0].offer))
	return nil
}

func (b *graphBuilder) count(o netOffer, selling bool) {
	c := &b.out.Currencies[o.currency]
	value := float64(o.amount) * c.Price
	if selling {
		c.Sells++
		c.Offered += value
	} else {
		c.Buys++
		c.Wanted += value
	}
}

// net cancels the smaller of two opposite offers against the larger one. Both lists are ordered by currency.
func (b *graphBuilder) net() {
	for i, j := 0, 0; i < len(b.sells) && j < len(b.buys); {
		sell, buy := &b.sells[i], &b.buys[j]
		switch order := cmp.Compare(sell.currency, buy.currency); {
		case order < 0:
			i++
		case order > 0:
			j++
		default:
			both := min(sell.amount, buy.amount)
			sell.amount -= both
			buy.amount -= both
			sell.opposite, buy.opposite = buy.offer, sell.offer
			i++
			j++
		}
	}
	tooSmall := func(o netOffer) bool { return o.amount < b.g.minAmount }
	b.sells = slices.DeleteFunc(b.sells, tooSmall)
	b.buys = slices.DeleteFunc(b.buys, tooSmall)
}

func (b *graphBuilder) addArcs(trader int32, offers []netOffer) {
	g := b.g
	for _, o := range offers {
		if o.opposite >= 0 && int(o.opposite) < b.m.sells.len() {
			g.nettedSell[int32(g.arcs())] = o.opposite
		}
		g.trader = append(g.trader, trader)
		g.currency = append(g.currency, o.currency)
		g.offer = append(g.offer, o.offer)
		g.offered = append(g.offered, o.amount)
	}
}

// indexByCurrency fills in ends, by counting.
func (g *graph) indexByCurrency() {
	g.firstEnd = make([]int32, g.currencies()+1)
	g.firstBuyEnd = make([]int32, g.currencies())
	sells := make([]int32, g.currencies())
	for t := range g.traders() {
		for _, c := range g.currency[g.firstArc[t]:g.firstBuy[t]] {
			sells[c]++
		}
	}
	for _, c := range g.currency {
		g.firstEnd[c+1]++
	}
	for c := range g.currencies() {
		g.firstEnd[c+1] += g.firstEnd[c]
		g.firstBuyEnd[c] = g.firstEnd[c] + sells[c]
	}
	g.ends = make([]end, g.arcs())
	nextSell, nextBuy := slices.Clone(g.firstEnd), slices.Clone(g.firstBuyEnd)
	place := func(next []int32, first, last int32) {
		for arc := first; arc < last; arc++ {
			c := g.currency[arc]
			g.ends[next[c]] = end{arc, g.trader[arc]}
			next[c]++
		}
	}
	for t := range g.traders() {
		place(nextSell, g.firstArc[t], g.firstBuy[t])
		place(nextBuy, g.firstBuy[t], g.firstArc[t+1])
	}
}

// slightlyMore makes good for sums of floats that come out too small.
const slightlyMore = 1 + 1e-12

// bounds computes how much value each arc can carry at most: no more than its offer, and no more than can leave or
// enter its trader and its currency on the other side. Arcs that cannot carry the minimal amount get 0. The flow problem
// becomes smaller without losing any solution.
func (g *graph) bounds() []float64 {
	const rounds = 6 // further ones hardly change anything
	bound := make([]float64, g.arcs())
	for arc, c := range g.currency {
		bound[arc] = float64(g.offered[arc]) * g.price[c]
	}
	sold, bought := slices.Repeat([]float64{math.Inf(1)}, g.currencies()), slices.Repeat([]float64{math.Inf(1)}, g.currencies())
	for range rounds {
		nowSold, nowBought := make([]float64, g.currencies()), make([]float64, g.currencies())
		limit := func(first int32, side []float64, most float64, opposite, total []float64) {
			for i := range side {
				c := g.currency[first+int32(i)]
				side[i] = min(side[i], most*slightlyMore, opposite[c]*slightlyMore)
				if side[i]*slightlyMore < float64(g.minAmount)*g.price[c] {
					side[i] = 0
				}
				total[c] += side[i]
			}
		}
		for t := range g.traders() {
			sells, buys := bound[g.firstArc[t]:g.firstBuy[t]], bound[g.firstBuy[t]:g.firstArc[t+1]]
			limit(g.firstArc[t], sells, sum(buys), bought, nowSold)
			limit(g.firstBuy[t], buys, sum(sells), sold, nowBought)
		}
		sold, bought = nowSold, nowBought
	}
	for c := range g.currencies() {
		g.limitSupply(c, bound)
	}
	return bound
}

// limitSupply sees to it that less than 2^63 tokens of a currency can change hands, so that no sum of tokens overflows.
// The largest offers are cut.
func (g *graph) limitSupply(c int, bound []float64) {
	const limit = 0x1p63 - 0x1p31 // leaves room for rounding
	total := 0.0
	var offers []int32
	for _, end := range g.sellEnds(c) {
		if bound[end.arc] > 0 {
			offers = append(offers, end.arc)
			total += bound[end.arc] / g.price[c]
		}
	}
	if total < limit || len(offers) == 1 {
		return
	}
	slices.SortFunc(offers, func(a, b int32) int {
		return cmp.Or(cmp.Compare(bound[a], bound[b]), cmp.Compare(a, b))
	})
	rest := limit * g.price[c]
	for _, arc := range offers {
		bound[arc] = min(bound[arc], rest)
		rest -= bound[arc]
	}
}

func sum(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}
