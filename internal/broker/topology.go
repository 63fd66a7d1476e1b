package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The exchanges that the service declares. Others publish to them and bind queues of their own, so the names are part of
// the protocol.
const (
	CreditorsIn    = "creditors_in"       // gets what accounting authorities send to creditors
	CreditorsOut   = "creditors_out"      // gets what creditors send to accounting authorities
	LoopbackFilter = "ca.loopback_filter" // gets what nobody takes from CreditorsOut
	ToTrade        = "to_trade"           // gets what is meant for the workers of this service
)

// deadLetterSuffix makes the name of a queue's dead-letter queue. Operators have policies for names that end so.
const deadLetterSuffix = ".XQ"

const (
	// topologyName is what the broker's management shows.
	topologyName = "trade topology"
	// deletePause is the time between two looks at a queue that is to be deleted.
	deletePause = 3 * time.Second
)

// ErrConflict tells that an exchange or a queue exists already, and not with the properties it should have. It has not
// been changed: which of the two is right, and what becomes of the messages in a queue, is for people to decide.
var ErrConflict = errors.New("it exists with other properties: delete it by hand, or choose another name")

// Topology describes the exchanges, queues and bindings of one shard. There are two profiles. Without an InternalURL
// there is one broker and one classic queue for everything. With it, internal messages have a broker and a queue of their
// own, and the queues are replicated.
type Topology struct {
	ProtocolURL   string
	ProtocolQueue string
	InternalURL   string // may name the same virtual host as ProtocolURL
	InternalQueue string // used only with an InternalURL
	RoutingKey    string // which messages from ToTrade go to the queues: the shard
	Log           *slog.Logger
}

// Declare makes what does not exist yet, in an order in which no message gets lost. It may be repeated. An error wraps
// [ErrConflict] if something exists with other properties, and [ErrUnreachable] if a broker does not answer.
//
// If both URLs name the same virtual host, the internal queue is declared but not bound: bound, it would get a copy of
// every message that the protocol queue gets.
func (t *Topology) Declare(ctx context.Context) error {
	protocol := append(protocolExchanges(), t.queueSteps(t.ProtocolQueue)...)
	protocol = append(protocol, bindQueue(t.ProtocolQueue, t.RoutingKey))
	if t.InternalURL == "" {
		return t.declare(ctx, t.ProtocolURL, protocol)
	}
	same, err := SameVirtualHost(t.ProtocolURL, t.InternalURL)
	if err != nil {
		return err
	}
	internal := append([]step{toTradeExchange()}, t.queueSteps(t.InternalQueue)...)
	if same {
		t.Log.WarnContext(ctx, "both brokers are one, so the internal queue is not bound, and gets no messages. "+
			"If an earlier version has bound it, messages come twice, which does no harm; "+
			"the broker's management can remove such a binding",
			slog.String("queue", t.InternalQueue), slog.String("exchange", ToTrade),
			slog.String("routing_key", t.RoutingKey))
	} else {
		internal = append(internal, bindQueue(t.InternalQueue, t.RoutingKey))
	}
	if err := t.declare(ctx, t.ProtocolURL, protocol); err != nil {
		return err
	}
	return t.declare(ctx, t.InternalURL, internal)
}

// Unbind removes the bindings of the queues, so they get no more messages. It may be repeated.
func (t *Topology) Unbind(ctx context.Context) error {
	return t.eachQueue(func(brokerURL, queue string) error {
		return onChannel(ctx, brokerURL, func(_ *connection, channel *amqp.Channel) error {
			if err := channel.QueueUnbind(queue, t.RoutingKey, ToTrade, nil); err != nil && !isReply(err, amqp.NotFound) {
				return fmt.Errorf("unbind queue %q from exchange %q, routing key %q: %w", queue, ToTrade, t.RoutingKey, err)
			}
			return nil
		})
	})
}

// DeleteQueues waits until the queues are empty and have no consumers, and deletes them. A missing queue counts as
// deleted. Dead-letter queues stay. It can take any time; the end of the context ends it.
func (t *Topology) DeleteQueues(ctx context.Context) error {
	return t.eachQueue(func(brokerURL, queue string) error {
		for {
			deleted, err := deleteIfUnused(ctx, brokerURL, queue)
			if deleted || err != nil {
				return err
			}
			t.Log.InfoContext(ctx, "waiting until a queue is empty and unused", slog.String("queue", queue))
			select {
			case <-time.After(deletePause):
			case <-ctx.Done():
				return fmt.Errorf("delete queue %q, which is still in use: %w", queue, context.Cause(ctx))
			}
		}
	})
}

// SameVirtualHost tells whether two URLs name the same virtual host of the same broker. What a URL leaves out has its
// default; the letter case of the host does not matter.
func SameVirtualHost(url1, url2 string) (bool, error) {
	var names [2]string
	for i, brokerURL := range []string{url1, url2} {
		uri, err := parseURL(brokerURL)
		if err != nil {
			return false, err
		}
		host := net.JoinHostPort(strings.ToLower(uri.Host), strconv.Itoa(uri.Port))
		names[i] = host + "/" + uri.Vhost
	}
	return names[0] == names[1], nil
}

func (t *Topology) eachQueue(do func(brokerURL, queue string) error) error {
	if err := do(t.ProtocolURL, t.ProtocolQueue); err != nil || t.InternalURL == "" {
		return err
	}
	return do(t.InternalURL, t.InternalQueue)
}

// A step declares one thing.
type step struct {
	what string
	do   func(*amqp.Channel) error
}

func (t *Topology) declare(ctx context.Context, brokerURL string, steps []step) error {
	return onChannel(ctx, brokerURL, func(conn *connection, channel *amqp.Channel) error {
		version, _ := conn.Properties["version"].(string)
		if t.InternalURL != "" && dropsDeadLetters(version) {
			t.Log.WarnContext(ctx, "RabbitMQ before 3.12 may drop dead letters instead of keeping them in a stream",
				slog.String("version", version))
		}
		for _, s := range steps {
			err := s.do(channel)
			if isReply(err, amqp.PreconditionFailed) {
				err = fmt.Errorf("%w (%w)", ErrConflict, err)
			}
			if err != nil {
				return fmt.Errorf("declare %s: %w", s.what, err)
			}
		}
		return nil
	})
}

// dropsDeadLetters tells whether a version of RabbitMQ is one of those whose queues cannot hand dead letters to streams.
func dropsDeadLetters(version string) bool {
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return err == nil && (major < 3 || major == 3 && minor < 12)
}

func protocolExchanges() []step {
	return []step{
		exchange(CreditorsIn, amqp.ExchangeHeaders, nil),
		exchange(LoopbackFilter, amqp.ExchangeHeaders, nil),
		exchange(CreditorsOut, amqp.ExchangeTopic, amqp.Table{"alternate-exchange": LoopbackFilter}),
		toTradeExchange(),
		{"the binding of exchange " + ToTrade + " to " + CreditorsIn, func(channel *amqp.Channel) error {
			return channel.ExchangeBind(ToTrade, "", CreditorsIn, false, amqp.Table{"x-match": "all", "ca-trade": true})
		}},
	}
}

func toTradeExchange() step { return exchange(ToTrade, amqp.ExchangeTopic, nil) }

func exchange(name, kind string, arguments amqp.Table) step {
	return step{fmt.Sprintf("exchange %q", name), func(channel *amqp.Channel) error {
		return channel.ExchangeDeclare(name, kind, true, false, false, false, arguments)
	}}
}

// queueSteps declare a queue, after its dead-letter queue.
func (t *Topology) queueSteps(name string) []step {
	deadLetters := name + deadLetterSuffix
	arguments := amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": deadLetters}
	var deadLetterArguments amqp.Table
	if t.InternalURL != "" {
		deadLetterArguments = amqp.Table{"x-queue-type": "stream"}
		arguments["x-queue-type"] = "quorum"
		// Brokers know this only as "x-overflow", so it has no effect. But queues that exist have been declared so.
		arguments["overflow"] = "reject-publish"
	}
	return []step{queue(deadLetters, deadLetterArguments), queue(name, arguments)}
}

func queue(name string, arguments amqp.Table) step {
	return step{fmt.Sprintf("queue %q", name), func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclare(name, true, false, false, false, arguments)
		return err
	}}
}

func bindQueue(name, routingKey string) step {
	return step{fmt.Sprintf("the binding of queue %q to exchange %s", name, ToTrade), func(channel *amqp.Channel) error {
		return channel.QueueBind(name, routingKey, ToTrade, false, nil)
	}}
}

// deleteIfUnused deletes a queue that is empty and has no consumers, and tells whether there is no queue any more.
func deleteIfUnused(ctx context.Context, brokerURL, queue string) (deleted bool, err error) {
	err = onChannel(ctx, brokerURL, func(_ *connection, channel *amqp.Channel) error {
		state, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
		if isReply(err, amqp.NotFound) {
			deleted = true
			return nil
		}
		if err != nil || state.Messages > 0 || state.Consumers > 0 {
			return err
		}
		_, err = channel.QueueDelete(queue, true, true, false)
		deleted = err == nil
		if isReply(err, amqp.PreconditionFailed) {
			return nil // a message or a consumer has come in between
		}
		return err
	})
	if isReply(err, amqp.NotImplemented) {
		// Of a quorum queue, the broker deletes only what may be in use. We have seen a moment ago that it is not.
		err = onChannel(ctx, brokerURL, func(_ *connection, channel *amqp.Channel) error {
			_, err := channel.QueueDelete(queue, false, false, false)
			deleted = err == nil
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("delete queue %q: %w", queue, err)
	}
	return deleted, nil
}

// onChannel calls do with a channel that lasts as long as the call and the context.
func onChannel(
	ctx context.Context, brokerURL string, do func(*connection, *amqp.Channel) error,
) error {
	conn, err := connect(ctx, brokerURL, topologyName)
	if err != nil {
		return err
	}
	defer conn.close()
	unlink := context.AfterFunc(ctx, conn.abort)
	defer unlink()
	channel, err := conn.Channel()
	if err == nil {
		err = do(conn, channel)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return classify(err)
}

// isReply tells whether err is the broker's reply of the given code.
func isReply(err error, code int) bool {
	var reply *amqp.Error
	return errors.As(err, &reply) && reply.Server && reply.Code == code
}
