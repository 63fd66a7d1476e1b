package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
)

// publisherName is what the broker's management shows.
const publisherName = "trade publisher"

// defaultConfirmTimeout is how long a broker may be silent, unless the configuration says otherwise.
const defaultConfirmTimeout = 30 * time.Second

// ErrConfirmTimeout tells that the broker has been silent for too long while confirmations were due.
var ErrConfirmTimeout = errors.New("the broker does not confirm what has been published")

// A Publishing is a message to be published. It is persistent.
//
// Publishings that agree in exchange, routing key, type and body are taken for the same message: if one of several such
// publishings is returned, any of them may be the one whose outcome is [Returned].
type Publishing struct {
	Exchange   string
	RoutingKey string
	Mandatory  bool // the broker shall return the message if no queue gets it

	ContentType string
	Type        string
	AppID       string
	Headers     map[string]any // the values may be of type bool, string, int32, int64
	Body        []byte
}

// An Outcome tells what has become of a publishing.
type Outcome uint8

// The possible outcomes. Only Confirmed means that the broker is responsible for the message from now on.
const (
	// Unknown tells that the broker may have got the message, or not.
	Unknown Outcome = iota
	// Confirmed tells that the broker has stored the message in every queue concerned, or that there is no such queue,
	// and the publishing was not mandatory.
	Confirmed
	// Returned tells that there is no queue that would get the message, and the publishing was mandatory.
	Returned
	// Nacked tells that the broker has refused responsibility, because a queue is full or in trouble. Other queues may
	// have got the message.
	Nacked
)

// String implements [fmt.Stringer].
func (o Outcome) String() string {
	switch o {
	case Unknown:
		return "unknown"
	case Confirmed:
		return "confirmed"
	case Returned:
		return "returned"
	case Nacked:
		return "nacked"
	default:
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
}

// PublisherConfig says where a publisher publishes.
type PublisherConfig struct {
	URL            string
	ConfirmTimeout time.Duration // how long the broker may be silent while confirmations are due; 0 means 30 s
	Metrics        *Metrics
	Log            *slog.Logger
}

// A Publisher publishes messages and waits until the broker has confirmed them. It has one connection, which it makes
// when it needs one. Calls from several goroutines take turns; to publish in parallel, use several publishers.
type Publisher struct {
	config PublisherConfig
	turn   chan struct{} // holds an element while a call is going on
	line   *line         // the open channel to the broker; nil if there has been none yet

	reconnects prometheus.Counter
}

// NewPublisher returns a publisher that is not connected yet.
func NewPublisher(config PublisherConfig) *Publisher {
	if config.ConfirmTimeout == 0 {
		config.ConfirmTimeout = defaultConfirmTimeout
	}
	return &Publisher{
		config: config, turn: make(chan struct{}, 1), reconnects: config.Metrics.reconnectsOf("publisher"),
	}
}

// Connect makes a connection to the broker if there is none, however long the broker cannot be reached. Call it before
// taking what others wait for, a database transaction for example. An error tells that the context has ended, or that
// the broker has refused.
func (p *Publisher) Connect(ctx context.Context) error {
	if err := p.takeTurn(ctx); err != nil {
		return err
	}
	defer p.endTurn()
	return p.ensureLine(ctx, func() (*connection, error) {
		return connectPatiently(ctx, p.config.URL, publisherName, p.config.Log)
	})
}

// PublishAll publishes a batch, and returns the outcome of each publishing when the broker has confirmed them all. The
// whole batch is held in memory, so the caller must limit it.
//
// If the connection breaks, PublishAll makes another one and repeats, once, what has no outcome yet; so a message may be
// published twice. If that fails too, if the broker is silent for too long, or if the context ends, it returns an error
// that tells why, and the outcome of some publishings is [Unknown]. Otherwise the error is nil: to be returned or nacked
// is an outcome.
func (p *Publisher) PublishAll(ctx context.Context, batch []Publishing) ([]Outcome, error) {
	outcomes := make([]Outcome, len(batch))
	for i := range batch {
		if err := batch[i].check(); err != nil {
			return outcomes, fmt.Errorf("publishing %d of %d: %w", i+1, len(batch), err)
		}
	}
	if err := p.takeTurn(ctx); err != nil {
		return outcomes, err
	}
	defer p.endTurn()
	err := p.publishUnknown(ctx, batch, outcomes)
	if errors.Is(err, errInterrupted) {
		p.config.Log.WarnContext(ctx, "lost the connection while publishing, trying once more", slog.Any("error", err))
		err = p.publishUnknown(ctx, batch, outcomes)
	}
	return outcomes, err
}

// Close closes the connection to the broker. It waits for calls that are going on.
func (p *Publisher) Close() {
	p.turn <- struct{}{}
	defer p.endTurn()
	p.hangUp()
}

// publishUnknown publishes the part of the batch that has no outcome yet.
func (p *Publisher) publishUnknown(ctx context.Context, batch []Publishing, outcomes []Outcome) error {
	err := p.ensureLine(ctx, func() (*connection, error) { return connect(ctx, p.config.URL, publisherName) })
	if err != nil {
		return err
	}
	b := newBurst(p.line, batch, outcomes, p.config.Metrics)
	if err := b.run(ctx, p.config.ConfirmTimeout); err != nil {
		p.hangUp() // confirmations that come now would be taken for those of the next burst
		return fmt.Errorf("publish %d messages: %w", len(batch), err)
	}
	return nil
}

// ensureLine makes a new line to the broker unless there is one that is open.
func (p *Publisher) ensureLine(ctx context.Context, connect func() (*connection, error)) error {
	if p.line != nil && !p.line.channel.IsClosed() {
		return nil
	}
	again := p.line != nil
	p.hangUp()
	conn, err := connect()
	if err != nil {
		return err
	}
	line, err := openLine(ctx, conn)
	if err != nil {
		return err
	}
	p.line = line
	if again {
		p.reconnects.Inc()
	}
	return nil
}

func (p *Publisher) hangUp() {
	if p.line != nil {
		p.line.conn.close()
	}
}

func (p *Publisher) takeTurn(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the publisher: %w", context.Cause(ctx))
	}
}

func (p *Publisher) endTurn() { <-p.turn }

// check refuses what cannot be encoded. Sent nevertheless, it would break the connection.
func (p *Publishing) check() error {
	short := []string{p.Exchange, p.RoutingKey, p.ContentType, p.Type, p.AppID}
	if slices.ContainsFunc(short, func(s string) bool { return len(s) > 255 }) {
		return errors.New("exchange, routing key and properties may have at most 255 bytes")
	}
	if err := amqp.Table(p.Headers).Validate(); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	return nil
}
