package turn

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// slowResults is how long workers may take to take over results before that is reported, and then the time between two
// reports. As long as it goes on, no other turn can start.
const slowResults = 15 * time.Minute

// finish ends phase 3, if workers have taken all results over.
func (r *Roller) finish(ctx context.Context, turnID int32) (advanced bool, err error) {
	var (
		now       time.Time
		turn      solverdb.Turn
		remaining []solverdb.RemainingResultsRow
	)
	advanced, err = r.step(ctx, "finish_turn", turnID, phaseResults,
		func(ctx context.Context, tx *solverdb.Tx, t solverdb.Turn) (bool, error) {
			now, turn = r.Now(), t
			var err error
			if remaining, err = tx.RemainingResults(ctx, turnID); err != nil {
				return false, fmt.Errorf("looking for results that are still there: %w", err)
			}
			if len(remaining) > 0 {
				return false, nil
			}
			if err := tx.FinishTurn(ctx, turnID); err != nil {
				return false, fmt.Errorf("beginning phase 4: %w", err)
			}
			err = tx.FinishTurnSummary(ctx, solverdb.FinishTurnSummaryParams{TurnID: turnID, FinishedAt: now})
			if err != nil {
				return false, fmt.Errorf("completing the summary: %w", err)
			}
			return true, nil
		})
	switch {
	case advanced:
		delete(r.reported, turnID)
		took := now.Sub(*turn.CollectionStartedAt)
		r.Metrics.took(stepHandOver, took)
		r.Logger.InfoContext(ctx, "finished a turn", slog.Int("turn_id", int(turnID)),
			slog.Duration("phase_3", took), slog.Duration("turn", now.Sub(turn.StartedAt)))
	case len(remaining) > 0:
		r.reportSlowness(ctx, turn, remaining, now)
	}
	return advanced, err
}

// reportSlowness warns now and then of a turn that stays in phase 3.
func (r *Roller) reportSlowness(
	ctx context.Context, t solverdb.Turn, remaining []solverdb.RemainingResultsRow, now time.Time,
) {
	latest, found := r.reported[t.TurnID]
	if !found {
		latest = *t.CollectionStartedAt
	}
	if now.Sub(latest) < slowResults {
		return
	}
	r.reported[t.TurnID] = now
	tables := make([]string, len(remaining))
	for i, row := range remaining {
		tables[i] = row.TableName
	}
	r.Logger.WarnContext(ctx, "workers have not taken all results over, and no other turn can start until they have; "+
		"find out why the worker does not run to whose shard the routing key belongs",
		slog.Int("turn_id", int(t.TurnID)), slog.Duration("phase_3", now.Sub(*t.CollectionStartedAt)),
		slog.String("tables", strings.Join(tables, " ")), slog.String("routing_key", routingKey(remaining[0].Hash)))
}

// routingKey returns the first 16 bits of a routing key, which are all that a hash knows of it.
func routingKey(hash int16) string {
	const digits = 16
	key := shard.Key(uint32(uint16(hash)) << 16) //nolint:gosec // a bit pattern
	return key.RoutingKey()[:2*digits-1]
}
