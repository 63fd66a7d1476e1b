package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

func TestPauses(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		1: 0,
		2: 100 * time.Millisecond,
		3: 200 * time.Millisecond,
		4: 400 * time.Millisecond,
		8: 6400 * time.Millisecond,
		9: 10 * time.Second,
		// Far beyond what anybody sets, doubling does not overflow.
		1000: 10 * time.Second,
	} {
		if got := DefaultRetry.before(n, 0); got != want {
			t.Errorf("pause %d takes %v, want %v", n, got, want)
		}
		if got := DefaultRetry.before(n, 1); got != want/2 {
			t.Errorf("pause %d takes at least %v, want %v", n, got, want/2)
		}
	}
}

func TestPausesStayWithinLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		retry := Retry{
			Pause:    time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "pause")),
			MaxPause: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "max pause")),
		}
		n := rapid.IntRange(2, 100).Draw(t, "n")
		random := rapid.Float64Range(0, 1).Draw(t, "random")
		got := retry.before(n, random)
		if got > retry.MaxPause || got < min(retry.Pause, retry.MaxPause)/2 {
			t.Fatalf("%+v: pause %d with %v takes %v", retry, n, random, got)
		}
	})
}

func TestLostRace(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"40001": "serialization_failure",
		"40P01": "deadlock",
		"23505": "unique_violation",
		"23503": "",
		"57014": "",
	} {
		if got := lostRace(fmt.Errorf("inserting: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s is taken for %q, want %q", code, got, want)
		}
	}
	if got := lostRace(errors.New("40001")); got != "" {
		t.Errorf("another error is taken for %q", got)
	}
}
