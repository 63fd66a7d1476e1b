package outbox

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A queue is what a pass knows of some messages of one type: of those that have been returned, or of the others.
//
// The pass goes through them from front to end, and looks at each of them once, whatever becomes of it. It does not go
// back, because it would look at messages that stay again and again, and step over those that it has deleted. What is
// committed late, and belongs before the place where the pass is, is for the next pass.
type queue struct {
	kind     smp.Envelope
	burst    int
	returned bool // these are the messages that have been returned

	waiting bool  // there may be messages to be sent
	kept    error // why messages stay that do not keep others from being sent

	// Messages up to here have been gone through. Those that have been returned come in the order of their time, and then
	// of their ID; others in that of their ID.
	afterRetryAt time.Time
	afterID      int64

	// When the pass began with this queue. Messages that are due again later are for the next pass, or this one might never
	// end. Those that have been appended later are sent as long as the pass has something else to do.
	began     time.Time
	newcomers bool // the last message of the latest burst is one of these
}

// queues returns the queues of a new pass: two for each type.
func (l *lane) queues() []*queue {
	queues := make([]*queue, 0, 2*len(l.types))
	for _, name := range l.types {
		burst, given := l.Bursts[name]
		if !given {
			burst = DefaultBurst
		}
		for _, returned := range []bool{true, false} {
			queues = append(queues, &queue{kind: kinds[name], burst: burst, returned: returned})
		}
	}
	return queues
}

// isUnfinished tells whether the pass has to go on because of the queue.
func (q *queue) isUnfinished() bool {
	return q.began.IsZero() || q.waiting && !q.newcomers
}

// look notes what there is of the type.
func (q *queue) look(found workerdb.LookIntoOutboxRow) {
	switch {
	case !q.returned:
		q.waiting = found.Waiting
	case q.began.IsZero():
		q.waiting = found.Returned
	}
	if q.began.IsZero() {
		q.began = found.LookedAt
	}
}

// advance notes what a burst has been.
func (q *queue) advance(b *burst) {
	q.waiting = b.locked == q.burst
	if b.locked == 0 {
		return
	}
	q.afterID = b.last.ID
	if q.returned {
		q.afterRetryAt = *b.last.RetryAt
	} else {
		q.newcomers = b.last.AppendedAt.After(q.began)
	}
}
