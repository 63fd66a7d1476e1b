package authority

import (
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// instant returns a time of 2025-06-10.
func instant(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2025-06-10 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

func date(text string) smp.Date {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return smp.DateOf(t)
}

// exampleAccounts makes the accounts of the worked example of peers.md, section 9, as they were before.
func exampleAccounts(b *bench) {
	b.root(RootConfig{Rate: -5})
	b.accounts[key(journal.Root)].holding.Principal = -5_100_000
	for _, a := range []struct {
		creditor  swpt.CreditorID
		created   string
		principal int64
		number    int64
		since, at time.Time
	}{
		{seller, "2024-11-03", 5_000_000, 17, epoch, time.Date(2025, 5, 31, 2, 12, 14, 0, time.UTC)},
		{buyer, "2025-01-20", 100_000, 3, epoch, instant("02:00:00")},
		{collector, "2025-06-01", 0, 0, time.Date(2025, 6, 1, 10, 0, 0, 800_000_000, time.UTC), instant("02:00:00")},
	} {
		acc := b.open(key(a.creditor))
		acc.created, acc.number, acc.named = date(a.created), a.number, true
		acc.holding = journal.Holding{Principal: a.principal, Rate: -5, RateSince: a.since, At: a.at}
	}
}

// The messages of the example, as far as the authority has a part in them. Numbers refer to its table.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	b := setup(t, prompt(), 1)
	exampleAccounts(b)
	b.take()

	// 1 and 3
	b.at(instant("02:12:14"))
	request := &smp.PrepareTransfer{
		CreditorID: seller, DebtorID: debtorID, CoordinatorType: "agent", CoordinatorID: int64(seller),
		CoordinatorRequestID: 501, MinLockedAmount: 1059, MaxLockedAmount: 3175747, Recipient: "2199023255557",
		FinalInterestRateTS: infinity, MaxCommitDelay: 2147483647, TS: instant("02:12:10"),
	}
	b.hear(request)
	locked := one[*smp.PreparedTransfer](b)
	if locked.LockedAmount != 3175747 || locked.TransferID != 22023217904353281 ||
		!locked.Deadline.Equal(time.Date(2025, 9, 8, 2, 12, 14, 0, time.UTC)) || locked.DemurrageRate != -50 {
		t.Errorf("3: %+v", locked)
	}
	if got := b.holding(seller).Balance(b.line.Now()); !near(got, 4992983.26, 0.005) {
		t.Errorf("3: the balance is %f", got)
	}

	// 2
	b.hear(&smp.PrepareTransfer{
		CreditorID: buyer, DebtorID: debtorID, CoordinatorType: "agent", CoordinatorID: int64(buyer),
		CoordinatorRequestID: 502, Recipient: "2199023255557",
		FinalInterestRateTS: infinity, MaxCommitDelay: 2147483647, TS: instant("02:12:10"),
	})
	held := one[*smp.PreparedTransfer](b)
	if held.LockedAmount != 0 || held.TransferID != 22108979811319809 || !held.Deadline.Equal(locked.Deadline) {
		t.Errorf("2: %+v", held)
	}

	// 5 to 8
	b.at(instant("03:13:08"))
	commit := finalizing(locked, 2_500_000)
	commit.TransferNoteFormat, commit.TransferNote = "-cXchge", "Trading session: 7\nBuyer: 10000000005\nSeller: 101000000a1\n"
	b.settings.Freedoms.CreditDelay = 1
	b.hear(commit)
	sent := b.take()
	if f := sent[0].(*smp.FinalizedTransfer); f.StatusCode != "OK" || f.CommittedAmount != 2_500_000 || f.TotalLockedAmount != 0 {
		t.Errorf("6: %+v", f)
	}
	out, in := sent[1].(*smp.AccountTransfer), sent[2].(*smp.AccountTransfer)
	if out.TransferNumber != 18 || out.PreviousTransferNumber != 17 || out.AcquiredAmount != -2_500_000 || out.Principal != 2_500_000 {
		t.Errorf("7: %+v", out)
	}
	if got := b.holding(seller).Interest; !near(got, -7046.40, 0.005) {
		t.Errorf("7: the interest is %f", got)
	}
	if in.TransferNumber != 1 || in.PreviousTransferNumber != 0 || in.AcquiredAmount != 2_500_000 || in.Principal != 2_500_000 ||
		in.TransferNote != commit.TransferNote {
		t.Errorf("8: %+v", in)
	}

	// 11 to 16
	b.at(instant("03:30:08"))
	b.hear(&smp.PrepareTransfer{
		CreditorID: collector, DebtorID: debtorID, CoordinatorType: "agent", CoordinatorID: int64(collector),
		CoordinatorRequestID: 503, Recipient: "2203318223026",
		FinalInterestRateTS: time.Date(2025, 6, 1, 10, 0, 2, 800_000_000, time.UTC), MaxCommitDelay: 7200, TS: instant("03:30:05"),
	})
	paying := one[*smp.PreparedTransfer](b)
	if paying.LockedAmount != 0 || paying.TransferID != 22254115346186241 || !paying.Deadline.Equal(instant("05:30:05")) {
		t.Errorf("12: %+v", paying)
	}
	b.at(instant("03:30:12"))
	b.tick()
	if got := b.spendable(b.accounts[key(collector)]); got != 2499995 {
		t.Errorf("14: the collector can spend %d", got)
	}
	b.hear(finalizing(paying, 2_499_938))
	sent = b.take()
	if f := sent[0].(*smp.FinalizedTransfer); f.StatusCode != "OK" || f.CommittedAmount != 2_499_938 {
		t.Errorf("14: %+v", f)
	}
	if m := sent[1].(*smp.AccountTransfer); m.TransferNumber != 2 || m.Principal != 62 {
		t.Errorf("15: %+v", m)
	}
	if got := b.holding(collector).Interest; !near(got, -4.16, 0.01) {
		t.Errorf("15: the interest is %f", got)
	}
	if m := sent[2].(*smp.AccountTransfer); m.TransferNumber != 4 || m.PreviousTransferNumber != 3 || m.Principal != 2599938 {
		t.Errorf("16: %+v", m)
	}

	// 17
	b.hear(finalizing(held, 0))
	if f := one[*smp.FinalizedTransfer](b); f.StatusCode != "OK" || f.CommittedAmount != 0 {
		t.Errorf("17: %+v", f)
	}
	sum := int64(0)
	for _, creditor := range []swpt.CreditorID{journal.Root, seller, buyer, collector} {
		sum += b.holding(creditor).Principal
	}
	if sum != 0 {
		t.Errorf("all principals add up to %d", sum)
	}
}

// The variations on step 3.
func TestWorkedExampleVaried(t *testing.T) {
	t.Parallel()
	request := smp.PrepareTransfer{
		CreditorID: seller, DebtorID: debtorID, CoordinatorType: "agent", CoordinatorID: int64(seller),
		CoordinatorRequestID: 501, MinLockedAmount: 1059, MaxLockedAmount: 3175747, Recipient: "2199023255557",
		FinalInterestRateTS: infinity, MaxCommitDelay: 2147483647, TS: instant("02:12:10"),
	}
	pay := func(amount int64) func(b *bench) {
		return func(b *bench) {
			b.at(instant("02:12:12"))
			p := payment{sender: key(seller), recipient: key(buyer), amount: amount, coordinatorType: "direct", committedAt: b.line.Now()}
			b.tick()
			b.debit(b.accounts[key(seller)], &p, 0)
			b.credit(&p)
		}
	}
	t.Run("the request comes twice", func(t *testing.T) {
		t.Parallel()
		b := setup(t, prompt(), 1)
		exampleAccounts(b)
		b.at(instant("02:12:14"))
		b.take()
		b.hear(&request)
		b.hear(&request)
		both := only[*smp.PreparedTransfer](b)
		if both[1].TransferID != 22023217904353282 || both[1].LockedAmount != 1817236 {
			t.Errorf("the copy: %+v", both[1])
		}
	})
	for _, c := range []struct {
		paid, locked int64
		code         string
	}{{paid: 3_000_000, locked: 1992983}, {paid: 4_992_500, code: insufficientAmount}} {
		b := setup(t, prompt(), 1)
		exampleAccounts(b)
		pay(c.paid)(b)
		b.at(instant("02:12:14"))
		b.take()
		b.hear(&request)
		switch m := b.take()[0].(type) {
		case *smp.PreparedTransfer:
			if m.LockedAmount != c.locked {
				t.Errorf("after a payment of %d, %d are locked, want %d", c.paid, m.LockedAmount, c.locked)
			}
		case *smp.RejectedTransfer:
			if m.StatusCode != c.code {
				t.Errorf("after a payment of %d: %q, want %q", c.paid, m.StatusCode, c.code)
			}
		}
	}
}
