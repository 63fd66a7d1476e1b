package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
)

func TestPersistently(t *testing.T) {
	t.Parallel()
	errRefused := errors.New("permission denied")
	for name, c := range map[string]struct {
		failures int // before the step succeeds
		err      error
		pauses   []int // seconds
		fails    bool
	}{
		"success at once":        {0, nil, nil, false},
		"success after failures": {4, errRefused, []int{1, 2, 4, 8}, false},
		"refused":                {5, errRefused, []int{1, 2, 4, 8}, true},
		"unreachable for long":   {9, broker.ErrUnreachable, []int{1, 2, 4, 8, 8, 8, 8, 8, 8}, false},
		"unreachable for ever":   {100, broker.ErrUnreachable, []int{1, 2, 4, 8, 8, 8, 8, 8, 8}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var pauses []int
				calls := 0
				err := persistently(t.Context(), func(context.Context) error {
					if calls++; calls > c.failures {
						return nil
					}
					return c.err
				}, func(_ error, pause time.Duration) {
					pauses = append(pauses, int(pause/time.Second))
				})
				if (err != nil) != c.fails {
					t.Errorf("the error is %v", err)
				}
				if !slices.Equal(pauses, c.pauses) {
					t.Errorf("the pauses are %v, want %v", pauses, c.pauses)
				}
			})
		})
	}
}

func TestPersistentlyIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		err := persistently(ctx, func(context.Context) error { return broker.ErrUnreachable }, func(error, time.Duration) {})
		if !errors.Is(err, broker.ErrUnreachable) || time.Since(start) != 5*time.Second {
			t.Errorf("it ended with %v after %v", err, time.Since(start))
		}
	})
}
