package world

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
)

// clearTown does with a scenario what the service does in a turn, without locks and transfers.
func clearTown(t *testing.T, scenario *Scenario) *solver.Outcome {
	t.Helper()
	base := scenario.Currencies[0].Debtor
	locators := newIssuers("https://x", scenario.Currencies)
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator: locators.locatorOf(base), BaseDebtorID: base, MaxDistanceToBase: 10, MinTradeAmount: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range scenario.Currencies {
		currency := solver.Currency{Confirmed: !c.Dummy, Locator: locators.locatorOf(c.Debtor), DebtorID: c.Debtor}
		if c.Peg != nil {
			currency.Peg = &solver.Peg{Locator: locators.locatorOf(c.Peg.Debtor), DebtorID: c.Peg.Debtor, Rate: c.Peg.Rate}
		}
		if err := tree.Register(currency); err != nil {
			t.Fatal(err)
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		t.Fatal(err)
	}
	market := solver.NewMarket(prices)
	for _, c := range scenario.Currencies {
		if err := market.AddCollector(c.Debtor, theCollector); err != nil {
			t.Fatal(err)
		}
	}
	analyzer := solver.NewAnalyzer[struct{}](prices)
	for _, customer := range scenario.Customers {
		for _, o := range candidates(t, analyzer, &customer) {
			offer(t, market, o)
		}
	}
	outcome, err := market.Clear(t.Context(), solver.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// candidates returns what a customer offers.
func candidates(t *testing.T, analyzer *solver.Analyzer[struct{}], customer *Customer) []solver.Bid[struct{}] {
	t.Helper()
	var bids []solver.Bid[struct{}]
	for _, a := range customer.Accounts {
		bid := solver.Bid[struct{}]{Creditor: customer.ID, Debtor: a.Debtor}
		switch p := a.Policy; {
		case p.Name == "":
		case a.Balance < p.MinPrincipal:
			bid.Amount = p.MinPrincipal - a.Balance
		case a.Balance > p.MaxPrincipal:
			bid.Amount = p.MaxPrincipal - a.Balance
		}
		if peg := a.Policy.Peg; peg != nil {
			bid.PegDebtor, bid.PegRate = peg.Debtor, peg.Rate
		}
		bids = append(bids, bid)
	}
	found, err := analyzer.Candidates(bids)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func offer(t *testing.T, market *solver.Market, o solver.Bid[struct{}]) {
	t.Helper()
	var verdict solver.Verdict
	var err error
	if o.Amount < 0 {
		verdict, err = market.AddSell(solver.SellOffer{
			Creditor: o.Creditor, Debtor: o.Debtor, Amount: -o.Amount, Collector: theCollector,
		})
	} else {
		verdict, err = market.AddBuy(solver.BuyOffer{Creditor: o.Creditor, Debtor: o.Debtor, Amount: o.Amount})
	}
	if verdict != solver.Admitted || err != nil {
		t.Errorf("offer %+v: verdict %v, %v", o, verdict, err)
	}
}

// In the town, most people find somebody to trade with, in rings of two, three and four.
func TestTheTownTrades(t *testing.T) {
	t.Parallel()
	town := Town()
	if err := town.Validate(); err != nil {
		t.Fatal(err)
	}
	outcome := clearTown(t, &town)
	lengths := make(map[int]int)
	for ring := range outcome.Rings() {
		lengths[len(ring.Steps)]++
	}
	if outcome.Served < 15 || lengths[2] == 0 || lengths[3] == 0 || lengths[4] == 0 {
		t.Errorf("%d people are served, in rings of these lengths: %v", outcome.Served, lengths)
	}
	traded := make(map[swpt.CreditorID]bool)
	for _, change := range outcome.Takings {
		traded[change.Creditor] = true
	}
	currencies := make(map[swpt.DebtorID]bool)
	for _, c := range outcome.Currencies {
		currencies[c.Debtor] = c.Takings > 0
	}
	for _, c := range town.Currencies {
		if !c.Dummy && !currencies[c.Debtor] {
			t.Errorf("nobody trades in %s", c.Unit)
		}
		if c.Name == "" || c.Summary == "" || c.Unit == "" || c.Divisor != 1000 {
			t.Errorf("currency %d has a gap: %+v", c.Debtor, c)
		}
	}
	for _, customer := range town.Customers {
		stays := strings.Contains(customer.About, "four euros now") || strings.Contains(customer.About, "keeps what he has")
		if traded[customer.ID] && stays {
			t.Errorf("%s trades", customer.Name)
		}
		if customer.About == "" {
			t.Errorf("nothing is known about %s", customer.Name)
		}
	}
}

// What comes of a book in the world is what comes of it in the solver.
func TestScenariosOfBooks(t *testing.T) {
	t.Parallel()
	synthetic := book.Synthetic{Currencies: 30, Traders: 500, Seed: 3}
	scenario, err := FromSynthetic(synthetic)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := synthetic.Rows()
	if err != nil {
		t.Fatal(err)
	}
	if len(scenario.Currencies) != 30 || scenario.accounts() != len(rows.Sells)+len(rows.Buys) {
		t.Errorf("%d currencies, %d accounts, for %d offers",
			len(scenario.Currencies), scenario.accounts(), len(rows.Sells)+len(rows.Buys))
	}
	collectors := 0
	for _, c := range scenario.Currencies {
		collectors += c.Collectors
	}
	if collectors != len(rows.Collectors) {
		t.Errorf("%d collectors, want %d", collectors, len(rows.Collectors))
	}
	cleared := 0.0
	for _, c := range clearTown(t, &scenario).Currencies {
		cleared += c.Cleared
	}
	want := 0.0
	for _, c := range clearRows(t, rows).Currencies {
		want += c.Cleared
	}
	if math.Abs(cleared-want) > 1e-3*want {
		t.Errorf("a value of %f is cleared, want %f", cleared, want)
	}

	dir := filepath.Join(t.TempDir(), "book")
	staging := &book.Staging{}
	if _, err := book.Generate(t.Context(), staging, dir, synthetic); err != nil {
		t.Fatal(err)
	}
	if err := staging.Commit(); err != nil {
		t.Fatal(err)
	}
	b, err := book.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	same, err := FromBook(t.Context(), b, book.LoadOptions{MaxDistanceToBase: 10, MinTradeAmount: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(same.Customers) != len(scenario.Customers) || same.Customers[7].ID != scenario.Customers[7].ID ||
		same.Customers[7].Accounts[0].Policy.MaxPrincipal != scenario.Customers[7].Accounts[0].Policy.MaxPrincipal {
		t.Errorf("the scenario of the files differs: %+v, %+v", same.Customers[7], scenario.Customers[7])
	}
}

// clearRows clears a book as it is.
func clearRows(t *testing.T, rows *book.Rows) *solver.Outcome {
	t.Helper()
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator: rows.Currencies[0].Locator, BaseDebtorID: rows.Currencies[0].DebtorID,
		MaxDistanceToBase: 10, MinTradeAmount: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rows.Currencies {
		if err := tree.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		t.Fatal(err)
	}
	market := solver.NewMarket(prices)
	for _, c := range rows.Collectors {
		if err := market.AddCollector(c.Debtor, c.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range rows.Sells {
		if _, err := market.AddSell(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range rows.Buys {
		if _, err := market.AddBuy(o); err != nil {
			t.Fatal(err)
		}
	}
	outcome, err := market.Clear(t.Context(), solver.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

func TestStrangeRows(t *testing.T) {
	t.Parallel()
	peg := func(to swpt.DebtorID, locator string) *solver.Peg {
		return &solver.Peg{Locator: locator, DebtorID: to, Rate: 2}
	}
	rows := &book.Rows{
		Currencies: []solver.Currency{
			{Locator: "b", DebtorID: 1},
			{Locator: "c", DebtorID: 2, Confirmed: true, Peg: peg(1, "b")},
			{Locator: "d", DebtorID: 3, Peg: peg(1, "b")},                     // not confirmed
			{Locator: "e", DebtorID: 4, Confirmed: true, Peg: peg(1, "else")}, // does not resolve
			{Locator: "f", DebtorID: 2, Confirmed: true},                      // another page about 2
			{Locator: "g", DebtorID: 0},
			{Locator: "h", DebtorID: 5, Confirmed: true, Peg: peg(2, "c")},
		},
		Sells: []solver.SellOffer{
			{Creditor: 70, Debtor: 2, Amount: 1000},
			{Creditor: 70, Debtor: 3, Amount: 1000},
			{Creditor: 71, Debtor: 2, Amount: 0},
			{Creditor: 72, Debtor: 99, Amount: 5},
			{Creditor: -1, Debtor: 4, Amount: 50},
		},
		Buys: []solver.BuyOffer{{Creditor: 70, Debtor: 2, Amount: 9}, {Creditor: 70, Debtor: 5, Amount: 9}},
	}
	s, err := FromRows("strange", rows)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Currencies) != 5 || !s.Currencies[0].Dummy || s.Currencies[1].Dummy || !s.Currencies[2].Dummy || s.Currencies[3].Peg != nil {
		t.Errorf("currencies: %+v", s.Currencies)
	}
	if len(s.Customers) != 2 || s.Customers[0].ID != FirstCustomer || s.Customers[1].ID != FirstCustomer+1 {
		t.Fatalf("customers: %+v", s.Customers)
	}
	accounts := s.Customers[0].Accounts
	if len(accounts) != 2 || accounts[0].Balance != 2080 || accounts[0].Policy.MaxPrincipal != 1080 ||
		*accounts[0].Policy.Peg != (agent.Peg{Debtor: 1, Rate: 2}) {
		t.Errorf("the seller's account: %+v", accounts)
	}
	// Who has an account in the peg's currency approves that peg.
	if *accounts[1].Policy.Peg != (agent.Peg{Debtor: 2, Rate: 2}) || accounts[1].Policy.MinPrincipal != 9 || accounts[1].Balance != 0 {
		t.Errorf("the buyer's account: %+v", accounts[1])
	}
	rows.Sells = append(rows.Sells, solver.SellOffer{Creditor: 5, Debtor: 1, Amount: 10})
	if s, err = FromRows("strange", rows); err != nil || !s.Currencies[0].Dummy {
		t.Errorf("an unconfirmed base that is traded: %+v, %v", s.Currencies[0], err)
	}
	rows.Currencies[0].Confirmed = true
	if s, err = FromRows("strange", rows); err != nil || s.Currencies[0].Dummy {
		t.Errorf("a base that is traded: %+v, %v", s.Currencies[0], err)
	}
}

func TestImpossibleScenarios(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(s *Scenario){
		"no currencies":                    func(s *Scenario) { s.Currencies = nil },
		"no ID":                            func(s *Scenario) { s.Currencies[1].Debtor = 0 },
		"one ID twice":                     func(s *Scenario) { s.Currencies[1].Debtor = s.Currencies[2].Debtor },
		"a rate out of range":              func(s *Scenario) { s.Currencies[1].Rate = -51 },
		"no rate":                          func(s *Scenario) { s.Currencies[1].Rate = math.NaN() },
		"a base with a peg":                func(s *Scenario) { s.Currencies[0].Peg = &agent.Peg{Debtor: townLoaves} },
		"a peg to nothing":                 func(s *Scenario) { s.Currencies[1].Peg = &agent.Peg{Debtor: 5} },
		"a customer with a collector's ID": func(s *Scenario) { s.Customers[0].ID = theCollector },
		"two customers with one ID":        func(s *Scenario) { s.Customers[0].ID = s.Customers[1].ID },
		"an account in the dummy":          func(s *Scenario) { s.Customers[0].Accounts[0].Debtor = townEuro },
		"an account in nothing":            func(s *Scenario) { s.Customers[0].Accounts[0].Debtor = 5 },
		"two accounts in one currency":     func(s *Scenario) { s.Customers[0].Accounts[0].Debtor = s.Customers[0].Accounts[1].Debtor },
		"a negative balance":               func(s *Scenario) { s.Customers[0].Accounts[0].Balance = -1 },
		"a negative negligible amount":     func(s *Scenario) { s.Customers[0].Accounts[0].Negligible = -1 },
		"less than nothing":                func(s *Scenario) { s.Customers[0].Accounts[0].Policy.MinPrincipal = 1 << 40 },
		"too many tokens":                  func(s *Scenario) { s.Customers[0].Accounts[0].Balance = maxIssued },
	} {
		s := Town()
		spoil(&s)
		if err := s.Validate(); !errors.Is(err, ErrScenario) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := New(t.Context(), Settings{Scenario: s}); !errors.Is(err, ErrScenario) {
			t.Errorf("%s: a world was made: %v", name, err)
		}
	}
}

func TestAmountsInWords(t *testing.T) {
	t.Parallel()
	c := Currency{Unit: "loaves", Divisor: 1000, Decimals: 1}
	for tokens, want := range map[int64]string{0: "0.0 loaves", 12500: "12.5 loaves", -1000: "-1.0 loaves"} {
		if got := c.Amount(tokens); got != want {
			t.Errorf("%d tokens are %q, want %q", tokens, got, want)
		}
	}
}

// However many accounts there are, what is done without a cause does not exceed a limit.
func TestLargeWorldsRepeatSeldom(t *testing.T) {
	t.Parallel()
	small, large := Calm().forAccounts(42), Calm().forAccounts(100_000)
	if small.AuthorityTiming != Calm().AuthorityTiming || small.AgentTiming != Calm().AgentTiming {
		t.Errorf("a small world: %+v, %+v", small.AuthorityTiming, small.AgentTiming)
	}
	if got := 100_000 / large.AuthorityTiming.Heartbeat.Seconds(); got > maxIdleAccounts {
		t.Errorf("%f heartbeats a second", got)
	}
	for _, scan := range []time.Duration{large.AuthorityTiming.Scan, large.AgentTiming.Scan} {
		if got := 100_000 / scan.Seconds(); got > maxScannedAccounts {
			t.Errorf("%f accounts are scanned a second", got)
		}
	}
}
