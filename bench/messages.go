package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/policy"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	benchQueue = "bench"

	// What the servers may have in hand at a time when nothing but AMQP is measured.
	bareWindow   = 2000
	barePrefetch = 2000
	bareAckEvery = 500

	slowMessages = 3000 // for batches of one message, which take long
)

// newMessagesCommand measures the way of messages from the outbox to the broker, and from the broker into the database,
// on the servers that TEST_POSTGRES_URL and TEST_BROKER_URL lead to. It takes its databases and queues away again.
func newMessagesCommand(runs *int) *cobra.Command {
	var messages int
	cmd := &cobra.Command{
		Use:   "messages",
		Short: "Measure sending and handling messages",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return measureMessages(cmd.Context(), cmd.OutOrStdout(), *runs, messages)
		},
	}
	cmd.Flags().IntVar(&messages, "messages", 50_000, "messages in each run")
	return cmd
}

// A traffic is what messages are measured with.
type traffic struct {
	db       *workerdb.DB
	url      string // of the broker
	channel  *amqp.Channel
	messages int
}

func measureMessages(ctx context.Context, out io.Writer, runs, messages int) (err error) {
	t, closeAll, err := newTraffic(ctx, messages)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	type line struct {
		name, bare string // bare is the line that is compared with
		measure    func(context.Context) (perSecond float64, err error)
	}
	lines := []line{
		{"publish with confirms, bare", "", t.publishBare},
		{"send from the outbox, 1 flusher", "publish with confirms, bare", func(ctx context.Context) (float64, error) { return t.flush(ctx, 1) }},
		{"send from the outbox, 2 flushers", "publish with confirms, bare", func(ctx context.Context) (float64, error) { return t.flush(ctx, 2) }},
		{"send from the outbox, 4 flushers", "publish with confirms, bare", func(ctx context.Context) (float64, error) { return t.flush(ctx, 4) }},
		{"consume and acknowledge, bare", "", t.consumeBare},
	}
	for _, size := range []int{1, 10, 100, 1000} {
		lines = append(lines, line{
			"handle messages, batches of " + strconv.Itoa(size), "consume and acknowledge, bare",
			func(ctx context.Context) (float64, error) { return t.handle(ctx, size) },
		})
	}
	measured := make(map[string][]float64)
	for range runs { // in turn, so that noise is fair
		for _, l := range lines {
			perSecond, err := l.measure(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			measured[l.name] = append(measured[l.name], perSecond)
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(table, "\t%s messages\tper second\tof the bare one\tof batches of 1\t\n", humanize.Comma(int64(messages)))
	for _, l := range lines {
		perSecond := median(measured[l.name])
		ofBare, ofSingle := "", ""
		if l.bare != "" {
			ofBare = fmt.Sprintf("%.2f", perSecond/median(measured[l.bare]))
		}
		if l.bare == "consume and acknowledge, bare" {
			ofSingle = fmt.Sprintf("%.1f", perSecond/median(measured["handle messages, batches of 1"]))
		}
		_, _ = fmt.Fprintf(table, "\t%s\t%s\t%s\t%s\t\n", l.name, humanize.Comma(int64(perSecond)), ofBare, ofSingle)
	}
	return table.Flush()
}

// newTraffic makes a database and a queue. They have to be closed.
func newTraffic(ctx context.Context, messages int) (t *traffic, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	t = &traffic{url: os.Getenv("TEST_BROKER_URL"), messages: messages}
	if t.url == "" || os.Getenv("TEST_POSTGRES_URL") == "" {
		return nil, nil, errors.New(`there are no servers to measure on: run "make bench", or set TEST_POSTGRES_URL and TEST_BROKER_URL`)
	}
	db, closeDatabase, err := newDatabase(ctx, postgres.Options{})
	if err != nil {
		return nil, nil, err
	}
	t.db = db
	closers = append(closers, closeDatabase)

	conn, err := amqp.Dial(t.url)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, conn.Close)
	if t.channel, err = conn.Channel(); err != nil {
		return nil, nil, err
	}
	topology := broker.Topology{
		ProtocolURL: t.url, ProtocolQueue: benchQueue, RoutingKey: "#", Log: slog.New(slog.DiscardHandler),
	}
	if err := topology.Declare(ctx); err != nil {
		return nil, nil, err
	}
	closers = append(closers, func() error {
		_, err := t.channel.QueueDelete(benchQueue, false, false, false)
		return err
	})
	return t, closeAll, nil
}

// offer is a message of a kind of which there are many in each turn.
func offer(i int) *smp.CandidateOffer {
	return &smp.CandidateOffer{
		TurnID: 1, DebtorID: swpt.DebtorID(i), CreditorID: swpt.CreditorID(i), Amount: int64(1000 + i), TS: time.Unix(0, 0),
	}
}

func (t *traffic) purge() error {
	_, err := t.channel.QueuePurge(benchQueue, false)
	return err
}

// publishBare publishes messages with nothing but the AMQP library.
func (t *traffic) publishBare(ctx context.Context) (float64, error) {
	if err := t.purge(); err != nil {
		return 0, err
	}
	conn, err := amqp.Dial(t.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // all has been confirmed
	channel, err := conn.Channel()
	if err != nil {
		return 0, err
	}
	confirmed := channel.NotifyPublish(make(chan amqp.Confirmation, bareWindow))
	if err := channel.Confirm(false); err != nil {
		return 0, err
	}
	body, err := offer(1).AppendJSON(nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	inFlight := 0
	await := func() error {
		select {
		case c, ok := <-confirmed:
			if !ok || !c.Ack {
				return errors.New("the broker has not confirmed a message")
			}
			inFlight--
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range t.messages {
		if inFlight == bareWindow {
			if err := await(); err != nil {
				return 0, err
			}
		}
		err := channel.PublishWithContext(ctx, broker.ToTrade, "1.1.1", true, false, amqp.Publishing{
			ContentType: smp.ContentType, Type: smp.TypeCandidateOffer, DeliveryMode: amqp.Persistent, Body: body,
		})
		if err != nil {
			return 0, err
		}
		inFlight++
	}
	for inFlight > 0 {
		if err := await(); err != nil {
			return 0, err
		}
	}
	return float64(t.messages) / time.Since(start).Seconds(), nil
}

// flush sends what has been put into the outbox before.
func (t *traffic) flush(ctx context.Context, flushers int) (float64, error) {
	if err := t.purge(); err != nil {
		return 0, err
	}
	err := t.db.InTx(ctx, "bench", func(ctx context.Context, tx *workerdb.Tx) error {
		_, err := outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
			for i := range t.messages {
				if !yield(offer(i), nil) {
					return
				}
			}
		})
		return err
	})
	if err != nil {
		return 0, err
	}
	metrics := broker.NewMetrics(prometheus.NewRegistry())
	flusher, err := outbox.NewFlusher(outbox.Config{
		DB: t.db,
		NewPublisher: func(smp.Class) outbox.Publisher {
			return broker.NewPublisher(broker.PublisherConfig{URL: t.url, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
		},
		Types:     []string{smp.TypeCandidateOffer},
		Bursts:    map[string]int{smp.TypeCandidateOffer: 5000},
		Processes: flushers,
		Metrics:   outbox.NewMetrics(prometheus.NewRegistry()),
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := flusher.RunOnce(ctx); err != nil {
		return 0, err
	}
	elapsed := time.Since(start)
	var left int
	if err := t.db.Pool().QueryRow(ctx, "SELECT count(*) FROM outbox").Scan(&left); err != nil {
		return 0, err
	}
	if left > 0 {
		return 0, fmt.Errorf("%d messages are left in the outbox", left)
	}
	return float64(t.messages) / elapsed.Seconds(), nil
}

// fill puts updates of policies into the queue.
func (t *traffic) fill(ctx context.Context, messages int) error {
	if err := t.purge(); err != nil {
		return err
	}
	publisher := broker.NewPublisher(broker.PublisherConfig{
		URL: t.url, Metrics: broker.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	defer publisher.Close()
	batch := make([]broker.Publishing, messages)
	for i := range batch {
		m := &smp.UpdatedFlags{CreditorID: swpt.CreditorID(i), DebtorID: 1, UpdateID: 1, TS: time.Unix(0, 0)}
		body, err := m.AppendJSON(nil)
		if err != nil {
			return err
		}
		batch[i] = broker.Publishing{
			Exchange: broker.ToTrade, RoutingKey: "1.1.1", ContentType: smp.ContentType, Type: m.Type(), Body: body,
		}
	}
	_, err := publisher.PublishAll(ctx, batch)
	return err
}

// consumeBare takes messages from the queue with nothing but the AMQP library.
func (t *traffic) consumeBare(ctx context.Context) (float64, error) {
	if err := t.fill(ctx, t.messages); err != nil {
		return 0, err
	}
	conn, err := amqp.Dial(t.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // all has been acknowledged
	channel, err := conn.Channel()
	if err != nil {
		return 0, err
	}
	if err := channel.Qos(barePrefetch, 0, false); err != nil {
		return 0, err
	}
	start := time.Now()
	deliveries, err := channel.ConsumeWithContext(ctx, benchQueue, "bare", false, false, false, false, nil)
	if err != nil {
		return 0, err
	}
	for received := 1; received <= t.messages; received++ {
		d, ok := <-deliveries
		if !ok {
			return 0, errors.New("the broker sends no more messages")
		}
		if received%bareAckEvery == 0 || received == t.messages {
			if err := d.Ack(true); err != nil {
				return 0, err
			}
		}
	}
	return float64(t.messages) / time.Since(start).Seconds(), nil
}

// handle applies messages to the database, in batches of some size.
func (t *traffic) handle(ctx context.Context, batch int) (float64, error) {
	messages := t.messages
	if batch == 1 {
		messages = min(messages, slowMessages)
	}
	if _, err := t.db.Pool().Exec(ctx, "TRUNCATE trading_policy"); err != nil {
		return 0, err
	}
	if err := t.fill(ctx, messages); err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	rules := &inbox.Rules{}
	var handled atomic.Int64
	inbox.Add(rules, policy.HandleUpdatedFlags)
	handler := &countingHandler{
		Handler: inbox.Handler{
			DB: t.db, Rules: rules, Now: time.Now, Metrics: inbox.NewMetrics(prometheus.NewRegistry()),
		},
		handled: &handled, want: int64(messages), stop: stop,
	}
	consumer := broker.NewConsumer[smp.Message](broker.ConsumerConfig{
		URL: t.url, Queue: benchQueue, Parallelism: 1, PrefetchCount: 2 * batch, MaxBatch: batch,
		Metrics: broker.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}, handler)
	start := time.Now()
	if err := consumer.Run(ctx); err != nil {
		return 0, err
	}
	if handled.Load() != int64(messages) {
		return 0, fmt.Errorf("%d of %d messages have been handled", handled.Load(), messages)
	}
	return float64(messages) / time.Since(start).Seconds(), nil
}

// A countingHandler stops the consumer when enough messages have been handled.
type countingHandler struct {
	inbox.Handler
	handled *atomic.Int64
	want    int64
	stop    func()
}

func (h *countingHandler) Handle(ctx context.Context, batch []smp.Message) error {
	if err := h.Handler.Handle(ctx, batch); err != nil {
		return err
	}
	if h.handled.Add(int64(len(batch))) == h.want {
		h.stop()
	}
	return nil
}
