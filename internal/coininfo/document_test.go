package coininfo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// complete is a document with all members that the format has.
const complete = `{
  "type": "CoinInfo-v2",
  "revision": 7,
  "latestDebtorInfo": {"uri": "https://agent.example/eur"},
  "summary": "A currency for tests",
  "debtorIdentity": {"type": "DebtorIdentity", "uri": "swpt:1001", "more": [null]},
  "debtorName": "Ünit",
  "debtorHomepage": {"uri": "https://example.com/"},
  "amountDivisor": 100.0,
  "decimalPlaces": 2,
  "unit": "EUR",
  "willNotChangeUntil": "2027-01-02T03:04:05.678901234+01:00",
  "peg": {
    "type": "Peg",
    "exchangeRate": 1.25,
    "display": {"type": "PegDisplay", "amountDivisor": 1.0},
    "latestDebtorInfo": {"uri": "https://agent.example/usd"},
    "debtorIdentity": {"type": "DebtorIdentity-v3", "uri": "swpt:18446744073709551615"}
  }
}`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := coininfo.Parse([]byte(complete))
	want := coininfo.Document{
		Locator: "https://agent.example/eur", DebtorID: 1001,
		Peg:                &coininfo.Peg{Locator: "https://agent.example/usd", DebtorID: -1, Rate: 1.25},
		WillNotChangeUntil: new(time.Date(2027, 1, 2, 2, 4, 5, 678901000, time.UTC)),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Nothing but what the service uses is looked at, not even whether it is there.
func TestParseLeastDocument(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{
		"nothing else":    ``,
		"display members": `"revision":-1,"summary":7,"debtorName":null,"debtorHomepage":[],"amountDivisor":"x","decimalPlaces":{},"unit":false,"localization":1,`,
		"other case":      `"Peg":5,"PEG":null,"Type":"X","WillNotChangeUntil":3,"TYPE":null,`,
		"repeated":        `"type":5,"latestDebtorInfo":null,"debtorIdentity":{},`,
		"deepest":         `"x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `,`,
		"braces in text":  `"x":"` + strings.Repeat(`{[\"\\`, 40) + `",`,
		"half a character": `"x":"\ud800",` + // nobody reads it
			`"\udc00":1,`,
	} {
		got, err := coininfo.Parse([]byte(`{` + more +
			`"type":"CoinInfo","latestDebtorInfo":{"uri":""},"debtorIdentity":{"uri":"swpt:0","type":"DebtorIdentity"}}`))
		if err != nil || !reflect.DeepEqual(got, coininfo.Document{}) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// replace returns the complete document with another value at a path, or without it.
func replace(tb testing.TB, path, value string) []byte {
	tb.Helper()
	var root any
	if err := json.Unmarshal([]byte(complete), &root); err != nil {
		tb.Fatal(err)
	}
	const here = "\x01"
	parent := root
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		parent = parent.(map[string]any)[step]
	}
	members := parent.(map[string]any)
	if value == "" {
		delete(members, steps[len(steps)-1])
	} else {
		members[steps[len(steps)-1]] = here
	}
	body, err := json.Marshal(root)
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(strings.Replace(string(body), `"\u0001"`, value, 1))
}

// Each rule of the table of members, and each limit from both sides.
func TestMembers(t *testing.T) {
	t.Parallel()
	const (
		missing   = "is missing"
		noObject  = "must be an object"
		noText    = "must be a string of Unicode characters, U+0000 excepted"
		tooLong   = "must not have more than 200 characters"
		noURI     = `must be "swpt:" and an unsigned number of 64 bits`
		noInstant = "must be a date and a time of ISO 8601"
		noNumber  = "must be a number that is not too large"
		surplus   = "must not have other members than uri"
	)
	noType := func(name string) string {
		return fmt.Sprintf("must be %q, or that with a version, as in %q", name, name+"-v2")
	}
	const valid = ""
	cases := []struct{ path, value, problem string }{
		{"latestDebtorInfo", `{"uri":"x","type":"X"}`, surplus},
		{"latestDebtorInfo", `{"uri":"x","uri":"y"}`, valid},
		{"latestDebtorInfo", `{"uri":"x","Uri":"y"}`, surplus},
		{"peg.latestDebtorInfo", `{"uri":"x","":null}`, surplus},
		{"willNotChangeUntil", ``, valid},
		{"willNotChangeUntil", `null`, noInstant},
		{"willNotChangeUntil", `1`, noInstant},
		{"willNotChangeUntil", `"2027-01-02"`, noInstant},
		{"willNotChangeUntil", `"2027-01-02T03:04Z` + strings.Repeat(" ", 84) + `"`, noInstant},
		{"willNotChangeUntil", `"2027-01-02T03:04+00:00Z"`, noInstant},
		{"willNotChangeUntil", `"9999-12-31T23:59:59-01"`, noInstant},
		{"peg", ``, valid},
		{"peg.exchangeRate", ``, missing},
		{"peg.exchangeRate", `null`, noNumber},
		{"peg.exchangeRate", `"1.5"`, noNumber},
		{"peg.exchangeRate", `true`, noNumber},
		{"peg.exchangeRate", `[1]`, noNumber},
		{"peg.exchangeRate", `1e309`, noNumber},
		{"peg.exchangeRate", `-1e309`, noNumber},
		{"peg.exchangeRate", `-1e-300`, "must not be negative"},
		{"peg.exchangeRate", `0`, valid},
		{"peg.exchangeRate", `-0.0`, valid},
		{"peg.exchangeRate", `1e-400`, valid},
		{"peg.exchangeRate", `1.7976931348623157e308`, valid},
	}
	for path, name := range map[string]string{
		"type": "CoinInfo", "debtorIdentity.type": "DebtorIdentity", "peg.type": "Peg", "peg.debtorIdentity.type": "DebtorIdentity",
	} {
		for _, version := range []string{"", "-v1", "-v999999", `\u002dv10`} {
			cases = append(cases, struct{ path, value, problem string }{path, `"` + name + version + `"`, valid})
		}
		for _, value := range []string{
			`"` + name + `-v0"`, `"` + name + `-v01"`, `"` + name + `-v1000000"`, `"` + name + `-v"`, `"` + name + `\n"`, `"` + name + `-v2\n"`,
			`"\n` + name + `"`, `"x` + name + `"`, `"` + strings.ToLower(name) + `"`, `""`, `null`, `1`, `["` + name + `"]`,
		} {
			cases = append(cases, struct{ path, value, problem string }{path, value, noType(name)})
		}
	}
	for _, path := range []string{"latestDebtorInfo.uri", "peg.latestDebtorInfo.uri"} {
		cases = append(cases, []struct{ path, value, problem string }{
			{path, `"` + strings.Repeat("ж", 200) + `"`, valid},
			{path, `"` + strings.Repeat("ж", 201) + `"`, tooLong},
			{path, `"` + strings.Repeat("\U0001F600", 199) + `\ud83d\ude00"`, valid},
			{path, `"\ufffd�\\ud800 \"\n"`, valid},
			{path, `"a\u0000"`, noText},
			{path, `"\ud800"`, noText},
			{path, `"\ud800\u0041"`, noText},
			{path, `"\udc00\ud800"`, noText},
			{path, `"\ud83d\ude00\ude00"`, noText},
			{path, `null`, noText},
			{path, `1`, noText},
		}...)
	}
	for _, path := range []string{"debtorIdentity.uri", "peg.debtorIdentity.uri"} {
		for _, value := range []string{
			"swpt:18446744073709551616", "swpt:", "SWPT:1", "swpt:-1", "swpt:+1", "swpt:1/x", "swpt:1\\n", " swpt:1", "swpt:000000000000000000001", "",
		} {
			cases = append(cases, struct{ path, value, problem string }{path, `"` + value + `"`, noURI})
		}
		cases = append(cases, []struct{ path, value, problem string }{
			{path, `"swpt:00000000000000000001"`, valid},
			{path, `"` + strings.Repeat("x", 101) + `"`, "must not have more than 100 characters"},
			{path, `"` + strings.Repeat("ж", 100) + `"`, noURI},
			{path, `1`, noText},
		}...)
	}
	for _, path := range []string{"latestDebtorInfo", "debtorIdentity", "peg", "peg.latestDebtorInfo", "peg.debtorIdentity"} {
		for _, value := range []string{`null`, `"x"`, `1`, `[]`, `true`} {
			cases = append(cases, struct{ path, value, problem string }{path, value, noObject})
		}
	}
	for _, path := range []string{
		"type", "latestDebtorInfo", "latestDebtorInfo.uri", "debtorIdentity", "debtorIdentity.type", "debtorIdentity.uri",
		"peg.type", "peg.latestDebtorInfo", "peg.latestDebtorInfo.uri", "peg.debtorIdentity", "peg.debtorIdentity.type", "peg.debtorIdentity.uri",
	} {
		cases = append(cases, struct{ path, value, problem string }{path, "", missing})
	}
	for _, c := range cases {
		_, err := coininfo.Parse(replace(t, c.path, c.value))
		if c.problem == valid {
			if err != nil {
				t.Errorf("%s %s: %v", c.path, c.value, err)
			}
			continue
		}
		mustFail(t, c.path+" "+c.value, err, coininfo.Problem{Path: c.path, Reason: c.problem})
	}
}

func mustFail(t *testing.T, what string, err error, want ...coininfo.Problem) {
	t.Helper()
	invalid, ok := errors.AsType[*coininfo.Error](err)
	if !ok || !errors.Is(err, coininfo.ErrInvalid) || !slices.Equal(invalid.Problems, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]swpt.DebtorID{
		"swpt:6199429176": 6199429176, "swpt:18446744073709551615": -1, "swpt:9223372036854775808": math.MinInt64, "swpt:0": 0,
	} {
		got, err := coininfo.Parse(replace(t, "debtorIdentity.uri", `"`+value+`"`))
		if err != nil || got.DebtorID != want {
			t.Errorf("%s: got %d, %v", value, got.DebtorID, err)
		}
	}
	for value, want := range map[string]time.Time{
		"2027-01-02T03:04:05":               time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		"2027-01-02 03:04":                  time.Date(2027, 1, 2, 3, 4, 0, 0, time.UTC),
		"2027-01-02T03:04:05.123456999999":  time.Date(2027, 1, 2, 3, 4, 5, 123456000, time.UTC),
		"2027-01-02T03:04:05.1-0230":        time.Date(2027, 1, 2, 5, 34, 5, 100000000, time.UTC),
		"9999-12-31T23:59:59+00:00":         time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		"0001-01-01T00:00:00.000000000000Z": time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		got, err := coininfo.Parse(replace(t, "willNotChangeUntil", `"`+value+`"`))
		if err != nil || !got.WillNotChangeUntil.Equal(want) {
			t.Errorf("%s: got %v, %v", value, got.WillNotChangeUntil, err)
		}
	}
	for value, want := range map[string]float64{"-0.0": 0, "0": 0, "2": 2, "1.7976931348623157e308": math.MaxFloat64, "5e-324": 5e-324} {
		got, err := coininfo.Parse(replace(t, "peg.exchangeRate", value))
		if err != nil || math.Float64bits(got.Peg.Rate) != math.Float64bits(want) {
			t.Errorf("%s: got %v, %v", value, got.Peg, err)
		}
	}
}

func TestSyntax(t *testing.T) {
	t.Parallel()
	const noJSON = "must be valid JSON"
	for body, reason := range map[string]string{
		"":             noJSON,
		complete + "x": noJSON,
		`{"type":NaN}`: noJSON,
		strings.Replace(complete, "1.25", "Infinity", 1):     noJSON,
		strings.Replace(complete, "1.25", "NaN", 1):          noJSON,
		strings.Replace(complete, "1.25", ".5", 1):           noJSON,
		"\ufeff" + complete:                                  "must not begin with a byte-order mark",
		strings.Replace(complete, "Ünit", "\xff", 1):         "must be valid UTF-8",
		strings.Replace(complete, "Ünit", "\xed\xa0\x80", 1): "must be valid UTF-8",
		strings.Replace(complete, "Ünit", "\xc0\xaf", 1):     "must be valid UTF-8",
		`[]`:   "must be an object",
		`null`: "must be an object",
		`"x"`:  "must be an object",
		strings.Replace(complete, "[null]", strings.Repeat("[", 31)+strings.Repeat("]", 31), 1): "must not be nested deeper than 32 levels",
		strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33):                             "must not be nested deeper than 32 levels",
	} {
		_, err := coininfo.Parse([]byte(body))
		mustFail(t, fmt.Sprintf("%.100q", body), err, coininfo.Problem{Path: "document", Reason: reason})
	}
}

// All problems are told at once, in the order of the members' table, and without anything from the document.
func TestAllProblems(t *testing.T) {
	t.Parallel()
	_, err := coininfo.Parse([]byte(`{"type":"secret","debtorIdentity":{"uri":"secret"},"peg":{"type":"Peg","exchangeRate":-7}}`))
	const want = `invalid CoinInfo document: type must be "CoinInfo", or that with a version, as in "CoinInfo-v2", ` +
		`latestDebtorInfo is missing, debtorIdentity.type is missing, debtorIdentity.uri must be "swpt:" and an unsigned number of 64 bits, ` +
		`peg.latestDebtorInfo is missing, peg.debtorIdentity is missing, peg.exchangeRate must not be negative`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// What is read can be written, and read again; and messages may have it.
func FuzzParse(f *testing.F) {
	f.Add([]byte(complete))
	f.Add(replace(f, "peg", ""))
	f.Add(replace(f, "latestDebtorInfo.uri", `"\ud83d\ude00\ufffd\\\"\/\n"`))
	for _, body := range []string{`{}`, `[{}]`, `{"type":"CoinInfo\n"}`, "{\"a\":\"\xff\"}", `{"latestDebtorInfo":{"uri":"\ud800"}}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := coininfo.Parse(body)
		if err != nil {
			if !errors.Is(err, coininfo.ErrInvalid) || len(err.Error()) > 2000 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		again, err := coininfo.Parse(write(t, d))
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("%q: read %+v, and then %+v, %v", body, d, again, err)
		}
		m := &smp.StoreDocument{DebtorInfoLocator: d.Locator, DebtorID: d.DebtorID, WillNotChangeUntil: d.WillNotChangeUntil, TS: time.Unix(0, 0)}
		if d.Peg != nil {
			m.PegDebtorInfoLocator, m.PegDebtorID, m.PegExchangeRate = &d.Peg.Locator, &d.Peg.DebtorID, &d.Peg.Rate
		}
		if err := smp.Validate(m); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if _, err := m.AppendJSON(nil); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
	})
}

func write(t *testing.T, d coininfo.Document) []byte {
	t.Helper()
	members := func(typeName, locator string, id swpt.DebtorID) map[string]any {
		return map[string]any{
			"type":             typeName,
			"latestDebtorInfo": map[string]any{"uri": locator},
			"debtorIdentity":   map[string]any{"type": "DebtorIdentity", "uri": smp.DebtorURI(id)},
		}
	}
	root := members("CoinInfo", d.Locator, d.DebtorID)
	if d.Peg != nil {
		peg := members("Peg", d.Peg.Locator, d.Peg.DebtorID)
		maps.Copy(peg, map[string]any{"exchangeRate": d.Peg.Rate})
		root["peg"] = peg
	}
	if d.WillNotChangeUntil != nil {
		root["willNotChangeUntil"] = d.WillNotChangeUntil.Format("2006-01-02T15:04:05.999999Z07:00")
	}
	body, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
