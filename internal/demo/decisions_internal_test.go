package demo

import (
	"maps"
	"testing"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// The movements of a turn: a seller gives to a collector, which pays a buyer, and sends the rest to another collector,
// which pays two other buyers.
var (
	fromSeller = movement{8001, smp.Note{Kind: smp.Collecting, TurnID: 7, First: 1, Second: 11}}
	between    = movement{8001, smp.Note{Kind: smp.Sending, TurnID: 7, First: 1, Second: 2}}
	toFirst    = movement{8001, smp.Note{Kind: smp.Dispatching, TurnID: 7, First: 1, Second: 21}}
	toSecond   = movement{8001, smp.Note{Kind: smp.Dispatching, TurnID: 7, First: 2, Second: 22}}
	toThird    = movement{8001, smp.Note{Kind: smp.Dispatching, TurnID: 7, First: 2, Second: 23}}
)

func TestDecisionsVerdict(t *testing.T) {
	t.Parallel()
	decided := map[movement]int64{fromSeller: 1_000_000, between: 600_000, toFirst: 400_000, toSecond: 599_000, toThird: 1000}
	moved := map[movement]int64{
		fromSeller: 1_000_000, between: 599_993, toFirst: 399_995, toSecond: 598_987, toThird: 999,
	}
	for name, c := range map[string]struct {
		change   map[movement]int64
		failures int
	}{
		"all has moved":                          {nil, 0},
		"a seller gives nothing":                 {map[movement]int64{fromSeller: 0}, 1},
		"a seller gives one less":                {map[movement]int64{fromSeller: 999_999}, 1},
		"a seller gives one more":                {map[movement]int64{fromSeller: 1_000_001}, 1},
		"a buyer gets all":                       {map[movement]int64{toFirst: 400_000}, 0},
		"a buyer gets more":                      {map[movement]int64{toFirst: 400_001}, 1},
		"a buyer gets the least":                 {map[movement]int64{toFirst: 399_600}, 0},
		"a buyer gets less than that":            {map[movement]int64{toFirst: 399_599}, 1},
		"a buyer gets nothing":                   {map[movement]int64{toThird: 0}, 1},
		"a collector sends the least":            {map[movement]int64{between: 599_400}, 0},
		"a collector sends less":                 {map[movement]int64{between: 599_399}, 1},
		"a collector sends nothing, but pays":    {map[movement]int64{between: 0}, 1},
		"it sends nothing, and does not pay":     {map[movement]int64{between: 0, toSecond: 0, toThird: 0}, 1},
		"it sends little, and pays too little":   {map[movement]int64{between: 300_000, toSecond: 100_000}, 2},
		"another currency's buyer":               {map[movement]int64{{8002, toFirst.note}: 5}, 1},
		"all is lost":                            {map[movement]int64{fromSeller: 0, between: 0, toFirst: 0, toSecond: 0, toThird: 0}, 3},
		"somebody gives what is not decided":     {map[movement]int64{{8001, smp.Note{Kind: smp.Collecting, TurnID: 8, First: 1, Second: 11}}: 5}, 1},
		"somebody is paid by the wrong one":      {map[movement]int64{toFirst: 0, {8001, smp.Note{Kind: smp.Dispatching, TurnID: 7, First: 2, Second: 21}}: 399_995}, 2},
		"a small part stays with the collectors": {map[movement]int64{between: 599_400, toSecond: 597_802, toThird: 998}, 0},
	} {
		d := &decisions{decided: decided, moved: maps.Clone(moved), turns: 1}
		maps.Copy(d.moved, c.change)
		for m, amount := range d.moved {
			if amount == 0 {
				delete(d.moved, m)
			}
		}
		v := d.verdict()
		if v.Failures != c.failures || v.OK() != (c.failures == 0) || len(v.Examples) != c.failures || v.Cases < len(decided)+1 {
			t.Errorf("%s: %+v, want %d failures", name, v, c.failures)
		}
	}
}

// When the accounting authority of a seller has refused to commit, what is missing is not sent on, and then not paid.
func TestRefusedSellers(t *testing.T) {
	t.Parallel()
	const other = 250_000
	refused := movement{8001, smp.Note{Kind: smp.Collecting, TurnID: 7, First: 1, Second: 12}}
	decided := map[movement]int64{
		fromSeller: 1_000_000, refused: other, between: 600_000, toFirst: 400_000 + other, toSecond: 599_000, toThird: 1000,
	}
	// 350,000 of 600,000 tokens are sent.
	moved := map[movement]int64{
		fromSeller: 1_000_000, between: 349_990, toFirst: 649_990, toSecond: 349_400, toThird: 583,
	}
	for name, c := range map[string]struct {
		change   map[movement]int64
		failed   map[movement]bool
		failures int
	}{
		"it has refused":                     {nil, map[movement]bool{refused: true}, 0},
		"it has not refused":                 {nil, nil, 2}, // the seller, and what is sent
		"another one has given nothing":      {map[movement]int64{fromSeller: 0}, map[movement]bool{refused: true}, 1},
		"it has refused at first":            {map[movement]int64{refused: other, between: 599_993, toSecond: 598_987, toThird: 999}, map[movement]bool{refused: true}, 0},
		"a part has been given":              {map[movement]int64{refused: 1}, map[movement]bool{refused: true}, 1},
		"too little is sent":                 {map[movement]int64{between: 340_000}, map[movement]bool{refused: true}, 1},
		"a buyer gets less than there is":    {map[movement]int64{toSecond: 340_000}, map[movement]bool{refused: true}, 1},
		"a buyer of the collector gets less": {map[movement]int64{toFirst: 600_000}, map[movement]bool{refused: true}, 1},
	} {
		d := &decisions{decided: decided, moved: maps.Clone(moved), failed: c.failed}
		maps.Copy(d.moved, c.change)
		if v := d.verdict(); v.Failures != c.failures {
			t.Errorf("%s: %+v, want %d failures", name, v, c.failures)
		}
	}
}

// There are payments too small for anything to be left of them.
func TestDustIsNotMissed(t *testing.T) {
	t.Parallel()
	d := &decisions{
		decided: map[movement]int64{fromSeller: 2, toFirst: 1, toSecond: 1, between: 1},
		moved:   map[movement]int64{fromSeller: 2},
	}
	if v := d.verdict(); !v.OK() || v.Cases != 4 {
		t.Errorf("the verdict is %+v", v)
	}
	d.decided[toFirst] = 2 // of that, one token arrives
	if v := d.verdict(); v.Failures != 1 {
		t.Errorf("the verdict is %+v", v)
	}
}

// Those trades count that are made from customers to collectors, or arrive at somebody.
func TestCountedOnce(t *testing.T) {
	t.Parallel()
	d := &decisions{moved: map[movement]int64{}}
	for creditor, trades := range map[swpt.CreditorID]map[movement]int64{
		11: {fromSeller: -100},
		1:  {fromSeller: 100, between: -60, toFirst: -39},
		2:  {between: 59, toSecond: -58},
		22: {toSecond: 58},
	} {
		for m, amount := range trades {
			account := journal.Account{Debtor: m.debtor, Creditor: creditor}
			d.count([]journal.Trade{{Account: account, Note: m.note, Amount: amount}})
		}
	}
	// The first buyer's tokens are on their way.
	if want := map[movement]int64{fromSeller: 100, between: 59, toSecond: 58}; !maps.Equal(d.moved, want) {
		t.Errorf("what has moved is %v, want %v", d.moved, want)
	}
}
