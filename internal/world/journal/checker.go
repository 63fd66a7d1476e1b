package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A Checker judges the entries of a journal. It belongs to one goroutine.
type Checker struct {
	verdicts

	sequence   int64 // number of entries so far
	latest     time.Time
	currencies map[swpt.DebtorID]*currency
	accounts   map[Account]*account
	order      []*account // in the order of their first entries
	credits    map[creditKey]*credit
	requests   map[requestKey]*request
	transfers  map[transferKey]*transfer
	prepared   []*transfer // in the order of preparation
	unfinished Unfinished
	deals      map[dealKey]*deal
	flows      map[flowKey]*flow
	turnovers  map[turnKey]*Turnover
}

// NewChecker returns a checker that has seen no entries.
func NewChecker() *Checker {
	return &Checker{
		currencies: make(map[swpt.DebtorID]*currency),
		accounts:   make(map[Account]*account),
		credits:    make(map[creditKey]*credit),
		requests:   make(map[requestKey]*request),
		transfers:  make(map[transferKey]*transfer),
		deals:      make(map[dealKey]*deal),
		flows:      make(map[flowKey]*flow),
		turnovers:  make(map[turnKey]*Turnover),
	}
}

// A currency is what the checker knows of all accounts in a currency together.
type currency struct {
	principals int64 // sum
	inFlight   int64
}

// An account is what the checker knows of an account.
type account struct {
	Account
	live, closed bool
	created      smp.Date // of the latest life
	holding      Holding
	locked       int64
	open         int         // number of outgoing prepared transfers
	locks        []*transfer // those of them that hold tokens
	lowRate      bool        // it has had an interest rate below the rate that locks are promised
	trades       []Trade
	wishes       int // number of locks by which a customer could become a buyer
	payments     int // how often the customer has been paid as a buyer

	// Transfers of the latest life.
	number   int64 // of the latest AccountTransfer
	acquired int64 // by all of them, and silently

	batchAt        time.Time // when the latest debits were made
	batchPrincipal int64     // before the first of them

	update                      *smp.AccountUpdate // the latest one
	ledger                      *smp.UpdatedLedger // the latest one
	ledgerID, policyID, flagsID int64
	accountID                   string // of the latest life

	configurations configurations
}

type creditKey struct {
	debtor swpt.DebtorID
	number int64
}

// A credit is on its way.
type credit struct {
	amount                            int64
	coordinatorType, noteFormat, note string
}

// Record implements [Recorder].
func (c *Checker) Record(e *Entry) {
	c.sequence++
	if e.At.After(c.latest) {
		c.latest = e.At
	}
	switch e.Kind {
	case Heard:
		c.heard(e)
	case Issued:
		c.issued(e)
	case Delivered:
		c.delivered(e)
	case Refused:
		c.verdicts[p1].Cases++
		c.explain(p1, e.At, "%s", e.Reason)
	case Opened, Closed, Revived, Purged:
		c.lived(e)
	case RateChanged:
		c.rateChanged(e)
	case Locked:
		c.lockedAmount(e)
	case Finalized:
		c.finalized(e)
	case Forgotten:
		c.forgotten(e)
	case Debited:
		c.debited(e)
	case Credited:
		c.credited(e)
	case Capitalised:
		c.capitalised(e)
	}
}

// Verdicts returns what can be said so far.
func (c *Checker) Verdicts() []Verdict { return c.verdicts.list() }

func (c *Checker) account(key Account) *account {
	a := c.accounts[key]
	if a == nil {
		a = &account{Account: key}
		c.accounts[key] = a
		c.order = append(c.order, a)
	}
	return a
}

func (c *Checker) currency(debtor swpt.DebtorID) *currency {
	total := c.currencies[debtor]
	if total == nil {
		total = &currency{}
		c.currencies[debtor] = total
	}
	return total
}

// String names an account in explanations.
func (a Account) String() string {
	return fmt.Sprintf("account of %#x in currency %d", uint64(a.Creditor), a.Debtor)
}

// lived follows an account through its lives.
func (c *Checker) lived(e *Entry) {
	a := c.account(e.Account)
	switch e.Kind {
	case Opened:
		if c.fails(c7, !a.live && (a.created == 0 || e.Created > a.created)) {
			c.explain(c7, e.At, "%v opened on %v, after having been opened on %v", a, e.Created, a.created)
		}
		c.setHolding(a, Holding{})
		a.live, a.closed, a.created = true, false, e.Created
		a.number, a.acquired, a.accountID, a.lowRate = 0, 0, "", false
	case Closed:
		if c.fails(c2, a.open == 0) {
			c.explain(c2, e.At, "%v is marked as deleted, with %d prepared transfers", a, a.open)
		}
		a.closed = true
	case Revived:
		a.closed = false
	default: // Purged
		if c.fails(c7, a.live && e.Created == a.created && a.open == 0) {
			c.explain(c7, e.At, "%v, opened on %v, purged as if opened on %v, with %d prepared transfers",
				a, a.created, e.Created, a.open)
		}
		if c.fails(c1, a.holding.Principal == 0) {
			c.explain(c1, e.At, "%v purged with a principal of %d", a, a.holding.Principal)
		}
		a.live = false
	}
}

// setHolding takes over what an account holds.
func (c *Checker) setHolding(a *account, h Holding) {
	c.currency(a.Debtor).principals += h.Principal - a.holding.Principal
	a.holding = h
}

// move takes over what an account holds after its principal has changed by an amount.
func (c *Checker) move(a *account, e *Entry, change int64) {
	want := a.holding.Principal + change
	c.setHolding(a, e.Holding)
	if c.fails(c1, a.holding.Principal == want) {
		c.explain(c1, e.At, "%v has a principal of %d, not %d", a, a.holding.Principal, want)
	}
	total := c.currency(a.Debtor)
	if c.fails(c1, total.principals+total.inFlight == 0) {
		c.explain(c1, e.At, "currency %d: principals of %d, and %d in flight", a.Debtor, total.principals, total.inFlight)
	}
	c.checkPromises(a, e.At)
}

// checkPromises checks that an account holds what its locks promise.
func (c *Checker) checkPromises(a *account, at time.Time) {
	if a.Creditor == Root || a.lowRate {
		return
	}
	promised := 0.0
	for _, l := range a.locks {
		promised += l.promise(at)
	}
	balance := a.holding.Balance(at)
	tolerance := 1 + 1e-9*max(promised, balance)
	if c.fails(c3, balance >= promised-tolerance) {
		c.explain(c3, at, "%v has %f, and locks that promise %f", a, balance, promised)
	}
}

func (c *Checker) rateChanged(e *Entry) {
	a := c.account(e.Account)
	if c.fails(c7, !e.Holding.RateSince.Before(a.holding.RateSince)) {
		c.explain(c7, e.At, "%v: a rate in force since %v follows one since %v", a, e.Holding.RateSince, a.holding.RateSince)
	}
	c.move(a, e, 0)
	for _, l := range a.locks {
		a.lowRate = a.lowRate || e.Holding.Rate < l.message.DemurrageRate
	}
}

func (c *Checker) capitalised(e *Entry) {
	a, root := c.account(e.Account), c.account(Account{e.Account.Debtor, Root})
	before, after := e.Before.Balance(e.At), e.Holding.Balance(e.At)
	if c.fails(c8, near(before, after, 1e-9)) {
		c.explain(c8, e.At, "%v: the balance was %f and is %f", a, before, after)
	}
	rootPrincipal := root.holding.Principal - e.Amount
	if c.fails(c8, e.RootPrincipal == rootPrincipal) {
		c.explain(c8, e.At, "currency %d: the root has %d, not %d", e.Account.Debtor, e.RootPrincipal, rootPrincipal)
	}
	rootHolding := root.holding
	rootHolding.Principal = e.RootPrincipal
	c.setHolding(root, rootHolding)
	c.move(a, e, e.Amount)
	if e.Silent {
		a.acquired += e.Amount
	}
}

func near(x, y, tolerance float64) bool {
	difference := max(x, y) - min(x, y)
	return difference <= tolerance*max(1, x, -x, y, -y)
}

func (c *Checker) debited(e *Entry) {
	a := c.account(e.Account)
	if !e.At.Equal(a.batchAt) {
		a.batchAt, a.batchPrincipal = e.At, a.holding.Principal
	}
	c.currency(a.Debtor).inFlight += e.Amount
	c.move(a, e, -e.Amount)
	c.credits[creditKey{a.Debtor, e.Credit}] = &credit{e.Amount, e.CoordinatorType, e.NoteFormat, e.Note}
	if e.Prepared != nil {
		c.committed(a, e)
	}
	if note, ok := tradeNote(e); ok {
		c.pays(a, e, note)
	}
}

func (c *Checker) credited(e *Entry) {
	a := c.account(e.Account)
	key := creditKey{a.Debtor, e.Credit}
	sent := c.credits[key]
	if c.fails(c5, sent != nil && *sent == credit{e.Amount, e.CoordinatorType, e.NoteFormat, e.Note}) {
		c.explain(c5, e.At, "%v is credited with %d, and nothing like that is in flight", a, e.Amount)
	}
	if c.fails(c5, a.live && !a.closed || a.Creditor == Root) {
		c.explain(c5, e.At, "%v does not exist, and is credited", a)
	}
	if sent != nil {
		c.currency(a.Debtor).inFlight -= sent.amount
		delete(c.credits, key)
	}
	c.move(a, e, e.Amount)
	if e.Silent {
		a.acquired += e.Amount
	}
	if c.fails(c7, !e.Silent || e.CoordinatorType != smp.CoordinatorAgent || a.Creditor == Root) {
		c.explain(c7, e.At, "%v: a transfer of type %q is treated as negligible", a, e.CoordinatorType)
	}
	if note, ok := tradeNote(e); ok {
		c.isPaid(a, e, note)
	}
}

// tradeNote returns what a transfer of the service is for.
func tradeNote(e *Entry) (smp.Note, bool) {
	if e.CoordinatorType != smp.CoordinatorAgent || e.NoteFormat != smp.NoteFormat {
		return smp.Note{}, false
	}
	note, err := smp.ParseNote(e.Note)
	return note, err == nil
}

// A Trade is what an account has given or got in a turn.
type Trade struct {
	Account
	Note   smp.Note
	Amount int64 // tokens; negative: given
	At     time.Time
}

// Trades returns what an account has given and got, in the order of time.
func (c *Checker) Trades(key Account) []Trade {
	if a := c.accounts[key]; a != nil {
		return slices.Clone(a.trades)
	}
	return nil
}
