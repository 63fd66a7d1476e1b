package smp_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// A valueTest replaces some fields of a sample by other JSON values, and expects one violation or none.
type valueTest struct {
	sample  string
	changes map[string]string
	want    string
}

func runValueTests(t *testing.T, tests []valueTest) {
	t.Helper()
	for _, test := range tests {
		m := blank(samples()[test.sample])
		body := altered(t, test.sample, test.changes)
		err := smp.Unmarshal(body, m)
		got := strings.Join(violations(err), ", ")
		if got != test.want || (err == nil) != (test.want == "") {
			t.Errorf("%s with %.200v: violations %q (%v), want %q", test.sample, test.changes, got, err, test.want)
		}
		if err == nil {
			assertReads(t, encode(t, m), m)
		}
	}
}

// one changes a single field.
func one(sample, name, value, want string) valueTest {
	if want != "" {
		want = name + ": " + want
	}
	return valueTest{sample: sample, changes: map[string]string{name: value}, want: want}
}

func quote(text string) string { return `"` + text + `"` }

func repeat(text string, count int) string { return quote(strings.Repeat(text, count)) }

// The rows of 3.2 on numbers, booleans and strings.
func TestTypesOfValues(t *testing.T) {
	t.Parallel()
	for field, values := range map[string][]string{
		// Fields: the sample, the name and the violated rule; then the values that violate it.
		"UpdatedLedger principal int64": {
			`1.0`, `3.7`, `1e3`, `"123"`, `true`, `9223372036854775808`, `-9223372036854775809`, `[]`, `{}`, `1E400`,
		},
		"UpdatedLedger creditor_id int64":     {`9223372036854775808`, `0.0`},
		"UpdatedFlags config_flags int32":     {`2147483648`, `-2147483649`, `1.0`, `false`, `""`},
		"AccountUpdate interest float":        {`"3.14"`, `1e500`, `-1e500`, `true`, `""`, `[]`},
		"UpdatedLedger account_id string":     {`1`, `true`, `[]`, `{}`},
		"DiscoverDebtor iri unicode":          {`"\ud800"`, `"x\udfff"`, `"\ud800\ud800"`, `"\udc00\ud800"`, `"\ud800x"`, `"\ud800\n"`, `"\u0000"`, `"a\u0000b"`},
		"TriggerTransfer is_dispatching bool": {`0`, `1`, `"yes"`, `"true"`, `""`, `[]`},
		"UpdatedPolicy peg_debtor_id int64":   {`""`, `0.0`, `false`},
		"UpdatedPolicy policy_name string":    {`0`},
		"StoreDocument will_not_change_until timestamp": {
			`0`, `"x"`, `""`, `"\ud800"`,
		},
	} {
		parts := strings.Fields(field)
		for _, value := range values {
			runValueTests(t, []valueTest{one(parts[0], parts[1], value, parts[2])})
		}
		if parts[1] != "peg_debtor_id" && parts[1] != "policy_name" && parts[1] != "will_not_change_until" {
			runValueTests(t, []valueTest{one(parts[0], parts[1], `null`, "required"), one(parts[0], parts[1], ``, "required")})
		}
	}
	runValueTests(t, []valueTest{
		one("UpdatedLedger", "principal", `-0`, ""),
		one("UpdatedLedger", "principal", `9223372036854775807`, ""),
		one("UpdatedLedger", "principal", `-9223372036854775808`, ""),
		one("UpdatedFlags", "config_flags", `-2147483648`, ""),
		one("AccountUpdate", "interest", `0`, ""),
		one("AccountUpdate", "interest", `-1`, ""),
		one("AccountUpdate", "interest", `-0.0`, ""),
		one("AccountUpdate", "interest", `1E-400`, ""),
		one("AccountUpdate", "interest", `1.7976931348623157e308`, ""),
		one("DiscoverDebtor", "iri", `"\ud83d\ude00 \uD83D\uDE00 \ufffd \u00e9 😀"`, ""),
		one("DiscoverDebtor", "iri", `""`, ""),
		one("UpdatedPolicy", "policy_name", ``, ""),
	})
}

// No integer takes a detour over float64.
func TestLargeIntegersSurvive(t *testing.T) {
	t.Parallel()
	for _, value := range []int64{1<<53 + 1, -1<<53 - 1, 1<<63 - 1, -1 << 63, 1<<63 - 2} {
		body := altered(t, "UpdatedLedger", map[string]string{"creditor_id": strconv.FormatInt(value, 10)})
		m, err := smp.Decode("UpdatedLedger", body)
		if err != nil || int64(m.(*smp.UpdatedLedger).CreditorID) != value {
			t.Errorf("%d is read as %v, %v", value, m, err)
		}
	}
}

func TestEscapesAreResolved(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`\"\\\/\b\f\n\r\t`:             "\"\\/\b\f\n\r\t",
		`\u0041\u00e9\u4E2d\uffFF`:     "Aé中\uffff",
		`\ud83d\ude00`:                 "😀",
		`\uD83D\uDE00x`:                "😀x",
		`\ufffd`:                       "\ufffd",
		`x\u001f`:                      "x\x1f",
		`\\u0000`:                      `\u0000`,
		"\u2028\u2029\x7f<>&'\u0085 я": "\u2028\u2029\x7f<>&'\u0085 я",
	} {
		m, err := smp.Decode("DiscoverDebtor", altered(t, "DiscoverDebtor", map[string]string{"iri": quote(value)}))
		if err != nil || m.(*smp.DiscoverDebtor).IRI != want {
			t.Errorf("%s is read as %v, %v; want %q", value, m, err, want)
		}
	}
}

// Characters are counted where characters count, and bytes where bytes do.
func TestLengths(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("0123456789abcdef", 4)
	runValueTests(t, []valueTest{
		one("UpdatedLedger", "account_id", repeat("a", 100), ""),
		one("UpdatedLedger", "account_id", repeat("a", 101), "max=100"),
		one("UpdatedLedger", "account_id", repeat("я", 100), ""),
		one("UpdatedLedger", "account_id", repeat(`\ud83d\ude00`, 100), ""),
		one("UpdatedLedger", "account_id", repeat("я", 101), "max=100"),
		one("UpdatedLedger", "account_id", `""`, ""),
		one("AccountUpdate", "account_id", repeat("a", 100), ""),
		one("AccountUpdate", "account_id", repeat("a", 101), "max=100"),
		one("AccountUpdate", "account_id", repeat("я", 100), "ascii"),
		one("AccountUpdate", "account_id", `"\u007f"`, ""),
		one("AccountUpdate", "account_id", `"\u0080"`, "ascii"),
		one("AccountUpdate", "config_data", repeat("я", 1000), ""),
		one("AccountUpdate", "config_data", repeat("я", 1500), "bytes=2000"),
		one("AccountUpdate", "config_data", repeat("a", 2001), "bytes=2000"),
		one("RejectedConfig", "config_data", repeat("я", 1001), "bytes=2000"),
		one("ConfigureAccount", "config_data", repeat("a", 2001), "bytes=2000"),
		one("AccountUpdate", "debtor_info_iri", repeat("я", 200), ""),
		one("AccountUpdate", "debtor_info_iri", repeat("я", 201), "max=200"),
		one("AccountUpdate", "debtor_info_iri", `""`, ""),
		one("AccountUpdate", "debtor_info_content_type", repeat("a", 100), ""),
		one("AccountUpdate", "debtor_info_content_type", repeat("a", 101), "max=100"),
		one("AccountUpdate", "debtor_info_content_type", `"я"`, "ascii"),
		one("AccountUpdate", "debtor_info_sha256", `""`, ""),
		one("AccountUpdate", "debtor_info_sha256", quote(digest), ""),
		one("AccountUpdate", "debtor_info_sha256", quote(strings.ToUpper(digest)), ""),
		one("AccountUpdate", "debtor_info_sha256", repeat("1", 64), ""),
		one("AccountUpdate", "debtor_info_sha256", quote(digest[:63]), "sha256hex"),
		one("AccountUpdate", "debtor_info_sha256", quote(digest+"0"), "sha256hex"),
		one("AccountUpdate", "debtor_info_sha256", quote(digest[:63]+"g"), "sha256hex"),
		one("AccountUpdate", "debtor_info_sha256", quote(digest[:63]+"F"), "sha256hex"),
		one("AccountUpdate", "debtor_info_sha256", quote(digest+`\n`), "sha256hex"),
		one("AccountTransfer", "transfer_note", repeat("я", 250), ""),
		one("AccountTransfer", "transfer_note", repeat("я", 251), "bytes=500"),
		one("AccountTransfer", "transfer_note", repeat("я", 350), "bytes=500"),
		one("FinalizeTransfer", "transfer_note", repeat("я", 251), "bytes=500"),
		one("AccountTransfer", "transfer_note_format", `""`, ""),
		one("AccountTransfer", "transfer_note_format", `"aZ09.-.-"`, ""),
		one("AccountTransfer", "transfer_note_format", `"aZ09.-.-x"`, "noteformat"),
		one("AccountTransfer", "transfer_note_format", `"a_b"`, "noteformat"),
		one("AccountTransfer", "transfer_note_format", `"aZ09.-.-\n"`, "noteformat"),
		one("AccountTransfer", "transfer_note_format", `"я"`, "noteformat"),
		one("FinalizeTransfer", "transfer_note_format", `"a b"`, "noteformat"),
		one("AccountTransfer", "sender", repeat("a", 101), "max=100"),
		one("AccountTransfer", "recipient", `"я"`, "ascii"),
		one("PreparedTransfer", "recipient", repeat("a", 101), "max=100"),
		one("PrepareTransfer", "recipient", `"я"`, "ascii"),
		one("RejectedConfig", "rejection_code", `""`, ""),
		one("RejectedConfig", "rejection_code", repeat("A", 31), "max=30"),
		one("RejectedConfig", "rejection_code", `"я"`, "ascii"),
		one("FinalizedTransfer", "status_code", repeat("A", 31), "max=30"),
		one("ActivateCollector", "account_id", `""`, "min=1"),
		one("ActivateCollector", "account_id", repeat("я", 100), ""),
		one("ActivateCollector", "account_id", repeat("я", 101), "max=100"),
		one("AccountIdResponse", "account_id", `""`, ""),
		one("AccountIdResponse", "account_id", repeat("я", 100), ""),
		one("AccountIdResponse", "account_id", repeat("a", 101), "max=100"),
		one("UpdatedPolicy", "policy_name", repeat("я", 5000), ""),
		one("FetchDebtorInfo", "iri", repeat("я", 5000), ""),
	})
	for _, name := range []string{
		"PrepareTransfer", "FinalizeTransfer", "RejectedTransfer", "PreparedTransfer", "FinalizedTransfer", "AccountTransfer",
	} {
		runValueTests(t, []valueTest{
			one(name, "coordinator_type", `""`, "min=1"),
			one(name, "coordinator_type", repeat("x", 30), ""),
			one(name, "coordinator_type", repeat("x", 31), "max=30"),
			one(name, "coordinator_type", `"я"`, "ascii"),
		})
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	runValueTests(t, []valueTest{
		one("AccountTransfer", "acquired_amount", `0`, "ne=0"),
		one("AccountTransfer", "acquired_amount", `1`, ""),
		one("AccountUpdate", "demurrage_rate", `-100`, ""),
		one("AccountUpdate", "demurrage_rate", `0`, ""),
		one("AccountUpdate", "demurrage_rate", `0.1`, "max=0"),
		one("AccountUpdate", "demurrage_rate", `-100.1`, "min=-100"),
		one("PreparedTransfer", "demurrage_rate", `0.1`, "max=0"),
		one("PreparedTransfer", "demurrage_rate", `-100.1`, "min=-100"),
		one("AccountUpdate", "interest_rate", `-100`, ""),
		one("AccountUpdate", "interest_rate", `-100.1`, "min=-100"),
		one("AccountUpdate", "interest_rate", `1e300`, ""),
		one("AccountUpdate", "negligible_amount", `-0.0`, ""),
		one("AccountUpdate", "negligible_amount", `-1e-300`, "min=0"),
		one("RejectedConfig", "negligible_amount", `-1`, "min=0"),
		one("ConfigureAccount", "negligible_amount", `-1`, "min=0"),
		one("AccountUpdate", "transfer_note_max_bytes", `0`, ""),
		one("AccountUpdate", "transfer_note_max_bytes", `501`, "max=500"),
		one("AccountUpdate", "transfer_note_max_bytes", `-1`, "min=0"),
		one("AccountUpdate", "commit_period", `-1`, "min=0"),
		one("AccountUpdate", "ttl", `-1`, "min=0"),
		one("AccountUpdate", "ttl", `0`, ""),
		one("AccountUpdate", "last_transfer_number", `-1`, "min=0"),
		one("CandidateOffer", "amount", `0`, "ne=0"),
		one("CandidateOffer", "amount", `-9223372036854775808`, "min=-9223372036854775807"),
		one("CandidateOffer", "amount", `-9223372036854775807`, ""),
		one("CandidateOffer", "amount", `9223372036854775807`, ""),
		one("CandidateOffer", "last_transfer_number", `-1`, "min=0"),
		one("CandidateOffer", "turn_id", `32768`, ""),
		one("UpdatedLedger", "update_id", `0`, "min=1"),
		one("UpdatedPolicy", "update_id", `0`, "min=1"),
		one("UpdatedFlags", "update_id", `0`, "min=1"),
		one("UpdatedFlags", "update_id", `1`, ""),
		one("UpdatedLedger", "last_transfer_number", `-1`, "min=0"),
		one("FetchDebtorInfo", "recursion_level", `-1`, "min=0"),
		one("FetchDebtorInfo", "recursion_level", `32767`, ""),
		one("FetchDebtorInfo", "recursion_level", `32768`, "max=32767"),
		one("StoreDocument.pegged", "peg_exchange_rate", `0`, ""),
		one("StoreDocument.pegged", "peg_exchange_rate", `-1`, "min=0"),
		one("UpdatedPolicy", "peg_exchange_rate", `0`, ""),
		one("UpdatedPolicy", "peg_exchange_rate", `-0.1`, "min=0"),
		one("PrepareTransfer", "max_commit_delay", `-1`, "min=0"),
		one("PrepareTransfer", "min_locked_amount", `-1`, "min=0"),
		one("FinalizeTransfer", "committed_amount", `-1`, "min=0"),
		one("FinalizeTransfer", "committed_amount", `0`, ""),
		one("FinalizedTransfer", "total_locked_amount", `-1`, "min=0"),
		one("RejectedTransfer", "total_locked_amount", `-1`, "min=0"),
		one("PreparedTransfer", "locked_amount", `-1`, "min=0"),
		one("NeededCollector", "type", `"neededcollector"`, "eq=NeededCollector"),
		one("NeededCollector", "type", `1`, "eq=NeededCollector"),
		one("NeededCollector", "type", `null`, "required"),
	})
}

// Debtor 0 is refused in the seven types of 4.4 that say so, and in 4.5.
func TestDebtorZero(t *testing.T) {
	t.Parallel()
	refused := []string{
		"NeededCollector", "ReviseAccountLock", "TriggerTransfer", "AccountIdRequest", "AccountIdResponse", "StartSending",
		"StartDispatching", "CollectingFailed", "NothingToReceive", "LockAbandoned",
	}
	for _, name := range sampleNames() {
		want := ""
		if slices.Contains(refused, name) {
			want = "ne=0"
		}
		runValueTests(t, []valueTest{one(name, "debtor_id", `0`, want)})
	}
}

// Relations between fields are looked at when the fields themselves are valid.
func TestRelations(t *testing.T) {
	t.Parallel()
	const (
		policyPeg   = "peg_exchange_rate: with peg_debtor_id or not at all"
		documentPeg = "peg_debtor_id: with peg_exchange_rate and peg_debtor_info_locator or not at all"
	)
	runValueTests(t, []valueTest{
		{"AccountTransfer", map[string]string{"transfer_number": `5`}, "transfer_number: transfer_number > previous_transfer_number"},
		{"AccountTransfer", map[string]string{"transfer_number": `0`}, "transfer_number: min=1"},
		{"AccountTransfer", map[string]string{"transfer_number": `1`, "previous_transfer_number": `0`}, ""},
		{"AccountTransfer", map[string]string{"transfer_number": `5`, "ts": `0`}, "ts: timestamp"},
		{"AccountTransfer", map[string]string{"previous_transfer_number": `-1`}, "previous_transfer_number: min=0"},
		{"RejectedTransfer", map[string]string{"status_code": `"OK"`}, "status_code: ne=OK"},
		{"RejectedTransfer", map[string]string{"status_code": `"ok"`}, ""},
		{"RejectedTransfer", map[string]string{"status_code": `""`}, ""},
		{"FinalizedTransfer", map[string]string{"status_code": `"TIMEOUT"`}, "committed_amount: committed_amount == 0 or status_code == OK"},
		{"FinalizedTransfer", map[string]string{"status_code": `"TIMEOUT"`, "committed_amount": `0`}, ""},
		{"FinalizedTransfer", map[string]string{"committed_amount": `0`}, ""},
		{"FinalizedTransfer", map[string]string{"status_code": `"TIMEOUT"`, "committed_amount": `-1`}, "committed_amount: min=0"},
		{"UpdatedPolicy", map[string]string{"min_principal": `5`}, ""},
		{"UpdatedPolicy", map[string]string{"min_principal": `6`}, "min_principal: min_principal <= max_principal"},
		{"UpdatedPolicy", map[string]string{"max_principal": ``, "min_principal": `6`}, "max_principal: required"},
		{"UpdatedPolicy", map[string]string{"peg_debtor_id": `null`}, policyPeg},
		{"UpdatedPolicy", map[string]string{"peg_exchange_rate": ``}, policyPeg},
		{"UpdatedPolicy", map[string]string{"peg_exchange_rate": ``, "peg_debtor_id": `""`}, "peg_debtor_id: int64"},
		{
			"UpdatedPolicy",
			map[string]string{"min_principal": `6`, "peg_debtor_id": `null`},
			"min_principal: min_principal <= max_principal, " + policyPeg,
		},
		{"StoreDocument.pegged", map[string]string{"peg_debtor_id": `null`}, documentPeg},
		{"StoreDocument.pegged", map[string]string{"peg_exchange_rate": `null`}, documentPeg},
		{"StoreDocument.pegged", map[string]string{"peg_debtor_info_locator": `null`}, documentPeg},
		{"StoreDocument.pegged", map[string]string{"peg_debtor_info_locator": `""`, "peg_debtor_id": `0`}, ""},
		{"StoreDocument", map[string]string{"peg_debtor_info_locator": `""`}, documentPeg},
		{"StoreDocument.pegged", map[string]string{"will_not_change_until": `null`}, ""},
		{"PrepareTransfer", map[string]string{"max_locked_amount": `0`}, "min_locked_amount: min_locked_amount <= max_locked_amount"},
		{"PrepareTransfer", map[string]string{"max_locked_amount": `0`, "min_locked_amount": `0`}, ""},
		{"PrepareTransfer", map[string]string{"coordinator_type": `"direct"`}, ""},
		{
			"PrepareTransfer",
			map[string]string{"coordinator_type": `"direct"`, "coordinator_id": `1`},
			"coordinator_id: coordinator_id == creditor_id",
		},
		{
			"PrepareTransfer",
			map[string]string{"coordinator_type": `"issuing"`},
			"creditor_id: creditor_id == 0, coordinator_id: coordinator_id == debtor_id",
		},
		{"PrepareTransfer", map[string]string{"coordinator_type": `"issuing"`, "coordinator_id": `-2`, "creditor_id": `0`}, ""},
		{"PrepareTransfer", map[string]string{"coordinator_type": `"agent"`, "coordinator_id": `1`}, ""},
	})
}

// An outgoing message can be validated before it is written.
func TestValidate(t *testing.T) {
	t.Parallel()
	for name, m := range samples() {
		if err := smp.Validate(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := smp.Validate(&smp.CandidateOffer{TS: sentAt, LastTransferNumber: -1})
	if got := violations(err); !slices.Equal(got, []string{"amount: ne=0", "last_transfer_number: min=0"}) {
		t.Errorf("the violations are %q", got)
	}
	if smp.Validate((*smp.CandidateOffer)(nil)) == nil {
		t.Error("a nil message passes")
	}
}
