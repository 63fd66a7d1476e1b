package smp_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Floats are as short as possible and can be told from integers.
func TestFloatsAreWritten(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{
		0: "0.0", 1: "1.0", 3.14: "3.14", 100: "100.0", 0.1: "0.1", 1e30: "1e+30", 1e-5: "1e-05", 1e-4: "0.0001",
		1e15: "1000000000000000.0", 1e16: "1e+16", 9007199254740993: "9007199254740992.0", 1.5e300: "1.5e+300",
		math.MaxFloat64: "1.7976931348623157e+308", math.SmallestNonzeroFloat64: "5e-324", 1.0 / 3: "0.3333333333333333",
		float64(float32(1e30)): "1.0000000150474662e+30",
	} {
		for sign, number := range map[string]float64{"": value, "-": math.Copysign(value, -1)} {
			body := string(encode(t, &smp.AccountUpdate{Interest: number, TS: sentAt}))
			if !strings.Contains(body, `"interest":`+sign+want+`,`) {
				t.Errorf("%g is written in %s, want %s%s", number, body, sign, want)
			}
		}
	}
}

// What must not be sent is not written, and nothing is added to the buffer.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	old := time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC)
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		m    smp.Message
		want []string
	}{
		"NaN":                {&smp.ConfigureAccount{NegligibleAmount: math.NaN()}, []string{"negligible_amount: float"}},
		"infinity":           {&smp.AccountUpdate{Interest: math.Inf(1)}, []string{"interest: float"}},
		"minus infinity":     {&smp.AccountUpdate{Interest: math.Inf(-1)}, []string{"interest: float"}},
		"optional infinity":  {&smp.UpdatedPolicy{PegExchangeRate: new(math.Inf(1))}, []string{"peg_exchange_rate: float"}},
		"invalid UTF-8":      {&smp.DiscoverDebtor{IRI: "\xff"}, []string{"iri: unicode"}},
		"encoded surrogate":  {&smp.DiscoverDebtor{IRI: "\xed\xa0\x80"}, []string{"iri: unicode"}},
		"U+0000":             {&smp.FetchDebtorInfo{ForcedIRI: new("a\x00b")}, []string{"forced_iri: unicode"}},
		"year 0":             {&smp.NeededCollector{TS: old}, []string{"ts: timestamp"}},
		"year 10000":         {&smp.NeededCollector{TS: late}, []string{"ts: timestamp"}},
		"year 10000 in UTC":  {&smp.NeededCollector{TS: late.Add(-1).In(time.FixedZone("", 60))}, nil},
		"date of year 0":     {&smp.AccountPurge{CreationDate: -719163}, []string{"creation_date: date"}},
		"date of year 10000": {&smp.AccountPurge{CreationDate: 2932897}, []string{"creation_date: date"}},
		"several": {
			&smp.RejectedConfig{NegligibleAmount: math.NaN(), ConfigData: "\xff", TS: late},
			[]string{"negligible_amount: float", "config_data: unicode", "ts: timestamp"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := test.m.AppendJSON([]byte("before"))
			if got := violations(err); !slices.Equal(got, test.want) {
				t.Errorf("the violations are %q, want %q", got, test.want)
			}
			if test.want != nil && string(out) != "before" {
				t.Errorf("the buffer is %q", out)
			}
		})
	}
}

func TestStringsAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      `""`,
		"счёт 中 😀":              `"счёт 中 😀"`,
		"<script>&'/":           `"<script>&'/"`,
		"\u2028\u2029\x7f":      "\"\u2028\u2029\x7f\"",
		"\"\\\b\f\n\r\t":        `"\"\\\b\f\n\r\t"`,
		"\x01a\x1f\ufffd\u200b": "\"\\u0001a\\u001f\ufffd\u200b\"",
	} {
		body := string(encode(t, &smp.ActivateCollector{AccountID: text, TS: sentAt}))
		if !strings.Contains(body, `"account_id":`+want+`,`) {
			t.Errorf("%q is written in %s, want %s", text, body, want)
		}
	}
}

func TestAppendJSONAppends(t *testing.T) {
	t.Parallel()
	m := samples()["NeededCollector"]
	out, err := m.AppendJSON([]byte("before"))
	if want := "before" + string(encode(t, m)); err != nil || string(out) != want {
		t.Errorf("the buffer is %q, %v; want %q", out, err, want)
	}
}

// The sharding keys of 2.4.
func TestShardKeys(t *testing.T) {
	t.Parallel()
	id := func(id int64) smp.ShardKey { return smp.ShardKey{ID: id} }
	text := func(text string) smp.ShardKey { return smp.ShardKey{Text: text, IsText: true} }
	want := map[string]smp.ShardKey{
		"ConfigureAccount": id(collector), "PrepareTransfer": id(123), "FinalizeTransfer": id(123),
		"RejectedConfig": id(collector), "RejectedTransfer": id(123), "PreparedTransfer": id(123), "FinalizedTransfer": id(123),
		"AccountUpdate": id(math.MaxInt64), "AccountPurge": id(collector), "AccountTransfer": id(123),
		"UpdatedLedger": id(123), "UpdatedPolicy": id(123), "UpdatedPolicy.deleted": id(123), "UpdatedFlags": id(123),
		"ActivateCollector": id(collector), "CandidateOffer": id(123), "ReviseAccountLock": id(123),
		"AccountIdRequest": id(collector + 1), "LockAbandoned": id(123),
		"DiscoverDebtor": id(666), "ConfirmDebtor": id(666), "NeededCollector": id(-1),
		"TriggerTransfer": id(collector), "AccountIdResponse": id(collector), "StartSending": id(collector),
		"StartDispatching": id(collector), "CollectingFailed": id(collector), "NothingToReceive": id(collector),
		"FetchDebtorInfo": text("https://example.com/iri"), "FetchDebtorInfo.forced": text("https://example.com/iri"),
		"StoreDocument": text("https://example.com/iri"), "StoreDocument.pegged": text("https://example.com/iri"),
	}
	for name, m := range samples() {
		if got, ok := m.ShardKey(), want[name]; got != ok {
			t.Errorf("the key of %s is %+v, want %+v", name, got, ok)
		}
	}
}

// Exchanges, flags and headers of 1.3 and 3.3.
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	notSent := []string{
		"RejectedConfig", "RejectedTransfer", "PreparedTransfer", "FinalizedTransfer", "AccountUpdate", "AccountPurge",
		"AccountTransfer", "UpdatedLedger", "UpdatedPolicy", "UpdatedFlags",
	}
	smpHeaders := map[string]map[string]any{
		"ConfigureAccount": {
			"message-type": "ConfigureAccount", "creditor-id": int64(collector), "debtor-id": int64(666),
		},
		"PrepareTransfer": {
			"message-type": "PrepareTransfer", "creditor-id": int64(123), "debtor-id": int64(-2),
			"coordinator-id": int64(123), "coordinator-type": "agent",
		},
		"FinalizeTransfer": {
			"message-type": "FinalizeTransfer", "creditor-id": int64(123), "debtor-id": int64(666),
			"coordinator-id": int64(123), "coordinator-type": "agent",
		},
	}
	sent := make(map[string]bool)
	for _, m := range samples() {
		outgoing, ok := m.(smp.Outgoing)
		if ok == slices.Contains(notSent, m.Type()) {
			t.Errorf("%s is emitted: %v", m.Type(), ok)
		}
		if !ok {
			continue
		}
		sent[m.Type()] = true
		want := smp.Envelope{Type: m.Type(), Class: smp.ClassInternal, Mandatory: true, Key: m.ShardKey()}
		wantHeaders := map[string]any{"message-type": m.Type()}
		if headers, ok := smpHeaders[m.Type()]; ok {
			wantHeaders = headers
			want.Class = smp.ClassSMP
			want.Mandatory = m.Type() == "FinalizeTransfer"
			want.CreditorID = swpt.CreditorID(headers["creditor-id"].(int64))
			want.DebtorID = swpt.DebtorID(headers["debtor-id"].(int64))
			want.CoordinatorID, _ = headers["coordinator-id"].(int64)
			want.CoordinatorType, _ = headers["coordinator-type"].(string)
		}
		got := outgoing.Envelope()
		if got != want {
			t.Errorf("%s: the envelope is %+v, want %+v", m.Type(), got, want)
		}
		if headers := got.Headers(); !equalHeaders(headers, wantHeaders) {
			t.Errorf("%s: the headers are %v, want %v", m.Type(), headers, wantHeaders)
		}
	}
	if len(sent) != 19 {
		t.Errorf("%d types are emitted, want 19", len(sent))
	}
}

func equalHeaders(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		if b[name] != value {
			return false
		}
	}
	return true
}
