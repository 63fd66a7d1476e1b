package world

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/authority"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

const patience = time.Minute

// A stage is a world on a real broker, with a fake service.
type stage struct {
	*World
	tb        testing.TB
	url       string
	publisher *broker.Publisher

	mu      sync.Mutex
	service *fakeService
}

// newStage starts a world, and a service that takes its messages from the broker.
func newStage(t *testing.T, scenario Scenario, profile Profile) *stage {
	t.Helper()
	s := &stage{tb: t, url: testenv.NewVirtualHost(t)}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w, err := New(t.Context(), Settings{BrokerURL: s.url, Scenario: scenario, Profile: profile, Seed: 1, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.World = w
	metrics := broker.NewMetrics(prometheus.NewRegistry())
	s.publisher = broker.NewPublisher(broker.PublisherConfig{URL: s.url, Metrics: metrics, Log: log})
	s.service = newFakeService(s.publish, time.Now)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	topology := broker.Topology{ProtocolURL: s.url, ProtocolQueue: "service", RoutingKey: "#", Log: log}
	if err := topology.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	consumer := broker.NewConsumer(broker.ConsumerConfig{
		URL: s.url, Queue: "service", Parallelism: 1, PrefetchCount: 100, Metrics: metrics, Log: log,
	}, s)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the service has ended: %v", err)
		}
		s.publisher.Close()
		if err := w.Stop(); err != nil {
			t.Errorf("the world has ended: %v", err)
		}
	})
	return s
}

// Check implements [broker.Handler].
func (*stage) Check(d broker.Delivery) (smp.Message, error) {
	return smp.Parse(d.ContentType, d.Type, d.Body)
}

// Handle implements [broker.Handler].
func (s *stage) Handle(_ context.Context, batch []smp.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range batch {
		s.service.hear(m)
	}
	return nil
}

// publish sends a message as the service does.
func (s *stage) publish(m smp.Outgoing) {
	envelope := m.Envelope()
	p := broker.Publishing{
		Exchange: broker.CreditorsOut, RoutingKey: shard.HexRoutingKey(envelope.DebtorID), Mandatory: envelope.Mandatory,
		ContentType: smp.ContentType, Type: m.Type(), AppID: "swpt_trade", Headers: envelope.Headers(), Body: body(m),
	}
	for {
		outcomes, err := s.publisher.PublishAll(context.WithoutCancel(s.tb.Context()), []broker.Publishing{p})
		if err == nil && outcomes[0] == broker.Confirmed {
			return
		}
		if err == nil {
			s.tb.Errorf("%s was %v", m.Type(), outcomes[0])
			return
		}
	}
}

// await waits until the service knows something.
func (s *stage) await(what string, known func(f *fakeService) bool) {
	s.tb.Helper()
	testenv.Eventually(s.tb, patience, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !known(s.service) {
			return fmt.Errorf("%s: not yet; heard %v", what, s.service.heard)
		}
		return nil
	})
}

func (s *stage) do(what func(f *fakeService)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what(s.service)
}

func (s *stage) wantAllWell() {
	s.tb.Helper()
	r := s.Report()
	if !r.OK() || !r.Final {
		var text strings.Builder
		if err := r.Write(&text); err != nil {
			s.tb.Error(err)
		}
		s.tb.Errorf("final: %v\n%s", r.Final, text.String())
	}
}

// The worked example of peers.md, section 9, in another currency.
func TestATradeOnARealBroker(t *testing.T) {
	t.Parallel()
	s := newStage(t, Town(), Calm())
	anna, boris := FirstCustomer+1, FirstCustomer+2
	annas := journal.Account{Debtor: townLoaves, Creditor: anna}
	boriss := journal.Account{Debtor: townLoaves, Creditor: boris}
	s.await("ledgers", func(f *fakeService) bool { return f.ledgers[annas] != nil && f.ledgers[boriss] != nil })
	s.do(func(f *fakeService) { f.openCollector(townLoaves) })
	s.await("a collector with a document", func(f *fakeService) bool {
		c := f.collectors[townLoaves]
		return c != nil && c.AccountID != "" && c.DebtorInfoIRI != ""
	})
	before := s.Position(boriss)

	var deal *fakeDeal
	s.do(func(f *fakeService) { deal = f.sell(townLoaves, anna, boris, 20_000) })
	s.await("collecting", func(*fakeService) bool { return deal.collected })
	s.do(func(f *fakeService) { f.goOn() })
	s.await("payment", func(*fakeService) bool { return deal.paid })
	s.await("the ledger", func(f *fakeService) bool { return f.ledgers[boriss].Principal > before.Now })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Settle(ctx, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	s.wantAllWell()
	positions := s.Positions(anna)
	if p := positions[0]; p.Currency.Debtor != townLoaves || p.Before-p.Now != 20_000 || p.Ledger != p.Now || len(p.Trades) != 1 {
		t.Errorf("Anna's position is %+v", p)
	}
	if p := s.Position(boriss); p.Now-p.Before != 19_800 || p.Locked != 0 || len(p.Trades) != 1 || p.Trades[0].Amount != 19_800 {
		t.Errorf("Boris's position is %+v", p)
	}
	if p := s.Position(journal.Account{Debtor: townLoaves, Creditor: theCollector}); p.Now != 200 {
		t.Errorf("the collector's position is %+v", p)
	}
	story := s.Story(boris)
	if want := "Boris, the stage manager, who is paid in theatre tickets, and has four children who eat bread, " +
		"gave nothing and got 19.8 loaves."; story != want {
		t.Errorf("Boris's story is %q, want %q", story, want)
	}
	r := s.Report()
	if r.Heard[smp.TypePrepareTransfer] != 3 || r.Heard[smp.TypeFinalizeTransfer] != 3 || r.Sent[smp.TypeUpdatedLedger] == 0 {
		t.Errorf("traffic: %v, %v", r.Heard, r.Sent)
	}
	want := Progress{Collectors: 1, Turns: []TurnProgress{{Turn: deal.turn, Currencies: 1, Sellers: 1, Buyers: 1}}}
	if got := s.Progress(); !reflect.DeepEqual(got, want) {
		t.Errorf("the progress is %+v, want %+v", got, want)
	}
	if len(r.Turnovers) != 1 || r.Turnovers[0].Collected != 20_000 || r.Turnovers[0].Dispatched != 19_800 {
		t.Errorf("turnovers: %+v", r.Turnovers)
	}
	var document map[string]any
	fetch(t, s.client(), s.Locator(townLoaves), &document)
	if got := s.Report().Fetches; got != 2 || document["debtorName"] != "Mill Street Bakery" {
		t.Errorf("%d fetches, of %v", got, document)
	}
	if !s.Position(annas).isOf(r.Currencies) {
		t.Errorf("the report has no currency of Anna's: %+v", r.Currencies)
	}
}

// isOf tells whether a currency is in the report.
func (p Position) isOf(currencies []CurrencyReport) bool {
	for _, c := range currencies {
		if c.Currency.Debtor == p.Account.Debtor {
			return c.Issued+c.Customers+c.Collectors+c.InFlight == 0
		}
	}
	return false
}

// In a storm, and while the broker closes all connections again and again, everything comes to a good end.
func TestAStormOnARealBroker(t *testing.T) {
	t.Parallel()
	s := newStage(t, Town(), Storm(1))
	for _, debtor := range []int{int(townLoaves), int(townTickets)} {
		s.do(func(f *fakeService) { f.openCollector(townCurrencies()[debtor-8000].Debtor) })
	}
	s.await("collectors", func(f *fakeService) bool {
		for _, debtor := range []int{1, 4} {
			if c := f.collectors[townCurrencies()[debtor].Debtor]; c == nil || c.AccountID == "" {
				return false
			}
		}
		return len(f.ledgers) > 10
	})
	for i := range 4 {
		s.do(func(f *fakeService) {
			f.sell(townLoaves, FirstCustomer+1, FirstCustomer+2, 1000)
			f.sell(townTickets, FirstCustomer+2, FirstCustomer+1, 1000)
			f.goOn()
		})
		testenv.CloseConnections(t, s.url)
		s.await("some answers", func(f *fakeService) bool {
			return f.heard[smp.TypePreparedTransfer]+f.heard[smp.TypeRejectedTransfer] > i
		})
	}
	s.Calm()
	testenv.Eventually(t, patience, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.service.endTurns()
		s.service.goOn()
		if open := s.service.open(); open != "" {
			return errors.New(open)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Settle(ctx, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	s.wantAllWell()
}

func TestAWorldThatIsNotStarted(t *testing.T) {
	t.Parallel()
	w, err := New(t.Context(), Settings{Scenario: Town(), Profile: Calm(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w.Disturb()
	if p := w.Position(journal.Account{Debtor: townLoaves, Creditor: FirstCustomer + 1}); p.Now != 0 {
		t.Errorf("a position before the start: %+v", p)
	}
	if locator, debtor := w.Base(); debtor != townEuro || !strings.HasPrefix(locator, "https://127.0.0.1:") {
		t.Errorf("the base is %d, %s", debtor, locator)
	}
	if w.Positions(5) != nil || w.Story(5) != "" || w.Locator(5) != "" {
		t.Error("there is something about strangers")
	}
	if r := w.Report(); r.Final || len(r.Currencies) != 0 {
		t.Errorf("a report before the start: %+v", r)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

// A world that is started before its broker begins when that appears. A second one does not begin there.
func TestStartWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewVirtualHost(t))
	proxy.Refuse()
	var log lockedBuffer
	newWorld := func() *World {
		w, err := New(t.Context(), Settings{
			BrokerURL: proxy.URL(), Scenario: Town(), Profile: Calm(), Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
		})
		return w
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newWorld().Start(impatient); err == nil {
		t.Error("a world has started without its broker")
	}
	w := newWorld()
	started := make(chan error, 1)
	go func() { started <- w.Start(t.Context()) }()
	testenv.Eventually(t, patience, func() error {
		if !strings.Contains(log.String(), "waiting for the broker") {
			return errors.New("nobody waits")
		}
		return nil
	})
	if w.Report().Currencies != nil {
		t.Error("the world has begun without its broker")
	}
	proxy.Accept()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if err := newWorld().Start(t.Context()); !errors.Is(err, ErrBeforeUs) {
		t.Errorf("a second world on the same broker: %v", err)
	}
}

// A lockedBuffer may be used by several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// Somebody who says the same again and again keeps the world from coming to rest.
func TestRestlessService(t *testing.T) {
	t.Parallel()
	s := newStage(t, Town(), Calm())
	s.await("a ledger", func(f *fakeService) bool { return len(f.ledgers) > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Settle(ctx, time.Hour); !errors.Is(err, ErrUnsettled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("settling in vain: %v", err)
	}
	if s.Report().Final {
		t.Error("the report is final")
	}
}

// What the service may not say is refused, and not acknowledged as if all were well.
func TestInvalidMessagesAreNoticed(t *testing.T) {
	t.Parallel()
	s := newStage(t, Town(), Calm())
	bad := []broker.Publishing{
		{Type: "ConfigureAccount", ContentType: smp.ContentType, Body: []byte(`{"type":"ConfigureAccount"}`)},
		{Type: "AccountUpdate", ContentType: smp.ContentType, Body: []byte(`{}`)},
		{Type: "ConfigureAccount", ContentType: "text/plain", Body: body(&smp.ConfigureAccount{TS: begin})},
	}
	for i := range bad {
		bad[i].Exchange, bad[i].RoutingKey, bad[i].Mandatory = broker.CreditorsOut, shard.HexRoutingKey(townLoaves), true
	}
	if _, err := s.publisher.PublishAll(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		for _, v := range s.Report().Verdicts {
			if v.Check == "P1" && v.Failures == len(bad) {
				return nil
			}
		}
		return errors.New("not all have been refused")
	})
}

func TestCustomersAndOperators(t *testing.T) {
	t.Parallel()
	s := newStage(t, Town(), Calm())
	anna := journal.Account{Debtor: townLoaves, Creditor: FirstCustomer + 1}
	boris := journal.Account{Debtor: townLoaves, Creditor: FirstCustomer + 2}
	s.await("ledgers", func(f *fakeService) bool { return f.ledgers[anna] != nil && f.ledgers[boris] != nil })
	before := s.Position(anna)
	s.Pay(townLoaves, anna.Creditor, boris.Creditor, 1234)
	s.await("a payment", func(f *fakeService) bool {
		return f.ledgers[anna].Principal == before.Now-1234 && f.ledgers[boris].Principal == 500+1234
	})
	s.SetPolicy(anna, agent.Policy{MinPrincipal: 5, MaxPrincipal: 6})
	s.await("a policy", func(f *fakeService) bool { return f.policies[anna].MinPrincipal == 5 })
	s.Seize(anna, 1)
	s.await("a seizure", func(f *fakeService) bool { return f.ledgers[anna].Principal == before.Now-1235 })
	s.Delete(boris)
	s.await("a deletion", func(f *fakeService) bool { return f.ledgers[boris].AccountID == "" })
	testenv.Eventually(t, patience, func() error {
		if p := s.Position(boris); p.Now != 0 {
			return fmt.Errorf("what was on the deleted account is still there: %+v", p)
		}
		return nil
	})
	s.Hold(boris, smp.TypeUpdatedFlags)
	s.Open(boris)
	s.Release(boris, smp.TypeUpdatedFlags)
	s.await("a return", func(f *fakeService) bool { return f.ledgers[boris].AccountID != "" })
	s.ScheduleDeletion(boris)
	s.Issue(anna, 7)
	s.await("new tokens", func(f *fakeService) bool { return f.ledgers[anna].Principal == before.Now-1228 })
	s.SetFreedoms(townLoaves, authority.Freedoms{SkipUpdate: 1})
	if err := s.Remove(anna); err != nil {
		t.Error(err)
	}
	if err := s.Forget(anna); err == nil {
		t.Error("an account that does not exist was forgotten")
	}
	s.SetFreedoms(townLoaves, authority.Freedoms{})
	if err := s.Remove(journal.Account{Debtor: 5, Creditor: 5}); err == nil {
		t.Error("an account in an unknown currency was removed")
	}
	s.SetRate(townLoaves, -10)
	s.do(func(f *fakeService) { f.openCollector(townLoaves) })
	s.await("a rate", func(f *fakeService) bool {
		return f.collectors[townLoaves] != nil && f.collectors[townLoaves].InterestRate == -10
	})
	first := s.info(townLoaves)
	s.SetPeg(townLoaves, nil)
	s.await("a document", func(f *fakeService) bool { return f.collectors[townLoaves].DebtorInfoIRI != first })
	var document map[string]any
	fetch(t, s.client(), s.Locator(townLoaves), &document)
	if document["peg"] != nil {
		t.Errorf("the peg is still %v", document["peg"])
	}
	s.Disturb()
}

func (s *stage) info(debtor swpt.DebtorID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.service.collectors[debtor]; c != nil {
		return c.DebtorInfoIRI
	}
	return ""
}

func (s *stage) client() *http.Client { return clientOf(s.tb, s.World) }

// clientOf returns a client that trusts the issuers.
func clientOf(tb testing.TB, w *World) *http.Client {
	tb.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.CertificatePEM()) {
		tb.Fatal("there is no certificate")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}
	return &http.Client{Transport: transport}
}

// fetch gets a document.
func fetch(tb testing.TB, client *http.Client, url string, document any) {
	tb.Helper()
	response, err := client.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != coinInfoType {
		tb.Fatalf("%s: %s %v, %v", url, response.Status, response.Header, err)
	}
	if err := json.Unmarshal(text, document); err != nil {
		tb.Fatalf("%s: %v: %s", url, err, text)
	}
}
