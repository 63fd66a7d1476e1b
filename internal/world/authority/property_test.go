package authority

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// play lets random things happen to an authority.
func play(t *rapid.T, b *bench) {
	creditors := []swpt.CreditorID{seller, buyer, collector, 0x201000000c3}
	anyone := func(label string) swpt.CreditorID { return rapid.SampledFrom(creditors).Draw(t, label) }
	amount := func(label string) int64 { return rapid.Int64Range(0, 3000).Draw(t, label) }
	var known []*smp.PreparedTransfer
	listen := func() {
		for _, m := range b.take() {
			if p, ok := m.(*smp.PreparedTransfer); ok {
				known = append(known, p)
			}
		}
	}
	var asked []*smp.PrepareTransfer
	t.Repeat(map[string]func(*rapid.T){
		"configure": func(t *rapid.T) {
			b.configure(anyone("creditor"), rapid.SampledFrom([]float64{0, 100, 1e30}).Draw(t, "negligible"),
				rapid.SampledFrom([]int32{0, 0, 0, 1}).Draw(t, "flags"))
		},
		"issue": func(*rapid.T) {
			if to := anyone("to"); b.Account(key(to)).Exists {
				b.Issue(key(to), 1+amount("amount"))
			}
		},
		"prepare": func(t *rapid.T) {
			m := b.asking(anyone("sender"), anyone("recipient"), 0, amount("locked"))
			m.CoordinatorType = rapid.SampledFrom([]string{"agent", "agent", "direct"}).Draw(t, "type")
			m.MaxCommitDelay = rapid.SampledFrom([]int32{3600, 1<<31 - 1}).Draw(t, "delay")
			asked = append(asked, m)
			b.queue(m)
		},
		"repeat": func(t *rapid.T) {
			if len(asked) > 0 {
				b.queue(rapid.SampledFrom(asked).Draw(t, "request"))
			}
		},
		"finalize": func(t *rapid.T) {
			listen()
			if len(known) > 0 {
				p := rapid.SampledFrom(known).Draw(t, "transfer")
				b.queue(finalizing(p, rapid.SampledFrom([]int64{0, p.LockedAmount, 1 + amount("committed")}).Draw(t, "amount")))
			}
		},
		"rate": func(t *rapid.T) { b.root(RootConfig{Rate: rapid.Float64Range(-50, 100).Draw(t, "rate")}) },
		"pass": func(t *rapid.T) {
			longest := rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 10 * day, 60 * day}).Draw(t, "longest")
			b.pass(time.Duration(rapid.Int64Range(0, int64(longest)).Draw(t, "time")).Truncate(time.Microsecond))
		},
		"remove": func(*rapid.T) { _ = b.Remove(key(anyone("creditor"))) },
		"seize":  func(*rapid.T) { b.Seize(key(anyone("creditor")), amount("amount")) },
		"":       func(*rapid.T) { b.wantNoMistakes(t) },
	})
}

// wantNoMistakes wants the checks of the world to hold.
func (b *bench) wantNoMistakes(t *rapid.T) {
	for _, v := range b.checker.Verdicts() {
		if v.Check[0] == 'C' && !v.OK() {
			t.Fatalf("%s is broken: %s", v.Check, v.Examples)
		}
	}
}

func drawSettings(t *rapid.T) Settings {
	s := DefaultSettings(Realistic())
	s.Timing.Purge = rapid.SampledFrom([]time.Duration{time.Hour, s.Timing.Purge}).Draw(t, "purge")
	s.Timing.PurgeAge = 0
	s.Timing.Scan = 12 * time.Hour
	s.Timing.RateSpacing = rapid.SampledFrom([]time.Duration{0, s.Timing.RateSpacing}).Draw(t, "rate spacing")
	if rapid.Bool().Draw(t, "free") {
		s.Traits = Traits{
			OpaqueAccountIDs: rapid.Bool().Draw(t, "opaque"), RandomIDs: rapid.Bool().Draw(t, "random IDs"),
			NumberStep: rapid.Int64Range(0, 1<<40).Draw(t, "step"), DoublePrecision: rapid.Bool().Draw(t, "double"),
		}
		s.Freedoms = Freedoms{
			Recipients:      Existence(rapid.IntRange(0, 2).Draw(t, "existence")),
			RejectRecipient: 0.1, FailCommit: 0.1, FailForGood: 0.1, SkipUpdate: 0.3, ExtraHeartbeat: 0.1, UnnamedAtFirst: 0.3,
			CreditDelay: 5 * day,
		}
	}
	return s
}

// Whatever happens, the books are in order (C1 to C8).
func TestRandomEventsKeepTheBooksInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := setup(t, drawSettings(rt), rapid.Uint64().Draw(rt, "seed"))
		b.root(RootConfig{})
		b.Begin()
		play(rt, b)
	})
}

// The same events and the same seed give the same entries and messages.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) *bench {
		settings := DefaultSettings(Accelerated())
		settings.Traits = Traits{NumberStep: 1000, RandomIDs: true}
		settings.Freedoms = Freedoms{SkipUpdate: 0.3, ExtraHeartbeat: 0.1, UnnamedAtFirst: 0.3, CreditDelay: time.Second}
		b := setup(t, settings, seed)
		b.root(RootConfig{Rate: -20})
		b.Begin()
		for i := range 20 {
			b.configure(seller+swpt.CreditorID(i), 0, 0)
		}
		b.pass(time.Second)
		for i := range 20 {
			b.Issue(key(seller+swpt.CreditorID(i)), 10_000)
		}
		for i := range 50 {
			b.queue(b.asking(seller+swpt.CreditorID(i%20), seller+swpt.CreditorID((i+7)%20), 0, 100))
		}
		b.pass(time.Second)
		for _, m := range b.sent {
			if p, ok := m.(*smp.PreparedTransfer); ok {
				b.queue(finalizing(p, 50))
			}
		}
		b.pass(20 * time.Second)
		return b
	}
	one, other, different := run(1), run(1), run(2)
	if !reflect.DeepEqual(one.sent, other.sent) || !reflect.DeepEqual(one.entries, other.entries) {
		t.Error("two runs with one seed differ")
	}
	if reflect.DeepEqual(one.sent, different.sent) {
		t.Error("two runs with different seeds are the same")
	}
	one.wantSound()
}

// A lock that is committed, among a hundred thousand accounts: two messages in, five out, and the scans meanwhile.
func BenchmarkLocks(b *testing.B) {
	settings := DefaultSettings(Accelerated())
	settings.Timing.Heartbeat, settings.Timing.Capitalisation = time.Hour, time.Hour
	bench := setup(b, settings, 1)
	bench.root(RootConfig{})
	const accounts = 100_000
	for i := range accounts {
		bench.hear(&smp.ConfigureAccount{DebtorID: debtorID, CreditorID: seller + swpt.CreditorID(i), TS: start})
		bench.Issue(key(seller+swpt.CreditorID(i)), 10_000)
	}
	bench.Begin()
	bench.sent, bench.entries = nil, nil
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		bench.queue(bench.asking(seller+swpt.CreditorID(i%accounts), collector, 0, 1000))
		bench.pass(200 * time.Microsecond)
		for _, m := range bench.take() {
			if p, ok := m.(*smp.PreparedTransfer); ok {
				bench.queue(finalizing(p, 900))
			}
		}
		bench.entries = bench.entries[:0]
	}
}
