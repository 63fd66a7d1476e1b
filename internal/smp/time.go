package smp

import (
	"errors"
	"fmt"
	"time"
)

// A Date is a day of the Gregorian calendar, counted from 1970-01-01, which is 0. On the wire it is written
// YYYY-MM-DD, so only the years 1 to 9999 can be sent.
type Date int32

const secondsPerDay = 24 * 60 * 60

// DateOf returns the day, in UTC, that an instant belongs to.
func DateOf(t time.Time) Date {
	seconds := t.Unix()
	days := seconds / secondsPerDay
	if seconds%secondsPerDay < 0 {
		days--
	}
	return Date(days)
}

// Time returns the beginning of the day, in UTC.
func (d Date) Time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// String returns the day as it is written on the wire.
func (d Date) String() string { return d.Time().Format(time.DateOnly) }

// parseDate reads YYYY-MM-DD.
func parseDate(text string) (Date, bool) {
	year, month, day, ok := datePrefix(text)
	if !ok || len(text) != len(time.DateOnly) {
		return 0, false
	}
	return DateOf(time.Date(year, month, day, 0, 0, 0, 0, time.UTC)), true
}

// datePrefix reads the YYYY-MM-DD at the beginning of a text.
func datePrefix(text string) (year int, month time.Month, day int, ok bool) {
	if len(text) < len(time.DateOnly) || text[4] != '-' || text[7] != '-' {
		return 0, 0, 0, false
	}
	year, yearOK := decimal(text[0:4])
	monthNumber, monthOK := decimal(text[5:7])
	day, dayOK := decimal(text[8:10])
	month = time.Month(monthNumber)
	ok = yearOK && monthOK && dayOK &&
		year >= 1 && 1 <= month && month <= 12 && 1 <= day && day <= daysIn(year, month)
	return year, month, day, ok
}

func daysIn(year int, month time.Month) int {
	switch month {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// decimal reads a text of ASCII digits only.
func decimal(digits string) (value int, ok bool) {
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return 0, false
		}
		value = 10*value + int(digits[i]-'0')
	}
	return value, digits != ""
}

// ErrInvalidTimestamp tells that a text is not a timestamp.
var ErrInvalidTimestamp = errors.New("invalid timestamp")

// ParseTimestamp reads an instant in any of the forms that messages may have it in (section 3.2), an offset from UTC
// included. The result is in UTC, cut to microseconds. Errors wrap [ErrInvalidTimestamp].
func ParseTimestamp(text string) (time.Time, error) {
	t, ok := parseTimestamp(text)
	if !ok {
		return time.Time{}, fmt.Errorf("%w %.100q", ErrInvalidTimestamp, text)
	}
	return t, nil
}

// parseTimestamp reads an instant as section 3.2 has it: a date, "T" or a space, hh:mm[:ss[.fraction]], and an offset
// from UTC. The result is in UTC, cut to microseconds. An instant whose year in UTC is not one of 1 to 9999 could not be
// written again, and is refused.
func parseTimestamp(text string) (time.Time, bool) {
	year, month, day, ok := datePrefix(text)
	if !ok || len(text) < len("2006-01-02T15:04Z") || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' {
		return time.Time{}, false
	}
	hour, hourOK := decimal(text[11:13])
	minute, minuteOK := decimal(text[14:16])
	second, micros, rest, secondOK := parseSeconds(text[16:])
	offset, offsetOK := parseOffset(rest)
	if !hourOK || !minuteOK || !secondOK || !offsetOK || hour > 23 || minute > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, second, micros*1000, time.UTC).Add(-offset)
	return t, representable(t)
}

// representable tells whether an instant can be written with a year of four digits.
func representable(t time.Time) bool {
	year := t.UTC().Year()
	return 1 <= year && year <= 9999
}

// parseSeconds reads the optional part ":ss[.f…]" of a timestamp, with 1 to 12 digits of fraction, and returns what
// follows it.
func parseSeconds(text string) (second, micros int, rest string, ok bool) {
	if text == "" || text[0] != ':' {
		return 0, 0, text, true
	}
	if len(text) < 3 {
		return 0, 0, "", false
	}
	second, ok = decimal(text[1:3])
	rest = text[3:]
	if !ok || second > 59 {
		return 0, 0, "", false
	}
	if rest == "" || rest[0] != '.' {
		return second, 0, rest, true
	}
	digits := 0
	for rest = rest[1:]; digits < len(rest) && isDigit(rest[digits]); digits++ {
		if digits < 6 {
			micros = 10*micros + int(rest[digits]-'0')
		}
	}
	for missing := digits; missing < 6; missing++ {
		micros *= 10
	}
	return second, micros, rest[digits:], 1 <= digits && digits <= 12
}

// parseOffset reads Z, ±hh, ±hhmm or ±hh:mm.
func parseOffset(text string) (time.Duration, bool) {
	if text == "Z" {
		return 0, true
	}
	if len(text) < 3 || (text[0] != '+' && text[0] != '-') {
		return 0, false
	}
	hours, ok := decimal(text[1:3])
	minutes := 0
	if rest := text[3:]; ok && rest != "" {
		if rest[0] == ':' {
			rest = rest[1:]
		}
		minutes, ok = decimal(rest)
		ok = ok && len(rest) == 2
	}
	if !ok || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// appendTimestamp writes an instant in UTC, cut to microseconds; a fraction is written only if there is one.
func appendTimestamp(dst []byte, t time.Time) []byte {
	t = t.UTC()
	hour, minute, second := t.Clock()
	dst = append(appendDate(dst, t), 'T')
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = appendDigits(dst, second, 2)
	if micros := t.Nanosecond() / 1000; micros != 0 {
		dst = appendDigits(append(dst, '.'), micros, 6)
	}
	return append(dst, "+00:00"...)
}

// appendDate writes the day that an instant belongs to.
func appendDate(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	return appendDigits(dst, day, 2)
}

// appendDigits writes a number with leading zeros.
func appendDigits(dst []byte, value, width int) []byte {
	start := len(dst)
	dst = append(dst, "000000"[:width]...)
	for i := start + width - 1; i >= start; i-- {
		dst[i] += byte(value % 10)
		value /= 10
	}
	return dst
}
