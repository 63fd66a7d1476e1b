package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// handshakeTimeout bounds the making of a connection, unless the URL sets a connection_timeout.
	handshakeTimeout = 10 * time.Second
	// closeTimeout bounds the closing of a connection. What has been acknowledged before is on its way by then.
	closeTimeout = 2 * time.Second

	firstReconnectPause   = 200 * time.Millisecond
	longestReconnectPause = 10 * time.Second
)

var (
	// ErrUnreachable tells that no broker answers: it is not there, it is starting or stopping, or the connection to it
	// has been lost. The same attempt may succeed later. Errors of this package that do not wrap it are answers, and trying
	// again helps only when somebody has changed something.
	ErrUnreachable = errors.New("the broker cannot be reached")
	// ErrURL tells that a URL is not one of a broker. Errors never quote URLs, because there are passwords in them.
	ErrURL = errors.New("not a valid AMQP URL: it must look like amqp://user:password@host:5672/vhost, " +
		"with special characters in the user name and the password percent-encoded")
)

// A connection is a connection to the broker that can be cut off whatever the library may be waiting for.
type connection struct {
	*amqp.Connection
	socket net.Conn
}

// connect makes a connection, which the broker's management shows under the given name. It returns when the connection
// is open, the attempt has failed or taken too long, or the context has ended.
func connect(ctx context.Context, brokerURL, name string) (*connection, error) {
	uri, err := parseURL(brokerURL)
	if err != nil {
		return nil, err
	}
	timeout := handshakeTimeout
	if uri.ConnectionTimeout > 0 {
		timeout = time.Duration(uri.ConnectionTimeout) * time.Millisecond
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	// The library's handshake knows nothing of contexts, so the end of the context closes the socket under it.
	var c connection
	keep := func() bool { return true }
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	c.Connection, err = amqp.DialConfig(brokerURL, amqp.Config{
		Properties: properties,
		Dial: func(network, address string) (net.Conn, error) {
			socket, err := new(net.Dialer).DialContext(limited, network, address)
			if err != nil {
				return nil, err
			}
			c.socket = socket
			keep = context.AfterFunc(limited, c.abort)
			return socket, nil
		},
	})
	if kept := keep(); kept && err == nil {
		return &c, nil
	}
	if c.socket != nil {
		c.abort()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if limited.Err() != nil {
		err = fmt.Errorf("%w: no answer within %s", ErrUnreachable, timeout)
	}
	return nil, fmt.Errorf("connect to %s: %w", address(uri), classify(err))
}

// connectPatiently makes a connection, however long the broker cannot be reached.
func connectPatiently(ctx context.Context, brokerURL, name string, log *slog.Logger) (*connection, error) {
	attempt := func() (*connection, error) {
		c, err := connect(ctx, brokerURL, name)
		if err != nil && !errors.Is(err, ErrUnreachable) {
			return nil, backoff.Permanent(err)
		}
		return c, err
	}
	return backoff.Retry(ctx, attempt,
		backoff.WithBackOff(newReconnectPauses()),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, pause time.Duration) {
			log.WarnContext(ctx, "waiting for the broker", slog.Any("error", err), slog.Duration("pause", pause))
		}),
	)
}

// newReconnectPauses returns pauses that grow, and differ from client to client.
func newReconnectPauses() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = firstReconnectPause
	pauses.MaxInterval = longestReconnectPause
	pauses.Multiplier = 2
	return pauses
}

// close ends the connection politely if the broker takes part in it, and in any case soon. The broker has then seen
// all that was sent before.
func (c *connection) close() {
	cut := time.AfterFunc(closeTimeout, c.abort)
	defer cut.Stop()
	_ = c.Close() // the connection is gone either way
}

// abort cuts the connection off. Whatever waits for it fails.
func (c *connection) abort() {
	_ = c.socket.Close() // nothing can be done about a socket that does not close
}

// parseURL reads the URL of a broker. Parts that are missing get their defaults.
func parseURL(brokerURL string) (amqp.URI, error) {
	u, err := url.Parse(brokerURL)
	if err != nil {
		return amqp.URI{}, ErrURL // and not err, which quotes the URL
	}
	if u.User == nil && strings.Contains(brokerURL, "@") {
		return amqp.URI{}, ErrURL // a password with a slash in it, for example, which must not be taken for a host
	}
	uri, err := amqp.ParseURI(brokerURL)
	if err != nil {
		return amqp.URI{}, ErrURL
	}
	return uri, nil
}

// address names a broker in messages, without the password.
func address(uri amqp.URI) string {
	return fmt.Sprintf("broker %s, virtual host %q", net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)), uri.Vhost)
}

// classify wraps err in ErrUnreachable if it is not an answer of the broker.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrUnreachable) {
		return err
	}
	var reply *amqp.Error
	if errors.As(err, &reply) {
		// A broker that stops, or has not started a virtual host yet, says so. To a wrong password it says nothing, and
		// the library infers it.
		away := !reply.Server || reply.Code == amqp.ConnectionForced || reply.Code == amqp.InternalError
		if away && reply != amqp.ErrCredentials && reply != amqp.ErrSASL {
			return unreachable(err)
		}
		return err
	}
	if errors.As(err, new(net.Error)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return unreachable(err)
	}
	return err
}

// unreachable wraps err in ErrUnreachable.
func unreachable(err error) error { return fmt.Errorf("%w: %w", ErrUnreachable, err) }
