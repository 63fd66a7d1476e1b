// Package timeline holds what is to happen, and lets it happen in order.
//
// It has no clock. Somebody who has one calls [Timeline.Advance] now and then; tests jump over weeks in an instant.
package timeline

import (
	"container/heap"
	"time"
)

// A Timeline is a queue of things to do at given instants. Its zero value is empty. It belongs to one goroutine.
type Timeline struct {
	now    time.Time
	queue  queue
	number uint64
}

// Now returns the instant up to which everything has happened: that of the latest event, or of the latest Advance.
func (t *Timeline) Now() time.Time { return t.now }

// At has something done at an instant, or with the next event if the instant has passed. What is due at the same
// instant is done in the order of the calls.
func (t *Timeline) At(when time.Time, do func()) {
	if when.Before(t.now) {
		when = t.now
	}
	t.number++
	heap.Push(&t.queue, event{when: when, number: t.number, do: do})
}

// After has something done when d has elapsed.
func (t *Timeline) After(d time.Duration, do func()) { t.At(t.now.Add(d), do) }

// Next returns the instant of the next event, if there is one.
func (t *Timeline) Next() (when time.Time, ok bool) {
	if len(t.queue) == 0 {
		return time.Time{}, false
	}
	return t.queue[0].when, true
}

// Advance does everything that is due until an instant, that instant included, in order, and also what the events
// themselves add. An instant that has passed changes nothing.
func (t *Timeline) Advance(until time.Time) {
	for len(t.queue) > 0 && !t.queue[0].when.After(until) {
		next := heap.Pop(&t.queue).(event)
		t.now = next.when
		next.do()
	}
	if until.After(t.now) {
		t.now = until
	}
}

type event struct {
	when   time.Time
	number uint64
	do     func()
}

// A queue is a heap with the next event on top.
type queue []event

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].when.Equal(q[j].when) {
		return q[i].when.Before(q[j].when)
	}
	return q[i].number < q[j].number
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(e any) { *q = append(*q, e.(event)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}
