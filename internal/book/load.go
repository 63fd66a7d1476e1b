package book

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Base identifies the base currency.
type Base struct {
	Locator  string
	DebtorID swpt.DebtorID
}

// LoadOptions say how to read a book.
type LoadOptions struct {
	// Base is the first currency of the book if nil.
	Base *Base

	// MaxDistanceToBase and MinTradeAmount are as in solver.Params.
	MaxDistanceToBase int
	MinTradeAmount    int64

	// Progress, if not nil, is called now and then, from one goroutine, with how many bytes of the book have been read,
	// and its size in bytes.
	Progress func(read, size int64)
}

// Validate returns solver.ErrInvalidParams if the options are of no use for any book.
func (o LoadOptions) Validate() error {
	_, err := solver.NewPegTree(o.params(nil))
	return err
}

func (o LoadOptions) params(rows []solver.Currency) solver.Params {
	params := solver.Params{MaxDistanceToBase: o.MaxDistanceToBase, MinTradeAmount: o.MinTradeAmount}
	switch {
	case o.Base != nil:
		params.BaseLocator, params.BaseDebtorID = o.Base.Locator, o.Base.DebtorID
	case len(rows) > 0:
		params.BaseLocator, params.BaseDebtorID = rows[0].Locator, rows[0].DebtorID
	default:
		// Without currencies nothing has a price, whatever the base is, but there must be one.
		params.BaseDebtorID = 1
	}
	return params
}

// A Tally counts the offers of one kind by what the market made of them.
type Tally [solver.NoCollector + 1]int

// Rows returns the number of all offers.
func (t Tally) Rows() int {
	sum := 0
	for _, n := range t {
		sum += n
	}
	return sum
}

// Loaded is a book that is ready to be cleared.
type Loaded struct {
	Prices *solver.Prices
	Market *solver.Market

	Currencies, Collectors int // rows
	Sells, Buys            Tally
	Warnings               []Warning

	// Pricing is the part of the time that went into the computation of prices.
	Pricing time.Duration
}

// Load reads the book. It returns ProblemsError if there are bad rows, and the errors of solver.PegTree.
func (b *Book) Load(ctx context.Context, opts LoadOptions) (*Loaded, error) {
	l := &loader{book: b, opts: opts}
	err := l.load(ctx, func(prices *solver.Prices) sink {
		market := solver.NewMarket(prices)
		l.loaded.Market = market
		return sink{market.AddCollector, market.AddSell, market.AddBuy}
	})
	if err != nil {
		return nil, err
	}
	return &l.loaded, nil
}

// A sink is where the rows of a book go to: the methods of a market.
type sink struct {
	addCollector func(swpt.DebtorID, swpt.CreditorID) error
	addSell      func(solver.SellOffer) (solver.Verdict, error)
	addBuy       func(solver.BuyOffer) (solver.Verdict, error)
}

var nowhere = sink{
	func(swpt.DebtorID, swpt.CreditorID) error { return nil },
	func(solver.SellOffer) (solver.Verdict, error) { return solver.Admitted, nil },
	func(solver.BuyOffer) (solver.Verdict, error) { return solver.Admitted, nil },
}

type loader struct {
	book       *Book
	opts       LoadOptions
	loaded     Loaded
	currencies []solver.Currency
	problems   problems
	read       atomic.Int64 // bytes
}

func (l *loader) load(ctx context.Context, openMarket func(*solver.Prices) sink) error {
	rows, err := l.readCurrencies()
	if err != nil {
		return err
	}
	l.currencies = rows
	// If the currencies have problems, the offers are read for the sake of their own problems.
	to := nowhere
	if l.problems.total == 0 {
		if err := l.price(rows); err != nil {
			return err
		}
		to = openMarket(l.loaded.Prices)
	}
	if err := l.readCollectors(to); err != nil {
		return err
	}
	if err := l.readOffers(ctx, to); err != nil {
		return err
	}
	return l.problems.err()
}

// finish takes over what was found in a file that has been read to its end.
func (l *loader) finish(t *table, warnings ...Warning) error {
	if t.err != nil {
		return t.err
	}
	l.problems.addAll(t.problems)
	for _, w := range warnings {
		if w.Rows > 0 {
			l.loaded.Warnings = append(l.loaded.Warnings, w)
		}
	}
	return nil
}

// readCurrencies reads all currencies before any is registered, because the first one is the base of the peg-tree.
func (l *loader) readCurrencies() ([]solver.Currency, error) {
	t, err := l.book.open(currencies, &l.read)
	if err != nil {
		return nil, err
	}
	defer t.close()
	var rows []solver.Currency
	firstLine := make(map[string]int)
	halfPegged := Warning{File: t.name, Reason: "the peg is incomplete, the currency is treated as if it had none"}
	for t.next() {
		c, complete := parseCurrency(t)
		line, found := firstLine[c.Locator]
		switch {
		case c.DebtorID == 0 && t.sound() && len(rows) == 0 && l.opts.Base == nil:
			t.complainOf(idColumn, "the first currency is the base currency, its ID must not be 0")
		case c.DebtorID == 0: // will be ignored
		case found:
			t.complainOf(locatorColumn, fmt.Sprintf("%s is registered already, in line %d", quote(c.Locator), line))
		default:
			firstLine[c.Locator] = t.line()
		}
		if !complete {
			halfPegged.add(t.line())
		}
		rows = append(rows, c)
	}
	l.loaded.Currencies = len(rows)
	return rows, l.finish(t, halfPegged)
}

// Columns of currencies.csv.
const (
	confirmedColumn = iota
	locatorColumn
	idColumn
	pegLocatorColumn
	pegIDColumn
	pegRateColumn
)

// parseCurrency also tells whether the peg is complete: all of its three columns are filled, or none.
func parseCurrency(t *table) (c solver.Currency, complete bool) {
	c.Confirmed = t.truth(confirmedColumn)
	c.Locator = t.text(locatorColumn)
	c.DebtorID = swpt.DebtorID(t.id(idColumn))
	peg := &solver.Peg{Locator: t.text(pegLocatorColumn)}
	filled := 0
	if !t.empty(pegLocatorColumn) {
		filled++
	}
	if !t.empty(pegIDColumn) {
		peg.DebtorID = swpt.DebtorID(t.id(pegIDColumn))
		filled++
	}
	if !t.empty(pegRateColumn) {
		peg.Rate = t.rate(pegRateColumn)
		filled++
	}
	if filled == 3 {
		c.Peg = peg
	}
	return c, filled == 0 || filled == 3
}

func (l *loader) price(rows []solver.Currency) error {
	start := time.Now()
	tree, err := solver.NewPegTree(l.opts.params(rows))
	if err != nil {
		return err
	}
	for _, c := range rows {
		if err := tree.Register(c); err != nil {
			return err
		}
	}
	l.loaded.Prices, err = tree.Prices()
	l.loaded.Pricing = time.Since(start)
	return err
}

func (l *loader) readCollectors(to sink) error {
	t, err := l.book.open(collectors, &l.read)
	if err != nil {
		return err
	}
	defer t.close()
	withoutID := Warning{File: t.name, Reason: "skipped, because the collector ID is 0"}
	for t.next() {
		collector, debtor := swpt.CreditorID(t.id(0)), swpt.DebtorID(t.id(1))
		if !t.sound() {
			continue
		}
		l.loaded.Collectors++
		if collector == 0 {
			withoutID.add(t.line())
			continue
		}
		if err := to.addCollector(debtor, collector); err != nil {
			return fmt.Errorf("registering the collector of %s, line %d: %w", t.name, t.line(), err)
		}
	}
	return l.finish(t, withoutID)
}

func parseSell(t *table) solver.SellOffer {
	return solver.SellOffer{
		Creditor:  swpt.CreditorID(t.id(0)),
		Debtor:    swpt.DebtorID(t.id(1)),
		Amount:    t.amount(2),
		Collector: swpt.CreditorID(t.id(3)),
	}
}

func parseBuy(t *table) solver.BuyOffer {
	return solver.BuyOffer{
		Creditor: swpt.CreditorID(t.id(0)),
		Debtor:   swpt.DebtorID(t.id(1)),
		Amount:   t.amount(2),
	}
}

// readOffers parses both files at the same time, in two goroutines; a third one feeds the market, which is not safe
// for concurrent use.
func (l *loader) readOffers(ctx context.Context, to sink) error {
	fromSells, err := openStream(l, sells, parseSell, to.addSell)
	if err != nil {
		return err
	}
	defer fromSells.table.close()
	fromBuys, err := openStream(l, buys, parseBuy, to.addBuy)
	if err != nil {
		return err
	}
	defer fromBuys.table.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return fromSells.parse(ctx) })
	group.Go(func() error { return fromBuys.parse(ctx) })
	group.Go(func() error { return l.feed(ctx, fromSells, fromBuys) })
	if err := group.Wait(); err != nil {
		return err
	}
	l.loaded.Sells, l.loaded.Buys = fromSells.tally, fromBuys.tally
	return errors.Join(
		l.finish(fromSells.table, fromSells.warnings()...),
		l.finish(fromBuys.table, fromBuys.warnings()...),
	)
}

func (l *loader) feed(ctx context.Context, fromSells *stream[solver.SellOffer], fromBuys *stream[solver.BuyOffer]) error {
	moreSells, moreBuys := fromSells.parsed, fromBuys.parsed
	for moreSells != nil || moreBuys != nil {
		var err error
		select {
		case chunk, more := <-moreSells:
			if !more {
				moreSells = nil
			}
			err = fromSells.take(chunk)
		case chunk, more := <-moreBuys:
			if !more {
				moreBuys = nil
			}
			err = fromBuys.take(chunk)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if l.opts.Progress != nil {
			l.opts.Progress(l.read.Load(), l.book.size)
		}
	}
	return nil
}
