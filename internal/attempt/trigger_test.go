package attempt_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const patience = 20 * time.Second

func (b *bench) triggerOnce(tb testing.TB) {
	tb.Helper()
	if err := b.trigger.RunOnce(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// for creditors numbers rows, so that they can be told apart.
func forCreditors(rows ...workerdb.TransferAttempt) []workerdb.TransferAttempt {
	for i := range rows {
		rows[i].CreditorID = swpt.CreditorID(i)
	}
	return rows
}

func until(row workerdb.TransferAttempt, instant time.Time) workerdb.TransferAttempt {
	row.RescheduledFor = new(instant)
	return row
}

// Attempts whose time has come are told of, the most overdue ones first. Nothing else changes.
func TestTrigger(t *testing.T) {
	t.Parallel()
	for _, burst := range []int{1, 2, 3, 100} {
		t.Run(fmt.Sprint("burst ", burst), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.trigger.Burst = burst
			rows := forCreditors(
				until(newAttempt(), now), until(newAttempt(), now.Add(time.Microsecond)), until(dueAttempt(), now.Add(-time.Hour)),
				waitingAttempt(1, 1, now.Add(-time.Minute)), waitingAttempt(2, 3, now.Add(-time.Second)),
				waitingAttempt(3, 0, now.Add(time.Second)), dueAttempt(), initiatedAttempt(4), settledAttempt(5, 6),
				changed(settledAttempt(7, 8), func(row *workerdb.TransferAttempt) {
					row.FailureCode, row.FatalError = new(int16(0)), new("")
				}),
			)
			b.insert(t, rows...)
			mustCount(t, b, "trade_attempts_oldest_due_age_seconds 3600", `trade_attempts{state="postponed"} 4`,
				`trade_attempts{state="new"} 2`, `trade_attempts{state="due"} 1`, `trade_attempts{state="initiated"} 1`,
				`trade_attempts{state="settled"} 1`, `trade_attempts{state="fatal"} 1`)
			b.triggerOnce(t)

			var want []string
			for _, i := range []int{2, 3, 4, 0} {
				want = append(want, describeAll([]smp.Message{triggerOf(rows[i])}))
				rows[i].RescheduledFor = nil
			}
			mustStore(t, b, rows...)
			var got []string
			for _, m := range b.sent(t) {
				got = append(got, describeAll([]smp.Message{m}))
			}
			if burst > 1 { // in one burst, there is no order
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("sent are\n%s\nwant\n%s", got, want)
			}
			mustCount(t, b, "trade_attempts_oldest_due_age_seconds 0")
			b.triggerOnce(t)
			mustSend(t, b)
		})
	}
}

// W-23: an attempt that gets no answer fails, a week after its deadline, and is made again.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.trigger.Burst = 3
	var rows []workerdb.TransferAttempt
	patienceOf := map[int16]time.Duration{0: healthy, 3: 8 * healthy, 4: 16 * healthy, 20: (1<<31 - 1) * time.Second}
	for _, counter := range []int16{0, 3, 4, 20} {
		made := now.Add(-patienceOf[counter] - 7*day)
		for _, late := range []time.Duration{0, time.Microsecond} {
			request := int64(10 * len(rows))
			rows = append(rows,
				initiatedAttempt(request), settledAttempt(request+1, 1), failedAttempt(request+2, 1),
				waitingAttempt(request+3, 1, now.Add(day)), dueAttempt(),
			)
			for i := range rows[len(rows)-5:] {
				row := &rows[len(rows)-5+i]
				row.BackoffCounter = counter
				if row.AttemptedAt != nil {
					row.AttemptedAt = new(made.Add(-late))
				}
			}
		}
	}
	rows = forCreditors(rows...)
	b.insert(t, rows...)
	b.triggerOnce(t)

	var want []smp.Message
	for i := range rows {
		row := &rows[i]
		if row.AttemptedAt == nil || row.FailureCode != nil || row.TransferID != nil ||
			!row.AttemptedAt.Before(now.Add(-patienceOf[row.BackoffCounter]-7*day)) {
			continue
		}
		row.FailureCode = new(int16(1))
		row.BackoffCounter = max(3, row.BackoffCounter+1)
		want = append(want, triggerOf(*row)) // it has been due for a week
	}
	if len(want) != 4 {
		t.Fatalf("%d attempts get no answer", len(want))
	}
	mustStore(t, b, rows...)
	got := b.sent(t)
	slices.SortFunc(got, func(x, y smp.Message) int {
		return int(x.(*smp.TriggerTransfer).CreditorID - y.(*smp.TriggerTransfer).CreditorID)
	})
	if describeAll(got) != describeAll(want) {
		t.Errorf("sent are\n%s\nwant\n%s", describeAll(got), describeAll(want))
	}
	mustCount(t, b, `trade_attempts_failed_total{kind="dispatching",reason="no_answer"} 4`)
}

// What somebody else has locked is passed over.
func TestLockedAttempts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := changed(initiatedAttempt(1), func(row *workerdb.TransferAttempt) { row.AttemptedAt = new(now.Add(-30 * day)) })
	older := changed(old, func(row *workerdb.TransferAttempt) { row.CoordinatorRequestID = new(int64(2)) })
	rows := forCreditors(until(newAttempt(), now), until(newAttempt(), now), old, older)
	b.insert(t, rows...)
	tx, err := b.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // it fails after the commit
	if _, err := tx.Exec(t.Context(), "SELECT FROM transfer_attempt WHERE creditor_id IN (0, 2) FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	b.triggerOnce(t)
	if sent := b.sent(t); len(sent) != 2 {
		t.Errorf("sent are\n%s", describeAll(sent))
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.triggerOnce(t)
	if sent := b.sent(t); len(sent) != 2 {
		t.Errorf("sent are\n%s, when nothing was locked any more", describeAll(sent))
	}
}

// Several triggers tell of each attempt once.
func TestSeveralTriggers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.trigger.Burst = 7
	const attempts = 500
	var rows []workerdb.TransferAttempt
	for range attempts {
		rows = append(rows, until(newAttempt(), now))
	}
	b.insert(t, forCreditors(rows...)...)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error { return b.trigger.RunOnce(t.Context()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range b.sent(t) {
		told[describeAll([]smp.Message{m})] = true
	}
	if sent := b.sent(t); len(told) != attempts || len(sent) != 0 {
		t.Errorf("%d of %d attempts have been told of", len(told), attempts)
	}
}

// What docs/operating.md tells operators to do has an attempt made again that has failed for good.
func TestRetryOfFatalAttempts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.account(t, collector, "X", -5)
	row := changed(settledAttempt(1, 2), func(row *workerdb.TransferAttempt) {
		row.FailureCode, row.FatalError = new(int16(0)), new("TRANSFER_NOTE_IS_TOO_LONG")
	})
	b.insert(t, row)
	b.exec(t, "SELECT setval('coordinator_request_id_seq', 100)")
	b.exec(t, `UPDATE transfer_attempt SET fatal_error = NULL, rescheduled_for = $1
		WHERE fatal_error IS NOT NULL AND fatal_error <> 'UNEXPECTED_COMMITTED_AMOUNT'`, now)
	b.triggerOnce(t)
	mustSend(t, b, triggerOf(row))
	b.handle(t, now, triggerOf(row))
	if sent := b.sent(t); len(sent) != 1 || sent[0].Type() != smp.TypePrepareTransfer {
		t.Errorf("sent are\n%s", describeAll(sent))
	}
}

// start runs the trigger by the real clock. stop ends it, and returns its error.
func (b *bench) start(t *testing.T, period time.Duration) (stop func() error) {
	t.Helper()
	b.trigger.Now, b.trigger.Period = time.Now, period
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.trigger.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func (b *bench) waitForMessages(t *testing.T, want int) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if got := b.count(t, "outbox"); got != want {
			return fmt.Errorf("there are %d messages, want %d", got, want)
		}
		return nil
	})
}

// A trigger does not wait for the end of its period if something is due before.
func TestRunWakesInTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	soon := time.Now().Add(300 * time.Millisecond).Truncate(time.Microsecond)
	b.insert(t, forCreditors(until(newAttempt(), soon), until(newAttempt(), soon.Add(time.Hour)))...)
	stop := b.start(t, time.Hour)
	b.waitForMessages(t, 1)
	if time.Now().Before(soon) {
		t.Error("it was too early")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A trigger finds what comes while it runs.
func TestRunLooksAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.start(t, time.Millisecond)
	for i := range 3 {
		row := until(newAttempt(), time.Now().Truncate(time.Microsecond))
		row.CreditorID = swpt.CreditorID(i)
		b.insert(t, row)
		b.waitForMessages(t, i+1)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRunFailsWithTheDatabase(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"no attempts": "ALTER TABLE transfer_attempt RENAME TO other",
		"no outbox":   "ALTER TABLE outbox RENAME TO other",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.insert(t, until(newAttempt(), now))
			b.exec(t, statement)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := b.trigger.Run(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
