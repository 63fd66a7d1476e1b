package diagnosis

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A Report tells what is known about some currencies.
type Report struct {
	Base       *BaseReport      `json:"base,omitempty"` // missing: nobody knows the base currency
	Problems   []string         `json:"problems,omitempty"`
	Currencies []CurrencyReport `json:"currencies"`
}

// A BaseReport is the base currency.
type BaseReport struct {
	DebtorID    string `json:"debtorId"`
	Locator     string `json:"locator"`
	MaxDistance int    `json:"maxDistance"`
}

// A CurrencyReport tells whether a currency can be traded, and if not why.
type CurrencyReport struct {
	DebtorID   string   `json:"debtorId"` // unsigned decimal
	Tradable   bool     `json:"tradable"`
	Price      *float64 `json:"price,omitempty"`    // of a token, in tokens of the base currency
	Distance   *int     `json:"distance,omitempty"` // number of pegs between the currency and the base
	Collectors int64    `json:"activeCollectors"`
	Reasons    []Reason `json:"reasons,omitempty"` // why it cannot be traded
	Chain      []Link   `json:"chain,omitempty"`   // from the currency towards the base
}

// A Reason is one thing because of which a currency cannot be traded.
type Reason struct {
	Code string `json:"code"` // one of the constants
	Text string `json:"text"`
}

// Codes of reasons.
const (
	CodeNotDiscovered = "not_discovered" // no collector's account has led to the debtor
	CodeNotConfirmed  = "not_confirmed"  // the debtor has not told where its document is
	CodeNotFetched    = "not_fetched"    // the debtor's document is not there
	CodeOtherDebtor   = "other_debtor"   // the page is that of another debtor
	CodePegUnknown    = "peg_unknown"    // a document along the chain of pegs is not there
	CodePegMismatch   = "peg_mismatch"   // a page along the chain is that of another debtor
	CodeNotPegged     = "not_pegged"     // the chain ends before the base currency
	CodePegCycle      = "peg_cycle"      // the chain leads back to itself
	CodeTooFar        = "too_far"        // the chain is too long
	CodeNoCollector   = "no_collector"   // no collector is ready
	CodeUnsoundPrice  = "unsound_price"  // the price is zero, or too small or too large
	CodeBaseUnknown   = "base_unknown"   // nobody knows the base currency
	CodeOtherShard    = "other_shard"    // a worker that has not been asked knows more
	CodeNoPrices      = "no_prices"      // there are no prices at all, see Report.Problems
)

// A Link is a step on the way to the base currency.
type Link struct {
	Locator   string     `json:"locator"`
	DebtorID  string     `json:"debtorId"`
	Rate      *float64   `json:"exchangeRate,omitempty"` // tokens of the next currency for one token
	FetchedAt *time.Time `json:"fetchedAt,omitempty"`
	Expired   bool       `json:"expired,omitempty"` // should have been fetched again; it counts until it is forgotten
}

// Explain tells about some currencies, or if none is given about all that are known.
func Explain(k *Knowledge, debtors ...swpt.DebtorID) Report {
	e := &explainer{Knowledge: k, priced: map[string]solver.PricedCurrency{}}
	report := Report{Currencies: []CurrencyReport{}}
	if k.Base != nil {
		report.Base = &BaseReport{unsigned(k.Base.DebtorID), k.Base.Locator, k.Base.MaxDistance}
		if err := e.price(); err != nil {
			e.failure = err
			report.Problems = append(report.Problems, "there are no prices, and no turn can succeed: "+err.Error())
		}
	} else {
		report.Problems = append(report.Problems,
			"the base currency is unknown: set BASE_DEBTOR_INFO_LOCATOR and BASE_DEBTOR_ID, or wait for a turn")
	}
	if len(debtors) == 0 {
		debtors = e.everybody()
	}
	for _, debtor := range debtors {
		report.Currencies = append(report.Currencies, e.explain(debtor))
	}
	return report
}

// unsigned writes an ID as issuers know it.
func unsigned(debtor swpt.DebtorID) string {
	return strconv.FormatUint(uint64(debtor), 10) //nolint:gosec // two's complement is how it is meant
}

// An explainer explains what it knows.
type explainer struct {
	*Knowledge
	priced  map[string]solver.PricedCurrency // by locator
	failure error
}

// everybody returns all debtors who are mentioned anywhere.
func (e *explainer) everybody() []swpt.DebtorID {
	found := map[swpt.DebtorID]struct{}{}
	for debtor := range e.Claims {
		found[debtor] = struct{}{}
	}
	for _, d := range e.Documents {
		found[d.DebtorID] = struct{}{}
	}
	for debtor := range e.Collectors {
		found[debtor] = struct{}{}
	}
	return slices.Sorted(maps.Keys(found))
}

// price computes prices as a turn would that began now.
func (e *explainer) price() error {
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator: e.Base.Locator, BaseDebtorID: e.Base.DebtorID,
		MaxDistanceToBase: e.Base.MaxDistance, MinTradeAmount: 1,
	})
	if err != nil {
		return err
	}
	for _, locator := range slices.Sorted(maps.Keys(e.Documents)) {
		d := e.Documents[locator]
		currency := solver.Currency{Locator: locator, DebtorID: d.DebtorID}
		if d.Peg != nil {
			currency.Peg = &solver.Peg{Locator: d.Peg.Locator, DebtorID: d.Peg.DebtorID, Rate: d.Peg.Rate}
		}
		claimed := e.Claims[d.DebtorID].Locator
		currency.Confirmed = claimed != nil && *claimed == locator && e.Collectors[d.DebtorID].Active > 0
		if err := tree.Register(currency); err != nil {
			return err
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		return err
	}
	for c := range prices.Currencies() {
		e.priced[c.Locator] = c
	}
	return nil
}

func (e *explainer) explain(debtor swpt.DebtorID) CurrencyReport {
	c := CurrencyReport{DebtorID: unsigned(debtor), Collectors: e.Collectors[debtor].Active}
	e.explainDocument(debtor, &c)
	if c.Collectors == 0 {
		text := "no collector is active"
		if n := e.Collectors[debtor].Requested; n > 0 {
			text += fmt.Sprintf("; %d will be, once their accounts are ready", n)
		}
		c.because(CodeNoCollector, "%s", text)
	}
	c.Tradable = len(c.Reasons) == 0
	return c
}

func (c *CurrencyReport) because(code, format string, args ...any) {
	c.Reasons = append(c.Reasons, Reason{Code: code, Text: fmt.Sprintf(format, args...)})
}

// explainDocument tells about what the debtor has to say, as far as it is known.
func (e *explainer) explainDocument(debtor swpt.DebtorID, c *CurrencyReport) {
	claim, found := e.Claims[debtor]
	switch {
	case !found && !e.owns(shard.KeyOf(debtor)):
		c.because(CodeOtherShard, "whether the debtor is confirmed is known to a worker that has not been asked")
	case !found:
		c.because(CodeNotDiscovered, "no collector has an account with this debtor that tells where to begin")
	case claim.Locator == nil:
		c.because(CodeNotConfirmed, "the debtor has not confirmed where its document is; its page was asked for %s%s",
			e.ago(claim.LatestDiscoveryAt), e.discoveryState(debtor))
	}
	if claim.Locator == nil {
		return
	}
	d, found := e.Documents[*claim.Locator]
	switch {
	case !found:
		c.missing(e, CodeNotFetched, *claim.Locator)
	case d.DebtorID != debtor:
		c.because(CodeOtherDebtor, "%s is the page of the debtor %s", printable(*claim.Locator), unsigned(d.DebtorID))
	default:
		e.explainPrice(*claim.Locator, c)
	}
}

// missing tells that there is no document, and what is being done about it.
func (c *CurrencyReport) missing(e *explainer, code, locator string) {
	if !e.owns(shard.KeyOfString(locator)) {
		c.because(CodeOtherShard, "%s is known to a worker that has not been asked", printable(locator))
		return
	}
	c.because(code, "%s has not been fetched%s", printable(locator), e.fetchState(e.Fetches[locator]))
}

// owns reports whether the worker would know.
func (e *explainer) owns(key shard.Key) bool { return e.Realm != nil && e.Realm.Match(key) }

// explainPrice follows the pegs from a document.
func (e *explainer) explainPrice(locator string, c *CurrencyReport) {
	reached := e.follow(locator, c)
	priced, found := e.priced[locator]
	switch {
	case e.Base == nil:
		c.because(CodeBaseUnknown, "nobody knows what the base currency is")
	case e.failure != nil:
		c.because(CodeNoPrices, "there are no prices")
	case !found:
		c.because(CodeNoPrices, "the debtor 0 has no currency")
	case priced.Distance < 0:
		if reached { // otherwise, it has been told why not
			c.because(CodeTooFar, "the base is %d pegs away, and at most %d are allowed",
				len(c.Chain)-1, e.Base.MaxDistance)
		}
	default:
		c.Price, c.Distance = &priced.Price, &priced.Distance
		if priced.Tradable && !priced.Clearable {
			c.because(CodeUnsoundPrice, "the price %v is zero, or too small or too large", priced.Price)
		}
	}
}

// follow lists the links towards the base, and reports whether it has got there. If not, it tells why.
func (e *explainer) follow(locator string, c *CurrencyReport) (reached bool) {
	seen := map[string]bool{}
	for d := e.Documents[locator]; ; d = e.Documents[locator] {
		seen[locator] = true
		link := Link{Locator: locator, DebtorID: unsigned(d.DebtorID), FetchedAt: d.FetchedAt, Expired: e.Expired(&d)}
		isBase := e.Base != nil && locator == e.Base.Locator && d.DebtorID == e.Base.DebtorID
		if d.Peg != nil && !isBase {
			link.Rate = &d.Peg.Rate
		}
		c.Chain = append(c.Chain, link)
		switch {
		case isBase:
			return true
		case d.Peg == nil:
			c.because(CodeNotPegged, "%s is not pegged to anything, and not the base currency", printable(locator))
			return false
		case seen[d.Peg.Locator]:
			c.because(CodePegCycle, "the pegs lead back to %s", printable(d.Peg.Locator))
			return false
		}
		next, found := e.Documents[d.Peg.Locator]
		if !found {
			c.missing(e, CodePegUnknown, d.Peg.Locator)
			return false
		}
		if next.DebtorID != d.Peg.DebtorID {
			c.because(CodePegMismatch, "%s is pegged to the debtor %s, but %s is the page of the debtor %s",
				printable(locator), unsigned(d.Peg.DebtorID), printable(d.Peg.Locator), unsigned(next.DebtorID))
			return false
		}
		locator = d.Peg.Locator
	}
}

// discoveryState tells about the fetches by which a debtor is to be confirmed.
func (e *explainer) discoveryState(debtor swpt.DebtorID) string {
	for _, fetches := range e.Fetches {
		var own []Fetch
		for _, f := range fetches {
			if f.IsDiscovery && f.DebtorID == debtor {
				own = append(own, f)
			}
		}
		if len(own) > 0 {
			return e.fetchState(own)
		}
	}
	return ""
}

// fetchState tells what is in the queue.
func (e *explainer) fetchState(fetches []Fetch) string {
	if len(fetches) == 0 {
		return ""
	}
	f := fetches[0]
	when := "it will be tried again " + e.ago(f.NextAttemptAt)
	if !f.NextAttemptAt.After(e.Now) {
		when = "it is due"
	}
	if f.Attempts == 0 {
		return "; " + when
	}
	reason := ""
	if f.LatestStatus != nil {
		reason = fmt.Sprintf(", the latest one with the status %d", *f.LatestStatus)
	}
	return fmt.Sprintf("; failed attempts: %d%s; %s", f.Attempts, reason, when)
}

// ago tells when something is, in relation to now.
func (e *explainer) ago(t time.Time) string { return humanize.RelTime(t, e.Now, "ago", "from now") }
