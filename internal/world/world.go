package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/authority"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// Settings say which world there is to be.
type Settings struct {
	BrokerURL string // a virtual host without queues of an earlier world
	Scenario  Scenario
	Profile   Profile
	Seed      uint64    // decides everything that is left to chance
	Journal   io.Writer // gets the journal, a line an entry; nil: nobody does
	Log       *slog.Logger

	// Kept is the share of what sellers give that the service may keep: what it cuts off each transfer, and what negative
	// interest can take while the tokens move. 0: nobody looks.
	Kept float64

	// Address is where the issuers' website listens, as host:port. Empty: on any free port of the loopback interface.
	Address string
	// Host is the name or the IP address by which others reach the website. It is in all locators, and in the
	// certificate. Empty: the address at which the website listens, or localhost if that is all of them.
	Host string
}

// A World is everybody that the service has to do with. Its methods may be called from any goroutine.
type World struct {
	settings  Settings
	website   *website
	issuers   *issuers
	publisher *broker.Publisher
	metrics   *broker.Metrics
	writer    *journal.Writer

	mu  sync.Mutex
	sim *simulation

	sooner chan struct{} // something may be due earlier than it was
	mail   chan struct{} // there is something to be published

	stop    context.CancelFunc
	ended   <-chan struct{} // closed when the world has ended, or is about to
	running *errgroup.Group
}

// New makes a world, in which nothing happens before [World.Start]. It opens the port of the issuers' website, which
// [World.Stop] closes. An error wraps [ErrScenario] if there can be no such world.
func New(ctx context.Context, settings Settings) (*World, error) {
	if err := settings.Scenario.Validate(); err != nil {
		return nil, err
	}
	site, err := openWebsite(ctx, settings.Address, settings.Host, settings.Log)
	if err != nil {
		return nil, err
	}
	metrics := broker.NewMetrics(prometheus.NewRegistry())
	w := &World{
		settings:  settings,
		website:   site,
		issuers:   newIssuers(site.url(), settings.Scenario.Currencies),
		metrics:   metrics,
		publisher: broker.NewPublisher(broker.PublisherConfig{URL: settings.BrokerURL, Metrics: metrics, Log: settings.Log}),
		sooner:    make(chan struct{}, 1),
		mail:      make(chan struct{}, 1),
	}
	return w, nil
}

// Base returns the base currency of the scenario: the locator of its document, and its ID.
func (w *World) Base() (locator string, debtor swpt.DebtorID) {
	debtor = w.settings.Scenario.Currencies[0].Debtor
	return w.issuers.locatorOf(debtor), debtor
}

// Locator returns the locator of the document of a currency of the scenario, or "" for others.
func (w *World) Locator(debtor swpt.DebtorID) string { return w.issuers.locatorOf(debtor) }

// CertificatePEM returns the certificate that those have to trust who fetch documents.
func (w *World) CertificatePEM() []byte { return w.website.roots }

// Scenario returns what there was when the world began. It must not be changed.
func (w *World) Scenario() *Scenario { return &w.settings.Scenario }

// The queues of a world.
const (
	authorityQueue = "world.authority.%d"
	agentQueue     = "world.agent"
	loopbackQueue  = "world.loopback"
)

// ErrBeforeUs tells that the broker has queues of an earlier world.
var ErrBeforeUs = errors.New("the broker has queues of an earlier world, about which the service knows what is not true " +
	"any more: take another virtual host, and empty databases")

// Start waits for the broker, declares exchanges and queues there, and lets the world begin: customers have had their
// accounts for some days, and the creditors agent tells the service about them. It returns when that has begun. The
// world goes on until Stop; the context is that of the start alone. An error may wrap [ErrBeforeUs].
func (w *World) Start(ctx context.Context) error {
	if err := w.settleIn(ctx); err != nil {
		return err
	}
	var recorder journal.Recorder
	if w.settings.Journal != nil {
		w.writer = journal.NewWriter(w.settings.Journal)
		recorder = w.writer
	}
	sim := newSimulation(&w.settings.Scenario, w.settings.Profile, w.settings.Seed, time.Now(), w.issuers, recorder)
	sim.kept = w.settings.Kept
	w.mu.Lock()
	w.sim = sim
	w.mu.Unlock()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.running, running = errgroup.WithContext(running)
	w.ended = running.Done()
	w.running.Go(func() error { return w.website.serve(w.issuers) })
	w.running.Go(func() error { return w.live(running) })
	w.running.Go(func() error { return w.post(running) })
	for i, h := range w.sim.hosts {
		w.consume(running, fmt.Sprintf(authorityQueue, i+1), emitted, func(m smp.Message) { w.sim.hear(h, m) })
	}
	w.consume(running, agentQueue, consumed, w.sim.hearForAgent)
	w.consume(running, loopbackQueue, emitted, func(m smp.Message) {
		if configure, ok := m.(*smp.ConfigureAccount); ok {
			w.sim.hearLoopback(configure)
		}
	})
	return nil
}

// Ended returns a channel that is closed when the world has ended by itself, or is about to: Stop tells why. It may be
// called after Start.
func (w *World) Ended() <-chan struct{} { return w.ended }

// Stop ends the world, and waits for that. It returns an error if something went wrong on the way. The world can still
// be asked, but does not change any more.
func (w *World) Stop() error {
	var err error
	w.website.close()
	if w.running != nil {
		w.stop()
		err = w.running.Wait()
	}
	w.publisher.Close()
	if w.writer != nil {
		err = errors.Join(err, w.writer.Flush())
	}
	return err
}

// brokerPause is the time between two attempts to reach the broker.
const brokerPause = time.Second

// settleIn declares what the world needs on the broker.
func (w *World) settleIn(ctx context.Context) error {
	url := w.settings.BrokerURL
	err := w.patiently(ctx, func() error {
		found, err := broker.HasQueue(ctx, url, agentQueue)
		if err == nil && found {
			err = ErrBeforeUs
		}
		return err
	})
	if err == nil {
		err = w.patiently(ctx, func() error { return broker.DeclarePeers(ctx, url, w.queues()) })
	}
	if err != nil {
		return fmt.Errorf("declare the queues of the simulated world: %w", err)
	}
	return nil
}

// patiently repeats a step until the broker can be reached.
func (w *World) patiently(ctx context.Context, step func() error) error {
	for {
		err := step()
		if !errors.Is(err, broker.ErrUnreachable) {
			return err
		}
		w.settings.Log.WarnContext(ctx, "waiting for the broker", slog.Any("reason", err))
		select {
		case <-time.After(brokerPause):
		case <-ctx.Done():
			return err
		}
	}
}

// queues returns the queues that the world needs.
func (w *World) queues() []broker.PeerQueue {
	queues := []broker.PeerQueue{
		{Name: agentQueue, Exchange: broker.CreditorsAgent, RoutingKeys: []string{"#"}},
		{
			Name: loopbackQueue, Exchange: broker.LoopbackFilter,
			Headers: map[string]any{"message-type": smp.TypeConfigureAccount},
		},
	}
	for i, prefixes := range w.settings.Scenario.divide() {
		q := broker.PeerQueue{Name: fmt.Sprintf(authorityQueue, i+1), Exchange: broker.CreditorsOut}
		for _, prefix := range prefixes {
			q.RoutingKeys = append(q.RoutingKeys, prefix+".#")
		}
		queues = append(queues, q)
	}
	return queues
}

// do has something done in the world now, after everything that is due. Before the start, nothing is done.
func (w *World) do(what func(s *simulation)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sim == nil {
		return
	}
	w.sim.advance(time.Now())
	what(w.sim)
	wake(w.sooner)
	if len(w.sim.outbox) > 0 {
		wake(w.mail)
	}
}

func wake(sleeper chan<- struct{}) {
	select {
	case sleeper <- struct{}{}:
	default: // it has been woken already
	}
}

// look calls a function that looks at the world, without letting time pass. Before the start, there is nothing to see.
func (w *World) look(at func(s *simulation)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sim != nil {
		at(w.sim)
	}
}

// Pay has a customer pay another one, if there is enough. The payment takes its time.
func (w *World) Pay(debtor swpt.DebtorID, from, to swpt.CreditorID, amount int64) {
	w.do(func(s *simulation) {
		payee := s.agent.Account(journal.Account{Debtor: debtor, Creditor: to})
		s.agent.Pay(journal.Account{Debtor: debtor, Creditor: from}, payee.AccountID, amount)
	})
}

// SetPolicy changes what a customer wants to have of a currency.
func (w *World) SetPolicy(account journal.Account, policy agent.Policy) {
	w.do(func(s *simulation) { s.agent.SetPolicy(account, policy) })
}

// Open opens an account for a customer.
func (w *World) Open(account journal.Account) {
	w.do(func(s *simulation) { s.agent.Open(account) })
}

// ScheduleDeletion has a customer's account deleted as soon as nothing stands against it.
func (w *World) ScheduleDeletion(account journal.Account) {
	w.do(func(s *simulation) { s.agent.ScheduleDeletion(account) })
}

// Delete removes an account from the books of the creditors agent, at once; then the authority is asked to delete it.
func (w *World) Delete(account journal.Account) {
	w.do(func(s *simulation) { s.agent.Delete(account) })
}

// Remove has the operator of the accounting authority remove an account at once, whatever it holds, unless there are
// prepared transfers from it: then the error wraps [authority.ErrInUse]. It works for collectors, too.
func (w *World) Remove(account journal.Account) error {
	return w.remove(account, (*authority.Authority).Remove)
}

// Forget has the accounting authority lose an account, whatever it holds, together with what is prepared on it. That is
// an accident, which the protocol rules out.
func (w *World) Forget(account journal.Account) error {
	return w.remove(account, (*authority.Authority).Forget)
}

func (w *World) remove(account journal.Account, how func(*authority.Authority, journal.Account) error) error {
	err := fmt.Errorf("remove the %v: %w", account, errUnknownCurrency)
	w.do(func(s *simulation) {
		if h := s.debtors[account.Debtor]; h != nil {
			err = how(h.Authority, h.account(account))
		}
	})
	return err
}

// errUnknownCurrency tells that nobody issues a currency.
var errUnknownCurrency = errors.New("nobody issues that currency")

// Seize has the operator of the accounting authority take tokens from an account: as many as there are, at most.
func (w *World) Seize(account journal.Account, amount int64) {
	w.do(func(s *simulation) {
		if h := s.debtors[account.Debtor]; h != nil {
			h.Seize(h.account(account), amount)
		}
	})
}

// Issue has the issuer of a currency give somebody new tokens.
func (w *World) Issue(account journal.Account, amount int64) {
	w.do(func(s *simulation) {
		if h := s.debtors[account.Debtor]; h != nil {
			h.Issue(h.account(account), amount)
		}
	})
}

// SetFreedoms changes what the accounting authority of a currency, and of others, may do beyond the reference, until
// the world is calmed.
func (w *World) SetFreedoms(debtor swpt.DebtorID, freedoms authority.Freedoms) {
	w.do(func(s *simulation) {
		if h := s.debtors[debtor]; h != nil {
			h.SetFreedoms(freedoms)
		}
	})
}

// Hold has gateways keep the messages of a type about an account that are meant for the service, until Release, or until
// the world is calmed.
func (w *World) Hold(account journal.Account, typeName string) {
	w.do(func(s *simulation) { s.hold(notificationKey{account, typeName}) })
}

// Release lets the messages go that Hold has had kept, and those of the type that follow.
func (w *World) Release(account journal.Account, typeName string) {
	w.do(func(s *simulation) { s.release(notificationKey{account, typeName}) })
}

// SetRate changes the interest rate of a currency, in percent per year, −50 to 100. It reaches the accounts one by one.
func (w *World) SetRate(debtor swpt.DebtorID, rate float64) {
	w.do(func(s *simulation) {
		if s.debtors[debtor] != nil {
			s.configureRoot(debtor, rate)
		}
	})
}

// SetPeg changes the peg of a currency, or removes it: its issuer publishes a new document, of which accounts learn one
// by one.
func (w *World) SetPeg(debtor swpt.DebtorID, peg *agent.Peg) {
	w.do(func(s *simulation) {
		if s.debtors[debtor] != nil {
			changed := s.issuers.currency(debtor)
			changed.Peg = peg
			s.revise(changed)
		}
	})
}

// SetFault makes something wrong with the documents of a currency from now on; with NoFault, all is well again.
func (w *World) SetFault(debtor swpt.DebtorID, fault Fault) { w.issuers.setFault(debtor, fault) }

// SetCertificate changes the certificate that the website of all issuers shows.
func (w *World) SetCertificate(kind Certificate) { w.website.kind.Store(uint32(kind)) }

// account returns an account with the authority's number of the creditor.
func (h *host) account(ours journal.Account) journal.Account {
	ours.Creditor = swpt.CreditorID(renumbered(int64(ours.Creditor), h.number))
	return ours
}
