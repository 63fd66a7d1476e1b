package demo

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestServerFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		turns := rapid.IntRange(1, 4).Draw(t, "turns")
		kind := rapid.SampledFrom([]serverKind{postgresServer, brokerServer}).Draw(t, "kind")
		pace := pace{phase1: 4 * time.Second, phase2: 15 * time.Second}
		faults := serverFaults(seed, kind, turns, pace)
		if again := serverFaults(seed, kind, turns, pace); !slices.Equal(faults, again) {
			t.Fatalf("%+v, then %+v", faults, again)
		}
		if len(faults) < 1 || len(faults) > 2 {
			t.Fatalf("%d faults", len(faults))
		}
		if !slices.ContainsFunc(faults, func(f serverFault) bool { return !f.orderly }) {
			t.Fatal("the server is never killed")
		}
		for i, f := range faults {
			if !slices.Contains(stages(turns), f.stage) || f.delay < 0 || f.delay >= pace.length(f.stage) || f.away < 0 {
				t.Fatalf("%+v", f)
			}
			if i > 0 && faults[i-1].stage.after(f.stage) {
				t.Fatalf("they are out of order: %+v", faults)
			}
		}
	})
}

// Over some seeds, everything happens that can happen, and what happens to one server does not tell what happens to the
// other one.
func TestServerFaultsDiffer(t *testing.T) {
	t.Parallel()
	moments, orderly, alike := map[stage]bool{}, map[bool]bool{}, 0
	const seeds = 100
	for seed := range uint64(seeds) {
		pace := pace{phase1: 4 * time.Second, phase2: 15 * time.Second}
		a, b := serverFaults(seed, postgresServer, 2, pace), serverFaults(seed, brokerServer, 2, pace)
		for _, f := range a {
			moments[f.stage], orderly[f.orderly] = true, true
		}
		if a[0].stage == b[0].stage {
			alike++
		}
	}
	if len(moments) != len(stages(2)) || len(orderly) != 2 || alike > seeds/2 {
		t.Errorf("at %v, orderly: %v, alike: %d of %d", moments, orderly, alike, seeds)
	}
}

func TestKills(t *testing.T) {
	t.Parallel()
	victims := []string{"a", "b", "c"}
	one, same, other := newKills(1, victims), newKills(1, victims), newKills(2, victims)
	differ, seen := false, map[string]bool{}
	for range 100 {
		pause, victim := one.next()
		if p, v := same.next(); p != pause || v != victim {
			t.Fatalf("the same seed kills %s after %v, then %s after %v", victim, pause, v, p)
		}
		if p, v := other.next(); p != pause || v != victim {
			differ = true
		}
		if pause < 200*time.Millisecond || pause > 2*time.Second {
			t.Errorf("after %v", pause)
		}
		seen[victim] = true
	}
	if !differ || len(seen) != len(victims) {
		t.Errorf("another seed kills otherwise: %v; killed: %v", differ, seen)
	}
}

// A stage that was too short to be seen has begun, too.
func TestGates(t *testing.T) {
	t.Parallel()
	tr := &trouble{gates: map[stage]chan struct{}{}}
	for _, s := range stages(2) {
		tr.gates[s] = make(chan struct{})
	}
	now := stage{turn: 1, part: moving}
	tr.enter(now)
	tr.enter(now)
	for _, s := range stages(2) {
		begun := false
		select {
		case <-tr.gates[s]:
			begun = true
		default:
		}
		if begun == s.after(now) {
			t.Errorf("in %+v, %+v has begun: %v", now, s, begun)
		}
	}
}

// Should what workers do about results have been too quick to be seen, the fault comes a little later.
func TestAwaitResultsDoesNotWaitForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		moves := make(chan struct{})
		tr := &trouble{stores: &stores{}, gates: map[stage]chan struct{}{{turn: 1, part: moving}: moves}}
		time.AfterFunc(time.Hour, func() { close(moves) })
		started := time.Now()
		if !tr.awaitResults(t.Context(), 1) {
			t.Fatal("it has not waited for results")
		}
		if late := time.Since(started) - time.Hour; late < time.Second || late > 10*time.Second {
			t.Errorf("it has waited for %v of the time when the tokens moved", late)
		}
	})
}

func TestAwaitResultsEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (&trouble{stores: &stores{}}).awaitResults(ctx, 1) {
		t.Error("results have come that nobody has published")
	}
}
