package smp_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// readTimestamp reads an instant as the field of a message.
func readTimestamp(tb testing.TB, text string) (time.Time, error) {
	tb.Helper()
	m, err := smp.Decode("NeededCollector", altered(tb, "NeededCollector", map[string]string{"ts": quote(text)}))
	if err != nil {
		return time.Time{}, err
	}
	return m.(*smp.NeededCollector).TS, nil
}

func TestTimestampsAccepted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2025-01-02T03:04:05Z":                  "2025-01-02T03:04:05+00:00",
		"2025-01-02 03:04:05Z":                  "2025-01-02T03:04:05+00:00",
		"2025-01-02T03:04Z":                     "2025-01-02T03:04:00+00:00",
		"2025-01-02T03:04+02":                   "2025-01-02T01:04:00+00:00",
		"2025-01-02T03:04:05.1Z":                "2025-01-02T03:04:05.100000+00:00",
		"2025-01-02T03:04:05.123456Z":           "2025-01-02T03:04:05.123456+00:00",
		"2025-01-02T03:04:05.1234569Z":          "2025-01-02T03:04:05.123456+00:00",
		"2025-01-02T03:04:05.123456789012Z":     "2025-01-02T03:04:05.123456+00:00",
		"2025-01-02T03:04:05.000000999999Z":     "2025-01-02T03:04:05+00:00",
		"2025-01-02T03:04:05.000001-00:00":      "2025-01-02T03:04:05.000001+00:00",
		"2025-01-02T03:04:05+00:00":             "2025-01-02T03:04:05+00:00",
		"2025-01-02T03:04:05+05:45":             "2025-01-01T21:19:05+00:00",
		"2025-01-02T03:04:05+0545":              "2025-01-01T21:19:05+00:00",
		"2025-01-02T03:04:05-11":                "2025-01-02T14:04:05+00:00",
		"2025-01-02T03:04:05-2359":              "2025-01-03T03:03:05+00:00",
		"2024-02-29T00:00:00Z":                  "2024-02-29T00:00:00+00:00",
		"2000-02-29T23:59:59Z":                  "2000-02-29T23:59:59+00:00",
		"0001-01-01T00:00:00Z":                  "0001-01-01T00:00:00+00:00",
		"1969-12-31T23:59:59.999999Z":           "1969-12-31T23:59:59.999999+00:00",
		"9999-12-31T23:59:59+00:00":             "9999-12-31T23:59:59+00:00",
		"9999-12-31T23:59:59.999999999999+0000": "9999-12-31T23:59:59.999999+00:00",
		`2025-01-02T03:04:05\u005a`:             "2025-01-02T03:04:05+00:00",
	} {
		got, err := readTimestamp(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		wantTime, err := time.Parse(time.RFC3339Nano, want)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(wantTime) || got.Location() != time.UTC {
			t.Errorf("%s is read as %v, want %v", text, got, wantTime)
		}
		body := string(encode(t, &smp.NeededCollector{TS: got}))
		if wantBody := `{"type":"NeededCollector","debtor_id":0,"ts":"` + want + `"}`; body != wantBody {
			t.Errorf("%s is written as %s, want %s", text, body, wantBody)
		}
	}
}

func TestTimestampsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "Z", "x", "2025-01-02", "2025-01-02T", "2025-01-02Z", "2025-01-02T03Z", "2025-01-02T0304Z", "20250102T030405Z",
		"2025-01-02T03:04:05", "2025-01-02T03:04", "2025-01-02 03:04:05", "2025-01-02t03:04:05Z", "2025-01-02T03:04:05z",
		"2025-01-02  03:04:05Z", "2025-01-02_03:04:05Z", "2025-01-02T03:04:05 Z", " 2025-01-02T03:04:05Z",
		"2025-01-02T03:04:05Z ", `2025-01-02T03:04:05Z\n`, "2025-01-02T03:04:05,1Z", "2025-01-02T03:04:05.Z",
		"2025-01-02T03:04:05.1234567890123Z", "2025-01-02T03:04.5Z", "2025-01-02T24:00:00Z", "2025-01-02T03:60:00Z",
		"2025-01-02T03:04:60Z", "2025-01-02T03:04:5Z", "2025-01-02T03:04:", "2025-01-02T03:04:05:06Z",
		"2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2025-04-31T00:00:00Z", "2025-13-01T00:00:00Z",
		"2025-00-01T00:00:00Z", "2025-01-00T00:00:00Z", "2025-01-32T00:00:00Z", "0000-01-01T00:00:00Z",
		"10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "+2025-01-02T03:04:05Z", "9999-12-31T23:59:59-00:01",
		"0001-01-01T00:00:00+00:01", "2025-01-02T03:04:05+", "2025-01-02T03:04:05+1", "2025-01-02T03:04:05+001",
		"2025-01-02T03:04:05+00:0", "2025-01-02T03:04:05+00:000", "2025-01-02T03:04:05+00:", "2025-01-02T03:04:05+24",
		"2025-01-02T03:04:05+00:60", "2025-01-02T03:04:05+-1:00", "2025-01-02T03:04:05+00::00", "2025-01-02T03:04:05Z+00:00",
		"2025-01-02T03:04:05+00:00:00", "２025-01-02T03:04:05Z", "2025-01-02T03:04:٥5Z", "2025-01-02T+3:04:05Z", "2025-1-2T3:4:5Z",
	} {
		if got, err := readTimestamp(t, text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// The standard library, where it knows a form, agrees. (It takes offsets of 24 hours and of 60 minutes, too.)
func TestTimestampsAsInRFC3339(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])`).
			Draw(t, "text")
		want, wantErr := time.Parse(time.RFC3339Nano, text)
		want = want.UTC().Truncate(time.Microsecond)
		body := `{"type":"NeededCollector","debtor_id":1,"ts":"` + text + `"}`
		m, err := smp.Decode("NeededCollector", []byte(body))
		if wantErr != nil || want.Year() < 1 || want.Year() > 9999 {
			if err == nil {
				t.Fatalf("%s is read as %v, although %v", text, m, wantErr)
			}
			return
		}
		if err != nil || m.(*smp.NeededCollector).TS != want {
			t.Fatalf("%s is read as %v, %v; want %v", text, m, err, want)
		}
	})
}

func TestInstantsOfOtherZonesAreWrittenInUTC(t *testing.T) {
	t.Parallel()
	nepal := time.Date(2025, 1, 2, 3, 4, 5, 123456999, time.FixedZone("", (5*60+45)*60))
	const want = `{"type":"NeededCollector","debtor_id":1,"ts":"2025-01-01T21:19:05.123456+00:00"}`
	if got := string(encode(t, &smp.NeededCollector{DebtorID: 1, TS: nepal})); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	for text, days := range map[string]smp.Date{
		"1970-01-01": 0, "1970-01-02": 1, "1969-12-31": -1, "2024-02-29": 19782, "2025-01-02": 20090,
		"0001-01-01": -719162, "9999-12-31": 2932896,
	} {
		m, err := smp.Decode("AccountPurge", altered(t, "AccountPurge", map[string]string{"creation_date": quote(text)}))
		if err != nil || m.(*smp.AccountPurge).CreationDate != days {
			t.Errorf("%s is read as %v, %v; want %d", text, m, err, days)
		}
		if days.String() != text || smp.DateOf(days.Time()) != days || smp.DateOf(days.Time().Add(24*time.Hour-1)) != days {
			t.Errorf("%d is %s and begins at %v", days, days, days.Time())
		}
	}
	for _, text := range []string{
		"", "2025-1-2", "2025-01-2", "2025-01-021", "2025-01-02 ", " 2025-01-02", `2025-01-02\n`, "20250102", "2025/01/02",
		"2025-02-29", "2025-00-01", "2025-13-01", "2025-01-00", "2025-01-32", "0000-01-01", "2025-01-02T00:00:00Z", "-025-01-02",
		"２025-01-02",
	} {
		runValueTests(t, []valueTest{one("AccountPurge", "creation_date", quote(text), "date")})
	}
	runValueTests(t, []valueTest{one("AccountPurge", "creation_date", `0`, "date"), one("AccountPurge", "creation_date", `"\ud800"`, "date")})
}
