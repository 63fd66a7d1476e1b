package mirror_test

import (
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A turn with two workers, as in section 5. The solver, and what becomes of candidate offers, are played by the test.
func TestWholeTurn(t *testing.T) {
	t.Parallel()
	solver := solverdbtest.New(t)
	w0, w1 := newNode(t, "0.#", solver), newNode(t, "1.#", solver)
	nodes := []*node{w0, w1}
	seller, buyer := idOf(t, "0.#", 1), idOf(t, "1.#", 1)
	collector0, collector1 := idOf(t, "0.#", 20), idOf(t, "1.#", 20)
	own := func(id int64) *node { // which worker has the key
		return nodes[shard.KeyOf(id)>>31]
	}
	rollAll := func(now time.Time) {
		for _, n := range nodes {
			n.rollAt(t, now)
		}
	}
	for debtor := swpt.DebtorID(40); debtor <= 41; debtor++ {
		locator := map[swpt.DebtorID]string{40: "L40", 41: "L41"}[debtor]
		own(int64(debtor)).inWorker(t, `INSERT INTO debtor_locator_claim VALUES ($1, $2, now(), now(), NULL)`, debtor, locator)
		nodes[shard.KeyOfString(locator)>>31].inWorker(t, `INSERT INTO debtor_info_document
			VALUES ($1, $2::BIGINT, CASE $2 WHEN 41 THEN 'L40' END, CASE $2 WHEN 41 THEN 40 END, CASE $2 WHEN 41 THEN 2 END, NULL, now())`,
			locator, debtor)
	}
	w0.want(t, seller, 41, -3000, 40, 2)
	w0.want(t, seller, 40, 6000, 0, 0)
	w1.want(t, buyer, 41, 3000, 40, 2)
	w1.want(t, buyer, 40, -6000, 0, 0)
	w0.inSolver(t, `INSERT INTO collector_account VALUES (40, $1, 0, 'a', 2, now()), (41, $1, 0, 'b', 2, now()),
		(41, $2, 0, 'c', 2, now())`, collector0, collector1)

	w0.startTurn(t)
	// What somebody was too late with in an earlier turn is gone after the same change of phase in this one.
	w0.inSolver(t, `
		INSERT INTO turn VALUES (69999, '2026-03-09', 'x', 1, 1, 1, 4, NULL, now(), now());
		INSERT INTO debtor_info VALUES (69999, 'late', 1, NULL, NULL, NULL);
		INSERT INTO buy_offer VALUES (69999, 1, 1, 1)`)
	rollAll(turnStart.Add(time.Minute))
	mustHold(t, solver.DB, `SELECT debtor_info_locator FROM debtor_info`, "(L40)", "(L41)", "(late)")

	w0.inSolver(t, `
		INSERT INTO currency_info SELECT *, true FROM debtor_info WHERE turn_id = 70000;
		UPDATE turn SET phase = 2, phase_deadline = '2026-03-10 03:10Z', collection_deadline = '2026-04-09 02:10Z' WHERE turn_id = 70000;
		DELETE FROM debtor_info WHERE turn_id IN (SELECT turn_id FROM turn WHERE phase >= 2);
		DELETE FROM confirmed_debtor WHERE turn_id IN (SELECT turn_id FROM turn WHERE phase >= 2)`)
	mustHold(t, solver.DB, `SELECT * FROM debtor_info`)
	rollAll(phase1Deadline.Add(time.Minute))
	for _, n := range nodes {
		n.mustBeAt(t, theTurn, 2, 5)
		mustHold(t, n.worker.DB, `SELECT count(*) FROM active_collector`, "(3)")
		mustHold(t, n.worker.DB, `SELECT type, count(*) FROM outbox GROUP BY 1`, "(CandidateOffer,2)")
		// The candidates become locks, all of which get prepared.
		n.inWorker(t, `INSERT INTO account_lock (creditor_id, debtor_id, turn_id, collector_id, initiated_at, coordinator_request_id,
				amount, transfer_id)
			SELECT (body::JSON->>'creditor_id')::BIGINT, (body::JSON->>'debtor_id')::BIGINT, (body::JSON->>'turn_id')::INTEGER,
				$1, now(), id, (body::JSON->>'amount')::BIGINT, id
			FROM outbox`, collector0)
		n.inWorker(t, `DELETE FROM outbox`)
	}
	rollAll(pouring)
	mustHold(t, solver.DB, `SELECT turn_id FROM sell_offer`)
	rollAll(pouring.Add(time.Minute))
	mustHold(t, solver.DB, `SELECT turn_id, debtor_id, amount FROM sell_offer`, "(70000,41,3000)", "(70000,40,6000)")
	mustHold(t, solver.DB, `SELECT turn_id, debtor_id, amount FROM buy_offer`, "(70000,41,3000)", "(70000,40,6000)", "(69999,1,1)")

	// 40 stays at one collector, 41 goes from one to the other.
	w0.publish(t, theTurn,
		result{"creditor_taking", collector0, seller, 41, 3000}, result{"collector_collecting", collector0, seller, 41, 3000},
		result{"creditor_taking", collector0, buyer, 40, 6000}, result{"collector_collecting", collector0, buyer, 40, 6000},
		result{"collector_sending", collector0, collector1, 41, 3000}, result{"collector_receiving", collector1, collector0, 41, 3000},
		result{"creditor_giving", collector1, buyer, 41, 3000}, result{"collector_dispatching", collector1, buyer, 41, 3000},
		result{"creditor_giving", collector0, seller, 40, 6000}, result{"collector_dispatching", collector0, seller, 40, 6000},
	)
	w0.toPhase(t, 3)
	w0.inSolver(t, `DELETE FROM buy_offer WHERE turn_id IN (SELECT turn_id FROM turn WHERE phase >= 3)`)
	mustHold(t, solver.DB, `SELECT * FROM buy_offer`)
	w0.rollAt(t, collectionStart)
	if left := rows(t, solver.DB, resultsQuery); len(left) != 4 {
		t.Errorf("for the other worker there are %q", left)
	}
	w1.rollAt(t, collectionStart)
	mustHold(t, solver.DB, resultsQuery)
	w0.toPhase(t, 4)
	rollAll(collectionStart.Add(time.Minute))
	for _, n := range nodes {
		n.mustBeAt(t, theTurn, 3, 10)
		mustHold(t, n.worker.DB, `SELECT type, count(*) FROM outbox GROUP BY 1`, "(ReviseAccountLock,2)")
		n.mustNotComplain(t)
	}
	mustHold(t, w0.worker.DB, `SELECT debtor_id, amount FROM creditor_participation`, "(41,-3000)", "(40,6000)")
	mustHold(t, w1.worker.DB, `SELECT debtor_id, amount FROM creditor_participation`, "(40,-6000)", "(41,3000)")
	mustHold(t, w0.worker.DB, `SELECT debtor_id, amount_to_collect, amount_to_send, amount_to_receive, amount_to_dispatch
		FROM dispatching_status`, "(40,6000,0,0,6000)", "(41,3000,3000,0,0)")
	mustHold(t, w1.worker.DB, `SELECT debtor_id, amount_to_collect, amount_to_send, amount_to_receive, amount_to_dispatch
		FROM dispatching_status`, "(41,0,0,3000,3000)")
}
