package authority

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// summary tells in a word each what an authority has said.
func summary(messages []smp.Message) string {
	var text strings.Builder
	for _, m := range messages {
		text.WriteString(m.Type() + " ")
	}
	return text.String()
}

func TestConfigureAccount(t *testing.T) {
	t.Parallel()
	const (
		none    = "none"
		exists  = "exists"
		deleted = "deleted"
		purged  = "purged"
	)
	for _, c := range []struct {
		record string
		age    time.Duration // of the message
		change func(*smp.ConfigureAccount)
		want   string
		flags  int32
	}{
		{record: none, want: "AccountUpdate "},
		{record: none, age: 7 * day, want: "AccountUpdate "},
		{record: none, age: 7*day + time.Second},
		{record: purged, want: "AccountUpdate "},
		{record: purged, age: 7*day + time.Second},
		{record: none, change: func(m *smp.ConfigureAccount) { m.ConfigFlags = 1 }, want: "AccountUpdate ", flags: 1},
		{record: none, change: func(m *smp.ConfigureAccount) { m.ConfigFlags = -5 }, want: "AccountUpdate ", flags: -5},
		{record: none, change: func(m *smp.ConfigureAccount) { m.ConfigData = "x" }, want: "RejectedConfig "},
		{record: none, change: func(m *smp.ConfigureAccount) { m.NegligibleAmount = -1 }, want: "RejectedConfig "},
		{record: exists, want: "AccountUpdate "},
		{record: exists, age: 8 * day},          // earlier than the one applied
		{record: exists, age: 10 * time.Minute}, // the one applied
		{record: exists, age: 10 * time.Minute, change: func(m *smp.ConfigureAccount) { m.ConfigData = "x" }},
		{
			record: exists, age: 10 * time.Minute, change: func(m *smp.ConfigureAccount) { m.Seqnum = 1 },
			want: "AccountUpdate ",
		},
		{record: exists, age: 10 * time.Minute, change: func(m *smp.ConfigureAccount) { m.Seqnum = math.MinInt32 }},
		{record: exists, change: func(m *smp.ConfigureAccount) { m.ConfigData = "x" }, want: "RejectedConfig "},
		{record: deleted, want: "AccountUpdate "},
		{record: deleted, change: func(m *smp.ConfigureAccount) { m.ConfigFlags = 1 }, want: "AccountUpdate ", flags: 1},
		{record: deleted, age: 300 * day},
	} {
		settings := prompt()
		settings.Timing.Purge = 2 * time.Hour
		settings.Timing.PurgeAge = 0
		b := setup(t, settings, 1)
		switch c.record {
		case deleted, purged:
			b.configure(buyer, 1e30, 1)
			b.Begin()
			b.pass(time.Hour + 10*time.Minute)
			if c.record == purged {
				b.pass(3 * time.Hour)
			}
		case exists:
			b.configure(buyer, 1e30, 0)
			b.pass(10 * time.Minute)
		}
		before := b.Account(key(buyer))
		b.take()
		m := &smp.ConfigureAccount{DebtorID: debtorID, CreditorID: buyer, TS: b.line.Now().Add(-c.age), NegligibleAmount: 500}
		if c.change != nil {
			c.change(m)
		}
		b.hear(m)
		sent := b.take()
		name := fmt.Sprintf("record %s, message %+v", c.record, *m)
		if got := summary(sent); got != c.want {
			t.Fatalf("%s: sent %q, want %q", name, got, c.want)
		}
		if len(sent) == 0 {
			continue
		}
		switch answer := sent[0].(type) {
		case *smp.AccountUpdate:
			if answer.ConfigFlags != c.flags || answer.NegligibleAmount != 500 || !answer.LastConfigTS.Equal(m.TS) ||
				answer.LastConfigSeqnum != m.Seqnum || !answer.TS.Equal(answer.LastChangeTS) || !answer.TS.Equal(b.line.Now()) {
				t.Errorf("%s: sent %+v", name, answer)
			}
			if c.record == deleted && answer.CreationDate != before.Created {
				t.Errorf("%s: revived with the date %v, created on %v", name, answer.CreationDate, before.Created)
			}
		case *smp.RejectedConfig:
			b.hear(m) // nothing has been stored
			want := smp.RejectedConfig{
				DebtorID: debtorID, CreditorID: buyer, ConfigTS: m.TS, ConfigFlags: m.ConfigFlags, ConfigData: m.ConfigData,
				NegligibleAmount: m.NegligibleAmount, RejectionCode: "INVALID_CONFIGURATION", TS: answer.TS,
			}
			if again := summary(b.take()); *answer != want || again != "RejectedConfig " {
				t.Errorf("%s: sent %+v, and then %q", name, answer, again)
			}
		}
	}
}

func TestNewAccountOfAConfiguredCurrency(t *testing.T) {
	t.Parallel()
	b := setup(t, prompt(), 1)
	info := Info{IRI: "https://example.com/1", ContentType: "application/json", SHA256: ""}
	b.root(RootConfig{Rate: -5, Info: &info})
	b.take()
	b.configure(collector, 1e30, 0)
	updates := only[*smp.AccountUpdate](b)
	if len(updates) != 3 {
		t.Fatalf("%d updates, want 3", len(updates))
	}
	first := updates[0]
	want := smp.AccountUpdate{
		DebtorID: debtorID, CreditorID: collector, CreationDate: smp.DateOf(start), LastChangeTS: start,
		LastChangeSeqnum: 1, LastInterestRateChangeTS: epoch, LastConfigTS: start, NegligibleAmount: float64(float32(1e30)),
		AccountID: "2199023255557", LastTransferCommittedAt: epoch,
		DemurrageRate: -50, CommitPeriod: 7776000, TransferNoteMaxBytes: 500, TTL: 604800, TS: start,
	}
	if *first != want {
		t.Errorf("the first update is\n%+v, want\n%+v", *first, want)
	}
	if u := updates[1]; u.LastChangeSeqnum != 2 || u.InterestRate != -5 || !u.LastInterestRateChangeTS.Equal(start) || u.DebtorInfoIRI != "" {
		t.Errorf("the second update is %+v", u)
	}
	if u := updates[2]; u.LastChangeSeqnum != 3 || u.InterestRate != -5 || u.DebtorInfoIRI != info.IRI || u.DebtorInfoContentType != info.ContentType {
		t.Errorf("the third update is %+v", u)
	}
	b.wantSound()
}

func TestRootConfiguration(t *testing.T) {
	t.Parallel()
	for text, valid := range map[string]bool{
		``: true,
		`{"type":"RootConfigData","rate":-5.0,"limit":9000000,"info":{"type":"DebtorInfo","iri":"https://x","contentType":"y","sha256":"Z"}}`: true,
		`{"type":"RootConfigData"}`:                                        true,
		`{"type":"RootConfigData","info":{"type":"DebtorInfo","iri":"x"}}`: true,
		`{"type":"RootConfigData","rate":-50}`:                             true,
		`{"type":"RootConfigData","rate":-50.1}`:                           false,
		`{"type":"RootConfigData","rate":100.1}`:                           false,
		`{"type":"RootConfigData","limit":-1}`:                             false,
		`{"type":"RootConfigData","limit":9223372036854775807}`:            true,
		`{"type":"RootConfigData","limit":9223372036854775808}`:            false,
		`{"type":"RootConfigData","unknown":1}`:                            false,
		`{"type":"Other"}`:                                                 false,
		`{"type":"RootConfigData","info":{"type":"Other","iri":"x"}}`:      false,
		`{"type":"RootConfigData"}x`:                                       false,
		`[]`:                                                               false,
	} {
		b := setup(t, prompt(), 1)
		b.hear(&smp.ConfigureAccount{DebtorID: debtorID, CreditorID: journal.Root, TS: start, ConfigData: text})
		want := "RejectedConfig "
		if valid {
			want = "AccountUpdate "
		}
		if got := summary(b.take()); got != want {
			t.Errorf("config_data %q: sent %q, want %q", text, got, want)
		}
	}
}

func TestDataOfARootCanBeRead(t *testing.T) {
	t.Parallel()
	limit := int64(math.MaxInt64)
	for _, want := range []RootConfig{
		{},
		{Rate: -50},
		{Rate: 100, Limit: &limit},
		{Info: &Info{IRI: "https://x/é"}},
		{Rate: 1.5, Info: &Info{IRI: "https://x", ContentType: "a/b", SHA256: "AB"}},
	} {
		got, valid := parseRootConfig(want.Data())
		if !valid || got.Rate != want.Rate || (got.Limit == nil) != (want.Limit == nil) || (got.Info == nil) != (want.Info == nil) ||
			got.Limit != nil && *got.Limit != *want.Limit || got.Info != nil && *got.Info != *want.Info {
			t.Errorf("%q was read as %+v, %v", want.Data(), got, valid)
		}
	}
}

// New rates and documents reach accounts one by one, and rates are spaced.
func TestNewValuesReachAccounts(t *testing.T) {
	t.Parallel()
	settings := prompt()
	settings.Timing.RateLag = 20 * time.Hour
	b := setup(t, settings, 1)
	b.Begin()
	b.root(RootConfig{Rate: 0})
	for i := range 40 {
		b.configure(buyer+swpt.CreditorID(i), 0, 0)
	}
	b.pass(time.Minute)
	b.take()
	b.root(RootConfig{Rate: -7, Info: &Info{IRI: "https://new"}})
	set := b.line.Now()
	moments := make(map[time.Time]bool)
	for range 24 {
		b.pass(time.Hour)
	}
	for _, u := range only[*smp.AccountUpdate](b) {
		if u.InterestRate == -7 {
			moments[u.LastInterestRateChangeTS] = true
			if u.LastInterestRateChangeTS.Sub(set) > 22*time.Hour {
				t.Errorf("the rate reached an account after %v", u.LastInterestRateChangeTS.Sub(set))
			}
		}
	}
	for i := range 40 {
		if s := b.Account(key(buyer + swpt.CreditorID(i))); s.Holding.Rate != -7 {
			t.Errorf("the rate of account %d is %v", i, s.Holding.Rate)
		}
	}
	if len(moments) < 10 {
		t.Errorf("the new rate reached all accounts at %d moments", len(moments))
	}
	b.root(RootConfig{Rate: 3})
	b.pass(7 * day)
	if s := b.Account(key(buyer)); s.Holding.Rate != -7 {
		t.Errorf("the rate changed to %v within 8 days", s.Holding.Rate)
	}
	b.pass(2 * day)
	if s := b.Account(key(buyer)); s.Holding.Rate != 3 {
		t.Errorf("the rate is %v after 9 days", s.Holding.Rate)
	}
	b.wantSound()
}
