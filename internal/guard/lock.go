package guard

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// LockClass is the first of the two integers of each lock's key: "TRAD" in ASCII.
const LockClass int32 = 0x54524144

// A peer that does not answer is given up after 15 + 3 * 5 = 30 seconds, by either side. Where there is something that
// the peer has not acknowledged, no probes are sent, so that has a limit, too.
var (
	keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

	sessionSettings = `SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; ` +
		`SET tcp_user_timeout = 30000`
)

// errNoSchema tells that there is nothing that could be guarded.
var errNoSchema = errors.New("no schema in the role's search_path exists; create it, or change the path")

// A lock is an advisory lock of the current schema.
type lock struct {
	object int32 // the second of the two integers of its key
}

// newLock prepares the session of a connection for the lock of a component.
func newLock(ctx context.Context, conn *pgx.Conn, component string) (lock, error) {
	if err := keepAliveConn(conn.PgConn().Conn()); err != nil {
		return lock{}, fmt.Errorf("asking for TCP keep-alive probes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, sessionSettings); err != nil {
		return lock{}, fmt.Errorf("asking the server for TCP keep-alive probes: %w", err)
	}
	var schema *string
	if err := conn.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return lock{}, fmt.Errorf("asking for the current schema: %w", err)
	}
	if schema == nil {
		return lock{}, errNoSchema
	}
	return lock{objectOf(component, *schema)}, nil
}

// objectOf returns the second integer of a lock's key.
func objectOf(component, schema string) int32 {
	checksum := crc32.ChecksumIEEE([]byte(component + "@" + schema))
	return int32(checksum) //nolint:gosec // the highest bit becomes the sign
}

// keepAliveConn has TCP keep-alive probes sent. Connections through sockets of the file system need none.
func keepAliveConn(conn net.Conn) error {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return tcp.SetKeepAliveConfig(keepAlive)
	}
	return nil
}

// try gets the lock for the session, if nobody else has it.
func (l lock) try(ctx context.Context, conn *pgx.Conn) (obtained bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err = conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2)`, LockClass, l.object).Scan(&obtained)
	return obtained, err
}

// The holder of a lock. Advisory locks with keys of two integers have objsubid 2, and the integers as unsigned ones.
const holderQuery = `
	SELECT activity.backend_start, host(activity.client_addr)
	FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
	WHERE pg_locks.locktype = 'advisory' AND pg_locks.granted AND pg_locks.objsubid = 2
		AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND pg_locks.classid = $1 AND pg_locks.objid = $2`

// holder returns " (since ..., from ...)", as far as the holder of the lock can be seen: to see the sessions of other
// roles is a privilege.
func (l lock) holder(ctx context.Context, conn *pgx.Conn) string {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var since *time.Time
	var address *string
	row := conn.QueryRow(ctx, holderQuery, uint32(LockClass), uint32(l.object)) //nolint:gosec // as PostgreSQL does
	if err := row.Scan(&since, &address); err != nil {
		return "" // it has just ended, or so has our connection
	}
	var known []string
	if since != nil {
		known = append(known, "since "+since.UTC().Format(time.RFC3339))
	}
	if address != nil {
		known = append(known, "from "+*address)
	}
	if len(known) == 0 {
		return ""
	}
	return " (" + strings.Join(known, ", ") + ")"
}
