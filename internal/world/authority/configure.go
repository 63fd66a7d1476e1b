package authority

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// A debtor is what an authority knows of a currency: what its issuer has set (peers.md, section 1.5).
type debtor struct {
	configured bool
	rate       float64
	limit      int64
	info       Info
	changedAt  time.Time // when the issuer has set something last
}

// Info tells where the document of a currency is.
type Info struct {
	IRI         string
	ContentType string
	SHA256      string // 64 hexadecimal digits in upper case, or empty
}

// RootConfig is what an issuer can set.
type RootConfig struct {
	Rate  float64 // percent per year, −50 to 100
	Limit *int64  // tokens that may be issued; nil: no limit
	Info  *Info   // nil: none
}

// Data returns what goes into the configuration of the root.
func (c RootConfig) Data() string {
	data := rootConfigData{Type: rootConfigType, Rate: &c.Rate, Limit: c.Limit}
	if c.Info != nil {
		data.Info = &rootInfo{Type: rootInfoType, IRI: c.Info.IRI}
		if c.Info.ContentType != "" {
			data.Info.ContentType = &c.Info.ContentType
		}
		if c.Info.SHA256 != "" {
			data.Info.SHA256 = &c.Info.SHA256
		}
	}
	text, _ := json.Marshal(data) // numbers and strings, all of which can be written
	return string(text)
}

const (
	rootConfigType = "RootConfigData"
	rootInfoType   = "DebtorInfo"
)

type rootConfigData struct {
	Type  string    `json:"type"`
	Rate  *float64  `json:"rate,omitempty"`
	Limit *int64    `json:"limit,omitempty"`
	Info  *rootInfo `json:"info,omitempty"`
}

type rootInfo struct {
	Type        string  `json:"type"`
	IRI         string  `json:"iri"`
	ContentType *string `json:"contentType,omitempty"`
	SHA256      *string `json:"sha256,omitempty"`
}

// parseRootConfig reads the configuration of a root. Unknown members make it invalid.
func parseRootConfig(text string) (RootConfig, bool) {
	if text == "" {
		return RootConfig{}, true
	}
	var data rootConfigData
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&data) != nil || decoder.More() || data.Type != rootConfigType {
		return RootConfig{}, false
	}
	c := RootConfig{Limit: data.Limit}
	if data.Rate != nil {
		c.Rate = *data.Rate
	}
	if data.Info != nil {
		c.Info = &Info{IRI: data.Info.IRI}
		if data.Info.ContentType != nil {
			c.Info.ContentType = *data.Info.ContentType
		}
		if data.Info.SHA256 != nil {
			c.Info.SHA256 = *data.Info.SHA256
		}
	}
	valid := minRate <= c.Rate && c.Rate <= maxRate &&
		(c.Limit == nil || *c.Limit >= 0) &&
		(data.Info == nil || data.Info.Type == rootInfoType)
	return c, valid
}

// The bounds of interest rates.
const (
	minRate = -50
	maxRate = 100
)

func (a *Authority) debtor(id swpt.DebtorID) *debtor {
	d := a.debtors[id]
	if d == nil {
		d = &debtor{limit: math.MaxInt64}
		a.debtors[id] = d
	}
	return d
}

// configure creates an account, or changes its configuration (peers.md, section 1.1).
func (a *Authority) configure(m *smp.ConfigureAccount) {
	key := journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}
	acc := a.accounts[key]
	if acc == nil && a.now.Sub(m.TS) > a.settings.ConfigAge {
		return
	}
	if acc != nil && !isLater(m, &acc.config) {
		return
	}
	rootConfig, valid := validConfig(m)
	if !valid {
		a.send(&smp.RejectedConfig{
			DebtorID: m.DebtorID, CreditorID: m.CreditorID, ConfigTS: m.TS, ConfigSeqnum: m.Seqnum,
			ConfigFlags: m.ConfigFlags, NegligibleAmount: m.NegligibleAmount, ConfigData: m.ConfigData,
			RejectionCode: "INVALID_CONFIGURATION", TS: a.now,
		})
		return
	}
	fresh := acc == nil || acc.closed
	switch {
	case acc == nil:
		acc = a.open(key)
	case acc.closed:
		a.revive(acc)
	}
	acc.config = config{m.TS, m.Seqnum, m.ConfigFlags, a.single(m.NegligibleAmount), m.ConfigData}
	a.change(acc)
	if key.Creditor == rootID {
		a.configureRoot(key.Debtor, rootConfig)
	}
	a.announce(acc)
	if fresh {
		a.initialise(acc)
	}
}

// isLater tells whether a message is later than the configuration that has been applied last.
func isLater(m *smp.ConfigureAccount, last *config) bool {
	if !m.TS.Equal(last.ts) {
		return m.TS.After(last.ts)
	}
	return smp.IsLaterSeqnum(m.Seqnum, last.seqnum)
}

func validConfig(m *smp.ConfigureAccount) (root RootConfig, valid bool) {
	if m.NegligibleAmount < 0 || math.IsNaN(m.NegligibleAmount) || math.IsInf(m.NegligibleAmount, 0) {
		return RootConfig{}, false
	}
	if m.CreditorID != rootID {
		return RootConfig{}, m.ConfigData == ""
	}
	return parseRootConfig(m.ConfigData)
}

// configureRoot takes over what an issuer has set. It reaches the accounts one by one.
func (a *Authority) configureRoot(id swpt.DebtorID, c RootConfig) {
	d := a.debtor(id)
	d.configured, d.rate, d.limit, d.info = true, a.single(c.Rate), math.MaxInt64, Info{}
	if c.Limit != nil {
		d.limit = *c.Limit
	}
	if c.Info != nil {
		d.info = *c.Info
	}
	d.changedAt = a.now
}

// initialise gives a new account the rate and the info of its currency, each with an AccountUpdate of its own.
func (a *Authority) initialise(acc *account) {
	d := a.debtor(acc.key.Debtor)
	if !d.configured || acc.key.Creditor == rootID {
		return
	}
	if d.rate != acc.holding.Rate {
		a.setRate(acc, d.rate)
	}
	if d.info != acc.info {
		a.setInfo(acc, d.info)
	}
}

// setRate changes the interest rate of an account.
func (a *Authority) setRate(acc *account, rate float64) {
	a.change(acc)
	acc.formerRate = acc.holding.Rate
	acc.holding.Rate, acc.holding.RateSince = rate, a.now
	a.record(journal.Entry{Kind: journal.RateChanged, Account: acc.key, Holding: acc.holding})
	a.announce(acc)
}

func (a *Authority) setInfo(acc *account, info Info) {
	acc.info = info
	a.change(acc)
	a.announce(acc)
}

// floorAmount returns an amount, rounded down, or the largest integer if it is larger.
func floorAmount(x float64) int64 {
	if x >= math.MaxInt64 { // the constant becomes 2⁶³
		return math.MaxInt64
	}
	return int64(math.Floor(x))
}
