package interest_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/interest"
)

var today = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)

// ago returns the change to a rate some days ago.
func ago(days int, rate float64) interest.Change {
	return interest.Change{At: today.AddDate(0, 0, -days), Rate: rate}
}

func TestWorst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		current interest.Change
		changes []interest.Change
		want    interest.Change // since 30 days ago
	}{
		"no history":          {ago(3, 5), nil, ago(3, 5)},
		"old, and no history": {ago(300, 5), nil, ago(300, 5)},
		"in force at the start": {
			ago(0, 5), []interest.Change{ago(0, 5), ago(10, -10), ago(1000, -20), ago(2000, -30)}, ago(0, -20),
		},
		"the start belongs to it": {
			ago(0, 5), []interest.Change{ago(0, 5), ago(30, 1), ago(31, -2), ago(32, -3)}, ago(0, -2),
		},
		"history ahead of account":  {ago(5, 5), []interest.Change{ago(1, 7), ago(5, 5)}, ago(1, 5)},
		"account ahead of history":  {ago(1, -7), []interest.Change{ago(5, -5)}, ago(1, -7)},
		"worse before the start":    {ago(1, 1), []interest.Change{ago(1, 1), ago(40, 0), ago(50, -50)}, ago(1, 0)},
		"all of it before, and bad": {ago(31, -1), []interest.Change{ago(31, -1), ago(40, -40)}, ago(31, -1)},
	} {
		rate, at := interest.Worst(c.current, c.changes, today.AddDate(0, 0, -30))
		if got := (interest.Change{At: at, Rate: rate}); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Whatever rate was in force after the start, as far as is known, is not lower than the worst one; and looking further
// back makes the worst one no better.
func TestWorstIsWorst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.SliceOfNDistinct(rapid.IntRange(0, 50), 1, 20, rapid.ID).Draw(t, "days")
		slices.Sort(days)
		var changes []interest.Change
		for _, day := range days {
			changes = append(changes, ago(day, rapid.Float64Range(-100, 10).Draw(t, "rate")))
		}
		start := rapid.IntRange(0, 50).Draw(t, "start")
		since := today.AddDate(0, 0, -start)
		worst, latest := interest.Worst(changes[0], changes, since)
		if !latest.Equal(changes[0].At) {
			t.Fatalf("the latest change is that of %v", latest)
		}
		for i, change := range changes {
			inForceUntil := today.AddDate(0, 0, 1)
			if i > 0 {
				inForceUntil = changes[i-1].At
			}
			if inForceUntil.After(since) && change.Rate < worst {
				t.Fatalf("rate %v was in force after the start, and the worst is %v", change.Rate, worst)
			}
		}
		if earlier, _ := interest.Worst(changes[0], changes, since.AddDate(0, 0, -5)); earlier > worst {
			t.Fatalf("since 5 days before: %v, which is better than %v", earlier, worst)
		}
	})
}
