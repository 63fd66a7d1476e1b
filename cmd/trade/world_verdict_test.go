package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/world"
)

// A poorService does no more than it is told to.
type poorService struct {
	t          *testing.T
	publisher  *broker.Publisher
	deliveries <-chan amqp.Delivery
	account    *smp.AccountUpdate // of the collector
	prepared   *smp.PreparedTransfer
}

// What the poor service deals with: a collector, and a seller who gives away loaves.
const (
	poorCollector swpt.CreditorID = 0x10000000005
	loaves        swpt.DebtorID   = 8001
)

func newPoorService(t *testing.T, url string) *poorService {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	topology := broker.Topology{ProtocolURL: url, ProtocolQueue: "service", RoutingKey: "#", Log: log}
	if err := topology.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	metrics := broker.NewMetrics(prometheus.NewRegistry())
	s := &poorService{t: t, publisher: broker.NewPublisher(broker.PublisherConfig{URL: url, Metrics: metrics, Log: log})}
	t.Cleanup(s.publisher.Close)
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if s.deliveries, err = channel.Consume("service", "", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *poorService) say(m smp.Outgoing) {
	s.t.Helper()
	body, err := m.AppendJSON(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	envelope := m.Envelope()
	outcomes, err := s.publisher.PublishAll(s.t.Context(), []broker.Publishing{{
		Exchange: broker.CreditorsOut, RoutingKey: shard.HexRoutingKey(envelope.DebtorID), Mandatory: envelope.Mandatory,
		ContentType: smp.ContentType, Type: m.Type(), AppID: "swpt_trade", Headers: envelope.Headers(), Body: body,
	}})
	if err != nil || outcomes[0] != broker.Confirmed {
		s.t.Fatalf("%s: %v, %v", m.Type(), outcomes, err)
	}
}

// await waits until it has heard a message that will do.
func (s *poorService) await(do func(m smp.Message) bool) {
	s.t.Helper()
	for late := time.After(time.Minute); ; {
		select {
		case d := <-s.deliveries:
			m, err := smp.Parse(d.ContentType, d.Type, d.Body)
			if err != nil {
				s.t.Fatal(err)
			}
			if do(m) {
				return
			}
		case <-late:
			s.t.Fatal("the service hears nothing that will do")
		}
	}
}

// lock opens the collector's account, and locks the loaves of somebody who has some.
func (s *poorService) lock() {
	s.t.Helper()
	s.say(&smp.ConfigureAccount{DebtorID: loaves, CreditorID: poorCollector, TS: time.Now(), NegligibleAmount: 1e30})
	s.await(func(m smp.Message) bool {
		update, ok := m.(*smp.AccountUpdate)
		s.account = update
		return ok && update.AccountID != ""
	})
	seller := sellerOfLoaves()
	s.say(&smp.PrepareTransfer{
		CreditorID: seller, DebtorID: loaves, CoordinatorType: smp.CoordinatorAgent, CoordinatorID: int64(seller),
		CoordinatorRequestID: 1, MinLockedAmount: 1000, MaxLockedAmount: 1100, Recipient: s.account.AccountID,
		FinalInterestRateTS: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), MaxCommitDelay: 1<<31 - 1, TS: time.Now(),
	})
	s.await(func(m smp.Message) bool {
		prepared, ok := m.(*smp.PreparedTransfer)
		s.prepared = prepared
		return ok
	})
}

// finalize dismisses what has been locked, or has the seller give it to the collector.
func (s *poorService) finalize(amount int64) {
	s.t.Helper()
	m := &smp.FinalizeTransfer{
		CreditorID: s.prepared.CreditorID, DebtorID: loaves, TransferID: s.prepared.TransferID,
		CoordinatorType: smp.CoordinatorAgent, CoordinatorID: s.prepared.CoordinatorID,
		CoordinatorRequestID: s.prepared.CoordinatorRequestID, CommittedAmount: amount, TS: time.Now(),
	}
	if amount > 0 {
		note := smp.Note{Kind: smp.Collecting, TurnID: 1, First: poorCollector, Second: s.prepared.CreditorID}
		m.TransferNoteFormat, m.TransferNote = smp.NoteFormat, note.String()
	}
	s.say(m)
	s.await(func(m smp.Message) bool { return m.Type() == smp.TypeFinalizedTransfer })
}

func sellerOfLoaves() swpt.CreditorID {
	town := world.Town()
	for i := range town.Customers {
		for _, a := range town.Customers[i].Accounts {
			if a.Debtor == loaves && a.Balance > 2000 {
				return town.Customers[i].ID
			}
		}
	}
	return 0
}

// The status of the world tells whether the service has come to the end of what it has begun.
func TestWorldVerdict(t *testing.T) {
	t.Parallel()
	dismiss := func(s *poorService) {
		s.lock()
		s.finalize(0)
	}
	collect := func(s *poorService) {
		s.lock()
		s.finalize(1000)
	}
	const atRest = "The world has come to rest, and 1 transfers of the service are prepared"
	for name, c := range map[string]struct {
		args  []string
		act   func(s *poorService)
		code  int
		says  []string
		never string
	}{
		"tokens stay locked": {
			[]string{"--settling", "8s"},
			(*poorService).lock, exitFailure,
			[]string{atRest, "M8   BROKEN", "C9   holds"},
			"not come to rest",
		},
		"tokens are given back": {nil, dismiss, exitSuccess, []string{"M8   holds", "C9   holds"}, "come to rest, and"},
		"there is too little time": {
			[]string{"--settling", "1ms"}, dismiss, exitFailure, []string{"The world has not come to rest", "M1   no case"}, "BROKEN",
		},
		"tokens stay with a collector": {nil, collect, exitFailure, []string{"M8   holds", "P2   BROKEN"}, "come to rest, and"},
		"they may stay":                {[]string{"--kept", "0"}, collect, exitSuccess, []string{"M8   holds", "P2   no case"}, "BROKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			url := testenv.NewVirtualHost(t)
			out := &container{name: "world"}
			var stderr bytes.Buffer
			ended := make(chan int, 1)
			go func() {
				ended <- execute(ctx, nil, append([]string{"world", "--url", url}, c.args...), nil, out, &stderr)
			}()
			out.awaitWords(t, "The world has begun")
			c.act(newPoorService(t, url))
			cancel()
			if code := <-ended; code != c.code || (stderr.Len() > 0) != (code == exitFailure) {
				t.Errorf("it has ended with %d, want %d: %s\n%s", code, c.code, &stderr, out.said())
			}
			for _, text := range c.says {
				if !strings.Contains(out.said(), text) {
					t.Errorf("it does not say %q:\n%s", text, out.said())
				}
			}
			for _, text := range []string{c.never, "nothing is known about it"} {
				if strings.Contains(out.said(), text) {
					t.Errorf("it says %q:\n%s", text, out.said())
				}
			}
		})
	}
}
