package turn_test

import (
	"math"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/turn"
)

func swapParams() solver.Params {
	return solver.Params{BaseLocator: "L60", BaseDebtorID: 60, MaxDistanceToBase: 10, MinTradeAmount: 1000}
}

// Whatever the solver makes is sound.
func TestAuditPassesOutcomes(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]market{"swap": swap(), "synthetic": synthetic(30, 500), "empty": {}} {
		params := swapParams()
		if name == "synthetic" {
			params.BaseLocator, params.BaseDebtorID = m.currencies[0].Locator, m.currencies[0].DebtorID
		}
		if err := turn.Audit(m.outcome(t, params, 1), m.prices(t, params)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuditFindsMistakes(t *testing.T) {
	t.Parallel()
	m := swap()
	m.currencies = append(m.currencies, solver.Currency{Locator: "L62", DebtorID: 62, Peg: m.currencies[1].Peg})
	prices := m.prices(t, swapParams())
	for name, c := range map[string]struct {
		corrupt func(*solver.Outcome)
		want    string
	}{
		"taken too little":        {func(o *solver.Outcome) { o.Takings[0].Amount-- }, "does not pass on"},
		"given too much":          {func(o *solver.Outcome) { o.Givings[0].Amount++ }, "does not pass on"},
		"transfer missing":        {func(o *solver.Outcome) { o.Transfers = o.Transfers[1:] }, "does not pass on"},
		"other debtor":            {func(o *solver.Outcome) { o.Transfers[0].Debtor = 61 }, "does not pass on"},
		"transfer of nothing":     {func(o *solver.Outcome) { o.Transfers[0].Amount = 0 }, "among the transfers"},
		"negative transfer":       {func(o *solver.Outcome) { o.Transfers[0].Amount *= -1 }, "among the transfers"},
		"transfer to itself":      {func(o *solver.Outcome) { o.Transfers[0].To = o.Transfers[0].From }, "among the transfers"},
		"transfer in two":         {func(o *solver.Outcome) { splitTransfer(o) }, "among the transfers"},
		"negative taking":         {func(o *solver.Outcome) { o.Takings[0].Amount *= -1 }, "among the takings"},
		"below the minimum":       {func(o *solver.Outcome) { o.Givings[1].Amount = 999 }, "among the givings"},
		"nobody":                  {func(o *solver.Outcome) { o.Takings[0].Creditor = 0 }, "among the takings"},
		"no collector":            {func(o *solver.Outcome) { o.Givings[0].Collector = 0 }, "among the givings"},
		"not confirmed":           {func(o *solver.Outcome) { o.Givings[0].Debtor = 62 }, "among the givings"},
		"unknown currency":        {func(o *solver.Outcome) { o.Takings[0].Debtor = 63 }, "among the takings"},
		"twice":                   {func(o *solver.Outcome) { o.Takings = append(o.Takings, o.Takings[1]) }, "there twice"},
		"not in order":            {func(o *solver.Outcome) { o.Givings[0], o.Givings[1] = o.Givings[1], o.Givings[0] }, "not in order"},
		"gives for nothing":       {func(o *solver.Outcome) { o.Givings[0].Creditor = 124 }, "gives and gets nothing"},
		"gets for nothing":        {func(o *solver.Outcome) { o.Takings[1].Creditor = 788 }, "gives and gets nothing"},
		"gives and gets nobody":   {func(o *solver.Outcome) { o.Givings[1].Creditor = 800 }, "gives and gets nothing"},
		"gives and gets the same": {func(o *solver.Outcome) { giveBack(o) }, "both gives and gets"},
		"value for less":          {func(o *solver.Outcome) { short(o, 4) }, "tokens of the base currency more than it gives"},
	} {
		o := m.outcome(t, swapParams(), 1)
		if err := turn.Audit(o, prices); err != nil {
			t.Fatal(err)
		}
		c.corrupt(o)
		if err := turn.Audit(o, prices); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", name, err, c.want)
		}
	}
}

// splitTransfer has a collector send the same amount in two parts.
func splitTransfer(o *solver.Outcome) {
	o.Transfers[0].Amount--
	second := o.Transfers[0]
	second.Amount = 1
	o.Transfers = append(o.Transfers, second)
}

// giveBack has a trader sell the very tokens that it buys, so that only rounding is left over.
func giveBack(o *solver.Outcome) {
	o.Takings[0].Debtor, o.Takings[0].Amount, o.Takings[0].Collector = 61, 2400, 702
	o.Takings[1].Debtor, o.Takings[1].Amount, o.Takings[1].Collector = 60, 6000, 701
	o.Transfers = nil
}

// short has the second trader give that many tokens less than the first one should get.
func short(o *solver.Outcome, tokens int64) {
	o.Takings[1].Amount -= tokens
	o.Givings[0].Amount -= tokens
	o.Transfers[1].Amount -= tokens
}

// One token of rounding is allowed for each account, and not more: 1 + 2.5 base tokens here.
func TestAuditToleratesRounding(t *testing.T) {
	t.Parallel()
	m := swap()
	prices := m.prices(t, swapParams())
	for tokens, sound := range map[int64]bool{-1: true, 1: true, -2: false, 2: false} {
		o := m.outcome(t, swapParams(), 1)
		short(o, tokens)
		if err := turn.Audit(o, prices); (err == nil) != sound {
			t.Errorf("%d tokens less: %v", tokens, err)
		}
	}
}

// Sums do not overflow, and so cannot come to zero by chance.
func TestAuditAddsUpExactly(t *testing.T) {
	t.Parallel()
	m := swap()
	m.sells, m.buys = nil, nil
	m.currencies[1].Peg.Rate = 1
	const most = math.MaxInt64
	m.sells = []solver.SellOffer{{Creditor: 1, Debtor: 60, Amount: most, Collector: 801}, {Creditor: 2, Debtor: 61, Amount: most, Collector: 802}}
	m.buys = []solver.BuyOffer{{Creditor: 1, Debtor: 61, Amount: most}, {Creditor: 2, Debtor: 60, Amount: most}}
	prices := m.prices(t, swapParams())
	o := m.outcome(t, swapParams(), 1)
	if len(o.Takings) != 2 || o.Takings[0].Amount != most {
		t.Fatalf("the takings are %v", o.Takings)
	}
	if err := turn.Audit(o, prices); err != nil {
		t.Error(err)
	}
	// 801 sends 2^64, 904 receives it, and the others pass it on.
	for between, amount := range map[swpt.CreditorID]int64{901: most, 902: most, 903: 2} {
		o.Transfers = append(o.Transfers,
			solver.Transfer{Debtor: 60, From: 801, To: between, Amount: amount},
			solver.Transfer{Debtor: 60, From: between, To: 904, Amount: amount})
	}
	if err := turn.Audit(o, prices); err == nil || !strings.Contains(err.Error(), "does not pass on") {
		t.Errorf("the error is %v", err)
	}
}
