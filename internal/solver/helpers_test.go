package solver_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A tester is what *testing.T and *rapid.T have in common.
type tester interface {
	rapid.TB
	Context() context.Context
}

// A book is all that a market gets to know in a turn.
type book struct {
	params     solver.Params
	currencies []solver.Currency
	collectors []collectorAccount
	sells      []solver.SellOffer
	buys       []solver.BuyOffer
}

type collectorAccount struct {
	debtor swpt.DebtorID
	id     swpt.CreditorID
}

// prices registers the currencies, all of which must be sound.
func (b *book) prices(t tester) *solver.Prices {
	t.Helper()
	return mustPrice(t, b.params, b.currencies)
}

func mustPrice(t tester, params solver.Params, currencies []solver.Currency) *solver.Prices {
	t.Helper()
	tree, err := solver.NewPegTree(params)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range currencies {
		if err := tree.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		t.Fatal(err)
	}
	return prices
}

// market adds everything in the order of the book.
func (b *book) market(t tester) *solver.Market {
	t.Helper()
	m := solver.NewMarket(b.prices(t))
	for _, c := range b.collectors {
		if err := m.AddCollector(c.debtor, c.id); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range b.sells {
		if _, err := m.AddSell(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range b.buys {
		if _, err := m.AddBuy(o); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (b *book) clear(t tester, strategy solver.Strategy, seed int64) *solver.Outcome {
	t.Helper()
	out, err := b.market(t).Clear(t.Context(), solver.Options{Strategy: strategy, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shuffled returns the same book in another order.
func (b *book) shuffled(r *rand.Rand) *book {
	c := *b
	c.currencies = shuffled(r, b.currencies)
	c.collectors = shuffled(r, b.collectors)
	c.sells = shuffled(r, b.sells)
	c.buys = shuffled(r, b.buys)
	return &c
}

func shuffled[E any](r *rand.Rand, list []E) []E {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// strategies are those for which everything must hold.
func strategies() []solver.Strategy { return []solver.Strategy{solver.Greedy(), solver.Optimal()} }

// value is the total value taken.
func value(out *solver.Outcome) float64 {
	total := 0.0
	for _, c := range out.Currencies {
		total += c.Cleared
	}
	return total
}

func change(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64, collector swpt.CreditorID) solver.Change {
	return solver.Change{Creditor: creditor, Debtor: debtor, Amount: amount, Collector: collector}
}

func transfer(debtor swpt.DebtorID, from, to swpt.CreditorID, amount int64) solver.Transfer {
	return solver.Transfer{Debtor: debtor, From: from, To: to, Amount: amount}
}

func dice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5eed)) }

// The rest of this file reads and writes the notation of solver.md section 7.

func turn(base swpt.DebtorID, distance int, minimum int64) solver.Params {
	return solver.Params{
		BaseLocator: locator(base), BaseDebtorID: base, MaxDistanceToBase: distance, MinTradeAmount: minimum,
	}
}

func locator(id swpt.DebtorID) string { return fmt.Sprintf("L%d", id) }

// A notation is an offer book as people write it down. The base is currency 60, the distance limit 10, and the minimum
// trade amount 1000, unless set otherwise.
type notation struct {
	minimum    int64
	currencies string // "61 × 2.5; 62 → 61 × 3 unconfirmed"
	collectors string // "701 for 60; 702 for 61"
	offers     string // "1: sell 60 9000 @801, buy 61 4000", one trader a line
}

func (n notation) book(t *testing.T) *book {
	t.Helper()
	b := &book{params: turn(60, 10, cmp.Or(n.minimum, 1000)), currencies: parseCurrencies(t, 60, n.currencies)}
	for _, item := range split(n.collectors, ";") {
		w := words(t, item, "# for #")
		b.collectors = append(b.collectors, collectorAccount{swpt.DebtorID(w[1]), swpt.CreditorID(w[0])})
	}
	for _, line := range split(n.offers, "\n") {
		trader, offers, _ := strings.Cut(line, ":")
		creditor := swpt.CreditorID(number(t, trader))
		for _, item := range split(offers, ",") {
			if strings.HasPrefix(item, "sell") {
				w := words(t, item, "sell # # @#")
				b.sells = append(b.sells, solver.SellOffer{
					Creditor: creditor, Debtor: swpt.DebtorID(w[0]), Amount: w[1], Collector: swpt.CreditorID(w[2]),
				})
				continue
			}
			w := words(t, item, "buy # #")
			b.buys = append(b.buys, solver.BuyOffer{Creditor: creditor, Debtor: swpt.DebtorID(w[0]), Amount: w[1]})
		}
	}
	return b
}

// parseCurrencies reads a list like "61 × 2.5; 62 → 61 × 3 unconfirmed; L6/5 → L6/7 × ∞". The base is confirmed unless
// the list has something else to say about it.
func parseCurrencies(t *testing.T, base swpt.DebtorID, text string) []solver.Currency {
	t.Helper()
	var list []solver.Currency
	for _, item := range split(text, ";") {
		item, unconfirmed := strings.CutSuffix(item, " unconfirmed")
		item, rate, pegged := strings.Cut(item, " × ")
		name, peg, found := strings.Cut(item, " → ")
		if !found {
			peg = strconv.FormatInt(int64(base), 10)
		}
		c := solver.Currency{Confirmed: !unconfirmed}
		c.Locator, c.DebtorID = parseIdentity(t, name)
		if pegged {
			c.Peg = &solver.Peg{Rate: decimal(t, rate)}
			c.Peg.Locator, c.Peg.DebtorID = parseIdentity(t, peg)
		}
		list = append(list, c)
	}
	isBase := func(c solver.Currency) bool { return c.Locator == locator(base) }
	if !slices.ContainsFunc(list, isBase) {
		list = append(list, solver.Currency{Confirmed: true, Locator: locator(base), DebtorID: base})
	}
	return list
}

// parseIdentity reads "61", which is short for "L61/61".
func parseIdentity(t *testing.T, text string) (string, swpt.DebtorID) {
	t.Helper()
	if loc, id, found := strings.Cut(text, "/"); found {
		return loc, swpt.DebtorID(number(t, id))
	}
	id := swpt.DebtorID(number(t, text))
	return locator(id), id
}

// words reads the numbers that stand for # in a pattern.
func words(t *testing.T, text, pattern string) []int64 {
	t.Helper()
	var numbers []int64
	have, want := strings.Fields(text), strings.Fields(pattern)
	if len(have) != len(want) {
		t.Fatalf("%q does not look like %q", text, pattern)
	}
	for i, w := range want {
		prefix, found := strings.CutSuffix(w, "#")
		rest, begins := strings.CutPrefix(have[i], prefix)
		if !begins || !found && rest != "" {
			t.Fatalf("%q does not look like %q", text, pattern)
		}
		if found {
			numbers = append(numbers, number(t, rest))
		}
	}
	return numbers
}

// number reads an integer; M stands for 2^63-1.
func number(t *testing.T, text string) int64 {
	t.Helper()
	if text == "M" {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func decimal(t *testing.T, text string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), "∞", "inf"), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func split(text, separator string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, separator) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// An outcome reads "take 1/60 6000 @801", "send 60 801→701 6000", "give 1/61 2400 @702", one change a line, in
// alphabetical order.
func describe(out *solver.Outcome) string {
	var lines []string
	for _, c := range out.Takings {
		lines = append(lines, fmt.Sprintf("take %d/%d %d @%d", c.Creditor, c.Debtor, c.Amount, c.Collector))
	}
	for _, x := range out.Transfers {
		lines = append(lines, fmt.Sprintf("send %d %d→%d %d", x.Debtor, x.From, x.To, x.Amount))
	}
	for _, c := range out.Givings {
		lines = append(lines, fmt.Sprintf("give %d/%d %d @%d", c.Creditor, c.Debtor, c.Amount, c.Collector))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// spellOut brings an expected outcome, which may have several changes of one kind in a line, into the form of describe.
func spellOut(text string) string {
	var lines []string
	for _, line := range split(text, "\n") {
		kind, changes, _ := strings.Cut(line, " ")
		for _, change := range split(changes, ",") {
			change = strings.ReplaceAll(change, "M", strconv.FormatInt(math.MaxInt64, 10))
			lines = append(lines, kind+" "+change)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
