package mirror_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/postgres"
)

// fill gives a worker, and the solver, something to do in each step.
func (n *node) fill(tb testing.TB) {
	tb.Helper()
	n.inSolver(tb, currencies)
	n.inSolver(tb, `INSERT INTO collector_account VALUES (40, 801, 0, 'a', 2, 'epoch'), (41, 802, 0, 'b', 2, 'epoch')`)
	n.inWorker(tb, `
		INSERT INTO debtor_info_document SELECT 'L' || id, id, NULL, NULL, NULL, NULL, now() FROM generate_series(1, 5) AS id;
		INSERT INTO debtor_locator_claim SELECT id, 'L' || id, now(), now(), NULL FROM generate_series(1, 5) AS id;
		INSERT INTO active_collector VALUES (40, 800, 'old');
		INSERT INTO account_lock VALUES
			(1, 40, 70000, 801, now(), 1, -5000, 1), (2, 40, 70000, 801, now(), 2, -5000, 1),
			(3, 40, 70000, 801, now(), 3, 9000, 1)`)
	n.want(tb, 1, 40, 2000, 0, 0)
	n.want(tb, 1, 41, -1000, 40, 2)
	n.want(tb, 1, 49, -1000, 40, 2)
	n.publish(tb, theTurn,
		result{"creditor_taking", 801, 1, 40, 5000},
		result{"creditor_taking", 801, 2, 40, 1000},
		result{"creditor_giving", 802, 3, 40, 6000},
		result{"collector_collecting", 801, 1, 40, 5000},
		result{"collector_collecting", 801, 2, 40, 1000},
		result{"collector_sending", 801, 802, 40, 6000},
		result{"collector_receiving", 802, 801, 40, 6000},
		result{"collector_dispatching", 802, 3, 40, 6000},
	)
}

// clear makes both databases empty.
func (n *node) clear(tb testing.TB) {
	tb.Helper()
	for _, table := range solverTables {
		n.inSolver(tb, `DELETE FROM `+table)
	}
	inputs := []string{"trading_policy", "debtor_info_document", "debtor_locator_claim", "account_lock", "outbox"}
	for _, table := range append(inputs, workerTables...) {
		n.inWorker(tb, `DELETE FROM `+table)
	}
	for _, db := range []*postgres.DB{n.solver.DB, n.worker.DB} {
		exec(tb, db, `DROP SEQUENCE IF EXISTS crashes; DROP FUNCTION IF EXISTS crash CASCADE`)
	}
}

// Wherever a step is killed, in the middle of what it writes or between two commits, the outcome is in the end the same
// as if nothing had happened. The same goes for transactions that lose a race.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		phase, subphase int
		now             time.Time
		inSolver        []string // what is being done to which table when the step is killed
		inWorker        []string
	}{
		{1, 0, turnStart, []string{"INSERT ON debtor_info", "INSERT ON confirmed_debtor"}, nil},
		{2, 0, phase1Deadline, nil, []string{"INSERT ON outbox", "DELETE ON active_collector", "INSERT ON active_collector"}},
		{2, 5, pouring.Add(time.Second), []string{"INSERT ON sell_offer", "INSERT ON buy_offer"}, nil},
		{3, 0, collectionStart, nil, []string{
			"INSERT ON creditor_participation", "INSERT ON worker_dispatching", "INSERT ON dispatching_status", "INSERT ON outbox",
		}},
		{3, 5, collectionStart, []string{"DELETE ON creditor_taking", "DELETE ON collector_dispatching"}, nil},
	} {
		t.Run(fmt.Sprint(c.phase, " ", c.subphase), func(t *testing.T) {
			t.Parallel()
			n := newNode(t, "#", nil)
			n.now = c.now
			prepare := func() {
				n.clear(t)
				n.startAt(t, c.phase, c.subphase)
				n.fill(t)
			}
			prepare()
			before := n.everything(t)
			n.roll(t)
			n.mustNotComplain(t)
			want := n.everything(t)
			if slices.Equal(before, want) {
				t.Fatal("the step does nothing")
			}
			for _, moment := range []string{"", "DEFERRABLE INITIALLY DEFERRED"} { // at once, or during the commit
				for _, action := range c.inSolver {
					prepare()
					n.mustSurvive(t, n.solver.DB, action, moment, want)
				}
				for _, action := range append(c.inWorker, "UPDATE ON worker_turn") {
					prepare()
					n.mustSurvive(t, n.worker.DB, action, moment, want)
				}
			}
		})
	}
}

// mustSurvive has a step killed once, and lose a race the next time. Then it must be done, with the outcome that is
// wanted.
func (n *node) mustSurvive(t *testing.T, db *postgres.DB, action, moment string, want []string) {
	t.Helper()
	exec(t, db, fmt.Sprintf(`
		CREATE SEQUENCE crashes; -- which counts also what is rolled back
		CREATE FUNCTION crash() RETURNS TRIGGER LANGUAGE plpgsql AS $$
			BEGIN
				CASE nextval('crashes')
					WHEN 1 THEN RAISE EXCEPTION 'crash';
					WHEN 2 THEN RAISE EXCEPTION 'race' USING ERRCODE = 'serialization_failure';
					ELSE RETURN NULL;
				END CASE;
			END
		$$;
		CREATE CONSTRAINT TRIGGER crash AFTER %s %s FOR EACH ROW EXECUTE FUNCTION crash()`, action, moment))
	if err := n.roller.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "crash") {
		t.Fatalf("%s %s: the error is %v", action, moment, err)
	}
	n.roll(t)
	if got := n.everything(t); !slices.Equal(got, want) {
		t.Errorf("%s %s: there are\n%s\nwant\n%s", action, moment, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, complaint := range n.log.complaints() {
		if !strings.Contains(complaint, "level=WARN") {
			t.Errorf("%s %s: it complains: %s", action, moment, complaint)
		}
	}
}
