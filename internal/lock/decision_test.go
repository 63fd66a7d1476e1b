package lock

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	day = 24 * time.Hour

	creditor  swpt.CreditorID = 123
	debtor    swpt.DebtorID   = 666
	collector swpt.CreditorID = 1 << 40
	other     swpt.CreditorID = 1<<40 + 1
	turn      int32           = 70_000 // more than 16 bits
	requestID int64           = 77
	transfer  int64           = 9
)

var (
	began    = time.Date(2026, 3, 10, 6, 45, 0, 123456000, time.UTC)
	now      = began.Add(2 * time.Hour)
	deadline = began.Add(30 * day)
	created  = smp.DateOf(began) - 100
)

// lockIn returns a lock in a state, over an amount, of a creditor and a collector.
func lockIn(s state, amount int64, change ...func(*workerdb.AccountLock)) *workerdb.AccountLock {
	lock := &workerdb.AccountLock{
		CreditorID: creditor, DebtorID: debtor, TurnID: turn, CollectorID: collector, InitiatedAt: began,
		CoordinatorRequestID: requestID, Amount: amount,
	}
	if s >= prepared {
		lock.TransferID = new(transfer)
	}
	if s >= settled {
		lock.FinalizedAt = new(began.Add(time.Hour))
		lock.HasBeenRevised = true
	}
	if s >= released {
		lock.ReleasedAt = new(began.Add(time.Hour + time.Minute))
		lock.AccountCreationDate, lock.AccountLastTransferNumber = new(created.Time()), new(int64(18))
	}
	for _, c := range change {
		c(lock)
	}
	return lock
}

func self(lock *workerdb.AccountLock) {
	lock.CollectorID = lock.CreditorID
	if lock.TransferID != nil {
		lock.TransferID = new(int64(0))
	}
}

func revised(lock *workerdb.AccountLock) { lock.HasBeenRevised = true }

func lockedBy(id swpt.CreditorID) func(*workerdb.AccountLock) {
	return func(lock *workerdb.AccountLock) { lock.CollectorID = id }
}

// describe tells everything about a decision in a line: what is deleted, stored, sent, and reported.
func describe(before *workerdb.AccountLock, d decision) string {
	var parts []string
	switch d.lock {
	case nil:
		parts = append(parts, "delete "+string(d.event))
	case before:
		parts = append(parts, "keep")
		if d.event != "" {
			parts = append(parts, "BUT "+string(d.event))
		}
	default:
		parts = append(parts, describeLock(d.lock), string(d.event))
	}
	for _, m := range d.messages {
		parts = append(parts, describeMessage(m))
	}
	if d.anomaly != nil {
		parts = append(parts, "! "+string(d.anomaly.kind))
	}
	return strings.Join(parts, "; ")
}

func describeLock(lock *workerdb.AccountLock) string {
	parts := []string{[]string{"initiated", "prepared", "settled", "released"}[stateOf(lock)], strconv.FormatInt(lock.Amount, 10)}
	if lock.TransferID != nil {
		parts = append(parts, fmt.Sprint("by ", *lock.TransferID))
	}
	if lock.HasBeenRevised {
		parts = append(parts, "revised")
	}
	if lock.ReleasedAt != nil {
		at := fmt.Sprint(int(smp.DateOf(*lock.AccountCreationDate)-created), "/", *lock.AccountLastTransferNumber)
		if lock.AccountCreationDate.Equal(time.Unix(0, 0)) {
			at = fmt.Sprint("epoch/", *lock.AccountLastTransferNumber)
		}
		parts = append(parts, at)
	}
	return strings.Join(parts, " ")
}

func describeMessage(m smp.Outgoing) string {
	switch m := m.(type) {
	case *smp.FinalizeTransfer:
		if !m.TS.Equal(now) || m.CoordinatorType != "agent" {
			return fmt.Sprintf("strange %+v", m)
		}
		verb := "dismiss"
		if m.CommittedAmount > 0 {
			verb = fmt.Sprint("commit ", m.CommittedAmount)
		}
		text := fmt.Sprintf("%s %d of %d/%d", verb, m.TransferID, m.CreditorID, m.DebtorID)
		if m.CoordinatorID != int64(creditor) || m.CoordinatorRequestID != requestID {
			text += fmt.Sprintf(" for %d/%d", m.CoordinatorID, m.CoordinatorRequestID)
		}
		if m.TransferNoteFormat != "" || m.TransferNote != "" {
			text += " " + m.TransferNoteFormat + " " + strings.ReplaceAll(m.TransferNote, "\n", "|")
		}
		return text
	case *smp.CollectingFailed:
		return fmt.Sprintf("failed %d/%d/%d/%d", m.CollectorID, m.TurnID, m.DebtorID, m.CreditorID)
	default:
		return fmt.Sprintf("unexpected %T", m)
	}
}

const (
	dismissed = "dismiss 9 of 123/666"
	note      = " 9 of 123/666 -cXchge Trading session: 70000|Buyer: 10000000000|Seller: 7b|"
	failed    = "failed 1099511627776/70000/666/123"
)

// check compares a decision with its description. It also makes sure that the lock that was given has not been touched.
func check(t *testing.T, name string, lock *workerdb.AccountLock, decide func() decision, want string) {
	t.Helper()
	before := *lock
	d := decide()
	if got := describe(lock, d); got != want {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
	if *lock != before {
		t.Errorf("%s: the lock has been changed in place", name)
	}
	if d.lock != nil && d.lock != lock {
		mustBeTheSame(t, name, lock, d.lock)
	}
	for _, m := range d.messages {
		if err := smp.Validate(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// mustBeTheSame checks what never changes while a lock lasts, and that instants that have been set are kept.
func mustBeTheSame(t *testing.T, name string, before, after *workerdb.AccountLock) {
	t.Helper()
	if before.CreditorID != after.CreditorID || before.DebtorID != after.DebtorID || before.TurnID != after.TurnID ||
		before.CollectorID != after.CollectorID || before.CoordinatorRequestID != after.CoordinatorRequestID ||
		!before.InitiatedAt.Equal(after.InitiatedAt) {
		t.Errorf("%s: what identifies the lock has changed: %+v", name, after)
	}
	if before.TransferID != nil && *before.TransferID != *after.TransferID {
		t.Errorf("%s: the transfer has changed", name)
	}
	for _, at := range []struct{ before, after *time.Time }{
		{before.FinalizedAt, after.FinalizedAt}, {before.ReleasedAt, after.ReleasedAt},
	} {
		switch {
		case at.before != nil && !at.after.Equal(*at.before):
			t.Errorf("%s: an instant was %v, and is %v", name, at.before, at.after)
		case at.before == nil && at.after != nil && !at.after.Equal(now):
			t.Errorf("%s: an instant is %v, not now", name, at.after)
		}
	}
}

func preparedTransfer(change ...func(*smp.PreparedTransfer)) *smp.PreparedTransfer {
	m := &smp.PreparedTransfer{
		DebtorID: debtor, CreditorID: creditor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
		CoordinatorRequestID: requestID, TransferID: transfer, LockedAmount: 2000, Recipient: "x",
		PreparedAt: now, Deadline: deadline, FinalInterestRateTS: endless, DemurrageRate: -50, TS: now,
	}
	for _, c := range change {
		c(m)
	}
	return m
}

// Section 2.3, the table about PreparedTransfer.
func TestAnswerPrepared(t *testing.T) {
	t.Parallel()
	const unfit = "delete unfit; " + dismissed
	again := func(m *smp.PreparedTransfer) { m.TransferID = 10 }
	const dismissedAgain = "keep; dismiss 10 of 123/666"
	for _, c := range []struct {
		name   string
		lock   *workerdb.AccountLock
		change func(*smp.PreparedTransfer)
		want   string
	}{
		{
			"other debtor", lockIn(initiated, -1000), func(m *smp.PreparedTransfer) { m.DebtorID = 667 },
			"keep; dismiss 9 of 123/667; ! other_account",
		},
		{
			"other creditor", lockIn(prepared, -1000), func(m *smp.PreparedTransfer) { m.CreditorID = 124 },
			"keep; dismiss 9 of 124/666; ! other_account",
		},
		{
			"other debtor, settled", lockIn(settled, -1000), func(m *smp.PreparedTransfer) { m.DebtorID = 667 },
			"keep; dismiss 9 of 123/667; ! other_account",
		},
		{
			"deadline too early", lockIn(initiated, -1000),
			func(m *smp.PreparedTransfer) { m.Deadline = deadline.Add(-time.Microsecond) }, unfit,
		},
		{
			"deadline too early, buyer", lockIn(initiated, 1000),
			func(m *smp.PreparedTransfer) { m.Deadline = deadline.Add(-time.Microsecond) }, unfit,
		},
		{
			"rate too low", lockIn(initiated, -1000), func(m *smp.PreparedTransfer) { m.DemurrageRate = -50.0000001 },
			unfit,
		},
		{"at the limits", lockIn(initiated, -1000), nil, "prepared -1000 by 9; prepared"},
		{
			"longer, and without demurrage", lockIn(initiated, -3000),
			func(m *smp.PreparedTransfer) { m.Deadline, m.DemurrageRate = deadline.Add(day), 0 },
			"prepared -2000 by 9; prepared",
		},
		{
			"nothing locked", lockIn(initiated, -1000), func(m *smp.PreparedTransfer) { m.LockedAmount = 0 },
			"prepared 0 by 9; prepared",
		},
		{
			"nothing to sell", lockIn(initiated, 0), nil,
			"prepared 0 by 9; prepared",
		},
		{
			"buyer", lockIn(initiated, 1000), func(m *smp.PreparedTransfer) { m.LockedAmount = 0 },
			"prepared 1000 by 9; prepared",
		},
		{"reminder", lockIn(prepared, -1000), nil, "keep"},
		{"reminder after revision", lockIn(prepared, 1000, revised), nil, "keep"},
		{
			"reminder on bad terms", lockIn(prepared, -1000), func(m *smp.PreparedTransfer) { m.DemurrageRate = -60 },
			"keep",
		},
		{"second transfer", lockIn(prepared, -1000), again, dismissedAgain},
		{"second transfer, buyer", lockIn(prepared, 1000), again, dismissedAgain},
		{"commit missed", lockIn(settled, -1000), nil, "keep; commit 1000" + note},
		{"commit missed, released", lockIn(released, -1000), nil, "keep; commit 1000" + note},
		{"second transfer, settled", lockIn(settled, -1000), again, dismissedAgain},
		{"second transfer, released", lockIn(released, -1000), again, dismissedAgain},
		{"dismissal missed", lockIn(released, 1000), nil, "keep; " + dismissed},
		{"second transfer, released buyer", lockIn(released, 1000), again, dismissedAgain},
		{"zero amount, released", lockIn(released, 0), nil, "keep; " + dismissed},
	} {
		m := preparedTransfer()
		if c.change != nil {
			c.change(m)
		}
		check(t, c.name, c.lock, func() decision { return answerPrepared(c.lock, m, deadline, -50, now) }, c.want)
	}
}

// Section 5, examples 6 and 7, and numbers that floating point cannot hold.
func TestSecured(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount, locked int64
		rate           float64
		want           int64
	}{
		{-30000, 31758, -50, -30000},
		{-30000, 20000, -50, -18893},
		{-30000, 10000, -49, -9461},
		{-30000, 1059, -50, -1000},
		{-math.MaxInt64, math.MaxInt64, 0, -math.MaxInt64},
		{-math.MaxInt64, 1<<53 + 3, 0, -(1<<53 + 3)},
		{-math.MaxInt64, math.MaxInt64 - 1, 0, -(math.MaxInt64 - 1)},
		{-5, math.MaxInt64, -100, 0},
		{-5, math.MaxInt64, -99.99995, 0},
		{0, 1000, 0, 0},
		{7, 0, -50, 7},
	} {
		lock := lockIn(initiated, c.amount)
		m := preparedTransfer(func(m *smp.PreparedTransfer) { m.LockedAmount, m.DemurrageRate = c.locked, c.rate })
		if got := secured(lock, m, deadline); got != c.want {
			t.Errorf("secured(%d of %d at %v) = %d, want %d", c.locked, c.amount, c.rate, got, c.want)
		}
	}
}

// A turn without a collection deadline never ends.
func TestNoCollectionDeadline(t *testing.T) {
	t.Parallel()
	if got := orEndless(nil); !got.Equal(endless) {
		t.Errorf("the deadline is %v", got)
	}
	if got := orEndless(&deadline); !got.Equal(deadline) {
		t.Errorf("the deadline is %v", got)
	}
	lock := lockIn(initiated, -1000)
	for name, c := range map[string]struct {
		until time.Time
		rate  float64
		want  string
	}{
		"an earlier deadline":         {deadline.Add(1000 * day), -50, "delete unfit; " + dismissed},
		"endless, without demurrage":  {endless, 0, "prepared -1000 by 9; prepared"},
		"endless, but of no duration": {endless, -50, "prepared 0 by 9; prepared"},
	} {
		m := preparedTransfer(func(m *smp.PreparedTransfer) { m.Deadline, m.DemurrageRate = c.until, c.rate })
		check(t, name, lock, func() decision { return answerPrepared(lock, m, orEndless(nil), -50, now) }, c.want)
	}
	if _, _, dropped := bounds(-1000, turnTerms{1, orEndless(nil)}, -99, now); dropped != dropWorthless {
		t.Errorf("dropped is %q", dropped)
	}
	if least, most, dropped := bounds(-1000, turnTerms{1, orEndless(nil)}, 0, now); least != 1 || most != 1000 || dropped != "" {
		t.Errorf("bounds are %d, %d, %q", least, most, dropped)
	}
}

// Section 2.3, RejectedTransfer.
func TestAnswerRejected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		lock   *workerdb.AccountLock
		change func(*smp.RejectedTransfer)
		want   string
	}{
		{"seller", lockIn(initiated, -1000), nil, "delete rejected"},
		{"buyer", lockIn(initiated, 1000), nil, "delete rejected"},
		{"other debtor", lockIn(initiated, -1000), func(m *smp.RejectedTransfer) { m.DebtorID++ }, "keep"},
		{"other creditor", lockIn(initiated, -1000), func(m *smp.RejectedTransfer) { m.CreditorID++ }, "keep"},
		{"prepared", lockIn(prepared, -1000), nil, "keep"},
		{"self-lock", lockIn(prepared, -1000, self), nil, "keep"},
		{"settled", lockIn(settled, -1000), nil, "keep"},
		{"released", lockIn(released, -1000), nil, "keep"},
	} {
		m := &smp.RejectedTransfer{
			DebtorID: debtor, CreditorID: creditor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
			CoordinatorRequestID: requestID, StatusCode: "INSUFFICIENT_AVAILABLE_AMOUNT", TS: now,
		}
		if c.change != nil {
			c.change(m)
		}
		check(t, c.name, c.lock, func() decision { return answerRejected(c.lock, m, now) }, c.want)
	}
}

// W-8: only the failure of the commit of a settled lock matters.
func TestAnswerFinalized(t *testing.T) {
	t.Parallel()
	const fails = "delete failed; " + failed + "; ! failed_commit"
	amount := func(n int64) func(*smp.FinalizedTransfer) {
		return func(m *smp.FinalizedTransfer) { m.CommittedAmount, m.StatusCode = n, "OK" }
	}
	for _, c := range []struct {
		name   string
		lock   *workerdb.AccountLock
		change func(*smp.FinalizedTransfer)
		want   string
	}{
		{"failed", lockIn(settled, -1000), nil, fails},
		{"dismissed", lockIn(settled, -1000), amount(0), fails},
		{"committed", lockIn(settled, -1000), amount(1000), "keep"},
		{"committed in part", lockIn(settled, -1000), amount(999), "keep; ! unexpected_committed_amount"},
		{"committed too much", lockIn(settled, -1000), amount(1001), "keep; ! unexpected_committed_amount"},
		{"other transfer", lockIn(settled, -1000), func(m *smp.FinalizedTransfer) { m.TransferID++ }, "keep"},
		{"other debtor", lockIn(settled, -1000), func(m *smp.FinalizedTransfer) { m.DebtorID++ }, "keep"},
		{"other creditor", lockIn(settled, -1000), func(m *smp.FinalizedTransfer) { m.CreditorID++ }, "keep"},
		{"initiated", lockIn(initiated, -1000), nil, "keep"},
		{"prepared", lockIn(prepared, -1000), nil, "keep"},
		{"released seller", lockIn(released, -1000), nil, "keep"},
		{"released buyer", lockIn(released, 1000), nil, "keep"},
	} {
		m := &smp.FinalizedTransfer{
			DebtorID: debtor, CreditorID: creditor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
			CoordinatorRequestID: requestID, TransferID: transfer, StatusCode: "TIMEOUT", PreparedAt: now, TS: now,
		}
		if c.change != nil {
			c.change(m)
		}
		check(t, c.name, c.lock, func() decision { return answerFinalized(c.lock, m, now) }, c.want)
	}
}

// Section 2.4, and W-18.
func TestRevise(t *testing.T) {
	t.Parallel()
	const (
		excess   = "; ! participation_exceeds_lock"
		mismatch = "; ! participation_mismatch"
	)
	for _, c := range []struct {
		name     string
		lock     *workerdb.AccountLock
		turn     int32
		amount   int64 // zero: no participation
		collects swpt.CreditorID
		want     string
	}{
		{"other turn", lockIn(prepared, -1000), turn + 1, -600, collector, "keep"},
		{"settled already", lockIn(settled, -600), turn, -600, collector, "keep"},
		{"released already", lockIn(released, 600), turn, 600, collector, "keep"},
		{"revised already", lockIn(prepared, 600, revised), turn, 600, collector, "keep"},
		{"revised already, and no participation", lockIn(prepared, 600, revised), turn, 0, 0, "keep"},

		{"no participation", lockIn(prepared, -1000), turn, 0, 0, "delete dismissed; " + dismissed},
		{"no participation, buyer", lockIn(prepared, 1000), turn, 0, 0, "delete dismissed; " + dismissed},
		{"no participation, nothing to sell", lockIn(prepared, 0), turn, 0, 0, "delete dismissed; " + dismissed},
		{"no participation, initiated", lockIn(initiated, -1000), turn, 0, 0, "delete dismissed"},
		{"no participation, self-lock", lockIn(prepared, -1000, self), turn, 0, 0, "delete dismissed"},

		{
			"collector sells", lockIn(prepared, -1000, self), turn, -600, creditor,
			"released -600 by 0 revised epoch/0; released",
		},
		{
			"collector buys", lockIn(prepared, 1000, self), turn, 600, creditor,
			"released 600 by 0 revised epoch/0; released",
		},
		{
			"collector buys, by way of itself after all", lockIn(prepared, 1000), turn, 600, creditor,
			"released 600 by 9 revised epoch/0; released; " + dismissed,
		},
		{
			"collector buys, by way of another one after all", lockIn(prepared, 1000, self), turn, 600, collector,
			"prepared 600 by 0 revised; kept",
		},
		{
			"collector sells too much", lockIn(prepared, -1000, self), turn, -1001, creditor,
			"released -1000 by 0 revised epoch/0; released" + excess,
		},

		{"seller", lockIn(prepared, -1000), turn, -600, collector, "settled -600 by 9 revised; settled; commit 600" + note},
		{"seller of all", lockIn(prepared, -1000), turn, -1000, collector, "settled -1000 by 9 revised; settled; commit 1000" + note},
		{"seller of one", lockIn(prepared, -1), turn, -1, collector, "settled -1 by 9 revised; settled; commit 1" + note},
		{
			"seller of too much", lockIn(prepared, -1000), turn, -1001, collector,
			"settled -1000 by 9 revised; settled; commit 1000" + note + excess,
		},
		{
			"seller of far too much", lockIn(prepared, -1000), turn, math.MinInt64, collector,
			"settled -1000 by 9 revised; settled; commit 1000" + note + excess,
		},
		{"buyer", lockIn(prepared, 1000), turn, 600, collector, "prepared 600 by 9 revised; kept"},
		{"buyer, of another collector", lockIn(prepared, 1000), turn, 600, other, "prepared 600 by 9 revised; kept"},
		{"buyer of too much", lockIn(prepared, 1000), turn, 1001, collector, "prepared 1000 by 9 revised; kept" + excess},

		{
			"seller, not prepared", lockIn(initiated, -1000), turn, -600, collector,
			"delete refused; " + failed + mismatch,
		},
		{"buyer, not prepared", lockIn(initiated, 1000), turn, 600, collector, "delete refused" + mismatch},
		{
			"buyer must sell", lockIn(prepared, 1000), turn, -600, collector,
			"delete refused; " + dismissed + "; " + failed + mismatch,
		},
		{"seller must buy", lockIn(prepared, -1000), turn, 600, collector, "delete refused; " + dismissed + mismatch},
		{
			"nothing to sell", lockIn(prepared, 0), turn, -600, collector,
			"delete refused; " + dismissed + "; " + failed + mismatch,
		},
		{
			"seller, to another collector", lockIn(prepared, -1000, lockedBy(other)), turn, -600, collector,
			"delete refused; " + dismissed + "; " + failed + mismatch,
		},
		{
			"collector sells, to another one", lockIn(prepared, -1000, self), turn, -600, collector,
			"delete refused; " + failed + mismatch,
		},
		{
			"collector sells to itself what is secured for another one", lockIn(prepared, -1000), turn, -600, creditor,
			"delete refused; " + dismissed + mismatch,
		},
	} {
		var p *workerdb.CreditorParticipation
		if c.amount != 0 {
			p = &workerdb.CreditorParticipation{
				CreditorID: creditor, DebtorID: debtor, TurnID: c.turn, Amount: c.amount, CollectorID: c.collects,
			}
		}
		check(t, c.name, c.lock, func() decision { return revise(c.lock, c.turn, p, now) }, c.want)
	}
}

func payment(amount int64) Payment {
	return Payment{
		Transfer: &smp.AccountTransfer{
			DebtorID: debtor, CreditorID: creditor, CreationDate: created + 1, TransferNumber: 19, CoordinatorType: "agent",
			AcquiredAmount: amount, TS: now,
		},
		Note: smp.Note{TurnID: turn},
	}
}

// Section 2.5, "release seller".
func TestReleaseSeller(t *testing.T) {
	t.Parallel()
	const paid = "released -600 by 9 revised 1/19; released"
	for _, c := range []struct {
		name   string
		lock   *workerdb.AccountLock
		amount int64
		turn   int32
		want   string
	}{
		{"settled", lockIn(settled, -600), -600, turn, paid},
		{"released already", lockIn(released, -600), -600, turn, "keep"},
		{"prepared", lockIn(prepared, -600), -600, turn, "keep"},
		{"initiated", lockIn(initiated, -600), -600, turn, "keep"},
		{"other turn", lockIn(settled, -600), -600, turn - 1, "keep"},
		{"less", lockIn(settled, -600), -599, turn, "keep; ! unexpected_paid_amount"},
		{"more", lockIn(settled, -600), -601, turn, "keep; ! unexpected_paid_amount"},
		{"less, released already", lockIn(released, -600), -599, turn, "keep"},
	} {
		p := payment(c.amount)
		p.Note.TurnID = c.turn
		after := accountState{p.Transfer.CreationDate, p.Transfer.TransferNumber}
		check(t, c.name, c.lock, func() decision { return releaseSeller(c.lock, p, after, now) }, c.want)
	}
}

// Section 2.5, "release buyer".
func TestReleaseBuyer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		lock   *workerdb.AccountLock
		amount int64
		turn   int32
		want   string
	}{
		{"kept", lockIn(prepared, 600, revised), 599, turn, "released 600 by 9 revised 1/19; released; " + dismissed},
		{"not revised yet", lockIn(prepared, 600), 599, turn, "released 600 by 9 1/19; released; " + dismissed},
		{"any amount", lockIn(prepared, 600), math.MaxInt64, turn, "released 600 by 9 1/19; released; " + dismissed},
		{"self-lock", lockIn(prepared, 600, self, revised), 599, turn, "released 600 by 0 revised 1/19; released"},
		{"released already", lockIn(released, 600), 599, turn, "keep"},
		{"initiated", lockIn(initiated, 600), 599, turn, "keep"},
		{"other turn", lockIn(prepared, 600), 599, turn + 1, "keep"},
		{"seller", lockIn(prepared, -600), 599, turn, "keep"},
		{"seller who has paid", lockIn(settled, -600), 599, turn, "keep"},
		{"nothing to sell", lockIn(prepared, 0), 599, turn, "keep"},
	} {
		p := payment(c.amount)
		p.Note.TurnID = c.turn
		after := accountState{p.Transfer.CreationDate, p.Transfer.TransferNumber}
		check(t, c.name, c.lock, func() decision { return releaseBuyer(c.lock, p, after, now) }, c.want)
	}
}

// The accounts of collectors do not wait for their ledgers.
func TestStateAfter(t *testing.T) {
	t.Parallel()
	r := &Rules{Settings: Settings{MinCollectorID: collector, MaxCollectorID: other}}
	for id, want := range map[swpt.CreditorID]accountState{
		creditor:      {created + 1, 19},
		collector - 1: {created + 1, 19},
		collector:     {},
		other:         {},
		other + 1:     {created + 1, 19},
	} {
		m := payment(1).Transfer
		m.CreditorID = id
		if got := r.stateAfter(m); got != want {
			t.Errorf("the state of %d is %v, want %v", id, got, want)
		}
	}
}

// W-9: the buyer will not be paid.
func TestAbandon(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lock *workerdb.AccountLock
		turn int32
		want string
	}{
		{"revised", lockIn(prepared, 600, revised), turn, "delete abandoned; " + dismissed},
		{"not revised yet", lockIn(prepared, 600), turn, "delete abandoned; " + dismissed},
		{"self-lock", lockIn(prepared, 600, self), turn, "delete abandoned"},
		{"initiated", lockIn(initiated, 600), turn, "keep"},
		{"released", lockIn(released, 600), turn, "keep"},
		{"other turn", lockIn(prepared, 600), turn - 1, "keep"},
		{"seller", lockIn(prepared, -600), turn, "keep"},
		{"settled seller", lockIn(settled, -600), turn, "keep"},
		{"nothing to sell", lockIn(prepared, 0), turn, "keep"},
	} {
		check(t, c.name, c.lock, func() decision { return abandon(c.lock, c.turn, now) }, c.want)
	}
}

// W-7: what is given up is dismissed, if there is something to dismiss.
func TestDeletion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lock *workerdb.AccountLock
		want string
	}{
		{"initiated", lockIn(initiated, -600), "delete overdue"},
		{"prepared", lockIn(prepared, -600), "delete overdue; " + dismissed},
		{"kept", lockIn(prepared, 600, revised), "delete overdue; " + dismissed},
		{"self-lock", lockIn(prepared, -600, self), "delete overdue"},
	} {
		check(t, c.name, c.lock, func() decision { return deletion(c.lock, eventOverdue, now) }, c.want)
	}
}

// Section 2.1: a lock is in force until the ledger has caught up.
func TestInForce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lock   *workerdb.AccountLock
		date   smp.Date
		number int64
		want   bool
	}{
		{lockIn(initiated, -1), created + 9, 99, true},
		{lockIn(prepared, -1), created + 9, 99, true},
		{lockIn(settled, -1), created + 9, 99, true},
		{lockIn(released, -1), created, 17, true},
		{lockIn(released, -1), created, 18, false},
		{lockIn(released, -1), created, 19, false},
		{lockIn(released, -1), created + 1, 0, false},
		{lockIn(released, -1), created - 1, 99, true},
	} {
		o := &smp.CandidateOffer{AccountCreationDate: c.date, LastTransferNumber: c.number}
		if got := isInForce(c.lock, o); got != c.want {
			t.Errorf("%s in force for %d/%d: %t", describeLock(c.lock), c.date-created, c.number, got)
		}
	}
}

// Section 5, examples 4, 5 and 8, and W-21.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount, minTrade int64
		rate             float64
		at               time.Time
		least, most      int64
		dropped          dropReason
	}{
		{-30000, 1000, -50, began, 1059, 31758, ""},
		{-999, 1000, -50, began, 0, 0, dropTooSmall},
		{-1000, 1000, -50, began, 1059, 1059, ""},
		{-9e18, 1000, -50, began, 1059, math.MaxInt64, ""},
		{-math.MaxInt64, math.MaxInt64, -50, began, math.MaxInt64, math.MaxInt64, ""},
		{-1, 1, 0, began, 1, 1, ""},
		{-30000, 1000, -50, deadline, 1000, 30000, ""},
		{-30000, 1000, -50, deadline.Add(day), 1000, 30000, ""},
		{-30000, 0, 0, began, 0, 30000, ""},
		{-30000, -7, 0, began, 0, 30000, ""},
		{-30000, 1000, -99.99995, began, 0, 0, dropWorthless},
		{-30000, 1000, -100, began, 0, 0, dropWorthless},
		{-30000, 1000, -99, began, 1460, 43792, ""},
	} {
		least, most, dropped := bounds(c.amount, turnTerms{c.minTrade, deadline}, c.rate, c.at)
		if least != c.least || most != c.most || dropped != c.dropped {
			t.Errorf("bounds(%d, %d, %v) = %d, %d, %q; want %d, %d, %q",
				c.amount, c.minTrade, c.rate, least, most, dropped, c.least, c.most, c.dropped)
		}
	}
}

// Section 2.2, step by step.
func TestConsider(t *testing.T) {
	t.Parallel()
	const account = "collector's account"
	ofCurrency := func(ids ...swpt.CreditorID) (collectors []workerdb.ActiveCollector) {
		for _, id := range ids {
			collectors = append(collectors, workerdb.ActiveCollector{DebtorID: debtor, CollectorID: id, AccountID: account})
		}
		return collectors
	}
	one := ofCurrency(collector)
	for _, c := range []struct {
		name       string
		lock       *workerdb.AccountLock
		amount     int64
		collectors []workerdb.ActiveCollector
		want       string
	}{
		{"seller", nil, -30000, one, "initiated -30000 through 1099511627776; prepare 1059 to 31758"},
		{"buyer", nil, 30000, one, "initiated 30000 through 1099511627776; prepare 0 to 0"},
		{"buyer of little", nil, 1, one, "initiated 1 through 1099511627776; prepare 0 to 0"},
		{"locked", lockIn(initiated, 5), -30000, one, "locked"},
		{"locked, and no collector", lockIn(initiated, 5), -30000, nil, "locked"},
		{"ledger is behind", lockIn(released, 5), -30000, one, "locked"},
		{
			"overwrites", lockIn(released, 5, func(l *workerdb.AccountLock) { l.AccountLastTransferNumber = new(int64(17)) }),
			-30000, one, "initiated -30000 through 1099511627776; prepare 1059 to 31758",
		},
		{"no collector", nil, -30000, nil, "no_collector"},
		{"too small", nil, -999, one, "too_small"},
		{"picks the second", nil, 5, ofCurrency(collector, other, other+1), "initiated 5 through 1099511627777; prepare 0 to 0"},
		{"self-lock", nil, -30000, ofCurrency(creditor), "prepared -30000 by 0 through 123"},
		{"self-lock, buyer", nil, 30000, ofCurrency(creditor), "prepared 30000 by 0 through 123"},
		{"self-lock, too small", nil, -999, ofCurrency(creditor), "too_small"},
	} {
		r := &Rules{Settings: Settings{MinDemurrageRate: -50}, IntN: func(n int) int { return n / 2 }}
		o := &smp.CandidateOffer{
			TurnID: turn, DebtorID: debtor, CreditorID: creditor, Amount: c.amount, AccountCreationDate: created,
			LastTransferNumber: 17, TS: now,
		}
		i, dropped := r.consider(c.lock, o, turnTerms{1000, deadline}, c.collectors, began)
		got := string(dropped)
		if i.lock != nil {
			parts := []string{fmt.Sprint(describeLock(i.lock), " through ", i.lock.CollectorID)}
			i.lock.CoordinatorRequestID = requestID
			for _, m := range i.request(began) {
				p := m.(*smp.PrepareTransfer)
				parts = append(parts, fmt.Sprintf("prepare %d to %d", p.MinLockedAmount, p.MaxLockedAmount))
				p.MinLockedAmount, p.MaxLockedAmount = 0, 0
				if want := (smp.PrepareTransfer{
					CreditorID: creditor, DebtorID: debtor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
					CoordinatorRequestID: requestID, Recipient: account,
					FinalInterestRateTS: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), MaxCommitDelay: math.MaxInt32,
					TS: began,
				}); *p != want {
					t.Errorf("%s: the message is %+v, want %+v", c.name, *p, want)
				}
			}
			if l := i.lock; l.CreditorID != creditor || l.DebtorID != debtor || l.TurnID != turn || !l.InitiatedAt.Equal(began) {
				t.Errorf("%s: the lock is %+v", c.name, l)
			}
			got = strings.Join(parts, "; ")
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestIsAccountID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"2199023255557": true, "a b": true, strings.Repeat("x", 100): true, strings.Repeat("x", 101): false, "é": false,
	} {
		if got := isAccountID(text); got != want {
			t.Errorf("isAccountID(%q) = %t", text, got)
		}
	}
}

// M18, and M4 as far as amounts on sale are concerned: whatever is offered, locked, and lost to demurrage, no amount is
// negative or out of range, nothing is sold that has not been offered and locked, and what has been locked for the
// least amount suffices for it.
func TestAmounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		amounts := rapid.OneOf(
			rapid.Int64Range(1, 5000), rapid.Int64Range(1, math.MaxInt64), rapid.Int64Range(math.MaxInt64-5, math.MaxInt64))
		rates := rapid.OneOf(rapid.Float64Range(-99, 0), rapid.SampledFrom([]float64{0, -50, -99}))
		offered, minTrade := amounts.Draw(t, "offered"), rapid.Int64().Draw(t, "minimum")
		minRate, rate := rates.Draw(t, "lowest rate"), rates.Draw(t, "rate")
		at := deadline.Add(time.Duration(rapid.Int64Range(-math.MaxInt64, math.MaxInt64).Draw(t, "time")))

		least, most, dropped := bounds(-offered, turnTerms{minTrade, deadline}, minRate, at)
		if dropped != "" {
			return
		}
		if least < 0 || least > most {
			t.Fatalf("bounds are %d and %d", least, most)
		}
		locked := rapid.Int64Range(least, most).Draw(t, "locked")
		lock := lockIn(initiated, -offered, func(l *workerdb.AccountLock) { l.InitiatedAt = at })
		m := preparedTransfer(func(m *smp.PreparedTransfer) { m.LockedAmount, m.DemurrageRate = locked, rate })
		amount := -secured(lock, m, deadline)
		if amount < 0 || amount > offered || amount > locked {
			t.Fatalf("of %d offered and %d locked, %d is secured", offered, locked, amount)
		}
		const exact = 1 << 50
		if rate >= minRate && minTrade <= exact && locked < exact && amount+1 < minTrade {
			t.Fatalf("of %d locked, %d is secured, less than the %d needed for a trade", locked, amount, minTrade)
		}
	})
}
