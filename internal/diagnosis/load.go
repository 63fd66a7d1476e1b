package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Load reads what is known at an instant. Either database may be nil. The base currency may be nil, too; then it is
// that of the newest turn. Of the rules, the realm and the expiry of documents are used.
func Load(
	ctx context.Context, worker *workerdb.DB, solver *solverdb.DB, base *Base, rules *currency.Rules, now time.Time,
) (*Knowledge, error) {
	k := &Knowledge{
		Now:        now,
		Base:       base,
		Documents:  map[string]Document{},
		Claims:     map[swpt.DebtorID]Claim{},
		Fetches:    map[string][]Fetch{},
		Collectors: map[swpt.DebtorID]Collectors{},
		Expired: func(d *Document) bool {
			return d.FetchedAt != nil && rules.Expired(&workerdb.DebtorInfoDocument{
				FetchedAt: *d.FetchedAt, WillNotChangeUntil: d.WillNotChangeUntil,
			}, now)
		},
	}
	if solver != nil {
		err := solver.InTx(ctx, "explain_currencies", func(ctx context.Context, tx *solverdb.Tx) error {
			return k.loadSolver(ctx, tx)
		})
		if err != nil {
			return nil, fmt.Errorf("reading what the solver's database knows about currencies: %w", err)
		}
	}
	if worker != nil {
		k.Realm = &rules.Realm
		err := worker.InTx(ctx, "explain_currencies", func(ctx context.Context, tx *workerdb.Tx) error {
			return k.loadWorker(ctx, tx, solver == nil)
		})
		if err != nil {
			return nil, fmt.Errorf("reading what the worker's database knows about currencies: %w", err)
		}
	}
	return k, nil
}

func (k *Knowledge) loadSolver(ctx context.Context, tx *solverdb.Tx) error {
	collectors, err := tx.CountCollectors(ctx)
	if err != nil {
		return err
	}
	for _, row := range collectors {
		k.Collectors[row.DebtorID] = Collectors{Active: row.Active, Requested: row.Requested}
	}
	turn, err := tx.NewestBaseCurrency(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if k.Base == nil {
		k.Base = &Base{turn.BaseDebtorInfoLocator, turn.BaseDebtorID, int(turn.MaxDistanceToBase)}
	}
	currencies, err := tx.ListTurnCurrencies(ctx, turn.TurnID)
	if err != nil {
		return err
	}
	for i := range currencies {
		row := &currencies[i]
		k.Documents[row.DebtorInfoLocator] = Document{
			DebtorID: row.DebtorID, Peg: pegOf(row.PegDebtorInfoLocator, row.PegDebtorID, row.PegExchangeRate),
		}
		if row.IsConfirmed {
			k.Claims[row.DebtorID] = Claim{Locator: &row.DebtorInfoLocator}
		}
	}
	return nil
}

func (k *Knowledge) loadWorker(ctx context.Context, tx *workerdb.Tx, alone bool) error {
	claims, err := tx.ListClaims(ctx)
	if err != nil {
		return err
	}
	for _, row := range claims {
		k.Claims[row.DebtorID] = Claim{Locator: row.DebtorInfoLocator, LatestDiscoveryAt: row.LatestDiscoveryFetchAt}
	}
	documents, err := tx.ListDocuments(ctx)
	if err != nil {
		return err
	}
	for i := range documents {
		row := &documents[i]
		k.Documents[row.DebtorInfoLocator] = Document{
			DebtorID: row.DebtorID, Peg: pegOf(row.PegDebtorInfoLocator, row.PegDebtorID, row.PegExchangeRate),
			FetchedAt: &row.FetchedAt, WillNotChangeUntil: row.WillNotChangeUntil,
		}
	}
	fetches, err := tx.ListFetches(ctx)
	if err != nil {
		return err
	}
	for i := range fetches {
		row := &fetches[i]
		k.Fetches[row.IRI] = append(k.Fetches[row.IRI], Fetch{
			DebtorID: row.DebtorID, IsDiscovery: row.IsDiscoveryFetch, Attempts: int(row.AttemptsCount),
			LatestStatus: row.LatestAttemptErrorcode, NextAttemptAt: row.NextAttemptAt,
		})
	}
	if alone {
		return k.loadWorkerTurn(ctx, tx)
	}
	return nil
}

// loadWorkerTurn reads what the worker has learned from the solver's database.
func (k *Knowledge) loadWorkerTurn(ctx context.Context, tx *workerdb.Tx) error {
	collectors, err := tx.CountActiveCollectors(ctx)
	if err != nil {
		return err
	}
	for _, row := range collectors {
		k.Collectors[row.DebtorID] = Collectors{Active: row.Collectors}
	}
	turn, err := tx.NewestBaseCurrency(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil && k.Base == nil {
		k.Base = &Base{turn.BaseDebtorInfoLocator, turn.BaseDebtorID, int(turn.MaxDistanceToBase)}
	}
	return err
}

// pegOf returns the peg that three columns make, if they do.
func pegOf(locator *string, debtor *swpt.DebtorID, rate *float64) *Peg {
	if locator == nil || debtor == nil || rate == nil {
		return nil
	}
	return &Peg{Locator: *locator, DebtorID: *debtor, Rate: *rate}
}
