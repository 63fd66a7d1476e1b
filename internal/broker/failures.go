package broker

import (
	"math"
	"slices"
	"time"
)

const (
	firstRetryPause   = time.Second
	longestRetryPause = time.Minute
)

// A failure is a message that could not be handled.
type failure[M any] struct {
	ticket
	message  M
	attempts int       // that have failed
	due      time.Time // the next attempt
}

// postpone records a failed attempt, and returns the pause before the next one.
func (f *failure[M]) postpone(now time.Time) time.Duration {
	pause := firstRetryPause
	for range f.attempts {
		pause = min(2*pause, longestRetryPause)
	}
	f.attempts++
	f.due = now.Add(pause)
	return pause
}

// failures holds failing messages, ordered by the time of the next attempt.
type failures[M any] []failure[M]

func (fs *failures[M]) add(f failure[M]) {
	i, _ := slices.BinarySearchFunc(*fs, f.due, func(f failure[M], due time.Time) int { return f.due.Compare(due) })
	*fs = slices.Insert(*fs, i, f)
}

// pop removes and returns the message that is due first. There must be one.
func (fs *failures[M]) pop() failure[M] {
	first := (*fs)[0]
	*fs = slices.Delete(*fs, 0, 1)
	return first
}

// lowestTag returns the lowest tag of a failing message, or one above all tags.
func (fs failures[M]) lowestTag() uint64 {
	lowest := uint64(math.MaxUint64)
	for i := range fs {
		lowest = min(lowest, fs[i].tag)
	}
	return lowest
}
