package mirror

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	// readAtOnce is how many rows of this worker's database are read at a time.
	readAtOnce = 10_000
	// bidsAtOnce is how many bids are analysed at a time, and then those that are left of the last creditor.
	bidsAtOnce = 100_000
)

// makeOffers is the first step of phase 2: trading policies become candidate offers. It also has the local copy of
// active collectors renewed, and asks for collectors that are missing.
func (w *work) makeOffers(ctx context.Context) error {
	var currencies []solver.Currency
	for row, err := range w.Solver.CurrenciesOf(ctx, w.turn.TurnID) {
		if err != nil {
			return err
		}
		currencies = append(currencies, row.Currency())
	}
	prices, err := price(w.turn, currencies)
	if err != nil {
		w.Logger.ErrorContext(ctx, "makes no offers in this turn, because its currencies do not fit together",
			slog.Int("turn_id", int(w.turn.TurnID)), slog.Any("error", err))
		return w.renewCollectors(ctx)
	}
	analyzer := solver.NewAnalyzer[accountState](prices)
	if err := w.appendCandidates(ctx, analyzer); err != nil {
		return fmt.Errorf("making candidate offers: %w", err)
	}
	if err := w.renewCollectors(ctx); err != nil {
		return err
	}
	return w.askForCollectors(ctx, analyzer)
}

// price finds out the prices of a turn's currencies. It returns an error if these make no sense.
func price(turn workerdb.WorkerTurn, currencies []solver.Currency) (*solver.Prices, error) {
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator:       turn.BaseDebtorInfoLocator,
		BaseDebtorID:      turn.BaseDebtorID,
		MaxDistanceToBase: int(turn.MaxDistanceToBase),
		MinTradeAmount:    turn.MinTradeAmount,
	})
	if err != nil {
		return nil, err
	}
	for _, currency := range currencies {
		if err := tree.Register(currency); err != nil {
			return nil, err
		}
	}
	return tree.Prices()
}

// appendCandidates analyses the bids of all creditors, batch by batch. All bids of a creditor are in the same batch.
func (w *work) appendCandidates(ctx context.Context, analyzer *solver.Analyzer[accountState]) error {
	var (
		batch    []bid
		creditor swpt.CreditorID // of the latest policy
		isOurs   = w.Settings.Realm.Match(shard.KeyOf(creditor))
	)
	for policies, err := range postgres.Portions(ctx, w.tx, readAtOnce, scanPolicy, policiesQuery) {
		if err != nil {
			return err
		}
		for i := range policies {
			p := &policies[i]
			if p.creditor != creditor {
				if len(batch) >= bidsAtOnce {
					if err := w.appendBatch(ctx, analyzer, batch); err != nil {
						return err
					}
					batch = batch[:0]
				}
				creditor, isOurs = p.creditor, w.Settings.Realm.Match(shard.KeyOf(p.creditor))
			}
			if isOurs {
				batch = append(batch, p.bid())
			}
		}
	}
	return w.appendBatch(ctx, analyzer, batch)
}

// appendBatch appends the candidate offers of a batch to the outbox.
func (w *work) appendBatch(ctx context.Context, analyzer *solver.Analyzer[accountState], batch []bid) error {
	candidates, err := analyzer.Candidates(batch)
	if err != nil {
		return err
	}
	count, err := outbox.AppendAll(ctx, w.tx, func(yield func(smp.Outgoing, error) bool) {
		var offer smp.CandidateOffer
		for _, c := range candidates {
			offer = smp.CandidateOffer{
				TurnID:              w.turn.TurnID,
				DebtorID:            c.Debtor,
				CreditorID:          c.Creditor,
				Amount:              c.Amount,
				AccountCreationDate: c.Account.creationDate,
				LastTransferNumber:  c.Account.lastTransferNumber,
				TS:                  w.now,
			}
			if !yield(&offer, nil) {
				return
			}
		}
	})
	w.rows[smp.TypeCandidateOffer] += count
	return err
}

// activeCollectors copies the collectors with which offers can be made, those of other shards included. None of them
// should lack an account ID.
var activeCollectors = postgres.Copy{
	Query:   `SELECT debtor_id, collector_id, account_id FROM collector_account WHERE status = 2 AND account_id <> ''`,
	Table:   "active_collector",
	Columns: []string{"debtor_id", "collector_id", "account_id"},
}

// renewCollectors replaces the local copy of active collectors. Others see the old ones until the commit.
func (w *work) renewCollectors(ctx context.Context) error {
	err := w.tx.DeleteActiveCollectors(ctx)
	if err == nil {
		w.rows[activeCollectors.Table], err = activeCollectors.Run(ctx, w.Solver.Pool(), w.tx)
	}
	if err != nil {
		return fmt.Errorf("renewing the active collectors: %w", err)
	}
	return nil
}

// askForCollectors has collectors made for the currencies that somebody would sell, and that have none.
func (w *work) askForCollectors(ctx context.Context, analyzer *solver.Analyzer[accountState]) error {
	debtors := analyzer.ToConfirm()
	ids := make([]int64, len(debtors))
	for i, debtor := range debtors {
		ids[i] = int64(debtor)
	}
	served, err := w.Solver.Queries().DebtorsWithCollectors(ctx, ids)
	if err != nil {
		return fmt.Errorf("looking for collectors: %w", err)
	}
	for _, debtor := range served {
		analyzer.Forget(debtor)
	}
	w.rows[smp.TypeNeededCollector], err = outbox.AppendAll(ctx, w.tx, func(yield func(smp.Outgoing, error) bool) {
		for _, debtor := range analyzer.ToConfirm() {
			if !yield(&smp.NeededCollector{DebtorID: debtor, TS: w.now}, nil) {
				return
			}
		}
	})
	return err
}
