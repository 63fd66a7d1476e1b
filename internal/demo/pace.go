package demo

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/world"
)

// A pace is how long the phases of turns last: as short as is possible without losing offers. And how long transfers may
// take before they are tried again.
type pace struct {
	phase1, phase2 time.Duration
	rest           time.Duration // until the next turn starts
	commitDelay    time.Duration
}

// paceOf returns a pace for a scenario. An offer takes two messages each way. With faults, there has to be time for
// servers to come back, or there would be nothing to trade.
func paceOf(s *world.Scenario, faults bool) pace {
	accounts := 0
	for i := range s.Customers {
		accounts += len(s.Customers[i].Accounts)
	}
	const perAccount = 2 * time.Millisecond
	work := time.Duration(accounts) * perAccount
	p := pace{phase1: 2*time.Second + work/4, phase2: 5*time.Second + work, commitDelay: 6 * time.Second}
	if faults {
		p.phase1 += 2 * time.Second
		p.phase2 += 10 * time.Second
	}
	p.rest = p.phase1 + p.phase2
	return p
}

// period is how often turns start: often enough, but only when the one before should have been cleared for some time.
func (p pace) period() time.Duration { return p.phase1 + p.phase2 + p.rest }

// offset returns the offset of the period at which a turn starts soon.
func (p pace) offset(now time.Time) time.Duration {
	monday := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	return now.Add(time.Second).Sub(monday) % p.period()
}
