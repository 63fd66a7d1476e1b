package book

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// The files of a book, by their index in Book.paths. Problems are reported in this order.
const (
	currencies = iota
	collectors
	sells
	buys
)

// files lists the files of a book, without ".csv" or ".csv.gz", and their columns.
var files = [...]struct {
	name    string
	columns []string
}{
	currencies: {"currencies", []string{
		"is_confirmed", "debtor_info_locator", "debtor_id",
		"peg_debtor_info_locator", "peg_debtor_id", "peg_exchange_rate",
	}},
	collectors: {"collectors", []string{"collector_id", "debtor_id"}},
	sells:      {"sells", []string{"creditor_id", "debtor_id", "amount", "collector_id"}},
	buys:       {"buys", []string{"creditor_id", "debtor_id", "amount"}},
}

// ErrNoBook tells that a directory does not hold a book, or holds it in a confusing way.
var ErrNoBook = errors.New("not an offer book")

// A Book is a directory with the files of an offer book.
type Book struct {
	paths [len(files)]string
	size  int64 // of all files, in bytes
}

// Open finds the files of the book in a directory. It returns ErrNoBook if some are missing, or there twice.
func Open(dir string) (*Book, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%w: %s is not a directory", ErrNoBook, dir)
	}
	b := &Book{}
	var missing []string
	for i, file := range files {
		err := b.find(i, filepath.Join(dir, file.name+".csv"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, file.name+".csv")
		case err != nil:
			return nil, err
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("%w: there is no %s (nor the like with .gz)", ErrNoBook, strings.Join(missing, ", no "))
	}
	return b, nil
}

func (b *Book) find(i int, path string) error {
	plain, plainErr := os.Stat(path)
	zipped, zippedErr := os.Stat(path + ".gz")
	switch {
	case plainErr == nil && zippedErr == nil:
		return fmt.Errorf("%w: there are both %s and %[2]s.gz, remove one of them", ErrNoBook, filepath.Base(path))
	case plainErr == nil:
		b.paths[i], b.size = path, b.size+plain.Size()
	case zippedErr == nil:
		b.paths[i], b.size = path+".gz", b.size+zipped.Size()
	case errors.Is(plainErr, fs.ErrNotExist):
		return zippedErr
	default:
		return plainErr
	}
	return nil
}

func (b *Book) open(i int, count *atomic.Int64) (*table, error) {
	return openTable(b.paths[i], files[i].columns, count)
}

// ExplainDuplicate finds out where the files have several offers of one kind for one account, after Clear has told that
// there are some. It returns a ProblemsError that lists them all. (Reading a book does not look for duplicates, since
// that would take more memory than all the rest.)
func (b *Book) ExplainDuplicate(ctx context.Context, duplicate *solver.DuplicateOfferError) error {
	file, kind := buys, "buy"
	if duplicate.Selling {
		file, kind = sells, "sell"
	}
	t, err := b.open(file, new(atomic.Int64))
	if err != nil {
		return err
	}
	defer t.close()
	type account struct{ creditor, debtor int64 }
	first := make(map[account]int)
	for ctx.Err() == nil && t.next() {
		a := account{t.id(0), t.id(1)}
		if line, found := first[a]; found {
			t.complain(t.line(), fmt.Sprintf("creditor %d has a %s offer for debtor %d already, in line %d",
				a.creditor, kind, a.debtor, line))
		} else {
			first[a] = t.line()
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case t.err != nil:
		return t.err
	case t.problems.total == 0: // somebody has changed the file since
		return duplicate
	}
	return t.problems.err()
}
