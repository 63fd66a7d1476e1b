package demurrage

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const day = 24 * time.Hour

func TestLogPerSecond(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]float64{
		-50: -2.1964508725630127e-08,
		-20: -7.070992449178952e-09,
		5:   1.5460670066618516e-09,
	} {
		if got := logPerSecond(rate); !near(got, want) {
			t.Errorf("logPerSecond(%v) = %v, want %v", rate, got, want)
		}
	}
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate  float64
		after time.Duration
		want  float64
	}{
		{-50, 30 * day, 0.9446582976965447},
		{-50, 60 * day, 0.8923792994069338},
		{-10, secondsInYear * time.Second, 0.9},
		{-20, 2603400 * time.Second, 0.98175978199154},
		{50, 30 * day, 1},
		{-50, -30 * day, 1},
		{-50, 0, 1},
		{-99.99995, 0, 0},
		{-100, day, 0},
		{-99.9, math.MaxInt64, 0},
	} {
		got := Remaining(c.rate, c.after)
		if exact := c.want == 0 || c.want == 1; exact && got != c.want && got > 1e-300 || !near(got, c.want) {
			t.Errorf("Remaining(%v, %v) = %v, want %v", c.rate, c.after, got, c.want)
		}
	}
}

func near(a, b float64) bool {
	return math.Abs(a-b) <= 1e-14*math.Max(math.Abs(b), 1e-250)
}

func TestRemainingShrinks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.Float64Range(-100, 10)
		times := rapid.Int64Range(0, int64(400*day))
		rate, worse := rates.Draw(t, "rate"), rates.Draw(t, "worse rate")
		after, later := time.Duration(times.Draw(t, "time")), time.Duration(times.Draw(t, "later time"))
		if worse > rate {
			rate, worse = worse, rate
		}
		if later < after {
			after, later = later, after
		}
		best, worst := Remaining(rate, after), Remaining(worse, later)
		if !(0 <= worst && worst <= best && best <= 1) {
			t.Errorf("%v at %v %% after %v, %v at %v %% after %v", best, rate, after, worst, worse, later)
		}
	})
}

func TestContain(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]int64{
		0: 0, 1.9: 1, -1.9: -1,
		1 << 62: 1 << 62, -1 << 62: -1 << 62,
		math.Nextafter(1<<63, 0): 1<<63 - 1024,
		1 << 63:                  math.MaxInt64,
		math.Inf(1):              math.MaxInt64,
		-1 << 63:                 -math.MaxInt64,
		math.Inf(-1):             -math.MaxInt64,
	} {
		if got := Contain(value); got != want {
			t.Errorf("Contain(%v) = %d, want %d", value, got, want)
		}
	}
	if got := Contain(math.NaN()); got != 0 {
		t.Errorf("Contain(NaN) = %d", got)
	}
}
