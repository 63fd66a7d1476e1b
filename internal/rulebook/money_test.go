package rulebook_test

import (
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
)

// Whatever goes wrong in a few turns: nobody pays more than decided or pays twice, and everything comes to an end.
func TestMoneyIsSafe(t *testing.T) {
	t.Parallel()
	for _, shards := range [][]string{{"#"}, {"0.#", "1.#"}, {"0.0.#", "0.1.#", "1.0.#", "1.1.#"}} {
		t.Run(strconv.Itoa(len(shards)), func(t *testing.T) {
			t.Parallel()
			solver := solverdbtest.New(t)
			var nodes []*node
			for _, routingKey := range shards {
				nodes = append(nodes, newNode(t, routingKey))
			}
			traded := 0
			round := func(rt *rapid.T) {
				w := drawWorld(t, rt, nodes, solver)
				w.intrude()
				for turn := range between[int32](rt, "turns", 1, 2) {
					w.trade(turn + 1)
					for range between(rt, "steps", 0, 40) {
						w.step()
					}
					switch between(rt, "until the next turn", 0, 2) {
					case 0:
						w.settle()
					case 1:
						w.passTime(8 * day)
					}
				}
				w.calmDown()
				if !w.faults.areHard {
					if left := w.left(); len(left) > 0 {
						rt.Fatalf("M12: left are %v", left)
					}
					w.checkOutcome()
				}
				w.giveUp()
				if left := w.left(); len(left) > 0 {
					rt.Fatalf("M8, M12: in the end, left are %v", left)
				}
				w.checkEnd()
				w.checkIntruders()
				traded += len(w.trades)
			}
			// In a quarter of the rounds, nobody trades. So all of a few may be such rounds, but not all of many.
			for repetition := 0; traded == 0 && repetition < 5 && !t.Failed(); repetition++ {
				rapid.Check(t, round)
			}
			if traded == 0 {
				t.Error("nobody has traded anything, so nothing has been tested")
			}
		})
	}
}

// intrude has things happen that nobody has asked for: an account is there that nobody needs, and a transfer is prepared
// that nobody knows.
func (w *world) intrude() {
	stranger := w.open(accountKey{w.debtors[0], lastCollector}, 0, 0)
	w.update(stranger, 0, 0)
	collector := w.collectors[w.debtors[0]][0]
	w.requests = append(w.requests, &smp.PrepareTransfer{
		CreditorID: firstCustomer, DebtorID: w.debtors[0], CoordinatorType: "agent", CoordinatorID: int64(firstCustomer),
		CoordinatorRequestID: 1 << 40, Recipient: w.accounts[accountKey{w.debtors[0], collector}].id(),
		FinalInterestRateTS: w.clock, MaxCommitDelay: 1 << 30, TS: w.clock,
	})
}

// M19, M23: the account is discarded until the authority confirms that, and nothing is kept of it. The transfer has been
// dismissed, as no prepared transfer is left.
func (w *world) checkIntruders() {
	stranger := w.accounts[accountKey{w.debtors[0], lastCollector}]
	for _, confirms := range []bool{false, true} {
		before := w.discards[stranger.accountKey]
		if confirms {
			w.update(stranger, 1, float64(float32(huge)))
		} else {
			w.update(stranger, 0, huge)
		}
		w.settle()
		if discards := w.discards[stranger.accountKey] > before; discards == confirms {
			w.fail.Fatalf("M19: an account that nobody needs is discarded: %v; this had been confirmed: %v", discards, confirms)
		}
	}
	type count struct{ N int64 }
	sql := fmt.Sprintf(`SELECT (SELECT count(*) FROM worker_account WHERE creditor_id = %[1]d)
		+ (SELECT count(*) FROM interest_rate_change WHERE creditor_id = %[1]d) AS n`, lastCollector)
	if n := rows[count](w, w.nodeOf(lastCollector), sql)[0].N; n != 0 {
		w.fail.Fatalf("M19: %d rows are kept of an account that nobody needs", n)
	}
}
