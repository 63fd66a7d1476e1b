package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Settings of a [Roller].
type Settings struct {
	// Realm is the part of all keys that the worker owns. It has 16 bits at most.
	Realm shard.Realm

	// Wait is the pause between two looks at the solver's turns.
	Wait time.Duration

	// Lead is how long before the deadline of phase 2 the offers are poured. It takes the time from the start of the turn
	// to that deadline.
	Lead func(startToDeadline time.Duration) time.Duration

	// How long after a turn's collection deadline the records of its transfers may be purged. SendingSlack is also for
	// receiving.
	CollectingSlack, SendingSlack, DispatchingSlack time.Duration

	// Version of the program, for operators.
	Version string
}

// A Roller follows the solver's turns. One at a time is enough for a worker. Several do no harm: a step is done by one
// of them, and not again by another.
type Roller struct {
	Settings Settings
	Worker   *workerdb.DB
	Solver   *solverdb.DB
	Now      func() time.Time
	Metrics  *Metrics
	Logger   *slog.Logger

	reportsRefused bool // there is no table for them
}

// Run follows the turns until the context is done, and then returns nil. Between two looks at the turns it pauses,
// until wake has a value, the time has come to pour offers, or [Settings] say so. It fails when a database does.
func (r *Roller) Run(ctx context.Context, wake <-chan struct{}) error {
	for {
		next, err := r.pass(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the error is that it should end
		}
		if err != nil {
			return err
		}
		pause := r.Settings.Wait
		if !next.IsZero() {
			pause = min(pause, next.Sub(r.Now()))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// RunOnce looks at the turns, does what there is to do, and returns.
func (r *Roller) RunOnce(ctx context.Context) error {
	_, err := r.pass(ctx)
	return err
}

// pass brings the mirrors up to date, runs the steps that are due, and reports. It returns when the next step will be
// due that waits for its time; zero if there is none. A turn that fails does not keep others from being treated.
func (r *Roller) pass(ctx context.Context) (next time.Time, err error) {
	turns, err := r.mirrorTurns(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var failures []error
	for _, turn := range turns {
		due, err := r.rollTurn(ctx, turn)
		if err != nil {
			failures = append(failures, fmt.Errorf("turn %d: %w", turn.TurnID, err))
		}
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	r.report(ctx)
	return next, errors.Join(failures...)
}

// rollTurn runs one step after the other for as long as they are due. It returns when the next one will be.
func (r *Roller) rollTurn(ctx context.Context, turn workerdb.WorkerTurn) (due time.Time, err error) {
	for {
		step, found := stepAt(turn.Phase, turn.Subphase)
		if !found {
			return time.Time{}, nil
		}
		if due := r.dueAt(turn); r.Now().Before(due) {
			return due, nil
		}
		done, err := r.runStep(ctx, step, turn.TurnID)
		if !done || err != nil {
			return time.Time{}, err
		}
		turn.Subphase = step.next
	}
}

// dueAt returns when a turn's step is due; zero if it is at once. That a time has passed means that it is over: the
// next instant is a microsecond later.
func (r *Roller) dueAt(turn workerdb.WorkerTurn) time.Time {
	if turn.Phase != 2 || turn.Subphase != 5 {
		return time.Time{}
	}
	lead := r.Settings.Lead(turn.PhaseDeadline.Sub(turn.StartedAt))
	return turn.PhaseDeadline.Add(-lead).Add(time.Microsecond)
}

// now returns the present instant as databases know it.
func (r *Roller) now() time.Time {
	return r.Now().UTC().Truncate(time.Microsecond)
}

// A step is what a worker does at some point of a turn.
type step struct {
	name            string
	phase, subphase int16
	next            int16 // the subphase when it has been done
	do              func(*work, context.Context) error
}

// Both chapters and metrics know the steps by these names.
var steps = []step{
	{"report_currencies", 1, 0, 10, (*work).reportCurrencies},
	{"make_offers", 2, 0, 5, (*work).makeOffers},
	{"pour_offers", 2, 5, 10, (*work).pourOffers},
	{"copy_results", 3, 0, 5, (*work).copyResults},
	{"clean_up", 3, 5, 10, (*work).cleanUp},
}

func stepAt(phase, subphase int16) (step, bool) {
	for _, s := range steps {
		if s.phase == phase && s.subphase == subphase {
			return s, true
		}
	}
	return step{}, false
}

// A work is a step that is being done. It is made anew when its transaction is repeated.
type work struct {
	*Roller
	tx   *workerdb.Tx
	turn workerdb.WorkerTurn // locked
	now  time.Time           // when the step began
	rows map[string]int64    // how many rows it has written, by table, or by type of messages
}

// runStep does a step, unless the turn is not there (any more): then somebody else has done it. The mirror is locked
// before anything else is read. In phase 2 this ends the time of candidate offers, whose handler passes over a locked
// mirror. Until this step they do not meet, so how long the lock is held does not matter.
func (r *Roller) runStep(ctx context.Context, s step, turnID int32) (done bool, err error) {
	started := time.Now()
	var w *work
	late := false
	err = r.Worker.InTx(ctx, s.name, func(ctx context.Context, tx *workerdb.Tx) error {
		w = nil
		turn, err := tx.LockTurnAt(ctx, workerdb.LockTurnAtParams{TurnID: turnID, Phase: s.phase, Subphase: s.subphase})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("locking the turn: %w", err)
		}
		w = &work{Roller: r, tx: tx, turn: turn, now: r.now(), rows: map[string]int64{}}
		if late = isOver(turn, w.now); !late {
			if err := s.do(w, ctx); err != nil {
				return err
			}
		}
		return tx.SetSubphase(ctx, workerdb.SetSubphaseParams{TurnID: turnID, Subphase: s.next})
	})
	if err != nil || w == nil {
		return false, err
	}
	took := time.Since(started)
	r.Metrics.done(s.name, took, w.rows)
	attrs := []slog.Attr{slog.Int("turn_id", int(turnID)), slog.String("step", s.name), slog.Duration("took", took)}
	if late {
		r.Logger.LogAttrs(ctx, slog.LevelWarn, "left out a step of a turn: the deadline of its phase has passed", attrs...)
		return true, nil
	}
	for _, name := range slices.Sorted(maps.Keys(w.rows)) {
		attrs = append(attrs, slog.Int64(name, w.rows[name]))
	}
	r.Logger.LogAttrs(ctx, slog.LevelInfo, "has done a step of a turn", attrs...)
	return true, nil
}

// isOver reports whether it is too late for the steps of a turn's phase. The third phase has no deadline.
func isOver(turn workerdb.WorkerTurn, now time.Time) bool {
	return turn.Phase < 3 && turn.PhaseDeadline != nil && !now.Before(*turn.PhaseDeadline)
}
