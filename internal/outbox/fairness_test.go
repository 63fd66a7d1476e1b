package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A tape records what is published, burst by burst. It is for one process, and ends a flusher that goes on for ever.
type tape struct {
	bursts [][]broker.Publishing

	// outcome says what becomes of a message. Nil: all are confirmed.
	outcome func(broker.Publishing) broker.Outcome
	// during happens while a burst is published, the first one being number 1.
	during func(number int)
}

// endless is more bursts than any pass of these tests has.
const endless = 200

var errEndless = errors.New("the flusher goes on for ever")

func (r *tape) newPublisher(smp.Class) outbox.Publisher {
	return fakePublisher{publish: func(_ context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
		r.bursts = append(r.bursts, batch)
		if len(r.bursts) == endless {
			return make([]broker.Outcome, len(batch)), errEndless
		}
		if r.during != nil {
			r.during(len(r.bursts))
		}
		outcomes := slices.Repeat([]broker.Outcome{broker.Confirmed}, len(batch))
		if r.outcome != nil {
			for i, p := range batch {
				outcomes[i] = r.outcome(p)
			}
		}
		return outcomes, nil
	}}
}

// find returns the numbers of the bursts with messages of a type, of a creditor or collector.
func (r *tape) find(tb testing.TB, messageType string, id int64) (numbers []int) {
	tb.Helper()
	for i, batch := range r.bursts {
		for _, p := range batch {
			var m struct {
				CreditorID  int64 `json:"creditor_id"`
				CollectorID int64 `json:"collector_id"`
			}
			if err := json.Unmarshal(p.Body, &m); err != nil {
				tb.Fatal(err)
			}
			if p.Type == messageType && m.CreditorID+m.CollectorID == id {
				numbers = append(numbers, i+1)
			}
		}
	}
	return numbers
}

// mustFind checks that a message was published once, within some bursts.
func (r *tape) mustFind(tb testing.TB, messageType string, id int64, first, last int) {
	tb.Helper()
	found := r.find(tb, messageType, id)
	if len(found) != 1 || found[0] < first || found[0] > last {
		tb.Fatalf("the %s message of %d is in the bursts %v, want one from %d to %d", messageType, id, found, first, last)
	}
}

// returnAgain has all records be due again that have been returned a while ago.
const returnAgain = `UPDATE outbox SET returns = 1, retry_at = now() - INTERVAL '1 hour' + id * INTERVAL '1 second'`

// An accounting authority is away, and many messages wait for it. Those to others wait for none of them, not even if
// they come later; and none is tried twice in a pass, however short the pause.
func TestReturnedMessagesStarveNobody(t *testing.T) {
	t.Parallel()
	const returned = 100
	w := newDatabase(t)
	for creditor := range swpt.CreditorID(returned) {
		w.append(t, finalize(unconnected, creditor))
	}
	w.exec(t, returnAgain)
	const early, late = 1001, 1002
	w.append(t, finalize(connected, early))
	r := &tape{
		outcome: func(p broker.Publishing) broker.Outcome {
			if p.RoutingKey == "00.00.00.00.00.00.00.01" {
				return broker.Confirmed
			}
			return broker.Returned
		},
		during: func(number int) {
			if number == 5 {
				w.append(t, finalize(connected, late))
			}
		},
	}
	config := w.config()
	config.NewPublisher = r.newPublisher
	config.FirstPause = time.Microsecond
	config.Bursts = map[string]int{smp.TypeFinalizeTransfer: 10}
	flush(t, config)
	w.mustHold(t, returned)
	r.mustFind(t, smp.TypeFinalizeTransfer, early, 1, 2)
	r.mustFind(t, smp.TypeFinalizeTransfer, late, 6, 7)
	for creditor := range int64(returned) {
		r.mustFind(t, smp.TypeFinalizeTransfer, creditor, 1, returned/10+2)
	}
}

// What becomes due while a long queue is sent takes its turn, again and again.
func TestLateTypesTakeTurns(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.appendAll(t, 200)
	r := &tape{during: func(number int) {
		if number == 3 || number == 10 {
			w.append(t, &smp.StartSending{CollectorID: swpt.CreditorID(number), DebtorID: 1, TS: sentAt})
		}
	}}
	config := w.config()
	config.NewPublisher = r.newPublisher
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 10}
	flush(t, config)
	w.mustHold(t, 0)
	r.mustFind(t, smp.TypeStartSending, 3, 4, 5)
	r.mustFind(t, smp.TypeStartSending, 10, 11, 12)
}

// A pass ends though more messages come than are sent. The next one finds what has been committed late, behind the place
// where the first one was.
func TestOverload(t *testing.T) {
	t.Parallel()
	const overdue = 1001
	w := newDatabase(t)
	late, err := w.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = late.Exec(t.Context(), `INSERT INTO outbox
		(type, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, body)
		VALUES ('ReviseAccountLock', 0, 0, 0, 0, '', '{"creditor_id": 1001}')`)
	if err != nil {
		t.Fatal(err)
	}
	w.appendAll(t, 100)
	r := &tape{during: func(number int) {
		w.appendAll(t, 11)
		if number == 3 {
			if err := late.Commit(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}}
	config := w.config()
	config.NewPublisher = r.newPublisher
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 10}
	for range 2 {
		flush(t, config)
	}
	r.mustFind(t, smp.TypeReviseAccountLock, overdue, 4, 12)
}

// Messages that the broker refuses are tried once in a pass, however long that takes, and later ones of their type pass
// them.
func TestRefusedMessagesAreTriedOnceInAPass(t *testing.T) {
	t.Parallel()
	const late = 1001
	w := newDatabase(t)
	w.appendAll(t, 200)
	for collector := range swpt.CreditorID(3) {
		w.append(t, &smp.StartSending{CollectorID: collector, DebtorID: 1, TS: sentAt})
	}
	r := &tape{
		outcome: func(p broker.Publishing) broker.Outcome {
			if p.Type == smp.TypeStartSending {
				return broker.Nacked
			}
			return broker.Confirmed
		},
		during: func(number int) {
			if number == 10 {
				w.append(t, &smp.StartSending{CollectorID: late, DebtorID: 1, TS: sentAt})
			}
		},
	}
	config := w.config()
	config.NewPublisher = r.newPublisher
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 10, smp.TypeStartSending: 2}
	if err := newFlusher(t, config).RunOnce(t.Context()); !errors.Is(err, outbox.ErrNacked) {
		t.Errorf("the error is %v", err)
	}
	w.mustHold(t, 4)
	for collector := range int64(3) {
		r.mustFind(t, smp.TypeStartSending, collector, 1, 4)
	}
	r.mustFind(t, smp.TypeStartSending, late, 11, 12)
}

// What others have in hand is theirs: it does not keep a pass from ending, nor is it sent twice.
func TestLockedMessagesDoNotHoldUpAPass(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.appendAll(t, 20)
	other := &tape{}
	r := &tape{during: func(number int) {
		if number == 1 {
			config := w.config()
			config.NewPublisher = other.newPublisher
			config.Bursts = map[string]int{smp.TypeReviseAccountLock: 100}
			flush(t, config)
		}
	}}
	config := w.config()
	config.NewPublisher = r.newPublisher
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 10}
	flush(t, config)
	w.mustHold(t, 0)
	if len(r.bursts) != 1 || len(other.bursts) != 1 || len(other.bursts[0]) != 10 {
		t.Errorf("there were %d bursts, and %d others", len(r.bursts), len(other.bursts))
	}
}
