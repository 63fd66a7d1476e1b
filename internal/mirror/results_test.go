package mirror_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A result is a row of one of the six tables that the solver fills. who is the trader, or the other collector.
type result struct {
	table          string
	collector, who swpt.CreditorID
	debtor         swpt.DebtorID
	amount         int64
}

func (r result) queue(batch *pgx.Batch, turnID int32) {
	switch r.table {
	case "creditor_taking", "creditor_giving":
		batch.Queue(`INSERT INTO `+r.table+` (turn_id, creditor_id, debtor_id, amount, collector_id, creditor_hash)
			VALUES ($1, $2, $3, $4, $5, $6)`, turnID, r.who, r.debtor, r.amount, r.collector, hashOf(r.who))
	case "collector_collecting", "collector_dispatching":
		batch.Queue(`INSERT INTO `+r.table+` (turn_id, creditor_id, debtor_id, amount, collector_id, collector_hash)
			VALUES ($1, $2, $3, $4, $5, $6)`, turnID, r.who, r.debtor, r.amount, r.collector, hashOf(r.collector))
	case "collector_sending":
		batch.Queue(`INSERT INTO `+r.table+` (turn_id, to_collector_id, debtor_id, amount, from_collector_id, from_collector_hash)
			VALUES ($1, $2, $3, $4, $5, $6)`, turnID, r.who, r.debtor, r.amount, r.collector, hashOf(r.collector))
	case "collector_receiving":
		batch.Queue(`INSERT INTO `+r.table+` (turn_id, from_collector_id, debtor_id, amount, to_collector_id, to_collector_hash)
			VALUES ($1, $2, $3, $4, $5, $6)`, turnID, r.who, r.debtor, r.amount, r.collector, hashOf(r.collector))
	}
}

// publish stores results of the solver.
func (n *node) publish(tb testing.TB, turnID int32, results ...result) {
	tb.Helper()
	batch := &pgx.Batch{}
	for _, r := range results {
		r.queue(batch, turnID)
	}
	if err := n.solver.Pool().SendBatch(tb.Context(), batch).Close(); err != nil {
		tb.Fatal(err)
	}
}

const resultsQuery = `
	SELECT 'taking', turn_id, creditor_id FROM creditor_taking
	UNION ALL SELECT 'giving', turn_id, creditor_id FROM creditor_giving
	UNION ALL SELECT 'collecting', turn_id, collector_id FROM collector_collecting
	UNION ALL SELECT 'sending', turn_id, from_collector_id FROM collector_sending
	UNION ALL SELECT 'receiving', turn_id, to_collector_id FROM collector_receiving
	UNION ALL SELECT 'dispatching', turn_id, collector_id FROM collector_dispatching`

const statusQuery = `SELECT collector_id, turn_id, debtor_id, inserted_at, amount_to_collect, amount_own_sold, amount_to_send,
	amount_to_receive, number_to_receive, amount_to_dispatch, total_collected_amount, total_received_amount,
	started_sending, all_sent, all_received, started_dispatching, awaiting_signal_flag FROM dispatching_status`

// The table of section 3.7.
func TestResultsAreCopied(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 3, 0)
	n.publish(t, theTurn,
		result{"creditor_taking", 801, 1, 40, 5000},
		result{"creditor_taking", 801, 2, 40, 1},
		result{"creditor_taking", 801, 801, 40, 7000}, // a collector, from itself
		result{"creditor_giving", 802, 3, 40, 6000},
		result{"creditor_giving", 802, 4, 40, 1},
		result{"creditor_giving", 802, 802, 40, 2},
		result{"creditor_giving", 802, 1, 40, 5}, // never the case, if the solver is right
		result{"collector_collecting", 801, 1, 40, 5000},
		result{"collector_collecting", 801, 2, 40, 1},
		result{"collector_collecting", 801, 801, 40, 7000},
		result{"collector_sending", 801, 802, 40, 6000},
		result{"collector_sending", 801, 803, 40, 1},
		result{"collector_receiving", 802, 801, 40, 6000},
		result{"collector_receiving", 802, 804, 40, 1},
		result{"collector_dispatching", 802, 3, 40, 6000},
		result{"collector_dispatching", 802, 4, 40, 1},
		result{"collector_dispatching", 802, 802, 40, 2},
	)
	n.rollAt(t, collectionStart)
	mustHold(t, n.worker.DB, `SELECT * FROM creditor_participation`,
		"(1,40,70000,-5000,801)", "(2,40,70000,-1,801)", "(801,40,70000,-7000,801)",
		"(3,40,70000,6000,802)", "(802,40,70000,2,802)")
	const collecting, sending, dispatching = `"2026-06-08 02:00:00+00"`, `"2026-09-06 02:00:00+00"`, `"2026-10-06 02:00:00+00"`
	mustHold(t, n.worker.DB, `SELECT * FROM worker_collecting`,
		"(801,70000,40,1,5000,f,"+collecting+")", "(801,70000,40,2,1,f,"+collecting+")")
	mustHold(t, n.worker.DB, `SELECT * FROM worker_sending`, "(801,70000,40,802,6000,"+sending+")")
	mustHold(t, n.worker.DB, `SELECT * FROM worker_receiving`, "(802,70000,40,801,6000,0,"+sending+")")
	mustHold(t, n.worker.DB, `SELECT * FROM worker_dispatching`, "(802,70000,40,3,6000,"+dispatching+")")
	mustHold(t, n.worker.DB, statusQuery,
		`(801,70000,40,"2026-03-10 03:11:00+00",5001,7000,6000,0,0,0,,,f,f,f,f,f)`,
		`(802,70000,40,"2026-03-10 03:11:00+00",0,0,0,6001,1,6000,,,f,f,f,f,f)`)
	// The planner knows of it.
	mustHold(t, n.worker.DB, `SELECT relname, reltuples FROM pg_class
		WHERE relkind = 'r' AND relname ~ '^(worker_[^ati]|dispatching_|creditor_p)'`,
		"(creditor_participation,5)", "(worker_collecting,2)", "(worker_sending,1)", "(worker_receiving,1)",
		"(worker_dispatching,1)", "(dispatching_status,2)")
	mustHold(t, n.solver.DB, resultsQuery)
	n.mustBeAt(t, theTurn, 3, 10)
	n.mustNotComplain(t)
}

// What is not copied does not make a status on its own, and what cannot be added up exactly is limited.
func TestStatuses(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 3, 0)
	const most = math.MaxInt64
	n.publish(t, theTurn,
		result{"collector_collecting", 801, 801, 40, 7000}, // only an own sale
		result{"collector_sending", 802, 801, 40, 1},
		result{"collector_receiving", 803, 801, 40, 1},
		result{"collector_dispatching", 804, 1, 40, 1},
		result{"collector_dispatching", 804, 804, 40, 5000},

		result{"collector_collecting", 810, 1, 41, most},
		result{"collector_collecting", 810, 2, 41, most},
		result{"collector_collecting", 810, 810, 41, most},
		result{"collector_sending", 810, 811, 41, most},
		result{"collector_sending", 810, 812, 41, 2},
		result{"collector_receiving", 810, 813, 41, most},
		result{"collector_receiving", 810, 814, 41, 1},
		result{"collector_receiving", 810, 815, 41, 2},
		result{"collector_dispatching", 810, 5, 41, most - 2},
		result{"collector_dispatching", 810, 6, 41, 3},

		result{"collector_collecting", 810, 1, 42, 1}, // another currency of the same collector
		result{"collector_sending", 820, 821, 43, 2},
		result{"collector_receiving", 821, 820, 43, 2},
		result{"collector_receiving", 821, 822, 43, 1},
		result{"collector_dispatching", 823, 1, 43, 2},
		result{"collector_dispatching", 823, 2, 43, 1},
	)
	n.publish(t, theTurn+1, result{"collector_collecting", 810, 1, 42, 5}) // of another turn
	n.rollAt(t, collectionStart)
	mustHold(t, n.worker.DB, `SELECT collector_id, debtor_id, amount_to_collect, amount_own_sold, amount_to_send,
		amount_to_receive, number_to_receive, amount_to_dispatch FROM dispatching_status`,
		fmt.Sprintf("(810,41,%d,%d,%d,%d,2,%d)", most, most, most, most, most),
		"(810,42,1,0,0,0,0,0)", "(820,43,0,0,2,0,0,0)", "(821,43,0,0,0,3,1,0)", "(823,43,0,0,0,0,0,2)")
}

// Each worker copies and takes away its own, in all tables, and nothing else.
func TestResultsOfTheOtherShard(t *testing.T) {
	t.Parallel()
	solver := solverdbtest.New(t)
	for round, key := range []string{"1.#", "0.#"} {
		n := newNode(t, key, solver)
		other := map[string]string{"1.#": "0.#", "0.#": "1.#"}[key]
		ours, theirs := idOf(t, key, 1), idOf(t, other, 1)
		if round == 0 {
			n.startAt(t, 3, 0)
			for _, table := range []string{
				"creditor_taking", "creditor_giving", "collector_collecting", "collector_sending", "collector_receiving",
				"collector_dispatching",
			} {
				for debtor := swpt.DebtorID(1); debtor <= 3; debtor++ {
					for who, sign := range map[swpt.CreditorID]swpt.CreditorID{ours: 1, theirs: 2} {
						r := result{table, who, 1000 + sign, debtor + 10*swpt.DebtorID(sign), 5000 + int64(debtor)}
						if table == "creditor_taking" || table == "creditor_giving" {
							r.who, r.collector = who, 1000
						}
						if table == "creditor_giving" {
							r.debtor += 100 // not where something is taken
						}
						n.publish(t, theTurn, r)
						r.amount = 1
						r.debtor += 50
						n.publish(t, theTurn, r)
					}
				}
			}
		}
		before := len(rows(t, solver.DB, resultsQuery))
		n.rollAt(t, collectionStart)
		left := rows(t, solver.DB, resultsQuery)
		if len(left) != 36*(1-round) || before != 36*(2-round) {
			t.Errorf("%s: there were %d results, and %d are left", key, before, len(left))
		}
		for table, want := range map[string]int{ // amounts of 1 are copied only where something is taken
			"creditor_id FROM creditor_participation": 6 + 3,
			"collector_id FROM worker_collecting":     6,
			"from_collector_id FROM worker_sending":   3,
			"to_collector_id FROM worker_receiving":   3,
			"collector_id FROM worker_dispatching":    3,
			"collector_id FROM dispatching_status":    6,
		} {
			mustHold(t, n.worker.DB, `SELECT count(*), `+table+` GROUP BY 2`, fmt.Sprintf("(%d,%d)", want, ours))
		}
		n.mustBeAt(t, theTurn, 3, 10)
	}
}

// A mirror that has not noticed that the turn is over goes through the third phase. So does one of a worker that has
// been away while the solver waited for it.
func TestOverlookedTurn(t *testing.T) {
	t.Parallel()
	for _, phase := range []int{3, 4} {
		n := newNode(t, "#", nil)
		n.startAt(t, 2, 10)
		n.toPhase(t, phase)
		n.inWorker(t, `INSERT INTO account_lock VALUES (1, 40, 70000, 801, now(), 1, 0), (1, 41, 69999, 801, now(), 2, 0)`)
		n.inWorker(t, `
			CREATE TABLE history (phase INT, subphase INT, at SERIAL);
			CREATE FUNCTION remember() RETURNS TRIGGER LANGUAGE plpgsql AS $$
				BEGIN INSERT INTO history VALUES (NEW.phase, NEW.subphase); RETURN NEW; END $$;
			CREATE TRIGGER remember AFTER UPDATE ON worker_turn FOR EACH ROW EXECUTE FUNCTION remember()`)
		n.rollAt(t, collectionStart)
		mustHold(t, n.worker.DB, `SELECT at, phase, subphase FROM history`, "(1,3,0)", "(2,3,5)", "(3,3,10)")
		mustHold(t, n.worker.DB, mirrorQuery,
			`(70000,"2026-03-10 02:00:00+00",L40,40,2,1000,3,,"2026-03-10 03:11:00+00","2026-04-09 02:00:00+00",10)`)
		n.mustSend(t, &smp.ReviseAccountLock{CreditorID: 1, DebtorID: 40, TurnID: theTurn, TS: collectionStart})
		n.mustNotComplain(t)
	}
}

// Every lock of the turn is revised that is ours, whatever its state.
func TestLocksAreRevised(t *testing.T) {
	t.Parallel()
	n := newNode(t, "1.#", nil)
	n.startAt(t, 3, 0)
	ours, theirs := idOf(t, "1.#", 1), idOf(t, "0.#", 1)
	var want []smp.Outgoing
	for i, state := range []string{
		`-5000, NULL, NULL, NULL, NULL, NULL, false`,
		`5000, 1, NULL, NULL, NULL, NULL, false`,
		`0, 1, now(), NULL, NULL, NULL, true`,
		`5000, 1, now(), now(), now(), 1, true`,
	} {
		debtor := swpt.DebtorID(40 + i)
		n.inWorker(t, fmt.Sprintf(`INSERT INTO account_lock VALUES
			(%[1]d, %[3]d, 70000, 801, now(), %[5]d, %[4]s),
			(%[2]d, %[3]d, 70000, 801, now(), %[5]d + 1, %[4]s),
			(%[1]d, %[3]d + 100, 69999, 801, now(), %[5]d + 2, %[4]s)`, ours, theirs, debtor, state, 3*i))
		want = append(want, &smp.ReviseAccountLock{CreditorID: ours, DebtorID: debtor, TurnID: theTurn, TS: collectionStart})
	}
	n.rollAt(t, collectionStart)
	n.mustSend(t, want...)
}

// copiedColumns are queries for what depends on the results.
var copiedColumns = []string{
	`SELECT creditor_id, debtor_id, amount, collector_id FROM creditor_participation`,
	`SELECT collector_id, debtor_id, creditor_id, amount FROM worker_collecting`,
	`SELECT from_collector_id, debtor_id, to_collector_id, amount FROM worker_sending`,
	`SELECT to_collector_id, debtor_id, from_collector_id, expected_amount FROM worker_receiving`,
	`SELECT collector_id, debtor_id, creditor_id, amount FROM worker_dispatching`,
	`SELECT collector_id, debtor_id, amount_to_collect, amount_own_sold, amount_to_send, amount_to_receive, number_to_receive,
		amount_to_dispatch FROM dispatching_status`,
}

// Whatever the results are, what is copied is what a simple model makes of them, and nothing of ours is left.
func TestResultsAreThoseOfAModel(t *testing.T) {
	t.Parallel()
	n := newNode(t, "0.#", nil)
	n.now = collectionStart
	turnID := int32(theTurn)
	rapid.Check(t, func(rt *rapid.T) {
		turnID++
		n.inSolver(t, `INSERT INTO turn VALUES ($1, $2, 'L40', 40, 2, 1000, 3, NULL, $3, $4)`,
			turnID, turnStart, collectionStart, collectionDeadline)
		results := drawResults(rt)
		n.publish(t, turnID, results...)
		n.roll(t)
		n.inSolver(t, `UPDATE turn SET phase = 4`)
		var got []string
		for _, query := range copiedColumns {
			table := query[strings.LastIndexByte(query, ' ')+1:]
			for _, row := range rows(t, n.worker.DB, fmt.Sprintf(`%s WHERE turn_id = %d`, query, turnID)) {
				got = append(got, table+row)
			}
		}
		want, left := modelOf(n.roller.Settings.Realm, results)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("copied\n%q, want\n%q", got, want)
		}
		if got := rows(t, n.solver.DB, resultsQuery); len(got) != left {
			rt.Fatalf("%d results are left, want %d: %q", len(got), left, got)
		}
		n.inSolver(t, `DELETE FROM creditor_taking; DELETE FROM creditor_giving; DELETE FROM collector_collecting;
			DELETE FROM collector_sending; DELETE FROM collector_receiving; DELETE FROM collector_dispatching`)
	})
}

// drawResults draws rows of which no two have the same key. There are six collectors, who may also be traders.
func drawResults(t *rapid.T) []result {
	tables := []string{
		"creditor_taking", "creditor_giving", "collector_collecting", "collector_sending", "collector_receiving",
		"collector_dispatching",
	}
	all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) result {
		id := rapid.Int64Range(1, 6)
		return result{
			table:     rapid.SampledFrom(tables).Draw(t, "table"),
			collector: swpt.CreditorID(id.Draw(t, "collector")),
			who:       swpt.CreditorID(id.Draw(t, "who")),
			debtor:    swpt.DebtorID(rapid.Int64Range(1, 3).Draw(t, "debtor")),
			amount:    rapid.SampledFrom([]int64{1, 1, 2, 5000, math.MaxInt64, math.MaxInt64 - 1}).Draw(t, "amount"),
		}
	}), 0, 40).Draw(t, "results")
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(r result) bool {
		key := fmt.Sprint(r.table, r.debtor, r.who)
		isTransfer := r.table == "collector_sending" || r.table == "collector_receiving"
		if isTransfer {
			key = fmt.Sprint(key, r.collector)
		} else if r.table == "creditor_giving" {
			key = fmt.Sprint("creditor_taking", r.debtor, r.who)
		}
		drop := seen[key] || isTransfer && r.collector == r.who
		seen[key] = true
		return drop
	})
}

// modelOf returns what is to be copied of the results, and how many are not ours.
func modelOf(realm shard.Realm, results []result) (copied []string, left int) {
	type account struct {
		collector swpt.CreditorID
		debtor    swpt.DebtorID
	}
	type status struct {
		collect, own, send, receive, number, dispatch int64
		real                                          bool
	}
	statuses := map[account]*status{}
	add := func(sum *int64, amount int64) {
		if *sum > math.MaxInt64-amount {
			*sum = math.MaxInt64
		} else {
			*sum += amount
		}
	}
	for _, r := range results {
		owner := r.collector
		if r.table == "creditor_taking" || r.table == "creditor_giving" {
			owner = r.who
		}
		if !realm.Match(shard.KeyOf(owner)) {
			left++
			continue
		}
		s := statuses[account{owner, r.debtor}]
		if s == nil {
			s = &status{}
		}
		row := fmt.Sprintf("(%d,%d,%d,%d)", r.collector, r.debtor, r.who, r.amount)
		switch r.table {
		case "creditor_taking":
			copied = append(copied, fmt.Sprintf("creditor_participation(%d,%d,%d,%d)", r.who, r.debtor, -r.amount, r.collector))
			continue
		case "creditor_giving":
			if r.amount > 1 {
				copied = append(copied, fmt.Sprintf("creditor_participation(%d,%d,%d,%d)", r.who, r.debtor, r.amount, r.collector))
			}
			continue
		case "collector_collecting":
			if r.collector == r.who {
				add(&s.own, r.amount)
			} else {
				copied = append(copied, "worker_collecting"+row)
				add(&s.collect, r.amount)
				s.real = true
			}
		case "collector_sending":
			if r.amount > 1 {
				copied = append(copied, "worker_sending"+row)
				add(&s.send, r.amount)
				s.real = true
			}
		case "collector_receiving":
			add(&s.receive, r.amount)
			if r.amount > 1 {
				copied = append(copied, "worker_receiving"+row)
				s.number++
				s.real = true
			}
		case "collector_dispatching":
			if r.amount > 1 && r.collector != r.who {
				copied = append(copied, "worker_dispatching"+row)
				add(&s.dispatch, r.amount)
				s.real = true
			}
		}
		statuses[account{owner, r.debtor}] = s
	}
	for of, s := range statuses {
		if s.real {
			copied = append(copied, fmt.Sprintf("dispatching_status(%d,%d,%d,%d,%d,%d,%d,%d)", of.collector, of.debtor, s.collect, s.own,
				s.send, s.receive, s.number, s.dispatch))
		}
	}
	slices.Sort(copied)
	return copied, left
}

// Instants do not lose anything on the way.
func TestInstantsAreExact(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 3, 0)
	n.inWorker(t, `UPDATE worker_turn SET collection_deadline = '2026-04-09 02:00:00.000001Z'`)
	n.publish(t, theTurn, result{"collector_collecting", 801, 1, 40, 5})
	n.rollAt(t, time.Date(2026, 3, 10, 3, 11, 0, 123456789, time.FixedZone("", 3600)))
	mustHold(t, n.worker.DB, `SELECT purge_after FROM worker_collecting`, `("2026-06-08 02:00:00.000001+00")`)
	mustHold(t, n.worker.DB, `SELECT inserted_at FROM dispatching_status`, `("2026-03-10 02:11:00.123456+00")`)
}
