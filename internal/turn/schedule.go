package turn

import "time"

// origin is the instant from which periods are counted: a Monday.
var origin = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// A Schedule says when turns start: once a period, as soon as possible after its beginning.
type Schedule struct {
	// Period is the time from the beginning of a period to that of the next one. If it is 0, no turn ever starts.
	Period time.Duration

	// Offset is when a period begins, counted from 2024-01-01T00:00:00Z.
	Offset time.Duration
}

// Due reports whether a turn should start now, if the latest one was started then, and all turns are finished. A turn
// can be late by up to half a period, and is always more than half a period after the one before it.
func (s Schedule) Due(now, latest time.Time) bool {
	if s.Period <= 0 {
		return false
	}
	overdue := s.overdue(now)
	return overdue < s.Period-overdue && now.Sub(latest) > s.Period/2
}

// Next returns the earliest instant after now, to the microsecond, at which a turn is due. It returns false if there is
// none.
func (s Schedule) Next(now, latest time.Time) (next time.Time, ok bool) {
	if s.Period <= 0 {
		return time.Time{}, false
	}
	next = now.Add(time.Microsecond)
	if allowed := latest.Add((s.Period / 2).Truncate(time.Microsecond) + time.Microsecond); allowed.After(next) {
		next = allowed
	}
	if overdue := s.overdue(next); overdue >= s.Period-overdue {
		next = next.Add(s.Period - overdue)
	}
	return next, true
}

// overdue returns how long ago the present period has begun: 0 or more, and less than a period.
func (s Schedule) overdue(now time.Time) time.Duration {
	overdue := now.Sub(origin.Add(s.Offset)) % s.Period
	if overdue < 0 {
		overdue += s.Period
	}
	return overdue
}
