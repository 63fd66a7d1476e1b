package attempt

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/interest"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		healthy time.Duration
		counter int16
		want    int64 // seconds
	}{
		{2 * hour, 0, 7200},
		{2 * hour, 3, 57600},
		{2 * hour, 4, 115200},
		{2 * hour, 18, 1887436800},
		{2 * hour, 19, 2147483647},
		{2 * hour, math.MaxInt16, 2147483647},
		{1999 * time.Millisecond, 5, 32},
		{time.Second, 30, 1 << 30},
		{time.Second, 31, 2147483647},
		{time.Second, 32, 2147483647},
		{999 * time.Millisecond, 31, 0},
		{0, 31, 0},
		{-hour, 31, 0},
		{math.MaxInt64, 0, 2147483647},
		{math.MaxInt64, math.MaxInt16, 2147483647},
	} {
		if got := backoff(c.healthy, c.counter); got != time.Duration(c.want)*time.Second {
			t.Errorf("backoff(%v, %d) = %v, want %d s", c.healthy, c.counter, got, c.want)
		}
	}
}

func TestIncremented(t *testing.T) {
	t.Parallel()
	for counter, want := range map[int16]int16{
		0: 3, 1: 3, 2: 3, 3: 4, 4: 5, math.MaxInt16 - 1: math.MaxInt16, math.MaxInt16: math.MaxInt16,
	} {
		if got := incremented(counter); got != want {
			t.Errorf("incremented(%d) = %d, want %d", counter, got, want)
		}
	}
}

func TestAmountLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		nominal, rate float64
		period        time.Duration
		cut           float64
		want          int64
	}{
		{1e9, -20, clockMargin + 30*day + 3*hour, 1e-8, 981759772},
		{11995, -20, clockMargin + 2*day + 7200*time.Second, 1e-5, 11979},
		{11995, -20, clockMargin + 2*day + 57600*time.Second, 1e-5, 11975},
		{1, 0, day, 1e-5, 0},
		{2, 0, day, 1e-5, 1},
		{2500, 0, day, 1e-5, 2499},
		{1e6, 0, day, 1e-5, 999990},
		{1e6, 5, day, 0, 1e6}, // positive interest does not count
		{1e6, -100, -day, 0, 0},
		{2500000, -5, 8885 * time.Second, 1e-5, 2499938}, // the worked example of the chapter about peers, section 9
		{math.MaxInt64, 0, 0, 0, math.MaxInt64},
		{math.MaxFloat64, 0, 0, 0, math.MaxInt64},
		{math.Inf(1), 0, 0, 0.5, math.MaxInt64},
		{math.Inf(1), -100, 0, 0, 0}, // which is not a number
		{math.NaN(), 0, 0, 0, 0},
	} {
		if got := amountLeft(c.nominal, c.rate, c.period, c.cut); got != c.want {
			t.Errorf("amountLeft(%v, %v, %v, %v) = %d, want %d", c.nominal, c.rate, c.period, c.cut, got, c.want)
		}
	}
}

// An amount is neither negative nor more than the nominal one, and waiting, lower rates, and cuts do not make it
// larger.
func TestAmountLeftShrinks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nominal := rapid.Float64Range(1, math.MaxInt64).Draw(t, "nominal amount")
		rate := rapid.Float64Range(-100, 0).Draw(t, "rate")
		period := time.Duration(rapid.Int64Range(-int64(day), math.MaxInt64).Draw(t, "period"))
		cut := rapid.Float64Range(0, 0.1).Draw(t, "cut")
		amount := amountLeft(nominal, rate, period, cut)
		if amount < 0 || float64(amount) > nominal {
			t.Fatalf("%d of %v", amount, nominal)
		}
		const rounding = 1e-12 // of exponentials
		for name, less := range map[string]int64{
			"later":       amountLeft(nominal, rate, period+min(day, math.MaxInt64-period), cut),
			"worse rate":  amountLeft(nominal, max(-100, rate-1), period, cut),
			"larger cut":  amountLeft(nominal, rate, period, cut+0.01),
			"less of all": amountLeft(nominal*0.99, rate, period, cut),
		} {
			if float64(less) > float64(amount)*(1+rounding)+1 {
				t.Fatalf("%s: %d, which is more than %d", name, less, amount)
			}
		}
	})
}

func TestWorstRate(t *testing.T) {
	t.Parallel()
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	history := []interest.Change{
		{At: ago(0), Rate: 5}, {At: ago(10), Rate: -10}, {At: ago(1000), Rate: -20}, {At: ago(2000), Rate: -30},
	}
	for name, c := range map[string]struct {
		rates *rates
		rate  float64
		until time.Time
		known bool
	}{
		"no account":       {nil, 0, time.Time{}, false},
		"positive":         {&rates{current: interest.Change{At: ago(1), Rate: 5}}, 0, ago(1).Add(2 * time.Second), true},
		"with a history":   {&rates{history[0], history}, -20, now.Add(2 * time.Second), true},
		"only the account": {&rates{current: interest.Change{At: ago(1), Rate: -5}}, -5, ago(1).Add(2 * time.Second), true},
		"end of time": {
			&rates{current: interest.Change{At: farFuture.Add(-time.Second), Rate: -5}}, -5, farFuture, true,
		},
	} {
		rate, until, known := c.rates.worst(ago(30))
		if rate != c.rate || !until.Equal(c.until) || known != c.known {
			t.Errorf("%s: %v until %v, %t; want %v until %v, %t", name, rate, until, known, c.rate, c.until, c.known)
		}
	}
}
