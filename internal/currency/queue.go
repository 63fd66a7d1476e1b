package currency

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Fetch is a fetch that somebody has taken from the queue, to be done until an instant. Afterwards, others may take
// it.
type Fetch struct {
	IRI         string
	DebtorID    swpt.DebtorID
	ForcedIRI   string // to be downloaded instead; empty: there is none
	Host        string // of what is to be downloaded
	LeasedUntil time.Time
}

// Target returns what is to be downloaded.
func (f *Fetch) Target() string { return target(f.IRI, f.ForcedIRI) }

// An Outcome is what has become of a fetch.
type Outcome struct {
	Document *coininfo.Document // nil: the fetch has failed
	Status   int16              // of a fetch that has failed: of the HTTP answer, or 0
	Hopeless bool               // the fetch has failed, and always will
}

// A Result is a fetch with its outcome.
type Result struct {
	Fetch
	Outcome
}

// Taken tells what has been taken from the queue.
type Taken struct {
	Fetches []Fetch // that are to be done now
	// Fetches that were not worth it, and are not in the queue any more: there is a document that is fresh enough; or
	// they are left over from the parent shard.
	Cached, LeftOver int
	More             bool // there may be more that are due
}

// Take takes fetches from the queue that are due, at most so many, except those from some hosts. The caller has them
// until leasedUntil, an instant in whole microseconds. Several callers can do this at the same time: they get different
// ones. The transaction is to be one that sees what others commit.
func (r *Rules) Take(
	ctx context.Context, tx *workerdb.Tx, now, leasedUntil time.Time, atMost int, busyHosts []string,
) (taken Taken, err error) {
	if busyHosts == nil {
		busyHosts = []string{}
	}
	rows, err := tx.LockDueFetches(ctx, workerdb.LockDueFetchesParams{
		Now: now, BusyHosts: busyHosts, AtMost: int64(atMost),
	})
	if err != nil {
		return taken, fmt.Errorf("looking for fetches that are due: %w", err)
	}
	cached, err := r.cachedDocuments(ctx, tx, rows, now)
	if err != nil {
		return taken, err
	}
	var s settlement
	var leased workerdb.PostponeFetchesParams
	for i := range rows {
		row := &rows[i]
		document := cached[row.IRI]
		switch {
		case !r.Realm.Match(shard.KeyOfString(row.IRI)):
			taken.LeftOver++
			s.done(row)
		case orZero(row.ForcedIRI) == "" && document != nil:
			taken.Cached++
			s.done(row, r.learn(row, document, false, now)...)
		default:
			leased.IRIs, leased.DebtorIDs = append(leased.IRIs, row.IRI), append(leased.DebtorIDs, int64(row.DebtorID))
			taken.Fetches = append(taken.Fetches, Fetch{
				IRI: row.IRI, DebtorID: row.DebtorID, ForcedIRI: orZero(row.ForcedIRI),
				Host: row.Host, LeasedUntil: leasedUntil,
			})
		}
	}
	taken.More = len(rows) == atMost
	if len(leased.IRIs) > 0 {
		leased.Until = leasedUntil
		if err := tx.PostponeFetches(ctx, leased); err != nil {
			return taken, fmt.Errorf("taking %d fetches from the queue: %w", len(leased.IRIs), err)
		}
	}
	return taken, s.write(ctx, tx, now)
}

// cachedDocuments returns stored documents that save fetching them, by their locators.
func (r *Rules) cachedDocuments(
	ctx context.Context, tx *workerdb.Tx, rows []workerdb.DebtorInfoFetch, now time.Time,
) (map[string]*coininfo.Document, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	iris := make([]string, len(rows))
	for i := range rows {
		iris[i] = rows[i].IRI
	}
	found, err := tx.FindDocuments(ctx, iris)
	if err != nil {
		return nil, fmt.Errorf("looking for stored documents: %w", err)
	}
	cached := make(map[string]*coininfo.Document, len(found))
	for i := range found {
		if !r.Expired(&found[i], now) {
			cached[found[i].DebtorInfoLocator] = stored(&found[i])
		}
	}
	return cached, nil
}

// learn returns what a document has to say to others, if it is what the fetch is for.
func (r *Rules) learn(
	f *workerdb.DebtorInfoFetch, d *coininfo.Document, fresh bool, now time.Time,
) (messages []smp.Outgoing) {
	if f.IsDiscoveryFetch && f.DebtorID == d.DebtorID {
		messages = append(messages, &smp.ConfirmDebtor{DebtorID: d.DebtorID, DebtorInfoLocator: d.Locator, TS: now})
	}
	if !f.IsLocatorFetch || f.IRI != d.Locator {
		return messages
	}
	if f.DebtorID == d.DebtorID && d.Peg != nil && int(f.RecursionLevel) < r.MaxDistanceToBase {
		level := int32(f.RecursionLevel) + 1
		messages = append(messages, locatorFetch(d.Peg.Locator, d.Peg.DebtorID, level, now))
	}
	if fresh {
		messages = append(messages, storeDocument(d, now))
	}
	return messages
}

// Settled tells what has become of results.
type Settled struct {
	Done      int // with a document, or without any hope; they are not in the queue any more
	Postponed int // they will be due again after a pause
	GivenUp   int // they have failed too often, and are not in the queue any more
	Repeated  int // meanwhile, something else is to be downloaded; they are due again at once
	Lost      int // somebody else has taken them over, or they are not in the queue any more
}

// Settle hands in the results of fetches that have been taken from the queue. What has been asked for meanwhile is
// taken into account. Random numbers are from 0 up to, but not including, 1. The transaction is to be one that sees
// what others commit.
func (r *Rules) Settle(
	ctx context.Context, tx *workerdb.Tx, now time.Time, random func() float64, results []Result,
) (settled Settled, err error) {
	byKey := make(map[fetchKey]*Result, len(results))
	var p workerdb.LockLeasedFetchesParams
	for i := range results {
		f := &results[i]
		byKey[fetchKey{f.IRI, f.DebtorID}] = f
		p.IRIs = append(p.IRIs, f.IRI)
		p.DebtorIDs = append(p.DebtorIDs, int64(f.DebtorID))
		p.LeasedUntil = append(p.LeasedUntil, f.LeasedUntil)
	}
	rows, err := tx.LockLeasedFetches(ctx, p)
	if err != nil {
		return settled, fmt.Errorf("looking for %d fetches that have been done: %w", len(results), err)
	}
	var s settlement
	for i := range rows {
		row := &rows[i]
		result := byKey[fetchKey{row.IRI, row.DebtorID}]
		switch {
		case orZero(row.ForcedIRI) != result.ForcedIRI:
			settled.Repeated++
			s.again(row)
		case result.Document != nil:
			settled.Done++
			s.done(row, r.learn(row, result.Document, true, now)...)
		case result.Hopeless:
			settled.Done++
			s.done(row)
		default:
			pause, worthIt := r.pause(row.AttemptsCount, random())
			if worthIt {
				settled.Postponed++
				s.failed(row, result.Status, now.Add(pause).Truncate(time.Microsecond))
			} else {
				settled.GivenUp++
				s.done(row)
			}
		}
	}
	settled.Lost = len(results) - len(rows)
	return settled, s.write(ctx, tx, now)
}

const (
	firstPauseSeconds = 60
	maxDoublings      = 100
	maxAttempts       = 32767 // a SMALLINT
)

// pause returns how long a fetch rests that has failed, and had failed some times before: each time about twice as
// long. When that gets too long, it is not worth it any more.
func (r *Rules) pause(failures int16, random float64) (pause time.Duration, worthIt bool) {
	seconds := math.Ldexp(firstPauseSeconds, min(int(failures), maxDoublings))
	if seconds >= r.DocumentExpiry.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * (0.5 + random/2) * float64(time.Second)), true
}

// Release gives fetches back that have been taken from the queue and not been done: others can take them at once.
func (r *Rules) Release(ctx context.Context, tx *workerdb.Tx, now time.Time, fetches []Fetch) error {
	var p workerdb.LockLeasedFetchesParams
	for i := range fetches {
		p.IRIs = append(p.IRIs, fetches[i].IRI)
		p.DebtorIDs = append(p.DebtorIDs, int64(fetches[i].DebtorID))
		p.LeasedUntil = append(p.LeasedUntil, fetches[i].LeasedUntil)
	}
	rows, err := tx.LockLeasedFetches(ctx, p)
	if err != nil {
		return fmt.Errorf("looking for %d fetches that have not been done: %w", len(fetches), err)
	}
	var s settlement
	for i := range rows {
		s.again(&rows[i])
	}
	return s.write(ctx, tx, now)
}

// A settlement is what is to be written about fetches.
type settlement struct {
	gone     workerdb.DeleteFetchesParams
	retried  workerdb.RescheduleFetchesParams
	dueAgain workerdb.PostponeFetchesParams
	messages []smp.Outgoing
}

// done takes a fetch from the queue, with what there is to say.
func (s *settlement) done(row *workerdb.DebtorInfoFetch, messages ...smp.Outgoing) {
	s.gone.IRIs, s.gone.DebtorIDs = append(s.gone.IRIs, row.IRI), append(s.gone.DebtorIDs, int64(row.DebtorID))
	s.messages = append(s.messages, messages...)
}

// again has a fetch due at once.
func (s *settlement) again(row *workerdb.DebtorInfoFetch) {
	s.dueAgain.IRIs = append(s.dueAgain.IRIs, row.IRI)
	s.dueAgain.DebtorIDs = append(s.dueAgain.DebtorIDs, int64(row.DebtorID))
}

// failed has a fetch due later.
func (s *settlement) failed(row *workerdb.DebtorInfoFetch, status int16, next time.Time) {
	s.retried.IRIs = append(s.retried.IRIs, row.IRI)
	s.retried.DebtorIDs = append(s.retried.DebtorIDs, int64(row.DebtorID))
	s.retried.AttemptsCounts = append(s.retried.AttemptsCounts, min(row.AttemptsCount, maxAttempts-1)+1)
	s.retried.Statuses = append(s.retried.Statuses, status)
	s.retried.NextAttempts = append(s.retried.NextAttempts, next)
}

func (s *settlement) write(ctx context.Context, tx *workerdb.Tx, now time.Time) error {
	if len(s.gone.IRIs) > 0 {
		if err := tx.DeleteFetches(ctx, s.gone); err != nil {
			return fmt.Errorf("removing %d fetches from the queue: %w", len(s.gone.IRIs), err)
		}
	}
	if len(s.retried.IRIs) > 0 {
		s.retried.Now = now
		if err := tx.RescheduleFetches(ctx, s.retried); err != nil {
			return fmt.Errorf("postponing %d fetches: %w", len(s.retried.IRIs), err)
		}
	}
	if len(s.dueAgain.IRIs) > 0 {
		s.dueAgain.Until = now
		if err := tx.PostponeFetches(ctx, s.dueAgain); err != nil {
			return fmt.Errorf("putting %d fetches back into the queue: %w", len(s.dueAgain.IRIs), err)
		}
		tx.NotifyOnCommit(Topic)
	}
	return outbox.Append(ctx, tx, s.messages...)
}
