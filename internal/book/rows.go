package book

import (
	"context"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Rows are all rows of a book, file by file, in their order.
type Rows struct {
	Currencies []solver.Currency // the first one is the base
	Collectors []Collector
	Sells      []solver.SellOffer
	Buys       []solver.BuyOffer
}

// A Collector is an account of the service in a currency.
type Collector struct {
	ID     swpt.CreditorID
	Debtor swpt.DebtorID
}

// Rows reads the book without making a market of it. It returns the errors of [Book.Load].
func (b *Book) Rows(ctx context.Context, opts LoadOptions) (*Rows, error) {
	rows := &Rows{}
	l := &loader{book: b, opts: opts}
	err := l.load(ctx, func(*solver.Prices) sink {
		return sink{
			addCollector: func(debtor swpt.DebtorID, collector swpt.CreditorID) error {
				rows.Collectors = append(rows.Collectors, Collector{collector, debtor})
				return nil
			},
			addSell: func(o solver.SellOffer) (solver.Verdict, error) {
				rows.Sells = append(rows.Sells, o)
				return solver.Admitted, nil
			},
			addBuy: func(o solver.BuyOffer) (solver.Verdict, error) {
				rows.Buys = append(rows.Buys, o)
				return solver.Admitted, nil
			},
		}
	})
	if err != nil {
		return nil, err
	}
	rows.Currencies = l.currencies
	return rows, nil
}

// Rows returns what the files of the synthetic book would hold.
func (s Synthetic) Rows() (*Rows, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	rows := &Rows{}
	for c := range s.AllCurrencies() {
		rows.Currencies = append(rows.Currencies, c)
	}
	for debtor, collector := range s.AllCollectors() {
		rows.Collectors = append(rows.Collectors, Collector{collector, debtor})
	}
	for offers := range s.AllOffers() {
		rows.Sells = append(rows.Sells, offers.Sells...)
		rows.Buys = append(rows.Buys, offers.Buys...)
	}
	return rows, nil
}
