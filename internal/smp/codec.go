package smp

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Rules that the codec itself enforces. The other rules are the tags "validate" of the message types.
const (
	ruleRequired  = "required"  // missing or null
	ruleInt64     = "int64"     // an integer without point and exponent, of 64 bits
	ruleInt32     = "int32"     // the same, of 32 bits
	ruleFloat     = "float"     // a finite number
	ruleBool      = "bool"      // true or false
	ruleString    = "string"    // a string
	ruleUnicode   = "unicode"   // a string of Unicode characters, U+0000 excepted
	ruleDate      = "date"      // YYYY-MM-DD, years 1 to 9999
	ruleTimestamp = "timestamp" // see parseTimestamp
)

// A codec moves values of one Go type between a field of a message and JSON. Both functions return the rule that the
// value violates, or "".
type codec struct {
	set    func(field reflect.Value, tok token) (rule string)
	append func(dst []byte, field reflect.Value) (out []byte, rule string)
}

var (
	timeType = reflect.TypeFor[time.Time]()
	dateType = reflect.TypeFor[Date]()
)

// codecFor returns the codec for a Go type. It panics when there is none, which happens at start-up or never.
func codecFor(t reflect.Type) codec {
	switch {
	case t == timeType:
		return codec{setTimestamp, appendTimestampField}
	case t == dateType:
		return codec{setDate, appendDateField}
	}
	switch t.Kind() {
	case reflect.Int64:
		return codec{setInt64, appendInt}
	case reflect.Int32:
		return codec{setInt32, appendInt}
	case reflect.Float64:
		return codec{setFloat, appendFloatField}
	case reflect.Bool:
		return codec{setBool, appendBool}
	case reflect.String:
		return codec{setString, appendStringField}
	case reflect.Pointer:
		return optional(t.Elem())
	default:
		panic(fmt.Sprintf("smp: messages cannot have fields of type %v", t))
	}
}

// optional returns the codec for a pointer, which is null when nil.
func optional(t reflect.Type) codec {
	inner := codecFor(t)
	return codec{
		set: func(field reflect.Value, tok token) string {
			if tok.kind == kindNull {
				field.SetZero()
				return ""
			}
			field.Set(reflect.New(t))
			return inner.set(field.Elem(), tok)
		},
		append: func(dst []byte, field reflect.Value) ([]byte, string) {
			if field.IsNil() {
				return append(dst, "null"...), ""
			}
			return inner.append(dst, field.Elem())
		},
	}
}

func setInt64(field reflect.Value, tok token) string {
	return setInteger(field, tok, 64, ruleInt64)
}

func setInt32(field reflect.Value, tok token) string {
	return setInteger(field, tok, 32, ruleInt32)
}

func setInteger(field reflect.Value, tok token, bits int, rule string) string {
	if tok.kind != kindNumber || !tok.integral {
		return rule
	}
	value, err := strconv.ParseInt(tok.text, 10, bits)
	if err != nil {
		return rule
	}
	field.SetInt(value)
	return ""
}

func setFloat(field reflect.Value, tok token) string {
	if tok.kind != kindNumber {
		return ruleFloat
	}
	value, err := strconv.ParseFloat(tok.text, 64)
	if err != nil {
		return ruleFloat
	}
	field.SetFloat(value)
	return ""
}

func setBool(field reflect.Value, tok token) string {
	if tok.kind != kindBool {
		return ruleBool
	}
	field.SetBool(tok.text == "true")
	return ""
}

func setString(field reflect.Value, tok token) string {
	if tok.kind != kindString {
		return ruleString
	}
	text, ok := tok.unescape()
	// Only an escape can bring in a U+0000; the database could not store it.
	if !ok || tok.escaped && strings.IndexByte(text, 0) >= 0 {
		return ruleUnicode
	}
	field.SetString(text)
	return ""
}

func setDate(field reflect.Value, tok token) string {
	text, ok := tok.unescape()
	if tok.kind != kindString || !ok {
		return ruleDate
	}
	date, ok := parseDate(text)
	if !ok {
		return ruleDate
	}
	field.SetInt(int64(date))
	return ""
}

func setTimestamp(field reflect.Value, tok token) string {
	text, ok := tok.unescape()
	if tok.kind != kindString || !ok {
		return ruleTimestamp
	}
	t, ok := parseTimestamp(text)
	if !ok {
		return ruleTimestamp
	}
	*field.Addr().Interface().(*time.Time) = t
	return ""
}

func appendInt(dst []byte, field reflect.Value) ([]byte, string) {
	return strconv.AppendInt(dst, field.Int(), 10), ""
}

func appendBool(dst []byte, field reflect.Value) ([]byte, string) {
	return strconv.AppendBool(dst, field.Bool()), ""
}

func appendFloatField(dst []byte, field reflect.Value) ([]byte, string) {
	value := field.Float()
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return dst, ruleFloat
	}
	return appendFloat(dst, value), ""
}

// appendFloat writes the shortest form that reads as the same number, always with a point or an exponent, because some
// readers take a number without for an integer. The exponent is used where Python uses it.
func appendFloat(dst []byte, value float64) []byte {
	magnitude := math.Abs(value)
	if magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16) {
		return strconv.AppendFloat(dst, value, 'e', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, value, 'f', -1, 64)
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

func appendStringField(dst []byte, field reflect.Value) ([]byte, string) {
	text := field.String()
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return dst, ruleUnicode
	}
	return appendString(dst, text), ""
}

// appendString writes a JSON string. Only what must be escaped is escaped.
func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	plain := 0 // the beginning of the run that needs no escape
	for i := range len(text) {
		c := text[i]
		if isPlainByte(c) {
			continue
		}
		dst = append(append(dst, text[plain:i]...), '\\')
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, c)
		case '\b':
			dst = append(dst, 'b')
		case '\f':
			dst = append(dst, 'f')
		case '\n':
			dst = append(dst, 'n')
		case '\r':
			dst = append(dst, 'r')
		case '\t':
			dst = append(dst, 't')
		default:
			const digits = "0123456789abcdef"
			dst = append(dst, 'u', '0', '0', digits[c>>4], digits[c&0xf])
		}
	}
	return append(append(dst, text[plain:]...), '"')
}

func appendDateField(dst []byte, field reflect.Value) ([]byte, string) {
	day := Date(field.Int()).Time()
	if !representable(day) {
		return dst, ruleDate
	}
	return append(appendDate(append(dst, '"'), day), '"'), ""
}

func appendTimestampField(dst []byte, field reflect.Value) ([]byte, string) {
	t := *field.Addr().Interface().(*time.Time)
	if !representable(t) {
		return dst, ruleTimestamp
	}
	return append(appendTimestamp(append(dst, '"'), t), '"'), ""
}
