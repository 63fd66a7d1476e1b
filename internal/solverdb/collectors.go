package solverdb

import (
	"context"
	"fmt"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// ClaimCollectorRange has the database remember the range of collector IDs with which it is used first, and returns
// which one that was. Whoever uses another range must leave the database alone.
func (db *DB) ClaimCollectorRange(
	ctx context.Context, minID, maxID swpt.CreditorID,
) (rememberedMin, rememberedMax swpt.CreditorID, err error) {
	err = db.InTx(ctx, "claim_collector_range", func(ctx context.Context, tx *Tx) error {
		rows, err := tx.CollectorRange(ctx)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			rememberedMin, rememberedMax = rows[0].MinCollectorID, rows[0].MaxCollectorID
			return nil
		}
		rememberedMin, rememberedMax = minID, maxID
		return tx.StoreCollectorRange(ctx, StoreCollectorRangeParams{MinCollectorID: minID, MaxCollectorID: maxID})
	})
	if err != nil {
		return 0, 0, fmt.Errorf("looking which collector IDs the database is used with: %w", err)
	}
	return rememberedMin, rememberedMax, nil
}
