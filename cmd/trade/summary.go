package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// timings say how long each step took.
type timings struct{ read, price, clear, write time.Duration }

// A summary of a run. As JSON it is meant for other programs: fields may be added, but those that are here keep their
// names and meanings. Values are in tokens of the base currency, shares go from 0 to 1.
type summary struct {
	Strategy              string        `json:"strategy"`
	Seed                  int64         `json:"seed"`
	MinTradeAmount        int64         `json:"min_trade_amount"` // tokens
	MaxDistanceToBase     int           `json:"max_distance_to_base"`
	BaseDebtorID          swpt.DebtorID `json:"base_debtor_id"`
	BaseDebtorInfoLocator string        `json:"base_debtor_info_locator"`

	Currencies currencySummary `json:"currencies"`
	Collectors int             `json:"collectors"` // rows of the book
	Sells      offerSummary    `json:"sells"`
	Buys       offerSummary    `json:"buys"`

	OfferedValue   float64 `json:"offered_value"` // of the admitted sell offers
	WantedValue    float64 `json:"wanted_value"`  // of the admitted buy offers
	ClearedValue   float64 `json:"cleared_value"`
	ShareOfOffered float64 `json:"share_of_offered"`
	ShareOfWanted  float64 `json:"share_of_wanted"`

	Traders       int          `json:"traders"` // with an admitted offer
	TradersServed int          `json:"traders_served"`
	Transfers     int          `json:"collector_transfers"`
	Rings         *ringSummary `json:"rings,omitempty"` // only if the outcome was decomposed

	Seconds         secondsSummary `json:"seconds"`
	PeakMemoryBytes uint64         `json:"peak_memory_bytes"` // resident memory
}

type currencySummary struct {
	Read      int `json:"read"`
	Tradable  int `json:"tradable"`
	Clearable int `json:"clearable"`
	Traded    int `json:"traded"`
}

type offerSummary struct {
	Read          int `json:"read"`
	Admitted      int `json:"admitted"`
	Served        int `json:"served"`         // at least in part
	NotClearable  int `json:"not_clearable"`  // this and the following were skipped
	BelowMinimum  int `json:"below_minimum"`  // less than min_trade_amount
	InvalidAmount int `json:"invalid_amount"` // not positive
	NoCreditor    int `json:"no_creditor"`    // creditor ID 0
	NoCollector   int `json:"no_collector"`   // collector ID 0; sell offers only
}

type ringSummary struct {
	Count      int     `json:"count"`
	MeanLength float64 `json:"mean_length"` // traders
}

type secondsSummary struct {
	Read  float64 `json:"read"`
	Price float64 `json:"price"`
	Clear float64 `json:"clear"`
	Write float64 `json:"write"` // of the outcome, without report and summary
	Total float64 `json:"total"` // until the summary is written, the report included
}

func (s *solve) sumUp() *summary {
	params := s.loaded.Prices.Params()
	sum := &summary{
		Strategy:              s.opts.strategy,
		Seed:                  s.opts.seed,
		MinTradeAmount:        params.MinTradeAmount,
		MaxDistanceToBase:     params.MaxDistanceToBase,
		BaseDebtorID:          params.BaseDebtorID,
		BaseDebtorInfoLocator: params.BaseLocator,

		Currencies: currencySummary{Read: s.loaded.Currencies},
		Collectors: s.loaded.Collectors,
		Sells:      sumUpOffers(s.loaded.Sells, len(s.outcome.Takings)),
		Buys:       sumUpOffers(s.loaded.Buys, len(s.outcome.Givings)),

		Traders:       s.outcome.Traders,
		TradersServed: s.outcome.Served,
		Transfers:     len(s.outcome.Transfers),

		Seconds: secondsSummary{
			Read:  s.took.read.Seconds(),
			Price: s.took.price.Seconds(),
			Clear: s.took.clear.Seconds(),
			Write: s.took.write.Seconds(),
			Total: time.Since(s.start).Seconds(),
		},
		PeakMemoryBytes: peakMemory(),
	}
	for c := range s.loaded.Prices.Currencies() {
		if c.Tradable {
			sum.Currencies.Tradable++
		}
		if c.Clearable {
			sum.Currencies.Clearable++
		}
	}
	for _, c := range s.outcome.Currencies {
		if c.Takings > 0 {
			sum.Currencies.Traded++
		}
		sum.OfferedValue += c.Offered
		sum.WantedValue += c.Wanted
		sum.ClearedValue += c.Cleared
	}
	sum.ShareOfOffered = ratio(sum.ClearedValue, sum.OfferedValue)
	sum.ShareOfWanted = ratio(sum.ClearedValue, sum.WantedValue)
	if s.rings != nil {
		sum.Rings = &ringSummary{s.rings.Rings, ratio(float64(s.rings.Steps), float64(s.rings.Rings))}
	}
	return sum
}

func sumUpOffers(t book.Tally, served int) offerSummary {
	return offerSummary{
		Read:          t.Rows(),
		Admitted:      t[solver.Admitted],
		Served:        served,
		NotClearable:  t[solver.NotClearable],
		BelowMinimum:  t[solver.BelowMinimum],
		InvalidAmount: t[solver.InvalidAmount],
		NoCreditor:    t[solver.NoCreditor],
		NoCollector:   t[solver.NoCollector],
	}
}

// ratio is 0 if there is nothing to compare with.
func ratio(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

func (sum *summary) writeJSON(w *bufio.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(sum)
}

// writeText writes the summary for people.
func (sum *summary) writeText(w io.Writer) error {
	var text strings.Builder
	line := func(subject, format string, args ...any) {
		fmt.Fprintf(&text, "%-12s"+format+"\n", append([]any{subject}, args...)...)
	}
	line("Offers", "%s read: %s to sell, %s to buy",
		count(sum.Sells.Read+sum.Buys.Read), count(sum.Sells.Read), count(sum.Buys.Read))
	line("", "%s admitted%s", count(sum.Sells.Admitted+sum.Buys.Admitted), sum.skipped())
	line("Currencies", "%s read, %s tradable, %s clearable, %s traded",
		count(sum.Currencies.Read), count(sum.Currencies.Tradable), count(sum.Currencies.Clearable),
		count(sum.Currencies.Traded))
	line("Value", "%s cleared: %s of the %s offered, %s of the %s wanted", value(sum.ClearedValue),
		percent(sum.ShareOfOffered), value(sum.OfferedValue), percent(sum.ShareOfWanted), value(sum.WantedValue))
	line("Traders", "%s of %s served", count(sum.TradersServed), count(sum.Traders))
	line("Transfers", "%s between collectors", count(sum.Transfers))
	if sum.Rings != nil {
		line("Rings", "%s, of %.1f traders on average", count(sum.Rings.Count), sum.Rings.MeanLength)
	}
	line("Time", "%.2f s: reading %.2f s, pricing %.2f s, clearing %.2f s, writing %.2f s", sum.Seconds.Total,
		sum.Seconds.Read, sum.Seconds.Price, sum.Seconds.Clear, sum.Seconds.Write)
	line("Memory", "%s at the peak", humanize.IBytes(sum.PeakMemoryBytes))
	_, err := io.WriteString(w, text.String())
	return err
}

func (sum *summary) skipped() string {
	var reasons []string
	for _, reason := range []struct {
		text  string
		count int
	}{
		{"in currencies that cannot be traded", sum.Sells.NotClearable + sum.Buys.NotClearable},
		{"below the minimum amount", sum.Sells.BelowMinimum + sum.Buys.BelowMinimum},
		{"without a positive amount", sum.Sells.InvalidAmount + sum.Buys.InvalidAmount},
		{"without a creditor", sum.Sells.NoCreditor + sum.Buys.NoCreditor},
		{"without a collector", sum.Sells.NoCollector + sum.Buys.NoCollector},
	} {
		if reason.count > 0 {
			reasons = append(reasons, count(reason.count)+" "+reason.text)
		}
	}
	if reasons == nil {
		return ""
	}
	return "; skipped: " + strings.Join(reasons, ", ")
}

func count(n int) string { return humanize.Comma(int64(n)) }

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// value shows more than enough digits.
func value(v float64) string {
	const large = 1e15
	switch {
	case v >= large:
		return fmt.Sprintf("%.6g", v)
	case v >= 1000:
		return humanize.Comma(int64(math.Round(v)))
	}
	return fmt.Sprintf("%.4g", v)
}
