package report

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

const baseID = 60

// A market is what a report is made of, with rings that are given rather than found.
type market struct {
	params     solver.Params
	currencies []solver.Currency
	rings      []solver.Ring

	// Value that is offered and wanted beyond what the rings clear.
	unsold, unmet map[swpt.DebtorID]float64
}

func newMarket() *market {
	return &market{
		params: solver.Params{
			BaseLocator: locatorOf(baseID), BaseDebtorID: baseID, MaxDistanceToBase: 3, MinTradeAmount: 1000,
		},
		currencies: []solver.Currency{{Confirmed: true, Locator: locatorOf(baseID), DebtorID: baseID}},
		unsold:     make(map[swpt.DebtorID]float64),
		unmet:      make(map[swpt.DebtorID]float64),
	}
}

func locatorOf(id swpt.DebtorID) string { return fmt.Sprintf("https://example.com/%d", id) }

func pegTo(id swpt.DebtorID, rate float64) *solver.Peg {
	return &solver.Peg{Locator: locatorOf(id), DebtorID: id, Rate: rate}
}

// add registers a confirmed currency.
func (m *market) add(id swpt.DebtorID, peg *solver.Peg) {
	m.addCurrency(solver.Currency{Confirmed: true, Locator: locatorOf(id), DebtorID: id, Peg: peg})
}

func (m *market) addCurrency(c solver.Currency) { m.currencies = append(m.currencies, c) }

// trade adds a ring of the given value, in which trader first gives the first currency to the next one, and so on.
func (m *market) trade(value float64, first swpt.CreditorID, prices *solver.Prices, debtors ...swpt.DebtorID) {
	ring := solver.Ring{Value: value}
	for i, debtor := range debtors {
		amount := int64(math.Round(min(value/prices.Price(debtor), 9e18)))
		ring.Steps = append(ring.Steps, solver.RingStep{
			Creditor: first + swpt.CreditorID(i), Debtor: debtor, Amount: amount,
		})
	}
	m.rings = append(m.rings, ring)
}

func (m *market) prices(tb testing.TB) *solver.Prices {
	tb.Helper()
	tree, err := solver.NewPegTree(m.params)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range m.currencies {
		if err := tree.Register(c); err != nil {
			tb.Fatal(err)
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		tb.Fatal(err)
	}
	return prices
}

// outcome sums up the rings, and what is offered and wanted beyond them.
func (m *market) outcome(prices *solver.Prices) *solver.Outcome {
	o := &solver.Outcome{}
	traders := make(map[swpt.CreditorID]bool)
	byDebtor := make(map[swpt.DebtorID]*solver.CurrencyOutcome)
	for c := range prices.Currencies() {
		if c.Clearable {
			byDebtor[c.DebtorID] = &solver.CurrencyOutcome{Debtor: c.DebtorID, Price: c.Price}
		}
	}
	for _, ring := range m.rings {
		for _, step := range ring.Steps {
			traders[step.Creditor] = true
			c := byDebtor[step.Debtor]
			c.Takings, c.Givings, c.Sells, c.Buys = c.Takings+1, c.Givings+1, c.Sells+1, c.Buys+1
			c.Cleared += ring.Value
		}
	}
	for id, c := range byDebtor {
		c.Offered, c.Wanted = c.Cleared+m.unsold[id], c.Cleared+m.unmet[id]
		if m.unsold[id] > 0 {
			c.Sells++
		}
		if m.unmet[id] > 0 {
			c.Buys++
		}
		o.Currencies = append(o.Currencies, *c)
	}
	slices.SortFunc(o.Currencies, func(a, b solver.CurrencyOutcome) int { return int(a.Debtor - b.Debtor) })
	o.Served = len(traders)
	o.Traders = o.Served + len(m.unsold) + len(m.unmet)
	return o
}

func (m *market) data(tb testing.TB) Data {
	tb.Helper()
	prices := m.prices(tb)
	return Data{
		Title: "A market", Params: m.params, Strategy: "optimal", Seed: 7, Prices: prices, Outcome: m.outcome(prices),
		Elapsed: 1234 * time.Millisecond, GeneratedAt: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC),
	}
}

func (m *market) model(tb testing.TB) model {
	tb.Helper()
	return newModel(m.data(tb), slices.Values(m.rings))
}

// write writes the report of the market.
func (m *market) write(tb testing.TB, w io.Writer) {
	tb.Helper()
	if err := render(w, m.model(tb)); err != nil {
		tb.Fatal(err)
	}
}

func (m *market) html(tb testing.TB) string {
	tb.Helper()
	var page bytes.Buffer
	m.write(tb, &page)
	return page.String()
}

// village is a small market with a currency in nearly every state.
func village(tb testing.TB) *market {
	tb.Helper()
	m := newMarket()
	m.add(61, pegTo(baseID, 2.5))
	m.add(62, pegTo(baseID, 0.4))
	m.add(63, pegTo(61, 4))
	m.add(64, pegTo(63, 0.01))
	m.add(65, pegTo(64, 7)) // too far
	m.addCurrency(solver.Currency{Locator: locatorOf(66), DebtorID: 66, Peg: pegTo(62, 3)})
	m.addCurrency(solver.Currency{Locator: "https://mallory.example/61", DebtorID: 61, Peg: pegTo(baseID, 9)})
	m.add(67, pegTo(68, 2))
	m.add(68, pegTo(69, 0.5))
	m.add(69, pegTo(67, 1))
	m.add(70, pegTo(69, 12))
	m.add(71, nil)
	m.add(72, pegTo(999, 1))
	m.add(73, &solver.Peg{Locator: locatorOf(61), DebtorID: 62, Rate: 3})
	m.add(74, pegTo(62, 0))
	m.add(75, pegTo(71, 2))
	prices := m.prices(tb)
	m.trade(12_500, 101, prices, 60, 61, 62)
	m.trade(7_700, 201, prices, 61, 63)
	m.trade(4_200.5, 301, prices, 60, 62, 63, 64, 61)
	m.trade(1_100, 401, prices, 60, 61)
	m.unsold[62], m.unmet[62] = 900, 0
	m.unsold[60], m.unmet[61] = 4_000, 9_500
	m.unsold[64], m.unmet[64] = 300, 120
	return m
}

// metropolis is a market with many currencies, a tenth of which cannot be traded, and chains of pegs that are longer
// than the limit.
func metropolis(tb testing.TB, currencies, rings int) *market {
	tb.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	m := newMarket()
	m.params.MaxDistanceToBase = 10
	const first = baseID + 1
	for i := range currencies - 1 {
		peg := pegTo(swpt.DebtorID(baseID+random.IntN(i/3+1)), math.Exp(0.7*random.NormFloat64()))
		if i > currencies-400 && i%400 != 0 {
			peg = pegTo(swpt.DebtorID(first+i-1), 1.01) // a chain
		}
		m.addCurrency(solver.Currency{
			Confirmed: random.IntN(10) > 0, Locator: locatorOf(swpt.DebtorID(first + i)), DebtorID: swpt.DebtorID(first + i), Peg: peg,
		})
	}
	prices := m.prices(tb)
	var tradable []swpt.DebtorID
	for c := range prices.Currencies() {
		if c.Clearable {
			tradable = append(tradable, c.DebtorID)
		}
	}
	random.Shuffle(len(tradable), func(i, j int) { tradable[i], tradable[j] = tradable[j], tradable[i] })
	popular := func() swpt.DebtorID {
		return tradable[int(math.Pow(float64(len(tradable)), random.Float64()))-1]
	}
	for i := range rings {
		debtors := make([]swpt.DebtorID, 2+int(random.ExpFloat64()*3))
		for k := range debtors {
			debtors[k] = popular()
		}
		m.trade(math.Exp(9.5+1.5*random.NormFloat64()), swpt.CreditorID(1<<32+i*100), prices, debtors...)
	}
	for range rings {
		m.unsold[popular()] += math.Exp(7 + 2*random.NormFloat64())
		m.unmet[popular()] += math.Exp(7 + 2*random.NormFloat64())
	}
	return m
}

func valuesOf(rings ...solver.Ring) iter.Seq[solver.Ring] { return slices.Values(rings) }
