package testenv_test

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestVirtualHostsAreSeparate(t *testing.T) {
	t.Parallel()
	oneURL, twoURL := testenv.NewVirtualHost(t), testenv.NewVirtualHost(t)
	one, two := testenv.OpenChannel(t, oneURL), testenv.OpenChannel(t, twoURL)
	for _, channel := range []*amqp.Channel{one, two} {
		if _, err := channel.QueueDeclare("queue", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := channel.ExchangeDeclare("random", "x-random", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, one, "queue", "a", "b", "c")
	testenv.Eventually(t, 10*time.Second, func() error {
		if n := testenv.QueueDepth(t, one, "queue"); n != 3 {
			return fmt.Errorf("the queue has %d messages, want 3", n)
		}
		return nil
	})
	if n := testenv.QueueDepth(t, two, "queue"); n != 0 {
		t.Errorf("the queue of the other virtual host has %d messages, want 0", n)
	}
	for i, message := range testenv.Drain(t, one, "queue") {
		if want := string("abc"[i]); string(message.Body) != want {
			t.Errorf("message %d is %q, want %q", i, message.Body, want)
		}
	}
	if n := testenv.QueueDepth(t, one, "queue"); n != 0 {
		t.Errorf("the drained queue has %d messages", n)
	}
}

func TestVirtualHostIsDeleted(t *testing.T) {
	t.Parallel()
	var url string
	var closed chan *amqp.Error
	if message := fakeTest(t, func(fake *fakeTB) {
		url = testenv.NewVirtualHost(fake)
		closed = testenv.OpenChannel(t, url).NotifyClose(make(chan *amqp.Error, 1))
	}); message != "" {
		t.Fatal(message)
	}
	select {
	case err := <-closed:
		if err == nil {
			t.Error("the connection is closed as if the client had wanted it")
		}
	case <-time.After(10 * time.Second):
		t.Error("the connection is still open")
	}
	// The administrator could connect if the virtual host was there.
	admin := strings.TrimSuffix(os.Getenv("TEST_BROKER_URL"), "/%2F")
	if conn, err := amqp.Dial(admin + "/" + path.Base(url)); err == nil {
		_ = conn.Close()
		t.Error("the virtual host is still there")
	}
	if _, err := amqp.Dial(url); !errors.Is(err, amqp.ErrCredentials) {
		t.Errorf("connecting: %v, want %v", err, amqp.ErrCredentials)
	}
}

func TestCloseConnections(t *testing.T) {
	t.Parallel()
	url, other := testenv.NewVirtualHost(t), testenv.NewVirtualHost(t)
	closed := testenv.OpenChannel(t, url).NotifyClose(make(chan *amqp.Error, 1))
	spared := testenv.OpenChannel(t, other)
	testenv.CloseConnections(t, url)
	select {
	case err := <-closed:
		if err == nil || err.Code != amqp.ConnectionForced {
			t.Errorf("closed with %v, want code %d", err, amqp.ConnectionForced)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is still open")
	}
	if spared.IsClosed() {
		t.Error("a connection to another virtual host has been closed, too")
	}
}

func BenchmarkNewVirtualHost(b *testing.B) {
	for b.Loop() {
		testenv.NewVirtualHost(b)
	}
}

func publish(t *testing.T, channel *amqp.Channel, queue string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		message := amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent}
		if err := channel.PublishWithContext(t.Context(), "", queue, true, false, message); err != nil {
			t.Fatal(err)
		}
	}
}
