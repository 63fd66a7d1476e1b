package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/report"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// record has databases keep what can be looked at afterwards. Nobody but the demo does that.
func (s *stores) record(ctx context.Context) error {
	if err := s.recordMarket(ctx); err != nil {
		return err
	}
	for _, table := range results {
		if err := s.recordTable(ctx, table); err != nil {
			return err
		}
	}
	_, err := s.solver.Pool().Exec(ctx, `
		CREATE TABLE demo_phase (turn_id INTEGER, phase SMALLINT, at TIMESTAMPTZ, PRIMARY KEY (turn_id, phase));
		CREATE FUNCTION demo_record_phase() RETURNS TRIGGER LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO demo_phase VALUES (NEW.turn_id, NEW.phase, clock_timestamp()) ON CONFLICT DO NOTHING;
			RETURN NULL;
		END
		$$;
		CREATE TRIGGER demo AFTER INSERT OR UPDATE ON turn FOR EACH ROW EXECUTE FUNCTION demo_record_phase();`,
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("having phases recorded: %w", err)
	}
	for _, db := range s.workers {
		// Rows are added and never changed: nobody has to wait for anybody.
		_, err := db.Pool().Exec(ctx, `
			CREATE TABLE demo_release (turn_id INTEGER, released_at TIMESTAMPTZ);
			CREATE FUNCTION demo_record_release() RETURNS TRIGGER LANGUAGE plpgsql AS $$
			BEGIN
				INSERT INTO demo_release
				SELECT turn_id, max(released_at) FROM changed WHERE released_at IS NOT NULL GROUP BY turn_id;
				RETURN NULL;
			END
			$$;
			CREATE TRIGGER demo AFTER UPDATE ON account_lock REFERENCING NEW TABLE AS changed
			FOR EACH STATEMENT EXECUTE FUNCTION demo_record_release();`, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return fmt.Errorf("having releases of accounts recorded: %w", err)
		}
	}
	return nil
}

// recordMarket has the solver database keep copies of what the solver deletes when it has cleared a market.
func (s *stores) recordMarket(ctx context.Context) error {
	for _, table := range []string{"currency_info", "sell_offer", "buy_offer"} {
		if err := s.recordTable(ctx, table); err != nil {
			return err
		}
	}
	return nil
}

// recordTable has a table demo_… get what is written to a table of the solver database.
func (s *stores) recordTable(ctx context.Context, table string) error {
	_, err := s.solver.Pool().Exec(ctx, fmt.Sprintf(`
		CREATE TABLE demo_%[1]s AS SELECT * FROM %[1]s WHERE FALSE;
		CREATE FUNCTION demo_record_%[1]s() RETURNS TRIGGER LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO demo_%[1]s SELECT * FROM added;
			RETURN NULL;
		END
		$$;
		CREATE TRIGGER demo AFTER INSERT ON %[1]s REFERENCING NEW TABLE AS added
		FOR EACH STATEMENT EXECUTE FUNCTION demo_record_%[1]s();`, table), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("having %s recorded: %w", table, err)
	}
	return nil
}

// writeReport clears the market of a turn again, with the same result, and writes the report about it to a file.
func (s *stores) writeReport(ctx context.Context, path string, turn int) error {
	params := solver.Params{}
	const query = `
		SELECT base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount FROM turn WHERE turn_id = $1`
	var distance int16
	err := s.solver.Pool().QueryRow(ctx, query, turn).Scan(&params.BaseLocator, &params.BaseDebtorID, &distance, &params.MinTradeAmount)
	if err != nil {
		return err
	}
	params.MaxDistanceToBase = int(distance)
	tree, err := solver.NewPegTree(params)
	if err != nil {
		return err
	}
	if err := s.currencies(ctx, turn, tree); err != nil {
		return err
	}
	prices, err := tree.Prices()
	if err != nil {
		return err
	}
	market := solver.NewMarket(prices)
	if err := s.offers(ctx, turn, market); err != nil {
		return err
	}
	outcome, err := market.Clear(ctx, solver.Options{Seed: int64(turn)})
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = report.Write(file, report.Data{
		Title: fmt.Sprintf("Turn %d", turn), Params: params, Strategy: solver.Optimal().Name(), Seed: int64(turn),
		Prices: prices, Outcome: outcome,
	})
	return errors.Join(err, file.Close())
}

func (s *stores) currencies(ctx context.Context, turn int, tree *solver.PegTree) error {
	const query = `
		SELECT debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate, is_confirmed
		FROM demo_currency_info WHERE turn_id = $1 ORDER BY debtor_info_locator`
	rows, err := s.solver.Pool().Query(ctx, query, turn)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c solverdb.CurrencyInfo
		err := rows.Scan(&c.DebtorInfoLocator, &c.DebtorID, &c.PegDebtorInfoLocator, &c.PegDebtorID, &c.PegExchangeRate,
			&c.IsConfirmed)
		if err != nil {
			return err
		}
		if err := tree.Register(c.Currency()); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *stores) offers(ctx context.Context, turn int, market *solver.Market) error {
	collectors, err := s.solver.Pool().Query(ctx, "SELECT debtor_id, collector_id FROM collector_account WHERE status = 2")
	if err != nil {
		return err
	}
	var debtor swpt.DebtorID
	var collector swpt.CreditorID
	_, err = pgx.ForEachRow(collectors, []any{&debtor, &collector}, func() error {
		return market.AddCollector(debtor, collector)
	})
	if err != nil {
		return err
	}
	sells, err := s.solver.Pool().Query(ctx,
		"SELECT DISTINCT creditor_id, debtor_id, amount, collector_id FROM demo_sell_offer WHERE turn_id = $1", turn)
	if err != nil {
		return err
	}
	var sell solver.SellOffer
	_, err = pgx.ForEachRow(sells, []any{&sell.Creditor, &sell.Debtor, &sell.Amount, &sell.Collector}, func() error {
		_, err := market.AddSell(sell)
		return err
	})
	if err != nil {
		return err
	}
	buys, err := s.solver.Pool().Query(ctx,
		"SELECT DISTINCT creditor_id, debtor_id, amount FROM demo_buy_offer WHERE turn_id = $1", turn)
	if err != nil {
		return err
	}
	var buy solver.BuyOffer
	_, err = pgx.ForEachRow(buys, []any{&buy.Creditor, &buy.Debtor, &buy.Amount}, func() error {
		_, err := market.AddBuy(buy)
		return err
	})
	return err
}

// withDatabase returns the URL of a database on the same server.
func withDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", errors.New("the URL of the PostgreSQL server is not valid")
	}
	u.Path = "/" + name
	return u.String(), nil
}
