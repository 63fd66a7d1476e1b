package smp

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth limits how deep arrays and objects, which occur in unknown fields only, may be nested. It is the limit of
// encoding/json, so both packages agree on what JSON is.
const maxDepth = 10000

// A tokenKind is the type of a JSON value.
type tokenKind uint8

const (
	kindNull tokenKind = iota
	kindBool
	kindNumber
	kindString
	kindComposite // array or object
)

// A token is one JSON value. Nothing is converted before it is known what for.
type token struct {
	kind     tokenKind
	integral bool   // number without point and exponent
	escaped  bool   // string in which backslashes remain
	text     string // the value as written, of a string without the quotes
}

// A scanner takes a JSON text apart by the grammar of RFC 8259, nothing added. The text must be valid UTF-8.
type scanner struct {
	text string
	pos  int
}

// fail returns the error for what stands at the current position.
func (s *scanner) fail(expected string) error {
	return fmt.Errorf("%w: at byte %d, where %s should be", ErrSyntax, s.pos, expected)
}

// peek skips white space and returns the byte that follows, or 0 at the end of the text.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
		s.pos++
	}
	return 0
}

// member goes to the next member of the object that the scanner is in: it returns the key, and stands before the
// value. At the end of the object more is false.
func (s *scanner) member(first bool) (key token, more bool, err error) {
	switch c := s.peek(); {
	case c == '}':
		s.pos++
		return token{}, false, nil
	case first:
	case c == ',':
		s.pos++
	default:
		return token{}, false, s.fail("a comma or a closing brace")
	}
	if s.peek() != '"' {
		return token{}, false, s.fail("a field name")
	}
	if key, err = s.str(); err != nil {
		return token{}, false, err
	}
	if s.peek() != ':' {
		return token{}, false, s.fail("a colon")
	}
	s.pos++
	return key, true, nil
}

// value returns the value that follows and goes to its end. Composite values are checked but not kept.
func (s *scanner) value(depth int) (token, error) {
	switch c := s.peek(); {
	case c == '"':
		return s.str()
	case c == '-' || isDigit(c):
		return s.number()
	case c == 't':
		return s.literal("true", kindBool)
	case c == 'f':
		return s.literal("false", kindBool)
	case c == 'n':
		return s.literal("null", kindNull)
	case c == '{' && depth < maxDepth:
		return token{kind: kindComposite}, s.skipObject(depth + 1)
	case c == '[' && depth < maxDepth:
		return token{kind: kindComposite}, s.skipArray(depth + 1)
	default:
		return token{}, s.fail("a value")
	}
}

func (s *scanner) literal(word string, kind tokenKind) (token, error) {
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return token{}, s.fail(word)
	}
	s.pos += len(word)
	return token{kind: kind, text: word}, nil
}

func (s *scanner) skipObject(depth int) error {
	s.pos++ // the brace
	for first := true; ; first = false {
		_, more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		if _, err := s.value(depth); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray(depth int) error {
	s.pos++ // the bracket
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		if _, err := s.value(depth); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return s.fail("a comma or a closing bracket")
		}
	}
}

// number = [ "-" ] ( "0" | digit1-9 *digit ) [ "." 1*digit ] [ ( "e" | "E" ) [ "+" | "-" ] 1*digit ]
func (s *scanner) number() (token, error) {
	start := s.pos
	if s.text[s.pos] == '-' {
		s.pos++
	}
	leadingZero := s.pos < len(s.text) && s.text[s.pos] == '0'
	if digits := s.skipDigits(); digits == 0 || leadingZero && digits > 1 {
		return token{}, s.fail("a number")
	}
	integral := true
	if s.pos < len(s.text) && s.text[s.pos] == '.' {
		integral = false
		s.pos++
		if s.skipDigits() == 0 {
			return token{}, s.fail("a digit")
		}
	}
	if s.pos < len(s.text) && (s.text[s.pos] == 'e' || s.text[s.pos] == 'E') {
		integral = false
		s.pos++
		if s.pos < len(s.text) && (s.text[s.pos] == '+' || s.text[s.pos] == '-') {
			s.pos++
		}
		if s.skipDigits() == 0 {
			return token{}, s.fail("a digit")
		}
	}
	return token{kind: kindNumber, integral: integral, text: s.text[start:s.pos]}, nil
}

// skipDigits returns how many digits it has passed.
func (s *scanner) skipDigits() int {
	start := s.pos
	for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		s.pos++
	}
	return s.pos - start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// str returns the string that begins at the current position.
func (s *scanner) str() (token, error) {
	s.pos++ // the quote
	start, escaped := s.pos, false
	for {
		s.skipPlain()
		if s.pos == len(s.text) {
			return token{}, s.fail("a closing quote")
		}
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return token{kind: kindString, escaped: escaped, text: s.text[start : s.pos-1]}, nil
		case '\\':
			escaped = true
			if err := s.skipEscape(); err != nil {
				return token{}, err
			}
		default:
			return token{}, s.fail("an escaped control character")
		}
	}
}

// skipPlain goes to the next byte of a string that does not stand for itself. Most time is spent here.
func (s *scanner) skipPlain() {
	text, i := s.text, s.pos
	for i < len(text) && isPlainByte(text[i]) {
		i++
	}
	s.pos = i
}

// isPlainByte tells whether a byte stands for itself in a JSON string.
func isPlainByte(c byte) bool { return c >= ' ' && c != '"' && c != '\\' }

func (s *scanner) skipEscape() error {
	rest := s.text[s.pos+1:]
	switch {
	case rest == "":
	case strings.IndexByte(`"\/bfnrt`, rest[0]) >= 0:
		s.pos += 2
		return nil
	case rest[0] == 'u' && len(rest) >= 5:
		if _, ok := hexUnit(rest[1:5]); ok {
			s.pos += 6
			return nil
		}
	}
	return s.fail("an escape sequence")
}

// hexUnit reads the four digits of a \u escape: one UTF-16 code unit.
func hexUnit(digits string) (unit rune, ok bool) {
	for i := range 4 {
		digit, ok := hexDigit(digits[i])
		if !ok {
			return 0, false
		}
		unit = unit<<4 | rune(digit)
	}
	return unit, true
}

func hexDigit(c byte) (value byte, ok bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

// unescape returns the text that a string token stands for. It is not ok when the token contains a lone surrogate, so
// that it does not stand for any Unicode text.
func (t token) unescape() (text string, ok bool) {
	if !t.escaped {
		return t.text, true
	}
	var out strings.Builder
	out.Grow(len(t.text))
	for rest := t.text; rest != ""; {
		plain := strings.IndexByte(rest, '\\')
		if plain < 0 {
			out.WriteString(rest)
			break
		}
		out.WriteString(rest[:plain])
		code := rest[plain+1]
		rest = rest[plain+2:]
		switch code {
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r, length := unicodeEscape(rest)
			if length == 0 {
				return "", false
			}
			out.WriteRune(r)
			rest = rest[length:]
		default: // the three that stand for themselves
			out.WriteByte(code)
		}
	}
	return out.String(), true
}

// unicodeEscape reads what follows the letter of a \u escape: four digits, and for the upper planes a second escape.
// Length is 0 for a lone surrogate.
func unicodeEscape(rest string) (r rune, length int) {
	unit, _ := hexUnit(rest)
	if !utf16.IsSurrogate(unit) {
		return unit, 4
	}
	if len(rest) >= 10 && rest[4] == '\\' && rest[5] == 'u' {
		low, _ := hexUnit(rest[6:])
		if r = utf16.DecodeRune(unit, low); r != utf8.RuneError {
			return r, 10
		}
	}
	return 0, 0
}
