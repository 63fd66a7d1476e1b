package world

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/authority"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

var begin = time.Date(2025, 6, 10, 2, 0, 0, 0, time.UTC)

// A bench is a simulation, with a broker that is a few lines long, and a fake service.
type bench struct {
	*simulation
	tb      testing.TB
	service *fakeService
	journal bytes.Buffer
	writer  *journal.Writer
}

func setup(tb testing.TB, scenario Scenario, profile Profile, seed uint64) *bench {
	tb.Helper()
	b := &bench{tb: tb}
	b.writer = journal.NewWriter(&b.journal)
	if err := scenario.Validate(); err != nil {
		tb.Fatal(err)
	}
	b.simulation = newSimulation(&scenario, profile, seed, begin, newIssuers("https://x", scenario.Currencies), b.writer)
	b.simulation.kept = 0.02 // what the service of these tests keeps, and a little more
	b.service = newFakeService(b.route, b.timeline.Now)
	return b
}

// route brings what is published to those who have a queue for it.
func (b *bench) route(m smp.Outgoing) {
	_, debtor := parties(m)
	b.hear(b.debtors[debtor], m)
}

// pass lets time pass, with a broker that delivers at once.
func (b *bench) pass(d time.Duration) {
	b.tb.Helper()
	until := b.timeline.Now().Add(d)
	for {
		for _, p := range b.take(1000) {
			b.published(p)
			b.hand(p)
		}
		next, ok := b.timeline.Next()
		if !ok || next.After(until) {
			break
		}
		b.advance(next)
	}
	b.advance(until)
}

// hand hands a publication over.
func (b *bench) hand(p *parcel) {
	b.tb.Helper()
	switch m := p.message; p.publishing.Exchange {
	case broker.CreditorsIn:
		if toAgent, _ := p.publishing.Headers["ca-creditors"].(bool); toAgent {
			b.hearForAgent(m)
		}
		if toService, _ := p.publishing.Headers["ca-trade"].(bool); toService {
			b.service.hear(m)
		}
	case broker.ToTrade:
		b.service.hear(m)
	case broker.CreditorsOut:
		b.route(m.(smp.Outgoing))
	default:
		b.tb.Errorf("published to exchange %q", p.publishing.Exchange)
	}
}

// settle brings the run to its quiet end.
func (b *bench) settle() {
	b.tb.Helper()
	b.calm()
	for range settlingRounds {
		b.rest()
		b.service.endTurns()
		b.repeat()
	}
	b.rest()
	b.settled = true
}

func (b *bench) rest() {
	b.tb.Helper()
	for range 200 {
		b.service.goOn()
		b.pass(time.Second)
		if b.restless() == "" && b.service.open() == "" {
			return
		}
	}
	b.tb.Fatalf("no rest: %s, %s", b.restless(), b.service.open())
}

func (b *bench) wantAllWell() {
	b.tb.Helper()
	var r Report
	r.Heard, r.Sent = map[string]int{}, map[string]int{}
	b.report(&r)
	for _, v := range r.Failures() {
		b.tb.Errorf("%s is broken, %d of %d: %s", v.Check, v.Failures, v.Cases, v.Examples)
	}
	for _, c := range r.Currencies {
		if sum := c.Issued + c.Customers + c.Collectors + c.InFlight; sum != 0 {
			b.tb.Errorf("%s: %+v add up to %d", c.Currency.Name, c, sum)
		}
	}
}

// makeDeals lets the service open collectors, and then begin so many deals between random customers.
func (b *bench) makeDeals(n int) {
	b.tb.Helper()
	for i := range b.scenario.Currencies {
		if c := &b.scenario.Currencies[i]; !c.Dummy {
			b.service.openCollector(c.Debtor)
		}
	}
	b.pass(30 * time.Second)
	random := rand.New(rand.NewPCG(9, 9))
	for range n {
		debtor := b.scenario.Currencies[1+random.IntN(len(b.scenario.Currencies)-1)].Debtor
		holders := b.holders[debtor]
		collector := b.service.collectors[debtor]
		if len(holders) < 2 || collector == nil || collector.AccountID == "" {
			continue
		}
		i, k := random.IntN(len(holders)), random.IntN(len(holders))
		seller, buyer := holders[i], holders[k]
		if has := b.position(seller).Now; i != k && has > 1000 {
			b.service.sell(debtor, seller.Creditor, buyer.Creditor, has/4)
		}
		b.service.goOn()
		b.pass(time.Duration(random.IntN(1000)) * time.Millisecond)
	}
}

func TestDealsInEveryProfile(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		for _, profile := range []Profile{Calm(), Noisy(), Storm(seed)} {
			t.Run(fmt.Sprint(profile.Name, seed), func(t *testing.T) {
				t.Parallel()
				b := setup(t, Town(), profile, seed)
				b.pass(time.Second)
				b.makeDeals(60)
				b.settle()
				b.wantAllWell()
				collected := 0
				for _, d := range b.service.deals {
					if d.collected {
						collected++
					}
				}
				if collected < 20 {
					t.Errorf("only %d of %d deals were made", collected, len(b.service.deals))
				}
			})
		}
	}
}

// What is held does not reach the service before it is released, or the world is calmed; everything else does.
func TestHolding(t *testing.T) {
	t.Parallel()
	b := setup(t, Town(), Calm(), 1)
	b.pass(time.Second)
	anna := journal.Account{Debtor: townLoaves, Creditor: FirstCustomer + 1}
	boris := journal.Account{Debtor: townLoaves, Creditor: FirstCustomer + 2}
	has := b.agent.Account(anna).Principal
	ledger := notificationKey{anna, smp.TypeUpdatedLedger}
	pay := func(want int64) {
		t.Helper()
		b.agent.Pay(anna, b.agent.Account(boris).AccountID, 100)
		b.pass(time.Second)
		if known := b.agent.Account(anna).Principal; known != want {
			t.Errorf("the agent knows of %d tokens, want %d", known, want)
		}
	}
	wantHeard := func(want int64) {
		t.Helper()
		if heard := b.service.ledgers[anna].Principal; heard != want {
			t.Errorf("the service has heard of %d tokens, want %d", heard, want)
		}
	}
	b.hold(ledger)
	b.hold(ledger)
	pay(has - 100)
	wantHeard(has)
	if heard := b.service.ledgers[boris].Principal; heard != 600 {
		t.Errorf("the service has heard of %d tokens on the other account, want 600", heard)
	}
	b.release(ledger)
	b.release(ledger)
	b.pass(time.Second)
	wantHeard(has - 100)
	pay(has - 200)
	wantHeard(has - 200)
	b.hold(ledger)
	pay(has - 300)
	wantHeard(has - 200)
	b.calm()
	b.pass(time.Second)
	wantHeard(has - 300)
}

// A storm has everything that its profile promises, and when it is calmed, nothing of it goes on.
func TestDisturbances(t *testing.T) {
	t.Parallel()
	profile := Storm(3)
	profile.Freedoms.CreditDelay = 0
	b := setup(t, Town(), profile, 3)
	type trouble struct{ payments, revisions, rates, absences, copies int }
	count := func() trouble {
		var c trouble
		c.payments = b.traffic[trafficKey{true, smp.TypePrepareTransfer}]
		issued := 0
		for _, line := range bytes.Split(b.journalText(), []byte("\n")) {
			switch {
			case bytes.Contains(line, []byte(" rate ")) && bytes.Contains(line, []byte("account of")):
				c.rates++
			case bytes.Contains(line, []byte(`"type":"UpdatedLedger"`)) && bytes.Contains(line, []byte(`"account_id":""`)):
				c.absences++
			case bytes.Contains(line, []byte("issued")) && bytes.Contains(line, []byte(`"type":"AccountTransfer"`)):
				issued++
			}
		}
		c.copies = b.traffic[trafficKey{false, smp.TypeAccountTransfer}] - issued
		for _, known := range b.issuers.currencies {
			c.revisions += len(known.documents) - 1
		}
		return c
	}
	beginning := count()
	b.pass(time.Minute)
	now := count()
	if now.payments < 40 || now.revisions < 1 || now.rates <= beginning.rates || now.absences < 1 || now.copies < 10 {
		t.Errorf("after a minute: %+v; at the beginning: %+v", now, beginning)
	}
	b.links[0].brokenUntil = b.timeline.Now().Add(time.Hour)
	b.settle()
	quiet := count()
	b.pass(30 * time.Second)
	later := count()
	later.rates = quiet.rates // what has been set before may still reach accounts
	if later != quiet {
		t.Errorf("after the calm, %+v became %+v", quiet, later)
	}
	b.wantAllWell()
	b.disturb()
	b.disturb()
	b.pass(30 * time.Second)
	if again := count(); again.payments <= later.payments || again.payments > later.payments+2*2*2*30 {
		t.Errorf("disturbed again, %+v became %+v", later, again)
	}
}

// journalText returns the journal so far.
func (b *bench) journalText() []byte {
	b.tb.Helper()
	if err := b.writer.Flush(); err != nil {
		b.tb.Fatal(err)
	}
	return b.journal.Bytes()
}

// Some of the requests to lock customers' tokens are lost, and no others.
func TestLostLocks(t *testing.T) {
	t.Parallel()
	b := setup(t, Town(), Calm(), 1)
	b.network.LostLocks = 1
	for _, c := range []struct {
		message smp.Message
		lost    bool
	}{
		{&smp.PrepareTransfer{CreditorID: FirstCustomer, CoordinatorType: "agent"}, true},
		{&smp.PrepareTransfer{CreditorID: theCollector, CoordinatorType: "agent"}, false},
		{&smp.PrepareTransfer{CreditorID: FirstCustomer, CoordinatorType: "direct"}, false},
		{&smp.FinalizeTransfer{CreditorID: FirstCustomer, CoordinatorType: "agent"}, false},
	} {
		if got := b.isLost(c.message); got != c.lost {
			t.Errorf("%+v: lost: %v", c.message, got)
		}
	}
	b.makeDeals(20)
	if requests := len(b.service.requests); requests == 0 || b.service.heard[smp.TypePreparedTransfer] > 0 {
		t.Errorf("of %d requests, %d have been answered", requests, b.service.heard[smp.TypePreparedTransfer])
	}
}

// The customers have had their accounts for days when the world begins, and the service hears only what is so now.
func TestBeginning(t *testing.T) {
	t.Parallel()
	b := setup(t, Town(), Calm(), 1)
	b.pass(3 * time.Second)
	scenario := Town()
	accounts := 0
	for _, customer := range scenario.Customers {
		for _, a := range customer.Accounts {
			accounts++
			key := journal.Account{Debtor: a.Debtor, Creditor: customer.ID}
			ledger, policy := b.service.ledgers[key], b.service.policies[key]
			// Some interest may have been capitalised.
			if ledger == nil || !nearly(ledger.Principal, a.Balance) || ledger.AccountID == "" ||
				ledger.AccountID == strconv.FormatUint(uint64(customer.ID), 10) {
				t.Errorf("%s, currency %d: the ledger is %+v", customer.Name, a.Debtor, ledger)
			}
			if policy == nil || policy.MinPrincipal != a.Policy.MinPrincipal || (policy.PolicyName == nil) != (a.Policy.Name == "") ||
				policy.PegDebtorID == nil {
				t.Errorf("%s, currency %d: the policy is %+v", customer.Name, a.Debtor, policy)
			}
			if p := b.position(key); p.Before != a.Balance || !nearly(p.Now, a.Balance) || p.Ledger != p.Now {
				t.Errorf("%s, currency %d: the position is %+v", customer.Name, a.Debtor, p)
			}
		}
	}
	if n := b.service.heard[smp.TypeUpdatedPolicy]; n != accounts {
		t.Errorf("%d policies for %d accounts", n, accounts)
	}
	b.settle()
	b.wantAllWell()
}

// nearly tells whether two amounts differ by no more than some days' interest.
func nearly(x, y int64) bool { return max(x, y)-min(x, y) <= 1+max(x, y)/100 }

// One seed, one run: to the letter, faults and all.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		b := setup(t, Town(), Storm(seed), seed)
		b.makeDeals(40)
		b.settle()
		if err := b.writer.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.journal.String()
	}
	one := run(7)
	if other := run(7); one != other {
		t.Errorf("two runs with one seed differ: %s", firstDifference(one, other))
	}
	if one == run(8) {
		t.Error("two runs with different seeds are the same")
	}
}

func firstDifference(a, b string) string {
	linesA, linesB := bytes.Split([]byte(a), []byte("\n")), bytes.Split([]byte(b), []byte("\n"))
	for i := range min(len(linesA), len(linesB)) {
		if !bytes.Equal(linesA[i], linesB[i]) {
			return fmt.Sprintf("line %d:\n%s\n%s", i+1, linesA[i], linesB[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(linesA), len(linesB))
}

// What the service must not say is noticed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]smp.Outgoing{
		"a creditor of the authority":  &smp.ConfigureAccount{DebtorID: townLoaves, CreditorID: 0x20000000005, TS: begin},
		"the root":                     &smp.ConfigureAccount{DebtorID: townLoaves, TS: begin},
		"a coordinator from elsewhere": &smp.PrepareTransfer{DebtorID: townLoaves, CreditorID: theCollector, TS: begin},
		"another authority's currency": &smp.ConfigureAccount{DebtorID: townBikes, CreditorID: theCollector, TS: begin},
	} {
		b := setup(t, Town(), Calm(), 1)
		b.hear(b.debtors[townLoaves], m)
		b.pass(time.Second)
		refused := false
		for _, v := range b.checker.Verdicts() {
			refused = refused || v.Check == "P1" && !v.OK()
		}
		if !refused {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestRenumbering(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ours, theirs int64 }{
		{0x10000000005, 0x20000000005}, {0x101000000a1, 0x201000000a1}, {0x1ffffffffff, 0x2ffffffffff}, {0, 0},
	} {
		if got := renumbered(c.ours, firstRange); got != c.theirs {
			t.Errorf("%#x becomes %#x, want %#x", c.ours, got, c.theirs)
		}
		if got := renumbered(c.theirs, ourRange); got != c.ours {
			t.Errorf("%#x becomes %#x, want %#x", c.theirs, got, c.ours)
		}
	}
}

// The headers and keys of what authorities send (peers.md, section 6.1).
func TestRoutingOfAuthorities(t *testing.T) {
	t.Parallel()
	const customer = 0x101000000a1
	for _, c := range []struct {
		name                string
		message             smp.Message
		toTrade, toCreditor bool
		key                 swpt.CreditorID
	}{
		{"a collector's update", &smp.AccountUpdate{CreditorID: theCollector}, true, false, theCollector},
		{"a customer's update", &smp.AccountUpdate{CreditorID: customer}, false, true, customer},
		{"a customer's trade", &smp.AccountTransfer{CreditorID: customer, CoordinatorType: "agent"}, true, true, customer},
		{"a customer's payment", &smp.AccountTransfer{CreditorID: customer, CoordinatorType: "direct"}, false, true, customer},
		{"a collector's interest", &smp.AccountTransfer{CreditorID: theCollector, CoordinatorType: "interest"}, true, false, theCollector},
		{
			"an answer to the service", &smp.PreparedTransfer{CreditorID: customer, CoordinatorType: "agent", CoordinatorID: 77},
			true, false, 77,
		},
		{
			"an answer to a customer", &smp.PreparedTransfer{CreditorID: customer, CoordinatorType: "direct", CoordinatorID: customer},
			false, true, customer,
		},
		{"a customer's refusal", &smp.RejectedConfig{CreditorID: customer}, false, true, customer},
	} {
		p := authorityParcel(c.message).publishing
		if p.Headers["ca-trade"] != c.toTrade || p.Headers["ca-creditors"] != c.toCreditor ||
			p.RoutingKey != notificationParcel(&smp.UpdatedFlags{CreditorID: c.key}).publishing.RoutingKey {
			t.Errorf("%s: headers %v, key %s", c.name, p.Headers, p.RoutingKey)
		}
		_, coordinated := p.Headers["coordinator-id"].(int64)
		if _, answer := c.message.(*smp.PreparedTransfer); answer != coordinated {
			t.Errorf("%s: headers %v", c.name, p.Headers)
		}
		if p.AppID != "swpt_stomp" || p.Type != c.message.Type() || !p.Mandatory || p.Headers["message-type"] != p.Type {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	b := setup(t, Town(), Calm(), 1)
	b.take(1000)
	b.hearLoopback(&smp.ConfigureAccount{DebtorID: 5, CreditorID: theCollector, TS: begin})
	if got := b.take(10); len(got) != 0 {
		t.Errorf("for a collector, %d messages", len(got))
	}
	b.hearLoopback(&smp.ConfigureAccount{DebtorID: 5, CreditorID: FirstCustomer, TS: begin, ConfigFlags: 7})
	got := b.take(10)
	if len(got) != 1 || got[0].publishing.Exchange != broker.CreditorsAgent ||
		got[0].message.(*smp.RejectedConfig).RejectionCode != "NO_CONNECTION_TO_DEBTOR" ||
		got[0].message.(*smp.RejectedConfig).ConfigFlags != 7 {
		t.Errorf("for a customer: %+v", got)
	}
}

// A hundred thousand accounts must not keep the world from doing what else there is.
func BenchmarkLargeWorld(b *testing.B) {
	scenario, err := FromSynthetic(book.Synthetic{Currencies: 200, Traders: 25_000, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	bench := setup(b, scenario, Calm(), 1)
	bench.writer = nil
	bench.simulation.journal = nil
	bench.pass(3 * time.Second)
	for i := range scenario.Currencies {
		bench.service.openCollector(scenario.Currencies[i].Debtor)
	}
	bench.pass(3 * time.Second)
	b.ReportMetric(float64(scenario.accounts()), "accounts")
	messages := 0
	for i := 0; b.Loop(); i++ {
		customer := &scenario.Customers[i%len(scenario.Customers)]
		account := customer.Accounts[0]
		if c := bench.service.collectors[account.Debtor]; c != nil && account.Balance > 0 {
			bench.service.sell(account.Debtor, customer.ID, customer.ID, 100)
			messages += 8
		}
		bench.pass(200 * time.Microsecond)
	}
	b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "messages/s")
}

// A service that discards customers' accounts destroys what is on them. The authority cannot tell, but the verdict can.
// What the creditors agent asks for is no mistake of the service, however often it comes.
func TestConfigurationsOfCustomers(t *testing.T) {
	t.Parallel()
	anna := journal.Account{Debtor: townLoaves, Creditor: FirstCustomer + 1}
	verdict := func(b *bench) journal.Verdict {
		b.settle()
		for _, v := range b.checker.Verdicts() {
			if v.Check == "M19" {
				return v
			}
		}
		return journal.Verdict{}
	}
	for name, profile := range map[string]Profile{"calm": Calm(), "storm": Storm(5)} {
		b := setup(t, Town(), profile, 5)
		b.makeDeals(1)
		b.agent.SetNegligible(anna, 5)
		b.pass(time.Second)
		b.agent.Delete(anna)
		b.pass(20 * time.Second)
		b.agent.Open(anna)
		if v := verdict(b); v.Cases == 0 || !v.OK() {
			t.Errorf("%s: the agent configures accounts: %+v", name, v)
		}
		b.wantAllWell()

		b = setup(t, Town(), profile, 5)
		b.pass(time.Second)
		b.route(&smp.ConfigureAccount{
			DebtorID: anna.Debtor, CreditorID: anna.Creditor, TS: b.timeline.Now().Add(time.Second), ConfigFlags: 1, NegligibleAmount: 1e30,
		})
		b.pass(20 * time.Second)
		if has := b.position(anna).Now; has != 0 {
			t.Errorf("%s: the account still has %d", name, has)
		}
		if v := verdict(b); v.Failures != 1 {
			t.Errorf("%s: the service discards an account: %+v", name, v)
		}
	}
}

// In storms, transfers of collectors fail and are tried again, so that it is seen whether anybody is paid twice.
func TestStormsMakeCollectorsTryAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, Town(), Storm(1), 1)
	b.makeDeals(120)
	b.settle()
	b.wantAllWell()
	for _, v := range b.checker.FinalVerdicts(journal.Leniency{}) {
		if v.Check == "M7" && v.Cases < 2 {
			t.Errorf("M7 has %d cases", v.Cases)
		}
	}
}

// A buyer's lock that nobody ends is a mistake of the service in a storm, too, unless transfers can fail for good.
func TestLeftLocks(t *testing.T) {
	t.Parallel()
	for failForGood, want := range map[float64]bool{0: false, 1e-300: true} {
		profile := Storm(4)
		profile.Freedoms.FailForGood = failForGood
		b := setup(t, Town(), profile, 4)
		b.makeDeals(0)
		d := &fakeDeal{debtor: townLoaves, sale: &fakeRequest{}}
		d.lock = b.service.askCustomer(d, FirstCustomer+2, 0, 0)
		b.pass(10 * time.Second)
		b.settle()
		if left := b.checker.Unfinished().Transfers; left != 1 {
			t.Fatalf("%d transfers are left, want 1", left)
		}
		r := Report{Heard: map[string]int{}, Sent: map[string]int{}}
		b.report(&r)
		for _, v := range r.Verdicts {
			if v.Check == "M8" && v.OK() != want {
				t.Errorf("transfers fail for good with a probability of %g: %+v", failForGood, v)
			}
		}
	}
}

// Authorities tell the terms that the profile gives them.
func TestTerms(t *testing.T) {
	t.Parallel()
	profile := Storm(4)
	b := setup(t, Town(), profile, 4)
	b.makeDeals(0)
	told := make(map[authority.Terms]bool)
	for _, m := range b.service.collectors {
		told[authority.Terms{
			DemurrageRate: m.DemurrageRate, CommitPeriod: time.Duration(m.CommitPeriod) * time.Second,
			TransferNoteMaxBytes: m.TransferNoteMaxBytes,
		}] = true
	}
	for _, terms := range profile.Terms {
		if !told[terms] {
			t.Errorf("no authority tells of %+v, but %v", terms, told)
		}
	}
	if len(told) != len(profile.Terms) {
		t.Errorf("authorities tell of %v, and not of %+v only", told, profile.Terms)
	}
}
