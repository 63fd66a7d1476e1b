package world

import (
	"math/rand/v2"
	"time"

	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/authority"
)

// A Profile says how a world behaves (peers.md, sections 8.3 and 8.4).
type Profile struct {
	Name string

	AuthorityTiming authority.Timing
	AgentTiming     agent.Timing
	Network         Network

	// Traits of authorities: the first one has the first, and so on. Those for whom there are none are like the
	// reference.
	Traits   []authority.Traits
	Terms    []authority.Terms // the same
	Freedoms authority.Freedoms

	MaxIDJump  int64   // update IDs of the creditors agent jump ahead by up to this
	RateSpread float64 // percent per year: interest rates are at random up to this far from those of the scenario

	// How often something happens, on average, per second.
	Payments    float64 // a customer pays another one
	RateChanges float64 // a currency gets another interest rate
	Revisions   float64 // a currency gets another document, which says the same
	Absences    float64 // a customer deletes an account, and opens it again some seconds later
}

// A Network says how messages travel. What is on its way is kept in memory by the gateways of the simulated peers.
type Network struct {
	MinDelay, MaxDelay time.Duration // of most messages
	Tail               float64       // the share of messages that take longer
	TailDelay          time.Duration // how long, at most

	Repetition float64 // the share of messages that come several times
	MaxCopies  int     // how many times, at most: 2 to 5

	// How often, on average, per second, each link between two parties has a break: for up to BreakLength nothing comes
	// through; then everything does, and the last hundred messages come once more.
	Breaks      float64
	BreakLength time.Duration

	// LostLocks is the share of requests to lock customers' tokens that are lost, which has no consequences but that
	// the customers cannot trade. (Other requests could be lost, too, but the service would try again only a week
	// later.)
	LostLocks float64
}

// Calm returns the profile for demonstrations: everything is quick, and nothing goes wrong.
func Calm() Profile {
	return Profile{
		Name:            "calm",
		AuthorityTiming: authority.Accelerated(),
		AgentTiming:     agent.Accelerated(),
		Network:         Network{MaxDelay: 20 * time.Millisecond},
	}
}

// Noisy returns the profile for most tests: messages are repeated and overtake each other, customers pay at random, and
// there is interest.
func Noisy() Profile {
	p := Calm()
	p.Name = "noisy"
	p.Network = Network{
		MinDelay: time.Millisecond, MaxDelay: 50 * time.Millisecond,
		Repetition: 0.05, MaxCopies: 2,
	}
	p.RateSpread = 20
	p.Payments = 2
	return p
}

// Storm returns the profile for the injection of faults. What authorities are like is drawn. Restarts of servers and
// processes are not part of it.
func Storm(seed uint64) Profile {
	random := rand.New(rand.NewPCG(seed, stormStream))
	p := Noisy()
	p.Name = "storm"
	p.Network = Network{
		MaxDelay: 200 * time.Millisecond, Tail: 0.01, TailDelay: 5 * time.Second,
		Repetition: 0.2, MaxCopies: 5,
		Breaks: 0.05, BreakLength: 3 * time.Second,
		LostLocks: 0.01,
	}
	for range authorities {
		p.Traits = append(p.Traits, drawTraits(random))
	}
	p.Freedoms = authority.Freedoms{
		Recipients:      authority.Existence(random.IntN(1 + int(authority.AtCommit))),
		RejectRecipient: 0.01,
		FailCommit:      0.05,
		SkipUpdate:      0.3,
		ExtraHeartbeat:  0.02,
		UnnamedAtFirst:  0.5,
		CreditDelay:     2 * time.Second,
	}
	for range authorities {
		p.Terms = append(p.Terms, drawTerms(random))
	}
	p.MaxIDJump = 1000
	p.RateSpread = 45
	p.RateChanges = 0.05
	p.Revisions = 0.05
	p.Absences = 0.05
	return p
}

// drawTraits draws what an authority is like, within the bounds of peers.md, section 8.4. Clocks are not far off, as
// everything takes seconds instead of hours.
func drawTraits(random *rand.Rand) authority.Traits {
	const (
		maxNumberBits = 40
		maxSkew       = time.Second
	)
	coin := func() bool { return random.IntN(2) == 0 }
	return authority.Traits{
		OpaqueAccountIDs: coin(),
		RandomIDs:        coin(),
		DoublePrecision:  coin(),
		NumberStep:       1 << random.IntN(1+maxNumberBits),
		ClockSkew:        time.Duration(random.Int64N(int64(2*maxSkew))) - maxSkew,
	}
}

// drawTerms draws what an authority promises about transfers, within the bounds of peers.md, section 8.4. The bounds
// themselves come often: the service takes what is no worse.
func drawTerms(random *rand.Rand) authority.Terms {
	const (
		leastRate     = -50
		leastPeriod   = 30 * 24 * time.Hour
		longestPeriod = 180 * 24 * time.Hour
		leastBytes    = 80
		mostBytes     = 500
	)
	terms := authority.Terms{DemurrageRate: leastRate, CommitPeriod: leastPeriod, TransferNoteMaxBytes: leastBytes}
	coin := func() bool { return random.IntN(2) == 0 }
	if coin() {
		terms.DemurrageRate += random.Float64() * -leastRate
	}
	if coin() {
		terms.CommitPeriod += time.Duration(random.Int64N(int64(longestPeriod - leastPeriod))).Truncate(time.Second)
	}
	if coin() {
		terms.TransferNoteMaxBytes += random.Int32N(mostBytes - leastBytes + 1)
	}
	return terms
}

// However many accounts there are, a world does something without a cause for so many of them per second, and looks at so
// many of them whether there is something to be done.
const (
	maxIdleAccounts    = 250
	maxScannedAccounts = 50_000
)

// forAccounts returns the profile for a world with so many accounts: what is done for each account now and then is done
// so seldom that there are never too many messages, and that there is time for other things.
func (p Profile) forAccounts(n int) Profile {
	pass := time.Duration(n) * time.Second / maxScannedAccounts
	p.AuthorityTiming.Scan, p.AgentTiming.Scan = max(p.AuthorityTiming.Scan, pass), max(p.AgentTiming.Scan, pass)
	least := time.Duration(n) * time.Second / maxIdleAccounts
	t := &p.AuthorityTiming
	for _, period := range []*time.Duration{&t.Heartbeat, &t.Reminder, &t.Capitalisation} {
		*period = max(*period, least)
	}
	return p
}

// quiet returns the network without faults.
func (n Network) quiet() Network { return Network{MinDelay: n.MinDelay, MaxDelay: n.MaxDelay} }
