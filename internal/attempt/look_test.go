package attempt

import (
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

// A trigger looks again when the next attempt is due, or its period ends; and not at once, even if others hold on to
// what is due.
func TestNextLook(t *testing.T) {
	t.Parallel()
	const period = 5 * time.Second
	db := workerdbtest.New(t)
	for _, c := range []struct {
		name         string
		due          time.Duration // since the start of the look
		took, period time.Duration
		want         time.Duration // since the start of the look
	}{
		{"within the period", 3 * time.Second, time.Second, period, 3 * time.Second},
		{"after the period", 6 * time.Second, time.Second, period, period},
		{"was due, and is locked", 0, time.Second, period, period},
		{"soon", time.Millisecond, time.Millisecond, period, 101 * time.Millisecond},
		{"meanwhile", time.Second, 2 * time.Second, period, 2100 * time.Millisecond},
		{"period is over", time.Hour, 7 * time.Second, period, 7100 * time.Millisecond},
		{"no period", time.Hour, 0, 0, 100 * time.Millisecond},
	} {
		_, err := db.Pool().Exec(t.Context(), "TRUNCATE transfer_attempt")
		if err == nil {
			_, err = db.Pool().Exec(t.Context(), `
				INSERT INTO transfer_attempt (collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount,
					collection_started_at, inserted_at, recipient, recipient_version, rescheduled_for)
				VALUES (1, 2, 3, 4, TRUE, 5, $1, $1, '', 0, $2)`, start, now.Add(c.due))
		}
		if err != nil {
			t.Fatal(err)
		}
		trigger := &Trigger{DB: db, Period: c.period, Now: func() time.Time { return now.Add(c.took) }}
		got, err := trigger.nextLook(t.Context(), now)
		if err != nil || !got.Equal(now.Add(c.want)) {
			t.Errorf("%s: after %v, %v; want %v", c.name, got.Sub(now), err, c.want)
		}
	}
}
