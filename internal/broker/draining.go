package broker

import (
	"sync/atomic"
	"time"
)

const (
	firstDrainingPause   = 15 * time.Second
	longestDrainingPause = time.Hour
)

// A drainer decides when a consumer in draining mode pauses, and for how long.
//
// Draining mode empties a queue that somebody waits to delete once it has neither messages nor consumers. So when nothing
// arrives any more, the consumer goes away for some time, then looks again, ever more rarely. There may be several
// drainers, and they must be away at the same time. Therefore, pauses end at multiples of their length.
type drainer struct {
	pause time.Duration // the next one
}

// patience is how long nothing must have arrived before the next pause.
func (d *drainer) patience() time.Duration {
	return time.Second + (d.pause / 20).Truncate(time.Second)
}

// begin begins a pause, and returns its end: the multiple of the pause that comes closest. So no pause is shorter than a
// half of its length, or longer than one and a half.
func (d *drainer) begin(now time.Time) (end time.Time) {
	length := d.pause
	d.pause = min(2*length, longestDrainingPause)
	epoch := time.Unix(0, 0)
	return epoch.Add((now.Sub(epoch) + length).Round(length))
}

// An activity records when a consumer has last had something to do.
type activity struct {
	clock Clock
	busy  atomic.Int64 // number of lanes that have messages in hand
	last  atomic.Int64 // in nanoseconds, Unix time
}

func newActivity(clock Clock) *activity {
	a := &activity{clock: clock}
	a.last.Store(clock.Now().UnixNano())
	return a
}

func (a *activity) begin() { a.busy.Add(1) }

func (a *activity) end() {
	a.last.Store(a.clock.Now().UnixNano())
	a.busy.Add(-1)
}

// idle tells how long there has been nothing to do.
func (a *activity) idle() time.Duration {
	if a.busy.Load() > 0 {
		return 0
	}
	return a.clock.Now().Sub(time.Unix(0, a.last.Load()))
}
