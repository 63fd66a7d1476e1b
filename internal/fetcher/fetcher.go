package fetcher

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/grace"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Downloader downloads documents. A [*fetch.Client] is one.
type Downloader interface {
	Get(ctx context.Context, iri string) ([]byte, error)
}

// Config says what a [Fetcher] works with.
type Config struct {
	DB         *workerdb.DB
	Rules      *currency.Rules
	Downloader Downloader

	Connections     int           // downloads at the same time
	HostConnections int           // downloads from one host at the same time
	Timeout         time.Duration // longest time that a download takes
	Burst           int           // fetches that are taken from the queue at a time, or handed in

	// Period is the time from the start of one look at the queue to the start of the next one, if there is no other
	// reason for looking.
	Period time.Duration
	// Listener tells of commits that put fetches into the queue. Nil: only the period counts.
	Listener *postgres.Listener

	Now    func() time.Time
	Random func() float64 // numbers from 0 up to, but not including, 1

	Metrics *Metrics
	Logger  *slog.Logger
}

// A Fetcher does the fetches that are due. Any number of fetchers can work on the same queue.
type Fetcher struct{ config Config }

// New returns a fetcher.
func New(config Config) *Fetcher { return &Fetcher{config} }

const (
	// maxWait is how long a fetch may wait for a slot after it has been taken from the queue. Then it is left alone,
	// until its turn comes again.
	maxWait = 30 * time.Second
	// slack is the time that is left for handing in a result before others may take the fetch from the queue.
	slack = 20 * time.Second

	// When a fetcher is asked to end, so long may last what has begun to be handed in, and then to be given back.
	recordingPatience = 3 * time.Second
	releasePatience   = 2 * time.Second
)

// Run does fetches until the context is done, and then returns nil, within 5 seconds. Downloads that are going on are
// aborted, and are due again at once. It fails when the database fails.
func (f *Fetcher) Run(ctx context.Context) error { return f.run(ctx, false) }

// RunOnce does all fetches that are due, once, and returns.
func (f *Fetcher) RunOnce(ctx context.Context) error { return f.run(ctx, true) }

// A shift is what a fetcher does from its start to its end.
type shift struct {
	Config
	once    bool
	agenda  *agenda
	results chan currency.Result
	deaf    chan struct{} // closed when nobody takes results any more

	mu      sync.Mutex
	aborted []currency.Fetch
}

func (f *Fetcher) run(ctx context.Context, once bool) error {
	half := f.config.Burst / 2 // of a burst is left when the next one is taken
	s := &shift{
		Config:  f.config,
		once:    once,
		agenda:  newAgenda(f.config.HostConnections, half+f.config.HostConnections, half+f.config.Connections),
		results: make(chan currency.Result, f.config.Burst),
		deaf:    make(chan struct{}),
	}
	recording, cancel := grace.Period(ctx, recordingPatience)
	defer cancel()
	group, working := errgroup.WithContext(ctx)
	stopped := context.AfterFunc(working, s.agenda.stop)
	defer stopped()
	group.Go(func() error { return s.feed(working) })
	group.Go(func() error {
		s.fillSlots(working)
		return nil
	})
	group.Go(func() error { return s.record(recording) })
	err := group.Wait()
	s.release(ctx)
	if ctx.Err() != nil {
		return nil // whatever has failed, it may have been because of that
	}
	return err
}

// now returns the present in whole microseconds: PostgreSQL does not keep more.
func (s *shift) now() time.Time { return s.Now().Truncate(time.Microsecond) }

// feed takes fetches from the queue and puts them on the agenda.
func (s *shift) feed(ctx context.Context) error {
	defer s.agenda.finish()
	var commits <-chan struct{}
	if s.Listener != nil {
		var cancel func()
		commits, cancel = s.Listener.Subscribe(currency.Topic)
		defer cancel()
	}
	for {
		next := time.Now().Add(s.Period)
		busy := s.agenda.busyHosts()
		more, err := s.take(ctx, busy)
		switch {
		case ctx.Err() != nil:
			return nil // that is the reason, if anything has failed
		case err != nil:
			return err
		case more:
			s.waitUntil(ctx, s.agenda.isHungry, nil, nil)
		case s.once && len(busy) == 0:
			return nil
		default:
			freed := func() bool { return len(busy) > 0 && !s.agenda.areBusy(busy) }
			s.waitUntil(ctx, freed, commits, time.After(time.Until(next)))
		}
	}
}

// waitUntil waits until a condition holds that has to do with the agenda, a signal comes, or the context is done.
func (s *shift) waitUntil(ctx context.Context, condition func() bool, commits <-chan struct{}, timer <-chan time.Time) {
	for !condition() {
		select {
		case <-s.agenda.changed:
		case <-commits:
			return
		case <-timer:
			return
		case <-ctx.Done():
			return
		}
	}
}

// take takes a burst of fetches from the queue, and reports whether there may be more.
func (s *shift) take(ctx context.Context, busyHosts []string) (more bool, err error) {
	var taken currency.Taken
	err = s.DB.InReadCommittedTx(ctx, "take_fetches", func(ctx context.Context, tx *workerdb.Tx) (err error) {
		// Should the server crash and forget the commit, the fetches are due again.
		if err := tx.CommitLazily(ctx); err != nil {
			return fmt.Errorf("choosing how to commit: %w", err)
		}
		now := s.now()
		leasedUntil := now.Add(maxWait + s.Timeout + slack).Truncate(time.Microsecond)
		taken, err = s.Rules.Take(ctx, tx, now, leasedUntil, s.Burst, busyHosts)
		return err
	})
	if err != nil {
		return false, err
	}
	s.Metrics.count(outcomeCached, taken.Cached)
	s.Metrics.count(outcomeLeftOver, taken.LeftOver)
	s.agenda.add(taken.Fetches)
	return taken.More, nil
}

// fillSlots does what is on the agenda, until there is nothing left.
func (s *shift) fillSlots(ctx context.Context) {
	defer close(s.results)
	var slots sync.WaitGroup
	for range s.Connections {
		slots.Go(func() {
			for {
				if ctx.Err() != nil {
					s.agenda.stop() // at once, and not when the context gets round to it
				}
				f, ok := s.agenda.next()
				if !ok {
					return
				}
				s.do(ctx, f)
				s.agenda.done(&f)
			}
		})
	}
	slots.Wait()
}

// do does a fetch, unless it is too late for that.
func (s *shift) do(ctx context.Context, f currency.Fetch) {
	if s.Now().After(f.LeasedUntil.Add(-s.Timeout - slack)) {
		s.Metrics.count(outcomeDelayed, 1)
		return
	}
	outcome, label := s.download(ctx, &f)
	if outcome.Document == nil && ctx.Err() != nil {
		s.abort(f)
		label = outcomeAborted
	} else {
		select {
		case s.results <- currency.Result{Fetch: f, Outcome: outcome}:
		case <-s.deaf:
			s.abort(f)
		}
	}
	s.Metrics.count(label, 1)
}

func (s *shift) abort(f currency.Fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = append(s.aborted, f)
}

// record hands in results, as many at a time as have come together.
func (s *shift) record(ctx context.Context) error {
	defer close(s.deaf)
	for first := range s.results {
		batch := []currency.Result{first}
		for len(batch) < s.Burst && len(s.results) > 0 {
			batch = append(batch, <-s.results)
		}
		if err := s.settle(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *shift) settle(ctx context.Context, batch []currency.Result) error {
	var settled currency.Settled
	err := s.DB.InReadCommittedTx(ctx, "settle_fetches", func(ctx context.Context, tx *workerdb.Tx) (err error) {
		// Should the server crash and forget the commit, nothing has happened, and the fetches are done again.
		if err := tx.CommitLazily(ctx); err != nil {
			return fmt.Errorf("choosing how to commit: %w", err)
		}
		settled, err = s.Rules.Settle(ctx, tx, s.now(), s.Random, batch)
		return err
	})
	if err == nil {
		s.Metrics.settled(settled)
	}
	return err
}

// release gives back what has been taken from the queue and not been handed in. If that fails, it is due again somewhat
// later.
func (s *shift) release(ctx context.Context) {
	left := append(s.agenda.rest(), s.aborted...)
	if len(left) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	err := s.DB.InReadCommittedTx(ctx, "release_fetches", func(ctx context.Context, tx *workerdb.Tx) error {
		return s.Rules.Release(ctx, tx, s.now(), left)
	})
	if err != nil {
		s.Logger.WarnContext(ctx, "fetches that have not been done could not be given back; they are due in a minute",
			slog.Int("fetches", len(left)), slog.Any("error", err))
	}
}
