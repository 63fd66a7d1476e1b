// Package grace lets work that has begun come to its end after the process has been asked to stop.
package grace

import (
	"context"
	"time"
)

// Period returns a context that ends a while after its parent, with the values of the parent. It must be canceled.
func Period(ctx context.Context, length time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(length):
			cancel()
		case <-late.Done():
		}
	})
	return late, func() {
		stop()
		cancel()
	}
}
