package solverdb

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// The functions in this file yield rows as they arrive, so that any number of them takes no memory. While they do, they
// occupy a connection. An error comes last, with a row that means nothing.

// CurrenciesOf yields the currencies that were agreed on for a turn.
func (db *DB) CurrenciesOf(ctx context.Context, turnID int32) iter.Seq2[CurrencyInfo, error] {
	const query = `
		SELECT
			turn_id, debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate,
			is_confirmed
		FROM currency_info
		WHERE turn_id = $1`
	return stream(ctx, db, "currencies", func(rows pgx.Rows, row *CurrencyInfo) error {
		return rows.Scan(&row.TurnID, &row.DebtorInfoLocator, &row.DebtorID, &row.PegDebtorInfoLocator, &row.PegDebtorID,
			&row.PegExchangeRate, &row.IsConfirmed)
	}, query, turnID)
}

// Currency returns what pricing has to know of a currency. It has a peg only if all columns of that are there.
func (c *CurrencyInfo) Currency() solver.Currency {
	currency := solver.Currency{Confirmed: c.IsConfirmed, Locator: c.DebtorInfoLocator, DebtorID: c.DebtorID}
	if c.PegDebtorInfoLocator != nil && c.PegDebtorID != nil && c.PegExchangeRate != nil {
		currency.Peg = &solver.Peg{Locator: *c.PegDebtorInfoLocator, DebtorID: *c.PegDebtorID, Rate: *c.PegExchangeRate}
	}
	return currency
}

// An ActiveCollector is a collector account that can be used for trading.
type ActiveCollector struct {
	DebtorID    swpt.DebtorID
	CollectorID swpt.CreditorID
}

// ActiveCollectors yields the active collector accounts of all currencies.
func (db *DB) ActiveCollectors(ctx context.Context) iter.Seq2[ActiveCollector, error] {
	const query = `SELECT debtor_id, collector_id FROM collector_account WHERE status = 2`
	return stream(ctx, db, "active collectors", func(rows pgx.Rows, row *ActiveCollector) error {
		return rows.Scan(&row.DebtorID, &row.CollectorID)
	}, query)
}

// SellOffersOf yields the sell offers of a turn.
func (db *DB) SellOffersOf(ctx context.Context, turnID int32) iter.Seq2[SellOffer, error] {
	const query = `SELECT turn_id, creditor_id, debtor_id, amount, collector_id FROM sell_offer WHERE turn_id = $1`
	return stream(ctx, db, "sell offers", func(rows pgx.Rows, row *SellOffer) error {
		return rows.Scan(&row.TurnID, &row.CreditorID, &row.DebtorID, &row.Amount, &row.CollectorID)
	}, query, turnID)
}

// BuyOffersOf yields the buy offers of a turn.
func (db *DB) BuyOffersOf(ctx context.Context, turnID int32) iter.Seq2[BuyOffer, error] {
	const query = `SELECT turn_id, creditor_id, debtor_id, amount FROM buy_offer WHERE turn_id = $1`
	return stream(ctx, db, "buy offers", func(rows pgx.Rows, row *BuyOffer) error {
		return rows.Scan(&row.TurnID, &row.CreditorID, &row.DebtorID, &row.Amount)
	}, query, turnID)
}

func stream[Row any](
	ctx context.Context, db *DB, what string, scan func(pgx.Rows, *Row) error, query string, args ...any,
) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var none Row
		rows, err := db.Pool().Query(ctx, query, args...)
		if err != nil {
			yield(none, fmt.Errorf("reading the %s: %w", what, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var row Row
			if err := scan(rows, &row); err != nil {
				yield(none, fmt.Errorf("reading the %s: %w", what, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, fmt.Errorf("reading the %s: %w", what, err))
		}
	}
}
