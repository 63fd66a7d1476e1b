package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxLocator is the number of characters of a locator that the page shows. Locators have no limit of their own.
const maxLocator = 160

// A number is a float64 that survives JSON: what is not finite becomes a string that JavaScript's Number understands.
// Nine significant digits are more than the page shows.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	v := float64(n)
	switch {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	}
	return strconv.AppendFloat(nil, v, 'g', 9, 64), nil
}

// formatCount groups the digits of a number: 1,234,567.
func formatCount(n int) string { return groupDigits(strconv.Itoa(n)) }

func groupDigits(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// formatValue writes an amount of money for people: 12.5, 7,700, 1.23 M, 4.5 B, 6.78 T, 1.2×10²¹. The script's
// formatValue does the same.
func formatValue(v float64) string {
	switch abs := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case abs < 999.995:
		return trimZeros(strconv.FormatFloat(v, 'f', 2, 64))
	case abs < 999_999.5:
		return groupDigits(strconv.FormatFloat(math.Round(v), 'f', 0, 64))
	case abs < 999.5e6:
		return significant(v/1e6) + "\u00a0M"
	case abs < 999.5e9:
		return significant(v/1e9) + "\u00a0B"
	case abs < 999.5e12:
		return significant(v/1e12) + "\u00a0T"
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 2, 64), "e+")
	return trimZeros(mantissa) + "×10" + superscript(strings.TrimLeft(exponent, "0"))
}

// significant rounds to three significant digits a number whose absolute value is from 1 to 1000.
func significant(v float64) string {
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))+1e-3))
	return trimZeros(strconv.FormatFloat(v, 'f', max(0, min(decimals, 2)), 64))
}

func trimZeros(decimal string) string {
	if !strings.Contains(decimal, ".") {
		return decimal
	}
	return strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
}

func superscript(digits string) string {
	return strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴",
		"5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹", "-", "⁻").Replace(digits)
}

// formatShare writes a share as a percentage with one decimal, and rounds neither to nothing nor to everything.
func formatShare(share float64) string {
	switch {
	case math.IsNaN(share) || math.IsInf(share, 0):
		return "–"
	case share <= 0:
		return "0\u00a0%"
	case share < 0.0005:
		return "<\u00a00.1\u00a0%"
	case share >= 1:
		return "100\u00a0%"
	case share > 0.9995:
		return ">\u00a099.9\u00a0%"
	}
	return strconv.FormatFloat(share*100, 'f', 1, 64) + "\u00a0%"
}

func formatDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}

// printable makes a locator fit to be shown: no control characters, nor those that change the direction or the place
// of the text around them, nor more than maxLocator characters.
func printable(locator string) string {
	if locator == "" {
		return "(empty locator)"
	}
	var b strings.Builder
	n := 0
	for _, r := range locator {
		if n++; n > maxLocator {
			return b.String() + "…"
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

// displayName is what the page calls a currency: its locator without the scheme, cut in the middle if it is long.
func displayName(locator string) string {
	const longest, tail = 48, 20
	name := printable(locator)
	for _, prefix := range []string{"https://", "http://"} {
		if rest, found := strings.CutPrefix(name, prefix); found && rest != "" {
			name = rest
			break
		}
	}
	if runes := []rune(name); len(runes) > longest {
		return string(runes[:longest-tail-1]) + "…" + string(runes[len(runes)-tail:])
	}
	return name
}
