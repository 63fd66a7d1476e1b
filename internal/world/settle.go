package world

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrUnsettled tells that a world does not come to rest in time.
var ErrUnsettled = errors.New("the simulated world does not come to rest")

// settlingRounds is how often everything is repeated at the quiet end of a run.
const settlingRounds = 2

// Disturb lets faults, payments and everything else go on that Calm or Settle has ended.
func (w *World) Disturb() {
	w.hush(false)
	w.do(func(s *simulation) { s.disturb() })
}

// Calm ends faults of the network and of authorities, and what customers and issuers do by themselves. What is due goes
// on.
func (w *World) Calm() { w.do(func(s *simulation) { s.calm() }) }

// Settle brings a run to its quiet end: it calms the world, waits until everything that was due has been delivered, and
// then repeats twice what authorities repeat from time to time: the state of each account (in a large world, of
// collectors' accounts only), and of each prepared transfer. From then on, authorities do not repeat anything by
// themselves, nor do they capitalise interest, until Disturb: what has come to rest stays so.
//
// It returns when nothing is going on any more, and the service has said nothing for a while, which should be longer
// than the service needs for an answer. Then [Report.Final] is true. If the context ends before, the error wraps
// [ErrUnsettled], and says what is still going on.
func (w *World) Settle(ctx context.Context, silence time.Duration) (err error) {
	w.look(func(s *simulation) { s.settled = false })
	w.Calm()
	w.hush(true)
	defer func() {
		if err != nil {
			w.hush(false)
		}
	}()
	for range settlingRounds {
		if err := w.awaitRest(ctx, silence); err != nil {
			return err
		}
		w.do(func(s *simulation) { s.repeat() })
	}
	if err := w.awaitRest(ctx, silence); err != nil {
		return err
	}
	w.look(func(s *simulation) { s.settled = true })
	return nil
}

// hush ends what authorities repeat by themselves, or begins it again.
func (w *World) hush(on bool) {
	w.look(func(s *simulation) {
		for _, h := range s.hosts {
			h.Hush(on)
		}
	})
}

// awaitRest waits until nothing is going on, and has not been for a while.
func (w *World) awaitRest(ctx context.Context, silence time.Duration) error {
	again := time.NewTicker(min(silence, 100*time.Millisecond))
	defer again.Stop()
	rest := time.Now() // since when nothing is going on
	for {
		busy, heard := "", time.Time{}
		w.look(func(s *simulation) { busy, heard = s.restless(), s.lastHeard })
		now := time.Now()
		if busy != "" {
			rest = now
		}
		if busy == "" && now.Sub(rest) >= silence && now.Sub(heard) >= silence {
			return nil
		}
		if busy == "" {
			busy = "the service has something to say again and again"
		}
		select {
		case <-again.C:
		case <-w.ended:
			return fmt.Errorf("%w, because it has ended", ErrUnsettled)
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrUnsettled, busy, context.Cause(ctx))
		}
	}
}
