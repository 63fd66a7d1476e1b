package fetcher

import (
	"slices"
	"sync"

	"github.com/circular-trade/circular-trade/internal/currency"
)

// An agenda holds fetches that wait for a slot. Hosts take turns, and none of them has more than so many fetches going
// on at the same time.
type agenda struct {
	perHost int // most fetches that go on at the same time
	busy    int // a host with so many waiting fetches needs no more
	hungry  int // with fewer fetches than that, which could start if there were slots, more are needed
	changed chan struct{}

	mu        sync.Mutex
	available sync.Cond // for those who wait for a fetch
	hosts     map[string]*host
	turns     []*host // those that have fetches waiting, and not too many going on
	waiting   int     // in all
	startable int     // of these, those of hosts in turns
	finished  bool    // there will be no more
	stopped   bool    // those that are there are not to be started any more
}

type host struct {
	waiting []currency.Fetch
	active  int
	inTurns bool
}

func newAgenda(perHost, busy, hungry int) *agenda {
	a := &agenda{
		perHost: perHost, busy: busy, hungry: hungry, changed: make(chan struct{}, 1), hosts: map[string]*host{},
	}
	a.available.L = &a.mu
	return a
}

// add puts fetches on the agenda.
func (a *agenda) add(fetches []currency.Fetch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range fetches {
		name := fetches[i].Host
		h := a.hosts[name]
		if h == nil {
			h = &host{}
			a.hosts[name] = h
		}
		h.waiting = append(h.waiting, fetches[i])
		a.waiting++
		if h.inTurns {
			a.startable++
		}
		a.enqueue(h)
	}
	a.available.Broadcast()
}

// enqueue gives a host a turn, if it can use one.
func (a *agenda) enqueue(h *host) {
	if h.inTurns || len(h.waiting) == 0 || h.active >= a.perHost {
		return
	}
	h.inTurns = true
	a.turns = append(a.turns, h)
	a.startable += len(h.waiting)
}

// next waits for a fetch that may start now, and returns it. The caller has to call done when it is over. It is not ok
// if there are no more fetches, or none is to be started any more.
func (a *agenda) next() (f currency.Fetch, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.turns) == 0 && !a.stopped && !(a.finished && a.waiting == 0) {
		a.available.Wait()
	}
	if a.stopped || len(a.turns) == 0 {
		return f, false
	}
	h := a.turns[0]
	a.turns = slices.Delete(a.turns, 0, 1)
	h.inTurns = false
	a.startable -= len(h.waiting)
	f, h.waiting = h.waiting[0], h.waiting[1:]
	a.waiting--
	h.active++
	a.enqueue(h)
	a.signal()
	return f, true
}

// done tells that a fetch is over.
func (a *agenda) done(f *currency.Fetch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hosts[f.Host]
	h.active--
	if h.active == 0 && len(h.waiting) == 0 {
		delete(a.hosts, f.Host)
	}
	a.enqueue(h)
	if a.finished && a.waiting == 0 {
		a.available.Broadcast()
	} else {
		a.available.Signal()
	}
}

// finish tells that no more fetches will be added.
func (a *agenda) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finished = true
	a.available.Broadcast()
}

// stop has no more fetches started.
func (a *agenda) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	a.available.Broadcast()
}

// rest returns the fetches that have not been started.
func (a *agenda) rest() []currency.Fetch {
	a.mu.Lock()
	defer a.mu.Unlock()
	var fetches []currency.Fetch
	for _, h := range a.hosts {
		fetches = append(fetches, h.waiting...)
	}
	return fetches
}

// isHungry reports whether slots will soon be empty unless fetches are added.
func (a *agenda) isHungry() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.startable < a.hungry
}

// busyHosts returns the hosts that need no more fetches.
func (a *agenda) busyHosts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for name, h := range a.hosts {
		if len(h.waiting) >= a.busy {
			names = append(names, name)
		}
	}
	return names
}

// areBusy reports whether all of some hosts still need no more fetches.
func (a *agenda) areBusy(names []string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool {
		h := a.hosts[name]
		return h == nil || len(h.waiting) < a.busy
	})
}

// signal tells the feed that things have changed.
func (a *agenda) signal() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}
