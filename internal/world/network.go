package world

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

// lastMessages is how many messages a link repeats after a break.
const lastMessages = 100

// A link carries messages from one party to another one, in a gateway's memory, with the faults of a network.
type link struct {
	network  *Network
	timeline *timeline.Timeline
	random   *rand.Rand

	brokenUntil time.Time
	nextBreak   time.Time // zero: not decided yet
	last        []func()  // what has been delivered last, oldest first
	moving      int       // number of copies that are on their way
}

// carry delivers a message some time later, perhaps several times.
func (l *link) carry(deliver func()) {
	copies := 1
	if n := l.network; l.chance(n.Repetition) && n.MaxCopies > 1 {
		copies = 2 + l.random.IntN(n.MaxCopies-1)
	}
	for range copies {
		l.send(deliver)
	}
}

// send delivers one copy of a message.
func (l *link) send(deliver func()) {
	l.moving++
	l.timeline.After(l.delay(), func() { l.arrive(deliver) })
}

// arrive delivers a message, unless there is a break: then it waits until that is over.
func (l *link) arrive(deliver func()) {
	now := l.timeline.Now()
	l.maybeBreak(now)
	if now.Before(l.brokenUntil) {
		l.timeline.At(l.brokenUntil, func() { l.arrive(deliver) })
		return
	}
	l.moving--
	if l.network.Breaks > 0 {
		if len(l.last) == lastMessages {
			l.last = append(l.last[:0], l.last[1:]...)
		}
		l.last = append(l.last, deliver)
	}
	deliver()
}

// maybeBreak begins a break if one is due. When it ends, the last messages come once more.
func (l *link) maybeBreak(now time.Time) {
	n := l.network
	if n.Breaks <= 0 {
		return
	}
	if !l.nextBreak.IsZero() && now.Before(l.nextBreak) {
		return
	}
	if !l.nextBreak.IsZero() {
		length := time.Duration(l.random.Int64N(int64(n.BreakLength) + 1)).Truncate(time.Microsecond)
		l.brokenUntil = now.Add(length)
		for _, deliver := range l.last {
			l.send(deliver)
		}
		l.last = nil
	}
	l.nextBreak = now.Add(untilNext(l.random, n.Breaks))
}

func (l *link) delay() time.Duration {
	n := l.network
	d := n.MinDelay + time.Duration(l.random.Int64N(int64(n.MaxDelay-n.MinDelay)+1))
	if l.chance(n.Tail) {
		d += time.Duration(l.random.Int64N(int64(n.TailDelay) + 1))
	}
	return d.Truncate(time.Microsecond)
}

func (l *link) chance(probability float64) bool {
	return probability > 0 && l.random.Float64() < probability
}

// mend ends a break.
func (l *link) mend() { l.brokenUntil, l.last = time.Time{}, nil }

// untilNext returns how long it takes until something happens that happens so often a second on average.
func untilNext(random *rand.Rand, perSecond float64) time.Duration {
	const longest = 1e6 // seconds; there is no run that long
	seconds := math.Min(random.ExpFloat64()/perSecond, longest)
	return time.Duration(seconds * float64(time.Second)).Truncate(time.Microsecond)
}
