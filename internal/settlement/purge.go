package settlement

import (
	"context"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// The following delete those of the given records for which nobody should wait any more: section 3.1 of the chapter
// about transfers. Records that somebody else has locked, or that have changed since they were looked at, stay. They
// return how many they have deleted. A few thousand records at a time are a good measure.

// PurgeCollectings deletes collectings of which nothing has come in time. Those of which something has come stay, until
// it is sent on.
func PurgeCollectings(ctx context.Context, tx *workerdb.Tx, now time.Time, records []Record) (int64, error) {
	a := arraysOf(records)
	purged, err := tx.PurgeCollectings(ctx, workerdb.PurgeCollectingsParams{
		CollectorIDs: a.CollectorIDs, TurnIDs: a.TurnIDs, DebtorIDs: a.DebtorIDs, CreditorIDs: a.CreditorIDs, Now: now,
	})
	return reportPurge(tx, collectings.name, purged, err)
}

// PurgeReceivings deletes receivings of which nothing has come in time. Those of which something has come stay, until
// it is dispatched.
func PurgeReceivings(ctx context.Context, tx *workerdb.Tx, now time.Time, records []Record) (int64, error) {
	a := arraysOf(records)
	purged, err := tx.PurgeReceivings(ctx, workerdb.PurgeReceivingsParams{
		CollectorIDs: a.CollectorIDs, TurnIDs: a.TurnIDs, DebtorIDs: a.DebtorIDs, CreditorIDs: a.CreditorIDs, Now: now,
	})
	return reportPurge(tx, receivings.name, purged, err)
}

// PurgeSendings deletes sendings that have not succeeded in time.
func PurgeSendings(ctx context.Context, tx *workerdb.Tx, now time.Time, records []Record) (int64, error) {
	a := arraysOf(records)
	purged, err := tx.PurgeSendings(ctx, workerdb.PurgeSendingsParams{
		CollectorIDs: a.CollectorIDs, TurnIDs: a.TurnIDs, DebtorIDs: a.DebtorIDs, CreditorIDs: a.CreditorIDs, Now: now,
	})
	return reportPurge(tx, "sendings", purged, err)
}

// PurgeDispatchings deletes dispatchings that have not succeeded in time.
func PurgeDispatchings(ctx context.Context, tx *workerdb.Tx, now time.Time, records []Record) (int64, error) {
	a := arraysOf(records)
	purged, err := tx.PurgeDispatchings(ctx, workerdb.PurgeDispatchingsParams{
		CollectorIDs: a.CollectorIDs, TurnIDs: a.TurnIDs, DebtorIDs: a.DebtorIDs, CreditorIDs: a.CreditorIDs, Now: now,
	})
	return reportPurge(tx, "dispatchings", purged, err)
}

func reportPurge(tx *workerdb.Tx, name string, purged int64, err error) (int64, error) {
	if err != nil {
		return 0, fmt.Errorf("deleting %s that nobody should wait for: %w", name, err)
	}
	notifyOf(tx, purged)
	return purged, nil
}
