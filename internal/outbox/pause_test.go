package outbox

import (
	"math"
	"testing"
	"time"
)

func TestPause(t *testing.T) {
	t.Parallel()
	for returns, want := range map[int32]time.Duration{
		0:             time.Second,
		1:             2 * time.Second,
		2:             4 * time.Second,
		9:             512 * time.Second,
		10:            10 * time.Minute,
		11:            10 * time.Minute,
		math.MaxInt32: 10 * time.Minute,
	} {
		if got := pause(time.Second, returns); got != want {
			t.Errorf("after %d returns, the pause is %v, want %v", returns, got, want)
		}
	}
	if got := pause(time.Hour, 0); got != 10*time.Minute {
		t.Errorf("the pause is %v", got)
	}
}
