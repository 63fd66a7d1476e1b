package guard

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// KeepAliveConn is what is done to the socket of a connection.
var KeepAliveConn = keepAliveConn

// PrepareSession does what is done to a connection before the lock is asked for.
func PrepareSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := newLock(ctx, conn, "component")
	return err
}
