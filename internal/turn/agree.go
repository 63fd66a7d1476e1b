package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// agree ends phase 1: it makes the list of currencies.
func (r *Roller) agree(ctx context.Context, turnID int32) (advanced bool, err error) {
	begun := time.Now()
	var currencies int64
	var deadline time.Time
	advanced, err = r.step(ctx, "agree_on_currencies", turnID, phaseCurrencies,
		func(ctx context.Context, tx *solverdb.Tx, _ solverdb.Turn) (bool, error) {
			now := r.Now()
			if err := tx.IncreaseWorkMem(ctx, r.Settings.WorkMem); err != nil {
				return false, fmt.Errorf("setting work_mem: %w", err)
			}
			var err error
			if currencies, err = tx.AgreeOnCurrencies(ctx, turnID); err != nil {
				return false, fmt.Errorf("inserting the currencies: %w", err)
			}
			deadline = now.Add(r.Settings.Phase2Duration)
			err = tx.BeginPhase2(ctx, solverdb.BeginPhase2Params{
				TurnID: turnID, PhaseDeadline: deadline, CollectionDeadline: now.Add(r.Settings.MaxCommitPeriod),
			})
			if err != nil {
				return false, fmt.Errorf("beginning phase 2: %w", err)
			}
			if err := errors.Join(tx.DeleteReportedInfos(ctx), tx.DeleteConfirmations(ctx)); err != nil {
				return false, fmt.Errorf("deleting what was reported: %w", err)
			}
			return true, nil
		})
	if advanced {
		r.Metrics.took(stepAgree, time.Since(begun))
		r.Logger.InfoContext(ctx, "agreed on the currencies of a turn", slog.Int("turn_id", int(turnID)),
			slog.Int64("currencies", currencies), slog.Time("phase_deadline", deadline))
	}
	return advanced, err
}
