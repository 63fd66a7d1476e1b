package mirror

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// mirrorTurns brings the mirrors up to date. It returns those that have steps to be done.
func (r *Roller) mirrorTurns(ctx context.Context) ([]workerdb.WorkerTurn, error) {
	turns, err := r.Solver.Queries().UnfinishedTurns(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the solver's turns: %w", err)
	}
	known, err := r.Worker.Queries().MirroredTurns(ctx, idsOf(turns))
	if err != nil {
		return nil, fmt.Errorf("reading the mirrors of turns: %w", err)
	}
	overlooked, err := r.overlooked(ctx, turns, known)
	if err != nil {
		return nil, err
	}
	mirrors := map[int32]workerdb.WorkerTurn{}
	for _, mirror := range known {
		mirrors[mirror.TurnID] = mirror
	}
	changed := false
	for _, turn := range append(turns, overlooked...) {
		mirror, found := mirrors[turn.TurnID]
		// Only what changes is written, as a write locks the mirror: candidate offers that come meanwhile are dropped.
		if found && mirror.Phase >= mirroredPhase(turn) {
			continue
		}
		changed = true
		if err := r.mirrorTurn(ctx, turn); err != nil {
			return nil, err
		}
	}
	if changed {
		if known, err = r.Worker.Queries().MirroredTurns(ctx, nil); err != nil {
			return nil, fmt.Errorf("reading the mirrors of turns: %w", err)
		}
	}
	return known, nil
}

// overlooked returns the solver's rows of the turns that the solver has finished unnoticed: no result concerned this
// worker, so it could not keep the solver from going on.
func (r *Roller) overlooked(
	ctx context.Context, unfinished []solverdb.Turn, known []workerdb.WorkerTurn,
) ([]solverdb.Turn, error) {
	listed := map[int32]bool{}
	for _, turn := range unfinished {
		listed[turn.TurnID] = true
	}
	var missing []int32
	for _, mirror := range known {
		if mirror.Phase < 3 && !listed[mirror.TurnID] {
			missing = append(missing, mirror.TurnID)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	turns, err := r.Solver.Queries().TurnsByID(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("reading the solver's turns that have been overlooked: %w", err)
	}
	if len(turns) < len(missing) {
		r.Logger.ErrorContext(ctx, "the solver does not know turns that this worker knows; is it another solver's database?",
			slog.Any("turn_ids", missing), slog.Int("known", len(turns)))
	}
	return turns, nil
}

func idsOf(turns []solverdb.Turn) []int32 {
	ids := make([]int32, len(turns))
	for i, turn := range turns {
		ids[i] = turn.TurnID
	}
	return ids
}

// mirroredPhase returns the phase that the mirror of a turn should have. For workers, a turn that the solver has
// finished is one of which the results can be copied.
func mirroredPhase(turn solverdb.Turn) int16 {
	return min(turn.Phase, 3)
}

// mirrorTurn makes a mirror, or has it follow.
func (r *Roller) mirrorTurn(ctx context.Context, turn solverdb.Turn) error {
	params := workerdb.MirrorTurnParams{
		TurnID:                turn.TurnID,
		StartedAt:             turn.StartedAt,
		BaseDebtorInfoLocator: turn.BaseDebtorInfoLocator,
		BaseDebtorID:          turn.BaseDebtorID,
		MaxDistanceToBase:     turn.MaxDistanceToBase,
		MinTradeAmount:        turn.MinTradeAmount,
		Phase:                 mirroredPhase(turn),
		PhaseDeadline:         turn.PhaseDeadline,
		CollectionStartedAt:   turn.CollectionStartedAt,
		CollectionDeadline:    turn.CollectionDeadline,
	}
	if params.Phase == 3 {
		params.PhaseDeadline = nil
	}
	changed, err := r.Worker.Queries().MirrorTurn(ctx, params)
	if err != nil {
		return fmt.Errorf("mirroring turn %d in phase %d: %w", params.TurnID, params.Phase, err)
	}
	if changed > 0 {
		r.Logger.InfoContext(ctx, "a turn has got to another phase",
			slog.Int("turn_id", int(params.TurnID)), slog.Int("phase", int(params.Phase)))
	}
	return nil
}
