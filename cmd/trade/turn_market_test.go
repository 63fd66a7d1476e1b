package main

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A village is what is known before a turn: currencies, collectors, and what traders have and want. Beside it stands,
// written down once more and in the most simple-minded way, what the rules make of that.
type village struct {
	currencies []villageCurrency // the first one is the base
	claims     map[swpt.DebtorID]string
	collectors []villageCollector
	policies   map[account]*villagePolicy
}

// What the turns of villages have in common.
const (
	villageDistance = 3
	villageMinimum  = 1000
)

type villageCurrency struct {
	locator    string
	debtor     swpt.DebtorID
	pegLocator string // empty: no peg
	pegDebtor  swpt.DebtorID
	pegRate    float64
}

type villageCollector struct {
	debtor    swpt.DebtorID
	collector swpt.CreditorID
	status    int16
}

type account struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID
}

// A villagePolicy is what a trader wants, and what becomes of it.
type villagePolicy struct {
	name                                   string // empty: none
	accountID                              string
	obsolete                               bool
	flags                                  int32
	principal, minPrincipal, maxPrincipal  int64
	pegDebtor                              swpt.DebtorID // 0: no peg
	pegRate                                float64
	fate                                   fate
	available                              int64 // that the accounting authority can secure
	lastTransferNumber, creationDateOffset int
}

// A fate is what becomes of a candidate offer.
type fate int

const (
	secured  fate = iota
	rejected      // by the accounting authority
	silent        // it never answers
	late          // it answers when the offers have been poured
	delayed       // the candidate offer itself is on its way for so long
	fates
)

// newVillage makes up a village.
func newVillage(seed uint64) *village {
	random := rand.New(rand.NewPCG(seed, 0))
	v := &village{claims: map[swpt.DebtorID]string{}, policies: map[account]*villagePolicy{}}
	v.addCurrencies(random)
	v.addCollectors(random)
	for creditor := range swpt.CreditorID(250) {
		v.addTrader(random, creditor+5000)
	}
	// Collectors trade, too: with themselves as collectors, maybe.
	for _, c := range v.collectors[:12] {
		v.addTrader(random, c.collector)
	}
	return v
}

func (v *village) addCurrencies(random *rand.Rand) {
	const currencies = 16
	for i := range currencies {
		c := villageCurrency{locator: fmt.Sprintf("https://example.com/%d", i), debtor: swpt.DebtorID(900 + i)}
		if i > 0 {
			peg := v.currencies[random.IntN(min(i, 6))]
			c.pegLocator, c.pegDebtor = peg.locator, peg.debtor
			c.pegRate = math.Exp(random.NormFloat64())
		}
		v.claims[c.debtor] = c.locator
		v.currencies = append(v.currencies, c)
	}
	// The base's own peg does not count. Nor does a peg that contradicts itself.
	v.currencies[0].pegLocator, v.currencies[0].pegDebtor, v.currencies[0].pegRate = v.currencies[1].locator, 901, 7
	v.currencies[15].pegDebtor++
	// Nobody has confirmed this one, to which others are pegged; another one is claimed with another locator.
	delete(v.claims, 901)
	v.currencies[2].pegLocator, v.currencies[2].pegDebtor = v.currencies[1].locator, 901
	v.currencies[3].pegLocator, v.currencies[3].pegDebtor = v.currencies[1].locator, 901
	v.claims[914] = "https://example.com/elsewhere"
	// This one pretends to be another one.
	v.currencies = append(v.currencies, villageCurrency{
		locator: "https://example.net/pretender", debtor: 904, pegLocator: v.currencies[0].locator, pegDebtor: 900, pegRate: 3,
	})
}

func (v *village) addCollectors(random *rand.Rand) {
	for i := range 16 {
		debtor := swpt.DebtorID(900 + i)
		count := 1 + random.IntN(3)
		for k := range count {
			v.collectors = append(v.collectors, villageCollector{debtor, swpt.CreditorID(1<<40 + (i+k)%7), 2})
		}
	}
	v.collectors = slices.DeleteFunc(v.collectors, func(c villageCollector) bool { return c.debtor == 912 || c.debtor == 913 })
	v.collectors = append(v.collectors,
		villageCollector{912, 1<<40 + 1, 1}, villageCollector{913, 1<<40 + 2, 3}, // requested, disabled
		villageCollector{900, 1<<40 + 100, 0}, villageCollector{905, 1<<40 + 101, 3})
}

// addTrader gives a trader policies for some currencies.
func (v *village) addTrader(random *rand.Rand, creditor swpt.CreditorID) {
	for _, i := range random.Perm(len(v.currencies))[:3+random.IntN(7)] {
		c := v.currencies[i]
		if i > 10 && random.IntN(2) == 0 { // unpopular
			continue
		}
		p := &villagePolicy{
			name: "conservative", accountID: "x", minPrincipal: 100_000, maxPrincipal: 200_000, pegDebtor: 900,
			lastTransferNumber: random.IntN(100), creationDateOffset: random.IntN(1000),
			available: math.MaxInt64,
		}
		if price, found := v.price(i); found {
			p.pegRate = price
		}
		v.varyRate(random, p, c)
		varyAmount(random, p)
		if random.IntN(8) == 0 {
			p.fate = fate(random.IntN(int(fates)))
		}
		if random.IntN(5) == 0 {
			p.available = 1100 + random.Int64N(100_000)
		}
		v.policies[account{creditor, c.debtor}] = p
	}
}

// varyRate has a trader see the price of a currency in another way, or not see it.
func (v *village) varyRate(random *rand.Rand, p *villagePolicy, c villageCurrency) {
	switch random.IntN(16) {
	case 0, 1, 2:
		p.pegDebtor, p.pegRate = c.pegDebtor, c.pegRate
	case 3:
		p.pegRate *= 1.001
	case 4:
		p.pegDebtor, p.pegRate = 0, 0
	case 5:
		p.pegRate *= 1.000001
	}
}

func varyAmount(random *rand.Rand, p *villagePolicy) {
	amount := int64(math.Exp(9.5 + 2*random.NormFloat64()))
	if random.IntN(2) == 0 {
		p.principal = p.minPrincipal - amount
	} else {
		p.principal = p.maxPrincipal + amount
	}
	switch random.IntN(40) {
	case 0:
		p.name = ""
	case 1:
		p.accountID = ""
	case 2:
		p.obsolete = true
	case 3:
		p.flags = 1
	case 4:
		p.minPrincipal, p.maxPrincipal = p.maxPrincipal, p.minPrincipal
	case 5:
		p.principal = p.minPrincipal + random.Int64N(p.maxPrincipal-p.minPrincipal)
	case 6:
		p.principal, p.minPrincipal, p.maxPrincipal = math.MinInt64, math.MaxInt64, math.MaxInt64
	case 7:
		p.principal, p.minPrincipal, p.maxPrincipal = math.MaxInt64, math.MinInt64, math.MinInt64
	case 8:
		p.principal = p.maxPrincipal + villageMinimum
	case 9:
		p.principal = p.maxPrincipal + villageMinimum - 1
	}
}

// price returns what a token of a currency is worth, if it is known.
func (v *village) price(i int) (price float64, found bool) {
	price = 1
	for range villageDistance + 1 {
		if i == 0 {
			return price, true
		}
		c := v.currencies[i]
		i = slices.IndexFunc(v.currencies, func(other villageCurrency) bool { return other.locator == c.pegLocator })
		if i < 0 || v.currencies[i].debtor != c.pegDebtor {
			return 0, false
		}
		price *= c.pegRate
	}
	return 0, false
}

// isConfirmed tells whether somebody who exists stands behind a currency, and somebody collects it.
func (v *village) isConfirmed(c villageCurrency) bool {
	return v.claims[c.debtor] == c.locator && v.hasCollector(c.debtor, func(status int16) bool { return status == 2 })
}

func (v *village) hasCollector(debtor swpt.DebtorID, in func(status int16) bool) bool {
	return slices.ContainsFunc(v.collectors, func(c villageCollector) bool { return c.debtor == debtor && in(c.status) })
}

// tradedPrice returns the price at which tokens of a debtor are traded, if they are.
func (v *village) tradedPrice(debtor swpt.DebtorID) (price float64, found bool) {
	for i, c := range v.currencies {
		if c.debtor == debtor && v.isConfirmed(c) {
			return v.price(i)
		}
	}
	return 0, false
}

// wanted returns how many tokens a policy wants to be bought, or sold.
func (p *villagePolicy) wanted() int64 {
	if p.name == "" || p.accountID == "" || p.obsolete || p.flags&1 != 0 || p.minPrincipal > p.maxPrincipal {
		return 0
	}
	bound := p.principal
	bound = max(bound, p.minPrincipal)
	bound = min(bound, p.maxPrincipal)
	difference := new(big.Int).Sub(big.NewInt(bound), big.NewInt(p.principal))
	switch limit := big.NewInt(math.MaxInt64); {
	case difference.Cmp(limit) > 0:
		return math.MaxInt64
	case difference.Cmp(limit.Neg(limit)) < 0:
		return -math.MaxInt64
	default:
		return difference.Int64()
	}
}

// ownPrice returns what a trader takes a token for, if the trader's own rates tell.
func (v *village) ownPrice(a account, steps int) (price float64, found bool) {
	p, hasPolicy := v.policies[a]
	switch {
	case a.debtor == 900:
		return 1, true
	case steps > len(v.currencies) || !hasPolicy || p.pegDebtor == 0:
		return 0, false
	}
	price, found = v.ownPrice(account{a.creditor, p.pegDebtor}, steps+1)
	return price * p.pegRate, found
}

// candidates returns the candidate offers that the rules demand.
func (v *village) candidates() map[account]int64 {
	byTrader := map[swpt.CreditorID]map[account]int64{}
	for a, p := range v.policies {
		amount := p.wanted()
		own, isKnown := v.ownPrice(a, 0)
		price, isTraded := v.tradedPrice(a.debtor)
		if !isKnown || !isTraded || math.Abs(1-own/price) >= 1e-5 || max(amount, -amount) < villageMinimum {
			continue
		}
		if byTrader[a.creditor] == nil {
			byTrader[a.creditor] = map[account]int64{}
		}
		byTrader[a.creditor][a] = amount
	}
	all := map[account]int64{}
	for _, offers := range byTrader {
		sells, buys := false, false
		for _, amount := range offers {
			sells, buys = sells || amount < 0, buys || amount > 0
		}
		for a, amount := range offers {
			if sells && buys {
				all[a] = amount
			}
		}
	}
	return all
}

// needed returns the debtors for which collectors have to be made: somebody would sell their tokens.
func (v *village) needed() []string {
	var debtors []string
	for a, p := range v.policies {
		_, isKnown := v.ownPrice(a, 0)
		_, isTraded := v.tradedPrice(a.debtor)
		isServed := v.hasCollector(a.debtor, func(status int16) bool { return status < 3 })
		if p.wanted() <= -villageMinimum && isKnown && !isTraded && !isServed {
			debtors = append(debtors, strconv.FormatInt(int64(a.debtor), 10))
		}
	}
	slices.Sort(debtors)
	return slices.Compact(debtors)
}

// offers returns the offers that the solver has to get: what has been secured of the candidate offers, in time. It takes
// whether an account is locked without the help of an accounting authority.
func (v *village) offers(isSelfLock func(account) bool) (sells, buys map[account]int64) {
	sells, buys = map[account]int64{}, map[account]int64{}
	for a, amount := range v.candidates() {
		p := v.policies[a]
		switch {
		case p.fate == delayed || p.fate != secured && !isSelfLock(a):
		case amount > 0:
			buys[a] = amount
		case isSelfLock(a):
			sells[a] = -amount
		default:
			sells[a] = min(-amount, p.available)
		}
	}
	return sells, buys
}

// book returns the files of the offer book that has the offers. It takes the collectors of the sells.
func (v *village) book(sells, buys map[account]int64, collectors map[account]swpt.CreditorID) map[string]string {
	var currencies, collecting, selling, buying strings.Builder
	for _, c := range v.currencies {
		peg := ",,"
		if c.pegLocator != "" {
			peg = fmt.Sprintf("%s,%d,%s", c.pegLocator, c.pegDebtor, strconv.FormatFloat(c.pegRate, 'g', -1, 64))
		}
		_, _ = fmt.Fprintf(&currencies, "%t,%s,%d,%s\n", v.isConfirmed(c), c.locator, c.debtor, peg)
	}
	for _, c := range v.collectors {
		if c.status == 2 {
			_, _ = fmt.Fprintf(&collecting, "%d,%d\n", c.collector, c.debtor)
		}
	}
	for a, amount := range sells {
		_, _ = fmt.Fprintf(&selling, "%d,%d,%d,%d\n", a.creditor, a.debtor, amount, collectors[a])
	}
	for a, amount := range buys {
		_, _ = fmt.Fprintf(&buying, "%d,%d,%d\n", a.creditor, a.debtor, amount)
	}
	return bookOf(currencies.String(), collecting.String(), selling.String(), buying.String())
}
