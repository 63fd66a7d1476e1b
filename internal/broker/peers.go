package broker

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// CreditorsAgent is the exchange that gets what accounting authorities send to the customers of the creditors agent.
// The agent declares it, and not the service.
const CreditorsAgent = "ca.creditors"

// A PeerQueue is a durable queue of a peer of the service: a creditors agent, or the gateway of an accounting
// authority.
type PeerQueue struct {
	Name        string
	Exchange    string         // one of those that this package names
	RoutingKeys []string       // a binding for each; topic exchanges understand patterns
	Headers     map[string]any // a headers exchange looks at these instead: all of them must be equal
}

// DeclarePeers declares what the peers of the service have on its protocol broker: the exchanges that they share with
// the service, the one of the creditors agent, and queues. It may be repeated. Errors are those of [Topology.Declare].
func DeclarePeers(ctx context.Context, brokerURL string, queues []PeerQueue) error {
	steps := append(protocolExchanges(), exchange(CreditorsAgent, amqp.ExchangeTopic, nil), step{
		"the binding of exchange " + CreditorsAgent + " to " + CreditorsIn, func(channel *amqp.Channel) error {
			arguments := amqp.Table{"x-match": "all", "ca-creditors": true}
			return channel.ExchangeBind(CreditorsAgent, "", CreditorsIn, false, arguments)
		},
	})
	for _, q := range queues {
		steps = append(steps, q.steps()...)
	}
	t := Topology{ProtocolURL: brokerURL}
	return t.declare(ctx, brokerURL, steps)
}

// HasQueue tells whether there is a queue of some name. An error wraps [ErrUnreachable] if the broker does not answer.
func HasQueue(ctx context.Context, brokerURL, name string) (found bool, err error) {
	err = onChannel(ctx, brokerURL, func(_ *connection, channel *amqp.Channel) error {
		_, err := channel.QueueDeclarePassive(name, true, false, false, false, nil)
		if isReply(err, amqp.NotFound) {
			return nil
		}
		found = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for queue %q: %w", name, err)
	}
	return found, nil
}

// steps declare the queue, and then its bindings.
func (q *PeerQueue) steps() []step {
	var arguments amqp.Table
	keys := q.RoutingKeys
	if q.Headers != nil {
		arguments = amqp.Table{"x-match": "all"}
		for name, value := range q.Headers {
			arguments[name] = value
		}
		keys = []string{""}
	}
	steps := []step{queue(q.Name, nil)}
	for _, key := range keys {
		what := fmt.Sprintf("the binding of queue %q to exchange %s", q.Name, q.Exchange)
		steps = append(steps, step{what, func(channel *amqp.Channel) error {
			return channel.QueueBind(q.Name, key, q.Exchange, false, arguments)
		}})
	}
	return steps
}
