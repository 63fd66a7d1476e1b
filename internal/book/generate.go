package book

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// What synthetic books have in common.
const (
	firstDebtorID    = 1000
	firstCreditorID  = 1 << 32
	firstCollectorID = 1 << 40

	collectorIDs       = 2048 // collectors have one of so many IDs
	severalCollectors  = 3    // of a currency that has not just one
	severalProbability = 0.05

	maxPegDepth  = 6
	rateSpread   = 0.7 // standard deviation of the logarithm
	minAmount    = 1000
	amountMean   = 9.5 // of the logarithm
	amountSpread = 1.5
	maxOffers    = 3 // of each kind, a trader
)

// A Synthetic book is made up: a random peg-tree with the first currency as its root, currencies that are popular as
// Zipf's law says, one to three sell and buy offers a trader, log-normal amounts, one collector account a currency, and
// three for one in twenty. The same Synthetic always yields the same book.
type Synthetic struct {
	Currencies int // at least 1
	Traders    int
	Seed       int64
}

// ErrInvalidShape tells that there can be no synthetic book of the wanted size.
var ErrInvalidShape = errors.New("invalid size of a synthetic book")

// Validate returns ErrInvalidShape if the numbers are out of range.
func (s Synthetic) Validate() error {
	switch {
	case s.Currencies < 1:
		return fmt.Errorf("%w: %d currencies, there must be 1 or more", ErrInvalidShape, s.Currencies)
	case s.Traders < 0:
		return fmt.Errorf("%w: %d traders, there must be 0 or more", ErrInvalidShape, s.Traders)
	}
	return nil
}

// random returns the source of randomness for one part of the book, so that each part can be made without the others.
func (s Synthetic) random(part uint64) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(s.Seed), part)) //nolint:gosec // any number is a good seed
}

// AllCurrencies yields the currencies. The first one is the base.
func (s Synthetic) AllCurrencies() iter.Seq[solver.Currency] {
	return func(yield func(solver.Currency) bool) {
		random := s.random(0)
		depth := make([]int, s.Currencies)
		for i := range s.Currencies {
			c := solver.Currency{Confirmed: true, Locator: syntheticLocator(i), DebtorID: syntheticDebtor(i)}
			if i > 0 {
				peg := random.IntN(i/3 + 1)
				for depth[peg] >= maxPegDepth {
					peg = random.IntN(i/3 + 1)
				}
				depth[i] = depth[peg] + 1
				c.Peg = &solver.Peg{
					Locator:  syntheticLocator(peg),
					DebtorID: syntheticDebtor(peg),
					Rate:     float64(float32(math.Exp(random.NormFloat64() * rateSpread))),
				}
			}
			if !yield(c) {
				return
			}
		}
	}
}

func syntheticLocator(i int) string {
	return "https://example.com/" + strconv.Itoa(firstDebtorID+i)
}

func syntheticDebtor(i int) swpt.DebtorID { return swpt.DebtorID(firstDebtorID + i) }

// AllCollectors yields the collectors of each currency, currency by currency.
func (s Synthetic) AllCollectors() iter.Seq2[swpt.DebtorID, swpt.CreditorID] {
	return func(yield func(swpt.DebtorID, swpt.CreditorID) bool) {
		random := s.random(1)
		for i := range s.Currencies {
			count := 1
			if random.Float64() < severalProbability {
				count = severalCollectors
			}
			first, step := random.IntN(collectorIDs), 1+random.IntN(collectorIDs/severalCollectors)
			for k := range count {
				collector := firstCollectorID + (first+k*step)%collectorIDs
				if !yield(syntheticDebtor(i), swpt.CreditorID(collector)) {
					return
				}
			}
		}
	}
}

// TraderOffers are all offers of one trader.
type TraderOffers struct {
	Sells []solver.SellOffer
	Buys  []solver.BuyOffer
}

// AllOffers yields the offers of trader after trader. They are valid until the next trader only.
func (s Synthetic) AllOffers() iter.Seq[TraderOffers] {
	return func(yield func(TraderOffers) bool) {
		random := s.random(2)
		collectors := s.firstCollectors()
		popularity := newZipf(s.Currencies)
		byRank := random.Perm(s.Currencies)
		var offers TraderOffers
		var wanted []int
		for _, number := range random.Perm(s.Traders) {
			creditor := swpt.CreditorID(firstCreditorID + number)
			selling, buying := 1+random.IntN(maxOffers), 1+random.IntN(maxOffers)
			wanted = popularity.draw(random, wanted[:0], selling+buying)
			offers.Sells, offers.Buys = offers.Sells[:0], offers.Buys[:0]
			for k, rank := range wanted {
				i := byRank[rank]
				amount := int64(math.Max(minAmount, math.Exp(amountMean+amountSpread*random.NormFloat64())))
				if k < selling {
					offers.Sells = append(offers.Sells, solver.SellOffer{
						Creditor: creditor, Debtor: syntheticDebtor(i), Amount: amount, Collector: collectors[i],
					})
				} else {
					offers.Buys = append(offers.Buys, solver.BuyOffer{
						Creditor: creditor, Debtor: syntheticDebtor(i), Amount: amount,
					})
				}
			}
			if !yield(offers) {
				return
			}
		}
	}
}

// firstCollectors lists the collector through which each currency is sold.
func (s Synthetic) firstCollectors() []swpt.CreditorID {
	firsts := make([]swpt.CreditorID, 0, s.Currencies)
	for debtor, collector := range s.AllCollectors() {
		if debtor == syntheticDebtor(len(firsts)) {
			firsts = append(firsts, collector)
		}
	}
	return firsts
}

// A zipf distribution: the probability of rank r is proportional to 1/(r+1).
type zipf struct{ cumulative []float64 }

func newZipf(n int) zipf {
	z := zipf{cumulative: make([]float64, n)}
	sum := 0.0
	for r := range n {
		sum += 1 / float64(r+1)
		z.cumulative[r] = sum
	}
	return z
}

// draw draws up to twice as many ranks as there should be, and appends the different ones among them. With few
// currencies there may be fewer than there should be.
func (z zipf) draw(random *rand.Rand, ranks []int, count int) []int {
	last := len(z.cumulative) - 1
	for range 2 * count {
		if len(ranks) == count {
			break
		}
		rank := min(last, sort.SearchFloat64s(z.cumulative, random.Float64()*z.cumulative[last]))
		if !slices.Contains(ranks, rank) {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// Size counts the rows of a book.
type Size struct{ Currencies, Collectors, Sells, Buys int }

// Generate stages the files of a synthetic book in a directory, which it creates if necessary.
func Generate(ctx context.Context, s *Staging, dir string, synthetic Synthetic) (Size, error) {
	var size Size
	if err := synthetic.Validate(); err != nil {
		return size, err
	}
	for _, file := range files {
		zipped := filepath.Join(dir, file.name+".csv.gz")
		if _, err := os.Lstat(zipped); !errors.Is(err, fs.ErrNotExist) {
			return size, fmt.Errorf("%s is in the way: remove it, or choose another directory", zipped)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return size, err
	}
	contents := [len(files)]func(*bufio.Writer) (int, error){
		currencies: func(w *bufio.Writer) (int, error) { return writeCurrencies(w, synthetic.AllCurrencies()) },
		collectors: func(w *bufio.Writer) (int, error) { return writeCollectors(w, synthetic.AllCollectors()) },
		sells:      func(w *bufio.Writer) (int, error) { return writeSells(w, synthetic.AllOffers()) },
		buys:       func(w *bufio.Writer) (int, error) { return writeBuys(w, synthetic.AllOffers()) },
	}
	var rows [len(files)]int
	var group errgroup.Group
	for i, content := range contents {
		group.Go(func() error {
			return s.Write(ctx, filepath.Join(dir, files[i].name+".csv"), func(w *bufio.Writer) (err error) {
				if _, err := w.WriteString(strings.Join(files[i].columns, ",") + "\n"); err != nil {
					return err
				}
				rows[i], err = content(w)
				return err
			})
		})
	}
	err := group.Wait()
	return Size{rows[currencies], rows[collectors], rows[sells], rows[buys]}, err
}

func writeCurrencies(w *bufio.Writer, all iter.Seq[solver.Currency]) (rows int, err error) {
	records := csv.NewWriter(w) // locators may hold anything
	for c := range all {
		record := []string{strconv.FormatBool(c.Confirmed), c.Locator, strconv.FormatInt(int64(c.DebtorID), 10), "", "", ""}
		if c.Peg != nil {
			record[pegLocatorColumn] = c.Peg.Locator
			record[pegIDColumn] = strconv.FormatInt(int64(c.Peg.DebtorID), 10)
			record[pegRateColumn] = strconv.FormatFloat(c.Peg.Rate, 'g', -1, 64)
		}
		if err := records.Write(record); err != nil {
			return rows, err
		}
		rows++
	}
	records.Flush()
	return rows, records.Error()
}

func writeCollectors(w *bufio.Writer, all iter.Seq2[swpt.DebtorID, swpt.CreditorID]) (rows int, err error) {
	for debtor, collector := range all {
		if err := writeRow(w, int64(collector), int64(debtor)); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, nil
}

func writeSells(w *bufio.Writer, all iter.Seq[TraderOffers]) (rows int, err error) {
	for offers := range all {
		for _, o := range offers.Sells {
			if err := writeRow(w, int64(o.Creditor), int64(o.Debtor), o.Amount, int64(o.Collector)); err != nil {
				return rows, err
			}
		}
		rows += len(offers.Sells)
	}
	return rows, nil
}

func writeBuys(w *bufio.Writer, all iter.Seq[TraderOffers]) (rows int, err error) {
	for offers := range all {
		for _, o := range offers.Buys {
			if err := writeRow(w, int64(o.Creditor), int64(o.Debtor), o.Amount); err != nil {
				return rows, err
			}
		}
		rows += len(offers.Buys)
	}
	return rows, nil
}
