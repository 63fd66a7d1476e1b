package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long it can take until it is noticed that nothing is heard from the server any more: the sum of both.
const (
	pingPause   = time.Second
	pingTimeout = 3 * time.Second
)

// watch returns when the connection is lost, with the reason, or when the context ends.
//
// If the server ends the session, or the connection breaks, the operating system knows, and tells whoever is reading.
// If the network just falls silent, only asking helps.
func watch(ctx context.Context, conn *pgx.Conn) error {
	for ctx.Err() == nil {
		if err := listen(ctx, conn); err != nil {
			return err
		}
		if err := ping(ctx, conn); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the database does not answer: %w", err)
		}
	}
	return nil
}

// listen waits for bad news until it is time to ask.
func listen(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingPause)
	defer cancel()
	if _, err := conn.WaitForNotification(ctx); conn.IsClosed() {
		return err
	}
	return nil // nothing has come in time: that leaves the connection open
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return conn.Ping(ctx)
}
