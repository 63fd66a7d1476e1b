package testenv

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long one step on a database server may take: much longer than it ever does on a busy machine.
const databasePatience = time.Minute

// NewDatabase returns the URL of a new, empty database. It is dropped when the test ends, even if connections to it are
// still open.
func NewDatabase(tb testing.TB) string {
	tb.Helper()
	server := serverURL(tb, "TEST_POSTGRES_URL")
	return newDatabase(tb, server, func(context.Context, *pgx.Conn) (string, error) { return "template0", nil })
}

// NewDatabaseFrom is like NewDatabase, but the database is a copy of one that prepare has been called for. prepare is
// called once for each key and server, by whichever test of whichever process comes first: a copy is made much faster
// than a schema is migrated. The key has to change with what prepare does: a hash of the migrations is a good one.
//
// prepare has to close its connections. The prepared databases stay on the server, for the next run, if that is not one
// of scripts/services; their names begin with "testenv_".
func NewDatabaseFrom(tb testing.TB, key string, prepare func(databaseURL string) error) string {
	tb.Helper()
	server := serverURL(tb, "TEST_POSTGRES_URL")
	return newDatabase(tb, server, func(ctx context.Context, conn *pgx.Conn) (string, error) {
		return ensureTemplate(ctx, conn, server, key, prepare)
	})
}

// newDatabase makes a copy of the database that template returns the name of, and drops it when the test ends.
func newDatabase(
	tb testing.TB, server *url.URL, template func(context.Context, *pgx.Conn) (name string, err error),
) string {
	tb.Helper()
	name := uniqueName(tb)
	err := onServer(tb, server, func(ctx context.Context, conn *pgx.Conn) error {
		original, err := template(ctx, conn)
		if err != nil {
			return err
		}
		return execute(ctx, conn, createStatement(name, original))
	})
	if err != nil {
		tb.Fatalf("Making a database for the test: %v", err)
	}
	tb.Cleanup(func() {
		err := onServer(tb, server, func(ctx context.Context, conn *pgx.Conn) error {
			return execute(ctx, conn, dropStatement(name))
		})
		if err != nil {
			tb.Errorf("Dropping the test's database: %v", err)
		}
	})
	return withPath(server, name)
}

// onServer does something on a connection to the server, in the database that the server's URL names.
func onServer(tb testing.TB, server *url.URL, do func(context.Context, *pgx.Conn) error) error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), databasePatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return do(ctx, conn)
}

// ensureTemplate returns the name of the database prepared for the key, and prepares it if there is none. It gets this
// name when it is ready, so what has the name is always complete.
func ensureTemplate(
	ctx context.Context, conn *pgx.Conn, server *url.URL, key string, prepare func(string) error,
) (name string, err error) {
	digest := sha256.Sum256([]byte(key))
	name = "testenv_" + hex.EncodeToString(digest[:12])
	if exists, err := databaseExists(ctx, conn, name); exists || err != nil {
		return name, err
	}
	// The lock ends with the connection, so that others can go on if this process dies.
	lock := int64(binary.BigEndian.Uint64(digest[:])) //nolint:gosec // any number does
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
		return "", fmt.Errorf("waiting for another test to prepare %s: %w", name, err)
	}
	if exists, err := databaseExists(ctx, conn, name); exists || err != nil {
		return name, err
	}
	unfinished := name + "_unfinished"
	if err := execute(ctx, conn, dropStatement(unfinished)); err != nil {
		return "", err
	}
	if err := execute(ctx, conn, createStatement(unfinished, "template0")); err != nil {
		return "", err
	}
	if err := prepare(withPath(server, unfinished)); err != nil {
		return "", fmt.Errorf("preparing %s: %w", unfinished, err)
	}
	return name, execute(ctx, conn, "ALTER DATABASE "+quote(unfinished)+" RENAME TO "+quote(name))
}

func databaseExists(ctx context.Context, conn *pgx.Conn, name string) (exists bool, err error) {
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("looking for the database %s: %w", name, err)
	}
	return exists, nil
}

// createStatement copies files. For small databases on a server that does not wait for the disk, this takes half the
// time that the other strategy does, which writes each page into the log.
func createStatement(name, template string) string {
	return "CREATE DATABASE " + quote(name) + " TEMPLATE " + quote(template) + " STRATEGY file_copy"
}

func dropStatement(name string) string {
	return "DROP DATABASE IF EXISTS " + quote(name) + " WITH (FORCE)"
}

func quote(name string) string {
	return pgx.Identifier{name}.Sanitize()
}

func execute(ctx context.Context, conn *pgx.Conn, statement string) error {
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
