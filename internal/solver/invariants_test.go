package solver_test

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// An account is one creditor's account with one debtor, or a collector's.
type account struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID
}

// A result is what can be seen of an outcome.
type result struct {
	takings, givings []solver.Change
	transfers        []solver.Transfer
	currencies       []solver.CurrencyOutcome
	traders, served  int
	rings            []solver.Ring
}

func published(out *solver.Outcome) result {
	r := result{
		slices.Clone(out.Takings), slices.Clone(out.Givings), slices.Clone(out.Transfers), slices.Clone(out.Currencies),
		out.Traders, out.Served, nil,
	}
	for ring := range out.Rings() {
		ring.Steps = slices.Clone(ring.Steps)
		r.rings = append(r.rings, ring)
	}
	return r
}

// checkOutcome checks everything that solver.md demands of an outcome: the invariants I1 to I12 of section 5.4, the
// guarantees G1 to G5 of section 4.4, the number of transfers (5.3); and what the package promises beyond that about
// the order of lists, the summary, and rings.
func checkOutcome(t tester, b *book, out *solver.Outcome) {
	t.Helper()
	offences := newChecker(b).check(published(out))
	for _, offence := range offences[:min(10, len(offences))] {
		t.Errorf("%s", offence)
	}
	if len(offences) > 10 {
		t.Errorf("%d offences", len(offences))
	}
}

// A checker knows the offers of a book that may be served, and collects offences. Its arithmetic is exact.
type checker struct {
	minimum    int64
	price      map[swpt.DebtorID]float64
	registered map[swpt.DebtorID][]swpt.CreditorID

	// Admitted offers, before and after netting.
	sells, netSells map[account]solver.SellOffer
	buys, netBuys   map[account]solver.BuyOffer

	offences []string
}

func newChecker(b *book) *checker {
	c := &checker{
		minimum:    b.params.MinTradeAmount,
		price:      newNaiveCurrencies(b.params, b.currencies).clearable(),
		registered: make(map[swpt.DebtorID][]swpt.CreditorID),
		sells:      make(map[account]solver.SellOffer),
		buys:       make(map[account]solver.BuyOffer),
		netSells:   make(map[account]solver.SellOffer),
		netBuys:    make(map[account]solver.BuyOffer),
	}
	for _, k := range b.collectors {
		c.registered[k.debtor] = append(c.registered[k.debtor], k.id)
	}
	admitted := func(a account, amount int64) bool {
		_, clearable := c.price[a.debtor]
		return clearable && a.creditor != 0 && amount >= c.minimum
	}
	for _, o := range b.sells {
		if a := (account{o.Creditor, o.Debtor}); admitted(a, o.Amount) && o.Collector != 0 {
			c.sells[a] = o
		}
	}
	for _, o := range b.buys {
		if a := (account{o.Creditor, o.Debtor}); admitted(a, o.Amount) {
			c.buys[a] = o
		}
	}
	for a, o := range c.sells {
		if o.Amount -= min(o.Amount, c.buys[a].Amount); o.Amount >= c.minimum {
			c.netSells[a] = o
		}
	}
	for a, o := range c.buys {
		if o.Amount -= min(o.Amount, c.sells[a].Amount); o.Amount >= c.minimum {
			c.netBuys[a] = o
		}
	}
	return c
}

// need notes an offence against a rule unless a condition holds.
func (c *checker) need(holds bool, rule, format string, args ...any) {
	if !holds {
		c.offences = append(c.offences, rule+": "+fmt.Sprintf(format, args...))
	}
}

func (c *checker) check(r result) []string {
	c.offences = nil
	c.checkChanges(r)
	c.checkValue(r)
	c.checkCollectors(r)
	c.checkTransfers(r)
	c.checkSummary(r)
	c.checkRings(r)
	slices.Sort(c.offences)
	return c.offences
}

// checkChanges checks G1, G2, G5, I5 to I8, and I10 to I12.
func (c *checker) checkChanges(r result) {
	seen := make(map[account]bool)
	examine := func(ch solver.Change) {
		a := account{ch.Creditor, ch.Debtor}
		_, clearable := c.price[ch.Debtor]
		c.need(clearable, "I11", "%+v is in a currency that is not clearable", ch)
		c.need(ch.Amount >= c.minimum, "I8", "%+v is below the minimum %d", ch, c.minimum)
		c.need(ch.Creditor != 0, "I10", "%+v is for creditor 0", ch)
		c.need(!seen[a], "I10", "%+v is not the only change of its account", ch)
		seen[a] = true
	}
	for _, ch := range r.takings {
		examine(ch)
		o, found := c.netSells[account{ch.Creditor, ch.Debtor}]
		c.need(found, "I5", "%+v is for sale by nobody", ch)
		c.need(ch.Amount <= o.Amount, "I5", "%+v exceeds what is left of the sell offer, %d", ch, o.Amount)
		c.need(ch.Collector == o.Collector, "I5", "%+v goes to another collector than the offer's, %d", ch, o.Collector)
	}
	takers := c.takers(r)
	for _, ch := range r.givings {
		examine(ch)
		a := account{ch.Creditor, ch.Debtor}
		o, found := c.netBuys[a]
		c.need(found, "I6", "%+v is wanted by nobody", ch)
		c.need(ch.Amount <= o.Amount, "I6", "%+v exceeds what is left of the buy offer, %d", ch, o.Amount)
		registered := c.registered[ch.Debtor]
		switch opposite, netted := c.sells[a]; {
		case netted:
			c.need(ch.Collector == opposite.Collector, "I7", "%+v comes from another collector than the sell offer's", ch)
		case len(registered) > 0:
			c.need(slices.Contains(registered, ch.Collector), "I7", "%+v comes from an unregistered collector", ch)
		default:
			c.need(takers[account{ch.Collector, ch.Debtor}], "I7", "%+v comes from a collector that takes nothing", ch)
		}
	}
	byAccount := func(x, y solver.Change) int {
		return cmp.Or(cmp.Compare(x.Creditor, y.Creditor), cmp.Compare(x.Debtor, y.Debtor))
	}
	c.need(slices.IsSortedFunc(r.takings, byAccount), "order", "takings are not sorted")
	c.need(slices.IsSortedFunc(r.givings, byAccount), "order", "givings are not sorted")
	if len(c.sells) == 0 || len(c.buys) == 0 {
		c.need(len(r.takings)+len(r.givings)+len(r.transfers) == 0, "I12", "trades in a one-sided market")
	}
}

// takers are the collectors into which something is taken.
func (c *checker) takers(r result) map[account]bool {
	takers := make(map[account]bool)
	for _, ch := range r.takings {
		takers[account{ch.Collector, ch.Debtor}] = true
	}
	return takers
}

// checkValue checks I9, which is G3.
func (c *checker) checkValue(r result) {
	type balance struct {
		gets, slack      *big.Float
		takings, givings int
	}
	balances := make(map[swpt.CreditorID]*balance)
	of := func(id swpt.CreditorID) *balance {
		if balances[id] == nil {
			balances[id] = &balance{gets: exact(0), slack: exact(0)}
		}
		return balances[id]
	}
	for _, ch := range r.takings {
		v := of(ch.Creditor)
		v.takings++
		v.gets.Sub(v.gets, worth(ch.Amount, c.price[ch.Debtor]))
		v.slack.Add(v.slack, rounding(ch.Amount, c.price[ch.Debtor]))
	}
	for _, ch := range r.givings {
		v := of(ch.Creditor)
		v.givings++
		v.gets.Add(v.gets, worth(ch.Amount, c.price[ch.Debtor]))
		v.slack.Add(v.slack, rounding(ch.Amount, c.price[ch.Debtor]))
	}
	for id, v := range balances {
		c.need(v.takings > 0, "I9", "trader %d gets something for nothing", id)
		c.need(v.givings > 0, "I9", "trader %d gives something for nothing", id)
		off := exact(0).Abs(v.gets)
		c.need(off.Cmp(v.slack) <= 0, "I9", "trader %d is off by %.6g, allowed %.6g", id, v.gets, v.slack)
	}
}

// exact makes a number of such a precision that sums of amounts at prices are exact: prices have binary exponents
// from -126 to 127 and 53 bits, amounts and their number less than 100 bits.
func exact(x float64) *big.Float { return new(big.Float).SetPrec(600).SetFloat64(x) }

// worth is the value of an amount at a price.
func worth(amount int64, price float64) *big.Float {
	return exact(0).Mul(new(big.Float).SetInt64(amount), exact(price))
}

// rounding is by how much the value of a change may be off: one token, or, where floats do not resolve tokens, 1e-9.
func rounding(amount int64, price float64) *big.Float {
	if amount <= 1<<53 {
		return exact(price)
	}
	return exact(0).Mul(worth(amount, price), exact(1e-9))
}

// checkCollectors checks I1, which is G4, and I2; and that positions, which add up to zero in each currency if both
// hold, are 64-bit numbers.
func (c *checker) checkCollectors(r result) {
	currency := make(map[swpt.DebtorID]*big.Int)
	position := make(map[account]*big.Int)
	add := func(collector swpt.CreditorID, debtor swpt.DebtorID, amount *big.Int) {
		a := account{collector, debtor}
		if position[a] == nil {
			position[a] = new(big.Int)
		}
		position[a].Add(position[a], amount)
	}
	change := func(ch solver.Change, amount *big.Int) {
		if currency[ch.Debtor] == nil {
			currency[ch.Debtor] = new(big.Int)
		}
		currency[ch.Debtor].Add(currency[ch.Debtor], amount)
		add(ch.Collector, ch.Debtor, amount)
	}
	for _, ch := range r.takings {
		change(ch, big.NewInt(ch.Amount))
	}
	for _, ch := range r.givings {
		change(ch, new(big.Int).Neg(big.NewInt(ch.Amount)))
	}
	for debtor, sum := range currency {
		c.need(sum.Sign() == 0, "I1", "in currency %d, what is taken and given differs by %d", debtor, sum)
	}
	limit := big.NewInt(math.MaxInt64)
	surplus, deficit := make(map[swpt.DebtorID]int), make(map[swpt.DebtorID]int)
	for a, sum := range position {
		c.need(sum.CmpAbs(limit) <= 0, "4.6", "position %d of collector %+v overflows", sum, a)
		surplus[a.debtor] += max(0, sum.Sign())
		deficit[a.debtor] += max(0, -sum.Sign())
	}
	transfers := make(map[swpt.DebtorID]int)
	for _, x := range r.transfers {
		add(x.From, x.Debtor, new(big.Int).Neg(big.NewInt(x.Amount)))
		add(x.To, x.Debtor, big.NewInt(x.Amount))
		transfers[x.Debtor]++
	}
	for a, sum := range position {
		c.need(sum.Sign() == 0, "I2", "collector %+v ends with %d", a, sum)
	}
	for debtor, n := range transfers {
		s, d := surplus[debtor], deficit[debtor]
		c.need(n < s+d, "5.3", "%d transfers in currency %d from %d collectors to %d", n, debtor, s, d)
	}
}

// checkTransfers checks I3 and I4.
func (c *checker) checkTransfers(r result) {
	sends, receives := make(map[account]bool), make(map[account]bool)
	pairs := make(map[solver.Transfer]bool)
	for _, x := range r.transfers {
		_, clearable := c.price[x.Debtor]
		c.need(clearable, "I11", "%+v is in a currency that is not clearable", x)
		c.need(x.Amount >= 1, "I3", "%+v has no amount", x)
		c.need(x.From != x.To, "I3", "%+v goes nowhere", x)
		from, to := account{x.From, x.Debtor}, account{x.To, x.Debtor}
		sends[from], receives[to] = true, true
		c.need(!receives[from] && !sends[to], "I4", "%+v makes a collector send and receive", x)
		x.Amount = 0
		c.need(!pairs[x], "I4", "two transfers are like %+v", x)
		pairs[x] = true
	}
}

// checkSummary checks the rest of the outcome.
func (c *checker) checkSummary(r result) {
	want := make(map[swpt.DebtorID]*solver.CurrencyOutcome)
	for id, price := range c.price {
		want[id] = &solver.CurrencyOutcome{Debtor: id, Price: price}
	}
	traders, served := make(map[swpt.CreditorID]bool), make(map[swpt.CreditorID]bool)
	for a, o := range c.sells {
		traders[a.creditor] = true
		want[a.debtor].Sells++
		want[a.debtor].Offered += float64(o.Amount) * c.price[a.debtor]
	}
	for a, o := range c.buys {
		traders[a.creditor] = true
		want[a.debtor].Buys++
		want[a.debtor].Wanted += float64(o.Amount) * c.price[a.debtor]
	}
	for _, ch := range r.takings {
		served[ch.Creditor] = true
		if sum := want[ch.Debtor]; sum != nil {
			sum.Takings++
			sum.Cleared += float64(ch.Amount) * sum.Price
		}
	}
	for _, ch := range r.givings {
		if sum := want[ch.Debtor]; sum != nil {
			sum.Givings++
		}
	}
	c.need(r.traders == len(traders), "summary", "%d traders, want %d", r.traders, len(traders))
	c.need(r.served == len(served), "summary", "%d traders served, want %d", r.served, len(served))
	c.need(len(r.currencies) == len(want), "summary", "%d currencies, want %d", len(r.currencies), len(want))
	for i, got := range r.currencies {
		c.need(i == 0 || r.currencies[i-1].Debtor < got.Debtor, "order", "currencies are not sorted")
		sum := want[got.Debtor]
		if sum == nil {
			c.need(false, "summary", "%+v is not clearable", got)
			continue
		}
		for _, pair := range [][2]float64{{got.Offered, sum.Offered}, {got.Wanted, sum.Wanted}, {got.Cleared, sum.Cleared}} {
			c.need(math.Abs(pair[0]-pair[1]) <= 1e-9*sum.Price+1e-9*math.Abs(pair[1]), "summary", "%+v, want %+v", got, *sum)
		}
		got.Offered, got.Wanted, got.Cleared = sum.Offered, sum.Wanted, sum.Cleared
		c.need(got == *sum, "summary", "%+v, want %+v", got, *sum)
	}
}

// checkRings checks that rings are the takings and givings in another form.
func (c *checker) checkRings(r result) {
	rest, gets := make(map[account]int64), make(map[account]bool)
	taking := make(map[account]int64)
	for _, ch := range r.takings {
		a := account{ch.Creditor, ch.Debtor}
		rest[a], taking[a] = ch.Amount, ch.Amount
	}
	for _, ch := range r.givings {
		gets[account{ch.Creditor, ch.Debtor}] = true
	}
	for _, ring := range r.rings {
		c.need(len(ring.Steps) >= 2, "rings", "%+v has too few steps", ring)
		c.need(ring.Value > 0, "rings", "%+v has no value", ring)
		creditors, debtors := make(map[swpt.CreditorID]bool), make(map[swpt.DebtorID]bool)
		for i, s := range ring.Steps {
			a, next := account{s.Creditor, s.Debtor}, ring.Steps[(i+1)%len(ring.Steps)]
			rest[a] -= s.Amount
			c.need(s.Amount >= 0, "rings", "%+v has a negative amount", ring)
			c.need(taking[a] > 0, "rings", "%+v: nothing is taken from step %d", ring, i)
			c.need(gets[account{next.Creditor, s.Debtor}], "rings", "%+v: nothing is given for step %d", ring, i)
			c.need(!creditors[s.Creditor] && !debtors[s.Debtor], "rings", "%+v meets step %d twice", ring, i)
			creditors[s.Creditor], debtors[s.Debtor] = true, true
			exact := ring.Value / c.price[s.Debtor]
			c.need(math.Abs(float64(s.Amount)-exact) <= 2+1e-9*float64(taking[a]), "rings", "%+v: step %d should be %g", ring, i, exact)
		}
	}
	for a, n := range rest {
		c.need(n == 0, "rings", "those of %+v add up to %d less than its taking", a, n)
	}
}

// Rings may be asked for again, and whoever asks may stop.
func TestRingsOnDemand(t *testing.T) {
	t.Parallel()
	for _, s := range strategies() {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			out := shapes()["mixed amounts"](dice(1)).clear(t, s, 1)
			all := published(out).rings
			if len(all) < 2 {
				t.Fatalf("%d rings", len(all))
			}
			for wanted := range len(all) + 1 {
				count := 0
				for ring := range out.Rings() {
					if !reflect.DeepEqual(ring, all[count]) {
						t.Errorf("ring %d of %d is %+v, at first it was %+v", count, wanted, ring, all[count])
					}
					if count++; count >= wanted {
						break
					}
				}
				if count != max(1, wanted) {
					t.Errorf("%d rings, want %d", count, wanted)
				}
			}
		})
	}
}

// The checker accepts an outcome that is right, and sees what is wrong with each of these.
func TestCheckerFindsOffences(t *testing.T) {
	t.Parallel()
	b := notation{
		currencies: "61 × 1; 62 × 2; 63 × 1 unconfirmed",
		collectors: "700 for 61; 701 for 61",
		offers: `1: sell 60 6000 @801, buy 61 6000
			2: sell 61 3000 @802, buy 60 3000
			3: sell 61 2000 @803, buy 60 2000
			4: sell 61 1000 @802, buy 60 1000
			5: sell 62 4000 @805, sell 60 2000 @806, buy 60 10000
			6: sell 60 8000 @806, buy 62 4000, buy 63 9000
			7: sell 63 9000 @806, sell 62 500 @801
			8: sell 60 9000 @809`,
	}.book(t)
	sound := func(t *testing.T) result {
		t.Helper()
		r := published(b.clear(t, solver.Optimal(), 1))
		for i := range r.givings { // make it known which of the two collectors gives
			if r.givings[i].Debtor == 61 {
				r.givings[i].Collector = 700
			}
		}
		r.transfers = []solver.Transfer{transfer(61, 802, 700, 4000), transfer(61, 803, 700, 2000)}
		return r
	}
	if offences := newChecker(b).check(sound(t)); offences != nil {
		t.Fatalf("the sound outcome is rejected: %v", offences)
	}
	taking := func(r *result, creditor swpt.CreditorID) *solver.Change { return find(r.takings, creditor) }
	giving := func(r *result, creditor swpt.CreditorID) *solver.Change { return find(r.givings, creditor) }
	for name, c := range map[string]struct {
		rule    string
		corrupt func(r *result)
	}{
		"taken, not given":            {"I1", func(r *result) { taking(r, 6).Amount-- }},
		"given, not taken":            {"I1", func(r *result) { giving(r, 6).Amount-- }},
		"a taking is lost":            {"I1", func(r *result) { r.takings = r.takings[1:] }},
		"a collector keeps something": {"I2", func(r *result) { r.transfers = r.transfers[1:] }},
		"a transfer is too small":     {"I2", func(r *result) { r.transfers[0].Amount-- }},
		"a transfer of nothing":       {"I3", func(r *result) { r.transfers = append(r.transfers, transfer(61, 802, 701, 0)) }},
		"a negative transfer":         {"I3", func(r *result) { r.transfers[0] = transfer(61, 700, 802, -4000) }},
		"a transfer to itself":        {"I3", func(r *result) { r.transfers = append(r.transfers, transfer(61, 9, 9, 1)) }},
		"a collector sends on": {"I4", func(r *result) {
			r.transfers = []solver.Transfer{transfer(61, 802, 803, 4000), transfer(61, 803, 700, 6000)}
		}},
		"a pair of collectors twice":            {"I4", func(r *result) { r.transfers[0].Amount--; r.transfers = append(r.transfers, transfer(61, 802, 700, 1)) }},
		"too many transfers":                    {"5.3", func(r *result) { r.transfers[0].Amount--; r.transfers = append(r.transfers, transfer(61, 802, 700, 1)) }},
		"more is taken than offered":            {"I5", func(r *result) { taking(r, 1).Amount++ }},
		"something is taken unoffered":          {"I5", func(r *result) { taking(r, 1).Creditor = 9 }},
		"a wrong collector takes":               {"I5", func(r *result) { taking(r, 1).Collector = 802 }},
		"a one-sided trader gives":              {"I9", func(r *result) { r.takings = append(r.takings, change(8, 60, 1000, 809)) }},
		"what was netted is taken":              {"I5", func(r *result) { r.takings = append(r.takings, change(5, 60, 2000, 806)) }},
		"more is given than wanted":             {"I6", func(r *result) { giving(r, 1).Amount++ }},
		"more is given than netted":             {"I6", func(r *result) { giving(r, 5).Amount++ }},
		"something unwanted is given":           {"I6", func(r *result) { giving(r, 1).Creditor = 9 }},
		"an unregistered one gives":             {"I7", func(r *result) { giving(r, 1).Collector = 802 }},
		"one that has nothing gives":            {"I7", func(r *result) { giving(r, 6).Collector = 809 }},
		"another than the seller's":             {"I7", func(r *result) { giving(r, 5).Collector = 801 }},
		"too little is taken":                   {"I8", func(r *result) { taking(r, 4).Amount = 999 }},
		"too little is given":                   {"I8", func(r *result) { giving(r, 4).Amount = 999 }},
		"nothing is taken":                      {"I8", func(r *result) { taking(r, 4).Amount = 0 }},
		"a negative taking":                     {"I8", func(r *result) { taking(r, 1).Amount *= -1 }},
		"a trader gets nothing":                 {"I9", func(r *result) { r.givings = r.givings[1:] }},
		"a trader gives nothing":                {"I9", func(r *result) { r.takings = r.takings[1:] }},
		"a trader loses 3 tokens":               {"I9", func(r *result) { giving(r, 1).Amount -= 3 }},
		"a trader wins 3 tokens":                {"I9", func(r *result) { taking(r, 1).Amount -= 3 }},
		"an account is taken from and given to": {"I10", func(r *result) { r.givings = append(r.givings, r.takings[0]) }},
		"an account is taken from twice":        {"I10", func(r *result) { r.takings = append(r.takings, r.takings[0]) }},
		"an account is given to twice":          {"I10", func(r *result) { r.givings = append(r.givings, r.givings[0]) }},
		"creditor 0":                            {"I10", func(r *result) { taking(r, 1).Creditor = 0 }},
		"an unconfirmed currency":               {"I11", func(r *result) { r.takings = append(r.takings, change(7, 63, 9000, 806)) }},
		"a transfer of an unconfirmed currency": {"I11", func(r *result) { r.transfers = append(r.transfers, transfer(63, 1, 2, 1)) }},
		"takings in disorder":                   {"order", func(r *result) { r.takings[0], r.takings[1] = r.takings[1], r.takings[0] }},
		"givings in disorder":                   {"order", func(r *result) { r.givings[0], r.givings[1] = r.givings[1], r.givings[0] }},
		"currencies in disorder":                {"order", func(r *result) { r.currencies[0], r.currencies[1] = r.currencies[1], r.currencies[0] }},
		"a currency is missing":                 {"summary", func(r *result) { r.currencies = r.currencies[1:] }},
		"a currency is not clearable":           {"summary", func(r *result) { r.currencies[0].Debtor = 63 }},
		"wrong price":                           {"summary", func(r *result) { r.currencies[0].Price = 2 }},
		"wrong sells":                           {"summary", func(r *result) { r.currencies[0].Sells++ }},
		"wrong buys":                            {"summary", func(r *result) { r.currencies[0].Buys++ }},
		"wrong takings":                         {"summary", func(r *result) { r.currencies[0].Takings++ }},
		"wrong givings":                         {"summary", func(r *result) { r.currencies[0].Givings++ }},
		"wrong offered value":                   {"summary", func(r *result) { r.currencies[0].Offered++ }},
		"wrong wanted value":                    {"summary", func(r *result) { r.currencies[0].Wanted-- }},
		"wrong cleared value":                   {"summary", func(r *result) { r.currencies[0].Cleared++ }},
		"wrong traders":                         {"summary", func(r *result) { r.traders++ }},
		"wrong served":                          {"summary", func(r *result) { r.served-- }},
		"a ring is missing":                     {"rings", func(r *result) { r.rings = r.rings[1:] }},
		"a ring twice":                          {"rings", func(r *result) { r.rings = append(r.rings, r.rings[0]) }},
		"a ring of one":                         {"rings", func(r *result) { r.rings[0].Steps = r.rings[0].Steps[:1] }},
		"a ring of nothing":                     {"rings", func(r *result) { r.rings[0].Value = 0 }},
		"a negative step":                       {"rings", func(r *result) { r.rings[0].Steps[0].Amount *= -1 }},
		"a step too much":                       {"rings", func(r *result) { r.rings[0].Steps = append(r.rings[0].Steps, r.rings[0].Steps...) }},
		"a step too small":                      {"rings", func(r *result) { r.rings[0].Steps[0].Amount-- }},
		"a stranger in a ring":                  {"rings", func(r *result) { r.rings[0].Steps[0].Creditor = 8 }},
		"a ring of another value":               {"rings", func(r *result) { r.rings[0].Value += 10 }},
		"a ring the wrong way round":            {"rings", func(r *result) { swapDebtors(r.rings[0].Steps) }},
	} {
		r := sound(t)
		c.corrupt(&r)
		offences := newChecker(b).check(r)
		if !slices.ContainsFunc(offences, func(o string) bool { return strings.HasPrefix(o, c.rule+": ") }) {
			t.Errorf("%s: not seen as an offence against %s, but as %q", name, c.rule, offences)
		}
	}
}

func find(changes []solver.Change, creditor swpt.CreditorID) *solver.Change {
	return &changes[slices.IndexFunc(changes, func(ch solver.Change) bool { return ch.Creditor == creditor })]
}

func swapDebtors(steps []solver.RingStep) {
	steps[0].Debtor, steps[1].Debtor = steps[1].Debtor, steps[0].Debtor
}

// A market with only one side must be without trades.
func TestCheckerFindsOneSidedTrades(t *testing.T) {
	t.Parallel()
	b := notation{currencies: "61 × 1", offers: "1: sell 60 9000 @801, sell 61 9000 @801"}.book(t)
	offences := newChecker(b).check(result{takings: []solver.Change{{1, 60, 9000, 801}}})
	if !slices.ContainsFunc(offences, func(o string) bool { return strings.HasPrefix(o, "I12: ") }) {
		t.Errorf("offences: %q", offences)
	}
}

// G3 is checked to the token, and above 2^53 tokens to 1e-9.
func TestCheckerIsExact(t *testing.T) {
	t.Parallel()
	const huge = 1 << 62
	for name, c := range map[string]struct {
		first, second int64
		sound         bool
	}{
		"equal":                {5000, 5000, true},
		"two tokens":           {5000, 5002, true},
		"three tokens":         {5000, 5003, false},
		"at 2^53":              {1 << 53, 1<<53 - 2, true},
		"at 2^53, off":         {1 << 53, 1<<53 - 3, false},
		"above 2^53":           {1<<53 + 1, 1<<53 - 9_000_000, true},
		"above 2^53, off":      {1<<53 + 1, 1<<53 - 9_100_000, false},
		"huge, 1e-9 of both":   {huge, huge - huge/1_000_000_000*19/10, true},
		"huge, more than 1e-9": {huge, huge - huge/1_000_000_000*21/10, false},
	} {
		b := notation{currencies: "61 × 1"}.book(t)
		checker := newChecker(b)
		checker.checkValue(result{
			takings: []solver.Change{change(1, 60, c.first, 801), change(2, 61, c.second, 802)},
			givings: []solver.Change{change(1, 61, c.second, 802), change(2, 60, c.first, 801)},
		})
		if (len(checker.offences) == 0) != c.sound {
			t.Errorf("%s: offences %q", name, checker.offences)
		}
	}
}

// A collector's position must be a 64-bit number.
func TestCheckerFindsOverflow(t *testing.T) {
	t.Parallel()
	for amount, sound := range map[int64]bool{1<<62 - 1: true, 1 << 62: false, math.MaxInt64: false} {
		checker := newChecker(notation{}.book(t))
		checker.checkCollectors(result{
			takings:   []solver.Change{change(1, 60, amount, 801), change(2, 60, amount, 801)},
			givings:   []solver.Change{change(3, 60, amount, 701), change(4, 60, amount, 701)},
			transfers: []solver.Transfer{transfer(60, 801, 701, amount), transfer(60, 801, 701, amount)},
		})
		offences := slices.DeleteFunc(checker.offences, func(o string) bool { return strings.HasPrefix(o, "5.3:") })
		if (len(offences) == 0) != sound || !sound && !strings.HasPrefix(offences[0], "4.6:") {
			t.Errorf("twice %d: offences %q", amount, offences)
		}
	}
}
