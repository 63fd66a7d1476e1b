package book_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/circular-trade/circular-trade/internal/book"
)

func TestRowsAreThoseOfTheFiles(t *testing.T) {
	t.Parallel()
	synthetic := book.Synthetic{Currencies: 20, Traders: 200, Seed: 7}
	dir := filepath.Join(t.TempDir(), "book")
	s := &book.Staging{}
	if _, err := book.Generate(t.Context(), s, dir, synthetic); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	b, err := book.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Rows(t.Context(), book.LoadOptions{MaxDistanceToBase: 10, MinTradeAmount: 1000})
	if err != nil {
		t.Fatal(err)
	}
	want, err := synthetic.Rows()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %d currencies, %d collectors, %d sells, %d buys, which differ from the %d, %d, %d, %d written",
			len(got.Currencies), len(got.Collectors), len(got.Sells), len(got.Buys),
			len(want.Currencies), len(want.Collectors), len(want.Sells), len(want.Buys))
	}
}

func TestRowsOfNoBook(t *testing.T) {
	t.Parallel()
	if _, err := (book.Synthetic{}).Rows(); !errors.Is(err, book.ErrInvalidShape) {
		t.Errorf("rows of no currencies: %v, want %v", err, book.ErrInvalidShape)
	}
}
