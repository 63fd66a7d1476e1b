package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The channel of the current schema. Channels belong to the whole database.
const channelSQL = `'trade_' || md5(current_schema())`

// An Executor is a connection, a pool of them, or a transaction.
type Executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Notify tells all who have subscribed to one of the topics with a [Listener] on the same schema. They hear of it when,
// and if, the transaction is committed, once for each topic, however often the transaction calls Notify.
//
// At the end of a transaction that notifies, PostgreSQL takes a lock that such transactions share, on all databases of
// the server. So it is for hundreds of transactions a second, not for tens of thousands.
func Notify(ctx context.Context, tx Executor, topics ...string) error {
	const notify = `SELECT pg_notify(` + channelSQL + `, topic) FROM unnest($1::text[]) AS topic`
	if _, err := tx.Exec(ctx, notify, topics); err != nil {
		return fmt.Errorf("notifying other processes: %w", err)
	}
	return nil
}

// A Listener tells goroutines of what other processes have committed. It listens while [Listener.Run] runs, on a
// connection of its own.
type Listener struct {
	url    URL
	logger *slog.Logger

	mu          sync.Mutex
	subscribers map[string]map[chan struct{}]struct{} // by topic
}

// NewListener returns a listener for the current schema of a database.
func NewListener(url URL, logger *slog.Logger) *Listener {
	return &Listener{url: url, logger: logger, subscribers: map[string]map[chan struct{}]struct{}{}}
}

// Subscribe returns a channel that gets a value some time after each commit that notified of one of the topics. Values do
// not queue up: one value stands for all commits since the last one was taken. Whenever a connection has been made, all
// channels get a value, because nobody knows what has been missed. Whoever does not need the channel any more has to
// call cancel.
func (l *Listener) Subscribe(topics ...string) (commits <-chan struct{}, cancel func()) {
	channel := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range topics {
		if l.subscribers[topic] == nil {
			l.subscribers[topic] = map[chan struct{}]struct{}{}
		}
		l.subscribers[topic][channel] = struct{}{}
	}
	return channel, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, topic := range topics {
			delete(l.subscribers[topic], channel)
		}
	}
}

// Run listens until the context is done, and then returns nil. When the connection is lost, it makes a new one.
func (l *Listener) Run(ctx context.Context) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = 100 * time.Millisecond
	pauses.MaxInterval = 10 * time.Second
	for {
		err := l.listen(ctx, pauses.Reset)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the error is that it should end
		}
		l.logger.Warn("lost the connection that listens for commits; they are noticed later than usual until it is back",
			slog.Any("database", l.url), slog.Any("error", err))
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
			return nil
		}
	}
}

// listen listens on a new connection until it is lost. It calls connected when it begins to hear.
func (l *Listener) listen(ctx context.Context, connected func()) error {
	conn, err := Connect(ctx, l.url)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := currentSchema(ctx, conn); err != nil {
		return err
	}
	var channel string
	if err := conn.QueryRow(ctx, `SELECT `+channelSQL).Scan(&channel); err != nil {
		return fmt.Errorf("asking for the channel of the schema: %w", err)
	}
	if _, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listening on the channel %s: %w", channel, err)
	}
	connected()
	l.wakeAll()
	for {
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("waiting for commits: %w", err)
		}
		l.wake(notification.Payload)
	}
}

func (l *Listener) wake(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for channel := range l.subscribers[topic] {
		signal(channel)
	}
}

func (l *Listener) wakeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, channels := range l.subscribers {
		for channel := range channels {
			signal(channel)
		}
	}
}

// signal puts a value into a channel unless there is one.
func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
