package timeline_test

import (
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

var start = time.Date(2025, 6, 10, 0, 0, 0, 0, time.UTC)

func TestEventsHappenInOrder(t *testing.T) {
	t.Parallel()
	var line timeline.Timeline
	line.Advance(start)
	var got []string
	add := func(name string, after time.Duration) {
		line.After(after, func() { got = append(got, name+line.Now().Sub(start).String()) })
	}
	add("c", 3*time.Second)
	add("a", time.Second)
	add("b1 ", 2*time.Second)
	add("b2 ", 2*time.Second)
	add("b3 ", 2*time.Second)
	line.After(time.Second, func() {
		add("added", 0)
		add("too late", 9*time.Second)
	})
	line.Advance(start.Add(3 * time.Second))
	want := []string{"a1s", "added1s", "b1 2s", "b2 2s", "b3 2s", "c3s"}
	if !slices.Equal(got, want) {
		t.Errorf("happened: %q, want %q", got, want)
	}
	if next, ok := line.Next(); !ok || !next.Equal(start.Add(10*time.Second)) {
		t.Errorf("next event at %v, %v, want after 10 s", next, ok)
	}
}

func TestTimeDoesNotGoBack(t *testing.T) {
	t.Parallel()
	var line timeline.Timeline
	if _, ok := line.Next(); ok {
		t.Error("an empty timeline has a next event")
	}
	line.Advance(start)
	line.Advance(start.Add(-time.Hour))
	if !line.Now().Equal(start) {
		t.Errorf("now is %v, want %v", line.Now(), start)
	}
	var at time.Time
	line.At(start.Add(-time.Hour), func() { at = line.Now() })
	line.Advance(start)
	if !at.Equal(start) {
		t.Errorf("a late event happened at %v, want %v", at, start)
	}
}
