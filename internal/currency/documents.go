package currency

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// HandleStoreDocuments stores documents that have been fetched. Of several with one locator, the one counts that was
// fetched last.
func (r *Rules) HandleStoreDocuments(
	ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.StoreDocument,
) error {
	newest := map[string]*smp.StoreDocument{}
	for _, m := range batch {
		if len(m.DebtorInfoLocator) > maxIRIBytes {
			tx.AfterCommit(func() {
				r.Logger.WarnContext(ctx, "a document is not stored, because its locator is too long",
					slog.Int64("debtor", int64(m.DebtorID)), slog.Int("bytes", len(m.DebtorInfoLocator)))
			})
			continue
		}
		if other := newest[m.DebtorInfoLocator]; other == nil || other.TS.Before(m.TS) {
			newest[m.DebtorInfoLocator] = m
		}
	}
	if len(newest) == 0 {
		return nil
	}
	var p workerdb.StoreDocumentsParams
	for _, m := range newest {
		p.DebtorInfoLocators = append(p.DebtorInfoLocators, m.DebtorInfoLocator)
		p.DebtorIDs = append(p.DebtorIDs, int64(m.DebtorID))
		p.HavePegs = append(p.HavePegs, m.PegDebtorID != nil)
		p.PegDebtorInfoLocators = append(p.PegDebtorInfoLocators, orZero(m.PegDebtorInfoLocator))
		p.PegDebtorIDs = append(p.PegDebtorIDs, int64(orZero(m.PegDebtorID)))
		p.PegExchangeRates = append(p.PegExchangeRates, orZero(m.PegExchangeRate))
		p.AreFrozen = append(p.AreFrozen, m.WillNotChangeUntil != nil)
		p.WillNotChangeUntil = append(p.WillNotChangeUntil, orZero(m.WillNotChangeUntil))
		p.FetchedAt = append(p.FetchedAt, m.TS)
	}
	if _, err := tx.StoreDocuments(ctx, p); err != nil {
		return fmt.Errorf("storing %d documents: %w", len(newest), err)
	}
	return nil
}

// storeDocument is the request to store a document.
func storeDocument(d *coininfo.Document, now time.Time) *smp.StoreDocument {
	m := &smp.StoreDocument{
		DebtorInfoLocator: d.Locator, DebtorID: d.DebtorID, WillNotChangeUntil: d.WillNotChangeUntil, TS: now,
	}
	if d.Peg != nil {
		m.PegDebtorInfoLocator, m.PegDebtorID, m.PegExchangeRate = &d.Peg.Locator, &d.Peg.DebtorID, &d.Peg.Rate
	}
	return m
}

// stored returns what a stored document says.
func stored(row *workerdb.DebtorInfoDocument) *coininfo.Document {
	d := &coininfo.Document{
		Locator: row.DebtorInfoLocator, DebtorID: row.DebtorID, WillNotChangeUntil: row.WillNotChangeUntil,
	}
	if row.PegDebtorID != nil {
		d.Peg = &coininfo.Peg{
			Locator: *row.PegDebtorInfoLocator, DebtorID: *row.PegDebtorID, Rate: *row.PegExchangeRate,
		}
	}
	return d
}
