package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
)

var (
	// ErrNewerSchema tells that a schema was migrated by a newer version of the program.
	ErrNewerSchema = errors.New("the schema is newer than this program")

	// ErrDirtySchema tells that a migration was once left half-done. This package cannot do that, other tools can.
	ErrDirtySchema = errors.New("a migration of the schema was left half-done")

	// ErrNoSchema tells that the search_path of the role names no schema that exists.
	ErrNoSchema = errors.New("the role has no current schema: create the one that its search_path names")
)

// Migrations bring the tables of one purpose to their present form. All of those that are due are applied in a single
// transaction, so a schema is never in between; on the other hand, they cannot contain what PostgreSQL refuses to do in
// a transaction, as CREATE INDEX CONCURRENTLY.
type Migrations struct {
	// Table is the name of the table, in the current schema, that holds the version of the schema. It tells apart
	// what different programs keep in one schema.
	Table string

	// Files holds the migrations, named as golang-migrate wants them: 0001_name.up.sql and 0001_name.down.sql.
	Files fs.FS
}

// Up brings the schema to the newest version. Any number of processes can do that at once: one works while the others
// wait for it. The error is [ErrNewerSchema] when there are migrations of which this program does not know.
func (m Migrations) Up(ctx context.Context, url URL) error {
	if err := m.run(ctx, url, (*migrate.Migrate).Up); err != nil {
		return fmt.Errorf("migrating the database %v: %w", url, err)
	}
	return nil
}

// Down undoes all migrations, and destroys all data. It is for tests, and for those who develop migrations.
func (m Migrations) Down(ctx context.Context, url URL) error {
	if err := m.run(ctx, url, (*migrate.Migrate).Down); err != nil {
		return fmt.Errorf("undoing the migrations of the database %v: %w", url, err)
	}
	return nil
}

// A Querier is a connection, a pool of them, or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Done reports whether the schema has the version that this program expects, or a later one.
func (m Migrations) Done(ctx context.Context, db Querier) (bool, error) {
	newest, err := m.newest()
	if err != nil {
		return false, err
	}
	schema, err := currentSchema(ctx, db)
	if err != nil {
		return false, err
	}
	const lookUp = `SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = $2)`
	var exists bool
	if err := db.QueryRow(ctx, lookUp, schema, m.Table).Scan(&exists); err != nil {
		return false, fmt.Errorf("looking for the table %s: %w", m.Table, err)
	}
	if !exists {
		return false, nil
	}
	version, dirty, err := versionIn(ctx, db, pgx.Identifier{schema, m.Table})
	return !dirty && version >= int(newest), err
}

// Digest returns a text that changes whenever the migrations do. Tests use it to migrate a database once, and to make
// copies of it afterwards.
func (m Migrations) Digest() (string, error) {
	digest := sha256.New()
	err := fs.WalkDir(m.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(m.Files, name)
		fmt.Fprintf(digest, "%s %d\n%s", name, len(content), content) //nolint:errcheck // a hash takes everything
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the migrations: %w", err)
	}
	return m.Table + " " + hex.EncodeToString(digest.Sum(nil)), nil
}

// newest returns the version of the last migration.
func (m Migrations) newest() (newest uint, err error) {
	files, err := iofs.New(m.Files, ".")
	if err != nil {
		return 0, fmt.Errorf("reading the migrations: %w", err)
	}
	newest, err = files.First()
	for next := newest; err == nil; next, err = files.Next(next) {
		newest = next
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("reading the migrations: %w", err)
	}
	return newest, nil
}

// run connects, takes the lock, and has golang-migrate apply migrations, in one transaction.
func (m Migrations) run(ctx context.Context, url URL, direction func(*migrate.Migrate) error) error {
	newest, err := m.newest()
	if err != nil {
		return err
	}
	conn, err := Connect(ctx, url)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)

	// Each statement has to see what those did for whom the lock made us wait, hence READ COMMITTED.
	return inTx(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, tx pgx.Tx) error {
		schema, err := currentSchema(ctx, tx)
		if err != nil {
			return err
		}
		const lock = `SELECT pg_advisory_xact_lock($1, $2)`
		if _, err := tx.Exec(ctx, lock, lockClass, lockID(m.Table, schema)); err != nil {
			return fmt.Errorf("waiting for the lock on migrations: %w", err)
		}
		target := &migrated{ctx: ctx, tx: tx, table: pgx.Identifier{schema, m.Table}, newest: newest}
		if err := target.createTable(); err != nil {
			return err
		}
		files, err := iofs.New(m.Files, ".")
		if err != nil {
			return fmt.Errorf("reading the migrations: %w", err)
		}
		return apply(files, target, direction)
	})
}

func apply(files source.Driver, target *migrated, direction func(*migrate.Migrate) error) error {
	migrations, err := migrate.NewWithInstance("iofs", files, "postgresql", target)
	if err != nil {
		return fmt.Errorf("preparing the migrations: %w", err)
	}
	if err := direction(migrations); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}

// lockClass is the first number of the advisory locks of this service.
const lockClass = 1414676804

// lockID returns the second number of the lock for a purpose in a schema.
func lockID(purpose, schema string) int32 {
	return int32(crc32.ChecksumIEEE([]byte(purpose + "@" + schema))) //nolint:gosec // any 32 bits will do
}

func currentSchema(ctx context.Context, db Querier) (string, error) {
	var schema *string
	if err := db.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return "", fmt.Errorf("asking for the current schema: %w", err)
	}
	if schema == nil {
		return "", ErrNoSchema
	}
	return *schema, nil
}

// versionIn reads the version of a schema: the number of the last migration, or database.NilVersion.
func versionIn(ctx context.Context, db Querier, table pgx.Identifier) (version int, dirty bool, err error) {
	err = db.QueryRow(ctx, `SELECT version, dirty FROM `+table.Sanitize()).Scan(&version, &dirty)
	if errors.Is(err, pgx.ErrNoRows) {
		return database.NilVersion, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading the version of the schema: %w", err)
	}
	return version, dirty, nil
}

// migrated is golang-migrate's view of a database. The library's own driver marks the schema as dirty before each
// migration, and a process that is killed leaves it so, for a person to mend. Here, everything is one transaction, which
// the caller begins and ends; the transaction also holds the lock.
type migrated struct {
	ctx    context.Context // the interface of the library has no place for it
	tx     pgx.Tx
	table  pgx.Identifier
	newest uint
}

var _ database.Driver = (*migrated)(nil)

func (m *migrated) createTable() error {
	create := `CREATE TABLE IF NOT EXISTS ` + m.table.Sanitize() + ` (version BIGINT PRIMARY KEY, dirty BOOLEAN NOT NULL)`
	if _, err := m.tx.Exec(m.ctx, create); err != nil {
		return fmt.Errorf("creating the table %s: %w", m.table.Sanitize(), err)
	}
	return nil
}

// Version returns the version of the schema. It refuses schemas that this program should leave alone.
func (m *migrated) Version() (version int, dirty bool, err error) {
	version, dirty, err = versionIn(m.ctx, m.tx, m.table)
	switch {
	case err != nil:
		return 0, false, err
	case dirty:
		return 0, false, fmt.Errorf("%w: mend what version %d should have done, and clear the mark in %s",
			ErrDirtySchema, version, m.table.Sanitize())
	case version > int(m.newest):
		return 0, false, fmt.Errorf("%w: its version is %d, while this program knows of %d", ErrNewerSchema, version, m.newest)
	}
	return version, false, nil
}

// SetVersion records the version before and after each migration.
func (m *migrated) SetVersion(version int, dirty bool) error {
	if _, err := m.tx.Exec(m.ctx, `DELETE FROM `+m.table.Sanitize()); err != nil {
		return fmt.Errorf("recording version %d: %w", version, err)
	}
	if version == database.NilVersion {
		return nil
	}
	insert := `INSERT INTO ` + m.table.Sanitize() + ` (version, dirty) VALUES ($1, $2)`
	if _, err := m.tx.Exec(m.ctx, insert, version, dirty); err != nil {
		return fmt.Errorf("recording version %d: %w", version, err)
	}
	return nil
}

// Run executes the statements of a migration.
func (m *migrated) Run(migration io.Reader) error {
	statements, err := io.ReadAll(migration)
	if err != nil {
		return fmt.Errorf("reading a migration: %w", err)
	}
	if _, err := m.tx.Exec(m.ctx, string(statements), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("applying a migration: %w", err)
	}
	return nil
}

// Open is not used: the caller has connected.
func (*migrated) Open(string) (database.Driver, error) { return nil, errors.ErrUnsupported }

// Drop is not used.
func (*migrated) Drop() error { return errors.ErrUnsupported }

// Close does nothing, Lock and Unlock do nothing: see [Migrations.run].
func (*migrated) Close() error { return nil }

// Lock does nothing.
func (*migrated) Lock() error { return nil }

// Unlock does nothing.
func (*migrated) Unlock() error { return nil }
