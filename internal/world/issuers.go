package world

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/authority"
)

// coinInfoType is the media type of documents about currencies.
const coinInfoType = "application/vnd.swaptacular.coin-info+json"

// issuers are the issuers of all currencies, with the website on which they publish documents (peers.md, section 7).
// They may be used by many goroutines.
type issuers struct {
	site string // beginning of all IRIs, without a slash at the end

	mu         sync.Mutex
	currencies map[swpt.DebtorID]*issuer
	requests   int // number of documents and redirections that have been asked for
}

// An issuer is a currency, as the website knows it.
type issuer struct {
	currency  Currency
	documents [][]byte // all revisions
	published int      // the one that the locator leads to; −1: none
	fault     Fault
	rate      float64
	configTS  time.Time
}

// newIssuers returns the issuers of some currencies, without any documents.
func newIssuers(site string, currencies []Currency) *issuers {
	i := &issuers{site: site, currencies: make(map[swpt.DebtorID]*issuer, len(currencies))}
	for _, c := range currencies {
		i.currencies[c.Debtor] = &issuer{currency: c, published: -1, rate: c.Rate}
	}
	return i
}

// A Fault says what is wrong with what a website says about a currency.
type Fault uint8

// The faults.
const (
	NoFault           Fault = iota
	FaultTimeout            // no answer ever comes
	FaultSlowBody           // the body comes byte by byte, and does not end
	FaultHugeBody           // the body is longer than anybody reads
	FaultNotFound           // status 404
	FaultGone               // status 410
	FaultServerError        // status 500
	FaultRedirects          // four redirections, then the document
	FaultRedirectLoop       // redirections without an end
	FaultContentType        // the document is called HTML
	FaultBrokenJSON         // the document ends too early
	FaultOtherDebtor        // the document is about another currency
	FaultOtherLocator       // the document says that its locator is another one
)

// write adds a revision of the document of a currency, which says what the currency is like now.
func (i *issuers) write(c *Currency) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.currencies[c.Debtor]
	known.currency = *c
	known.documents = append(known.documents, i.document(known, len(known.documents), c.Debtor, i.locator(c)))
	if c.Dummy {
		known.published = len(known.documents) - 1
	}
}

// currency returns what a currency is like now.
func (i *issuers) currency(debtor swpt.DebtorID) Currency {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.currencies[debtor].currency
}

// newest returns the number of the latest revision.
func (i *issuers) newest(debtor swpt.DebtorID) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.currencies[debtor].documents) - 1
}

// publish makes the locator of a currency lead to a revision of its document.
func (i *issuers) publish(debtor swpt.DebtorID, revision int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.currencies[debtor].published = revision
}

// info returns what an authority has to know about the latest revision.
func (i *issuers) info(debtor swpt.DebtorID) authority.Info {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.currencies[debtor]
	newest := len(known.documents) - 1
	return authority.Info{
		IRI: i.documentIRI(debtor, newest), ContentType: coinInfoType,
		SHA256: fmt.Sprintf("%X", sha256.Sum256(known.documents[newest])),
	}
}

func (i *issuers) rate(debtor swpt.DebtorID) float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.currencies[debtor].rate
}

func (i *issuers) setRate(debtor swpt.DebtorID, rate float64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.currencies[debtor].rate = rate
}

// nextTS returns an instant for a configuration: now, or later than the latest one.
func (i *issuers) nextTS(debtor swpt.DebtorID, now time.Time) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.currencies[debtor]
	if !now.After(known.configTS) {
		now = known.configTS.Add(time.Microsecond)
	}
	known.configTS = now
	return now
}

func (i *issuers) setFault(debtor swpt.DebtorID, fault Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if known := i.currencies[debtor]; known != nil {
		known.fault = fault
	}
}

func (i *issuers) locator(c *Currency) string {
	if c.Dummy {
		return fmt.Sprintf("%s/units/%d", i.site, uint64(c.Debtor))
	}
	return fmt.Sprintf("%s/debtors/%d/public", i.site, uint64(c.Debtor))
}

func (i *issuers) documentIRI(debtor swpt.DebtorID, revision int) string {
	return fmt.Sprintf("%s/debtors/%d/documents/%d/public", i.site, uint64(debtor), revision+1)
}

// locatorOf returns the locator of any currency.
func (i *issuers) locatorOf(debtor swpt.DebtorID) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if known := i.currencies[debtor]; known != nil {
		return i.locator(&known.currency)
	}
	return ""
}

// A coinInfo is a document about a currency. All members that there must be are there.
type coinInfo struct {
	Type             string   `json:"type"`
	Revision         int      `json:"revision"`
	LatestDebtorInfo location `json:"latestDebtorInfo"`
	DebtorIdentity   identity `json:"debtorIdentity"`
	DebtorName       string   `json:"debtorName"`
	Summary          string   `json:"summary,omitempty"`
	AmountDivisor    float64  `json:"amountDivisor"`
	DecimalPlaces    int      `json:"decimalPlaces"`
	Unit             string   `json:"unit"`
	Peg              *coinPeg `json:"peg,omitempty"`
}

type location struct {
	URI string `json:"uri"`
}

type identity struct {
	Type string `json:"type"`
	URI  string `json:"uri"`
}

type coinPeg struct {
	Type             string   `json:"type"`
	ExchangeRate     float64  `json:"exchangeRate"`
	LatestDebtorInfo location `json:"latestDebtorInfo"`
	DebtorIdentity   identity `json:"debtorIdentity"`
}

// document writes a revision of the document of a currency, about a debtor, and naming a locator.
func (i *issuers) document(known *issuer, revision int, debtor swpt.DebtorID, locator string) []byte {
	c := &known.currency
	about := *c
	about.Debtor = debtor
	info := coinInfo{
		Type: "CoinInfo", Revision: revision,
		LatestDebtorInfo: location{locator},
		DebtorIdentity:   identity{"DebtorIdentity", about.identity()},
		DebtorName:       cut(c.Name, 40), Summary: cut(c.Summary, 1000),
		AmountDivisor: math.Max(1, float64(c.Divisor)), DecimalPlaces: c.Decimals, Unit: cut(c.Unit, 40),
	}
	if c.Peg != nil {
		pegged := Currency{Debtor: c.Peg.Debtor}
		if other := i.currencies[c.Peg.Debtor]; other != nil {
			pegged = other.currency
		}
		info.Peg = &coinPeg{
			Type: "Peg", ExchangeRate: c.Peg.Rate,
			LatestDebtorInfo: location{i.locator(&pegged)},
			DebtorIdentity:   identity{"DebtorIdentity", pegged.identity()},
		}
	}
	text, err := json.Marshal(info)
	if err != nil {
		return []byte("{}") // a peg with a rate that is not a number: such a document is of no use to anybody
	}
	return text
}

// cut returns the beginning of a text.
func cut(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit])
}

// fetches returns how often documents have been asked for.
func (i *issuers) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// ServeHTTP answers those who fetch documents.
func (i *issuers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests++
	page, known := i.find(strings.Trim(r.URL.Path, "/"))
	if !known {
		i.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	fault := page.issuer.fault
	switch fault {
	case FaultOtherDebtor:
		page.document = i.document(page.issuer, 0, page.issuer.currency.Debtor+1, i.locator(&page.issuer.currency))
		page.target = ""
	case FaultOtherLocator:
		page.document = i.document(page.issuer, 0, page.issuer.currency.Debtor, i.site+"/elsewhere")
		page.target = ""
	default: // what is wrong is not what is said
	}
	i.mu.Unlock()
	page.serve(w, r, fault)
}

// A page is an answer: a document, or where to find it.
type page struct {
	issuer   *issuer
	document []byte
	target   string
	maxAge   time.Duration
}

// The ages up to which answers may be kept.
const (
	locatorAge  = 24 * time.Hour
	documentAge = 365 * 24 * time.Hour
)

// find returns the page with a path: units/ID, debtors/ID/public, or debtors/ID/documents/N/public.
func (i *issuers) find(path string) (page, bool) {
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return page{}, false
	}
	id, err := strconv.ParseUint(parts[1], 10, 64)
	known := i.currencies[swpt.DebtorID(id)]
	if err != nil || known == nil {
		return page{}, false
	}
	shape := parts[0] + "/" + strconv.Itoa(len(parts))
	switch {
	case shape == "units/2" && known.currency.Dummy:
		return page{issuer: known, document: known.documents[len(known.documents)-1], maxAge: documentAge}, true
	case shape == "debtors/3" && parts[2] == "public" && !known.currency.Dummy && known.published >= 0:
		target := i.documentIRI(swpt.DebtorID(id), known.published)
		return page{issuer: known, document: known.documents[known.published], target: target, maxAge: locatorAge}, true
	case shape == "debtors/5" && parts[2] == "documents" && parts[4] == "public" && !known.currency.Dummy:
		n, err := strconv.Atoi(parts[3])
		if err != nil || n < 1 || n > len(known.documents) {
			return page{}, false
		}
		return page{issuer: known, document: known.documents[n-1], maxAge: documentAge}, true
	}
	return page{}, false
}
