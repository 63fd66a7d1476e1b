package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// The phases of a turn.
const (
	phaseCurrencies int16 = 1 // workers report currencies
	phaseOffers     int16 = 2 // workers make offers
	phaseResults    int16 = 3 // workers take the results over
	phaseFinished   int16 = 4
)

// Settings are what operators decide about turns.
type Settings struct {
	Schedule Schedule

	// Phase1Duration and Phase2Duration are how long workers may report currencies, and make offers.
	Phase1Duration, Phase2Duration time.Duration

	// MaxCommitPeriod is the time from the beginning of phase 2 to the latest commit of sellers' transfers.
	MaxCommitPeriod time.Duration

	// The parameters of new turns. Those of a turn under way do not change.
	BaseLocator       string
	BaseDebtorID      swpt.DebtorID // not 0
	MaxDistanceToBase int16         // at least 1
	MinTradeAmount    int64         // at least 1

	// CheckInterval is the time from the start of a tick to the start of the next one, unless there is a reason to be
	// earlier. It is taken for at least a tenth of a second.
	CheckInterval time.Duration

	// WorkMem is what PostgreSQL's work_mem is set to where very many rows may have to be sorted, as in "50MB".
	WorkMem string
}

// Config is what a [Roller] works with.
type Config struct {
	DB       *solverdb.DB
	Settings Settings

	// Listener tells when workers have taken results over. The caller runs it. Nil: nobody tells.
	Listener *postgres.Listener

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	Metrics *Metrics
	Logger  *slog.Logger
}

// A Roller starts turns and advances them. It is for one goroutine.
type Roller struct {
	Config
	clear    func(ctx context.Context, market *solver.Market, options solver.Options) (*solver.Outcome, error)
	reported map[int32]time.Time // when a turn was last reported that stays in phase 3
}

// NewRoller returns a roller.
func NewRoller(config Config) *Roller {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Roller{Config: config, clear: clearMarket, reported: map[int32]time.Time{}}
}

func clearMarket(ctx context.Context, market *solver.Market, options solver.Options) (*solver.Outcome, error) {
	return market.Clear(ctx, options)
}

// minInterval keeps a roller from asking the database all the time.
const minInterval = 100 * time.Millisecond

// Run ticks until the context is done, and then returns nil: at least once in a check interval, and also when a
// deadline has passed, when a turn may start, and when workers have taken results over. What a tick is at when the
// context ends is rolled back.
//
// It fails when a tick does.
func (r *Roller) Run(ctx context.Context) error {
	var results <-chan struct{}
	if r.Listener != nil {
		var cancel func()
		results, cancel = r.Listener.Subscribe(solverdb.TopicResults)
		defer cancel()
	}
	for {
		next, err := r.Tick(ctx)
		if ctx.Err() != nil {
			return nil // the error is that it should end
		}
		if err != nil {
			return err
		}
		select {
		case <-results:
		case <-time.After(next.Sub(r.Now())):
		case <-ctx.Done():
			return nil
		}
	}
}

// Tick starts a turn if one is due, and lets each unfinished turn do one step if that is due. It returns when the next
// tick is worth while. It fails when the database does; but one turn that fails does not keep it from treating others.
func (r *Roller) Tick(ctx context.Context) (next time.Time, err error) {
	now := r.Now()
	turns, latest, err := r.lookUp(ctx)
	if err != nil {
		return time.Time{}, err
	}
	r.Metrics.observe(turns)
	// Whether a turn may be started is decided under a lock. If nothing speaks for it, nobody has to wait for that.
	if len(turns) == 0 && r.Settings.Schedule.Due(now, latest) {
		return now, r.start(ctx)
	}
	moved := false
	var failures []error
	for _, t := range turns {
		done, err := r.advance(ctx, t, now)
		if err != nil {
			failures = append(failures, fmt.Errorf("turn %d in phase %d: %w", t.TurnID, t.Phase, err))
		}
		moved = moved || done
	}
	if moved {
		return now, errors.Join(failures...)
	}
	return r.nextTick(now, turns, latest), errors.Join(failures...)
}

// lookUp reads the unfinished turns, and when the latest turn was started.
func (r *Roller) lookUp(ctx context.Context) (turns []solverdb.Turn, latest time.Time, err error) {
	queries := r.DB.Queries()
	if turns, err = queries.UnfinishedTurns(ctx); err != nil {
		return nil, latest, fmt.Errorf("reading the unfinished turns: %w", err)
	}
	if latest, err = queries.LatestTurnStart(ctx); err != nil {
		return nil, latest, fmt.Errorf("looking when the latest turn was started: %w", err)
	}
	return turns, latest, nil
}

// advance does the step of a turn that is due now, if there is one.
func (r *Roller) advance(ctx context.Context, t solverdb.Turn, now time.Time) (done bool, err error) {
	switch due := t.PhaseDeadline != nil && t.PhaseDeadline.Before(now); {
	case t.Phase == phaseCurrencies && due:
		return r.agree(ctx, t.TurnID)
	case t.Phase == phaseOffers && due:
		return r.trade(ctx, t)
	case t.Phase == phaseResults:
		return r.finish(ctx, t.TurnID)
	default:
		return false, nil
	}
}

// nextTick returns when the next tick is worth while if nothing has moved in the one that began now.
func (r *Roller) nextTick(now time.Time, turns []solverdb.Turn, latest time.Time) time.Time {
	next := now.Add(max(r.Settings.CheckInterval, minInterval))
	sooner := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	if len(turns) == 0 {
		if start, ok := r.Settings.Schedule.Next(now, latest); ok {
			sooner(start)
		}
	}
	for _, t := range turns {
		if t.PhaseDeadline != nil {
			sooner(t.PhaseDeadline.Add(time.Microsecond)) // it has to have passed
		}
	}
	return next
}

// step runs do in a transaction that has locked the row of a turn, provided that the turn is in the phase. do reports
// whether it has advanced the turn; step, whether that is committed.
func (r *Roller) step(
	ctx context.Context, name string, turnID int32, phase int16,
	do func(context.Context, *solverdb.Tx, solverdb.Turn) (advanced bool, err error),
) (advanced bool, err error) {
	err = r.DB.InTx(ctx, name, func(ctx context.Context, tx *solverdb.Tx) error {
		advanced = false
		t, err := tx.LockTurn(ctx, turnID)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("locking the turn: %w", err)
		}
		if t.Phase != phase {
			return nil // somebody else was faster
		}
		if advanced, err = do(ctx, tx, t); err != nil || !advanced {
			return err
		}
		return postgres.Notify(ctx, tx, solverdb.TopicTurns)
	})
	return advanced && err == nil, err
}
