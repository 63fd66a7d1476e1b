package authority

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// The rows of the table in peers.md, section 2.1.
func TestChecksOfPrepareTransfer(t *testing.T) {
	t.Parallel()
	type request = smp.PrepareTransfer
	direct := func(m *request) { m.CoordinatorType = "direct" }
	for i, c := range []struct {
		change func(b *bench, m *request)
		code   string // "": prepared
		total  int64
		amount int64
	}{
		{change: func(*bench, *request) {}, amount: 1000},
		// 1
		{change: func(_ *bench, m *request) { m.Recipient = "x" }, code: recipientIsUnreachable},
		{change: func(_ *bench, m *request) { m.Recipient = "" }, code: recipientIsUnreachable},
		{change: func(_ *bench, m *request) { m.Recipient = "-1" }, code: recipientIsUnreachable},
		{change: func(_ *bench, m *request) { m.Recipient = "18446744073709551616" }, code: recipientIsUnreachable},
		// 2
		{change: func(b *bench, m *request) { direct(m); m.Recipient = b.AccountID(0x20100009999) }, code: recipientIsUnreachable},
		{change: func(_ *bench, m *request) { direct(m); m.Recipient = "0" }, amount: 1000},
		{change: func(b *bench, m *request) {
			direct(m)
			b.accounts[key(buyer)].config.flags = 1
			m.Recipient = b.AccountID(buyer)
		}, code: recipientIsUnreachable},
		{change: func(b *bench, m *request) { b.accounts[key(buyer)].config.flags = 1; m.Recipient = b.AccountID(buyer) }, amount: 1000},
		{change: func(b *bench, m *request) { m.Recipient = b.AccountID(0x20100009999) }, amount: 1000}, // agents' recipients are not looked at
		// 3
		{change: func(_ *bench, m *request) { m.CreditorID = 0x20100009999 }, code: senderIsUnreachable},
		// 4
		{change: func(b *bench, m *request) { m.Recipient = b.AccountID(stranger) }, code: recipientIsUnreachable},
		{change: func(_ *bench, m *request) { m.Recipient = "0" }, code: recipientIsUnreachable},
		// 6
		{change: func(b *bench, m *request) { m.Recipient = b.AccountID(seller) }, code: recipientSameAsSender, total: 300},
		// 7
		{change: func(_ *bench, m *request) { m.FinalInterestRateTS = epoch.Add(-time.Second) }, code: newerInterestRate, total: 300},
		{change: func(_ *bench, m *request) { m.FinalInterestRateTS = epoch }, amount: 1000},
		// 8
		{change: func(_ *bench, m *request) { m.MinLockedAmount, m.MaxLockedAmount = 99_700, 200_000 }, amount: 99_700},
		{change: func(_ *bench, m *request) { m.MinLockedAmount, m.MaxLockedAmount = 99_701, 200_000 }, code: insufficientAmount, total: 300},
		{change: func(_ *bench, m *request) { m.MinLockedAmount, m.MaxLockedAmount = 0, 1<<63-1 }, amount: 99_700},
		{change: func(_ *bench, m *request) { m.MinLockedAmount, m.MaxLockedAmount = 0, 0 }, amount: 0},
	} {
		b := opened(t, prompt())
		b.prepared(seller, buyer, 300, 300)
		m := b.asking(seller, collector, 0, 1000)
		c.change(b, m)
		b.take()
		b.hear(m)
		sent := b.take()
		if len(sent) != 1 {
			t.Fatalf("case %d: %d messages", i, len(sent))
		}
		switch answer := sent[0].(type) {
		case *smp.RejectedTransfer:
			if answer.StatusCode != c.code || answer.TotalLockedAmount != c.total || answer.CoordinatorRequestID != m.CoordinatorRequestID ||
				answer.CoordinatorType != m.CoordinatorType || answer.CoordinatorID != m.CoordinatorID {
				t.Errorf("case %d: %+v, want %q, %d", i, answer, c.code, c.total)
			}
		case *smp.PreparedTransfer:
			if c.code != "" || answer.LockedAmount != c.amount {
				t.Errorf("case %d: locked %d, want %q, %d", i, answer.LockedAmount, c.code, c.amount)
			}
		}
		b.wantSound()
	}
}

func TestEmptySenderLocksNothingIfNothingIsAskedFor(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	acc := b.accounts[key(buyer)]
	acc.holding.Interest = -5
	b.hear(b.asking(buyer, collector, 0, 0))
	if m := one[*smp.PreparedTransfer](b); m.LockedAmount != 0 {
		t.Errorf("locked %d", m.LockedAmount)
	}
}

func TestRootMayIssueUpToItsLimit(t *testing.T) {
	t.Parallel()
	limit := int64(1000)
	b := setup(t, prompt(), 1)
	b.root(RootConfig{Limit: &limit})
	b.fund(buyer, 0)
	issuing := func(amount int64) *smp.PrepareTransfer {
		m := b.asking(journal.Root, buyer, amount, amount)
		m.CoordinatorType, m.CoordinatorID = "issuing", int64(debtorID)
		return m
	}
	b.take()
	b.hear(issuing(1001))
	if m := one[*smp.RejectedTransfer](b); m.StatusCode != insufficientAmount {
		t.Errorf("rejected with %q", m.StatusCode)
	}
	b.hear(issuing(1000))
	p := one[*smp.PreparedTransfer](b)
	b.pass(50 * day)
	b.hear(finalizing(p, 1000)) // a lock of the root does not melt
	if h := b.holding(buyer); h.Principal != 1000 {
		t.Errorf("the buyer has %d", h.Principal)
	}
	if h := b.holding(journal.Root); h.Principal != -1000 {
		t.Errorf("the root has %d", h.Principal)
	}
}

func TestPreparedTransfer(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	b.pass(time.Hour)
	m := b.asking(seller, collector, 10, 20)
	m.MaxCommitDelay = 7200
	m.TS = b.line.Now().Add(-4 * time.Second)
	b.hear(m)
	want := smp.PreparedTransfer{
		DebtorID: debtorID, CreditorID: seller, CoordinatorType: "agent", CoordinatorID: int64(seller),
		CoordinatorRequestID: m.CoordinatorRequestID, TransferID: int64(smp.DateOf(start))<<40 + 1, LockedAmount: 20,
		Recipient: m.Recipient, PreparedAt: b.line.Now(), Deadline: m.TS.Add(2 * time.Hour),
		FinalInterestRateTS: infinity, DemurrageRate: -50, TS: b.line.Now(),
	}
	if got := one[*smp.PreparedTransfer](b); *got != want {
		t.Errorf("prepared\n%+v, want\n%+v", *got, want)
	}
	// A copy is handled for itself.
	b.hear(m)
	again := one[*smp.PreparedTransfer](b)
	if again.TransferID != want.TransferID+1 || b.Account(key(seller)).Locked != 40 {
		t.Errorf("the copy prepared %+v; %d are locked", again, b.Account(key(seller)).Locked)
	}
	m = b.asking(seller, collector, 0, 0)
	b.hear(m)
	if p := one[*smp.PreparedTransfer](b); !p.Deadline.Equal(b.line.Now().Add(90 * day)) {
		t.Errorf("the deadline is %v", p.Deadline)
	}
	b.wantSound()
}

func TestReminders(t *testing.T) {
	t.Parallel()
	settings := prompt()
	settings.Timing.Scan = day
	b := opened(t, settings)
	b.Begin()
	p := b.prepared(seller, collector, 10, 20)
	for week := range 5 {
		b.pass(7*day + 12*time.Hour)
		reminders := only[*smp.PreparedTransfer](b)
		if week == 0 && len(reminders) > 1 || week > 0 && len(reminders) != 1 {
			t.Fatalf("week %d: %d reminders", week, len(reminders))
		}
		for _, r := range reminders {
			same := *r
			same.TS = p.TS
			if same != *p || !r.TS.After(p.TS) {
				t.Errorf("the reminder is %+v", r)
			}
		}
	}
	b.hear(finalizing(p, 0))
	b.pass(20 * day)
	if reminders := only[*smp.PreparedTransfer](b); len(reminders) != 0 {
		t.Errorf("%d reminders of a finalised transfer", len(reminders))
	}
}

func TestFinalizeTransferMustMatch(t *testing.T) {
	t.Parallel()
	b := opened(t, prompt())
	p := b.prepared(seller, collector, 100, 100)
	for i, change := range []func(*smp.FinalizeTransfer){
		func(m *smp.FinalizeTransfer) { m.DebtorID++ },
		func(m *smp.FinalizeTransfer) { m.CreditorID = buyer },
		func(m *smp.FinalizeTransfer) { m.TransferID++ },
		func(m *smp.FinalizeTransfer) { m.CoordinatorType = "direct" },
		func(m *smp.FinalizeTransfer) { m.CoordinatorID++ },
		func(m *smp.FinalizeTransfer) { m.CoordinatorRequestID++ },
	} {
		m := finalizing(p, 100)
		change(m)
		b.hear(m)
		if got := summary(b.take()); got != "" {
			t.Errorf("change %d: %q was sent", i, got)
		}
	}
	b.hear(finalizing(p, 100))
	one[*smp.FinalizedTransfer](b)
	b.hear(finalizing(p, 100))
	b.hear(finalizing(p, 0))
	if got := summary(b.take()); got != "" {
		t.Errorf("after the end, %q was sent", got)
	}
	b.wantSound()
}

func TestTheFirstRequestToFinaliseDecides(t *testing.T) {
	t.Parallel()
	for _, amounts := range [][2]int64{{100, 0}, {0, 100}} {
		settings := prompt()
		settings.Timing.Wait = time.Second
		b := setup(t, settings, 1)
		b.root(RootConfig{})
		b.fund(seller, 1000)
		b.hear(b.asking(seller, collector, 100, 100))
		b.pass(2 * time.Second)
		p := one[*smp.PreparedTransfer](b)
		b.queue(finalizing(p, amounts[0]))
		b.queue(finalizing(p, amounts[1]))
		b.queue(finalizing(p, amounts[0]))
		b.pass(2 * time.Second)
		if m := one[*smp.FinalizedTransfer](b); m.CommittedAmount != amounts[0] || m.StatusCode != "OK" {
			t.Errorf("committed %d, %q, want %d", m.CommittedAmount, m.StatusCode, amounts[0])
		}
	}
}

// The rows of the table in peers.md, section 3.2.
func TestChecksOfACommit(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		lock   int64
		other  int64 // locked besides
		before func(b *bench)
		amount int64
		want   string
	}{
		{lock: 1000, amount: 1000, want: "OK"},
		{lock: 0, amount: 100_000, want: "OK"}, // free
		{lock: 0, amount: 100_001, want: insufficientAmount},
		{lock: 1000, amount: 100_000, want: "OK"}, // more than the lock, which is free
		{lock: 1000, other: 90_000, amount: 10_000, want: "OK"},
		{lock: 1000, other: 90_000, amount: 10_001, want: insufficientAmount},
		{lock: 1000, before: func(b *bench) { b.pass(90 * day) }, amount: 1000, want: "OK"},
		{lock: 1000, before: func(b *bench) { b.pass(90*day + time.Microsecond) }, amount: 1000, want: timeout},
		{
			lock: 1000, before: func(b *bench) { b.pass(time.Second); b.tick(); b.setRate(b.accounts[key(seller)], 5) },
			amount: 1000, want: "OK",
		},
		// Reserved: the balance has melted away beneath the lock.
		{
			lock: 100_000, before: func(b *bench) { b.pass(30 * day); b.accounts[key(seller)].holding.Interest = -90_000 },
			amount: 94_465, want: "OK",
		},
		{
			lock: 100_000, before: func(b *bench) { b.pass(30 * day); b.accounts[key(seller)].holding.Interest = -90_000 },
			amount: 94_466, want: insufficientAmount,
		},
	} {
		b := opened(t, prompt())
		p := b.prepared(seller, collector, c.lock, c.lock)
		if c.other > 0 {
			b.prepared(seller, buyer, c.other, c.other)
		}
		if c.before != nil {
			c.before(b)
		}
		b.take()
		b.hear(finalizing(p, c.amount))
		m := one[*smp.FinalizedTransfer](b)
		committed := c.amount
		if c.want != "OK" {
			committed = 0
		}
		want := smp.FinalizedTransfer{
			DebtorID: debtorID, CreditorID: seller, CoordinatorType: "agent", CoordinatorID: int64(seller),
			CoordinatorRequestID: p.CoordinatorRequestID, TransferID: p.TransferID, CommittedAmount: committed,
			StatusCode: c.want, TotalLockedAmount: c.other, PreparedAt: p.PreparedAt, TS: b.line.Now(),
		}
		if *m != want {
			t.Errorf("case %d:\n%+v, want\n%+v", i, *m, want)
		}
		if got := b.Account(key(seller)); got.Locked != c.other {
			t.Errorf("case %d: %d are still locked", i, got.Locked)
		}
	}
}

func TestCommitUnderANewerRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change time.Duration // when the rate changes, relative to the final timestamp
		want   string
	}{{-time.Second, "OK"}, {0, "OK"}, {time.Microsecond, newerInterestRate}} {
		b := opened(t, prompt())
		m := b.asking(seller, collector, 10, 10)
		m.FinalInterestRateTS = start.Add(time.Hour)
		b.hear(m)
		p := one[*smp.PreparedTransfer](b)
		b.at(m.FinalInterestRateTS.Add(c.change))
		b.tick()
		b.setRate(b.accounts[key(seller)], -3)
		b.pass(time.Hour)
		b.take()
		b.hear(finalizing(p, 10))
		if got := one[*smp.FinalizedTransfer](b); got.StatusCode != c.want {
			t.Errorf("the rate changes at %v: %q, want %q", c.change, got.StatusCode, c.want)
		}
		b.wantSound()
	}
}

func TestAccountTransfersOfACommit(t *testing.T) {
	t.Parallel()
	settings := prompt()
	settings.Timing.Wait = 2 * time.Second
	b := setup(t, settings, 1)
	b.root(RootConfig{})
	b.fund(seller, 5000)
	b.fund(collector, 0)
	b.hear(b.asking(seller, collector, 1000, 1000))
	b.pass(2 * time.Second)
	p := one[*smp.PreparedTransfer](b)
	b.hear(finalizing(p, 900))
	b.pass(4 * time.Second)
	var finalized *smp.FinalizedTransfer
	var out, in *smp.AccountTransfer
	for _, m := range b.take() {
		switch m := m.(type) {
		case *smp.FinalizedTransfer:
			finalized = m
		case *smp.AccountTransfer:
			if m.AcquiredAmount < 0 {
				out = m
			} else {
				in = m
			}
		}
	}
	want := smp.AccountTransfer{
		DebtorID: debtorID, CreditorID: seller, CreationDate: smp.DateOf(start), TransferNumber: 2,
		CoordinatorType: "agent", Sender: "2203318223009", Recipient: "2199023255557", AcquiredAmount: -900,
		TransferNoteFormat: "x", TransferNote: "note", CommittedAt: finalized.TS, Principal: 4100,
		PreviousTransferNumber: 1, TS: finalized.TS,
	}
	if *out != want {
		t.Errorf("of the debit:\n%+v, want\n%+v", *out, want)
	}
	want.CreditorID, want.AcquiredAmount, want.Principal, want.TransferNumber, want.PreviousTransferNumber = collector, 900, 900, 1, 0
	want.TS = in.TS
	if *in != want || !in.TS.After(out.TS) {
		t.Errorf("of the credit:\n%+v, want\n%+v", *in, want)
	}
	b.wantSound()
}

// Debits of one batch do not see each other; credits add up.
func TestPrincipalsOfABatch(t *testing.T) {
	t.Parallel()
	settings := prompt()
	settings.Timing.Wait = time.Second
	b := setup(t, settings, 1)
	b.root(RootConfig{})
	b.fund(seller, 5000)
	b.fund(collector, 0)
	for range 3 {
		b.hear(b.asking(seller, collector, 1000, 1000))
	}
	b.pass(time.Second)
	for i, p := range only[*smp.PreparedTransfer](b) {
		b.queue(finalizing(p, int64(100*(i+1))))
	}
	b.pass(5 * time.Second)
	debits, credits := int64(0), int64(0)
	for _, m := range only[*smp.AccountTransfer](b) {
		if m.AcquiredAmount < 0 {
			debits++
			if m.Principal != 5000+m.AcquiredAmount {
				t.Errorf("a debit of %d tells of a principal of %d", m.AcquiredAmount, m.Principal)
			}
		} else {
			credits += m.AcquiredAmount
			if m.Principal != credits {
				t.Errorf("a credit of %d tells of a principal of %d, want %d", m.AcquiredAmount, m.Principal, credits)
			}
		}
	}
	if debits != 3 || credits != 600 || b.holding(seller).Principal != 4400 {
		t.Errorf("%d debits, credits of %d, the seller has %d", debits, credits, b.holding(seller).Principal)
	}
	b.wantSound()
}

func TestNegligibleTransfers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind       string
		negligible float64
		told       bool
	}{
		{"direct", 99, true}, {"direct", 100, false}, {"direct", 1e30, false}, {"agent", 1e30, true},
	} {
		b := opened(t, prompt())
		b.pass(time.Second)
		b.configure(collector, c.negligible, 0)
		m := b.asking(seller, collector, 100, 100)
		m.CoordinatorType = c.kind
		b.hear(m)
		p := one[*smp.PreparedTransfer](b)
		b.hear(finalizing(p, 100))
		told := false
		for _, m := range only[*smp.AccountTransfer](b) {
			told = told || m.CreditorID == collector
		}
		s := b.Account(key(collector))
		if told != c.told || s.Holding.Principal != 100 || (s.Number == 1) != c.told {
			t.Errorf("%+v: told: %v, principal %d, number %d", c, told, s.Holding.Principal, s.Number)
		}
		b.wantSound()
	}
}

func TestFreedoms(t *testing.T) {
	t.Parallel()
	t.Run("account IDs", func(t *testing.T) {
		t.Parallel()
		settings := prompt()
		settings.Traits.OpaqueAccountIDs = true
		b := opened(t, settings)
		if id := b.AccountID(seller); id == strconv.FormatUint(uint64(seller), 10) || len(id) > 100 {
			t.Errorf("the account ID is %q", id)
		}
		for _, creditor := range []swpt.CreditorID{seller, -1, 1, collector} {
			if got, ok := b.creditorOf(b.AccountID(creditor)); !ok || got != creditor {
				t.Errorf("the account ID of %d belongs to %d, %v", creditor, got, ok)
			}
		}
		b.hear(finalizing(b.prepared(seller, collector, 10, 10), 10))
		if h := b.holding(collector); h.Principal != 10 {
			t.Errorf("%d have come", h.Principal)
		}
		m := b.asking(seller, collector, 10, 10)
		m.Recipient = strconv.FormatUint(uint64(collector), 10)
		b.take()
		b.hear(m)
		if r := one[*smp.RejectedTransfer](b); r.StatusCode != recipientIsUnreachable {
			t.Errorf("a number as an account ID: %q", r.StatusCode)
		}
	})
	t.Run("numbers", func(t *testing.T) {
		t.Parallel()
		settings := prompt()
		settings.Traits = Traits{RandomIDs: true, NumberStep: 1 << 40}
		b := opened(t, settings)
		seen := make(map[int64]bool)
		negative := 0
		for range 100 {
			p := b.prepared(seller, collector, 1, 1)
			if p.TransferID < 0 {
				negative++
			}
			if seen[p.TransferID] {
				t.Fatal("a transfer ID is used again")
			}
			seen[p.TransferID] = true
			b.hear(finalizing(p, 1))
		}
		if s := b.Account(key(seller)); s.Number < 1<<40 {
			t.Errorf("after a hundred transfers, the number is %d", s.Number)
		}
		if !seen[0] || negative < 20 || negative > 80 {
			t.Errorf("%d of a hundred transfer IDs are negative, and 0 among them: %v", negative, seen[0])
		}
		if err := b.Remove(key(seller)); err != nil {
			t.Fatal(err)
		}
		b.fund(seller, 10)
		if p := b.prepared(seller, collector, 1, 1); seen[p.TransferID] {
			t.Errorf("transfer ID %d is used again, by another account of the creditor", p.TransferID)
		}
		b.wantSound()
	})
	t.Run("recipients", func(t *testing.T) {
		t.Parallel()
		for existence, want := range map[Existence]string{Unchecked: "OK", AtPrepare: "", AtCommit: recipientIsUnreachable} {
			b := opened(t, prompt())
			b.SetFreedoms(Freedoms{Recipients: existence})
			b.take()
			b.hear(b.asking(seller, 0x20100009999, 10, 10))
			answer := b.take()[0]
			if r, rejected := answer.(*smp.RejectedTransfer); rejected {
				if want != "" || r.StatusCode != recipientIsUnreachable {
					t.Errorf("%v: rejected with %q", existence, r.StatusCode)
				}
				continue
			}
			b.hear(finalizing(answer.(*smp.PreparedTransfer), 10))
			if f := one[*smp.FinalizedTransfer](b); f.StatusCode != want {
				t.Errorf("%v: %q, want %q", existence, f.StatusCode, want)
			}
			b.wantSound()
		}
	})
	t.Run("names come late", func(t *testing.T) {
		t.Parallel()
		b := setup(t, prompt(), 1)
		b.SetFreedoms(Freedoms{UnnamedAtFirst: 1, SkipUpdate: 0.5, ExtraHeartbeat: 0.5})
		b.Begin()
		b.root(RootConfig{Rate: 1})
		b.configure(collector, 1e30, 0)
		for range 5 {
			b.pass(time.Hour)
		}
		updates := only[*smp.AccountUpdate](b)
		last := updates[len(updates)-1]
		if last.AccountID != b.AccountID(collector) || last.InterestRate != 1 {
			t.Errorf("the last update is %+v", last)
		}
		b.wantSound()
	})
	t.Run("notes", func(t *testing.T) {
		t.Parallel()
		settings := prompt()
		settings.TransferNoteMaxBytes = 80
		b := opened(t, settings)
		for length, want := range map[int]string{80: ok, 81: transferNoteIsTooLong} {
			m := finalizing(b.prepared(seller, collector, 10, 10), 10)
			m.TransferNote = strings.Repeat("x", length)
			b.hear(m)
			if f := one[*smp.FinalizedTransfer](b); f.StatusCode != want || (f.CommittedAmount == 10) != (want == ok) {
				t.Errorf("a note of %d bytes: %q, committed amount %d", length, f.StatusCode, f.CommittedAmount)
			}
		}
		b.wantSound()
	})
	t.Run("failures that pass", func(t *testing.T) {
		t.Parallel()
		b := opened(t, prompt())
		p := b.prepared(seller, collector, 10, 10)
		b.SetFreedoms(Freedoms{FailCommit: 1})
		b.hear(finalizing(p, 10))
		if f := one[*smp.FinalizedTransfer](b); f.CommittedAmount != 0 || f.StatusCode != recipientIsUnreachable {
			t.Errorf("finalised with %+v", f)
		}
		b.SetFreedoms(Freedoms{FailCommit: 1, RejectRecipient: 1})
		b.hear(finalizing(b.prepared(seller, collector, 10, 10), 10))
		if f := one[*smp.FinalizedTransfer](b); f.CommittedAmount != 10 {
			t.Errorf("tried again, it is finalised with %+v", f)
		}
		b.hear(b.asking(seller, buyer, 10, 10))
		if r := one[*smp.RejectedTransfer](b); r.StatusCode != recipientIsUnreachable {
			t.Errorf("to somebody else, it is rejected with %q", r.StatusCode)
		}
		direct := b.asking(collector, seller, 10, 10)
		direct.CoordinatorType = "direct"
		b.hear(direct)
		b.hear(finalizing(one[*smp.PreparedTransfer](b), 10))
		if f := one[*smp.FinalizedTransfer](b); f.CommittedAmount != 10 {
			t.Errorf("a payment between customers is finalised with %+v", f)
		}
		b.hear(finalizing(b.prepared(seller, collector, 10, 10), 0))
		if f := one[*smp.FinalizedTransfer](b); f.StatusCode != ok {
			t.Errorf("dismissed with %+v", f)
		}
		b.wantSound()
	})
	t.Run("failures", func(t *testing.T) {
		t.Parallel()
		b := opened(t, prompt())
		p := b.prepared(seller, collector, 10, 10)
		b.SetFreedoms(Freedoms{FailForGood: 1})
		b.hear(finalizing(p, 10))
		if f := one[*smp.FinalizedTransfer](b); f.CommittedAmount != 0 || f.StatusCode == "OK" {
			t.Errorf("finalised with %+v", f)
		}
		b.hear(b.asking(seller, collector, 10, 10))
		one[*smp.RejectedTransfer](b)
		b.SetFreedoms(Freedoms{RejectRecipient: 1})
		b.hear(b.asking(seller, collector, 10, 10))
		if r := one[*smp.RejectedTransfer](b); r.StatusCode != recipientIsUnreachable {
			t.Errorf("rejected with %q", r.StatusCode)
		}
		direct := b.asking(seller, collector, 10, 10)
		direct.CoordinatorType = "direct"
		b.hear(direct)
		one[*smp.PreparedTransfer](b)
		b.wantSound()
	})
}
