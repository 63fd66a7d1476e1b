package collector

import (
	"context"
	"time"
)

// everyPeriod calls pass again and again: when something has been committed, and otherwise a period after its last start.
// It returns nil when the context is done, and fails when pass does.
func everyPeriod(
	ctx context.Context, period time.Duration, commits <-chan struct{}, pass func(context.Context) error,
) error {
	for {
		next := time.Now().Add(period)
		if err := pass(ctx); ctx.Err() != nil {
			return nil //nolint:nilerr // whatever has failed, it may have been because of that
		} else if err != nil {
			return err
		}
		select {
		case <-commits:
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return nil
		}
	}
}
