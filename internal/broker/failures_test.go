package broker

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRetryPauses(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0)
	var f failure[int]
	for i, want := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		pause := f.postpone(now)
		if pause != time.Duration(want)*time.Second || !f.due.Equal(now.Add(pause)) || f.attempts != i+1 {
			t.Errorf("attempt %d: pause %v, %+v", i, pause, f)
		}
		now = f.due
	}
}

func TestFailuresAreOrderedByTheNextAttempt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var fs failures[int]
		var model []failure[int]
		for tag := range uint64(rapid.IntRange(0, 100).Draw(t, "steps")) {
			if len(model) > 0 && rapid.Bool().Draw(t, "pop") {
				got := fs.pop()
				i := slices.IndexFunc(model, func(f failure[int]) bool { return f.tag == got.tag })
				for _, f := range model {
					if f.due.Before(got.due) {
						t.Fatalf("%v before %v", got, f)
					}
				}
				model = slices.Delete(model, i, i+1)
			} else {
				f := failure[int]{ticket: ticket{tag: tag}, due: time.Unix(rapid.Int64Range(0, 9).Draw(t, "due"), 0)}
				fs.add(f)
				model = append(model, f)
			}
			lowest := uint64(math.MaxUint64)
			for _, f := range model {
				lowest = min(lowest, f.tag)
			}
			if len(fs) != len(model) || fs.lowestTag() != lowest {
				t.Fatalf("%v, lowest %d; want %v, lowest %d", fs, fs.lowestTag(), model, lowest)
			}
		}
	})
}
