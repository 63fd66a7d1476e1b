package fetcher_test

import (
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/fetch/fetchtest"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solver"
)

const (
	accountPage = "https://agent.example/eur/2023-05"
	eur         = "https://agent.example/eur"
	usd         = "https://agent.example/usd"
	base        = "https://base.example/unit"
)

// An example is the one of section 8 of the chapter about currencies: two workers, and three currencies.
type example struct {
	t           *testing.T
	clock       *clock
	w0, w1      *worker
	agent, unit *site
}

func newExample(t *testing.T) *example {
	t.Helper()
	web := fetchtest.New(t)
	c := &clock{now: noon}
	e := &example{
		t: t, clock: c, w0: newWorker(t, web, c, "0.#"), w1: newWorker(t, web, c, "1.#"),
		agent: newSite(web, "agent.example"), unit: newSite(web, "base.example"),
	}
	e.agent.put("/eur/2023-05", coininfo.Document{Locator: eur, DebtorID: 1001}) // an old revision, which had no peg
	e.agent.put("/eur", coininfo.Document{Locator: eur, DebtorID: 1001, Peg: &coininfo.Peg{Locator: usd, DebtorID: 1002, Rate: 1.25}})
	e.agent.put("/usd", coininfo.Document{Locator: usd, DebtorID: 1002, Peg: &coininfo.Peg{Locator: base, DebtorID: 1003, Rate: 2}})
	e.unit.put("/unit", coininfo.Document{Locator: base, DebtorID: 1003})
	return e
}

func (e *example) discover(iri string, force bool) *smp.DiscoverDebtor {
	return &smp.DiscoverDebtor{DebtorID: 1001, IRI: iri, ForceLocatorRefetch: force, TS: e.clock.Now()}
}

// deliver has messages handled by the workers that they belong to.
func (e *example) deliver(messages ...smp.Message) {
	e.t.Helper()
	for _, m := range messages {
		key := shard.KeyOf(m.ShardKey().ID)
		if m.ShardKey().IsText {
			key = shard.KeyOfString(m.ShardKey().Text)
		}
		w := e.w0
		if e.w1.handler.Realm.Match(key) {
			w = e.w1
		}
		w.handle(e.t, m)
	}
}

// settle fetches, and delivers what is sent, until there is nothing left to do.
func (e *example) settle(first ...smp.Message) {
	e.t.Helper()
	e.deliver(first...)
	for messages := first; len(messages) > 0; {
		e.clock.advance(time.Second)
		e.w0.fetch(e.t)
		e.w1.fetch(e.t)
		messages = append(e.w0.sent(e.t), e.w1.sent(e.t)...)
		e.deliver(messages...)
	}
}

// prices returns the prices of the currencies that are known to the workers. Only 1001 has a collector.
func (e *example) prices() map[string]solver.PricedCurrency {
	e.t.Helper()
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator: base, BaseDebtorID: 1003, MaxDistanceToBase: e.w0.rules.MaxDistanceToBase, MinTradeAmount: 1000,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	confirmed := map[string]bool{}
	for _, w := range []*worker{e.w0, e.w1} {
		rows, err := w.db.Pool().Query(e.t.Context(), "SELECT debtor_info_locator FROM debtor_locator_claim WHERE debtor_id = 1001")
		if err != nil {
			e.t.Fatal(err)
		}
		for rows.Next() {
			var l *string
			if err := rows.Scan(&l); err != nil {
				e.t.Fatal(err)
			}
			confirmed[*l] = true
		}
	}
	for _, w := range []*worker{e.w0, e.w1} {
		rows, err := w.db.Pool().Query(e.t.Context(), `SELECT debtor_info_locator, debtor_id, peg_debtor_info_locator,
			COALESCE(peg_debtor_id, 0), COALESCE(peg_exchange_rate, 0) FROM debtor_info_document`)
		if err != nil {
			e.t.Fatal(err)
		}
		for rows.Next() {
			var c solver.Currency
			var peg solver.Peg
			var pegLocator *string
			if err := rows.Scan(&c.Locator, &c.DebtorID, &pegLocator, &peg.DebtorID, &peg.Rate); err != nil {
				e.t.Fatal(err)
			}
			if pegLocator != nil {
				peg.Locator = *pegLocator
				c.Peg = &peg
			}
			c.Confirmed = c.DebtorID == 1001 && confirmed[c.Locator]
			if err := tree.Register(c); err != nil {
				e.t.Fatal(err)
			}
		}
	}
	computed, err := tree.Prices()
	if err != nil {
		e.t.Fatal(err)
	}
	prices := map[string]solver.PricedCurrency{}
	for c := range computed.Currencies() {
		prices[c.Locator] = c
	}
	return prices
}

// The example, step by step.
func TestExample(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	e.deliver(e.discover(accountPage, true)) // 1
	second := e.w1.sent(t)
	mustSay(t, lines(second), "FetchDebtorInfo(.../eur/2023-05, 1001, discovery, level 0)")
	e.deliver(second...)
	if got := e.w0.queue(t); len(got) != 1 || got[0].IRI != accountPage || !got[0].NextAttemptAt.Equal(noon) { // 3
		t.Fatalf("the queue is %+v", got)
	}
	e.w0.fetch(t) // 4
	fourth := e.w0.sent(t)
	mustSay(t, lines(fourth), "ConfirmDebtor(1001, .../eur)")
	e.deliver(fourth...)
	fifth := e.w1.sent(t)
	mustSay(t, lines(fifth), "FetchDebtorInfo(.../eur, 1001, locator, level 0)")
	e.deliver(fifth...)
	e.w0.fetch(t) // 6
	sixth := e.w0.sent(t)
	mustSay(t, lines(sixth), "FetchDebtorInfo(.../usd, 1002, locator, level 1)", "StoreDocument(.../eur, 1001)")
	e.deliver(sixth...)
	mustSay(t, e.w0.documents(t), ".../eur 1001") // 7
	e.w1.fetch(t)                                 // 8
	eighth := e.w1.sent(t)
	mustSay(t, lines(eighth), "FetchDebtorInfo(https://base.example/unit, 1003, locator, level 2)", "StoreDocument(.../usd, 1002)")
	e.deliver(eighth...)
	e.w1.fetch(t) // 9
	ninth := e.w1.sent(t)
	mustSay(t, lines(ninth), "StoreDocument(https://base.example/unit, 1003)")
	e.deliver(ninth...)
	mustSay(t, e.w1.documents(t), ".../usd 1002", "https://base.example/unit 1003")
	prices := e.prices() // 11
	for locator, want := range map[string]solver.PricedCurrency{
		base: {Price: 1, Distance: 0}, usd: {Price: 2, Distance: 1}, eur: {Price: 2.5, Distance: 2, Tradable: true},
	} {
		if got := prices[locator]; got.Price != want.Price || got.Distance != want.Distance || got.Tradable != want.Tradable {
			t.Errorf("%s: %+v", locator, got)
		}
	}
	if len(e.w0.queue(t)) != 0 || len(e.w1.queue(t)) != 0 {
		t.Error("something is left in the queues")
	}
}

// The page of the peg is somebody else's.
func TestForeignPegPage(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	e.agent.put("/usd", coininfo.Document{Locator: usd, DebtorID: 9999, Peg: &coininfo.Peg{Locator: base, DebtorID: 1003, Rate: 2}})
	e.settle(e.discover(accountPage, true))
	mustSay(t, e.w0.documents(t), ".../eur 1001")
	mustSay(t, e.w1.documents(t), ".../usd 9999")
	if got := e.prices()[eur]; got.Distance != -1 || got.Tradable {
		t.Errorf("the price is %+v", got)
	}
}

func TestMaxDistanceToBase(t *testing.T) {
	t.Parallel()
	for name, far := range map[string]bool{"two pegs": false, "four pegs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newExample(t)
			e.w0.rules.MaxDistanceToBase, e.w1.rules.MaxDistanceToBase = 2, 2
			if far {
				const c, d = "https://agent.example/c", "https://agent.example/d"
				e.agent.put("/usd", coininfo.Document{Locator: usd, DebtorID: 1002, Peg: &coininfo.Peg{Locator: c, DebtorID: 1004, Rate: 2}})
				e.agent.put("/c", coininfo.Document{Locator: c, DebtorID: 1004, Peg: &coininfo.Peg{Locator: base, DebtorID: 1003, Rate: 2}})
				e.agent.put("/d", coininfo.Document{Locator: d})
			}
			e.settle(e.discover(accountPage, true))
			if got := e.prices()[eur]; got.Tradable == far {
				t.Errorf("the price is %+v", got)
			}
			asked := slices.Concat(e.agent.asked, e.unit.asked)
			want := []string{"/eur/2023-05", "/eur", "/usd", "/unit"}
			if far {
				want[3] = "/c"
			}
			mustSay(t, sorted(asked), want...)
		})
	}
}

// A page that names another place is not what has been looked for.
func TestMovedPage(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	e.agent.put("/eur", coininfo.Document{Locator: eur + "2", DebtorID: 1001})
	e.settle(e.discover(accountPage, true))
	mustSay(t, append(e.w0.documents(t), e.w1.documents(t)...))
	if len(e.w0.queue(t)) != 0 {
		t.Errorf("the queue is %+v", e.w0.queue(t))
	}
}

// What happens when the account's page stays the same, and when it changes.
func TestRediscovery(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	e.settle(e.discover(accountPage, true))
	e.clock.advance(6 * day)
	e.deliver(e.discover(accountPage, false))
	mustSay(t, e.w1.say(t))

	// The new page is downloaded at once, although the document is not old, and has been stored under its locator.
	e.agent.put("/eur/2023-06", coininfo.Document{Locator: eur, DebtorID: 1001, Peg: &coininfo.Peg{Locator: usd, DebtorID: 1002, Rate: 3}})
	e.deliver(e.discover(eur+"/2023-06", true))
	forced := e.w1.sent(t)
	mustSay(t, lines(forced), "FetchDebtorInfo(.../eur, 1001, locator forced .../eur/2023-06, level 0)")
	e.settle(forced...)
	if got := e.prices()[eur]; got.Price != 6 {
		t.Errorf("the price is %+v", got)
	}

	e.clock.advance(7 * day)
	e.deliver(e.discover(eur+"/2023-07", true))
	mustSay(t, e.w1.say(t))
	e.clock.advance(time.Hour + time.Second)
	e.deliver(e.discover(eur+"/2023-07", true))
	mustSay(t, e.w1.say(t), "FetchDebtorInfo(.../eur, 1001, locator forced .../eur/2023-07, level 0)")

	// Every day an unchanged account: the documents are renewed each week, and once in 45 days the debtor's claim.
	e.agent.asked, e.unit.asked = nil, nil
	for range 60 {
		e.clock.advance(day)
		e.settle(e.discover(accountPage, false))
	}
	count := map[string]int{}
	for _, path := range slices.Concat(e.agent.asked, e.unit.asked) {
		count[path]++
	}
	if count["/eur"] < 7 || count["/eur"] > 8 || count["/usd"] < 7 || count["/usd"] > 8 || count["/unit"] < 7 || count["/unit"] > 8 || count["/eur/2023-05"] != 1 {
		t.Errorf("asked for were %v", count)
	}
}
