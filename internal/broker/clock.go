package broker

import "time"

// A Clock tells the time and waits. Tests have clocks that run faster.
type Clock interface {
	Now() time.Time
	// After returns a channel that gets the time when d has elapsed.
	After(d time.Duration) <-chan time.Time
}

// systemClock is the clock of the machine.
type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
