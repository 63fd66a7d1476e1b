package main

import (
	"context"
	"errors"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/postgres"
)

// Containers may start before their servers, and nothing restarts some of them. So a step that fails is tried again for
// a while: tries times in all, after pauses that double; and as long as the server cannot be reached, until endurance is
// over.
const (
	tries      = 5
	firstPause = time.Second
	longPause  = 8 * time.Second
	endurance  = 60 * time.Second
)

// persistently runs a step of setting things up until it succeeds, or there is no use in trying again. Each failure that
// is followed by another try is reported.
func persistently(ctx context.Context, step func(context.Context) error, report func(err error, pause time.Duration)) error {
	start := time.Now()
	pause := firstPause
	for try := 1; ; try++ {
		err := step(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if try >= tries && (!unreachable(err) || time.Since(start)+longPause > endurance) {
			return err
		}
		report(err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, longPause)
	}
}

// unreachable tells whether the server, which may be starting, is what an error is about.
func unreachable(err error) bool {
	return errors.Is(err, broker.ErrUnreachable) || postgres.IsUnreachable(err)
}
