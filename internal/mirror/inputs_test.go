package mirror_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Everything that is ours is reported, however old it is, and nothing else.
func TestCurrenciesAreReported(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startTurn(t)
	n.inWorker(t, `
		INSERT INTO debtor_info_document VALUES
			('L40', 40, NULL, NULL, NULL, NULL, '1999-01-01'),
			('https://пример.рф/"\', -41, 'L40', 40, 1e-300, '2099-01-01', now()),
			('', -9223372036854775808, 'L41', 9223372036854775807, 'Infinity', NULL, now()),
			('x', 0, 'L', 0, 'NaN', NULL, now());
		INSERT INTO debtor_locator_claim VALUES
			(40, 'L40', now(), now(), NULL),
			(-41, 'L41', '1999-01-01', '1999-01-01', '1999-01-01'),
			(42, NULL, NULL, now(), NULL)`)
	n.roll(t)
	mustHold(t, n.solver.DB, `SELECT * FROM debtor_info`,
		`(70000,L40,40,,,)`,
		`(70000,"https://пример.рф/""\\",-41,L40,40,1e-300)`,
		`(70000,"",-9223372036854775808,L41,9223372036854775807,Infinity)`,
		`(70000,x,0,L,0,NaN)`)
	mustHold(t, n.solver.DB, `SELECT * FROM confirmed_debtor`, `(70000,40,L40)`, `(70000,-41,L41)`)
	n.mustBeAt(t, theTurn, 1, 10)
	n.mustNotComplain(t)
}

// Two halves of a shard that has been split have the same rows. Each reports its own.
func TestCurrenciesOfTheOtherShard(t *testing.T) {
	t.Parallel()
	solver := solverdbtest.New(t)
	nodes := []*node{newNode(t, "0.#", solver), newNode(t, "1.#", solver)}
	nodes[0].startTurn(t)
	var reported []string
	for i, n := range nodes {
		n.inWorker(t, `
			INSERT INTO debtor_info_document SELECT 'L' || id, id, NULL, NULL, NULL, NULL, now() FROM generate_series(1, 100) AS id;
			INSERT INTO debtor_locator_claim SELECT id, 'L' || id, now(), now(), NULL FROM generate_series(1, 100) AS id`)
		n.roll(t)
		n.mustNotComplain(t)
		for id := swpt.DebtorID(1); id <= 100; id++ {
			if n.roller.Settings.Realm.Match(shard.KeyOfString(fmt.Sprint("L", id))) {
				reported = append(reported, fmt.Sprintf("(info,%d)", id))
			}
			if n.roller.Settings.Realm.Match(shard.KeyOf(id)) {
				reported = append(reported, fmt.Sprintf("(claim,%d)", id))
			}
		}
		mustHold(t, n.solver.DB, `SELECT 'info', debtor_id FROM debtor_info UNION ALL SELECT 'claim', debtor_id FROM confirmed_debtor`,
			reported...)
		if i == 0 && (len(reported) < 50 || len(reported) > 150) {
			t.Errorf("%d of 200 rows are of one half", len(reported))
		}
	}
}

// Rows that are there already are left as they are, and do not keep out the others.
func TestRowsThatAreThereAlready(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startTurn(t)
	n.inSolver(t, `
		INSERT INTO debtor_info VALUES (70000, 'L40', 1, NULL, NULL, NULL), (69999, 'L41', 1, NULL, NULL, NULL);
		INSERT INTO confirmed_debtor VALUES (70000, 40, 'other')`)
	n.inWorker(t, `
		INSERT INTO debtor_info_document VALUES ('L40', 40, NULL, NULL, NULL, NULL, now()), ('L41', 41, NULL, NULL, NULL, NULL, now());
		INSERT INTO debtor_locator_claim VALUES (40, 'L40', now(), now(), NULL), (41, 'L41', now(), now(), NULL)`)
	n.roll(t)
	mustHold(t, n.solver.DB, `SELECT turn_id, debtor_info_locator, debtor_id FROM debtor_info`,
		"(70000,L40,1)", "(69999,L41,1)", "(70000,L41,41)")
	mustHold(t, n.solver.DB, `SELECT * FROM confirmed_debtor`, "(70000,40,other)", "(70000,41,L41)")
	n.mustComplain(t, `table=debtor_info turn_id=70000 rows=1`, `table=confirmed_debtor turn_id=70000 rows=1`)
}

// Locks become offers if they are prepared, and nothing has happened to them since.
func TestOffersArePoured(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 5)
	n.inWorker(t, `
		INSERT INTO account_lock
			(creditor_id, debtor_id, turn_id, collector_id, initiated_at, coordinator_request_id, amount, transfer_id,
				finalized_at, released_at, account_creation_date, account_last_transfer_number)
		VALUES
			(1, 40, 70000, 801, now(), 1, -5000, 11, NULL, NULL, NULL, NULL),
			(1, 41, 70000, 802, now(), 2, 6000, 12, NULL, NULL, NULL, NULL),
			(-2, -41, 70000, -801, now(), 3, -9223372036854775807, 0, NULL, NULL, NULL, NULL), -- a self-lock
			(3, 40, 70000, 801, now(), 4, 9223372036854775807, -1, NULL, NULL, NULL, NULL),
			(4, 40, 70000, 801, now(), 5, 0, 13, NULL, NULL, NULL, NULL),
			(5, 40, 70000, 801, now(), 6, -5000, NULL, NULL, NULL, NULL, NULL), -- initiated
			(6, 40, 70000, 801, now(), 7, 5000, NULL, NULL, NULL, NULL, NULL),
			(7, 40, 70000, 801, now(), 8, -5000, 14, now(), NULL, NULL, NULL), -- settled
			(7, 41, 70000, 801, now(), 12, 5000, 14, now(), NULL, NULL, NULL),
			(8, 40, 70000, 801, now(), 9, 5000, 14, now(), now(), now(), 7), -- released
			(8, 41, 70000, 801, now(), 13, -5000, 14, now(), now(), now(), 7),
			(9, 40, 69999, 801, now(), 10, -5000, 15, NULL, NULL, NULL, NULL),
			(9, 41, 70001, 801, now(), 11, 5000, 16, NULL, NULL, NULL, NULL)`)
	n.rollAt(t, pouring.Add(time.Second))
	mustHold(t, n.solver.DB, `SELECT * FROM sell_offer`, "(70000,1,40,5000,801)", "(70000,-2,-41,9223372036854775807,-801)")
	mustHold(t, n.solver.DB, `SELECT * FROM buy_offer`, "(70000,1,41,6000)", "(70000,3,40,9223372036854775807)")
	n.mustBeAt(t, theTurn, 2, 10)
	n.mustNotComplain(t)
}

// Offers that are there already are left as they are. Those of creditors of another shard are not ours to make.
func TestOffersThatAreNotPoured(t *testing.T) {
	t.Parallel()
	n := newNode(t, "1.#", nil)
	n.startAt(t, 2, 5)
	ours, another, theirs := idOf(t, "1.#", 1), idOf(t, "1.#", 2), idOf(t, "0.#", 1)
	for i, creditor := range []swpt.CreditorID{ours, another, theirs} {
		n.inWorker(t, `INSERT INTO account_lock VALUES
			($1, 40, 70000, 801, now(), $2, -5000, 1), ($1, 41, 70000, 801, now(), $2 + 1, 6000, 1)`, creditor, 2*i)
	}
	n.inSolver(t, `INSERT INTO sell_offer VALUES (70000, $1, 40, 3000, 803)`, ours)
	n.inSolver(t, `INSERT INTO buy_offer VALUES (70000, $1, 41, 4000)`, ours)
	n.rollAt(t, pouring.Add(time.Second))
	mustHold(t, n.solver.DB, `SELECT creditor_id, debtor_id, amount, collector_id FROM sell_offer`,
		fmt.Sprintf("(%d,40,3000,803)", ours), fmt.Sprintf("(%d,40,5000,801)", another))
	mustHold(t, n.solver.DB, `SELECT creditor_id, debtor_id, amount FROM buy_offer`,
		fmt.Sprintf("(%d,41,4000)", ours), fmt.Sprintf("(%d,41,6000)", another))
	n.mustComplain(t, "table=sell_offer turn_id=70000 rows=1", "table=buy_offer turn_id=70000 rows=1")
}
