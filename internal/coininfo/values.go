package coininfo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// typePatterns are what types are called. Without the flag (?m), $ is the very end, after any newline.
var typePatterns = map[string]*regexp.Regexp{
	"CoinInfo":       regexp.MustCompile(`^CoinInfo(-v[1-9]\d{0,5})?$`),
	"DebtorIdentity": regexp.MustCompile(`^DebtorIdentity(-v[1-9]\d{0,5})?$`),
	"Peg":            regexp.MustCompile(`^Peg(-v[1-9]\d{0,5})?$`),
}

// syntaxProblem tells why a body is not JSON that is worth reading, or returns "".
func syntaxProblem(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return "must not begin with a byte-order mark"
	case !utf8.Valid(body):
		return "must be valid UTF-8"
	case !json.Valid(body):
		return "must be valid JSON"
	case depth(body) > maxDepth:
		return fmt.Sprintf("must not be nested deeper than %d levels", maxDepth)
	default:
		return ""
	}
}

// depth returns how deep objects and arrays are nested in valid JSON.
func depth(body []byte) (deepest int) {
	level := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			level++
			deepest = max(deepest, level)
		case '}', ']':
			level--
		case '"':
			for i++; body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}

// parseString returns what a JSON string stands for. It is not ok if that is no string, not Unicode text, or has a
// U+0000, which databases cannot store.
func parseString(raw json.RawMessage) (text string, ok bool) {
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return text, !strings.Contains(text, "\x00") && !hasLoneSurrogate(string(raw))
}

// hasLoneSurrogate reports whether a JSON string has an escape for half a character, which encoding/json replaces
// silently.
func hasLoneSurrogate(raw string) bool {
	for {
		i := strings.IndexByte(raw, '\\')
		if i < 0 {
			return false
		}
		unit, ok := utf16Unit(raw[i:])
		if !ok {
			raw = raw[i+len(`\n`):]
			continue
		}
		raw = raw[i+len(`\u0000`):]
		if !utf16.IsSurrogate(unit) {
			continue
		}
		second, ok := utf16Unit(raw)
		if !ok || utf16.DecodeRune(unit, second) == utf8.RuneError {
			return true
		}
		raw = raw[len(`\u0000`):]
	}
}

// utf16Unit reads an escape for a UTF-16 code unit, if the text begins with one.
func utf16Unit(text string) (unit rune, ok bool) {
	if len(text) < len(`\u0000`) || text[:2] != `\u` {
		return 0, false
	}
	value, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(value), err == nil
}

// parseNumber returns the value of a JSON number, unless that is too large.
func parseNumber(raw json.RawMessage) (value float64, ok bool) {
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	value, err := strconv.ParseFloat(string(raw), 64)
	return value, err == nil
}

// parseInstant reads an instant, which without an offset is in UTC.
func parseInstant(text string) (time.Time, bool) {
	t, err := smp.ParseTimestamp(text)
	if err != nil {
		t, err = smp.ParseTimestamp(text + "Z")
	}
	return t, err == nil
}

func parseDebtorURI(uri string) (swpt.DebtorID, bool) {
	id, err := smp.ParseDebtorURI(uri)
	return id, err == nil
}
