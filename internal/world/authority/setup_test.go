package authority

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

const (
	day = 24 * time.Hour

	debtorID swpt.DebtorID = 8001

	seller    swpt.CreditorID = 0x201000000a1
	buyer     swpt.CreditorID = 0x201000000b2
	collector swpt.CreditorID = 0x20000000005
	stranger  swpt.CreditorID = 0x30100000001 // of another creditors agent
)

var (
	start    = time.Date(2025, 6, 10, 2, 0, 0, 0, time.UTC)
	infinity = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// A bench is an authority on its own, with everything that it says and writes down.
type bench struct {
	*Authority
	tb      testing.TB
	line    *timeline.Timeline
	checker *journal.Checker
	sent    []smp.Message
	entries []journal.Entry
	request int64
}

// prompt returns settings of an authority that waits for nothing, and scans once an hour.
func prompt() Settings {
	s := DefaultSettings(Realistic())
	s.Timing.Wait = 0
	s.Timing.Scan = time.Hour
	s.Timing.RateLag = 0
	return s
}

func setup(tb testing.TB, settings Settings, seed uint64) *bench {
	tb.Helper()
	b := &bench{tb: tb, line: &timeline.Timeline{}, checker: journal.NewChecker()}
	b.line.Advance(start)
	send := func(m smp.Message) {
		b.sent = append(b.sent, m)
		if creditorOf(m) != journal.Root {
			b.Record(&journal.Entry{Kind: journal.Issued, At: b.line.Now(), Message: m})
		}
	}
	b.Authority = New(settings, b.line, rand.New(rand.NewPCG(seed, 0)), send, b)
	b.Authority.tick()
	return b
}

// Record implements [journal.Recorder].
func (b *bench) Record(e *journal.Entry) {
	b.checker.Record(e)
	b.entries = append(b.entries, *e)
}

func creditorOf(m smp.Message) swpt.CreditorID {
	switch m := m.(type) {
	case *smp.AccountUpdate:
		return m.CreditorID
	case *smp.RejectedConfig:
		return m.CreditorID
	case *smp.RejectedTransfer:
		return m.CreditorID
	case *smp.PreparedTransfer:
		return m.CreditorID
	case *smp.FinalizedTransfer:
		return m.CreditorID
	default:
		return -1
	}
}

// queue has the authority hear a message.
func (b *bench) queue(m smp.Message) {
	b.Record(&journal.Entry{Kind: journal.Heard, At: b.line.Now(), Message: m})
	b.Receive(m)
}

// hear has the authority hear a message, and all be done that is due at once.
func (b *bench) hear(m smp.Message) {
	b.queue(m)
	b.line.Advance(b.line.Now())
}

// at lets time pass until an instant.
func (b *bench) at(when time.Time) { b.line.Advance(when) }

// pass lets time pass.
func (b *bench) pass(d time.Duration) { b.line.Advance(b.line.Now().Add(d)) }

// take returns what has been said since the last call.
func (b *bench) take() []smp.Message {
	sent := b.sent
	b.sent = nil
	return sent
}

// only returns the messages of one type among those that have been said since the last call of take.
func only[M smp.Message](b *bench) []M {
	b.tb.Helper()
	var messages []M
	for _, m := range b.take() {
		if typed, ok := m.(M); ok {
			messages = append(messages, typed)
		}
	}
	return messages
}

// one returns the only message of a type.
func one[M smp.Message](b *bench) M {
	b.tb.Helper()
	messages := only[M](b)
	if len(messages) != 1 {
		b.tb.Fatalf("there are %d messages of type %T, want 1", len(messages), *new(M))
	}
	return messages[0]
}

// root configures the root of the currency, without limits.
func (b *bench) root(c RootConfig) {
	b.hear(&smp.ConfigureAccount{
		DebtorID: debtorID, CreditorID: journal.Root, TS: b.line.Now(), NegligibleAmount: 1e30, ConfigData: c.Data(),
	})
}

func (b *bench) configure(creditor swpt.CreditorID, negligible float64, flags int32) {
	b.hear(&smp.ConfigureAccount{
		DebtorID: debtorID, CreditorID: creditor, TS: b.line.Now(), NegligibleAmount: negligible, ConfigFlags: flags,
	})
}

func key(creditor swpt.CreditorID) journal.Account {
	return journal.Account{Debtor: debtorID, Creditor: creditor}
}

// fund opens an account that reports every payment, with some tokens on it.
func (b *bench) fund(creditor swpt.CreditorID, amount int64) {
	b.configure(creditor, 0, 0)
	if amount > 0 {
		b.Issue(key(creditor), amount)
	}
	b.take()
}

// opened returns a bench with a configured root, a seller with tokens, a buyer and a collector without.
func opened(tb testing.TB, settings Settings) *bench {
	tb.Helper()
	b := setup(tb, settings, 1)
	b.root(RootConfig{})
	b.fund(seller, 100_000)
	b.fund(buyer, 0)
	b.fund(collector, 0)
	return b
}

// asking returns a request to lock from the minimum to the maximum of the sender's tokens.
func (b *bench) asking(sender, recipient swpt.CreditorID, least, most int64) *smp.PrepareTransfer {
	b.request++
	return &smp.PrepareTransfer{
		CreditorID: sender, DebtorID: debtorID, CoordinatorType: "agent", CoordinatorID: int64(sender),
		CoordinatorRequestID: b.request, MinLockedAmount: least, MaxLockedAmount: most,
		Recipient: b.AccountID(recipient), FinalInterestRateTS: infinity, MaxCommitDelay: 1<<31 - 1, TS: b.line.Now(),
	}
}

// prepared returns a transfer that has been prepared.
func (b *bench) prepared(sender, recipient swpt.CreditorID, least, most int64) *smp.PreparedTransfer {
	b.tb.Helper()
	b.take()
	b.hear(b.asking(sender, recipient, least, most))
	return one[*smp.PreparedTransfer](b)
}

// finalizing returns the message that ends a transfer.
func finalizing(p *smp.PreparedTransfer, amount int64) *smp.FinalizeTransfer {
	return &smp.FinalizeTransfer{
		CreditorID: p.CreditorID, DebtorID: p.DebtorID, TransferID: p.TransferID, CoordinatorType: p.CoordinatorType,
		CoordinatorID: p.CoordinatorID, CoordinatorRequestID: p.CoordinatorRequestID, CommittedAmount: amount,
		TransferNoteFormat: "x", TransferNote: "note", TS: p.TS,
	}
}

// holding returns what an account holds.
func (b *bench) holding(creditor swpt.CreditorID) journal.Holding {
	return b.Account(key(creditor)).Holding
}

// wantSound wants the journal to show no mistakes of the world.
func (b *bench) wantSound() {
	b.tb.Helper()
	for _, v := range b.checker.Verdicts() {
		if !v.OK() && (v.Check[0] == 'C') {
			b.tb.Errorf("%s is broken: %s", v.Check, v.Examples)
		}
	}
}

func near(x, y, tolerance float64) bool { return x-y <= tolerance && y-x <= tolerance }
