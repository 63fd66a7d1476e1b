package smp_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/smp"
)

func assertError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

// violations returns what an error finds fault with, as "field: rule".
func violations(err error) []string {
	var found []string
	if invalid, ok := errors.AsType[*smp.ValidationError](err); ok {
		for _, v := range invalid.Violations {
			found = append(found, v.Field+": "+v.Rule)
		}
	}
	return found
}

// The decisions 0 to 3 of 5.1 come in that order.
func TestParseDecides(t *testing.T) {
	t.Parallel()
	valid := encode(t, samples()["NeededCollector"])
	fill := func(size int) []byte {
		return append(slices.Clone(valid), bytes.Repeat([]byte(" "), size-len(valid))...)
	}
	for name, test := range map[string]struct {
		contentType, typ string
		body             []byte
		want             error
	}{
		"valid":                {"application/json", "NeededCollector", valid, nil},
		"longest":              {"application/json", "NeededCollector", fill(262144), nil},
		"too long":             {"application/json", "NeededCollector", fill(262145), smp.ErrTooLong},
		"too long and unknown": {"text/plain", "Unknown", make([]byte, 1<<20), smp.ErrTooLong},
		"no content type":      {"", "NeededCollector", valid, smp.ErrContentType},
		"with charset":         {"application/json; charset=utf-8", "NeededCollector", valid, smp.ErrContentType},
		"upper case":           {"Application/JSON", "NeededCollector", valid, smp.ErrContentType},
		"plain and unknown":    {"text/plain", "Unknown", nil, smp.ErrContentType},
		"no type":              {"application/json", "", valid, smp.ErrUnknownType},
		"wrong case of type":   {"application/json", "neededCollector", valid, smp.ErrUnknownType},
		"not consumed":         {"application/json", "ConfigureAccount", nil, smp.ErrUnknownType},
		"unknown, no JSON":     {"application/json", "Unknown", []byte("{"), smp.ErrUnknownType},
		"empty":                {"application/json", "NeededCollector", nil, smp.ErrSyntax},
		"byte order mark":      {"application/json", "NeededCollector", append([]byte("\ufeff"), valid...), smp.ErrSyntax},
		"not UTF-8":            {"application/json", "NeededCollector", []byte("{\"x\":\"\xff\"}"), smp.ErrSyntax},
		"encoded surrogate":    {"application/json", "NeededCollector", []byte("{\"x\":\"\xed\xa0\x80\"}"), smp.ErrSyntax},
		"invalid":              {"application/json", "NeededCollector", []byte("{}"), smp.ErrInvalid},
		"another type":         {"application/json", "LockAbandoned", valid, smp.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := smp.Parse(test.contentType, test.typ, test.body)
			if (m == nil) != (test.want != nil) {
				t.Errorf("the message is %v", m)
			}
			assertError(t, err, test.want)
		})
	}
}

func TestMalformedJSON(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, ` `, `[]`, `"x"`, `1`, `null`, `true`, `{`, `}`, `{"x"`, `{"x":`, `{"x":1`, `{"x":1,`, `{"x":1,}`, `{,}`, `{"x" 1}`,
		`{x:1}`, `{'x':1}`, `{"x":1 "y":2}`, `{1:1}`, `{"x":}`, `{} {}`, `{},`, `{}x`, "{}\x00", `{"x":nul}`, `{"x":True}`,
		`{"x":NaN}`, `{"x":Infinity}`, `{"x":-Infinity}`, `{"x":-}`, `{"x":+1}`, `{"x":01}`, `{"x":-01}`, `{"x":1.}`, `{"x":.5}`,
		`{"x":1e}`, `{"x":1e+}`, `{"x":1.e5}`, `{"x":0x10}`, `{"x":1_000}`, `{"x":--1}`, `{"x":[}`, `{"x":[1,]}`, `{"x":[1 2]}`,
		`{"x":[1}`, `{"x":{"y":[{}}]}`, `{"x":"`, `{"x":"\`, `{"x":"\x"}`, `{"x":"\u12"}`, `{"x":"\u123g"}`, `{"x":"\U0041"}`,
		"{\"x\":\"a\nb\"}", "{\"x\":\"a\x00b\"}", `{"x":1}//`, `/**/{}`, "{\u00a0}", "{\f}", `{"\x":1}`,
		`{"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
		`{"x":` + strings.Repeat(`{"x":`, 10000) + `1` + strings.Repeat("}", 10000) + `}`,
	} {
		_, err := smp.Decode("NeededCollector", []byte(body))
		if !errors.Is(err, smp.ErrSyntax) {
			t.Errorf("Decode(%.100q) returns %v", body, err)
		}
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`null`, `true`, `false`, `0`, `-0`, `1e500`, `-1.5E-7`, `""`, `"\ud800"`, `"\u0000\/\"\\\b\f\n\r\t"`, `[]`, `{}`, `[ [ ] , { } , 1 ]`,
		`{"debtor_id":0,"x":{"y":[1,2,{"z":null}]}}`, strings.Repeat("[", 9999) + strings.Repeat("]", 9999),
	} {
		for _, name := range []string{"x", "Debtor_Id", "DEBTOR_ID", "debtor_id ", "", `\ud800`, `\u0000`} {
			body := altered(t, "NeededCollector", map[string]string{name: value})
			if _, err := smp.Decode("NeededCollector", body); err != nil {
				t.Errorf("Decode(%.100q): %v", body, err)
			}
		}
	}
}

// Names are compared after unescaping, with regard to case; of a repeated field the last value counts, even if an
// earlier one was wrong.
func TestFieldNames(t *testing.T) {
	t.Parallel()
	const tail = `,"type":"NeededCollector","ts":"2025-01-02T03:04:05Z"}`
	for body, want := range map[string][]string{
		`{"debtor_id":1`:                                 nil,
		`{"debtor\u005fid":1`:                            nil,
		`{"Debtor_Id":1`:                                 {"debtor_id: required"},
		`{"debtor_id":7,"debtor_id":1`:                   nil,
		`{"debtor_id":"x","debtor_id":1`:                 nil,
		`{"debtor_id":null,"\u0064ebtor_id":1`:           nil,
		`{"debtor_id":1,"debtor_id":null`:                {"debtor_id: required"},
		`{"debtor_id":1,"debtor_id":0`:                   {"debtor_id: ne=0"},
		`{"debtor_id":0,"x":[{"debtor_id":2}]`:           {"debtor_id: ne=0"},
		`{"debtor_id":1,"type":"x"`:                      nil,
		`{"type":"NeededCollector","debtor_id":1,"ts":1`: nil,
	} {
		m, err := smp.Decode("NeededCollector", []byte(body+tail))
		if got := violations(err); !slices.Equal(got, want) {
			t.Errorf("%s: violations %q, want %q", body, got, want)
		}
		if want == nil && (err != nil || m.(*smp.NeededCollector).DebtorID != 1) {
			t.Errorf("%s: %v, %v", body, m, err)
		}
	}
	reset := altered(t, "UpdatedPolicy", nil)
	reset = append(reset[:len(reset)-1], `,"policy_name":null,"peg_debtor_id":null,"peg_exchange_rate":null}`...)
	m, err := smp.Decode("UpdatedPolicy", reset)
	if policy := m.(*smp.UpdatedPolicy); err != nil || policy.PegDebtorID != nil || policy.PolicyName != nil {
		t.Errorf("a field that is null in the end has the value %v, %v", m, err)
	}
}

// An empty object, and one full of nulls, lack every required field; what is optional may be missing or null.
func TestEveryMissingFieldIsReported(t *testing.T) {
	t.Parallel()
	optional := []string{
		"policy_name", "peg_exchange_rate", "peg_debtor_id", "forced_iri", "peg_debtor_info_locator", "will_not_change_until",
	}
	for _, m := range samples() {
		fields := reflect.TypeOf(m).Elem()
		want := []string{"type: required"}
		nulls := []byte(`{"type":null`)
		for field := range fields.Fields() {
			name := field.Tag.Get("json")
			nulls = append(nulls, `,"`+name+`":null`...)
			if !slices.Contains(optional, name) {
				want = append(want, name+": required")
			}
		}
		for _, body := range [][]byte{[]byte("{}"), append(nulls, '}')} {
			err := smp.Unmarshal(body, blank(m))
			if got := violations(err); !slices.Equal(got, want) {
				t.Errorf("%s: violations %q, want %q", m.Type(), got, want)
			}
		}
	}
}

func TestValidationErrorNamesFieldsAndRules(t *testing.T) {
	t.Parallel()
	body := altered(t, "UpdatedPolicy", map[string]string{
		"type": `"UpdatedLedger"`, "creditor_id": `1.0`, "update_id": `0`, "max_principal": "", "ts": `"now"`,
		"peg_exchange_rate": `-1`, "peg_debtor_id": `null`,
	})
	_, err := smp.Decode("UpdatedPolicy", body)
	const want = "invalid UpdatedPolicy message: type (eq=UpdatedPolicy), creditor_id (int64), update_id (min=1), " +
		"max_principal (required), peg_exchange_rate (min=0), ts (timestamp)"
	if err == nil || err.Error() != want {
		t.Errorf("the error is\n%v\nwant\n%s", err, want)
	}
	assertError(t, err, smp.ErrInvalid)
}

func TestUnmarshalForgetsWhatWasThere(t *testing.T) {
	t.Parallel()
	m := samples()["UpdatedPolicy"]
	body := altered(t, "UpdatedPolicy", map[string]string{"policy_name": "", "peg_debtor_id": "", "peg_exchange_rate": ""})
	if err := smp.Unmarshal(body, m); err != nil {
		t.Fatal(err)
	}
	if policy := m.(*smp.UpdatedPolicy); policy.PolicyName != nil || policy.PegDebtorID != nil || policy.PegExchangeRate != nil {
		t.Errorf("what the body does not contain has the value %#v", policy)
	}
}

// The caller may use the buffer of the body again.
func TestMessagesDoNotAliasTheBody(t *testing.T) {
	t.Parallel()
	want := samples()["ActivateCollector"]
	body := encode(t, want)
	got, err := smp.Decode("ActivateCollector", body)
	clear(body)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the message is %#v, %v", got, err)
	}
}

// Section 5.2: responses to transfers that are not this service's, or that the coordinator ID has led astray.
func TestCheckCoordinator(t *testing.T) {
	t.Parallel()
	type response struct {
		typ           string
		id            int64
		ours, foreign []string
	}
	for _, want := range []response{
		{"agent", 123, nil, nil},
		{"agent", 124, nil, []string{"coordinator_id: coordinator_id == creditor_id"}},
		{"direct", 123, []string{"coordinator_type: eq=agent"}, []string{"coordinator_type: eq=agent"}},
		{"Agent", 124, []string{"coordinator_type: eq=agent"}, []string{"coordinator_type: eq=agent"}},
	} {
		for _, m := range []smp.Message{
			&smp.RejectedTransfer{CreditorID: 123, CoordinatorType: want.typ, CoordinatorID: want.id},
			&smp.PreparedTransfer{CreditorID: 123, CoordinatorType: want.typ, CoordinatorID: want.id},
			&smp.FinalizedTransfer{CreditorID: 123, CoordinatorType: want.typ, CoordinatorID: want.id},
		} {
			if got := violations(smp.CheckCoordinator(m, true)); !slices.Equal(got, want.ours) {
				t.Errorf("%+v of this shard: %q, want %q", m, got, want.ours)
			}
			if got := violations(smp.CheckCoordinator(m, false)); !slices.Equal(got, want.foreign) {
				t.Errorf("%+v of another shard: %q, want %q", m, got, want.foreign)
			}
		}
	}
	if err := smp.CheckCoordinator(&smp.AccountTransfer{CoordinatorType: "direct"}, false); err != nil {
		t.Errorf("an AccountTransfer is no response: %v", err)
	}
}
