package turn

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// start starts a turn, unless somebody else has been faster.
func (r *Roller) start(ctx context.Context) error {
	var started int32
	var deadline time.Time
	err := r.DB.InTx(ctx, "start_turn", func(ctx context.Context, tx *solverdb.Tx) error {
		started = 0
		now := r.Now()
		if err := tx.LockOutStarters(ctx); err != nil {
			return fmt.Errorf("locking out those who would start a turn at the same time: %w", err)
		}
		turns, err := tx.UnfinishedTurns(ctx)
		if err != nil || len(turns) > 0 {
			return err
		}
		latest, err := tx.LatestTurnStart(ctx)
		if err != nil || !r.Settings.Schedule.Due(now, latest) {
			return err
		}
		deadline = now.Add(r.Settings.Phase1Duration)
		started, err = tx.StartTurn(ctx, solverdb.StartTurnParams{
			StartedAt:             now,
			BaseDebtorInfoLocator: r.Settings.BaseLocator,
			BaseDebtorID:          r.Settings.BaseDebtorID,
			MaxDistanceToBase:     r.Settings.MaxDistanceToBase,
			MinTradeAmount:        r.Settings.MinTradeAmount,
			PhaseDeadline:         deadline,
		})
		if err != nil {
			return fmt.Errorf("inserting the turn: %w", err)
		}
		return postgres.Notify(ctx, tx, solverdb.TopicTurns)
	})
	if err != nil {
		return fmt.Errorf("starting a turn: %w", err)
	}
	if started != 0 {
		r.Metrics.started.Inc()
		r.Logger.InfoContext(ctx, "started a turn",
			slog.Int("turn_id", int(started)), slog.Time("phase_deadline", deadline))
	}
	return nil
}
