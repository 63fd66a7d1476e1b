package solverdb

import (
	"context"
	"fmt"
	"strings"

	"github.com/circular-trade/circular-trade/internal/postgres"
)

// An Input is a table that workers fill for the solver. Its first columns are its primary key.
type Input struct {
	Table      string
	Columns    []string
	KeyColumns int
}

// Inputs of the solver, with all of their columns.
var (
	DebtorInfos = Input{"debtor_info", []string{
		"turn_id", "debtor_info_locator", "debtor_id", "peg_debtor_info_locator", "peg_debtor_id", "peg_exchange_rate",
	}, 2}
	ConfirmedDebtors = Input{"confirmed_debtor", []string{"turn_id", "debtor_id", "debtor_info_locator"}, 2}
	SellOffers       = Input{"sell_offer", []string{"turn_id", "creditor_id", "debtor_id", "amount", "collector_id"}, 3}
	BuyOffers        = Input{"buy_offer", []string{"turn_id", "creditor_id", "debtor_id", "amount"}, 3}
)

// InsertNew inserts those of the rows that a query returns into a table of which the keys are not there yet. It returns
// how many rows it has got, and how many of them it has inserted. See [postgres.Copy] about the query, and about keep.
//
// The rows come in through a temporary table, as COPY knows no conflicts. From there they are inserted in the order of
// their keys, which spares the index.
func (tx *Tx) InsertNew(
	ctx context.Context, input Input, from postgres.Source, keep func([][]byte) bool, query string, args ...any,
) (got, inserted int64, err error) {
	incoming := "incoming_" + input.Table
	create := fmt.Sprintf(`CREATE TEMPORARY TABLE %s (LIKE %s) ON COMMIT DROP`, incoming, input.Table)
	if _, err := tx.Exec(ctx, create); err != nil {
		return 0, 0, fmt.Errorf("making a temporary table (does the role have the privilege TEMPORARY?): %w", err)
	}
	incomingRows := postgres.Copy{Query: query, Keep: keep, Table: incoming, Columns: input.Columns}
	if got, err = incomingRows.Run(ctx, from, tx, args...); err != nil || got == 0 {
		return got, 0, err
	}
	columns, key := strings.Join(input.Columns, ", "), strings.Join(input.Columns[:input.KeyColumns], ", ")
	insert := fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM %s ORDER BY %s ON CONFLICT DO NOTHING`,
		input.Table, columns, columns, incoming, key)
	tag, err := tx.Exec(ctx, insert)
	if err != nil {
		return 0, 0, fmt.Errorf("inserting into %s: %w", input.Table, err)
	}
	return got, tag.RowsAffected(), nil
}
