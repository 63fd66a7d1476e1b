package attempt

import (
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/interest"
)

const (
	// clockMargin is how far the clocks of workers and accounting authorities are assumed to be apart, at most.
	clockMargin = 10 * time.Minute

	// rateMargin is added to the instant of the latest known change of an interest rate, which may have been rounded.
	rateMargin = 2 * time.Second

	// maxElapsed bounds periods, so that sums of them do not overflow.
	maxElapsed = 100 * 365 * 24 * time.Hour

	// maxDoublings is how often the pause between two tries can double.
	maxDoublings = 31
)

// farFuture is the last instant that messages can tell of.
var farFuture = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// backoff returns the time to be granted to a try that follows on so many failures, in whole seconds: the healthy
// delay, doubled with each count, and at most 2³¹−1 seconds (section 4.2).
func backoff(healthyDelay time.Duration, counter int16) time.Duration {
	seconds := min(max(0, int64(healthyDelay/time.Second)), math.MaxInt32)
	return time.Duration(min(seconds<<min(counter, maxDoublings), math.MaxInt32)) * time.Second
}

// incremented returns the counter after one more failure. The first one counts threefold, so that in a congestion the
// time between tries outgrows their number from the start (section 4.2).
func incremented(counter int16) int16 {
	if counter < 3 {
		return 3
	}
	return min(counter, math.MaxInt16-1) + 1
}

// amountLeft returns how many tokens to transfer, of a nominal amount, if that happens within a period at an interest
// rate (percent per year), and the collector keeps a fraction (section 4.4, step 3).
func amountLeft(nominal, rate float64, period time.Duration, cut float64) int64 {
	left := float64(nominal * demurrage.Remaining(rate, period))
	return demurrage.Contain(math.Floor(float64(left * (1 - cut))))
}

// rates are the interest rates on a collector's account, as far as they matter to the attempts of a batch.
type rates struct {
	current interest.Change
	changes []interest.Change // newest first
}

// worst returns the worst interest rate since some instant (percent per year, at most zero), and the instant until
// which changes of the rate have been taken into account (section 4.4, step 2). If nothing is known of the account,
// because r is nil, the rate is zero.
func (r *rates) worst(since time.Time) (rate float64, until time.Time, known bool) {
	if r == nil {
		return 0, time.Time{}, false
	}
	rate, latest := interest.Worst(r.current, r.changes, since)
	until = latest.Add(rateMargin)
	if until.After(farFuture) {
		until = farFuture
	}
	return min(rate, 0), until, true
}
