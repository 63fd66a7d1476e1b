package inbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	queue    = "swpt_trade"
	patience = 20 * time.Second
)

// A bench is a worker's queue, with a consumer that writes down the flags it is told of.
type bench struct {
	db      *workerdb.DB
	url     string
	channel *amqp.Channel
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{db: workerdbtest.New(t), url: testenv.NewVirtualHost(t)}
	create(t, b.db)
	topology := broker.Topology{ProtocolURL: b.url, ProtocolQueue: queue, RoutingKey: "0.#", Log: slog.New(slog.DiscardHandler)}
	if err := topology.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.channel = testenv.OpenChannel(t, b.url)
	return b
}

// publish puts messages into the queue.
func (b *bench) publish(t *testing.T, deliveries ...broker.Delivery) {
	t.Helper()
	p := broker.NewPublisher(broker.PublisherConfig{
		URL: b.url, Metrics: broker.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	defer p.Close()
	var batch []broker.Publishing
	for _, d := range deliveries {
		batch = append(batch, broker.Publishing{
			RoutingKey: queue, Mandatory: true, ContentType: d.ContentType, Type: d.Type, Body: d.Body,
		})
	}
	outcomes, err := p.PublishAll(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, outcome := range outcomes {
		if outcome != broker.Confirmed {
			t.Fatalf("message %d is %v", i, outcome)
		}
	}
}

// noting returns rules that write down flags.
func noting() *inbox.Rules {
	rules := &inbox.Rules{}
	inbox.Add(rules, func(ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.UpdatedFlags) error {
		var got [][]int64
		return note(ctx, tx, &got, 'f', batch, func(m *smp.UpdatedFlags) int64 { return m.UpdateID })
	})
	return rules
}

// consume handles messages until the returned function is called, or the test ends. The function waits for the end, and
// returns the consumer's error.
func (b *bench) consume(t *testing.T) (stop func() error) {
	t.Helper()
	consumer := broker.NewConsumer[smp.Message](broker.ConsumerConfig{
		URL: b.url, Queue: queue, Parallelism: 2, PrefetchCount: 50,
		Metrics: broker.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}, newHandler(t, b.db, noting()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	var err error
	stop = func() error {
		if cancel != nil {
			cancel()
			cancel, err = nil, <-ended
		}
		return err
	}
	t.Cleanup(func() { _ = stop() }) // a test that cares has called it
	return stop
}

func (b *bench) waitForNotes(t *testing.T, want int) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if got := notes(t, b.db); got != want {
			return fmt.Errorf("there are %d notes, want %d", got, want)
		}
		return nil
	})
}

// Messages that nobody can handle are found in the dead-letter queue, as they were; all others are handled.
func TestMalformedMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad := delivery(t, flags(ours, 0))
	huge := broker.Delivery{ContentType: smp.ContentType, Type: smp.TypeUpdatedFlags, Body: make([]byte, 1<<20)}
	b.publish(t, delivery(t, flags(ours, 1)), bad, delivery(t, flags(ours, 2)), huge, delivery(t, flags(ours, 3)))
	stop := b.consume(t)
	b.waitForNotes(t, 3)
	testenv.Eventually(t, patience, func() error {
		if n := testenv.QueueDepth(t, b.channel, queue+".XQ"); n != 2 {
			return fmt.Errorf("there are %d dead letters", n)
		}
		return nil
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for i, d := range testenv.Drain(t, b.channel, queue+".XQ") {
		if want := []broker.Delivery{bad, huge}[i]; !bytes.Equal(d.Body, want.Body) || d.Type != want.Type {
			t.Errorf("dead letter %d is another message: %s", i, d.Type)
		}
	}
	if n := len(testenv.Drain(t, b.channel, queue)); n != 0 {
		t.Errorf("%d messages are left in the queue", n)
	}
}

// A message of another shard ends the consumer, and is still there then, whereas others have been handled.
func TestMessageOfAnotherShard(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(t, delivery(t, flags(ours, 1)), delivery(t, flags(anothers, 2)))
	consumer := broker.NewConsumer[smp.Message](broker.ConsumerConfig{
		URL: b.url, Queue: queue, Parallelism: 1, PrefetchCount: 10,
		Metrics: broker.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}, newHandler(t, b.db, noting()))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := consumer.Run(ctx); !errors.Is(err, inbox.ErrOtherShard) {
		t.Fatalf("the error is %v", err)
	}
	mustNote(t, b.db, 1)
	testenv.Eventually(t, patience, func() error {
		if n := testenv.QueueDepth(t, b.channel, queue); n != 1 {
			return fmt.Errorf("%d messages are back in the queue", n)
		}
		return nil
	})
	left := testenv.Drain(t, b.channel, queue)
	if len(left) != 1 || !bytes.Equal(left[0].Body, delivery(t, flags(anothers, 2)).Body) {
		t.Errorf("%d messages are left", len(left))
	}
}

// When the database refuses the commit, nothing is acknowledged; the messages come again until it accepts.
func TestRefusedCommits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const messages = 500
	mustExec(t, b.db, `
		CREATE SEQUENCE attempt;
		CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$
		BEGIN
			-- Sequences go on counting when transactions are rolled back.
			IF NEW.number % 7 = 0 AND nextval('attempt') < 40 THEN
				RAISE EXCEPTION 'no';
			END IF;
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION refuse();`)
	var deliveries []broker.Delivery
	for i := range int64(messages) {
		deliveries = append(deliveries, delivery(t, flags(ours, 1+i)))
	}
	b.publish(t, deliveries...)
	stop := b.consume(t)
	b.waitForNotes(t, messages)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var different int
	if err := b.db.Pool().QueryRow(t.Context(), "SELECT count(DISTINCT number) FROM note").Scan(&different); err != nil {
		t.Fatal(err)
	}
	if left := len(testenv.Drain(t, b.channel, queue)); different != messages || left != 0 {
		t.Errorf("%d of %d messages have been handled, %d are left", different, messages, left)
	}
}

func mustExec(tb testing.TB, db *workerdb.DB, statements string) {
	tb.Helper()
	if _, err := db.Pool().Exec(tb.Context(), statements); err != nil {
		tb.Fatal(err)
	}
}
