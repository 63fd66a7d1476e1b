package testenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// How long one step on a broker may take: much longer than it ever does on a busy machine.
const brokerPatience = time.Minute

// NewVirtualHost returns the AMQP URL of a new, empty virtual host, with a user of its own, who can do everything there
// and nothing elsewhere. Both are deleted when the test ends, which closes the connections that are still open.
func NewVirtualHost(tb testing.TB) string {
	tb.Helper()
	server := serverURL(tb, "TEST_BROKER_URL")
	api := management(tb)
	name, password := uniqueName(tb), rand.Text()

	tb.Cleanup(func() {
		api.must(tb, http.MethodDelete, []string{"vhosts", name}, nil)
		api.must(tb, http.MethodDelete, []string{"users", name}, nil)
	})
	api.must(tb, http.MethodPut, []string{"vhosts", name}, nil)
	api.must(tb, http.MethodPut, []string{"users", name}, map[string]string{"password": password, "tags": ""})
	api.must(tb, http.MethodPut, []string{"permissions", name, name},
		map[string]string{"configure": ".*", "write": ".*", "read": ".*"})

	own := *server
	own.User = url.UserPassword(name, password)
	return withPath(&own, name)
}

// CloseConnections has the broker close all connections to a virtual host of NewVirtualHost. Their clients are told so,
// with code 320 (connection forced).
func CloseConnections(tb testing.TB, virtualHostURL string) {
	tb.Helper()
	u, err := url.Parse(virtualHostURL)
	if err != nil {
		tb.Fatalf("Closing connections: %v", err)
	}
	// By user, as the list of a virtual host's connections is seconds old.
	management(tb).must(tb, http.MethodDelete, []string{"connections", "username", u.User.Username()}, nil)
}

// OpenChannel returns a channel of a connection of its own. The connection is closed when the test ends.
func OpenChannel(tb testing.TB, brokerURL string) *amqp.Channel {
	tb.Helper()
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		tb.Fatalf("Connecting to the broker: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() }) // the test may have had it broken
	channel, err := conn.Channel()
	if err != nil {
		tb.Fatalf("Opening a channel: %v", err)
	}
	return channel
}

// QueueDepth returns the number of messages in a queue, without those that consumers have got and not acknowledged.
func QueueDepth(tb testing.TB, channel *amqp.Channel, queue string) int {
	tb.Helper()
	q, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		tb.Fatalf("Looking at queue %s: %v", queue, err)
	}
	return q.Messages
}

// Drain takes all messages that are in a queue out of it, and returns them, oldest first.
func Drain(tb testing.TB, channel *amqp.Channel, queue string) []amqp.Delivery {
	tb.Helper()
	var messages []amqp.Delivery
	for {
		message, ok, err := channel.Get(queue, true)
		if err != nil {
			tb.Fatalf("Taking messages from queue %s: %v", queue, err)
		}
		if !ok {
			return messages
		}
		messages = append(messages, message)
	}
}

// managementAPI is where a broker's management API is, with an administrator's name and password.
type managementAPI struct{ server *url.URL }

func management(tb testing.TB) managementAPI {
	tb.Helper()
	return managementAPI{serverURL(tb, "TEST_BROKER_MANAGEMENT_URL")}
}

// must makes a request, whose path is given in segments. The test has failed if the broker does not do what it says.
func (api managementAPI) must(tb testing.TB, method string, path []string, body any) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), brokerPatience)
	defer cancel()
	if err := api.request(ctx, method, path, body); err != nil {
		tb.Fatalf("Asking the broker's management API: %v", err)
	}
}

func (api managementAPI) request(ctx context.Context, method string, path []string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	target := withPath(api.server, append([]string{"api"}, path...)...)
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Close = true // what is kept alive would look like a leak to tests that look for leaks
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s %v: %s: %s", method, path, response.Status, answer)
	}
	return nil
}
