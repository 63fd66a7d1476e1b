package demo

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// The currencies of the market.
const (
	apples   swpt.DebtorID = 8001 // has three collectors
	melting  swpt.DebtorID = 9001 // has an interest rate of −50 %
	giants   swpt.DebtorID = 8002 // of these three there are nearly as many tokens as there may be
	titans   swpt.DebtorID = 9002
	colossi  swpt.DebtorID = 8003
	crumbs   swpt.DebtorID = 8004 // of these two only the smallest amounts are offered
	splinter swpt.DebtorID = 9003
)

// Amounts at the limits. Of a currency there may be 2⁶¹ tokens, half of the limit of 2⁶² (peers.md, section 1.3).
const (
	huge      = 1_080_000_000_000_000_007
	hugeStock = 1_152_000_000_000_000_003
	smallest  = 10 // is the least MIN_TRADE_AMOUNT
)

// Who sells so many apples and buys so many melting tokens, and the other way round. No part of the one side adds up to
// a part of the other one, so collectors have to send tokens to each other.
var (
	appleSellers = []int64{60_007_001, 50_021_001, 40_039_001, 30_011_001, 20_023_001, 10_009_001}
	appleBuyers  = []int64{70_001_002, 60_013_001, 45_007_001, 25_003_001, 10_086_001}
)

// marketScenario returns a market in which everything that is offered is sold, so that it is certain who gets what.
func marketScenario() world.Scenario {
	several, negative := issued(apples), issued(melting)
	several.Collectors = 3
	negative.Rate = -50
	s := scenarioOf("a market of extremes", several, negative, issued(giants), issued(titans), issued(colossi),
		issued(crumbs), issued(splinter))
	add := func(accounts ...world.Account) {
		s.Customers = append(s.Customers, trader(len(s.Customers)+1, accounts...))
	}
	for _, amount := range appleSellers {
		add(sells(apples, amount), buys(melting, amount))
	}
	for _, amount := range appleBuyers {
		add(sells(melting, amount), buys(apples, amount))
	}
	sellsHuge := func(debtor swpt.DebtorID) world.Account {
		return world.Account{Debtor: debtor, Balance: hugeStock, Policy: trading(0, hugeStock-huge)}
	}
	add(sellsHuge(giants), sellsHuge(colossi), buys(titans, 2*huge))
	add(sellsHuge(titans), buys(giants, math.MaxInt64))
	add(sellsHuge(titans), buys(colossi, math.MaxInt64))
	// Ten tokens can be sold by who has eleven: by then one may melt. Nine are too few.
	add(world.Account{Debtor: crumbs, Balance: 11, Policy: trading(0, 1)}, buys(splinter, smallest))
	add(world.Account{Debtor: splinter, Balance: 11, Policy: trading(0, 1)}, buys(crumbs, smallest))
	add(sells(crumbs, smallest-1), buys(splinter, smallest-1))
	return s
}

// A performance is how the market has turned out.
type performance struct {
	first, second  *cleared
	before, middle map[journal.Account]*world.Position // before and after the first turn
	end            map[journal.Account]*world.Position
	chronicle      *chronicle
	report         world.Report
	collectors     []journal.Account // of apples
}

// testShards lets the same market be cleared with one shard and with four. Then it lets everybody want back what they
// have given, and has it cleared again.
func testShards(t *testing.T, program string) {
	t.Helper()
	performances := make(map[int]*performance)
	t.Run("shards", func(t *testing.T) {
		for _, shards := range []int{1, 4} {
			p := &performance{}
			performances[shards] = p
			t.Run(strconv.Itoa(shards), func(t *testing.T) {
				t.Parallel()
				p.play(t, program, shards)
				p.wantFirst(t)
				p.wantSecond(t)
			})
		}
	})
	if !t.Failed() {
		wantSame(t, performances[1], performances[4])
	}
}

func (p *performance) play(t *testing.T, program string, shards int) {
	t.Helper()
	s := openScene(t, program, marketScenario(), shards, fmt.Sprintf("MIN_TRADE_AMOUNT=%d", smallest))
	p.collectors = s.collectors(apples)
	p.before = s.positions()
	s.clear(1, 33, 0)
	s.settle()
	p.first, p.middle = s.cleared(1), s.positions()

	for account, position := range p.middle {
		gave := p.first.takings[account].amount
		if gave > 0 {
			s.world.SetPolicy(account, trading(position.Now+gave, math.MaxInt64))
		} else {
			s.world.SetPolicy(account, trading(0, kept(position.Now)))
		}
	}
	s.awaitPolicies()
	s.startAfresh()
	s.clear(2, 29, 0)
	s.settle()
	p.second, p.end = s.cleared(2), s.positions()
	p.report = s.judge()
	p.chronicle = s.close()
}

// kept is how much somebody keeps who sells back what they have got: enough for what has to be locked.
func kept(amount int64) int64 { return amount/10 + 1 }

// wantFirst looks at the first turn: what has been offered has been sold, down to the last token.
func (p *performance) wantFirst(t *testing.T) {
	t.Helper()
	p.first.audit(t, p.chronicle)
	wants := marketScenario()
	for i := range wants.Customers {
		customer := &wants.Customers[i]
		for _, a := range customer.Accounts {
			account := journal.Account{Debtor: a.Debtor, Creditor: customer.ID}
			offered := max(0, a.Balance-a.Policy.MaxPrincipal)
			if offered < smallest {
				offered = 0
			}
			if got := p.first.sales[account]; !nearly(got, offered) {
				t.Errorf("%v: %d are offered, want %d", account, got, offered)
			}
			if got := p.first.takings[account].amount; !nearly(got, offered) {
				t.Errorf("%v: %d are taken, want %d", account, got, offered)
			}
		}
	}
	p.wantMoved(t, p.before, p.middle, p.first)
	p.wantCollectors(t)

	// The largest payment that there can be, and the smallest one.
	if got := p.middle[accountOf(12, titans)].Now; got < 2*huge/100_000*99_998 {
		t.Errorf("who buys 2 × %d gets %d", int64(huge), got)
	}
	for _, account := range []journal.Account{accountOf(15, splinter), accountOf(16, crumbs)} {
		if got := p.middle[account].Now; got != smallest-1 {
			t.Errorf("%v: who buys %d gets %d, want one less", account, smallest, got)
		}
	}
	if trades := p.middle[accountOf(17, crumbs)].Trades; trades != nil {
		t.Errorf("less than the minimum has been traded: %v", trades)
	}
	// Of what melts, even less is left than of other tokens: the collector has to reckon with the worst.
	for account, giving := range p.first.givings {
		if plain := int64(float64(giving.amount) * (1 - cut)); account.Debtor == melting && p.middle[account].Now >= plain {
			t.Errorf("%v has got %d of %d, as if nothing melted", account, p.middle[account].Now, giving.amount)
		}
	}
}

// nearly tells whether two amounts are the same. Amounts beyond 2⁵³ that have been locked differ by what cannot be
// resolved in floating-point calculations (transfers.md, section 5).
func nearly(a, b int64) bool {
	const resolved = 1 << 53
	difference := max(a, b) - min(a, b)
	return difference == 0 || b > resolved && difference <= b/1e12
}

// wantMoved wants that what everybody has follows from what they had, and what has been cleared.
func (p *performance) wantMoved(t *testing.T, before, after map[journal.Account]*world.Position, c *cleared) {
	t.Helper()
	for account, position := range after {
		change := int64(0)
		for _, amount := range c.trades(account) {
			change += amount
		}
		if taken := c.takings[account].amount; taken > 0 && change != -taken {
			t.Errorf("turn %d, %v: %d have been given, want %d", c.turn, account, -change, taken)
		}
		if given := c.givings[account].amount; change > given {
			t.Errorf("turn %d, %v: %d have come, of %d", c.turn, account, change, given)
		}
		if before[account].Now+change != position.Now || position.Locked != 0 {
			t.Errorf("turn %d, %v: had %d, now has %d, %d of them locked, after %d by trades",
				c.turn, account, before[account].Now, position.Now, position.Locked, change)
		}
	}
}

// wantCollectors wants that the apples have gone through several collectors, and between them.
func (p *performance) wantCollectors(t *testing.T) {
	t.Helper()
	used := make(map[swpt.CreditorID]bool)
	for account, taking := range p.first.takings {
		if account.Debtor == apples {
			used[taking.collector] = true
		}
	}
	for account, giving := range p.first.givings {
		if account.Debtor == apples {
			used[giving.collector] = true
		}
	}
	if len(p.collectors) != 3 || len(used) < 2 {
		t.Errorf("of %d collectors %d have been used", len(p.collectors), len(used))
	}
	i := slices.IndexFunc(p.report.Turnovers, func(t journal.Turnover) bool { return t.Turn == 1 && t.Debtor == apples })
	if i < 0 || p.report.Turnovers[i].Sendings == 0 || p.report.Turnovers[i].Sendings != len(p.first.sendings) {
		t.Errorf("%d transfers between collectors, turnovers %+v", len(p.first.sendings), p.report.Turnovers)
	}
}

// wantSecond looks at the second turn, in which everybody sells what the first one has brought.
func (p *performance) wantSecond(t *testing.T) {
	t.Helper()
	p.second.audit(t, p.chronicle)
	p.wantMoved(t, p.middle, p.end, p.second)
	for account, position := range p.middle {
		wish, sale := p.first.takings[account].amount, int64(0)
		if p.first.givings[account].amount > 0 {
			sale = position.Now - kept(position.Now)
		}
		if account.Debtor == crumbs || account.Debtor == splinter {
			wish, sale = 0, 0 // what is left is too little to be sold, and who sells nothing cannot buy
		}
		if got := p.second.sales[account]; !nearly(got, sale) {
			t.Errorf("%v: %d are offered, want %d, having %d after the first turn", account, got, sale, position.Now)
		}
		if got := p.second.wishes[account]; got != wish {
			t.Errorf("%v: %d are wanted, want %d", account, got, wish)
		}
	}
	backAgain := 0
	for account := range p.second.takings {
		if _, got := p.first.givings[account]; !got {
			t.Errorf("%v gives what it has not got before", account)
		}
		backAgain++
	}
	if backAgain < len(appleSellers)+len(appleBuyers)+3 {
		t.Errorf("only %d sellers in the second turn: %v", backAgain, p.second.takings)
	}
}

// wantSame wants that the number of shards does not matter: the same has been offered, taken, and given. What buyers get
// may differ by as much as transfers.md allows collectors to keep, which depends on time: where tokens melt, or where it
// is left to chance whether tokens go through one collector or two.
func wantSame(t *testing.T, one, four *performance) {
	t.Helper()
	wantEqual := func(what string, a, b map[journal.Account]int64) {
		if !maps.EqualFunc(a, b, nearly) {
			t.Errorf("%s differ: with one shard %v, with four %v", what, a, b)
		}
	}
	amounts := func(rulings map[journal.Account]ruling) map[journal.Account]int64 {
		of := make(map[journal.Account]int64)
		for account, r := range rulings {
			of[account] = r.amount
		}
		return of
	}
	wantEqual("sell offers", one.first.sales, four.first.sales)
	wantEqual("buy offers", one.first.wishes, four.first.wishes)
	wantEqual("takings", amounts(one.first.takings), amounts(four.first.takings))
	wantEqual("givings", amounts(one.first.givings), amounts(four.first.givings))
	for account, a := range one.middle {
		b := four.middle[account]
		if one.before[account].Now != four.before[account].Now {
			t.Errorf("%v: the beginnings differ", account)
		}
		if !slices.EqualFunc(a.Trades, b.Trades, haveSameKind) {
			t.Errorf("%v: %+v with one shard, %+v with four", account, a.Trades, b.Trades)
		}
		giving := one.first.givings[account].amount
		exact := giving == 0 || account.Debtor != melting && account.Debtor != apples
		if exact && !nearly(a.Now, b.Now) {
			t.Errorf("%v: %d with one shard, %d with four", account, a.Now, b.Now)
		}
		if exact {
			continue
		}
		least, most := one.first.bounds(account.Debtor, giving)
		fourLeast, _ := four.first.bounds(account.Debtor, giving)
		for _, now := range []int64{a.Now, b.Now} {
			if now < min(least, fourLeast) || now > most {
				t.Errorf("%v has got %d of %d, want %d to %d", account, now, giving, min(least, fourLeast), most)
			}
		}
	}
}

// bounds returns how much a buyer gets of an amount at least and at most: collectors keep their cut once or twice, and
// one token of each transfer; tokens melt as if the payment took half an hour longer than to the present.
func (c *cleared) bounds(debtor swpt.DebtorID, giving int64) (least, most int64) {
	const several = 4
	patience := &smp.PrepareTransfer{TS: time.Now(), MaxCommitDelay: 1800}
	most = int64(float64(giving) * (1 - cut))
	return c.left(debtor, float64(giving)*(1-cut), patience) - several, most
}

func haveSameKind(a, b journal.Trade) bool { return a.Note.Kind == b.Note.Kind }
