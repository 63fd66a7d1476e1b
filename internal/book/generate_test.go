package book

import (
	"errors"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func generate(t *testing.T, dir string, shape Synthetic) Size {
	t.Helper()
	var s Staging
	size, err := Generate(t.Context(), &s, dir, shape)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	return size
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	shape := Synthetic{Currencies: 300, Traders: 20_000, Seed: 7}
	dir, again, other := t.TempDir(), t.TempDir(), t.TempDir()
	size := generate(t, dir, shape)
	generate(t, again, shape)
	mustHold(t, again, look(t, dir))
	shape.Seed++
	generate(t, other, shape)
	if maps.Equal(look(t, dir), look(t, other)) {
		t.Error("the seed does not matter")
	}
	shape.Seed--

	found, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := found.Load(t.Context(), defaults())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Warnings != nil {
		t.Error(loaded.Warnings)
	}
	if got := (Size{loaded.Currencies, loaded.Collectors, loaded.Sells.Rows(), loaded.Buys.Rows()}); got != size {
		t.Errorf("read %v, wrote %v", got, size)
	}
	if loaded.Sells[solver.Admitted] != size.Sells || loaded.Buys[solver.Admitted] != size.Buys {
		t.Errorf("not all offers are good: %v, %v", loaded.Sells, loaded.Buys)
	}
	for c := range loaded.Prices.Currencies() {
		if !c.Clearable || c.Distance > maxPegDepth {
			t.Errorf("currency %+v", c)
		}
	}
	got, _, err := record(t, found)
	if err != nil {
		t.Fatal(err)
	}
	if want := recordSynthetic(shape); !reflect.DeepEqual(got, want) {
		t.Error("the files differ from the synthetic book")
	}
}

// recordSynthetic goes without files.
func recordSynthetic(shape Synthetic) *recorder {
	var r recorder
	for debtor, collector := range shape.AllCollectors() {
		r.collectors = append(r.collectors, collectorRow{collector, debtor})
	}
	for offers := range shape.AllOffers() {
		r.sells = append(r.sells, offers.Sells...)
		r.buys = append(r.buys, offers.Buys...)
	}
	return &r
}

// A large sample has about the shape that is promised.
func TestSyntheticShape(t *testing.T) {
	t.Parallel()
	shape := Synthetic{Currencies: 2000, Traders: 50_000, Seed: 1}
	r := recordSynthetic(shape)
	about := func(what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance*want {
			t.Errorf("%s: got %g, want about %g", what, got, want)
		}
	}
	about("sells a trader", float64(len(r.sells))/float64(shape.Traders), 2, 0.02)
	about("buys a trader", float64(len(r.buys))/float64(shape.Traders), 2, 0.02)
	about("collectors a currency", float64(len(r.collectors))/float64(shape.Currencies), 1.1, 0.03)
	var amounts []int64
	popularity := make(map[swpt.DebtorID]int)
	for _, o := range r.sells {
		amounts = append(amounts, o.Amount)
		popularity[o.Debtor]++
	}
	for _, o := range r.buys {
		popularity[o.Debtor]++
	}
	slices.Sort(amounts)
	about("median amount", float64(amounts[len(amounts)/2]), math.Exp(9.5), 0.05)
	about("upper amounts", float64(amounts[len(amounts)*84/100]), math.Exp(9.5+1.5), 0.1)
	if amounts[0] < 1000 {
		t.Errorf("smallest amount %d", amounts[0])
	}
	counts := slices.Sorted(maps.Values(popularity))
	slices.Reverse(counts)
	// A trader does not want a popular currency twice, so it is not quite as popular as Zipf's law says.
	about("second currency", float64(counts[0])/float64(counts[1]), 1.8, 0.15)
	about("tenth currency", float64(counts[0])/float64(counts[9]), 8, 0.25)
}

func TestSyntheticIsValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shape := Synthetic{
			Currencies: rapid.IntRange(1, 40).Draw(t, "currencies"),
			Traders:    rapid.IntRange(0, 50).Draw(t, "traders"),
			Seed:       rapid.Int64().Draw(t, "seed"),
		}
		registered := make(map[collectorRow]bool)
		for debtor, collector := range shape.AllCollectors() {
			row := collectorRow{collector, debtor}
			if registered[row] {
				t.Fatalf("collector %v twice", row)
			}
			registered[row] = true
		}
		type account struct {
			creditor swpt.CreditorID
			debtor   swpt.DebtorID
		}
		creditors, accounts := make(map[swpt.CreditorID]bool), make(map[account]bool)
		use := func(creditor swpt.CreditorID, debtor swpt.DebtorID) {
			creditors[creditor] = true
			if accounts[account{creditor, debtor}] {
				t.Fatalf("creditor %d has two offers for debtor %d", creditor, debtor)
			}
			accounts[account{creditor, debtor}] = true
		}
		for offers := range shape.AllOffers() {
			if n := len(offers.Sells); n < 1 || n > 3 || len(offers.Buys) > 3 {
				t.Fatalf("offers %v", offers)
			}
			for _, o := range offers.Sells {
				use(o.Creditor, o.Debtor)
				if !registered[collectorRow{o.Collector, o.Debtor}] {
					t.Fatalf("sell offer %v: the collector is not registered", o)
				}
			}
			for _, o := range offers.Buys {
				use(o.Creditor, o.Debtor)
			}
		}
		if len(creditors) != shape.Traders {
			t.Fatalf("%d traders", len(creditors))
		}
	})
}

// A consumer may stop when it has seen enough.
func TestSyntheticStops(t *testing.T) {
	t.Parallel()
	shape := Synthetic{Currencies: 10, Traders: 10, Seed: 1}
	for range shape.AllCurrencies() {
		break
	}
	for range shape.AllCollectors() {
		break
	}
	for range shape.AllOffers() {
		break
	}
}

func TestGenerateFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zipped := dir + "/buys.csv.gz"
	if err := os.WriteFile(zipped, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shape Synthetic
		want  string
	}{
		{Synthetic{Currencies: 0}, "invalid size of a synthetic book: 0 currencies, there must be 1 or more"},
		{Synthetic{Currencies: 1, Traders: -1}, "invalid size of a synthetic book: -1 traders, there must be 0 or more"},
		{Synthetic{Currencies: 1}, zipped + " is in the way: remove it, or choose another directory"},
	} {
		var s Staging
		_, err := Generate(t.Context(), &s, dir, c.shape)
		mustFail(t, err, c.want)
	}
	if err := (Synthetic{}).Validate(); !errors.Is(err, ErrInvalidShape) {
		t.Error(err)
	}
}
