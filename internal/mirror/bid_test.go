package mirror

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// tradable is a policy of somebody who has 100 tokens, and wants between 500 and 900.
func tradable() *policy {
	return &policy{
		creditor: 1, debtor: 2, hasName: true, hasAccountID: true, principal: 100, minPrincipal: 500, maxPrincipal: 900,
	}
}

// The table of section 3.5.
func TestAmounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ minimum, maximum, principal, want int64 }{
		{500, 900, 100, 400},
		{500, 900, 1000, -100},
		{500, 900, 500, 0},
		{500, 900, 700, 0},
		{500, 900, 900, 0},
		{500, 900, 499, 1},
		{500, 900, 901, -1},
		{math.MaxInt64, math.MaxInt64, math.MinInt64, math.MaxInt64},
		{math.MinInt64, math.MinInt64, math.MaxInt64, -math.MaxInt64},
		{math.MinInt64, math.MinInt64, 0, -math.MaxInt64},
		{math.MinInt64, math.MinInt64, -1, -math.MaxInt64},
		{math.MinInt64, math.MinInt64, -2, -math.MaxInt64 + 1},
		{0, 0, math.MinInt64, math.MaxInt64},
		{900, 500, 100, 0},
		{900, 500, 700, 0},
		{900, 500, 1000, 0},
		{math.MinInt64, math.MaxInt64, 7, 0},
		{700, 700, 700, 0},
		{700, 700, 701, -1},
	} {
		p := tradable()
		p.minPrincipal, p.maxPrincipal, p.principal = c.minimum, c.maximum, c.principal
		if got := p.amount(); got != c.want {
			t.Errorf("minimum %d, maximum %d, principal %d: %d, want %d", c.minimum, c.maximum, c.principal, got, c.want)
		}
	}
}

func TestWhoTrades(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*policy)
		want   int64
	}{
		"everything is right":    {func(*policy) {}, 400},
		"no policy":              {func(p *policy) { p.hasName = false }, 0},
		"no account ID":          {func(p *policy) { p.hasAccountID = false }, 0},
		"obsolete account ID":    {func(p *policy) { p.accountIDIsOld = true }, 0},
		"scheduled for deletion": {func(p *policy) { p.configFlags = 1 }, 0},
		"and other flags":        {func(p *policy) { p.configFlags = -1 }, 0},
		"other flags":            {func(p *policy) { p.configFlags = -2 }, 400},
	} {
		p := tradable()
		c.change(p)
		if got := p.amount(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Trading the amount, as far as that is possible, leads to the nearer bound.
func TestAmountLeadsToABound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := tradable()
		p.minPrincipal = rapid.Int64().Draw(t, "minimum")
		p.maxPrincipal = rapid.Int64().Draw(t, "maximum")
		p.principal = rapid.Int64().Draw(t, "principal")
		amount := p.amount()
		switch {
		case p.maxPrincipal < p.minPrincipal || p.minPrincipal <= p.principal && p.principal <= p.maxPrincipal:
			if amount != 0 {
				t.Fatalf("%+v: %d", p, amount)
			}
		case amount == math.MaxInt64:
			if p.principal > 0 || p.principal+amount > p.minPrincipal {
				t.Fatalf("%+v: %d", p, amount)
			}
		case amount == -math.MaxInt64:
			if p.principal < -1 || p.principal+amount < p.maxPrincipal {
				t.Fatalf("%+v: %d", p, amount)
			}
		case p.principal+amount != p.minPrincipal && amount > 0, p.principal+amount != p.maxPrincipal && amount < 0, amount == 0:
			t.Fatalf("%+v: %d", p, amount)
		}
	})
}

func TestBids(t *testing.T) {
	t.Parallel()
	p := tradable()
	p.creationDate = time.Date(2025, 6, 7, 0, 0, 0, 0, time.UTC)
	p.lastTransferNumber = 77
	want := bid{Creditor: 1, Debtor: 2, Amount: 400, Account: accountState{smp.DateOf(p.creationDate), 77}}
	if got := p.bid(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	p.pegDebtor, p.pegRate = new(swpt.DebtorID(40)), new(2.5)
	want.PegDebtor, want.PegRate = 40, 2.5
	if got := p.bid(); got != want {
		t.Errorf("pegged: %+v, want %+v", got, want)
	}
}
