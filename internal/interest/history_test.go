package interest_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/interest"
)

const (
	day    = 24 * time.Hour
	period = 220 * day
)

func TestRecord(t *testing.T) {
	t.Parallel()
	history := []interest.Change{ago(1, -1), ago(3, -3)}
	for name, c := range map[string]struct {
		change interest.Change
		want   []interest.Change
	}{
		"latest":         {ago(0, 7), []interest.Change{ago(0, 7), ago(1, -1), ago(3, -3)}},
		"in between":     {ago(2, 7), []interest.Change{ago(1, -1), ago(2, 7), ago(3, -3)}},
		"earliest":       {ago(4, 7), []interest.Change{ago(1, -1), ago(3, -3), ago(4, 7)}},
		"known":          {ago(3, -3), history},
		"other rate":     {ago(3, 7), history},
		"other location": {interest.Change{At: ago(3, 0).At.In(time.FixedZone("", 3600)), Rate: 7}, history},
	} {
		longer, isNew := interest.Record(history, c.change)
		if !slices.Equal(longer, c.want) || isNew != (len(c.want) > len(history)) {
			t.Errorf("%s: %v, %v", name, longer, isNew)
		}
	}
	if !slices.Equal(history, []interest.Change{ago(1, -1), ago(3, -3)}) {
		t.Errorf("the history itself has become %v", history)
	}
	if longer, isNew := interest.Record(nil, ago(1, 2)); len(longer) != 1 || !isNew {
		t.Errorf("the first change: %v, %v", longer, isNew)
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	falling := func(length int) (history []interest.Change) { // one a day, lower and lower towards the past
		for n := range length {
			history = append(history, ago(n, -float64(n)/100))
		}
		return history
	}
	for name, c := range map[string]struct {
		history []interest.Change
		since   time.Time
		want    []interest.Change
	}{
		"empty":              {nil, time.Time{}, nil},
		"one, however old":   {[]interest.Change{ago(9999, 1)}, time.Time{}, []interest.Change{ago(9999, 1)}},
		"superseded":         {[]interest.Change{ago(1, -2), ago(2, -1), ago(3, -2), ago(4, -3)}, time.Time{}, []interest.Change{ago(1, -2), ago(4, -3)}},
		"in force at cutoff": {[]interest.Change{ago(1, 0), ago(230, -1), ago(231, -2)}, time.Time{}, []interest.Change{ago(1, 0), ago(230, -1)}},
		"superseded at cutoff": {
			[]interest.Change{ago(1, 0), ago(230, 1), ago(231, -2)}, time.Time{}, []interest.Change{ago(1, 0)},
		},
		"exactly at cutoff": {
			[]interest.Change{ago(1, 0), ago(220, -1), ago(221, -2)},
			time.Time{},
			[]interest.Change{ago(1, 0), ago(220, -1), ago(221, -2)},
		},
		"too many":          {falling(150), time.Time{}, falling(103)},
		"as many as may be": {falling(103), time.Time{}, falling(103)},
		"a forgotten one counts": {
			append([]interest.Change{ago(-1, 0)}, falling(150)...),
			time.Time{},
			append([]interest.Change{ago(-1, 0)}, falling(103)[1:102]...),
		},
		"too many, but needed":  {falling(150), today.Add(-120*day - time.Hour), falling(122)},
		"too many, all needed":  {falling(150), today.Add(-1000 * day), falling(150)},
		"old, but needed":       {falling(300)[200:], today.Add(-240 * day), falling(300)[200:242]},
		"superseded and needed": {[]interest.Change{ago(1, -2), ago(2, -1)}, today.Add(-9 * day), []interest.Change{ago(1, -2)}},
		"needed for a short time": {
			[]interest.Change{ago(1, 0), ago(230, -1), ago(231, -2)},
			today.Add(-9 * day),
			[]interest.Change{ago(1, 0), ago(230, -1)},
		},
	} {
		if kept := interest.Compact(c.history, today, period, c.since); !slices.Equal(kept, c.want) {
			t.Errorf("%s: kept are %v, want %v", name, kept, c.want)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for days, want := range map[int]int{180: 90, 220: 103, 0: 30, 2: 30, 3: 31} {
		if got := interest.Limit(time.Duration(days) * day); got != want {
			t.Errorf("%d days: %d, want %d", days, got, want)
		}
	}
}

// histories draws histories in which all changes have come in one by one, in any order, or all at once.
func histories(maxLength int) *rapid.Generator[[]interest.Change] {
	return rapid.Custom(func(rt *rapid.T) (history []interest.Change) {
		for range rapid.IntRange(0, maxLength).Draw(rt, "length") {
			days, rate := rapid.IntRange(-10, 400).Draw(rt, "days ago"), rapid.IntRange(-100, 20).Draw(rt, "rate")
			history, _ = interest.Record(history, ago(days, float64(rate)))
		}
		return history
	})
}

// A compacted history never promises a better rate than the full one, and costs nothing if it is compacted again.
func TestCompactedHistoriesAreSafe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		history := histories(140).Draw(rt, "history")
		current := ago(rapid.IntRange(-10, 400).Draw(rt, "account's days ago"), float64(rapid.IntRange(-100, 20).Draw(rt, "account's rate")))
		var since time.Time
		start := today.Add(-period)
		if rapid.Bool().Draw(rt, "depended") {
			since = ago(rapid.IntRange(0, 420).Draw(rt, "since"), 0).At
			start = since
		} else if len(history) > interest.Limit(period) {
			return // the limit may bite
		}
		kept := interest.Compact(history, today, period, since)
		start = start.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "later")) * day)
		fullRate, fullTS := interest.Worst(current, history, start)
		rate, ts := interest.Worst(current, kept, start)
		if rate > fullRate || !ts.Equal(fullTS) {
			rt.Errorf("since %v: %v at %v, want at most %v at %v; kept %v", start, rate, ts, fullRate, fullTS, kept)
		}
		if again := interest.Compact(kept, today, period, since); !slices.Equal(again, kept) {
			rt.Errorf("compacted again: %v, before: %v", again, kept)
		}
		lowest := math.Inf(1)
		for _, c := range kept {
			if c.Rate >= lowest {
				rt.Errorf("kept rates do not fall towards the past: %v", kept)
			}
			lowest = c.Rate
		}
	})
}

// If nothing may be forgotten, it does not matter what transfers depend on, whichever changes are there already.
func TestMayForget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		history := histories(115).Draw(rt, "history")
		if interest.MayForget(history, today, period) {
			return
		}
		var part []interest.Change
		for _, c := range history {
			if rapid.Bool().Draw(rt, "present") {
				part = append(part, c)
			}
		}
		since := ago(rapid.IntRange(0, 420).Draw(rt, "since"), 0).At
		careless := interest.Compact(part, today, period, time.Time{})
		if careful := interest.Compact(part, today, period, since); !slices.Equal(careful, careless) {
			rt.Errorf("kept are %v, and without a transfer %v", careful, careless)
		}
	})
	long := make([]interest.Change, 104)
	for n := range long {
		long[n] = ago(n, -float64(n)/10)
	}
	if !interest.MayForget(long, today, period) || interest.MayForget(long[1:], today, period) {
		t.Error("a long history: wrong")
	}
	old := []interest.Change{ago(1, 0), ago(221, -1), ago(222, -2)}
	if !interest.MayForget(old, today, period) || interest.MayForget(old[:2], today, period) {
		t.Error("an old history: wrong")
	}
}
