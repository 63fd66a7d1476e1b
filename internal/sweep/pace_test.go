package sweep

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/config"
)

const day = 24 * time.Hour

var (
	start = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
	usual = config.Sweep{Duration: 7 * day, BlocksPerQuery: 40, Beat: 100 * time.Millisecond}
)

// pass returns how long a pass takes, and how many queries, if each of these takes some time.
func pass(settings config.Sweep, pages int64, work time.Duration) (took time.Duration, queries int64) {
	p := pace{Sweep: settings, latest: start}
	now := start
	for page := int64(0); page < max(1, pages); page += p.stretch(pages) {
		now = now.Add(work)
		now = now.Add(p.pause(now, pages))
		p.goOn(now, pages)
		queries++
	}
	return now.Sub(start), queries
}

func TestPass(t *testing.T) {
	t.Parallel()
	fast := config.Sweep{Duration: time.Hour, BlocksPerQuery: 1, Beat: 100 * time.Millisecond}
	for _, c := range []struct {
		name     string
		settings config.Sweep
		pages    int64
		work     time.Duration
		took     time.Duration
		queries  int64
	}{
		{"an empty table", usual, 0, 0, 7 * day, 1},
		{"a small table", usual, 40, 0, 7 * day, 1},
		{"one page more", usual, 41, 0, 7 * day, 2},
		{"a table of 8 GB", usual, 1 << 20, 0, 7 * day, 26215},
		{"with some work", usual, 1 << 20, time.Second, 7 * day, 26215},
		{"too many pages for the setting", fast, 1 << 20, 0, time.Hour, 34953},
		{"more work than time", fast, 36000, time.Second, 10 * time.Hour, 36000},
		{"no time at all", config.Sweep{Duration: 1, BlocksPerQuery: 40, Beat: 1}, 4000, 0, 0, 1},
	} {
		took, queries := pass(c.settings, c.pages, c.work)
		if took < c.took-time.Second || took > c.took+time.Second || queries != c.queries {
			t.Errorf("%s: it takes %v and %d queries, want %v and %d", c.name, took, queries, c.took, c.queries)
		}
	}
}

// A pass takes as long as it should, whatever the settings are, if there is time enough for the work.
func TestPassProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		settings := config.Sweep{
			Duration:       time.Duration(rapid.Int64Range(int64(time.Second), int64(30*day)).Draw(t, "duration")),
			BlocksPerQuery: rapid.IntRange(1, 1000).Draw(t, "blocks"),
			Beat:           time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Second)).Draw(t, "beat")),
		}
		pages := rapid.Int64Range(0, 100_000).Draw(t, "pages")
		took, queries := pass(settings, pages, 0)
		if off := took - settings.Duration; off > 0 || off < -shortestNap-time.Millisecond {
			t.Errorf("it takes %v", took)
		}
		if queries > 1 && settings.Duration/time.Duration(queries) < settings.Beat {
			t.Errorf("there are %d queries", queries)
		}
	})
}

// A late query is made up for by shorter pauses, but not for ever.
func TestLag(t *testing.T) {
	t.Parallel()
	const pages = 7 * 24 * 60 * 40 // a query a minute
	p := pace{Sweep: usual, latest: start}
	if pause := p.pause(start.Add(20*time.Second), pages); pause != 40*time.Second {
		t.Errorf("the pause is %v", pause)
	}
	late := start.Add(110 * time.Second)
	if pause := p.pause(late, pages); pause != 0 {
		t.Errorf("the pause of somebody who is late is %v", pause)
	}
	p.goOn(late, pages)
	if pause := p.pause(late, pages); pause != 10*time.Second {
		t.Errorf("the next pause is %v", pause)
	}
	late = start.Add(day)
	p.goOn(late, pages)
	if pause := p.pause(late, pages); pause != time.Minute {
		t.Errorf("the pause of somebody who has been away is %v", pause)
	}
	if pause := p.pause(late.Add(time.Minute-shortestNap+1), pages); pause != 0 {
		t.Errorf("the shortest pause is %v", pause)
	}
	if pause := p.pause(late.Add(time.Minute-shortestNap), pages); pause != shortestNap {
		t.Errorf("the shortest pause is %v", pause)
	}
}

// A table that has grown meanwhile is looked at earlier.
func TestGrowth(t *testing.T) {
	t.Parallel()
	p := pace{Sweep: usual, latest: start}
	if pause := p.pause(start, 1); pause != 7*day {
		t.Errorf("the pause is %v", pause)
	}
	if pause := p.pause(start.Add(longestNap), 7*24*40); pause != 45*time.Minute {
		t.Errorf("the pause is %v", pause)
	}
}
