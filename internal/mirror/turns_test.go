package mirror_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const mirrorQuery = `SELECT turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base,
	min_trade_amount, phase, phase_deadline, collection_started_at, collection_deadline, subphase FROM worker_turn`

// A turn is followed from phase to phase, and in each of them all steps are done as soon as they may be.
func TestTurnIsFollowed(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.roll(t)
	mustHold(t, n.worker.DB, mirrorQuery)

	n.startTurn(t)
	n.roll(t)
	mustHold(t, n.worker.DB, mirrorQuery,
		`(70000,"2026-03-10 02:00:00+00",L40,40,2,1000,1,"2026-03-10 02:10:00+00",,,10)`)

	n.toPhase(t, 2)
	n.rollAt(t, phase1Deadline)
	mustHold(t, n.worker.DB, mirrorQuery,
		`(70000,"2026-03-10 02:00:00+00",L40,40,2,1000,2,"2026-03-10 03:10:00+00",,"2026-04-09 02:00:00+00",5)`)
	n.rollAt(t, pouring.Add(time.Microsecond))
	n.mustBeAt(t, theTurn, 2, 10)

	n.toPhase(t, 3)
	n.rollAt(t, collectionStart)
	mustHold(t, n.worker.DB, mirrorQuery,
		`(70000,"2026-03-10 02:00:00+00",L40,40,2,1000,3,,"2026-03-10 03:11:00+00","2026-04-09 02:00:00+00",10)`)
	n.toPhase(t, 4)
	n.roll(t)
	n.mustBeAt(t, theTurn, 3, 10)
	n.mustNotComplain(t)
}

// A turn may be noticed late, in any phase. A mirror never moves backwards. All of these are turns of one database.
func TestMirrorFollows(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	var want []string
	for turn, c := range []struct {
		phase, subphase int // of the mirror; 0: there is none
		solver          int // phase
		want            string
	}{
		{0, 0, 1, "(1,10)"},
		{0, 0, 2, "(2,5)"},
		{0, 0, 3, "(3,10)"},
		{0, 0, 4, "none"}, // the turn went by unnoticed
		{1, 0, 1, "(1,10)"},
		{1, 10, 1, "(1,10)"},
		{1, 0, 2, "(2,5)"},
		{1, 10, 2, "(2,5)"},
		{1, 10, 3, "(3,10)"},
		{1, 0, 4, "(3,10)"},
		{2, 0, 2, "(2,5)"},
		{2, 5, 2, "(2,5)"},
		{2, 10, 2, "(2,10)"},
		{2, 10, 1, "(2,10)"},
		{2, 5, 3, "(3,10)"},
		{2, 10, 4, "(3,10)"},
		{3, 0, 3, "(3,10)"},
		{3, 5, 3, "(3,10)"},
		{3, 10, 3, "(3,10)"},
		{3, 10, 2, "(3,10)"},
		{3, 0, 4, "(3,10)"},
		{3, 5, 4, "(3,10)"},
	} {
		const insert = `VALUES ($1::INTEGER, '2026-03-10 02:00Z'::TIMESTAMPTZ, 'L40', 40, 2, 1000, $2::SMALLINT,
			CASE WHEN $2 < 3 THEN '2026-03-10 03:10Z'::TIMESTAMPTZ END,
			CASE WHEN $2 > 2 THEN '2026-03-10 03:11Z'::TIMESTAMPTZ END,
			CASE WHEN $2 > 1 THEN '2026-04-09 02:00Z'::TIMESTAMPTZ END`
		n.inSolver(t, `INSERT INTO turn `+insert+`)`, turn, c.solver)
		if c.phase > 0 {
			n.inWorker(t, `INSERT INTO worker_turn `+insert+`, $3)`, turn, c.phase, c.subphase)
		}
		if c.want != "none" {
			want = append(want, fmt.Sprintf("(%d,%q)", turn, c.want))
		}
	}
	n.roll(t)
	mustHold(t, n.worker.DB, `SELECT turn_id, (phase, subphase)::TEXT FROM worker_turn`, want...)
	mustHold(t, n.worker.DB, `SELECT DISTINCT phase, phase_deadline, collection_started_at, collection_deadline FROM worker_turn`,
		`(1,"2026-03-10 03:10:00+00",,)`,
		`(2,"2026-03-10 03:10:00+00",,"2026-04-09 02:00:00+00")`,
		`(3,,"2026-03-10 03:11:00+00","2026-04-09 02:00:00+00")`)
	n.mustNotComplain(t)
}

// What a turn has been started with does not change, whatever becomes of the solver's row.
func TestMirrorKeepsTheTermsOfTheTurn(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 1, 10)
	n.toPhase(t, 3)
	n.inSolver(t, `UPDATE turn SET started_at = now(), base_debtor_info_locator = 'x', base_debtor_id = 7, max_distance_to_base = 9,
		min_trade_amount = 77`)
	n.roll(t)
	mustHold(t, n.worker.DB, mirrorQuery,
		`(70000,"2026-03-10 02:00:00+00",L40,40,2,1000,3,,"2026-03-10 03:11:00+00","2026-04-09 02:00:00+00",10)`)
}

// Several turns can be under way in a worker, and one that fails does not keep the others from going on.
func TestTurnsDoNotHinderEachOther(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 3, 0)
	n.inSolver(t, `UPDATE turn SET phase = 4`)
	n.inSolver(t, `INSERT INTO turn SELECT 70001, started_at, 'L40', 40, 2, 1000, 3, NULL, collection_started_at, collection_deadline
		FROM turn`)
	n.inSolver(t, `INSERT INTO creditor_taking VALUES (70000, 1, 1, 0, 5, 1)`)
	n.inWorker(t, `INSERT INTO creditor_participation VALUES (1, 1, 70000, -5, 1)`) // so the same row cannot be copied
	n.worker.DB.Close()
	n.worker = reopen(t, n.worker)
	n.roller.Worker = n.worker
	if err := n.roller.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "turn 70000") {
		t.Errorf("the error is %v", err)
	}
	n.mustBeAt(t, 70000, 3, 0)
	n.mustBeAt(t, 70001, 3, 10)
	if next := rows(t, n.solver.DB, `SELECT turn_id FROM trade_worker_report`); len(next) != 1 {
		t.Error("there is no report")
	}
}

// A turn that the solver does not know is told of, and left alone.
func TestUnknownTurn(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 1, 10)
	n.inSolver(t, `DELETE FROM turn`)
	n.roll(t)
	n.mustBeAt(t, theTurn, 1, 10)
	n.mustComplain(t, "another solver's database")
}

// After the deadline of its phase, a step is left out.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	for _, c := range []struct {
		phase, subphase int
		now             time.Time
		moved           int // rows of the solver, and messages
		complaints      int
	}{
		{1, 0, phase1Deadline.Add(-time.Microsecond), 2, 0},
		{1, 0, phase1Deadline, 0, 1},
		{1, 0, phase1Deadline.Add(day), 0, 1},
		{2, 0, phase2Deadline.Add(-time.Microsecond), 3 + 2, 0}, // it is time to pour, too
		{2, 0, phase2Deadline, 0, 2},
		{2, 5, phase2Deadline.Add(-time.Microsecond), 2, 0},
		{2, 5, phase2Deadline, 0, 1},
	} {
		n.clear(t)
		n.startAt(t, c.phase, c.subphase)
		n.inWorker(t, `
			INSERT INTO debtor_info_document VALUES ('L40', 40, NULL, NULL, NULL, NULL, now());
			INSERT INTO debtor_locator_claim VALUES (40, 'L40', now(), now(), NULL);
			INSERT INTO active_collector VALUES (40, 800, 'old');
			INSERT INTO account_lock VALUES (1, 40, 70000, 801, now(), 1, -5000, 1), (2, 40, 70000, 801, now(), 2, 5000, 1)`)
		n.inSolver(t, `
			INSERT INTO currency_info VALUES
				(70000, 'L40', 40, NULL, NULL, NULL, true), (70000, 'L41', 41, 'L40', 40, 2, true);
			INSERT INTO collector_account VALUES (40, 801, 0, 'new', 2, now())`)
		n.want(t, 3, 40, -9000, 0, 0)
		n.want(t, 3, 41, 9000, 40, 2)
		n.want(t, 3, 42, -9000, 40, 1)
		n.rollAt(t, c.now)
		n.mustBeAt(t, theTurn, c.phase, 10)
		moved := len(rows(t, n.worker.DB, `SELECT 1 FROM outbox`)) + len(rows(t, n.solver.DB, `
			SELECT 1 FROM debtor_info UNION ALL SELECT 1 FROM confirmed_debtor
			UNION ALL SELECT 1 FROM sell_offer UNION ALL SELECT 1 FROM buy_offer`))
		if moved != c.moved {
			t.Errorf("%d, %d at %v: %d rows, want %d", c.phase, c.subphase, c.now, moved, c.moved)
		}
		collector := "(40,800,old)"
		if c.phase == 2 && c.subphase == 0 && c.moved > 0 {
			collector = "(40,801,new)"
		}
		mustHold(t, n.worker.DB, `SELECT * FROM active_collector`, collector)
		if complaints := n.log.complaints(); len(complaints) != c.complaints {
			t.Errorf("%d, %d at %v: it complains %q", c.phase, c.subphase, c.now, complaints)
		}
		n.log.forget()
	}
}

// The examples of section 3.3, and more like them.
func TestCushion(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.inWorker(t, `INSERT INTO account_lock VALUES (1, 40, 70000, 801, now(), 1, -5000, 1)`)
	for name, c := range map[string]struct {
		deadline time.Duration // after the start
		settings config.Pouring
		lead     time.Duration
	}{
		"example":                {70 * time.Minute, config.Pouring{Cushion: 5 * time.Minute}, 5 * time.Minute},
		"short turn":             {6 * time.Minute, config.Pouring{Cushion: 5 * time.Minute}, 36 * time.Second},
		"pouring duration":       {70 * time.Minute, config.Pouring{Duration: new(20 * time.Minute), Cushion: time.Minute}, 20 * time.Minute},
		"long pouring duration":  {70 * time.Minute, config.Pouring{Duration: new(time.Hour), Cushion: time.Minute}, 35 * time.Minute},
		"short pouring duration": {70 * time.Minute, config.Pouring{Duration: new(time.Second), Cushion: time.Minute}, time.Second},
	} {
		n.roller.Settings.Lead = c.settings.Lead
		n.inSolver(t, `DELETE FROM turn; DELETE FROM sell_offer`)
		n.inWorker(t, `DELETE FROM worker_turn`)
		n.startAt(t, 2, 5)
		n.inSolver(t, `UPDATE turn SET phase_deadline = $1`, turnStart.Add(c.deadline))
		n.inWorker(t, `UPDATE worker_turn SET phase_deadline = $1`, turnStart.Add(c.deadline))
		for _, early := range []time.Duration{time.Minute, time.Microsecond, 0} {
			n.rollAt(t, turnStart.Add(c.deadline-c.lead-early))
			n.mustBeAt(t, theTurn, 2, 5)
			mustHold(t, n.solver.DB, `SELECT creditor_id FROM sell_offer`)
		}
		n.rollAt(t, turnStart.Add(c.deadline-c.lead+time.Microsecond))
		n.mustBeAt(t, theTurn, 2, 10)
		mustHold(t, n.solver.DB, `SELECT creditor_id FROM sell_offer`, "(1)")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// While candidate offers are handled, the handlers hold share locks on the mirror, and pass over it if they do not get
// them. So nothing else may lock it until it is time to pour.
func TestMirrorIsNotLockedInVain(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 5)
	n.inSolver(t, `INSERT INTO turn VALUES (70001, now(), 'x', 1, 1, 1, 1, now(), NULL, NULL)`) // another turn has something to do
	err := n.worker.InTx(t.Context(), "handle", func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM worker_turn FOR SHARE`); err != nil {
			return err
		}
		n.rollAt(t, pouring)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n.mustBeAt(t, 70001, 1, 10)
}

// The pouring waits for those who are handling candidate offers, and whoever comes later passes over the turn.
func TestPouringEndsTheTimeOfCandidateOffers(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 5)
	n.now = pouring.Add(time.Second)
	rolled := make(chan error, 1)
	err := n.worker.InTx(t.Context(), "handle", func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM worker_turn FOR SHARE`); err != nil {
			return err
		}
		go func() { rolled <- n.roller.RunOnce(context.WithoutCancel(ctx)) }()
		waitForLock(t, n.worker)
		select {
		case err := <-rolled:
			t.Errorf("the step has been done, %v", err)
		default:
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-rolled; err != nil {
		t.Fatal(err)
	}
	n.mustBeAt(t, theTurn, 2, 10)
}

// Two rollers do each step once.
func TestTwoRollers(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 3, 0)
	const locks = 1000
	n.inWorker(t, `INSERT INTO account_lock SELECT n, 40, 70000, 801, now(), n, 0 FROM generate_series(1, 1000) AS n`)
	other := *n.roller
	failures := make(chan error)
	go func() { failures <- other.RunOnce(t.Context()) }()
	go func() { failures <- n.roller.RunOnce(t.Context()) }()
	for range 2 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	n.mustBeAt(t, theTurn, 3, 10)
	if got := len(n.sent(t, "ReviseAccountLock")); got != locks {
		t.Errorf("%d messages, want %d", got, locks)
	}
}

// It wakes up when it is woken, and when the time to pour has come; not before.
func TestRun(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.roller.Now = time.Now
	n.roller.Settings.Lead = func(time.Duration) time.Duration { return 59 * time.Second }
	ctx, cancel := context.WithCancel(t.Context())
	wake, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- n.roller.Run(ctx, wake) }()
	eventually := func(want string) {
		t.Helper()
		mustBecome(t, n, `SELECT phase, subphase FROM worker_turn`, want)
	}
	mustBecome(t, n, `SELECT 1 FROM worker_turn`)

	start := time.Now().UTC().Truncate(time.Microsecond)
	deadline := start.Add(time.Minute)
	n.inSolver(t, `INSERT INTO turn VALUES (1, $1, 'L40', 40, 2, 1000, 1, $2, NULL, NULL)`, start, deadline)
	wake <- struct{}{}
	eventually("(1,10)")
	n.inSolver(t, `UPDATE turn SET phase = 2, collection_deadline = now()`)
	wake <- struct{}{}
	mustBecome(t, n, `SELECT phase FROM worker_turn`, "(2)")
	eventually("(2,10)")
	if now, want := time.Now(), deadline.Add(-59*time.Second); now.Before(want) {
		t.Errorf("offers were poured at %v, want %v", now, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	n.mustNotComplain(t)
}

// It ends when a database does not answer.
func TestRunFails(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.solver.Close()
	if err := n.roller.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "the solver's turns") {
		t.Errorf("the error is %v", err)
	}
}
