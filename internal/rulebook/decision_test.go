package rulebook_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A share is what somebody gives or gets, from or to a collector.
type share struct {
	amount    int64
	collector swpt.CreditorID
}

// A flow is between two collectors.
type flow struct {
	debtor   swpt.DebtorID
	from, to swpt.CreditorID
}

// A decision is what the solver has decided in a turn.
type decision struct {
	turn             int32
	sales, purchases map[accountKey]int64 // what was offered, both positive
	takings, givings map[accountKey]share
	flows            map[flow]int64
	collectors       map[swpt.DebtorID][]swpt.CreditorID
}

func newDecision(turn int32, collectors map[swpt.DebtorID][]swpt.CreditorID) *decision {
	return &decision{
		turn: turn, collectors: collectors,
		sales: map[accountKey]int64{}, purchases: map[accountKey]int64{},
		takings: map[accountKey]share{}, givings: map[accountKey]share{}, flows: map[flow]int64{},
	}
}

// readOffers reads what workers have told the solver to be on offer, in the order of accounts.
func readOffers(
	ctx context.Context, solver *solverdb.DB, turn int32, collectors map[swpt.DebtorID][]swpt.CreditorID,
) (d *decision, sellers, buyers []accountKey, err error) {
	d = newDecision(turn, collectors)
	rows, err := solver.Pool().Query(ctx, `
		SELECT debtor_id, creditor_id, -amount, collector_id FROM sell_offer WHERE turn_id = $1
		UNION ALL SELECT debtor_id, creditor_id, amount, 0 FROM buy_offer WHERE turn_id = $1 ORDER BY 1, 2`, turn)
	if err != nil {
		return nil, nil, nil, err
	}
	var key accountKey
	var amount int64
	var collector swpt.CreditorID
	_, err = pgx.ForEachRow(rows, []any{&key.debtor, &key.creditor, &amount, &collector}, func() error {
		if amount < 0 {
			sellers = append(sellers, key)
			d.sales[key] = -amount
			d.takings[key] = share{-amount, collector}
		} else {
			buyers = append(buyers, key)
			d.purchases[key] = amount
		}
		return nil
	})
	return d, sellers, buyers, err
}

// decide draws a balanced decision about what is on offer: what each collector collects and receives is what it sends and
// dispatches. A solver that exceeds offers takes a token too much from some sellers.
func decide(rt *rapid.T, d *decision, sellers, buyers []accountKey, exceeds bool) {
	left := map[swpt.DebtorID]int64{} // what can be bought
	for _, key := range buyers {
		left[key.debtor] += d.purchases[key]
	}
	taken := map[swpt.DebtorID]int64{}
	for _, key := range sellers {
		s := d.takings[key]
		s.amount = min(s.amount, left[key.debtor])
		if s.amount > 0 && between(rt, "taken in part", 0, 3) == 0 {
			s.amount = between(rt, "taken", 0, s.amount)
		}
		if s.amount == 0 {
			delete(d.takings, key)
			continue
		}
		left[key.debtor] -= s.amount
		if exceeds && s.amount == d.sales[key] && rapid.Bool().Draw(rt, "exceeds") {
			s.amount++
		}
		taken[key.debtor] += s.amount
		d.takings[key] = s
	}
	for i, key := range buyers {
		isLast := !slices.ContainsFunc(buyers[i+1:], func(other accountKey) bool { return other.debtor == key.debtor })
		amount := min(taken[key.debtor], d.purchases[key])
		if rest := taken[key.debtor] - d.restOf(buyers[i+1:], key.debtor); amount > 1 && !isLast {
			amount = between(rt, "given", min(amount, max(0, rest)), amount)
		}
		if isLast {
			amount = taken[key.debtor]
		}
		if amount > 0 {
			d.givings[key] = share{amount, oneOf(rt, "collector", d.collectors[key.debtor])}
			taken[key.debtor] -= amount
		}
	}
	d.level(rt, sellers, buyers)
}

// restOf returns how much those buyers can buy.
func (d *decision) restOf(buyers []accountKey, debtor swpt.DebtorID) (rest int64) {
	for _, key := range buyers {
		if key.debtor == debtor {
			rest += d.purchases[key]
		}
	}
	return rest
}

// level has collectors that collect more than they dispatch send to others, and sometimes to and fro.
func (d *decision) level(rt *rapid.T, sellers, buyers []accountKey) {
	for debtor, collectors := range inOrder(d.collectors) {
		collected, surplus := map[swpt.CreditorID]int64{}, map[swpt.CreditorID]int64{}
		for _, key := range sellers {
			if s, found := d.takings[key]; found && key.debtor == debtor {
				collected[s.collector] += s.amount
				surplus[s.collector] += s.amount
			}
		}
		for _, key := range buyers {
			if s, found := d.givings[key]; found && key.debtor == debtor {
				surplus[s.collector] -= s.amount
			}
		}
		send := func(from, to swpt.CreditorID, amount int64) {
			d.flows[flow{debtor, from, to}] += amount
			surplus[from] -= amount
			surplus[to] += amount
			collected[from] -= amount
		}
		for _, from := range collectors {
			for _, to := range collectors {
				if amount := min(surplus[from], -surplus[to]); amount > 0 {
					send(from, to, amount)
				}
			}
		}
		if len(collectors) > 1 && rapid.Bool().Draw(rt, "to and fro") {
			a, b := collectors[0], collectors[1]
			if most := min(collected[a], collected[b]); most > 0 {
				amount := between(rt, "to and fro", 1, most)
				send(a, b, amount)
				send(b, a, amount)
			}
		}
	}
}

// publish writes the decision into the solver database, and has the turn enter phase 3.
func (d *decision) publish(ctx context.Context, solver *solverdb.DB, now time.Time) error {
	var errs []error
	exec := func(sql string, args ...any) {
		_, err := solver.Pool().Exec(ctx, sql, args...)
		errs = append(errs, err)
	}
	hash := func(id swpt.CreditorID) int16 { return shard.KeyOf(id).Hash16() }
	for key, s := range d.takings {
		exec(`INSERT INTO creditor_taking (turn_id, creditor_id, debtor_id, creditor_hash, amount, collector_id)
			VALUES ($1, $2, $3, $4, $5, $6)`, d.turn, key.creditor, key.debtor, hash(key.creditor), s.amount, s.collector)
		exec(`INSERT INTO collector_collecting (turn_id, debtor_id, creditor_id, amount, collector_id, collector_hash)
			VALUES ($1, $2, $3, $4, $5, $6)`, d.turn, key.debtor, key.creditor, s.amount, s.collector, hash(s.collector))
	}
	for key, s := range d.givings {
		exec(`INSERT INTO creditor_giving (turn_id, creditor_id, debtor_id, creditor_hash, amount, collector_id)
			VALUES ($1, $2, $3, $4, $5, $6)`, d.turn, key.creditor, key.debtor, hash(key.creditor), s.amount, s.collector)
		exec(`INSERT INTO collector_dispatching (turn_id, debtor_id, creditor_id, amount, collector_id, collector_hash)
			VALUES ($1, $2, $3, $4, $5, $6)`, d.turn, key.debtor, key.creditor, s.amount, s.collector, hash(s.collector))
	}
	for f, amount := range d.flows {
		exec(`INSERT INTO collector_sending (turn_id, debtor_id, from_collector_id, to_collector_id, from_collector_hash, amount)
			VALUES ($1, $2, $3, $4, $5, $6)`, d.turn, f.debtor, f.from, f.to, hash(f.from), amount)
		exec(`INSERT INTO collector_receiving (turn_id, debtor_id, to_collector_id, from_collector_id, to_collector_hash, amount)
			VALUES ($1, $2, $3, $4, $5, $6)`, d.turn, f.debtor, f.to, f.from, hash(f.to), amount)
	}
	exec(`UPDATE turn SET phase = 3, phase_deadline = NULL, collection_started_at = $2 WHERE turn_id = $1`, d.turn, now)
	return errors.Join(errs...)
}
