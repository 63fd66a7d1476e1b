package book

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// The beginnings of the files of a book.
const (
	currencyHeader = "is_confirmed,debtor_info_locator,debtor_id," +
		"peg_debtor_info_locator,peg_debtor_id,peg_exchange_rate\n"
	collectorHeader = "collector_id,debtor_id\n"
	sellHeader      = "creditor_id,debtor_id,amount,collector_id\n"
	buyHeader       = "creditor_id,debtor_id,amount\n"
)

// aBook is the content of the files of a book, with names like "sells.csv".
type aBook map[string]string

// emptyBook has no rows.
func emptyBook() aBook {
	return aBook{
		"currencies.csv": currencyHeader,
		"collectors.csv": collectorHeader,
		"sells.csv":      sellHeader,
		"buys.csv":       buyHeader,
	}
}

// swap is a book in which two traders want what the other one has.
func swap() aBook {
	return aBook{
		"currencies.csv": currencyHeader + "true,L60,60,,,\ntrue,L61,61,L60,60,2.5\n",
		"collectors.csv": collectorHeader + "701,60\n702,61\n",
		"sells.csv":      sellHeader + "1,60,9000,801\n2,61,3000,802\n",
		"buys.csv":       buyHeader + "1,61,4000\n2,60,6000\n",
	}
}

// with returns the book with another content of one file.
func (b aBook) with(name, content string) aBook {
	b[name] = content
	return b
}

func (b aBook) writeTo(t *testing.T, dir string) {
	t.Helper()
	for name, content := range b {
		if strings.HasSuffix(name, ".gz") {
			content = zip(t, content)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (b aBook) open(t *testing.T) *Book {
	t.Helper()
	dir := t.TempDir()
	b.writeTo(t, dir)
	found, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func zip(t *testing.T, content string) string {
	t.Helper()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped.String()
}

func defaults() LoadOptions { return LoadOptions{MaxDistanceToBase: 10, MinTradeAmount: 1000} }

// A collectorRow is a row of collectors.csv.
type collectorRow struct {
	collector swpt.CreditorID
	debtor    swpt.DebtorID
}

// A recorder is a market that writes down what comes in, and admits everything.
type recorder struct {
	collectors []collectorRow
	sells      []solver.SellOffer
	buys       []solver.BuyOffer
}

func (r *recorder) sink() sink {
	return sink{
		func(debtor swpt.DebtorID, collector swpt.CreditorID) error {
			r.collectors = append(r.collectors, collectorRow{collector, debtor})
			return nil
		},
		func(o solver.SellOffer) (solver.Verdict, error) {
			r.sells = append(r.sells, o)
			return solver.Admitted, nil
		},
		func(o solver.BuyOffer) (solver.Verdict, error) {
			r.buys = append(r.buys, o)
			return solver.Admitted, nil
		},
	}
}

// record reads a book into a recorder.
func record(t *testing.T, b *Book) (*recorder, *Loaded, error) {
	t.Helper()
	var r recorder
	l := &loader{book: b, opts: defaults()}
	err := l.load(t.Context(), func(*solver.Prices) sink { return r.sink() })
	return &r, &l.loaded, err
}

func sell(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64, collector swpt.CreditorID) solver.SellOffer {
	return solver.SellOffer{Creditor: creditor, Debtor: debtor, Amount: amount, Collector: collector}
}

func buy(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64) solver.BuyOffer {
	return solver.BuyOffer{Creditor: creditor, Debtor: debtor, Amount: amount}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"complete", []string{"currencies.csv", "collectors.csv.gz", "sells.csv", "buys.csv.gz", "notes.txt"}, ""},
		{
			"incomplete",
			[]string{"currencies.csv", "sells.csv"},
			"not an offer book: there is no collectors.csv, no buys.csv (nor the like with .gz)",
		},
		{
			"ambiguous",
			[]string{"currencies.csv", "collectors.csv", "sells.csv", "sells.csv.gz", "buys.csv"},
			"not an offer book: there are both sells.csv and sells.csv.gz, remove one of them",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, name := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(dir)
			mustFail(t, err, c.want)
		})
	}
	t.Run("not a directory", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(file)
		mustFail(t, err, "not an offer book: "+file+" is not a directory")
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "nothing")
		_, err := Open(dir)
		mustFail(t, err, "stat "+dir+": no such file or directory")
	})
}

// mustFail checks the text of an error; none is expected if it is empty.
func mustFail(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Fatalf("got the error\n%s\nwant\n%s", got, want)
	}
}

func TestExplainDuplicate(t *testing.T) {
	t.Parallel()
	b := swap().
		with("sells.csv", sellHeader+"1,60,9000,801\n\n2,61,3000,802\n0x1,60,1,7\n2,60,5,5\n1,60,9000,801\n").
		with("buys.csv.gz", buyHeader+"-1,61,4000\n2,60,6000\n18446744073709551615,61,7\n")
	delete(b, "buys.csv")
	found := b.open(t)
	for _, c := range []struct {
		duplicate solver.DuplicateOfferError
		want      string
	}{
		{
			solver.DuplicateOfferError{Creditor: 1, Debtor: 60, Selling: true},
			"there are 2 problems, please repair them:\n" +
				"  sells.csv, line 5: creditor 1 has a sell offer for debtor 60 already, in line 2\n" +
				"  sells.csv, line 7: creditor 1 has a sell offer for debtor 60 already, in line 2",
		},
		{
			solver.DuplicateOfferError{Creditor: -1, Debtor: 61},
			"there is a problem, please repair it:\n" +
				"  buys.csv.gz, line 4: creditor -1 has a buy offer for debtor 61 already, in line 2",
		},
	} {
		mustFail(t, found.ExplainDuplicate(t.Context(), &c.duplicate), c.want)
	}
	repaired := swap().open(t)
	duplicate := &solver.DuplicateOfferError{Creditor: 1, Debtor: 60}
	mustFail(t, repaired.ExplainDuplicate(t.Context(), duplicate), duplicate.Error())
}

func readTable(content string, file int) (*table, error) {
	return newTable(files[file].name+".csv", &countingReader{strings.NewReader(content), new(atomic.Int64)},
		files[file].columns)
}
