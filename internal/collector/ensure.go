package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

var (
	// ErrPoolTooSmall tells that there are not enough free IDs for the collectors of a debtor. The range from
	// MIN_COLLECTOR_ID to MAX_COLLECTOR_ID would have to be greater, or fewer collectors asked for.
	ErrPoolTooSmall = errors.New("the range of collector IDs is too small")

	// ErrTooMany tells that more than [MaxCollectors] have been asked for.
	ErrTooMany = fmt.Errorf("no debtor needs more than %d collectors", MaxCollectors)
)

// MaxCollectors is the largest number of collectors that a debtor can have.
const MaxCollectors = 1 << 20

// The status of a collector in the solver database.
const (
	statusPlanned   = 0 // pristine: nobody has asked for an account yet
	statusRequested = 1
	statusActive    = 2 // there is an account, and its ID is known
	statusDisabled  = 3 // by an operator, for good
)

// topicPlanned is the topic of the notifications, in the solver database, about new collectors.
const topicPlanned = "collector/planned"

// Ensure plans collectors for a debtor until there are n that are not disabled, and returns how many it has added. If
// there are enough already, it does nothing, whatever else may be wrong. It fails with [ErrPoolTooSmall], [ErrTooMany], or
// because of the database.
//
// It may be called by any number of processes at a time: they add the same collectors, and all but one of them notice.
func Ensure(
	ctx context.Context, db *solverdb.DB, pool Pool, debtor swpt.DebtorID, n int64, now time.Time,
) (added int, err error) {
	err = db.InTx(ctx, "ensure_collectors", func(ctx context.Context, tx *solverdb.Tx) error {
		rows, err := tx.CollectorsOfDebtor(ctx, debtor)
		if err != nil {
			return fmt.Errorf("looking for collectors: %w", err)
		}
		ids, err := pool.missing(debtor, rows, n)
		if added = len(ids); err != nil || added == 0 {
			return err
		}
		params := solverdb.AddCollectorsParams{DebtorID: debtor, Now: now}
		for _, id := range ids {
			params.CollectorIDs = append(params.CollectorIDs, int64(id))
			params.CollectorHashes = append(params.CollectorHashes, shard.KeyOf(id).Hash16())
		}
		if err := tx.AddCollectors(ctx, params); err != nil {
			return fmt.Errorf("adding %d collectors: %w", added, err)
		}
		return postgres.Notify(ctx, tx, topicPlanned)
	})
	if err != nil {
		return 0, fmt.Errorf("making sure that the debtor %d has %d collectors: %w", debtor, n, err)
	}
	return added, nil
}

// missing returns the IDs of the collectors that a debtor lacks.
func (p Pool) missing(debtor swpt.DebtorID, rows []solverdb.CollectorsOfDebtorRow, n int64) ([]swpt.CreditorID, error) {
	alive, dead := int64(0), int64(0)
	used := make(map[swpt.CreditorID]bool, len(rows))
	for _, row := range rows {
		used[row.CollectorID] = true
		if row.Status == statusDisabled {
			dead++
		} else {
			alive++
		}
	}
	switch {
	case alive >= n:
		return nil, nil
	case n > MaxCollectors:
		return nil, ErrTooMany
	case uint64(dead+n) > p.usable(): //nolint:gosec // neither is negative, and n has a limit
		return nil, fmt.Errorf("%w: it has room for %d collectors, and %d are disabled", ErrPoolTooSmall, p.usable(), dead)
	}
	return p.next(debtor, used, int(n-alive)), nil
}
