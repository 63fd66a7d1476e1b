package book

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// byteOrderMark is what some programs begin a UTF-8 file with.
const byteOrderMark = "\ufeff"

// A table is one of the files of a book, read row by row:
//
//	for t.next() {
//		x, y := t.id(0), t.amount(1)
//		if t.sound() { ... }
//	}
//	return t.err
//
// The methods that parse a cell note a problem when they cannot, and return zero. They take the cell's index in the
// list of columns that openTable was called with.
type table struct {
	name    string
	columns []string
	file    io.Closer
	csv     *csv.Reader
	at      []int // where in the record each of the columns is
	record  []string

	usable bool  // whether the header has all columns
	err    error // why reading stopped, if not at the end of the file

	problems problems
	before   int // number of problems before the current row
}

// openTable opens a file of a book and reads its header. What is wrong with the header becomes a problem of the table,
// which has no rows then. The bytes that are read from the file are counted on the way.
func openTable(path string, columns []string, count *atomic.Int64) (*table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := newTable(filepath.Base(path), &countingReader{file, count}, columns)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	t.file = file
	return t, nil
}

func newTable(name string, content io.Reader, columns []string) (*table, error) {
	t := &table{name: name, columns: columns}
	if strings.HasSuffix(name, ".gz") {
		unzipped, err := gzip.NewReader(content)
		if err != nil {
			return nil, fmt.Errorf("reading %s, which should be compressed with gzip: %w", name, err)
		}
		content = unzipped
	}
	const readAhead = 1 << 16
	buffered := bufio.NewReaderSize(content, readAhead)
	if mark, _ := buffered.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		if _, err := buffered.Discard(len(mark)); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	t.csv = csv.NewReader(buffered)
	t.csv.ReuseRecord = true
	t.readHeader()
	return t, t.err
}

func (t *table) readHeader() {
	if !t.advance() {
		if t.err == nil && t.problems.total == 0 {
			t.complain(1, fmt.Sprintf("the file is empty, it should begin with the line %q", strings.Join(t.columns, ",")))
		}
		return
	}
	for _, column := range t.columns {
		at := slices.Index(t.record, column)
		switch {
		case at < 0:
			t.complain(t.line(), fmt.Sprintf("there is no column %q, the header is %s",
				column, quote(strings.Join(t.record, ","))))
		case slices.Contains(t.record[at+1:], column):
			t.complain(t.line(), fmt.Sprintf("there are several columns %q", column))
		}
		t.at = append(t.at, at)
	}
	t.usable = t.problems.total == 0
}

// next goes on to the next row that has as many cells as the header.
func (t *table) next() bool { return t.usable && t.advance() }

func (t *table) advance() bool {
	for t.err == nil {
		var err error
		if t.record, err = t.csv.Read(); err == nil {
			t.before = t.problems.total
			return true
		}
		if errors.Is(err, io.EOF) {
			return false
		}
		t.noteError(err)
	}
	return false
}

func (t *table) noteError(err error) {
	var malformed *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		t.complain(t.line(), fmt.Sprintf("the row has %s, the header has %d", cells(len(t.record)), t.csv.FieldsPerRecord))
	case errors.As(err, &malformed):
		t.complain(malformed.StartLine, fmt.Sprintf("the row is not well-formed at byte %d of line %d: %v",
			malformed.Column, malformed.Line, malformed.Err))
	default:
		t.err = fmt.Errorf("reading %s: %w", t.name, err)
	}
}

// line is where the current row begins.
func (t *table) line() int {
	line, _ := t.csv.FieldPos(0)
	return line
}

// sound tells whether no problems were found in the current row.
func (t *table) sound() bool { return t.problems.total == t.before }

func (t *table) complain(line int, reason string) {
	t.problems.add(Problem{File: t.name, Line: line, Reason: reason})
}

func (t *table) complainOf(i int, reason string) {
	t.problems.add(Problem{
		File: t.name, Line: t.line(), Column: t.columns[i], Position: t.at[i] + 1,
		Reason: reason,
	})
}

func (t *table) text(i int) string { return t.record[t.at[i]] }

// empty tells whether a cell holds nothing.
func (t *table) empty(i int) bool { return t.text(i) == "" }

func (t *table) id(i int) int64 {
	id, err := swpt.ParseID(t.text(i))
	if err != nil {
		t.complainOf(i, quote(t.text(i))+" is not an ID: it must be a decimal or 0x-hexadecimal number of 64 bits")
	}
	return id
}

func (t *table) amount(i int) int64 {
	amount, err := strconv.ParseInt(t.text(i), 10, 64)
	if err != nil {
		t.complainOf(i, quote(t.text(i))+" is not an amount: it must be a decimal whole number of 64 bits")
		return 0
	}
	return amount
}

func (t *table) rate(i int) float64 {
	rate, err := strconv.ParseFloat(t.text(i), 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		t.complainOf(i, quote(t.text(i))+" is too large for a 64-bit floating-point number")
	case err != nil:
		t.complainOf(i, quote(t.text(i))+" is not a number")
	}
	return rate
}

func (t *table) truth(i int) bool {
	switch strings.ToLower(t.text(i)) {
	case "true", "t", "1":
		return true
	case "false", "f", "0":
		return false
	}
	t.complainOf(i, quote(t.text(i))+" is neither true nor false")
	return false
}

// close closes the file. It has been read only, so there is nothing to lose.
func (t *table) close() { _ = t.file.Close() }

// quote makes a text from a file fit for a message, whatever the file holds.
func quote(text string) string {
	const limit = 120
	if len(text) > limit {
		return strconv.Quote(text[:limit]) + "..."
	}
	return strconv.Quote(text)
}

func cells(n int) string {
	if n == 1 {
		return "1 cell"
	}
	return strconv.Itoa(n) + " cells"
}

// A countingReader counts the bytes that are read through it.
type countingReader struct {
	io.Reader
	count *atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.count.Add(int64(n))
	return n, err
}
