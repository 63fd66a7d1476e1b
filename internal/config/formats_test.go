package config

import (
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// accepted and refused are the texts of one format, with their values, or a part of the reason.
func checkFormat[T comparable](
	t *testing.T, parse func(text string) (T, error), accepted map[string]T, refused map[string]string,
) {
	t.Helper()
	for text, want := range accepted {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%q is read as %v, %v, want %v", text, got, err, want)
		}
	}
	var zero T
	for text, reason := range refused {
		got, err := parse(text)
		if err == nil || got != zero {
			t.Errorf("%q is read as %v, %v", text, got, err)
			continue
		}
		if !strings.Contains(err.Error(), strconv.Quote(text)) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want the text, and %q", text, err, reason)
		}
	}
}

// all makes a table in which each text has the same reason.
func all(reason string, texts ...string) map[string]string {
	table := map[string]string{}
	for _, text := range texts {
		table[text] = reason
	}
	return table
}

func TestBooleans(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseBoolean, map[string]bool{
		"true": true, "on": true, "yes": true, "1": true, "TRUE": true, "On": true, "yEs": true,
		"false": false, "off": false, "no": false, "": false, "False": false, "OFF": false, "nO": false,
	}, all("write true, on, yes or 1, or false, off or no",
		"0", "2", "t", "f", "y", "n", " ", "true ", " true", "yes\n", "01", "1.0", "trüe"))
}

func TestIntegers(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseInteger[int64], map[string]int64{
		"0": 0, "-0": 0, "+7": 7, "-7": -7, "007": 7,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	}, all("is not an integer", "", " ", " 1", "1 ", "1.0", "1e3", "0x10", "1_000", "--1", "+", "-", "１", "a", "NaN"))
	checkFormat(t, parseInteger[int64], nil,
		all("out of range", "9223372036854775808", "-9223372036854775809", "99999999999999999999999"))
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseNumber, map[string]float64{
		"0": 0, "1e-5": 1e-5, "-50.0": -50, "+.5": 0.5, "5.": 5, "1E3": 1000, "00.1": 0.1, "1e-400": 0,
	}, all("is not a number", "", " ", "1 ", " 1", "NaN", "nan", "inf", "-Inf", "Infinity", "0x1p4", "1_0", "1e", "e5",
		".", "1.2.3", "--1", "1d", "1e+-3", "１"))
	checkFormat(t, parseNumber, nil, all("out of range", "1e400", "-1e400"))
}

func TestDurations(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseDuration, map[string]time.Duration{
		"2.5h": 150 * time.Minute, "600": 10 * time.Minute, "1e3s": 1000 * time.Second, "0": 0, "0s": 0, "-0": 0,
		"+5m": 5 * time.Minute,
		"1d":  day, "2w": 2 * week, "1.5w": 252 * time.Hour, ".5s": 500 * time.Millisecond, "5.h": 5 * time.Hour,
		"1E1m": 10 * time.Minute,
		"10m ": 10 * time.Minute, "10m \t\r\n\v\f": 10 * time.Minute, "10\n": 10 * time.Second, "1e-9s": 1, "1e-400s": 0,
		"0.0000000014s": 1, "100000d": longestDuration, "8640000000": longestDuration,
	}, all("is not a duration; write a number, at least 0, and s, m, h, d or w, as in 2.5h",
		"", " ", " 10m", "10 m", "10M", "10ms", "10y", "m", "1h30m", "1h 30m", "-1s", "-1e999s", "--1s", "1e", "1.2.3s",
		"NaN", "inf", "0x10s", "1_0s", "PT1H", "10m;", "10m x", "１０m", "10m\u00a0"))
	checkFormat(t, parseDuration, nil, all("longer than 100000 days",
		"100000.1d", "8640000001", "14286w", "1e999s", "1e30w", "9223372036854775808"))
}

func TestPlainDurations(t *testing.T) {
	t.Parallel()
	in := func(unit string) func(string) (time.Duration, error) {
		return func(text string) (time.Duration, error) {
			value, err := parseTime(text, unit)
			duration, _ := value.(time.Duration)
			return duration, err
		}
	}
	checkFormat(t, in("s"), map[string]time.Duration{
		"2.0": 2 * time.Second, "5": 5 * time.Second, "0.005": 5 * time.Millisecond, "1e2": 100 * time.Second,
		"0": 0, "-1": -time.Second,
	}, all("is not a number of seconds", "", "5s", "5 ", "1m", "NaN", "0x5", "five"))
	checkFormat(t, in("d"), map[string]time.Duration{
		"45": 45 * day, "0.5": 12 * time.Hour, "7.0": week, "100000": longestDuration, "-100000": -longestDuration,
	}, all("is not a number of days", "", "7d", "1w", "inf"))
	checkFormat(t, in("ms"), map[string]time.Duration{
		"100": 100 * time.Millisecond, "0.5": 500 * time.Microsecond,
	}, all("is not a number of milliseconds", "", "100ms", "a"))
	for _, unit := range []string{"s", "d", "ms"} {
		checkFormat(t, in(unit), nil, all("longer than 100000 days", "1e30", "1e999", "-1e999"))
	}
	checkFormat(t, in(""), map[string]time.Duration{"2.5h": 150 * time.Minute}, all("is not a duration", "-1"))
}

// What is printed in any unit is read as the same duration, to the nanosecond.
func TestDurationsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]string{"", "s", "m", "h", "d", "w"}).Draw(t, "unit")
		// Up to 2^53 nanoseconds, a hundred days, a float is exact enough for any unit.
		want := time.Duration(rapid.Int64Range(0, 1<<53).Draw(t, "duration"))
		text := strconv.FormatFloat(float64(want)/float64(durationUnits[unit]), 'g', -1, 64) + unit
		if got, err := parseDuration(text); err != nil || (got-want).Abs() > 1 {
			t.Fatalf("%q, which is %v, is read as %v, %v", text, want, got, err)
		}
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseID[swpt.CreditorID], map[string]swpt.CreditorID{
		"0": 0, "-0": 0, "1": 1, "+1": 1, "-1": -1, "\t-2\n": -2, "\n\v\f 3": 3,
		"0xffffffffffffffff": -1, "18446744073709551615": -1, "0x8000000000000000": math.MinInt64,
		"9223372036854775808": math.MinInt64, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
		"0x0000010000000000": 1 << 40, "0X10": 16, "0xaBcD": 0xabcd, "0o17": 15, "0O17": 15, "0b101": 5, "0B101": 5,
		"-0x10": -16, "-0x8000000000000000": math.MinInt64, "1_000": 1000, "0x_ff": 255, "0xff_ff": 65535, "0b1_0": 2,
		"0x00000000000000001f": 31, "0x0": 0,
	}, all("is not an ID; write a decimal number without leading zeros, or 0x and a hexadecimal one",
		"", " ", "-", "+", "--1", "+-1", "- 1", "00", "01", "007", "-01", "0_1", "08", "0x", "0b2", "0o8", "0xg", "x10", "ff",
		"1.0", "1e3", "_1", "1_", "1__0", "0x1__0", "0xff_", "NaN", "１", "1\x00", "\xff", "1 2"))
	checkFormat(t, parseID[swpt.CreditorID], nil, all("out of range for a 64-bit ID",
		"18446744073709551616", "0x10000000000000000", "-9223372036854775809", "-0x8000000000000001",
		"-18446744073709551615", "99999999999999999999999"))
}

// Every ID is read back from each of its forms, whatever white space surrounds it.
func TestIDsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64().Draw(t, "ID")
		base := rapid.SampledFrom([]struct {
			prefix string
			base   int
		}{{"", 10}, {"0x", 16}, {"0o", 8}, {"0b", 2}}).Draw(t, "base")
		space := rapid.StringOf(rapid.SampledFrom([]rune(" \t\n"))).Draw(t, "space")
		texts := []string{base.prefix + strconv.FormatUint(uint64(want), base.base), strconv.FormatInt(want, 10)}
		for _, text := range texts {
			if got, err := parseID[swpt.DebtorID](space + text + space); err != nil || int64(got) != want {
				t.Fatalf("%q, which is %d, is read as %d, %v", text, want, got, err)
			}
		}
	})
}

func TestRoutingKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"#": "", "0.#": "", "1.0.1.#": "", strings.Repeat("1.", 16) + "#": "",
		strings.Repeat("1.", 17) + "#": "too many shards", strings.Repeat("0.", 20) + "#": "too many shards",
		strings.Repeat("1.", 21) + "#": "not a valid routing key", "": "not a valid routing key",
		"0": "not a valid routing key", "0.1": "not a valid routing key", "*.#": "not a valid routing key",
		"2.#": "not a valid routing key", "#.0": "not a valid routing key", "0.#\n": "not a valid routing key",
	} {
		realm, err := parseRealm(text)
		switch {
		case want == "" && (err != nil || realm.String() != text):
			t.Errorf("%q is read as %v, %v", text, realm, err)
		case want != "" && (err == nil || err.Error() != want || realm != shard.Realm{}):
			t.Errorf("%q is read as %v, %v, want the reason %q", text, realm, err, want)
		}
	}
}

func TestMemorySizes(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseMemorySize,
		map[string]MemorySize{"50MB": "50MB", "4MB": "4MB", "0kB": "0kB", "123456789GB": "123456789GB"},
		all("is not a memory size; write an integer and kB, MB or GB, as in 50MB",
			"", "50", "MB", "50 MB", "50mb", "50KB", "50TB", "5.5MB", "-5MB", "+5MB", "50MB ", "50MB\n", " 50MB", "50MB; DROP"))
}

func TestLogLevelsAndFormats(t *testing.T) {
	t.Parallel()
	checkFormat(t, parseLogLevel, map[string]LogLevel{
		"debug": LogLevel(slog.LevelDebug), "info": LogLevel(slog.LevelInfo), "Warning": LogLevel(slog.LevelWarn),
		"ERROR": LogLevel(slog.LevelError),
	}, all("is not a log level; write debug, info, warning or error", "", "warn", "critical", "INFO+1", "4", "info "))
	checkFormat(t, parseLogFormat, map[string]LogFormat{"text": LogText, "json": LogJSON, "JSON": LogJSON},
		all("is not a log format; write text or json", "", "logfmt", "json ", "xml"))
	if level := LogLevel(slog.LevelError).Level(); level != slog.LevelError {
		t.Errorf("the level is %v", level)
	}
}

func TestSubjectRegexes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ regex, matches, differs string }{
		{"a", "abc", "ba"},
		{"^creditors:([0-9]+)$", "creditors:12", "x creditors:12"},
		{"a|b", "bc", "cb"}, // both alternatives are at the beginning
		{`(?i)super`, "SUPERMAN", "man super"},
		{"a", "a\n", "\na"},
		{"(?m)^a", "a", "b\na"},
	} {
		regex, err := parseSubjectRegex(test.regex)
		if err != nil || !regex.compiled.MatchString(test.matches) || regex.compiled.MatchString(test.differs) {
			t.Errorf("%q is read as %v, %v", test.regex, regex.compiled, err)
		}
	}
	for _, text := range []string{"(", "a)(b", "[", "a**", "(?=a)", `\8`, "\xff", `\Qa`} {
		if _, err := parseSubjectRegex(text); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)+
			" is not a regular expression (RE2): ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if regex, err := parseSubjectRegex(""); err != nil || regex.compiled != nil {
		t.Errorf("nothing is read as %v, %v", regex, err)
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	regex, err := parseSubjectRegex("sup.*")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		access           AdminAccess
		matches, differs []string
	}{
		"by name": {
			AdminAccess{SuperuserName: "a.b", SupervisorName: "a.b"},
			[]string{"a.b"},
			[]string{"", "axb", "a.bc", "xa.b", "a.b\n"},
		},
		"by regular expression": {
			AdminAccess{SuperuserName: "a.b", SupervisorName: "a.b", SuperuserRegex: regex, SupervisorRegex: regex},
			[]string{"super", "sup"},
			[]string{"a.b", "x super"},
		},
	} {
		for _, identity := range test.matches {
			if !test.access.Superusers().MatchString(identity) || !test.access.Supervisors().MatchString(identity) {
				t.Errorf("%s: %q does not match", name, identity)
			}
		}
		for _, identity := range test.differs {
			if test.access.Superusers().MatchString(identity) || test.access.Supervisors().MatchString(identity) {
				t.Errorf("%s: %q matches", name, identity)
			}
		}
	}
}

func TestCreditors(t *testing.T) {
	t.Parallel()
	var settings struct{ AdminAccess }
	if _, errs := load(t, &settings, "APP_UNPROTECTED_ADMIN_API=on"); errs != nil {
		t.Fatal(errs)
	}
	for identity, want := range map[string]string{
		"creditors:18446744073709551615": "18446744073709551615", "creditors:": "", "creditors:1\n": "",
		"xcreditors:1": "", "creditors-superuser": "",
	} {
		var got string
		if match := settings.AdminAccess.Creditors().FindStringSubmatch(identity); len(match) == 2 {
			got = match[1]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", identity, got, want)
		}
	}
}

func TestPoolOptions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		options string // size, overflow, timeout, recycling
		most    int
		ignored string
	}{
		`{"pool_size": 0}`:                       {"0 10 30s 0s", 0, ""},
		`{}`:                                     {"0 10 30s 0s", 0, ""},
		`{"pool_size": 5}`:                       {"5 10 30s 0s", 15, ""},
		` { "pool_size" : 5 , "max_overflow":0}`: {"5 0 30s 0s", 5, ""},
		`{"pool_size": 5, "max_overflow": -1}`:   {"5 -1 30s 0s", 0, ""},
		`{"pool_timeout": 0.5, "pool_recycle": 3600, "pool_pre_ping": true, "echo": null}`: {
			"0 10 500ms 1h0m0s", 0, "echo, pool_pre_ping",
		},
		`{"pool_recycle": -1, "Pool_Size": 5}`: {"0 10 30s 0s", 0, "Pool_Size"},
		`{"pool_recycle": 0}`:                  {"0 10 30s 0s", 0, ""},
	} {
		got, err := parsePoolOptions(text)
		options := strings.Join([]string{
			strconv.Itoa(got.Size), strconv.Itoa(got.MaxOverflow), got.Timeout.String(), got.Recycle.String(),
		}, " ")
		if err != nil || options != want.options || got.MaxConnections() != want.most ||
			strings.Join(got.ignored, ", ") != want.ignored {
			t.Errorf("%s is read as %+v, at most %d, %v; want %+v", text, got, got.MaxConnections(), err, want)
		}
	}
	for text, reason := range map[string]string{
		"":                          `is not a JSON object, as in {"pool_size": 0}`,
		"null":                      "is not a JSON object",
		"[]":                        "is not a JSON object",
		"5":                         "is not a JSON object",
		`{"pool_size": 0`:           "is not a JSON object",
		`{'pool_size': 0}`:          "is not a JSON object",
		`{"pool_size": -1}`:         "pool_size must be an integer from 0 to 1000000",
		`{"pool_size": 1.5}`:        "pool_size must be an integer from 0 to 1000000",
		`{"pool_size": "5"}`:        "pool_size must be an integer from 0 to 1000000",
		`{"pool_size": 1e300}`:      "pool_size must be an integer from 0 to 1000000",
		`{"pool_size": 1e999}`:      "pool_size must be an integer from 0 to 1000000",
		`{"max_overflow": -2}`:      "max_overflow must be an integer from -1 to 1000000",
		`{"pool_timeout": -1}`:      "pool_timeout must be a number from 0 to 8640000000",
		`{"pool_timeout": 1e10}`:    "pool_timeout must be a number from 0 to 8640000000",
		`{"pool_recycle": -2}`:      "pool_recycle must be a number from -1 to 8640000000",
		`{"pool_recycle": "never"}`: "pool_recycle must be a number from -1 to 8640000000",
	} {
		if _, err := parsePoolOptions(text); err == nil ||
			!strings.Contains(err.Error(), strconv.Quote(text)) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want the text, and %q", text, err, reason)
		}
	}
}

// FuzzFormats reads anything in all formats. None of them panics, and a text that is not read is in the reason, unless
// it is secret.
func FuzzFormats(f *testing.F) {
	for _, text := range []string{
		"", "1", "-1", "0x10", "1e3", "2.5h", "600 ", "#", "0.1.#", "50MB", "yes", "debug", "json", `{"pool_size": 1e999}`,
		"a**", "postgresql://u:p@h/d", "amqp://guest:guest@localhost:5672/%2f?heartbeat=5", "https://h/", "\x00",
		"\xff", "1_0", "NaN",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for valueType, format := range formats {
			for unit := range plainUnits {
				value, err := format.parse(text, unit)
				if err == nil {
					if duration, ok := value.(time.Duration); ok && duration.Abs() > longestDuration {
						t.Errorf("%q is read as %v", text, duration)
					}
					continue
				}
				if showsText := strings.Contains(err.Error(), strconv.Quote(text)); showsText == format.secret &&
					valueType.Name() != "Realm" && text != "" {
					t.Errorf("%q is not a value of type %v: %v", text, valueType, err)
				}
			}
		}
	})
}

// FuzzParseDuration compares the parser with what the rule says: a number and a unit, nothing else.
func FuzzParseDuration(f *testing.F) {
	for _, text := range []string{"2.5h", "600", "1e3s", "10m \n", "-1s", "1h30m", "1e999w", "", "0x1s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		duration, err := parseDuration(text)
		if err != nil {
			return
		}
		if duration < 0 || duration > longestDuration {
			t.Errorf("%q is read as %v", text, duration)
		}
		number := strings.TrimRight(strings.TrimRight(text, " \t\r\n\v\f"), "smhdw")
		if _, err := strconv.ParseFloat(number, 64); err != nil || strings.Trim(number, "0123456789.eE+-") != "" {
			t.Errorf("%q is read as %v, but its number is %q", text, duration, number)
		}
	})
}

// FuzzParseID: what is read is also read without white space and underscores, and is the same ID.
func FuzzParseID(f *testing.F) {
	for _, text := range []string{"0", "007", "0xffffffffffffffff", " -0x_10 ", "0o17", "0b1_0", "1__0", "-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := parseID[swpt.CreditorID](text)
		if err != nil {
			return
		}
		plain := strings.ReplaceAll(strings.TrimSpace(text), "_", "")
		if again, err := parseID[swpt.CreditorID](plain); err != nil || again != id {
			t.Errorf("%q is read as %d, but %q as %d, %v", text, id, plain, again, err)
		}
		if strings.Trim(plain, "+-0123456789abcdefABCDEFxXoO") != "" {
			t.Errorf("%q is read as %d", text, id)
		}
	})
}
