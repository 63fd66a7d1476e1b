package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/authority"
	"github.com/circular-trade/circular-trade/internal/world/journal"
	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

// age is how long the accounts have existed when the world begins.
const age = 10 * 24 * time.Hour

// resendAfter is how long a gateway waits before it repeats a publication that has been returned, or not confirmed.
const resendAfter = time.Second

// A simulation is a world without servers: all parties, and the gateways between them and the broker. It does no I/O
// and has no clock. What is to be published piles up in the outbox. It belongs to one goroutine.
type simulation struct {
	scenario *Scenario
	profile  Profile
	network  Network // as it is now
	timeline timeline.Timeline
	random   *rand.Rand

	hosts   []*host
	debtors map[swpt.DebtorID]*host
	agent   *agent.Agent
	issuers *issuers
	links   []*link

	agentOut, notifications *link

	checker *journal.Checker
	kept    float64 // see Settings
	journal journal.Recorder

	past      bool // the time before the world begins
	pending   map[notificationKey]smp.Message
	pendingBy []notificationKey
	held      map[notificationKey][]func() // what gateways keep: messages that go on their way when called
	disturbed bool                         // faults, payments and the like are going on

	outbox    []*parcel
	traffic   map[trafficKey]int
	lastHeard time.Time
	unsettled int  // number of parcels that are published, and neither confirmed nor refused
	settled   bool // the run has come to its quiet end

	openings map[journal.Account]int64 // principals when the world begins
	holders  map[swpt.DebtorID][]journal.Account
}

// A host is an accounting authority with its gateway.
type host struct {
	*authority.Authority
	number  int64 // its range of creditor IDs
	in, out *link
}

// A parcel is a message on its way to the broker.
type parcel struct {
	publishing broker.Publishing
	message    smp.Message
	toService  bool // from an authority
}

// A notificationKey identifies a stream of messages about an account: of notifications, above all.
type notificationKey struct {
	account  journal.Account
	typeName string
}

// A trafficKey is a type of messages, from the broker (heard) or to it.
type trafficKey struct {
	heard    bool
	typeName string
}

// What is left to chance is independent of each other.
const (
	worldStream = iota
	agentStream
	agentLinkStream
	notificationsStream
	stormStream

	authorityStreams = 10 // three for each
)

// newSimulation returns a world that begins at an instant, and has accounts from before.
func newSimulation(
	scenario *Scenario, profile Profile, seed uint64, begin time.Time, issuers *issuers, recorder journal.Recorder,
) *simulation {
	begin = begin.UTC().Truncate(time.Microsecond)
	s := &simulation{
		scenario: scenario, profile: profile.forAccounts(scenario.accounts()), network: profile.Network,
		random:   rand.New(rand.NewPCG(seed, worldStream)),
		debtors:  make(map[swpt.DebtorID]*host),
		issuers:  issuers,
		checker:  journal.NewChecker(),
		past:     true,
		pending:  make(map[notificationKey]smp.Message),
		held:     make(map[notificationKey][]func()),
		traffic:  make(map[trafficKey]int),
		openings: make(map[journal.Account]int64),
		holders:  make(map[swpt.DebtorID][]journal.Account),
	}
	s.journal = recorder
	s.timeline.Advance(begin.Add(-age))
	s.agent = agent.New(s.profile.AgentTiming, profile.MaxIDJump, &s.timeline, rand.New(rand.NewPCG(seed, agentStream)), agent.Links{
		Authority: s.fromAgent, Service: s.notify,
	})
	s.agentOut, s.notifications = s.newLink(seed, agentLinkStream), s.newLink(seed, notificationsStream)
	s.openAuthorities(seed)
	s.populate()
	s.begin(begin)
	return s
}

func (s *simulation) newLink(seed, stream uint64) *link {
	l := &link{network: &s.network, timeline: &s.timeline, random: rand.New(rand.NewPCG(seed, stream))}
	s.links = append(s.links, l)
	return l
}

// authorities is how many there are, if there are currencies for all of them.
const authorities = 2

// divide divides the currencies that are issued among authorities, by the prefixes of their IDs: that is how their
// messages are routed. It returns the prefixes that each authority has, in a fixed order.
func (s *Scenario) divide() [][]string {
	var prefixes []string
	for i := range s.Currencies {
		if c := &s.Currencies[i]; !c.Dummy {
			prefixes = append(prefixes, debtorPrefix(c.Debtor))
		}
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	divided := make([][]string, min(authorities, len(prefixes)))
	for i, prefix := range prefixes {
		divided[i%authorities] = append(divided[i%authorities], prefix)
	}
	return divided
}

// openAuthorities opens the authorities, and gives each its currencies.
func (s *simulation) openAuthorities(seed uint64) {
	owners := make(map[string]*host)
	for i, prefixes := range s.scenario.divide() {
		h := s.openAuthority(i, seed)
		for _, prefix := range prefixes {
			owners[prefix] = h
		}
	}
	for i := range s.scenario.Currencies {
		if c := &s.scenario.Currencies[i]; !c.Dummy {
			s.debtors[c.Debtor] = owners[debtorPrefix(c.Debtor)]
		}
	}
}

// debtorPrefix returns the routing key of a currency without the last byte.
func debtorPrefix(debtor swpt.DebtorID) string {
	key := shard.HexRoutingKey(debtor)
	return key[:len(key)-len(".00")]
}

func (s *simulation) openAuthority(i int, seed uint64) *host {
	settings := authority.DefaultSettings(s.profile.AuthorityTiming)
	if i < len(s.profile.Traits) {
		settings.Traits = s.profile.Traits[i]
	}
	if i < len(s.profile.Terms) {
		settings.Terms = s.profile.Terms[i]
	}
	stream := uint64(authorityStreams + 3*i)
	h := &host{number: int64(firstRange + i), in: s.newLink(seed, stream), out: s.newLink(seed, stream+1)}
	send := func(m smp.Message) { s.fromAuthority(h, m) }
	random := rand.New(rand.NewPCG(seed, stream+2))
	h.Authority = authority.New(settings, &s.timeline, random, send, hostRecorder{s})
	s.hosts = append(s.hosts, h)
	return h
}

// A hostRecorder writes the entries of an authority, with the numbers of the creditors agent.
type hostRecorder struct{ *simulation }

// Record implements [journal.Recorder].
func (r hostRecorder) Record(e *journal.Entry) {
	e.Account.Creditor = swpt.CreditorID(renumbered(int64(e.Account.Creditor), ourRange))
	r.record(e)
}

func (s *simulation) record(e *journal.Entry) {
	s.checker.Record(e)
	if s.journal != nil {
		s.journal.Record(e)
	}
}

// populate opens all accounts, and issues what is on them. All of it happens before the world begins, without the
// broker.
func (s *simulation) populate() {
	for i := range s.scenario.Currencies {
		c := &s.scenario.Currencies[i]
		s.issuers.write(c)
		if !c.Dummy {
			s.configureRoot(c.Debtor, s.openingRate(c))
			s.issuers.publish(c.Debtor, s.issuers.newest(c.Debtor))
		}
	}
	for i := range s.scenario.Customers {
		customer := &s.scenario.Customers[i]
		for k := range customer.Accounts {
			s.openAccount(customer.ID, &customer.Accounts[k])
		}
		s.timeline.Advance(s.timeline.Now().Add(time.Microsecond))
		for k := range customer.Accounts {
			s.fund(customer.ID, &customer.Accounts[k])
		}
	}
	s.timeline.Advance(s.timeline.Now().Add(time.Minute)) // so that all is entered in the ledgers
	for _, h := range s.hosts {
		h.Repeat(everybody)
	}
	s.timeline.Advance(s.timeline.Now().Add(time.Minute))
}

// openingRate returns the interest rate that a currency begins with.
func (s *simulation) openingRate(c *Currency) float64 {
	rate := c.Rate
	if s.profile.RateSpread > 0 {
		rate += (2*s.random.Float64() - 1) * s.profile.RateSpread
	}
	return min(max(rate, -50), 100)
}

func (s *simulation) openAccount(creditor swpt.CreditorID, account *Account) {
	key := journal.Account{Debtor: account.Debtor, Creditor: creditor}
	s.agent.Open(key)
	s.agent.SetNegligible(key, account.Negligible)
	s.agent.SetPolicy(key, account.Policy)
	s.holders[key.Debtor] = append(s.holders[key.Debtor], key)
}

func (s *simulation) fund(creditor swpt.CreditorID, account *Account) {
	h := s.debtors[account.Debtor]
	if account.Balance > 0 {
		theirs := journal.Account{
			Debtor: account.Debtor, Creditor: swpt.CreditorID(renumbered(int64(creditor), h.number)),
		}
		h.Issue(theirs, account.Balance)
	}
	s.openings[journal.Account{Debtor: account.Debtor, Creditor: creditor}] = account.Balance
}

// begin starts everything that happens by itself, and sends what the service has to know: not that flags are what they
// are if nobody says anything.
func (s *simulation) begin(at time.Time) {
	s.timeline.Advance(at)
	s.past = false
	for _, key := range s.pendingBy {
		m := s.pending[key]
		if flags, ok := m.(*smp.UpdatedFlags); !ok || flags.ConfigFlags != 0 {
			s.sendNotification(m)
		}
	}
	s.pending, s.pendingBy = nil, nil
	for _, h := range s.hosts {
		h.Begin()
	}
	s.agent.Begin()
	s.disturb()
}

// fromAuthority takes what an authority says.
func (s *simulation) fromAuthority(h *host, theirs smp.Message) {
	m := fromAuthority(theirs)
	creditor, debtor := parties(m)
	if creditor == journal.Root {
		s.toIssuer(debtor, m)
		return
	}
	s.record(&journal.Entry{Kind: journal.Issued, At: s.timeline.Now(), Message: m})
	if s.past {
		s.timeline.After(0, func() { s.agent.Receive(m) })
		return
	}
	s.forward(h.out, authorityParcel(m))
}

// toIssuer takes what an authority says about a root. When it confirms that it knows of a new document, the issuer
// publishes that.
func (s *simulation) toIssuer(debtor swpt.DebtorID, m smp.Message) {
	if update, ok := m.(*smp.AccountUpdate); ok && update.ConfigData != "" {
		s.issuers.publish(debtor, s.issuers.newest(debtor))
	}
}

// fromAgent takes what the creditors agent says to an authority.
func (s *simulation) fromAgent(m smp.Outgoing) {
	if s.past {
		_, debtor := parties(m)
		h := s.debtors[debtor]
		s.timeline.After(0, func() { s.deliver(h, m) })
		return
	}
	s.record(&journal.Entry{Kind: journal.Issued, At: s.timeline.Now(), Message: m})
	p := outgoingParcel(m)
	s.agentOut.carry(func() { s.publish(p) })
}

// notify takes what the creditors agent says to the service. Of what has happened before the world begins, only the
// last word is said.
func (s *simulation) notify(m smp.Message) {
	s.record(&journal.Entry{Kind: journal.Issued, At: s.timeline.Now(), Message: m})
	if !s.past {
		s.sendNotification(m)
		return
	}
	creditor, debtor := parties(m)
	key := notificationKey{journal.Account{Debtor: debtor, Creditor: creditor}, m.Type()}
	if s.pending[key] == nil {
		s.pendingBy = append(s.pendingBy, key)
	}
	s.pending[key] = m
}

func (s *simulation) sendNotification(m smp.Message) {
	s.forward(s.notifications, notificationParcel(m))
}

// forward has a gateway bring a message to the broker, or keep it.
func (s *simulation) forward(via *link, p *parcel) {
	creditor, debtor := parties(p.message)
	key := notificationKey{journal.Account{Debtor: debtor, Creditor: creditor}, p.message.Type()}
	forward := func() { via.carry(func() { s.publish(p) }) }
	if kept, held := s.held[key]; held {
		s.held[key] = append(kept, forward)
		return
	}
	forward()
}

// hold has gateways keep messages.
func (s *simulation) hold(key notificationKey) {
	if _, held := s.held[key]; !held {
		s.held[key] = nil
	}
}

// release lets the messages go that gateways keep.
func (s *simulation) release(key notificationKey) {
	kept := s.held[key]
	delete(s.held, key)
	for _, forward := range kept {
		forward()
	}
}

// publish hands a message over to the broker.
func (s *simulation) publish(p *parcel) { s.outbox = append(s.outbox, p) }

// take returns what is to be published, at most so many messages. The caller must call published or postponed for each.
func (s *simulation) take(limit int) []*parcel {
	n := min(limit, len(s.outbox))
	batch := slices.Clone(s.outbox[:n])
	s.outbox = s.outbox[n:]
	if len(s.outbox) == 0 {
		s.outbox = nil
	}
	s.unsettled += n
	return batch
}

// published takes note that the broker has got a message.
func (s *simulation) published(p *parcel) {
	s.unsettled--
	s.traffic[trafficKey{typeName: p.message.Type()}]++
	if p.toService {
		s.record(&journal.Entry{Kind: journal.Delivered, At: s.timeline.Now(), Message: p.message})
	}
}

// postponed has a message published again later: nobody has got it, or perhaps somebody has.
func (s *simulation) postponed(p *parcel) {
	s.timeline.After(resendAfter, func() {
		s.unsettled--
		s.publish(p)
	})
}

// hear takes a message for an authority from the broker: of the service, or of the creditors agent.
func (s *simulation) hear(h *host, m smp.Message) {
	now := s.timeline.Now()
	s.traffic[trafficKey{true, m.Type()}]++
	s.lastHeard = now
	if _, err := toAuthority(m, h.number); err != nil {
		s.refuse(err.Error())
		return
	}
	_, debtor := parties(m)
	if owner := s.debtors[debtor]; owner != nil && owner != h {
		s.refuse(fmt.Sprintf("a message of type %s about currency %d reaches a foreign authority", m.Type(), debtor))
		return
	}
	s.record(&journal.Entry{Kind: journal.Heard, At: now, Message: m})
	if s.isLost(m) {
		return
	}
	h.in.carry(func() { s.deliver(h, m) })
}

// refuse takes note of a message that a gateway cannot pass on.
func (s *simulation) refuse(reason string) {
	s.record(&journal.Entry{Kind: journal.Refused, At: s.timeline.Now(), Reason: reason})
}

// isLost decides whether a request is lost.
func (s *simulation) isLost(m smp.Message) bool {
	request, ok := m.(*smp.PrepareTransfer)
	if !ok || request.CoordinatorType != smp.CoordinatorAgent || journal.IsCollector(request.CreditorID) {
		return false
	}
	return s.network.LostLocks > 0 && s.random.Float64() < s.network.LostLocks
}

// deliver brings a message to an authority.
func (s *simulation) deliver(h *host, m smp.Message) {
	if theirs, err := toAuthority(m, h.number); err == nil {
		h.Receive(theirs)
	}
}

// hearForAgent takes a message for the creditors agent from the broker.
func (s *simulation) hearForAgent(m smp.Message) { s.agent.Receive(m) }

// hearLoopback takes a ConfigureAccount that reaches no authority. The creditors agent tells its customers so.
func (s *simulation) hearLoopback(m *smp.ConfigureAccount) {
	if journal.IsCollector(m.CreditorID) {
		return
	}
	s.publish(loopbackParcel(&smp.RejectedConfig{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, ConfigTS: m.TS, ConfigSeqnum: m.Seqnum,
		NegligibleAmount: m.NegligibleAmount, ConfigData: m.ConfigData, ConfigFlags: m.ConfigFlags,
		RejectionCode: "NO_CONNECTION_TO_DEBTOR", TS: s.timeline.Now(),
	}))
}

// configureRoot tells the authority of a currency what the issuer wants: an interest rate, and the newest document.
func (s *simulation) configureRoot(debtor swpt.DebtorID, rate float64) {
	s.issuers.setRate(debtor, rate)
	info := s.issuers.info(debtor)
	config := authority.RootConfig{Rate: rate, Info: &info}
	s.debtors[debtor].Receive(&smp.ConfigureAccount{
		DebtorID: debtor, CreditorID: journal.Root, TS: s.nextRootTS(debtor),
		NegligibleAmount: 1e30, ConfigData: config.Data(),
	})
}

// nextRootTS returns an instant that is later than those of all configurations of a root before.
func (s *simulation) nextRootTS(debtor swpt.DebtorID) time.Time {
	return s.issuers.nextTS(debtor, s.timeline.Now())
}

// advance does everything that is due.
func (s *simulation) advance(now time.Time) { s.timeline.Advance(now.UTC().Truncate(time.Microsecond)) }

// busy tells what is still going on, or "".
func (s *simulation) busy() string {
	requests, credits, moving := 0, 0, 0
	for _, h := range s.hosts {
		r, c := h.Busy()
		requests, credits = requests+r, credits+c
	}
	for _, l := range s.links {
		moving += l.moving
	}
	if waiting := len(s.outbox) + s.unsettled; requests+credits+moving+waiting > 0 {
		return fmt.Sprintf("%d requests wait at authorities, %d credits are in flight, "+
			"%d messages are on their way, %d wait for the broker", requests, credits, moving, waiting)
	}
	return ""
}

// restless tells what keeps the world from coming to rest, or "".
func (s *simulation) restless() string {
	if busy := s.busy(); busy != "" {
		return busy
	}
	due := 0
	for _, h := range s.hosts {
		due += h.Due()
	}
	if behind := s.agent.Behind(); behind+due > 0 {
		return fmt.Sprintf("%d accounts have changed, %d ledgers of customers are behind", due, behind)
	}
	return ""
}

// manyAccounts is from how many accounts on a world does not repeat the state of all of them at its quiet end.
const manyAccounts = 10_000

// repeat repeats the state of accounts, and of prepared transfers. Of many accounts, only those of collectors are
// repeated: the creditors agent has missed nothing, and the service does not hear of the others.
func (s *simulation) repeat() {
	wanted := everybody
	if s.scenario.accounts() >= manyAccounts {
		wanted = journal.IsCollector
	}
	for _, h := range s.hosts {
		h.Repeat(wanted)
	}
}

func everybody(swpt.CreditorID) bool { return true }
