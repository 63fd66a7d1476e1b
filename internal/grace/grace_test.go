package grace_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/circular-trade/circular-trade/internal/grace"
)

type key struct{}

func TestPeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, stop := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		late, cancel := grace.Period(parent, 5*time.Second)
		defer cancel()
		if late.Value(key{}) != "value" {
			t.Error("the values of the parent are lost")
		}
		synctest.Wait()
		if late.Err() != nil {
			t.Error("it has ended before its parent")
		}
		stopped := time.Now()
		stop()
		synctest.Wait()
		if late.Err() != nil {
			t.Error("it has ended at the same time as its parent")
		}
		<-late.Done()
		if got := time.Since(stopped); got != 5*time.Second {
			t.Errorf("it has ended %v after its parent", got)
		}
	})
}

// Nothing is left running when the work is done sooner: the bubble would wait for it.
func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, stop := context.WithCancel(t.Context())
		late, cancel := grace.Period(parent, time.Hour)
		started := time.Now()
		stop()
		cancel()
		<-late.Done()
		synctest.Wait()
		if got := time.Since(started); got != 0 {
			t.Errorf("it has ended after %v", got)
		}
	})
}
