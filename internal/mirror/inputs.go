package mirror

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// An export is rows of the worker's database that the solver gets. The query has the turn's ID as its parameter, and
// the columns of the table.
type export struct {
	to    solverdb.Input
	query string
	// isOurs tells whether a row belongs to the realm.
	isOurs func(realm shard.Realm, row [][]byte) bool
}

var currencyExports = []export{
	{
		solverdb.DebtorInfos,
		`SELECT
			$1::INTEGER, debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate
		FROM debtor_info_document`,
		func(realm shard.Realm, row [][]byte) bool { return realm.Match(shard.KeyOfString(string(row[1]))) },
	},
	{
		solverdb.ConfirmedDebtors,
		`SELECT $1::INTEGER, debtor_id, debtor_info_locator
		FROM debtor_locator_claim
		WHERE debtor_info_locator IS NOT NULL`,
		secondIsOurs,
	},
}

// What is prepared, and has been left alone since, can be traded. A lock is either for a sell or for a buy, so an
// account never has both offers in a turn. Those with an amount of zero are for nothing.
var offerExports = []export{
	{
		solverdb.SellOffers,
		`SELECT turn_id, creditor_id, debtor_id, -amount, collector_id
		FROM account_lock
		WHERE
			turn_id = $1::INTEGER AND amount < 0
			AND transfer_id IS NOT NULL AND finalized_at IS NULL AND released_at IS NULL`,
		secondIsOurs,
	},
	{
		solverdb.BuyOffers,
		`SELECT turn_id, creditor_id, debtor_id, amount
		FROM account_lock
		WHERE
			turn_id = $1::INTEGER AND amount > 0
			AND transfer_id IS NOT NULL AND finalized_at IS NULL AND released_at IS NULL`,
		secondIsOurs,
	},
}

// secondIsOurs tells whether the second column is an ID of the realm.
func secondIsOurs(realm shard.Realm, row [][]byte) bool {
	return realm.Match(shard.KeyOf(int64(binary.BigEndian.Uint64(row[1])))) //nolint:gosec // how PostgreSQL sends a BIGINT
}

// reportCurrencies is the step of phase 1: it tells the solver of the currencies that this worker knows. How long ago
// the documents were fetched does not matter.
func (w *work) reportCurrencies(ctx context.Context) error {
	return w.exportAll(ctx, currencyExports)
}

// pourOffers is the last step of phase 2: it tells the solver what traders have locked. Locks that are prepared later
// give no offers, and are dismissed in phase 3. This is true also for those of candidate offers that were handled at
// the very moment in which this step locked the turn.
func (w *work) pourOffers(ctx context.Context) error {
	return w.exportAll(ctx, offerExports)
}

// exportAll fills tables of the solver, each in a transaction of its own.
func (w *work) exportAll(ctx context.Context, exports []export) error {
	for _, e := range exports {
		if err := w.export(ctx, e); err != nil {
			return fmt.Errorf("filling %s: %w", e.to.Table, err)
		}
	}
	return nil
}

// export inserts rows that are not in the solver database yet. It never changes those that are: normally they come from
// an earlier run of this step.
func (w *work) export(ctx context.Context, e export) error {
	var found, inserted int64
	err := w.Solver.InTx(ctx, "fill_"+e.to.Table, func(ctx context.Context, solver *solverdb.Tx) (err error) {
		isOurs := func(row [][]byte) bool { return e.isOurs(w.Settings.Realm, row) }
		found, inserted, err = solver.InsertNew(ctx, e.to, w.tx, isOurs, e.query, w.turn.TurnID)
		return err
	})
	if err != nil {
		return err
	}
	if inserted < found {
		w.Logger.WarnContext(ctx, "rows were in the solver database already, normally because the step was interrupted",
			slog.String("table", e.to.Table), slog.Int("turn_id", int(w.turn.TurnID)), slog.Int64("rows", found-inserted))
	}
	w.rows[e.to.Table] = inserted
	return nil
}
