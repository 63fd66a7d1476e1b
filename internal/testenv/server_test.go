package testenv_test

import (
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestPostgresKeepsWhatIsCommitted(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	address := server.URL()
	run(t, open(t, address), "CREATE TABLE kept (id int)")
	for i, end := range []func(){server.Kill, server.Stop, server.Kill} {
		conn := open(t, address)
		if n := count(t, conn, "SELECT count(*) FROM kept"); n != i {
			t.Errorf("%d rows after %d ends, want %[2]d", n, i)
		}
		run(t, conn, "INSERT INTO kept VALUES (1)")
		end()
		if conn, err := pgx.Connect(t.Context(), address); err == nil {
			_ = conn.Close(t.Context())
			t.Error("an ended server accepts a connection")
		}
		server.Start()
		if server.URL() != address {
			t.Fatalf("the URL is now %s, and was %s", server.URL(), address)
		}
	}
}

func TestPostgresEndsInTheMiddleOfAQuery(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	for _, end := range []func(){server.Stop, server.Kill} {
		conn := open(t, server.URL())
		run(t, conn, "BEGIN")
		run(t, conn, "LISTEN nothing")
		broken := make(chan error)
		go func() {
			_, err := conn.Exec(t.Context(), "SELECT pg_sleep(3600)")
			broken <- err
		}()
		watcher := open(t, server.URL())
		testenv.Eventually(t, 10*time.Second, func() error {
			var running bool
			return watcher.QueryRow(t.Context(),
				"SELECT true FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'").Scan(&running)
		})
		end()
		if err := <-broken; err == nil {
			t.Error("the query got to its end")
		}
		server.Start()
	}
}

func TestBrokerKeepsDurableMessages(t *testing.T) {
	t.Parallel()
	server := testenv.StartBroker(t)
	channel := testenv.OpenChannel(t, server.URL())
	if err := channel.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := channel.QueueDeclare("queue", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	message := amqp.Publishing{Body: []byte("kept"), DeliveryMode: amqp.Persistent}
	confirmation, err := channel.PublishWithDeferredConfirm("", "queue", true, false, message)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := confirmation.WaitContext(t.Context()); !ok || err != nil {
		t.Fatalf("not confirmed: %v", err)
	}

	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	server.Kill()
	if err := <-closed; err == nil || err.Code == amqp.ConnectionForced {
		t.Errorf("closed with %v, want an error of the network", err)
	}
	if conn, err := net.Dial("tcp", host(t, server.URL())); err == nil {
		_ = conn.Close()
		t.Error("a killed server accepts a connection")
	}
	server.Start()
	channel = testenv.OpenChannel(t, server.URL())
	messages := testenv.Drain(t, channel, "queue")
	if len(messages) != 1 || string(messages[0].Body) != "kept" {
		t.Errorf("the queue has %v, want the message that was confirmed", messages)
	}
	closed = channel.NotifyClose(make(chan *amqp.Error, 1))
	server.Stop()
	// It says goodbye, unless the client is just writing, and learns from that.
	if err := <-closed; err == nil || err.Code != amqp.ConnectionForced && !strings.Contains(err.Reason, "write tcp") {
		t.Errorf("closed with %v, want code %d", err, amqp.ConnectionForced)
	}
}

func host(t *testing.T, serverURL string) string {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
