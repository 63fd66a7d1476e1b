package world

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

func newTestLink(n *Network) *link {
	line := &timeline.Timeline{}
	line.Advance(begin)
	return &link{network: n, timeline: line, random: rand.New(rand.NewPCG(1, 1))}
}

func TestDelaysAndCopies(t *testing.T) {
	t.Parallel()
	n := &Network{
		MinDelay: 10 * time.Millisecond, MaxDelay: 20 * time.Millisecond, Tail: 0.1, TailDelay: time.Second,
		Repetition: 0.2, MaxCopies: 5,
	}
	l := newTestLink(n)
	const messages = 1000
	copies := make([]int, messages)
	order, late, overtaken := -1, 0, 0
	for i := range messages {
		sent := l.timeline.Now()
		l.carry(func() {
			copies[i]++
			if delay := l.timeline.Now().Sub(sent); delay < n.MinDelay || delay > n.MaxDelay+n.TailDelay {
				t.Errorf("a message took %v", delay)
			} else if delay > n.MaxDelay {
				late++
			}
			if i < order {
				overtaken++
			}
			order = i
		})
		l.timeline.Advance(l.timeline.Now().Add(time.Millisecond))
	}
	l.timeline.Advance(begin.Add(time.Hour))
	repeated := 0
	for i, n := range copies {
		if n < 1 || n > 5 {
			t.Fatalf("message %d came %d times", i, n)
		}
		if n > 1 {
			repeated++
		}
	}
	if repeated < 150 || repeated > 250 || late < 50 || overtaken < 100 || l.moving != 0 {
		t.Errorf("%d repeated, %d late, %d overtaken, %d still moving", repeated, late, overtaken, l.moving)
	}
}

func TestACalmNetworkDeliversOnce(t *testing.T) {
	t.Parallel()
	n := Storm(1).Network.quiet()
	l := newTestLink(&n)
	delivered := 0
	for range 100 {
		l.carry(func() { delivered++ })
	}
	l.timeline.Advance(begin.Add(n.MaxDelay))
	if delivered != 100 || l.moving != 0 {
		t.Errorf("%d of 100 messages have come", delivered)
	}
}

// During a break, nothing comes through; then everything does, and some of it once more.
func TestBreaks(t *testing.T) {
	t.Parallel()
	n := &Network{MaxDelay: time.Millisecond, Breaks: 0.1, BreakLength: 3 * time.Second}
	l := newTestLink(n)
	copies := make(map[int]int)
	longest, last := time.Duration(0), begin
	for i := range 60_000 {
		l.carry(func() {
			copies[i]++
			longest = max(longest, l.timeline.Now().Sub(last))
			last = l.timeline.Now()
		})
		l.timeline.Advance(l.timeline.Now().Add(10 * time.Millisecond))
	}
	l.timeline.Advance(begin.Add(time.Hour))
	repeated := 0
	for _, n := range copies {
		if n > 1 {
			repeated++
		}
	}
	if len(copies) != 60_000 || l.moving != 0 {
		t.Errorf("%d messages have come, %d are moving", len(copies), l.moving)
	}
	if longest < time.Second || longest > 4*time.Second || repeated < 20*lastMessages || repeated > 100*lastMessages {
		t.Errorf("the longest silence was %v, %d messages came again", longest, repeated)
	}
	l.brokenUntil = l.timeline.Now().Add(time.Hour)
	l.mend()
	l.network = &Network{}
	arrived := false
	l.carry(func() { arrived = true })
	l.timeline.Advance(l.timeline.Now().Add(time.Second))
	if !arrived {
		t.Error("nothing comes through after the break has been ended")
	}
}
