package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

var sentAt = time.Date(2025, 1, 2, 3, 4, 5, 678901000, time.UTC)

// A world is an outbox and a broker, both empty.
type world struct {
	db        *workerdb.DB
	brokerURL string
	channel   *amqp.Channel
	log       *logbook
	metrics   *prometheus.Registry // of the database
}

// The queues of a world. The worker gets everything that workers send each other; the authority with the debtor ID 1 is
// connected, others are not.
const (
	workerQueue    = "worker"
	authorityQueue = "authority"

	connected   = swpt.DebtorID(1)
	unconnected = swpt.DebtorID(2)
)

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := newDatabase(tb)
	w.brokerURL = testenv.NewVirtualHost(tb)
	w.channel = testenv.OpenChannel(tb, w.brokerURL)
	declare(tb, w.brokerURL, w.channel)
	w.bind(tb, workerQueue, "#", broker.ToTrade)
	return w
}

// newDatabaseURL returns the URL of a migrated database.
func newDatabaseURL(tb testing.TB) string {
	tb.Helper()
	key, err := workerdb.Migrations().Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return testenv.NewDatabaseFrom(tb, key, func(text string) error {
		url, err := postgres.ParseURL(text)
		if err != nil {
			return err
		}
		return workerdb.Migrations().Up(context.WithoutCancel(tb.Context()), url)
	})
}

// newDatabase returns a world without a broker.
func newDatabase(tb testing.TB) *world {
	tb.Helper()
	metrics := prometheus.NewRegistry()
	return &world{db: open(tb, newDatabaseURL(tb), metrics), log: &logbook{}, metrics: metrics}
}

func open(tb testing.TB, text string, metrics prometheus.Registerer) *workerdb.DB {
	tb.Helper()
	url, err := postgres.ParseURL(text)
	if err != nil {
		tb.Fatal(err)
	}
	db, err := workerdb.Open(url, postgres.Options{
		Retry:      postgres.Retry{Limit: 3, Pause: time.Millisecond, MaxPause: time.Millisecond},
		Registerer: metrics,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	return db
}

// declare makes the exchanges, and the queues, to which only the authority's is bound.
func declare(tb testing.TB, brokerURL string, channel *amqp.Channel) {
	tb.Helper()
	topology := broker.Topology{
		ProtocolURL: brokerURL, ProtocolQueue: workerQueue, RoutingKey: "#", Log: slog.New(slog.DiscardHandler),
	}
	if err := topology.Declare(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if err := channel.QueueUnbind(workerQueue, "#", broker.ToTrade, nil); err != nil {
		tb.Fatal(err)
	}
	if _, err := channel.QueueDeclare(authorityQueue, true, false, false, false, nil); err != nil {
		tb.Fatal(err)
	}
	if err := channel.QueueBind(authorityQueue, "00.00.00.00.00.00.00.01.#", broker.CreditorsOut, false, nil); err != nil {
		tb.Fatal(err)
	}
}

func (w *world) bind(tb testing.TB, queue, key, exchange string) {
	tb.Helper()
	if err := w.channel.QueueBind(queue, key, exchange, false, nil); err != nil {
		tb.Fatal(err)
	}
}

// append appends messages to the outbox, in a transaction.
func (w *world) append(tb testing.TB, messages ...smp.Outgoing) {
	tb.Helper()
	err := w.db.InTx(tb.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		return outbox.Append(ctx, tx, messages...)
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// appendAll appends copies of a message that are numbered from 0.
func (w *world) appendAll(tb testing.TB, count int) {
	tb.Helper()
	err := w.db.InTx(tb.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		_, err := outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
			var m smp.ReviseAccountLock
			for n := range count {
				m = *numbered(n)
				if !yield(&m, nil) {
					return
				}
			}
		})
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// numbered returns a message to a worker that can be told from others.
func numbered(n int) *smp.ReviseAccountLock {
	return &smp.ReviseAccountLock{CreditorID: swpt.CreditorID(n), DebtorID: connected, TurnID: int32(n), TS: sentAt}
}

// numberOf returns the number of a message that numbered has made.
func numberOf(tb testing.TB, delivery amqp.Delivery) int {
	tb.Helper()
	var m struct {
		TurnID int `json:"turn_id"`
	}
	if err := json.Unmarshal(delivery.Body, &m); err != nil {
		tb.Fatal(err)
	}
	return m.TurnID
}

func finalize(debtor swpt.DebtorID, creditor swpt.CreditorID) *smp.FinalizeTransfer {
	return &smp.FinalizeTransfer{
		CreditorID: creditor, DebtorID: debtor, CoordinatorType: smp.CoordinatorAgent, CoordinatorID: int64(creditor), TS: sentAt,
	}
}

func prepare(debtor swpt.DebtorID, creditor swpt.CreditorID) *smp.PrepareTransfer {
	return &smp.PrepareTransfer{
		CreditorID: creditor, DebtorID: debtor, CoordinatorType: smp.CoordinatorAgent, CoordinatorID: int64(creditor),
		FinalInterestRateTS: sentAt, TS: sentAt,
	}
}

// config returns the configuration of a flusher that sends everything to the broker of the world.
func (w *world) config() outbox.Config {
	return outbox.Config{
		DB:           w.db,
		NewPublisher: func(smp.Class) outbox.Publisher { return newPublisher(w.brokerURL) },
		Processes:    1,
		Period:       time.Hour,
		Metrics:      outbox.NewMetrics(nil),
		Logger:       w.log.logger(),
	}
}

func newPublisher(brokerURL string) *broker.Publisher {
	return broker.NewPublisher(broker.PublisherConfig{
		URL: brokerURL, Metrics: broker.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
}

func newFlusher(tb testing.TB, config outbox.Config) *outbox.Flusher {
	tb.Helper()
	flusher, err := outbox.NewFlusher(config)
	if err != nil {
		tb.Fatal(err)
	}
	return flusher
}

// flush sends what is in the outbox.
func flush(tb testing.TB, config outbox.Config) {
	tb.Helper()
	if err := newFlusher(tb, config).RunOnce(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// run runs a flusher until the test, or stop, ends it.
func run(tb testing.TB, config outbox.Config) (stop func()) {
	tb.Helper()
	flusher := newFlusher(tb, config)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var group errgroup.Group
	group.Go(func() error { return flusher.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		if err := group.Wait(); err != nil {
			tb.Errorf("the flusher has failed: %v", err)
		}
	})
	tb.Cleanup(stop)
	return stop
}

// mustHold compares the number of records in the outbox.
func (w *world) mustHold(tb testing.TB, want int) {
	tb.Helper()
	if got := count(tb, w.db); got != want {
		tb.Errorf("the outbox holds %d records, want %d", got, want)
	}
}

func count(tb testing.TB, db *workerdb.DB) (records int) {
	tb.Helper()
	if err := db.Pool().QueryRow(tb.Context(), `SELECT count(*) FROM outbox`).Scan(&records); err != nil {
		tb.Fatal(err)
	}
	return records
}

// eventuallyHolds waits until the outbox holds a number of records.
func (w *world) eventuallyHolds(tb testing.TB, want int) {
	tb.Helper()
	testenv.Eventually(tb, patience, func() error {
		if got := count(tb, w.db); got != want {
			return fmt.Errorf("the outbox holds %d records, want %d", got, want)
		}
		return nil
	})
}

func (w *world) exec(tb testing.TB, statements string) {
	tb.Helper()
	if _, err := w.db.Pool().Exec(tb.Context(), statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		tb.Fatal(err)
	}
}

// mustReceive takes all numbered messages out of the queue of the worker, and checks that each of those below count is
// there: once, or at least once.
func (w *world) mustReceive(tb testing.TB, count int, duplicatesAllowed bool) {
	tb.Helper()
	received := make([]int, count)
	total := 0
	deliveries := consume(tb, w.channel, workerQueue)
	for i := range deliveries {
		received[numberOf(tb, deliveries[i])]++
		total++
	}
	for n, times := range received {
		if times == 0 || times > 1 && !duplicatesAllowed {
			tb.Fatalf("message %d was received %d times; there were %d in all, for %d numbers", n, times, total, count)
		}
	}
}

// consume takes all messages out of a queue, fast.
func consume(tb testing.TB, channel *amqp.Channel, queue string) []amqp.Delivery {
	tb.Helper()
	depth := testenv.QueueDepth(tb, channel, queue)
	deliveries, err := channel.Consume(queue, "test", true, false, false, false, nil)
	if err != nil {
		tb.Fatal(err)
	}
	messages := make([]amqp.Delivery, 0, depth)
	for len(messages) < depth {
		select {
		case delivery := <-deliveries:
			messages = append(messages, delivery)
		case <-time.After(patience):
			tb.Fatalf("got %d of %d messages", len(messages), depth)
		}
	}
	if err := channel.Cancel("test", false); err != nil {
		tb.Fatal(err)
	}
	return messages
}

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestMain(m *testing.M) {
	if os.Getenv(crashVariable) != "" {
		flushAndCrash()
	}
	os.Exit(m.Run())
}
