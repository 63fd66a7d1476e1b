package authority

import (
	"math"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// In a year, −5 % take a twentieth, whatever happens in between.
func TestInterestIsKeptThroughChanges(t *testing.T) {
	t.Parallel()
	b := setup(t, prompt(), 1)
	b.root(RootConfig{Rate: -5})
	b.fund(seller, 1_000_000)
	year := time.Duration(365.25 * 24 * float64(time.Hour))
	b.pass(year / 2)
	b.configure(seller, 0, 0)
	b.pass(year / 2)
	if got := b.holding(seller).Balance(b.line.Now()); !near(got, 950_000, 1e-6) {
		t.Errorf("the balance after a year is %f, want 950000", got)
	}
	if h := b.holding(seller); h.Principal != 1_000_000 || !near(h.Interest, 1_000_000*(math.Sqrt(0.95)-1), 1e-6) {
		t.Errorf("principal and interest are %d, %f", h.Principal, h.Interest)
	}
	b.wantSound()
}

func TestDebtsBearNoInterest(t *testing.T) {
	t.Parallel()
	h := journal.Holding{Principal: 10, Interest: -12, Rate: 50, At: start}
	if got := h.Balance(start.Add(300 * day)); got != -2 {
		t.Errorf("the balance is %f, want -2", got)
	}
	if got := h.Spendable(start); got != -2 {
		t.Errorf("%d can be spent, want -2", got)
	}
}

// The recipient gets interest for the time in flight, at the rates that were in force (peers.md, section 1.3).
func TestCreditMakesUpForTheTimeInFlight(t *testing.T) {
	t.Parallel()
	b := setup(t, prompt(), 1)
	b.root(RootConfig{Rate: -20})
	b.fund(seller, 100_000)
	b.fund(buyer, 0)
	p := b.prepared(seller, buyer, 100_000, 100_000)
	b.settings.Timing.Wait = 0
	b.settings.Freedoms.CreditDelay = 1 // so small that the credit waits until the next event
	payment := payment{
		sender: key(seller), recipient: key(buyer), amount: 100_000, coordinatorType: "agent", committedAt: b.line.Now(),
	}
	_ = p
	b.tick()
	b.debit(b.accounts[key(seller)], &payment, 0)
	committed := b.line.Now()
	b.pass(10 * day)
	b.tick()
	b.setRate(b.accounts[key(buyer)], 10)
	b.pass(20 * day)
	b.tick()
	b.credit(&payment)
	const secondsInYear = 365.25 * 86400
	factor := math.Pow(0.8, 10*86400/secondsInYear) * math.Pow(1.1, 20*86400/secondsInYear)
	if got, want := b.holding(buyer).Balance(b.line.Now()), 100_000*factor; !near(got, want, 1e-6) {
		t.Errorf("after 10 days at -20%% and 20 days at 10%%, %f have come, want %f", got, want)
	}
	transfers := only[*smp.AccountTransfer](b)
	if last := transfers[len(transfers)-1]; !last.CommittedAt.Equal(committed) || last.Principal != 100_000 {
		t.Errorf("told of %+v", last)
	}
}

func TestCapitalisation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate, negligible float64
		after            time.Duration
		want             int64 // change of the principal
		told             bool
	}{
		{rate: -5, after: 13 * day},                          // too early
		{rate: -5, after: 15 * day, want: -1965, told: true}, // outgoing, never negligible
		{rate: -5, negligible: 1e30, after: 15 * day, want: -1965, told: true},
		{rate: 5, negligible: 1e30, after: 15 * day, want: 1871}, // silent
		{rate: 5, negligible: 1870, after: 15 * day, want: 1871, told: true},
		{rate: 0.2, after: 15 * day}, // less than a ten-thousandth
	} {
		settings := prompt()
		settings.Timing.Scan = day
		b := setup(t, settings, 1)
		b.root(RootConfig{Rate: c.rate})
		b.configure(buyer, c.negligible, 0)
		b.Begin()
		b.Issue(key(buyer), 1_000_000)
		acc := b.accounts[key(buyer)]
		acc.capitalisedAt = start
		rootBefore := b.holding(journal.Root).Principal
		before := b.holding(buyer)
		b.take()
		b.pass(c.after)
		h := b.holding(buyer)
		if got := h.Principal - 1_000_000; got != c.want {
			t.Errorf("%+v: the principal changed by %d", c, got)
		}
		if got := b.holding(journal.Root).Principal - rootBefore; got != 1_000_000-h.Principal {
			t.Errorf("%+v: the root changed by %d", c, got)
		}
		if now := b.line.Now(); !near(h.Balance(now), before.Balance(now), 1e-6) {
			t.Errorf("%+v: the balance changed from %f to %f", c, before.Balance(now), h.Balance(now))
		}
		transfers := only[*smp.AccountTransfer](b)
		if (len(transfers) == 1) != c.told {
			t.Errorf("%+v: %d transfers are told of", c, len(transfers))
		}
		if c.told {
			m := transfers[0]
			if m.CoordinatorType != "interest" || m.AcquiredAmount != h.Principal-1_000_000 || m.Principal != h.Principal ||
				m.TransferNote != "" || m.TransferNoteFormat != "" || c.want < 0 && m.Recipient != "0" || c.want > 0 && m.Sender != "0" {
				t.Errorf("%+v: told of %+v", c, m)
			}
		}
		b.wantSound()
	}
}

func TestUpdatesAfterTransfersAndHeartbeats(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	b.Begin()
	for _, acc := range b.order {
		acc.updatedAt = start
	}
	b.pass(3 * time.Hour)
	b.take()
	p := b.prepared(seller, collector, 1000, 1000)
	b.pass(2 * time.Hour)
	if got := summary(b.take()); got != "" {
		t.Errorf("after a lock, %q was sent", got)
	}
	b.hear(finalizing(p, 900))
	if got := only[*smp.AccountUpdate](b); len(got) != 0 {
		t.Error("after a debit, an AccountUpdate was sent at once")
	}
	b.pass(2 * time.Hour)
	updates := only[*smp.AccountUpdate](b)
	if len(updates) != 2 {
		t.Fatalf("after a debit and a credit, %d updates, want 2", len(updates))
	}
	for _, u := range updates {
		if !u.TS.After(u.LastChangeTS) || u.LastTransferNumber == 0 {
			t.Errorf("a late update: %+v", u)
		}
	}
	changes := updates[0].LastChangeSeqnum
	b.pass(6 * day)
	for range 2 * 24 { // heartbeats come within another day
		b.pass(time.Hour)
	}
	heartbeats := only[*smp.AccountUpdate](b)
	seen := make(map[swpt.CreditorID]int)
	for _, u := range heartbeats {
		seen[u.CreditorID]++
		if u.CreditorID == updates[0].CreditorID && u.LastChangeSeqnum != changes {
			t.Errorf("a heartbeat has number %d, want %d", u.LastChangeSeqnum, changes)
		}
	}
	for _, creditor := range []swpt.CreditorID{seller, buyer, collector} {
		if seen[creditor] < 1 || seen[creditor] > 2 {
			t.Errorf("%d heartbeats of %#x", seen[creditor], uint64(creditor))
		}
	}
	b.wantSound()
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		balance    int64
		negligible float64
		locked     bool
		want       bool
	}{
		{name: "empty", want: true},
		{name: "two tokens", balance: 2, want: true},
		{name: "three tokens", balance: 3},
		{name: "negligible", balance: 500, negligible: 500, want: true},
		{name: "a lock of nothing", locked: true},
	} {
		b := opened(t, prompt())
		b.Begin()
		if c.balance > 0 {
			b.Issue(key(buyer), c.balance)
		}
		var p *smp.PreparedTransfer
		if c.locked {
			p = b.prepared(buyer, collector, 0, 0)
		}
		b.pass(time.Minute)
		b.configure(buyer, c.negligible, 1)
		b.take()
		b.pass(3 * time.Hour)
		s := b.Account(key(buyer))
		if s.Exists == c.want {
			t.Errorf("%s: exists: %v", c.name, s.Exists)
		}
		if c.want {
			b.wantDeleted(c.balance)
		}
		if c.locked {
			b.hear(finalizing(p, 0))
			b.pass(2 * time.Hour)
			if b.Account(key(buyer)).Exists {
				t.Errorf("%s: it still exists after the lock has gone", c.name)
			}
		}
		b.wantSound()
	}
}

// wantDeleted wants the messages of a deletion, and then silence.
func (b *bench) wantDeleted(balance int64) {
	b.tb.Helper()
	var transfers []*smp.AccountTransfer
	var updates []*smp.AccountUpdate
	for _, m := range b.take() {
		switch m := m.(type) {
		case *smp.AccountTransfer:
			transfers = append(transfers, m)
		case *smp.AccountUpdate:
			if m.CreditorID == buyer {
				updates = append(updates, m)
			}
		}
	}
	last := updates[len(updates)-1]
	if last.Principal != 0 || last.Interest != 0 || last.ConfigFlags != 1 {
		b.tb.Errorf("the last update is %+v", last)
	}
	if balance > 0 {
		m := transfers[len(transfers)-1]
		if m.CoordinatorType != "delete" || m.AcquiredAmount != -balance || m.Principal != 0 || m.Recipient != "0" {
			b.tb.Errorf("told of %+v", m)
		}
	}
	b.pass(8 * day)
	for _, m := range b.take() {
		if creditorOf(m) == buyer {
			b.tb.Errorf("after the deletion, %s was sent", m.Type())
		}
	}
}

func TestRevivalAndPurge(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	b.Begin()
	b.pass(time.Minute)
	b.configure(buyer, 1e30, 1)
	b.pass(2 * time.Hour)
	created := b.Account(key(buyer)).Created
	b.take()

	// A credit revives it; the flags stay, so it is deleted again later.
	p := b.prepared(seller, buyer, 10, 10)
	b.take()
	b.hear(finalizing(p, 10))
	s := b.Account(key(buyer))
	if !s.Exists || s.Created != created || s.ConfigFlags != 1 || s.Holding.Principal != 10 {
		t.Fatalf("revived as %+v", s)
	}
	b.pass(15 * day)
	if b.Account(key(buyer)).Exists {
		t.Error("it was not deleted again")
	}
	b.take()
	b.pass(120 * day)
	purge := one[*smp.AccountPurge](b)
	if purge.CreditorID != buyer || purge.CreationDate != created {
		t.Errorf("purged: %+v", purge)
	}

	// A credit to no account creates one. It has no configuration, and a later creation date.
	p = b.prepared(seller, buyer, 10, 10)
	b.take()
	b.hear(finalizing(p, 10))
	var first *smp.AccountUpdate
	for _, m := range b.take() {
		if u, ok := m.(*smp.AccountUpdate); ok && first == nil && u.CreditorID == buyer {
			first = u
		}
	}
	if first == nil || first.Principal != 0 || first.NegligibleAmount != 0 || first.ConfigFlags != 0 ||
		!first.LastConfigTS.Equal(epoch) || first.CreationDate <= created || first.AccountID == "" {
		t.Errorf("created by a credit: %+v", first)
	}
	b.wantSound()
}

func TestCreationDatesGrowWithinADay(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	created := b.Account(key(buyer)).Created
	for range 3 {
		if err := b.Remove(key(buyer)); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Second)
		b.configure(buyer, 0, 0)
		if now := b.Account(key(buyer)).Created; now <= created {
			t.Fatalf("created again on %v, after %v", now, created)
		}
		created++
	}
	b.wantSound()
}

func TestOperators(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	b.Issue(key(collector), 500)
	b.Seize(key(collector), 200)
	if h := b.holding(collector); h.Principal != 300 {
		t.Errorf("after 200 of 500 have been seized, there are %d", h.Principal)
	}
	b.Seize(key(collector), 999)
	if h := b.holding(collector); h.Principal != 0 {
		t.Errorf("after everything has been seized, there are %d", h.Principal)
	}
	b.prepared(seller, collector, 1, 1)
	if err := b.Remove(key(seller)); err == nil {
		t.Error("an account with a prepared transfer was removed")
	}
	if err := b.Remove(key(collector)); err != nil || b.Account(key(collector)).Exists {
		t.Errorf("the collector was not removed: %v", err)
	}
	if err := b.Forget(key(seller)); err != nil || b.Account(key(seller)) != (AccountState{}) {
		t.Errorf("the account with a prepared transfer was not forgotten: %v", err)
	}
	b.wantSound()
}

func TestHush(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	b.Begin()
	b.pass(time.Second)
	b.root(RootConfig{Rate: -20})
	b.prepared(seller, buyer, 10, 10)
	b.pass(9 * day)
	b.take()
	b.Hush(true)
	b.pass(40 * day)
	if got := summary(b.take()); got != "" {
		t.Errorf("hushed, the authority sent %q", got)
	}
	b.Repeat(func(creditor swpt.CreditorID) bool { return creditor != buyer })
	if got := summary(b.take()); got != "PreparedTransfer AccountUpdate AccountUpdate " {
		t.Errorf("repeated: %q", got)
	}
	if b.Due() != 0 {
		t.Errorf("%d accounts are due", b.Due())
	}
	b.Seize(key(seller), 10)
	if b.Due() != 1 {
		t.Errorf("after a debit, %d accounts are due", b.Due())
	}
	b.Hush(false)
	b.pass(8 * day)
	reminders, transfers := 0, 0
	for _, m := range b.take() {
		switch m.(type) {
		case *smp.PreparedTransfer:
			reminders++
		case *smp.AccountTransfer:
			transfers++
		}
	}
	if reminders != 1 || transfers != 2 { // of the seizure, and of interest
		t.Errorf("%d reminders, %d transfers", reminders, transfers)
	}
	b.wantSound()
}
