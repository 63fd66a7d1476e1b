package diagnosis_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/diagnosis"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// known is what is known in the example of the chapter about currencies: 1001 is pegged to 1002, and that to 1003.
func known() *diagnosis.Knowledge {
	fetched := noon.Add(-3 * time.Hour)
	return &diagnosis.Knowledge{
		Now:   noon,
		Base:  &diagnosis.Base{Locator: "https://base.example/unit", DebtorID: 1003, MaxDistance: 10},
		Realm: &shard.Realm{},
		Documents: map[string]diagnosis.Document{
			"https://agent.example/eur": {
				DebtorID: 1001, FetchedAt: &fetched, Peg: &diagnosis.Peg{Locator: "https://agent.example/usd", DebtorID: 1002, Rate: 1.25},
			},
			"https://agent.example/usd": {
				DebtorID: 1002, FetchedAt: &fetched, Peg: &diagnosis.Peg{Locator: "https://base.example/unit", DebtorID: 1003, Rate: 2},
			},
			"https://base.example/unit": {DebtorID: 1003, FetchedAt: &fetched},
		},
		Claims: map[swpt.DebtorID]diagnosis.Claim{
			1001: {Locator: new("https://agent.example/eur"), LatestDiscoveryAt: fetched},
		},
		Fetches:    map[string][]diagnosis.Fetch{},
		Collectors: map[swpt.DebtorID]diagnosis.Collectors{1001: {Active: 2}},
		Expired:    func(d *diagnosis.Document) bool { return noon.Sub(*d.FetchedAt) > 7*24*time.Hour },
	}
}

func codes(c *diagnosis.CurrencyReport) string {
	var all []string
	for _, reason := range c.Reasons {
		all = append(all, reason.Code)
	}
	return strings.Join(all, " ")
}

// Everything that can be missing.
func TestExplain(t *testing.T) {
	t.Parallel()
	const eur, usd, base = "https://agent.example/eur", "https://agent.example/usd", "https://base.example/unit"
	change := func(k *diagnosis.Knowledge, locator string, change func(*diagnosis.Document)) {
		d := k.Documents[locator]
		change(&d)
		k.Documents[locator] = d
	}
	for name, c := range map[string]struct {
		change func(*diagnosis.Knowledge)
		codes  string
		text   string // of the first reason
	}{
		"tradable": {func(*diagnosis.Knowledge) {}, "", ""},
		"unknown":  {func(k *diagnosis.Knowledge) { clear(k.Claims) }, "not_discovered", "no collector has an account"},
		"of another worker": {func(k *diagnosis.Knowledge) {
			clear(k.Claims)
			k.Realm = new(mustRealm(t, "0.#"))
		}, "other_shard", "whether the debtor is confirmed is known to a worker that has not been asked"},
		"unconfirmed": {func(k *diagnosis.Knowledge) {
			k.Claims[1001] = diagnosis.Claim{LatestDiscoveryAt: noon.Add(-2 * time.Hour)}
		}, "not_confirmed", "its page was asked for 2 hours ago"},
		"unconfirmed, with failures": {func(k *diagnosis.Knowledge) {
			k.Claims[1001] = diagnosis.Claim{LatestDiscoveryAt: noon.Add(-2 * time.Hour)}
			k.Fetches["https://x/"] = []diagnosis.Fetch{
				{DebtorID: 1}, {DebtorID: 1001}, {DebtorID: 1001, IsDiscovery: true, Attempts: 3, LatestStatus: new(int16(404)), NextAttemptAt: noon.Add(3 * time.Minute)},
			}
		}, "not_confirmed", "asked for 2 hours ago; failed attempts: 3, the latest one with the status 404; it will be tried again 3 minutes from now"},
		"not fetched": {func(k *diagnosis.Knowledge) {
			delete(k.Documents, eur)
			k.Fetches[eur] = []diagnosis.Fetch{{DebtorID: 1001, NextAttemptAt: noon}}
		}, "not_fetched", "https://agent.example/eur has not been fetched; it is due"},
		"not fetched, nothing in the queue": {func(k *diagnosis.Knowledge) { delete(k.Documents, eur) }, "not_fetched", "has not been fetched"},
		"fetched by another worker": {func(k *diagnosis.Knowledge) {
			delete(k.Documents, eur)
			k.Realm = new(mustRealm(t, "1.#"))
		}, "other_shard", "https://agent.example/eur is known to a worker that has not been asked"},
		"page of another debtor": {func(k *diagnosis.Knowledge) {
			change(k, eur, func(d *diagnosis.Document) { d.DebtorID = -1 })
		}, "other_debtor", "is the page of the debtor 18446744073709551615"},
		"peg unknown": {func(k *diagnosis.Knowledge) {
			delete(k.Documents, usd)
			k.Fetches[usd] = []diagnosis.Fetch{{DebtorID: 1002, Attempts: 1, NextAttemptAt: noon.Add(-time.Hour)}}
		}, "peg_unknown", "https://agent.example/usd has not been fetched; failed attempts: 1; it is due"},
		"peg of another worker": {func(k *diagnosis.Knowledge) {
			delete(k.Documents, usd)
			k.Realm = new(mustRealm(t, "0.#"))
		}, "other_shard", "https://agent.example/usd is known"},
		"peg page of another debtor": {func(k *diagnosis.Knowledge) {
			change(k, usd, func(d *diagnosis.Document) { d.DebtorID = 9999 })
		}, "peg_mismatch", "https://agent.example/eur is pegged to the debtor 1002, but https://agent.example/usd is the page of the debtor 9999"},
		"not pegged":     {func(k *diagnosis.Knowledge) { change(k, eur, func(d *diagnosis.Document) { d.Peg = nil }) }, "not_pegged", "https://agent.example/eur is not pegged"},
		"peg not pegged": {func(k *diagnosis.Knowledge) { change(k, usd, func(d *diagnosis.Document) { d.Peg = nil }) }, "not_pegged", "https://agent.example/usd is not pegged"},
		"cycle": {func(k *diagnosis.Knowledge) {
			change(k, usd, func(d *diagnosis.Document) { d.Peg = &diagnosis.Peg{Locator: eur, DebtorID: 1001, Rate: 1} })
		}, "peg_cycle", "the pegs lead back to https://agent.example/eur"},
		"too far":             {func(k *diagnosis.Knowledge) { k.Base.MaxDistance = 1 }, "too_far", "the base is 2 pegs away, and at most 1 are allowed"},
		"just near enough":    {func(k *diagnosis.Knowledge) { k.Base.MaxDistance = 2 }, "", ""},
		"no collector":        {func(k *diagnosis.Knowledge) { clear(k.Collectors) }, "no_collector", "no collector is active"},
		"collector requested": {func(k *diagnosis.Knowledge) { k.Collectors[1001] = diagnosis.Collectors{Requested: 3} }, "no_collector", "no collector is active; 3 will be, once"},
		"worth nothing":       {func(k *diagnosis.Knowledge) { k.Documents[eur].Peg.Rate = 0 }, "unsound_price", "the price 0 is zero, or too small or too large"},
		"other base":          {func(k *diagnosis.Knowledge) { k.Base.Locator = usd + "2" }, "not_pegged", "https://base.example/unit is not pegged to anything, and not the base currency"},
		"no base":             {func(k *diagnosis.Knowledge) { k.Base = nil }, "not_pegged base_unknown", ""},
		"inconsistent base": {func(k *diagnosis.Knowledge) {
			change(k, base, func(d *diagnosis.Document) { d.DebtorID = 7 })
		}, "peg_mismatch no_prices", ""},
		"everything": {func(k *diagnosis.Knowledge) {
			clear(k.Claims)
			clear(k.Collectors)
		}, "not_discovered no_collector", ""},
	} {
		k := known()
		c.change(k)
		report := diagnosis.Explain(k, 1001)
		got := &report.Currencies[0]
		if codes(got) != c.codes || got.Tradable != (c.codes == "") || c.text != "" && !strings.Contains(got.Reasons[0].Text, c.text) {
			t.Errorf("%s: got %+v, want %s: %s", name, got, c.codes, c.text)
		}
		if wantProblem := name == "no base" || name == "inconsistent base"; (len(report.Problems) > 0) != wantProblem {
			t.Errorf("%s: problems are %q", name, report.Problems)
		}
	}
}

func mustRealm(t *testing.T, key string) shard.Realm {
	t.Helper()
	realm, err := shard.ParseRealm(key)
	if err != nil {
		t.Fatal(err)
	}
	return realm
}

// Those that have no reason not to be traded are those that the solver would trade.
func TestExplainAgreesWithSolver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		k := known()
		clear(k.Documents)
		clear(k.Claims)
		clear(k.Collectors)
		k.Base = &diagnosis.Base{Locator: "L1", DebtorID: 1, MaxDistance: rapid.IntRange(1, 3).Draw(rt, "distance")}
		locator := rapid.SampledFrom([]string{"L1", "L2", "L3", "L4", "L5"})
		debtor := rapid.Custom(func(rt *rapid.T) swpt.DebtorID { return swpt.DebtorID(rapid.IntRange(0, 5).Draw(rt, "debtor")) })
		tree, err := solver.NewPegTree(solver.Params{BaseLocator: "L1", BaseDebtorID: 1, MaxDistanceToBase: k.Base.MaxDistance, MinTradeAmount: 1})
		if err != nil {
			rt.Fatal(err)
		}
		for id := range swpt.DebtorID(6) {
			if rapid.Bool().Draw(rt, "confirmed") {
				k.Claims[id] = diagnosis.Claim{Locator: new(locator.Draw(rt, "claim"))}
			}
			k.Collectors[id] = diagnosis.Collectors{Active: int64(rapid.IntRange(0, 1).Draw(rt, "collectors"))}
		}
		for range rapid.IntRange(0, 5).Draw(rt, "documents") {
			l := locator.Draw(rt, "locator")
			d := diagnosis.Document{DebtorID: debtor.Draw(rt, "debtor"), FetchedAt: &noon}
			if rapid.Bool().Draw(rt, "pegged") {
				d.Peg = &diagnosis.Peg{Locator: locator.Draw(rt, "peg locator"), DebtorID: debtor.Draw(rt, "peg debtor"), Rate: rapid.SampledFrom([]float64{0, 1, 2, 1e300}).Draw(rt, "rate")}
			}
			k.Documents[l] = d
		}
		for l, d := range k.Documents {
			c := solver.Currency{Locator: l, DebtorID: d.DebtorID}
			if d.Peg != nil {
				c.Peg = &solver.Peg{Locator: d.Peg.Locator, DebtorID: d.Peg.DebtorID, Rate: d.Peg.Rate}
			}
			claim := k.Claims[d.DebtorID].Locator
			c.Confirmed = claim != nil && *claim == l && k.Collectors[d.DebtorID].Active > 0
			if err := tree.Register(c); err != nil {
				rt.Fatal(err)
			}
		}
		prices, err := tree.Prices()
		report := diagnosis.Explain(k)
		if (err != nil) != (len(report.Problems) > 0) {
			rt.Fatalf("%v, but %v", err, report.Problems)
		}
		for _, c := range report.Currencies {
			var id swpt.DebtorID
			if _, err := fmt.Sscan(c.DebtorID, &id); err != nil {
				rt.Fatal(err)
			}
			if want := err == nil && prices.Clearable(id); c.Tradable != want {
				rt.Fatalf("%+v, but clearable is %t", c, want)
			}
			if c.Tradable && *c.Price != prices.Price(id) {
				rt.Fatalf("%+v, but the price is %v", c, prices.Price(id))
			}
		}
	})
}

func TestPrint(t *testing.T) {
	t.Parallel()
	k := known()
	old := noon.Add(-9 * 24 * time.Hour)
	k.Documents["https://agent.example/usd"] = diagnosis.Document{
		DebtorID: 1002, FetchedAt: &old, Peg: &diagnosis.Peg{Locator: "https://base.example/unit", DebtorID: 1003, Rate: 2},
	}
	k.Documents["\x1b[2Jevil"] = diagnosis.Document{DebtorID: 1004, FetchedAt: &old}
	k.Claims[1004] = diagnosis.Claim{Locator: new("\x1b[2Jevil")}
	k.Claims[-1] = diagnosis.Claim{LatestDiscoveryAt: noon}
	report := diagnosis.Explain(k)
	var text strings.Builder
	if err := report.Print(&text, noon); err != nil {
		t.Fatal(err)
	}
	const want = `Base currency: 1003, https://base.example/unit; at most 10 pegs away

18446744073709551615 cannot be traded
  - the debtor has not confirmed where its document is; its page was asked for now [not_confirmed]
  - no collector is active [no_collector]
    active collectors: 0

1001 can be traded, price 2.5
    1001, https://agent.example/eur, fetched 3 hours ago, pegged at 1.25
 -> 1002, https://agent.example/usd, fetched 1 week ago (expired), pegged at 2
 -> 1003, https://base.example/unit, fetched 3 hours ago
    active collectors: 2

1002 cannot be traded
  - no collector has an account with this debtor that tells where to begin [not_discovered]
  - no collector is active [no_collector]
    active collectors: 0

1003 cannot be traded
  - no collector has an account with this debtor that tells where to begin [not_discovered]
  - no collector is active [no_collector]
    active collectors: 0

1004 cannot be traded
  - "\x1b[2Jevil" is not pegged to anything, and not the base currency [not_pegged]
  - no collector is active [no_collector]
    1004, "\x1b[2Jevil", fetched 1 week ago (expired)
    active collectors: 0
`
	if text.String() != want {
		t.Errorf("got\n%s", &text)
	}
	encoded, err := json.Marshal(diagnosis.Explain(k, 1001))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(encoded, &members); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(members["currencies"].([]any)[0].(map[string]any))); !slices.Equal(got,
		[]string{"activeCollectors", "chain", "debtorId", "distance", "price", "tradable"}) {
		t.Errorf("got %q", got)
	}
}
