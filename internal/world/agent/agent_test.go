package agent_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/journal"
	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

const day = 24 * time.Hour

var (
	start = time.Date(2025, 6, 10, 2, 0, 0, 0, time.UTC)
	today = smp.DateOf(start)
	vera  = journal.Account{Debtor: 8001, Creditor: 0x101000000a1}
	otto  = journal.Account{Debtor: 8001, Creditor: 0x101000000b2}
)

// A bench is an agent on its own, with everything that it says.
type bench struct {
	*agent.Agent
	tb          testing.TB
	line        *timeline.Timeline
	toAuthority []smp.Outgoing
	toService   []smp.Message
}

func setup(tb testing.TB) *bench {
	tb.Helper()
	b := &bench{tb: tb, line: &timeline.Timeline{}}
	b.line.Advance(start)
	b.Agent = agent.New(agent.Realistic(), 0, b.line, rand.New(rand.NewPCG(1, 1)), agent.Links{
		Authority: func(m smp.Outgoing) { b.toAuthority = append(b.toAuthority, m) },
		Service:   func(m smp.Message) { b.toService = append(b.toService, m) },
	})
	b.Begin()
	return b
}

func (b *bench) pass(d time.Duration) { b.line.Advance(b.line.Now().Add(d)) }

// said returns what the service has been told since the last call.
func (b *bench) said() []smp.Message {
	said := b.toService
	b.toService = nil
	return said
}

// asked returns what authorities have been asked for since the last call.
func (b *bench) asked() []smp.Outgoing {
	asked := b.toAuthority
	b.toAuthority = nil
	return asked
}

// wantLedger wants one UpdatedLedger.
func (b *bench) wantLedger(id int64, created smp.Date, accountID string, principal, number int64) {
	b.tb.Helper()
	said := b.said()
	want := smp.UpdatedLedger{
		DebtorID: vera.Debtor, CreditorID: vera.Creditor, UpdateID: id, AccountID: accountID, CreationDate: created,
		Principal: principal, LastTransferNumber: number,
	}
	if len(said) != 1 {
		b.tb.Fatalf("the service is told %v, want %+v", types(said), want)
	}
	got, ok := said[0].(*smp.UpdatedLedger)
	if !ok {
		b.tb.Fatalf("the service is told %T", said[0])
	}
	want.TS = got.TS
	if *got != want {
		b.tb.Fatalf("the service is told %+v, want %+v", *got, want)
	}
}

func types(messages []smp.Message) (names []string) {
	for _, m := range messages {
		names = append(names, m.Type())
	}
	return names
}

func (b *bench) wantSilence() {
	b.tb.Helper()
	if said := b.said(); len(said) > 0 {
		b.tb.Fatalf("the service is told %v, want nothing", types(said))
	}
}

// update returns the state of an account, as an authority tells it.
func update(created smp.Date, seqnum int32, principal, number int64) *smp.AccountUpdate {
	return &smp.AccountUpdate{
		DebtorID: vera.Debtor, CreditorID: vera.Creditor, CreationDate: created, LastChangeTS: start, LastChangeSeqnum: seqnum,
		Principal: principal, AccountID: "v", LastTransferNumber: number, LastTransferCommittedAt: start, TS: start,
	}
}

// transfer returns a transfer with a number, which follows another one.
func transfer(number, previous, principal int64, at time.Time) *smp.AccountTransfer {
	return &smp.AccountTransfer{
		DebtorID: vera.Debtor, CreditorID: vera.Creditor, CreationDate: today, TransferNumber: number,
		PreviousTransferNumber: previous, CoordinatorType: "direct", AcquiredAmount: 1, Principal: principal,
		CommittedAt: at, TS: at,
	}
}

func TestOpening(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Open(vera)
	asked := b.asked()
	if len(asked) != 1 || *asked[0].(*smp.ConfigureAccount) != (smp.ConfigureAccount{
		DebtorID: vera.Debtor, CreditorID: vera.Creditor, TS: start, NegligibleAmount: 1e30,
	}) {
		t.Errorf("the authority is asked %+v", asked)
	}
	b.wantSilence()
	// The first update tells of an empty ledger, whatever it says.
	b.Receive(update(today, 1, 500, 3))
	b.wantLedger(2, today, "v", 0, 0)
	b.Receive(update(today, 1, 500, 3))
	b.Receive(update(today, 0, 400, 2))
	b.wantSilence()
	// Another account ID leaves the figures as they are.
	renamed := update(today, 2, 500, 3)
	renamed.AccountID = "w"
	b.Receive(renamed)
	b.wantLedger(3, today, "w", 0, 0)
	// A later creation date is a new ledger.
	b.Receive(update(today+1, 1, 0, 0))
	b.wantLedger(4, today+1, "v", 0, 0)
	b.Receive(update(today, 9, 9, 9))
	b.wantSilence()
}

func TestWhatCustomersChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.asked()
	b.SetPolicy(vera, agent.Policy{Name: "conservative", MinPrincipal: 5, MaxPrincipal: 9, Peg: &agent.Peg{Debtor: 666, Rate: 2}})
	b.SetPolicy(vera, agent.NoPolicy())
	b.SetNegligible(vera, 500)
	b.ScheduleDeletion(vera)
	said, asked := b.said(), b.asked()
	if got := fmt.Sprint(types(said)); got != "[UpdatedPolicy UpdatedPolicy UpdatedFlags UpdatedFlags]" || len(asked) != 2 {
		t.Fatalf("the service is told %s, the authority %d times", got, len(asked))
	}
	first, second := said[0].(*smp.UpdatedPolicy), said[1].(*smp.UpdatedPolicy)
	if first.UpdateID != 2 || *first.PolicyName != "conservative" || first.MinPrincipal != 5 || first.MaxPrincipal != 9 ||
		*first.PegDebtorID != 666 || *first.PegExchangeRate != 2 {
		t.Errorf("policy: %+v", first)
	}
	if second.UpdateID != 3 || second.PolicyName != nil || second.MinPrincipal != math.MinInt64 ||
		second.MaxPrincipal != math.MaxInt64 || second.PegDebtorID != nil || second.PegExchangeRate != nil {
		t.Errorf("no policy: %+v", second)
	}
	unchanged, flags := said[2].(*smp.UpdatedFlags), said[3].(*smp.UpdatedFlags)
	if unchanged.UpdateID != 2 || unchanged.ConfigFlags != 0 || flags.UpdateID != 3 || flags.ConfigFlags != 1 {
		t.Errorf("flags: %+v, %+v", unchanged, flags)
	}
	small, deletion := asked[0].(*smp.ConfigureAccount), asked[1].(*smp.ConfigureAccount)
	if small.NegligibleAmount != 500 || small.ConfigFlags != 0 || deletion.NegligibleAmount != 1e30 ||
		deletion.ConfigFlags != 1 || !deletion.TS.After(small.TS) || !small.TS.After(start) {
		t.Errorf("configurations: %+v, %+v", small, deletion)
	}
	for _, m := range said {
		if err := smp.Validate(m); err != nil {
			t.Error(err)
		}
	}
}

// A deletion has an ID above all of the account, and below all of a new one.
func TestDeletionAndReturn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(otto)
	b.Open(vera)
	b.Receive(update(today, 1, 0, 0))
	for range 10 {
		b.SetPolicy(vera, agent.NoPolicy())
	}
	b.said()
	b.asked()
	b.Delete(vera)
	b.Delete(vera)
	said := b.said()
	if len(said) != 3 {
		t.Fatalf("the service is told %v", types(said))
	}
	ledger, policy, flags := said[0].(*smp.UpdatedLedger), said[1].(*smp.UpdatedPolicy), said[2].(*smp.UpdatedFlags)
	id := ledger.UpdateID
	if id <= 12 || policy.UpdateID != id || flags.UpdateID != id {
		t.Errorf("the IDs are %d, %d, %d", id, policy.UpdateID, flags.UpdateID)
	}
	if ledger.AccountID != "" || ledger.CreationDate != 0 || ledger.Principal != 0 || ledger.LastTransferNumber != 0 ||
		policy.PolicyName != nil || policy.MinPrincipal != math.MinInt64 || policy.MaxPrincipal != math.MaxInt64 ||
		flags.ConfigFlags != 0 {
		t.Errorf("told: %+v, %+v, %+v", ledger, policy, flags)
	}
	if b.Account(vera).Known {
		t.Error("the account is still known")
	}
	b.Open(vera)
	b.SetPolicy(vera, agent.NoPolicy())
	if again := b.said()[0].(*smp.UpdatedPolicy); again.UpdateID <= id {
		t.Errorf("the ID of the new account is %d, after %d", again.UpdateID, id)
	}
}

func TestStrangersAreDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stranger := update(today, 1, 500, 3)
	stranger.LastConfigTS = start.Add(time.Hour)
	b.Receive(stranger)
	asked := b.asked()
	if len(asked) != 1 {
		t.Fatalf("the authority is asked %d times", len(asked))
	}
	if m := asked[0].(*smp.ConfigureAccount); m.ConfigFlags != 1 || m.NegligibleAmount != 1e30 || !m.TS.After(stranger.LastConfigTS) {
		t.Errorf("the authority is asked %+v", m)
	}
	stranger.ConfigFlags, stranger.NegligibleAmount = 1, 0.99999e30
	b.Receive(stranger)
	if asked := b.asked(); len(asked) != 0 {
		t.Errorf("the authority is asked again: %+v", asked)
	}
	stranger.NegligibleAmount = 0.9999e30
	b.Receive(stranger)
	if asked := b.asked(); len(asked) != 1 {
		t.Error("the authority is not asked, although the amount is too small")
	}
	b.wantSilence()
}

// Rules L1 and L2 of peers.md, section 5.2.
func TestTransfersAreEnteredInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Receive(transfer(1, 0, 100, start)) // before the first update
	b.pass(10 * time.Second)
	b.wantSilence()
	b.Receive(update(today, 5, 0, 0))
	b.wantLedger(2, today, "v", 0, 0)
	b.pass(5 * time.Second)
	b.wantLedger(3, today, "v", 100, 1)

	b.Receive(transfer(40, 30, 400, start))
	b.Receive(transfer(30, 20, 300, start))
	b.Receive(transfer(30, 20, 300, start))
	b.pass(time.Minute)
	b.wantSilence() // 20 is missing
	b.Receive(transfer(20, 1, 200, start))
	b.pass(5 * time.Second)
	b.wantLedger(6, today, "v", 400, 40)
	b.Receive(transfer(20, 1, 200, start))
	b.pass(time.Minute)
	b.wantSilence()
	b.Receive(transfer(41, 40, 500, start)) // what has come again is not in the way
	b.pass(time.Minute)
	b.wantLedger(7, today, "v", 500, 41)
}

// Transfers of an account that has been created again since are not in the way, either.
func TestFormerLivesAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Receive(update(today, 1, 0, 0))
	b.Receive(transfer(3, 2, 300, start))
	b.Receive(update(today+1, 1, 0, 0))
	b.Receive(transfer(4, 3, 300, start))
	b.said()
	first := transfer(1, 0, 100, start)
	first.CreationDate = today + 1
	b.Receive(first)
	b.pass(time.Minute)
	b.wantLedger(4, today+1, "v", 100, 1)
}

func TestOldTransfersAreIgnored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Receive(update(today, 1, 0, 0))
	b.said()
	for _, at := range []time.Time{start.Add(-45*day - time.Second)} {
		b.Receive(transfer(1, 0, 100, at))
		late := transfer(1, 0, 100, start)
		late.CommittedAt = at
		b.Receive(late)
	}
	b.Receive(&smp.AccountTransfer{DebtorID: otto.Debtor, CreditorID: otto.Creditor, TransferNumber: 1})
	b.pass(time.Minute)
	b.wantSilence()
	b.Receive(transfer(1, 0, 100, start.Add(-45*day+time.Minute)))
	b.pass(time.Minute)
	b.wantLedger(3, today, "v", 100, 1)
}

// Nobody waits for a missing transfer for more than 14 days (rules L2 and L3).
func TestGapsEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Receive(update(today, 1, 0, 0))
	b.said()
	b.Receive(transfer(3, 2, 300, start))
	b.Receive(update(today, 2, 300, 3))
	b.pass(14*day - time.Hour)
	b.wantSilence()
	b.pass(10 * time.Hour)
	b.wantLedger(3, today, "v", 300, 3)
}

// If the last transfers are missing, the ledger is as the authority tells (rule L3).
func TestMissingTails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Receive(update(today, 1, 0, 0))
	b.said()
	b.Receive(update(today, 2, 300, 3))
	b.pass(14*day - time.Hour)
	b.wantSilence()
	b.pass(10 * time.Hour)
	b.wantLedger(3, today, "v", 300, 3)
	// The number is adopted silently if the principal stays.
	later := update(today, 3, 300, 7)
	b.Receive(later)
	b.pass(10 * time.Hour)
	b.wantSilence()
	if s := b.Account(vera); s.Number != 7 {
		t.Errorf("the last number is %d, want 7", s.Number)
	}
}

// What is not told singly shows in the next update (rule L4).
func TestSilentChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Open(vera)
	b.Receive(update(today, 1, 0, 0))
	b.Receive(transfer(1, 0, 100, start))
	b.pass(time.Minute)
	b.said()
	b.Receive(update(today, 2, 105, 1))
	b.pass(30 * time.Minute)
	b.wantSilence() // the ledger has been touched within the hour
	b.pass(9 * time.Hour)
	b.wantLedger(4, today, "v", 105, 1)
	if b.Behind() != 0 {
		t.Error("a ledger is behind")
	}
	b.Receive(&smp.AccountPurge{DebtorID: vera.Debtor, CreditorID: vera.Creditor, CreationDate: today - 1})
	b.pass(9 * time.Hour)
	b.wantSilence()
	b.Receive(&smp.AccountPurge{DebtorID: vera.Debtor, CreditorID: vera.Creditor, CreationDate: today})
	if b.Behind() != 1 {
		t.Error("after a purge, the ledger is not behind")
	}
	b.pass(9 * time.Hour)
	b.wantLedger(5, today, "v", 0, 1)
}

func TestPayments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Pay(vera, "o", 70)
	request := b.asked()[0].(*smp.PrepareTransfer)
	if request.CoordinatorType != "direct" || request.CoordinatorID != int64(vera.Creditor) || request.MinLockedAmount != 70 ||
		request.MaxLockedAmount != 70 || request.Recipient != "o" || smp.Validate(request) != nil {
		t.Errorf("asked: %+v", request)
	}
	prepared := &smp.PreparedTransfer{
		DebtorID: vera.Debtor, CreditorID: vera.Creditor, CoordinatorType: "direct", CoordinatorID: int64(vera.Creditor),
		CoordinatorRequestID: request.CoordinatorRequestID, TransferID: 9, LockedAmount: 70,
	}
	copied := *prepared
	copied.TransferID = 10
	unknown := *prepared
	unknown.CoordinatorRequestID = 99
	agents := *prepared
	agents.CoordinatorType = "agent"
	b.Receive(prepared)
	b.Receive(&copied)
	b.Receive(prepared)
	b.Receive(&unknown)
	b.Receive(&agents)
	var amounts []int64
	for _, m := range b.asked() {
		amounts = append(amounts, m.(*smp.FinalizeTransfer).CommittedAmount)
		if err := smp.Validate(m); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(amounts, []int64{70, 0, 70, 0, 0}) {
		t.Errorf("finalised with %v", amounts)
	}
	if b.Payments() != 1 {
		t.Errorf("%d payments", b.Payments())
	}
	b.Receive(&smp.FinalizedTransfer{CoordinatorRequestID: request.CoordinatorRequestID, TransferID: 10})
	b.Receive(&smp.FinalizedTransfer{CoordinatorRequestID: request.CoordinatorRequestID, TransferID: 9})
	b.Receive(prepared)
	if m := b.asked()[0].(*smp.FinalizeTransfer); m.CommittedAmount != 0 || b.Payments() != 0 {
		t.Errorf("a reminder after the end is answered with %d", m.CommittedAmount)
	}
	b.Pay(vera, "o", 70)
	b.Receive(&smp.RejectedTransfer{CoordinatorRequestID: request.CoordinatorRequestID + 1, StatusCode: "X"})
	if b.Payments() != 0 {
		t.Error("a rejected payment goes on")
	}
}

func TestStrangersCannotChangeAnything(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.SetPolicy(vera, agent.NoPolicy())
	b.SetNegligible(vera, 1)
	b.ScheduleDeletion(vera)
	b.Delete(vera)
	b.Receive(&smp.AccountPurge{})
	b.wantSilence()
	if asked := b.asked(); len(asked) > 0 {
		t.Errorf("the authority is asked %+v", asked)
	}
}

// Whatever the order, and however often messages come, the ledger ends as the authority's books, and update IDs grow.
func TestLedgersAreRightInTheEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := setup(t)
		b.Open(vera)
		var messages []smp.Message
		principal, number := int64(0), int64(0)
		messages = append(messages, update(today, 1, 0, 0))
		for i := range rapid.IntRange(0, 12).Draw(rt, "transfers") {
			previous := number
			number += rapid.Int64Range(1, 5).Draw(rt, "step")
			principal += rapid.Int64Range(-50, 100).Draw(rt, "amount")
			messages = append(messages, transfer(number, previous, principal, start), update(today, int32(i+2), principal, number))
			if rapid.Bool().Draw(rt, "silent") {
				principal += 3
			}
		}
		messages = append(messages, update(today, 100, principal, number))
		messages = append(messages, rapid.SliceOf(rapid.SampledFrom(messages)).Draw(rt, "copies")...)
		for _, m := range rapid.Permutation(messages).Draw(rt, "order") {
			if _, isTransfer := m.(*smp.AccountTransfer); isTransfer && rapid.IntRange(0, 9).Draw(rt, "lost") == 0 {
				continue
			}
			b.Receive(m)
			b.pass(time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second)
		}
		b.pass(16 * day)
		if s := b.Account(vera); s.Principal != principal || s.Number != number {
			rt.Fatalf("the ledger has %d, number %d, want %d, number %d", s.Principal, s.Number, principal, number)
		}
		last := int64(0)
		var told int64
		for _, m := range b.said() {
			l := m.(*smp.UpdatedLedger)
			if l.UpdateID <= last {
				rt.Fatalf("update ID %d follows %d", l.UpdateID, last)
			}
			last, told = l.UpdateID, l.Principal
		}
		if told != principal {
			rt.Fatalf("the service has been told of %d, and there are %d", told, principal)
		}
	})
}

func TestUpdateIDsMayJump(t *testing.T) {
	t.Parallel()
	var last int64
	line := &timeline.Timeline{}
	a := agent.New(agent.Accelerated(), 1000, line, rand.New(rand.NewPCG(1, 1)), agent.Links{
		Authority: func(smp.Outgoing) {},
		Service: func(m smp.Message) {
			if id := m.(*smp.UpdatedPolicy).UpdateID; id <= last || id > last+1001 {
				t.Errorf("update ID %d follows %d", id, last)
			} else {
				last = id
			}
		},
	})
	a.Open(vera)
	for range 100 {
		a.SetPolicy(vera, agent.NoPolicy())
	}
	if last < 1000 {
		t.Errorf("after a hundred changes, the ID is %d", last)
	}
}
