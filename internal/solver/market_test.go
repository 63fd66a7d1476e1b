package solver_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A workedCase is one of solver.md section 7.3, or one like these.
type workedCase struct {
	notation
	outcomes []string // all that are right, under any seed
	greedy   []string // those of the greedy strategy, if others
}

func (c workedCase) rightFor(s solver.Strategy) []string {
	if s.Name() == solver.Greedy().Name() && c.greedy != nil {
		return c.greedy
	}
	return c.outcomes
}

func workedCases() map[string]workedCase {
	nothing := []string{""}
	return map[string]workedCase{
		"S1 swap": {
			notation: notation{
				currencies: "61 × 2.5",
				collectors: "701 for 60; 702 for 61",
				offers: `1: sell 60 9000 @801, buy 61 4000
					2: sell 61 3000 @802, buy 60 6000`,
			},
			outcomes: []string{`
				take 1/60 6000 @801, 2/61 2400 @802
				send 60 801→701 6000, 61 802→702 2400
				give 1/61 2400 @702, 2/60 6000 @701`},
		},
		"S2 ring of three": {
			notation: notation{
				currencies: "61 × 0.7; 62 × 1.3",
				offers: `1: sell 60 10000 @801, buy 61 20000
					2: sell 61 11000 @802, buy 62 20000
					3: sell 62 12000 @803, buy 60 20000`,
			},
			outcomes: []string{`
				take 1/60 7700 @801, 2/61 11000 @802, 3/62 5923 @803
				give 1/61 11000 @802, 2/62 5923 @803, 3/60 7700 @801`},
		},
		"S3 two rings share a trader": {
			notation: notation{
				currencies: "61 × 0.5; 62 × 8; 63 × 3",
				collectors: "701 for 61; 702 for 62; 703 for 63",
				offers: `1: sell 61 50000 @701, buy 62 3000
					2: sell 62 4000 @702, buy 63 7000
					3: sell 63 9000 @703, buy 61 60000
					4: sell 61 8000 @701, buy 63 2000`,
			},
			outcomes: []string{`
				take 1/61 42000 @701, 2/62 2625 @702, 3/63 8333 @703, 4/61 8000 @701
				give 1/62 2625 @702, 2/63 7000 @703, 3/61 50000 @701, 4/63 1333 @703`, `
				take 1/61 42000 @701, 2/62 2625 @702, 3/63 8334 @703, 4/61 8000 @701
				give 1/62 2625 @702, 2/63 7000 @703, 3/61 50000 @701, 4/63 1334 @703`},
		},
		"S4 leftovers": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 5500 @801, buy 61 5500
					2: sell 61 5000 @802, buy 60 9000
					3: sell 61 900 @803, buy 60 900`,
			},
			outcomes: []string{`
				take 1/60 5000 @801, 2/61 5000 @802
				give 1/61 5000 @802, 2/60 5000 @801`},
		},
		"S5 open chain": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 5000 @801, buy 61 5000
					2: sell 61 5000 @802`,
			},
			outcomes: nothing,
		},
		"S6 unconfirmed link": {
			notation: notation{
				currencies: "61 × 1 unconfirmed; 62 → 61 × 3",
				offers: `1: sell 60 9000 @801, buy 62 9000, buy 61 9000
					2: sell 62 9000 @802, sell 61 9000 @802, buy 60 9000`,
			},
			outcomes: []string{`
				take 1/60 9000 @801, 2/62 3000 @802
				give 1/62 3000 @802, 2/60 9000 @801`},
		},
		"S7 unconfirmed base": {
			notation: notation{
				currencies: "60 unconfirmed; 61 × 2; 62 × 0.5",
				offers: `1: sell 61 3000 @801, buy 62 20000
					2: sell 62 9000 @802, buy 61 2000
					3: sell 60 9000 @803, buy 61 9000
					4: sell 61 9000 @804, buy 60 9000`,
			},
			outcomes: []string{`
				take 1/61 2000 @801, 2/62 8000 @802
				give 1/62 8000 @802, 2/61 2000 @801`},
		},
		"S8 equalising, fallback": {
			notation: notation{
				currencies: "61 × 1",
				collectors: "700 for 61",
				offers: `1: sell 60 6000 @801, buy 61 6000
					2: sell 61 3000 @802, buy 60 3000
					3: sell 61 2000 @803, buy 60 2000
					4: sell 61 1000 @700, buy 60 1000`,
			},
			outcomes: []string{`
				take 1/60 6000 @801, 2/61 3000 @802, 3/61 2000 @803, 4/61 1000 @700
				send 61 802→700 3000, 61 803→700 2000
				give 1/61 6000 @700, 2/60 3000 @801, 3/60 2000 @801, 4/60 1000 @801`},
		},
		"S9 random collector": {
			notation: notation{
				currencies: "61 × 1",
				collectors: "700 for 60; 701 for 60; 702 for 60",
				offers: `1: sell 60 4000 @700, buy 61 4000
					2: sell 61 4000 @709, buy 60 4000`,
			},
			outcomes: []string{`
				take 1/60 4000 @700, 2/61 4000 @709
				give 1/61 4000 @709, 2/60 4000 @700`, `
				take 1/60 4000 @700, 2/61 4000 @709
				send 60 700→701 4000
				give 1/61 4000 @709, 2/60 4000 @701`, `
				take 1/60 4000 @700, 2/61 4000 @709
				send 60 700→702 4000
				give 1/61 4000 @709, 2/60 4000 @702`},
		},
		"S10 largest amounts": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 M @801, buy 61 M
					2: sell 61 M @802, buy 60 M`,
			},
			outcomes: []string{`
				take 1/60 M @801, 2/61 M @802
				give 1/61 M @802, 2/60 M @801`},
		},
		"S11 with itself": {
			notation: notation{
				currencies: "61 × 1",
				collectors: "700 for 61",
				offers:     "1: sell 60 5000 @801, buy 60 3000, sell 61 2000 @802, buy 61 9000",
			},
			outcomes: nothing,
		},
		"S12 rounding": {
			notation: notation{
				currencies: "61 × 2",
				offers: `1: sell 61 20001 @801, buy 60 99999
					2: sell 60 20001 @802, buy 61 99999
					3: sell 60 20001 @803, buy 61 99999`,
			},
			outcomes: roundingOutcomes(),
		},
		"S13 minimum in tokens": {
			notation: notation{
				currencies: "61 × 10",
				offers: `1: sell 60 10500 @801, buy 61 20000
					2: sell 61 20000 @802, buy 60 2000
					3: sell 61 1200 @802, buy 60 11000`,
			},
			outcomes: []string{`
				take 1/60 10500 @801, 3/61 1050 @802
				give 1/61 1050 @802, 3/60 10500 @801`},
		},
		"S14 float32, large": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 16777219 @801, buy 61 99999999
					2: sell 61 99999999 @802, buy 60 99999999`,
			},
			outcomes: []string{`
				take 1/60 16777219 @801, 2/61 16777219 @802
				give 1/61 16777219 @802, 2/60 16777219 @801`},
		},
		"S15 float32, exact minimum": {
			notation: notation{
				minimum:    10000,
				currencies: "61 × 0.1; 62 × 0.1",
				offers: `1: sell 61 10000 @801, buy 62 10000
					2: sell 62 10000 @802, buy 61 10000`,
			},
			outcomes: []string{`
				take 1/61 10000 @801, 2/62 10000 @802
				give 1/62 10000 @802, 2/61 10000 @801`},
		},
		"S16 infinite price": {
			notation: notation{
				currencies: "61 × ∞",
				offers: `1: sell 61 5000 @801, buy 60 5000
					2: sell 60 5000 @802, buy 61 5000`,
			},
			outcomes: nothing,
		},
		"S17 greedy is not optimal": {
			notation: notation{
				currencies: "61 × 1; 62 × 1; 63 × 1",
				offers: `1: sell 61 5000 @801, buy 62 5000
					2: sell 62 5000 @802, buy 61 5000
					3: sell 62 5000 @802, buy 63 5000
					4: sell 63 5000 @803, buy 61 5000
					5: sell 61 5000 @801, buy 60 5000`,
			},
			outcomes: []string{`
				take 1/61 5000 @801, 3/62 5000 @802, 4/63 5000 @803
				give 1/62 5000 @802, 3/63 5000 @803, 4/61 5000 @801`},
			greedy: []string{`
				take 1/61 5000 @801, 2/62 5000 @802
				give 1/62 5000 @802, 2/61 5000 @801`, `
				take 1/61 5000 @801, 3/62 5000 @802, 4/63 5000 @803
				give 1/62 5000 @802, 3/63 5000 @803, 4/61 5000 @801`},
		},
		"S18 bad collector": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 5000 @0, buy 61 5000
					2: sell 61 5000 @802, buy 60 5000`,
			},
			outcomes: nothing,
		},
		"netting, the sell is larger": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 9000 @801, buy 60 3000, buy 61 9000
					2: sell 61 9000 @802, buy 60 9000`,
			},
			outcomes: []string{`
				take 1/60 6000 @801, 2/61 6000 @802
				give 1/61 6000 @802, 2/60 6000 @801`},
		},
		"netting, the buy is larger": {
			notation: notation{
				currencies: "61 × 1",
				collectors: "701 for 60",
				offers: `1: sell 60 2000 @801, buy 60 8000, sell 61 9000 @811
					2: sell 60 9000 @802, buy 61 9000`,
			},
			outcomes: []string{`
				take 2/60 6000 @802, 1/61 6000 @811
				send 60 802→801 6000
				give 1/60 6000 @801, 2/61 6000 @811`},
		},
		"netting, the rest is the minimum": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 4000 @801, buy 60 3000, buy 61 9000
					2: sell 61 9000 @802, buy 60 9000`,
			},
			outcomes: []string{`
				take 1/60 1000 @801, 2/61 1000 @802
				give 1/61 1000 @802, 2/60 1000 @801`},
		},
		"netting, the rest is below the minimum": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 3999 @801, buy 60 3000, buy 61 9000
					2: sell 61 9000 @802, buy 60 9000`,
			},
			outcomes: nothing,
		},
		"netting, nothing rests": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 M @801, buy 60 M, buy 61 9000
					2: sell 61 9000 @802, buy 60 9000`,
			},
			outcomes: nothing,
		},
		"what is below the minimum is not netted": {
			notation: notation{
				currencies: "61 × 1",
				offers: `1: sell 60 5000 @801, buy 60 999, buy 61 9000
					2: sell 61 5000 @802, sell 60 999 @803, buy 60 6000`,
			},
			outcomes: []string{`
				take 1/60 5000 @801, 2/61 5000 @802
				give 1/61 5000 @802, 2/60 5000 @801`},
		},
		"whoever lacks most of a token gets it": {
			notation: notation{
				currencies: "61 × 10",
				offers: `1: sell 61 5000 @801, buy 60 99999
					2: sell 60 10009 @802, buy 61 5000
					3: sell 60 10001 @802, buy 61 5000`,
			},
			outcomes: []string{`
				take 1/61 2001 @801, 2/60 10009 @802, 3/60 10001 @802
				give 1/60 20010 @802, 2/61 1001 @801, 3/61 1000 @801`},
		},
		"a collector trades": {
			notation: notation{
				currencies: "61 × 1",
				collectors: "1 for 60; 2 for 61",
				offers: `1: sell 60 5000 @2, buy 61 5000
					2: sell 61 5000 @1, buy 60 5000`,
			},
			outcomes: []string{`
				take 1/60 5000 @2, 2/61 5000 @1
				send 60 2→1 5000, 61 1→2 5000
				give 1/61 5000 @2, 2/60 5000 @1`},
		},
		"negative IDs": {
			notation: notation{
				currencies: "-61 × 1",
				collectors: "-701 for 60",
				offers: `-1: sell 60 5000 @-801, buy -61 5000
					-9223372036854775808: sell -61 5000 @-802, buy 60 5000`,
			},
			outcomes: []string{`
				take -1/60 5000 @-801, -9223372036854775808/-61 5000 @-802
				send 60 -801→-701 5000
				give -1/-61 5000 @-802, -9223372036854775808/60 5000 @-701`},
		},
		"empty":      {outcomes: nothing},
		"only sells": {notation: notation{offers: "1: sell 60 9000 @801\n2: sell 60 9000 @802"}, outcomes: nothing},
		"only buys":  {notation: notation{offers: "1: buy 60 9000\n2: buy 60 9000"}, outcomes: nothing},
	}
}

// roundingOutcomes are those of case S12: who of two traders gets the odd token, and which of two collectors gives.
func roundingOutcomes() []string {
	const odd = `
		take 1/61 20001 @801, 2/60 20001 @802, 3/60 20001 @803
		give 1/60 40002 @802, 2/61 10000 @801, 3/61 10001 @801
		send 60 803→802 20001`
	even := strings.NewReplacer("2/61 10000", "2/61 10001", "3/61 10001", "3/61 10000").Replace(odd)
	other := strings.NewReplacer("40002 @802", "40002 @803", "803→802", "802→803")
	return []string{odd, even, other.Replace(odd), other.Replace(even)}
}

func TestWorkedCases(t *testing.T) {
	t.Parallel()
	for name, c := range workedCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := c.book(t)
			for _, s := range strategies() {
				t.Run(s.Name(), func(t *testing.T) {
					t.Parallel()
					var right []string
					for _, text := range c.rightFor(s) {
						right = append(right, spellOut(text))
					}
					for seed := range int64(20) {
						out := b.shuffled(dice(uint64(seed))).clear(t, s, seed)
						checkOutcome(t, b, out)
						if got := describe(out); !slices.Contains(right, got) {
							t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, strings.Join(right, "\nor\n"))
						}
					}
				})
			}
		})
	}
}

// Greedy takes traders with more sellers of what they want first, hence trader 2 before 3.
func TestGreedyPrefersPopularCurrencies(t *testing.T) {
	t.Parallel()
	c := workedCases()["S17 greedy is not optimal"]
	b := c.book(t)
	for seed := range int64(50) {
		if out := b.clear(t, solver.Greedy(), seed); describe(out) != spellOut(c.greedy[0]) {
			t.Errorf("seed %d: got\n%s", seed, describe(out))
		}
	}
}

// chiSquare measures how far counts are from being equal. If they are equally likely, it exceeds the number of counts
// plus 15 less than once in a thousand times.
func chiSquare(counts ...int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected, sum := float64(total)/float64(len(counts)), 0.0
	for _, n := range counts {
		sum += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	return sum
}

func mustBeEven(t *testing.T, counts ...int) {
	t.Helper()
	if chiSquare(counts...) > float64(len(counts))+15 {
		t.Errorf("not even: %v", counts)
	}
}

// Which collector gives to whom is drawn evenly, for each account anew, under each seed anew.
func TestCollectorsAreDrawnEvenly(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			c := workedCases()["S9 random collector"]
			b := c.book(t)
			b.collectors = append(b.collectors, b.collectors[0]) // registering again does not count
			var count [3]int
			for seed := range int64(1000) {
				out := b.clear(t, s, seed)
				count[slices.Index([]swpt.CreditorID{700, 701, 702}, out.Givings[1].Collector)]++
			}
			mustBeEven(t, count[:]...)
		})
	}
}

func TestCollectorsAreDrawnForEachAccount(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			b := notation{
				currencies: "61 × 1; 62 × 1",
				collectors: "700 for 61; 701 for 61; 700 for 62; 701 for 62",
				offers: `1: sell 60 8000 @800, buy 61 4000, buy 62 4000
				2: sell 61 4000 @800, buy 60 4000
				3: sell 62 6000 @800, buy 60 6000
				4: sell 60 2000 @800, buy 62 2000`,
			}.book(t)
			var one, two [4]int
			for seed := range int64(1000) {
				through := make(map[[2]int64]int)
				givings := b.clear(t, s, seed).Givings
				if len(givings) != len(b.buys) {
					t.Fatalf("seed %d: only %v", seed, givings)
				}
				for _, g := range givings {
					through[[2]int64{int64(g.Creditor), int64(g.Debtor)}] = int(g.Collector - 700)
				}
				one[through[[2]int64{1, 61}]*2+through[[2]int64{1, 62}]]++
				two[through[[2]int64{1, 62}]*2+through[[2]int64{4, 62}]]++
			}
			mustBeEven(t, one[:]...)
			mustBeEven(t, two[:]...)
		})
	}
}

// In which order collectors are registered makes no difference (G7).
func TestOrderOfCollectors(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			b := workedCases()["S9 random collector"].book(t)
			want := describe(b.clear(t, s, 1))
			slices.Reverse(b.collectors)
			if got := describe(b.clear(t, s, 1)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	b := notation{currencies: "61 × 2; 62 × 2 unconfirmed; 63 × 0; 64 × -1; 65 × ∞; 66 × NaN; 67; 68 × 1e-39; 69 × 1e39"}.book(t)
	for _, c := range []struct {
		creditor  swpt.CreditorID
		debtor    swpt.DebtorID
		amount    int64
		collector swpt.CreditorID
		sell, buy solver.Verdict
	}{
		{1, 60, 1000, 801, solver.Admitted, solver.Admitted},
		{-1, 61, math.MaxInt64, -801, solver.Admitted, solver.Admitted},
		{math.MinInt64, 61, 1001, math.MinInt64, solver.Admitted, solver.Admitted},
		{1, 60, 999, 801, solver.BelowMinimum, solver.BelowMinimum},
		{1, 60, 1, 801, solver.BelowMinimum, solver.BelowMinimum},
		{1, 60, 0, 801, solver.InvalidAmount, solver.InvalidAmount},
		{1, 60, -1000, 801, solver.InvalidAmount, solver.InvalidAmount},
		{1, 60, math.MinInt64, 801, solver.InvalidAmount, solver.InvalidAmount},
		{0, 60, 1000, 801, solver.NoCreditor, solver.NoCreditor},
		{1, 60, 1000, 0, solver.NoCollector, solver.Admitted},
		{1, 62, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 63, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 64, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 65, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 66, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 67, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 68, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 69, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 70, 1000, 801, solver.NotClearable, solver.NotClearable},
		{1, 0, 1000, 801, solver.NotClearable, solver.NotClearable},
	} {
		m := solver.NewMarket(b.prices(t))
		sell, err := m.AddSell(solver.SellOffer{Creditor: c.creditor, Debtor: c.debtor, Amount: c.amount, Collector: c.collector})
		if err != nil || sell != c.sell {
			t.Errorf("sell %+v: %v, %v", c, sell, err)
		}
		buy, err := m.AddBuy(solver.BuyOffer{Creditor: c.creditor, Debtor: c.debtor, Amount: c.amount})
		if err != nil || buy != c.buy {
			t.Errorf("buy %+v: %v, %v", c, buy, err)
		}
		out, err := m.Clear(t.Context(), solver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sells, buys := 0, 0
		for _, sum := range out.Currencies {
			sells += sum.Sells
			buys += sum.Buys
		}
		if (sells > 0) != (sell == solver.Admitted) || (buys > 0) != (buy == solver.Admitted) {
			t.Errorf("%+v: %d sells, %d buys take part", c, sells, buys)
		}
	}
}

// Offers that are skipped may be there twice.
func TestSkippedOffersAreNoDuplicates(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			c := workedCases()["S1 swap"]
			b := c.book(t)
			b.sells = append(b.sells, b.sells[0], b.sells[0])
			b.sells[2].Amount, b.sells[3].Collector = 0, 0
			b.buys = append(b.buys, b.buys[0])
			b.buys[2].Amount = -1
			if got := describe(b.clear(t, s, 1)); got != spellOut(c.outcomes[0]) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

func TestDuplicateOffers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offers string
		want   solver.DuplicateOfferError
	}{
		"sell": {
			"1: sell 60 9000 @801, buy 61 9000, sell 60 9000 @801\n2: sell 61 9000 @801, buy 60 9000",
			solver.DuplicateOfferError{Creditor: 1, Debtor: 60, Selling: true},
		},
		"buy": {
			"1: sell 60 9000 @801, buy 61 9000\n2: sell 61 9000 @801, buy 60 9000\n1: buy 61 1000",
			solver.DuplicateOfferError{Creditor: 1, Debtor: 61},
		},
		"who would not trade": {
			"-2: sell 61 9000 @801\n3: sell 61 5000 @1\n-2: sell 61 9001 @802, sell 60 5000 @803",
			solver.DuplicateOfferError{Creditor: -2, Debtor: 61, Selling: true},
		},
		"with a buy between": {
			"1: sell 60 9000 @801, buy 60 9000, sell 60 8000 @801",
			solver.DuplicateOfferError{Creditor: 1, Debtor: 60, Selling: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := notation{currencies: "61 × 1", offers: c.offers}.book(t)
			for _, s := range strategies() {
				t.Run(s.Name(), func(t *testing.T) {
					t.Parallel()
					out, err := b.market(t).Clear(t.Context(), solver.Options{Strategy: s})
					var duplicate *solver.DuplicateOfferError
					if out != nil || !errors.Is(err, solver.ErrDuplicateOffer) || !errors.As(err, &duplicate) || *duplicate != c.want {
						t.Errorf("%v, %v, want %v", out, err, c.want.Error())
					}
				})
			}
		})
	}
}

func TestMarketIsClearedOnce(t *testing.T) {
	t.Parallel()
	b := workedCases()["S1 swap"].book(t)
	m := b.market(t)
	if _, err := m.Clear(t.Context(), solver.Options{}); err != nil {
		t.Fatal(err)
	}
	if out, err := m.Clear(t.Context(), solver.Options{}); out != nil || !errors.Is(err, solver.ErrCleared) {
		t.Errorf("clearing again: %v, %v", out, err)
	}
	if _, err := m.AddSell(b.sells[0]); !errors.Is(err, solver.ErrCleared) {
		t.Errorf("selling: %v", err)
	}
	if _, err := m.AddBuy(b.buys[0]); !errors.Is(err, solver.ErrCleared) {
		t.Errorf("buying: %v", err)
	}
	if err := m.AddCollector(60, 700); !errors.Is(err, solver.ErrCleared) {
		t.Errorf("adding a collector: %v", err)
	}
}

// Collectors of currencies that cannot be traded are no error, and nothing else.
func TestCollectorsOfOtherCurrencies(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			c := workedCases()["S6 unconfirmed link"]
			b := c.book(t)
			b.collectors = []collectorAccount{{61, 700}, {99, 700}, {0, 700}}
			if got := describe(b.clear(t, s, 1)); got != spellOut(c.outcomes[0]) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

func TestStrategyByName(t *testing.T) {
	t.Parallel()
	for _, want := range strategies() {
		if got, err := solver.StrategyByName(want.Name()); err != nil || got != want {
			t.Errorf("%s: %v, %v", want.Name(), got, err)
		}
	}
	if solver.Greedy().Name() != "greedy" || solver.Optimal().Name() != "optimal" {
		t.Errorf("names are %s, %s", solver.Greedy().Name(), solver.Optimal().Name())
	}
	for _, name := range []string{"", "Optimal", "best"} {
		if got, err := solver.StrategyByName(name); err == nil || got != nil {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

func TestOptimalIsTheDefault(t *testing.T) {
	t.Parallel()
	c := workedCases()["S17 greedy is not optimal"]
	if got := describe(c.book(t).clear(t, nil, 1)); got != spellOut(c.outcomes[0]) {
		t.Errorf("got\n%s", got)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			b := shapes()["ordinary"](dice(1))
			calls := 0
			progress := func(step string, share float64) {
				calls++
				if step == "" || !(share >= 0 && share <= 1) {
					t.Errorf("%q is done to %v", step, share)
				}
			}
			out, err := b.market(t).Clear(t.Context(), solver.Options{Strategy: s, Progress: progress})
			if err != nil {
				t.Fatal(err)
			}
			if calls < 2 {
				t.Errorf("%d calls", calls)
			}
			checkOutcome(t, b, out)
			if want := b.clear(t, s, 0); !reflect.DeepEqual(published(out), published(want)) {
				t.Error("watching makes a difference")
			}
		})
	}
}

// A clearing whose context ends at any moment gives up, or has got so far that it succeeds.
func TestCancelledContext(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			b := shapes()["ordinary"](dice(2))
			want, gaveUp := published(b.clear(t, s, 0)), 0
			for last, moment := false, 0; !last; moment++ {
				ctx, cancel := context.WithCancel(t.Context())
				if moment == 0 {
					cancel()
				}
				calls := 0
				out, err := b.market(t).Clear(ctx, solver.Options{Strategy: s, Progress: func(string, float64) {
					if calls++; calls == moment {
						cancel()
					}
				}})
				cancel()
				switch {
				case errors.Is(err, context.Canceled) && out == nil:
					gaveUp++
				case err != nil || !reflect.DeepEqual(published(out), want):
					t.Fatalf("cancelled at call %d: %v", moment, err)
				}
				last = moment > calls
			}
			if gaveUp < 2 {
				t.Errorf("gave up %d times", gaveUp)
			}
		})
	}
}
