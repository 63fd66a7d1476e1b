package smp_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func TestDebtorURIs(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]swpt.DebtorID{
		"swpt:0": 0, "swpt:1": 1, "swpt:18446744073709551615": -1, "swpt:9223372036854775808": math.MinInt64,
		"swpt:9223372036854775807": math.MaxInt64,
	} {
		if got, err := smp.ParseDebtorURI(uri); err != nil || got != want {
			t.Errorf("%s is read as %d, %v; want %d", uri, got, err, want)
		}
		if got := smp.DebtorURI(want); got != uri {
			t.Errorf("%d is written as %s, want %s", want, got, uri)
		}
	}
	for uri, want := range map[string]swpt.DebtorID{"swpt:007": 7, "swpt:00000000000000000001": 1} {
		if got, err := smp.ParseDebtorURI(uri); err != nil || got != want {
			t.Errorf("%s is read as %d, %v; want %d", uri, got, err, want)
		}
	}
	for _, uri := range []string{
		"", "swpt", "swpt:", "1", "swpt:18446744073709551616", "swpt:99999999999999999999", "swpt:000000000000000000001", "SWPT:1", "Swpt:1",
		"swpt:-1", "swpt:+1", " swpt:1", "swpt:1 ", "swpt: 1", "swpt:1\n", "swpt:1\x00", "swpt:1/", "swpt:1/a", "swpt:1_0", "swpt:0x1", "swpt:a",
		"swpt:١", "swpt:１", "swpt://1", "swpt:1.0",
	} {
		if got, err := smp.ParseDebtorURI(uri); !errors.Is(err, smp.ErrInvalidURI) {
			t.Errorf("%q is read as %d, %v", uri, got, err)
		}
	}
}

func TestAccountURIs(t *testing.T) {
	t.Parallel()
	type account struct {
		debtor swpt.DebtorID
		id     string
	}
	nul := strings.Repeat("\x00", 100)
	for uri, want := range map[string]account{
		"swpt:1/abc-_=123":                               {1, "abc-_=123"},
		"swpt:1/!YSBi":                                   {1, "a b"},
		"swpt:1/h":                                       {1, "h"},
		"swpt:1/!JSRAJURmZGEt":                           {1, "%$@%Dfda-"},
		"swpt:18446744073709551615/=":                    {-1, "="},
		"swpt:1/!Pz8_":                                   {1, "???"},
		"swpt:1/!Pj4-":                                   {1, ">>>"},
		"swpt:1/" + strings.Repeat("x", 100):             {1, strings.Repeat("x", 100)},
		"swpt:1/!" + strings.Repeat("A", 134) + "==":     {1, nul},
		"swpt:1/!" + strings.Repeat("fn5-", 33) + "fg==": {1, strings.Repeat("~", 100)},
	} {
		debtor, id, err := smp.ParseAccountURI(uri)
		if err != nil || debtor != want.debtor || id != want.id {
			t.Errorf("%s is read as %d, %q, %v; want %v", uri, debtor, id, err, want)
		}
		if got, err := smp.AccountURI(want.debtor, want.id); err != nil || got != uri {
			t.Errorf("%v is written as %s, %v; want %s", want, got, err, uri)
		}
	}
	for uri, want := range map[string]account{"swpt:1/!aA==": {1, "h"}, "swpt:01/a": {1, "a"}} {
		if debtor, id, err := smp.ParseAccountURI(uri); err != nil || debtor != want.debtor || id != want.id {
			t.Errorf("%s is read as %d, %q, %v; want %v", uri, debtor, id, err, want)
		}
	}
}

func TestAccountURIsRefused(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"swpt:1", "swpt:1/", "swpt:1/!", "swpt:1/!a=A==", "swpt:1/!9A==", "swpt:1/" + strings.Repeat("x", 101), "swpt:1/a\n", "swpt:1/a b",
		"swpt:1/я", "swpt:1/a/b", "swpt:1/!!aA==", "swpt:1/a!", "swpt:1/!aA", "swpt:1/!aA=", "swpt:1/!aB==", "swpt:1/!aA==\n", "swpt:1/!Pz8/",
		"swpt:1/!Pj4+", "swpt:1/!====", "swpt:1/!=", "swpt:/a", "swpt:-1/a", "swpt:18446744073709551616/a", "SWPT:1/a", "swpt:1/%41",
		"swpt:1/!" + strings.Repeat("A", 136), "swpt:1/!" + strings.Repeat("A", 140), "/a", "",
	} {
		if debtor, id, err := smp.ParseAccountURI(uri); !errors.Is(err, smp.ErrInvalidURI) {
			t.Errorf("%q is read as %d, %q, %v", uri, debtor, id, err)
		}
	}
	for _, id := range []string{"", "я", "a\x80", strings.Repeat("x", 101), strings.Repeat(" ", 101)} {
		if uri, err := smp.AccountURI(1, id); !errors.Is(err, smp.ErrInvalidURI) {
			t.Errorf("account ID %q is written as %q, %v", id, uri, err)
		}
	}
}

func TestAccountURIsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		debtor := swpt.DebtorID(rapid.Int64().Draw(t, "debtor"))
		id := string(rapid.SliceOfN(rapid.ByteMax(127), 1, 100).Draw(t, "id"))
		uri, err := smp.AccountURI(debtor, id)
		if err != nil {
			t.Fatal(err)
		}
		checkURI(t, uri)
		if gotDebtor, gotID, err := smp.ParseAccountURI(uri); err != nil || gotDebtor != debtor || gotID != id {
			t.Fatalf("%d, %q comes back from %s as %d, %q, %v", debtor, id, uri, gotDebtor, gotID, err)
		}
	})
}

// checkURI makes sure that what can be read can be written, and is read the same again.
func checkURI(tb rapid.TB, uri string) {
	tb.Helper()
	if debtor, err := smp.ParseDebtorURI(uri); err == nil {
		canonical := smp.DebtorURI(debtor)
		if again, err := smp.ParseDebtorURI(canonical); err != nil || again != debtor || len(canonical) > len(uri) {
			tb.Fatalf("%q is read as %d, and %q as %d, %v", uri, debtor, canonical, again, err)
		}
	}
	debtor, id, err := smp.ParseAccountURI(uri)
	if err != nil {
		return
	}
	canonical, err := smp.AccountURI(debtor, id)
	if err != nil {
		tb.Fatalf("%q is read as %d, %q, but cannot be written: %v", uri, debtor, id, err)
	}
	againDebtor, againID, err := smp.ParseAccountURI(canonical)
	if err != nil || againDebtor != debtor || againID != id || len(canonical) > len(uri) {
		tb.Fatalf("%q is read as %d, %q, and %q as %d, %q, %v", uri, debtor, id, canonical, againDebtor, againID, err)
	}
}

func FuzzParseURI(f *testing.F) {
	for _, uri := range []string{
		"swpt:1", "swpt:18446744073709551615", "swpt:1/abc-_=123", "swpt:1/!YSBi", "swpt:1/!aA==", "swpt:1/!a=A==", "swpt:01/!9A==",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) { checkURI(t, uri) })
}
