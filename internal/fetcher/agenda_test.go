package fetcher

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/currency"
)

func fetchFrom(host string, n int) currency.Fetch {
	return currency.Fetch{IRI: fmt.Sprintf("https://%s/%d", host, n), Host: host}
}

func mustNext(t *testing.T, a *agenda, want currency.Fetch) {
	t.Helper()
	if got, ok := a.next(); !ok || got != want {
		t.Fatalf("got %v, %t, want %v", got, ok, want)
	}
}

// Hosts take turns, and none has more than its share.
func TestTurns(t *testing.T) {
	t.Parallel()
	a := newAgenda(2, 3, 2)
	a.add([]currency.Fetch{fetchFrom("a", 1), fetchFrom("a", 2), fetchFrom("a", 3), fetchFrom("a", 4), fetchFrom("b", 1), fetchFrom("c", 1)})
	if got := a.busyHosts(); !slices.Equal(got, []string{"a"}) || !a.areBusy(got) || a.areBusy([]string{"a", "b"}) || a.areBusy([]string{"x"}) {
		t.Errorf("busy are %v", got)
	}
	mustNext(t, a, fetchFrom("a", 1))
	mustNext(t, a, fetchFrom("b", 1))
	mustNext(t, a, fetchFrom("c", 1))
	if a.isHungry() {
		t.Error("it is hungry with three fetches to start")
	}
	mustNext(t, a, fetchFrom("a", 2))
	if !a.isHungry() {
		t.Error("it is not hungry with nothing to start")
	}
	a.finish()
	third := make(chan currency.Fetch)
	go func() {
		f, _ := a.next()
		third <- f
	}()
	select {
	case f := <-third:
		t.Fatalf("there are three fetches from one host: %v", f)
	default:
	}
	a.done(new(fetchFrom("b", 1)))
	a.done(new(fetchFrom("a", 2)))
	if f := <-third; f != fetchFrom("a", 3) {
		t.Errorf("got %v", f)
	}
	a.done(new(fetchFrom("a", 1)))
	mustNext(t, a, fetchFrom("a", 4))
	if f, ok := a.next(); ok {
		t.Errorf("got %v", f)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	a := newAgenda(1, 1, 1)
	a.add([]currency.Fetch{fetchFrom("a", 1), fetchFrom("a", 2), fetchFrom("b", 1)})
	mustNext(t, a, fetchFrom("a", 1))
	a.stop()
	if f, ok := a.next(); ok {
		t.Errorf("got %v", f)
	}
	if rest := a.rest(); len(rest) != 2 {
		t.Errorf("left are %v", rest)
	}
}

// Whatever is added by anybody, each fetch comes out once, and no host gets more than its share.
func TestAgenda(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		perHost := rapid.IntRange(1, 3).Draw(rt, "fetches per host")
		slots := rapid.IntRange(1, 5).Draw(rt, "slots")
		hosts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 40).Draw(rt, "hosts")
		a := newAgenda(perHost, 5, 5)
		var mu sync.Mutex
		var group sync.WaitGroup
		seen, active := map[string]int{}, map[string]int{}
		for range slots {
			group.Go(func() {
				for f, ok := a.next(); ok; f, ok = a.next() {
					mu.Lock()
					seen[f.IRI]++
					active[f.Host]++
					if active[f.Host] > perHost {
						rt.Errorf("there are %d fetches from %s", active[f.Host], f.Host)
					}
					mu.Unlock()
					mu.Lock()
					active[f.Host]--
					mu.Unlock()
					a.done(&f)
				}
			})
		}
		for i, host := range hosts {
			a.add([]currency.Fetch{fetchFrom(host, i)})
		}
		a.finish()
		group.Wait()
		for iri, n := range seen {
			if n != 1 {
				rt.Errorf("%s came out %d times", iri, n)
			}
		}
		if len(seen) != len(hosts) || a.startable != 0 || a.waiting != 0 || len(a.hosts) != 0 {
			rt.Errorf("%d of %d came out; %+v", len(seen), len(hosts), a)
		}
	})
}
