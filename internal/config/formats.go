package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A format is the way in which the values of one type are written. Its errors are reasons to print. They contain the
// offending text, unless that is secret, and say how it should be.
type format struct {
	name         string // what a value is
	parse        func(text, unit string) (any, error)
	emptyIsValue bool // in all other formats, an empty text means that the variable is unset
	secret       bool // values are URLs, which can contain passwords
}

// formats has all types that a variable can have. Pointers to them are for variables without a default.
var formats = map[reflect.Type]format{
	reflect.TypeFor[string]():          {name: "text", parse: parsed(parseString), emptyIsValue: true},
	reflect.TypeFor[bool]():            {name: "boolean", parse: parsed(parseBoolean), emptyIsValue: true},
	reflect.TypeFor[SubjectRegex]():    {name: "regular expression", parse: parsed(parseSubjectRegex), emptyIsValue: true},
	reflect.TypeFor[int]():             {name: "integer", parse: parsed(parseInteger[int])},
	reflect.TypeFor[int64]():           {name: "integer", parse: parsed(parseInteger[int64])},
	reflect.TypeFor[float64]():         {name: "number", parse: parsed(parseNumber)},
	reflect.TypeFor[time.Duration]():   {name: "duration", parse: parseTime},
	reflect.TypeFor[swpt.CreditorID](): {name: "ID", parse: parsed(parseID[swpt.CreditorID])},
	reflect.TypeFor[swpt.DebtorID]():   {name: "ID", parse: parsed(parseID[swpt.DebtorID])},
	reflect.TypeFor[shard.Realm]():     {name: "routing key", parse: parsed(parseRealm)},
	reflect.TypeFor[MemorySize]():      {name: "memory size", parse: parsed(parseMemorySize)},
	reflect.TypeFor[DatabaseURL]():     {name: "database URL", parse: parsed(parseDatabaseURL), secret: true},
	reflect.TypeFor[BrokerURL]():       {name: "AMQP URL", parse: parsed(parseBrokerURL), secret: true},
	reflect.TypeFor[WebURL]():          {name: "URL", parse: parsed(parseWebURL), secret: true},
	reflect.TypeFor[LogLevel]():        {name: "log level", parse: parsed(parseLogLevel)},
	reflect.TypeFor[LogFormat]():       {name: "log format", parse: parsed(parseLogFormat)},
	reflect.TypeFor[PoolOptions]():     {name: "JSON object", parse: parsed(parsePoolOptions)},
}

func parsed[T any](parse func(text string) (T, error)) func(text, unit string) (any, error) {
	return func(text, _ string) (any, error) { return parse(text) }
}

var errOutOfRange = errors.New("out of range")

// notA is the reason to print when a text does not have the expected form.
func notA(text, expected string) error {
	return fmt.Errorf("%q is not %s", text, expected)
}

func parseString(text string) (string, error) { return text, nil }

func parseBoolean(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1":
		return true, nil
	case "false", "off", "no", "":
		return false, nil
	default:
		// Least of all is "0" read as false: swpt_trade reads it as true.
		return false, notA(text, "a boolean; write true, on, yes or 1, or false, off or no")
	}
}

func parseInteger[T int | int64](text string) (T, error) {
	number, err := strconv.ParseInt(text, 10, reflect.TypeFor[T]().Bits())
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q is %w", text, errOutOfRange)
	case err != nil:
		return 0, notA(text, "an integer")
	default:
		return T(number), nil
	}
}

// Go's own parser knows hexadecimal numbers, infinities, NaN and underscores, too.
var floatPattern = regexp.MustCompile(`^[0-9.eE+-]+$`)

// parseFloat reads a decimal number, and reports whether it is one. Numbers that are too large are infinite.
func parseFloat(text string) (float64, bool) {
	if !floatPattern.MatchString(text) {
		return 0, false
	}
	number, err := strconv.ParseFloat(text, 64)
	return number, err == nil || errors.Is(err, strconv.ErrRange)
}

func parseNumber(text string) (float64, error) {
	number, ok := parseFloat(text)
	switch {
	case !ok:
		return 0, notA(text, "a number")
	case math.IsInf(number, 0):
		return 0, fmt.Errorf("%q is %w", text, errOutOfRange)
	default:
		return number, nil
	}
}

const (
	day  = 24 * time.Hour
	week = 7 * day

	longestDuration = 100_000 * day
)

var (
	durationUnits = map[string]time.Duration{
		"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": week,
	}
	durationPattern = regexp.MustCompile(`^([0-9.eE+-]+)([smhdw]?)[\s\v]*$`)

	// The units of durations that are written as plain numbers.
	plainUnits = map[string]struct {
		duration time.Duration
		name     string
	}{
		"ms": {time.Millisecond, "milliseconds"},
		"s":  {time.Second, "seconds"},
		"d":  {day, "days"},
	}
)

// parseTime reads a duration in any of its two forms: as a plain number of the given unit, or if there is no such unit,
// as a number and a unit. Negative numbers of the given unit are left for the bounds to refuse.
func parseTime(text, unit string) (any, error) {
	plain, isPlain := plainUnits[unit]
	if !isPlain {
		return parseDuration(text)
	}
	number, ok := parseFloat(text)
	if !ok {
		return nil, notA(text, "a number of "+plain.name)
	}
	return toDuration(text, number, plain.duration)
}

// parseDuration reads "<number><unit>", where the unit is s (seconds, the default), m, h, d or w.
func parseDuration(text string) (time.Duration, error) {
	if parts := durationPattern.FindStringSubmatch(text); parts != nil {
		if number, ok := parseFloat(parts[1]); ok && number >= 0 {
			return toDuration(text, number, durationUnits[parts[2]])
		}
	}
	return 0, notA(text, "a duration; write a number, at least 0, and s, m, h, d or w, as in 2.5h")
}

func toDuration(text string, number float64, unit time.Duration) (time.Duration, error) {
	nanoseconds := math.Round(number * float64(unit))
	if math.Abs(nanoseconds) > float64(longestDuration) {
		return 0, fmt.Errorf("%q is longer than %d days", text, longestDuration/day)
	}
	return time.Duration(nanoseconds), nil
}

// The prefixes of numbers in other bases than ten.
var basePrefix = regexp.MustCompile(`^0[xXoObB]`)

// parseID reads a 64-bit ID in decimal, or in another base after 0x, 0o or 0b. The digits can be separated by
// underscores. Values from 2^63 on are read as two's complement.
func parseID[ID ~int64](text string) (ID, error) {
	const expected = "an ID; write a decimal number without leading zeros, or 0x and a hexadecimal one"
	digits := strings.TrimSpace(text)
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	if len(digits) > 1 && digits[0] == '0' && !basePrefix.MatchString(digits) {
		return 0, notA(text, expected)
	}
	magnitude, err := strconv.ParseUint(digits, 0, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && negative && magnitude > 1<<63:
		return 0, fmt.Errorf("%q is %w for a 64-bit ID", text, errOutOfRange)
	case err != nil:
		return 0, notA(text, expected)
	case negative:
		return ID(-magnitude), nil
	default:
		return ID(magnitude), nil
	}
}

var (
	errRoutingKey    = errors.New("not a valid routing key")
	errTooManyShards = errors.New("too many shards")
)

func parseRealm(text string) (shard.Realm, error) {
	realm, err := shard.ParseWorkerRealm(text)
	switch {
	case errors.Is(err, shard.ErrRealmTooSmall):
		return shard.Realm{}, errTooManyShards
	case err != nil:
		return shard.Realm{}, errRoutingKey
	default:
		return realm, nil
	}
}

// A MemorySize is an amount of memory as PostgreSQL writes it: an integer and kB, MB or GB.
type MemorySize string

var memorySizePattern = regexp.MustCompile(`^\d+(kB|MB|GB)$`)

func parseMemorySize(text string) (MemorySize, error) {
	if !memorySizePattern.MatchString(text) {
		return "", notA(text, "a memory size; write an integer and kB, MB or GB, as in 50MB")
	}
	return MemorySize(text), nil
}

// A LogLevel is the least severity of what is logged. It is a [slog.Leveler].
type LogLevel slog.Level

// Level implements slog.Leveler.
func (l LogLevel) Level() slog.Level { return slog.Level(l) }

func parseLogLevel(text string) (LogLevel, error) {
	switch strings.ToLower(text) {
	case "debug":
		return LogLevel(slog.LevelDebug), nil
	case "info":
		return LogLevel(slog.LevelInfo), nil
	case "warning":
		return LogLevel(slog.LevelWarn), nil
	case "error":
		return LogLevel(slog.LevelError), nil
	default:
		return 0, notA(text, "a log level; write debug, info, warning or error")
	}
}

// A LogFormat is the form of what is logged.
type LogFormat string

// The forms of logs.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func parseLogFormat(text string) (LogFormat, error) {
	for _, known := range []LogFormat{LogText, LogJSON} {
		if strings.EqualFold(text, string(known)) {
			return known, nil
		}
	}
	return "", notA(text, "a log format; write text or json")
}

// A SubjectRegex is a regular expression for the beginning of the identities of clients. The zero value is empty.
type SubjectRegex struct {
	compiled *regexp.Regexp // nil if empty
}

func parseSubjectRegex(text string) (SubjectRegex, error) {
	if text == "" {
		return SubjectRegex{}, nil
	}
	// It has to be valid without the parentheses that are put around it, too.
	_, err := regexp.Compile(text)
	if err != nil {
		return SubjectRegex{}, fmt.Errorf("%q is not a regular expression (RE2): %w", text, err)
	}
	compiled, err := regexp.Compile(`\A(?:` + text + `)`)
	if err != nil {
		return SubjectRegex{}, fmt.Errorf("%q is not a regular expression (RE2): %w", text, err)
	}
	return SubjectRegex{compiled}, nil
}

// or returns the regular expression, or if it is empty, one that matches nothing but the name.
func (s SubjectRegex) or(name string) *regexp.Regexp {
	if s.compiled != nil {
		return s.compiled
	}
	return regexp.MustCompile(`\A` + regexp.QuoteMeta(name) + `\z`)
}
