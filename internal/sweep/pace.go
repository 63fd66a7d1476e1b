package sweep

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/config"
)

const (
	// longestNap is the time after which somebody who waits looks again how large the table is: a table that has been
	// small may have become large.
	longestNap = 15 * time.Minute

	// shortestNap is not worth the trouble. Shorter pauses are left out, and the following ones are longer for it.
	shortestNap = 10 * time.Millisecond

	// maxLag is how much of its lag a sweep makes up for. Whoever has been stopped for hours goes on at the usual pace.
	maxLag = time.Minute
)

// A pace tells how fast to go through a table, so that a pass takes the time it should, however large the table is: no
// slower, and not much faster.
type pace struct {
	config.Sweep
	latest time.Time // when the latest stretch should have been read
}

// stretch returns how many pages to read at a time. It is more than the setting says only if the table is so large that
// there would not be enough time in between.
func (p *pace) stretch(pages int64) int64 {
	queries := max(1, int64(p.Duration/p.Beat))
	return max(int64(p.BlocksPerQuery), ceil(pages, queries))
}

// pause returns how long to wait before the next stretch is read.
func (p *pace) pause(now time.Time, pages int64) time.Duration {
	pause := p.next(pages).Sub(now)
	if pause < shortestNap {
		return 0
	}
	return pause
}

// next returns when the next stretch should be read.
func (p *pace) next(pages int64) time.Time {
	stretches := max(1, ceil(pages, p.stretch(pages)))
	return p.latest.Add(p.Duration / time.Duration(stretches))
}

// goOn tells that the next stretch is being read.
func (p *pace) goOn(now time.Time, pages int64) {
	p.latest = p.next(pages)
	if lag := now.Sub(p.latest); lag > maxLag {
		p.latest = now
	}
}

func ceil(a, b int64) int64 {
	return (a + b - 1) / b
}
