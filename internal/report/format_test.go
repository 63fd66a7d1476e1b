package report

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFormatValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value float64
		want  string
	}{
		{0, "0"},
		{0.004, "0"},
		{12.5, "12.5"},
		{999.99, "999.99"},
		{999.996, "1,000"},
		{1234.5, "1,235"},
		{-1234.5, "-1,235"},
		{999_999.4, "999,999"},
		{999_999.6, "1 M"},
		{1_234_567, "1.23 M"},
		{12_345_678, "12.3 M"},
		{99_960_000, "100 M"},
		{999.4e6, "999 M"},
		{999.6e6, "1 B"},
		{4.56e12, "4.56 T"},
		{999.6e12, "1×10¹⁵"},
		{1.2e21, "1.2×10²¹"},
		{3.4e57, "3.4×10⁵⁷"},
		{math.MaxFloat64, "1.8×10³⁰⁸"},
		{math.NaN(), "–"},
		{math.Inf(1), "–"},
	} {
		if got := strings.ReplaceAll(formatValue(c.value), "\u00a0", " "); got != c.want {
			t.Errorf("formatValue(%v) = %q, want %q", c.value, got, c.want)
		}
	}
}

func TestFormatShare(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{
		-0.1: "0 %", 0: "0 %", 1e-9: "< 0.1 %", 0.001: "0.1 %", 0.5: "50.0 %", 0.9994: "99.9 %", 0.99999: "> 99.9 %",
		1: "100 %", 1.0001: "100 %", math.Inf(1): "–",
	} {
		if got := strings.ReplaceAll(formatShare(share), "\u00a0", " "); got != want {
			t.Errorf("formatShare(%v) = %q, want %q", share, got, want)
		}
	}
	if got := formatShare(math.NaN()); got != "–" {
		t.Errorf("formatShare(NaN) = %q", got)
	}
}

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		250 * time.Microsecond: "250 µs", 42 * time.Millisecond: "42 ms", 1260 * time.Millisecond: "1.3 s",
		125 * time.Second: "2 min 5 s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestFormatCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 2_000_000: "2,000,000", -12_345: "-12,345"} {
		if got := formatCount(n); got != want {
			t.Errorf("formatCount(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[number]string{
		0: "0", 2.5: "2.5", 1.0 / 3: "0.333333333", 1e57: "1e+57", 1e-37: "1e-37",
		number(math.Inf(1)): `"Infinity"`, number(math.Inf(-1)): `"-Infinity"`,
	} {
		if got, err := json.Marshal(n); err != nil || string(got) != want {
			t.Errorf("number %v is %s in JSON (%v), want %s", float64(n), got, err, want)
		}
	}
	if got, err := json.Marshal(number(math.NaN())); err != nil || string(got) != `"NaN"` {
		t.Errorf("NaN is %s in JSON (%v)", got, err)
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for locator, want := range map[string]string{
		"https://example.com/ü": "https://example.com/ü",
		"":                      "(empty locator)",
		"a\x00b\nc":             "a\ufffdb\ufffdc",
		"\u202efdp.exe\u2066":   "\ufffdfdp.exe\ufffd",
		"bad \xff utf-8":        "bad \ufffd utf-8",
	} {
		if got := printable(locator); got != want {
			t.Errorf("printable(%q) = %q, want %q", locator, got, want)
		}
	}
	if got := printable(strings.Repeat("ü", 1000)); utf8.RuneCountInString(got) != maxLocator+1 {
		t.Errorf("a long locator has still %d characters", utf8.RuneCountInString(got))
	}
}

func TestDisplayName(t *testing.T) {
	t.Parallel()
	for locator, want := range map[string]string{
		"https://example.com/1": "example.com/1",
		"http://example.com/1":  "example.com/1",
		"https://":              "https://",
		"ftp://example.com":     "ftp://example.com",
		"https://example.com/currencies/of/a/very/long/path/12345678901234567890": "example.com/currencies/of/a…12345678901234567890",
	} {
		if got := displayName(locator); got != want {
			t.Errorf("displayName(%q) = %q, want %q", locator, got, want)
		}
	}
}
