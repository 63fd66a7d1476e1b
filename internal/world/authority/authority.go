package authority

import (
	"math/rand/v2"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

// Settings say how an authority works (peers.md, sections 0, 8.3 and 8.4).
type Settings struct {
	Timing   Timing
	Traits   Traits
	Freedoms Freedoms
	Terms

	TTL       time.Duration // of AccountUpdates
	ConfigAge time.Duration // a ConfigureAccount older than this creates no account
}

// Terms are what an authority promises about transfers, and tells in each AccountUpdate.
type Terms struct {
	DemurrageRate        float64       // percent per year, −100 to 0: how fast what is locked may melt
	CommitPeriod         time.Duration // how long what is prepared can be committed, whole seconds
	TransferNoteMaxBytes int32         // 0 to 500
}

// ReferenceTerms returns the terms of the reference implementation.
func ReferenceTerms() Terms {
	return Terms{DemurrageRate: -50, CommitPeriod: 90 * 24 * time.Hour, TransferNoteMaxBytes: 500}
}

// DefaultSettings returns what the reference implementation has, with the given timing.
func DefaultSettings(timing Timing) Settings {
	const day = 24 * time.Hour
	return Settings{
		Timing:    timing,
		Terms:     ReferenceTerms(),
		TTL:       7 * day,
		ConfigAge: 7 * day,
	}
}

// Timing says how long an authority takes.
type Timing struct {
	Wait           time.Duration // requests, and credits, wait from 0 to this long, at random
	Scan           time.Duration // one pass over all accounts
	Heartbeat      time.Duration // an AccountUpdate is repeated after a silence of this length
	Reminder       time.Duration // a PreparedTransfer is repeated that often
	Capitalisation time.Duration // least time between two capitalisations of interest on an account
	Deletion       time.Duration // least time between two attempts to delete an account
	Purge          time.Duration // from the deletion of an account to the removal of its record
	PurgeAge       time.Duration // least age of an account whose record is removed
	RateSpacing    time.Duration // least time between two changes of the rate on an account
	RateLag        time.Duration // a new rate, or debtor info, reaches all accounts within this time
}

// Realistic returns the timing of the reference implementation.
func Realistic() Timing {
	const day = 24 * time.Hour
	return Timing{
		Wait:           2 * time.Second,
		Scan:           8 * time.Hour,
		Heartbeat:      7 * day,
		Reminder:       7 * day,
		Capitalisation: 14 * day,
		Deletion:       14 * day,
		Purge:          106 * day,
		PurgeAge:       3 * day,
		RateSpacing:    8 * day,
		RateLag:        26 * time.Hour,
	}
}

// Accelerated returns a timing for runs of minutes. The year, and what messages say about time, stays as it is.
func Accelerated() Timing {
	return Timing{
		Wait:           10 * time.Millisecond,
		Scan:           500 * time.Millisecond,
		Heartbeat:      5 * time.Second,
		Reminder:       5 * time.Second,
		Capitalisation: 10 * time.Second,
		Deletion:       2 * time.Second,
		Purge:          10 * time.Second,
		RateSpacing:    time.Minute,
		RateLag:        2 * time.Second,
	}
}

// An Authority keeps the accounts of some currencies. It belongs to one goroutine.
type Authority struct {
	settings Settings
	timeline *timeline.Timeline
	random   *rand.Rand
	send     func(smp.Message)
	journal  journal.Recorder

	now      time.Time // by the authority's own clock
	debtors  map[swpt.DebtorID]*debtor
	accounts map[journal.Account]*account
	order    []*account // for scans
	cursor   int        // of the scan that is going on
	queues   map[journal.Account]*queue
	dates    map[journal.Account]smp.Date // on which accounts that have been purged were created
	blocked  map[route]struct{}           // on which something has failed for a reason that passes
	credits  int64                        // number of the latest credit
	inFlight int                          // number of credits
	hushed   bool                         // nothing is repeated or capitalised
}

// New returns an authority that has no accounts. It gives what it has to say to send, from within calls of its methods
// and events of the timeline, which must not call it back.
func New(
	settings Settings, line *timeline.Timeline, random *rand.Rand, send func(smp.Message), recorder journal.Recorder,
) *Authority {
	return &Authority{
		settings: settings, timeline: line, random: random, send: send, journal: recorder,
		debtors:  make(map[swpt.DebtorID]*debtor),
		accounts: make(map[journal.Account]*account),
		queues:   make(map[journal.Account]*queue),
		dates:    make(map[journal.Account]smp.Date),
		blocked:  make(map[route]struct{}),
	}
}

// Begin has the authority do what it does without being asked, from now on: what has a period is spread over it. Call
// it once.
func (a *Authority) Begin() {
	a.tick()
	for _, acc := range a.order {
		acc.updatedAt = a.now.Add(-a.upTo(a.settings.Timing.Heartbeat))
		acc.capitalisedAt = a.now.Add(-a.upTo(a.settings.Timing.Capitalisation))
	}
	a.after(a.settings.Timing.Scan/scanSteps, a.scan)
}

// Receive has a message take effect. Messages of types that no authority receives have none.
func (a *Authority) Receive(m smp.Message) {
	a.tick()
	switch m := m.(type) {
	case *smp.ConfigureAccount:
		a.configure(m)
	case *smp.PrepareTransfer:
		a.prepare(m)
	case *smp.FinalizeTransfer:
		a.finalize(m)
	}
}

// Busy tells how many requests wait, and how many credits are in flight.
func (a *Authority) Busy() (requests, credits int) {
	for _, q := range a.queues {
		requests += len(q.preparing) + len(q.finalizing)
	}
	return requests, a.inFlight
}

// SetFreedoms changes what the authority may do beyond the reference.
func (a *Authority) SetFreedoms(f Freedoms) { a.settings.Freedoms = f }

// Hush ends heartbeats, reminders, and the capitalisation of interest, or begins them again. What [Authority.Repeat]
// repeats, it repeats nevertheless.
func (a *Authority) Hush(on bool) { a.hushed = on }

// tick reads the authority's clock.
func (a *Authority) tick() {
	a.now = a.timeline.Now().Add(a.settings.Traits.ClockSkew)
}

// after has something done later.
func (a *Authority) after(d time.Duration, do func()) {
	a.timeline.After(d.Truncate(time.Microsecond), func() {
		a.tick()
		do()
	})
}

// wait returns how long something waits.
func (a *Authority) wait() time.Duration { return a.upTo(a.settings.Timing.Wait) }

// upTo returns a random duration.
func (a *Authority) upTo(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(a.random.Int64N(int64(limit)))
}

// chance returns true with a probability.
func (a *Authority) chance(probability float64) bool {
	return probability > 0 && a.random.Float64() < probability
}

// record writes an entry of the journal.
func (a *Authority) record(e journal.Entry) {
	e.At = a.now
	a.journal.Record(&e)
}
