package cli

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A claim is what a process tells a worker's database of itself, before it does anything with it. A process with settings
// that belong to another database would take the records there for its own, or the accounts of customers for those of
// collectors.
type claim struct {
	workerdb.Identity

	mu      sync.Mutex
	decided bool
	refusal error
}

// uses tells that the part relies on the range of collector IDs.
func (p *part) uses(collectors config.Collectors) {
	p.claim.MinCollectorID, p.claim.MaxCollectorID = collectors.MinID, collectors.MaxID
}

// claimDatabase returns an error unless the worker's database answers, has been migrated, and belongs to this worker. If
// it belongs to another one, that is logged, and ends the process.
func (p *part) claimDatabase(ctx context.Context) error {
	c := &p.claim
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.decided {
		return c.refusal
	}
	if err := p.ready(ctx); err != nil {
		return err
	}
	c.Realm = p.settings.Realm
	owner, err := p.db.Claim(ctx, c.Identity, p.settings.DeleteRecords)
	if err != nil {
		return err
	}
	c.decided = true
	switch {
	case owner.Agrees(c.Identity):
	case owner.Realm != c.Realm:
		c.refusal = refuse(ctx, "PROTOCOL_BROKER_QUEUE_ROUTING_KEY", owner.Realm.String(), p.logger)
	default:
		c.refusal = refuseRange(ctx, owner.MinCollectorID, owner.MaxCollectorID, p.logger)
	}
	return c.refusal
}

// claimCollectors returns an error unless the solver database answers, has been migrated, and is used with the same
// collector IDs by everybody.
func claimCollectors(ctx context.Context, db *solverdb.DB, collectors config.Collectors, logger *slog.Logger) error {
	if err := migrated(ctx, db.Migrated); err != nil {
		return err
	}
	minID, maxID, err := db.ClaimCollectorRange(ctx, collectors.MinID, collectors.MaxID)
	if err != nil || minID == collectors.MinID && maxID == collectors.MaxID {
		return err
	}
	return refuseRange(ctx, minID, maxID, logger)
}

func refuseRange(ctx context.Context, minID, maxID swpt.CreditorID, logger *slog.Logger) error {
	//nolint:gosec // the same bits, as people write such IDs
	stored := fmt.Sprintf("0x%016x-0x%016x", uint64(minID), uint64(maxID))
	return refuse(ctx, "MIN_COLLECTOR_ID", stored, logger)
}

// refuse tells that a database is used with another value of a variable.
func refuse(ctx context.Context, variable, stored string, logger *slog.Logger) error {
	config.Errors{{Variable: variable, Reason: "database belongs to " + stored}}.Log(ctx, logger)
	return server.Fatal(errConfiguration)
}
