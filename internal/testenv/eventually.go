package testenv

import (
	"testing"
	"time"
)

// Eventually waits until a condition holds: until it returns nil. It ends the test if that takes longer than the
// timeout, with the last error, which should tell what is and what ought to be. The condition is asked a hundred times
// a second, and once more at the very end.
func Eventually(tb testing.TB, timeout time.Duration, condition func() error) {
	tb.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for late := false; ; {
		err := condition()
		switch {
		case err == nil:
			return
		case late:
			tb.Fatalf("Still not so after %v: %v", timeout, err)
		}
		select {
		case <-deadline.C:
			late = true
		case <-again.C:
		}
	}
}
