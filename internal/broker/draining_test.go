package broker

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDrainerPauses(t *testing.T) {
	t.Parallel()
	d := drainer{pause: firstDrainingPause}
	now := time.Unix(1_000_000_007, 0)
	for _, want := range []struct{ patience, length time.Duration }{
		{time.Second, 15 * time.Second},
		{2 * time.Second, 30 * time.Second},
		{4 * time.Second, time.Minute},
		{7 * time.Second, 2 * time.Minute},
		{13 * time.Second, 4 * time.Minute},
		{25 * time.Second, 8 * time.Minute},
		{49 * time.Second, 16 * time.Minute},
		{97 * time.Second, 32 * time.Minute},
		{181 * time.Second, time.Hour},
		{181 * time.Second, time.Hour},
	} {
		if got := d.patience(); got != want.patience {
			t.Errorf("before a pause of %v: patience %v, want %v", want.length, got, want.patience)
		}
		end := d.begin(now)
		pause := end.Sub(now)
		if end.UnixNano()%int64(want.length) != 0 || pause < want.length/2 || pause > want.length*3/2 {
			t.Errorf("a pause of %v lasts %v and ends at %v", want.length, pause, end)
		}
		now = end
	}
}

// Drainers that begin a pause at about the same time end it at the same time.
func TestDrainerPausesEndTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		length := firstDrainingPause << rapid.IntRange(0, 7).Draw(t, "doublings")
		start := time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "start"), 0)
		// The range of beginnings that have one end is as long as the pause.
		first := drainer{pause: length}
		end := first.begin(start)
		earliest := end.Add(-length - length/2)
		offset := rapid.Int64Range(0, int64(length)-1).Draw(t, "offset")
		other := drainer{pause: length}
		if got := other.begin(earliest.Add(time.Duration(offset))); !got.Equal(end) {
			t.Fatalf("%v and %v", end, got)
		}
	})
}
