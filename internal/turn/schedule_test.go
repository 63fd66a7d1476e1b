package turn_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/turn"
)

const day = 24 * time.Hour

var never = time.Unix(0, 0).UTC() // when the latest turn was started, if there has been none

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	if text == "none" {
		return never
	}
	parsed, err := time.Parse("2006-01-02 15:04:05.999999", text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestDue(t *testing.T) {
	t.Parallel()
	const (
		quarter = 6 * time.Hour
		offset  = 45 * time.Minute
	)
	for name, c := range map[string]struct {
		period, offset time.Duration
		latest, now    string
		want           bool
	}{
		// The examples of the chapter.
		"in time":                      {quarter, offset, "2026-03-10 00:50:00", "2026-03-10 06:45:00", true},
		"too early":                    {quarter, offset, "2026-03-10 00:50:00", "2026-03-10 06:44:59", false},
		"half a period late":           {quarter, offset, "2026-03-10 00:50:00", "2026-03-10 09:45:00", false},
		"half a period after the last": {quarter, offset, "2026-03-10 04:00:00", "2026-03-10 07:00:00", false},
		"a second more than that":      {quarter, offset, "2026-03-10 03:59:59", "2026-03-10 07:00:00", true},
		"before the origin, late":      {quarter, 0, "none", "2023-12-31 23:00:00", false},
		"before the origin, early":     {quarter, 0, "none", "2023-12-31 19:00:00", true},

		"a microsecond too early":      {quarter, offset, "2026-03-10 00:50:00", "2026-03-10 06:44:59.999999", false},
		"almost half a period late":    {quarter, offset, "2026-03-10 00:50:00", "2026-03-10 09:44:59.999999", true},
		"latest in the future":         {quarter, offset, "2026-03-11 00:50:00", "2026-03-10 06:45:00", false},
		"no period":                    {0, offset, "none", "2026-03-10 06:45:00", false},
		"Monday":                       {7 * day, 0, "none", "2026-03-09 00:00:00", true},
		"Sunday":                       {7 * day, 0, "none", "2026-03-08 23:59:59", false},
		"an offset of several periods": {quarter, offset + 10*quarter, "none", "2026-03-10 06:45:00", true},
		"a long period":                {36_500 * day, 0, "none", "2026-03-10 06:45:00", true},
		"the longest period":           {100_000 * day, 0, "none", "2026-03-10 06:45:00", false},
		"the longest offset":           {quarter, 100_000 * day, "none", "2026-03-10 06:00:00", true},
	} {
		s := turn.Schedule{Period: c.period, Offset: c.offset}
		if got := s.Due(instant(t, c.now), instant(t, c.latest)); got != c.want {
			t.Errorf("%s: due is %v, want %v", name, got, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	s := turn.Schedule{Period: 6 * time.Hour, Offset: 45 * time.Minute}
	for name, c := range map[string]struct{ latest, now, want string }{
		"next period":       {"2026-03-10 00:50:00", "2026-03-10 03:00:00", "2026-03-10 06:45:00"},
		"this very period":  {"2026-03-09 18:45:00", "2026-03-10 01:00:00", "2026-03-10 01:00:00.000001"},
		"after half of one": {"2026-03-10 04:00:00", "2026-03-10 06:50:00", "2026-03-10 07:00:00.000001"},
		"too late":          {"2026-03-10 00:00:00", "2026-03-10 10:00:00", "2026-03-10 12:45:00"},
	} {
		next, ok := s.Next(instant(t, c.now), instant(t, c.latest))
		if want := instant(t, c.want); !ok || !next.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", name, next, ok, want)
		}
	}
	if next, ok := (turn.Schedule{}).Next(time.Now(), never); ok {
		t.Errorf("without a period, the next turn would start at %v", next)
	}
}

// A turn is due at the next instant, and not at any one before it.
func TestNextIsTheFirstDueInstant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		microseconds := func(name string, highest time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, highest.Microseconds()).Draw(t, name)) * time.Microsecond
		}
		s := turn.Schedule{Period: 2*time.Microsecond + microseconds("period", day), Offset: microseconds("offset", 2*day)}
		latest := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
		now := latest.Add(microseconds("now", 3*s.Period))
		next, ok := s.Next(now, latest)
		if !ok || !next.After(now) || !s.Due(next, latest) {
			t.Fatalf("next is %v, %v", next, ok)
		}
		between := now.Add(time.Microsecond + microseconds("between", next.Sub(now)-time.Microsecond))
		if between.Before(next) && s.Due(between, latest) {
			t.Fatalf("next is %v, but one is due at %v", next, between)
		}
	})
}
