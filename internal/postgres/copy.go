package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// A Source is a connection, a pool of them, or a transaction.
type Source interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// A Copy moves any number of rows from one database to another. The values travel as they come, in binary form: the
// columns of the query must have the types of those in the table. A few rows are in memory at a time.
type Copy struct {
	// Query is what is read.
	Query string
	// Keep tells which of the rows are copied: all, if it is nil. A value is nil if it is NULL. It may not be kept.
	Keep func(values [][]byte) bool
	// Table is what is written to, Columns are those of the query, in its order.
	Table   string
	Columns []string
}

// Run copies the rows, and returns how many. The two sides must not be the same connection. If it fails, neither side's
// transaction is of use any more.
func (c Copy) Run(ctx context.Context, from Source, to pgx.Tx, args ...any) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := from.Query(ctx, c.Query, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err != nil {
		return 0, fmt.Errorf("reading what is to be copied to %s: %w", c.Table, err)
	}
	defer rows.Close()
	reader := &copyReader{rows: rows, keep: c.Keep, pending: []byte(copyHeader)}
	tag, err := to.Conn().PgConn().CopyFrom(ctx, reader, c.statement())
	if err != nil {
		cancel() // or else the rest of the rows would be read when they are closed, for nothing
	}
	failure := reader.stop()
	if failure != nil && !errors.Is(failure, io.EOF) { // the database would tell only its text
		return 0, fmt.Errorf("reading what is to be copied to %s: %w", c.Table, failure)
	}
	if err != nil {
		return 0, fmt.Errorf("copying to %s: %w", c.Table, err)
	}
	return tag.RowsAffected(), nil
}

func (c Copy) statement() string {
	return `COPY ` + pgx.Identifier{c.Table}.Sanitize() + ` (` + columnList(c.Columns) + `) FROM STDIN BINARY`
}

func columnList(columns []string) string {
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = pgx.Identifier{column}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// The binary format of COPY: a header (a signature, flags, and the length of nothing else), rows, and a trailer.
const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"

	copyNull = 0xffffffff // the length of NULL
)

// A copyReader gives rows the form in which COPY takes them.
type copyReader struct {
	rows pgx.Rows
	keep func([][]byte) bool

	mu      sync.Mutex // see stop
	pending []byte
	failure error // io.EOF if everything is pending or has been read
	stopped bool
}

// Read implements [io.Reader].
func (r *copyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0, io.ErrClosedPipe
	}
	for len(r.pending) < len(p) && r.failure == nil {
		r.failure = r.next()
	}
	if len(r.pending) == 0 {
		return 0, r.failure
	}
	n := copy(p, r.pending)
	r.pending = append(r.pending[:0], r.pending[n:]...)
	return n, nil
}

// stop has the reader leave the rows alone, and returns the reason for which there are no further rows, if it is known.
// When a connection breaks, pgconn does not wait for the goroutine with which it reads.
func (r *copyReader) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return r.failure
}

// next makes the next row pending, or the trailer.
func (r *copyReader) next() error {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		r.pending = append(r.pending, copyTrailer...)
		return io.EOF
	}
	values := r.rows.RawValues()
	if r.keep != nil && !r.keep(values) {
		return nil
	}
	r.pending = binary.BigEndian.AppendUint16(r.pending, uint16(len(values))) //nolint:gosec // never more than 1664
	for _, value := range values {
		if value == nil {
			r.pending = binary.BigEndian.AppendUint32(r.pending, copyNull)
			continue
		}
		r.pending = binary.BigEndian.AppendUint32(r.pending, uint32(len(value))) //nolint:gosec // less than 1 GB
		r.pending = append(r.pending, value...)
	}
	return nil
}
