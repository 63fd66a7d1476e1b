package agent

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
	"github.com/circular-trade/circular-trade/internal/world/timeline"
)

// Timing says how long an agent takes (peers.md, sections 0 and 8.3).
type Timing struct {
	LedgerQueue time.Duration // until a transfer is entered in a ledger
	Scan        time.Duration // one pass over all accounts
	LedgerAge   time.Duration // how long a ledger must be untouched to be brought in line with the authority
	Patience    time.Duration // how long a missing transfer is waited for
	OldTransfer time.Duration // a transfer that is older is of no interest
}

// Realistic returns the timing of the reference implementation.
func Realistic() Timing {
	const day = 24 * time.Hour
	return Timing{
		LedgerQueue: 5 * time.Second,
		Scan:        8 * time.Hour,
		LedgerAge:   time.Hour,
		Patience:    14 * day,
		OldTransfer: 45 * day,
	}
}

// Accelerated returns a timing for runs of minutes.
func Accelerated() Timing {
	return Timing{
		LedgerQueue: 20 * time.Millisecond,
		Scan:        500 * time.Millisecond,
		Patience:    10 * time.Second,
		OldTransfer: Realistic().OldTransfer,
	}
}

const (
	// hugeAmount is the negligible amount of a new account.
	hugeAmount = 1e30
	// nearlyHuge is what it may have become in single precision.
	nearlyHuge = 0.99999e30

	scheduledForDeletion = 1

	typeDirect = "direct"

	// scanSteps is how many parts a pass over all accounts has, so that the load is even.
	scanSteps = 16
)

// Links are the ways on which an agent sends messages. They must not call back.
type Links struct {
	Authority func(smp.Outgoing) // to the accounting authority of the currency
	Service   func(smp.Message)  // notifications to the trading service
}

// An Agent looks after the accounts of its customers. It belongs to one goroutine.
type Agent struct {
	timing   Timing
	timeline *timeline.Timeline
	random   *rand.Rand
	links    Links

	maxIDJump int64 // update IDs jump ahead by up to this

	accounts map[journal.Account]*account
	order    []*account
	cursor   int
	sequence int64 // at or above every update ID in use
	requests int64 // number of the latest payment
	payments map[int64]*payment
}

// New returns an agent without accounts. Update IDs jump ahead by up to maxIDJump at random.
func New(timing Timing, maxIDJump int64, line *timeline.Timeline, random *rand.Rand, links Links) *Agent {
	return &Agent{
		timing: timing, maxIDJump: maxIDJump, timeline: line, random: random, links: links,
		accounts: make(map[journal.Account]*account),
		payments: make(map[int64]*payment),
	}
}

// Begin has the agent look after its accounts from now on, without being asked. Call it once.
func (a *Agent) Begin() { a.timeline.After(a.timing.Scan/scanSteps, a.scan) }

// An account of a customer (peers.md, section 8.1).
type account struct {
	key     journal.Account
	deleted bool

	update  *smp.AccountUpdate // the latest one; nil if there has been none
	current int64              // principal, as the authority has told last

	created   smp.Date // of the ledger
	accountID string
	principal int64
	number    int64 // of the last transfer entered
	touchedAt time.Time
	waiting   []*smp.AccountTransfer // stored and not entered, by creation date and number
	queued    bool                   // the ledger is about to be processed

	policy     Policy
	flags      int32
	negligible float64

	configuredAt                time.Time
	ledgerID, policyID, flagsID int64
}

// A Policy is what a customer wants to have of a currency.
type Policy struct {
	Name         string // empty: no automatic exchange; otherwise at most 40 characters
	MinPrincipal int64  // tokens, at most MaxPrincipal
	MaxPrincipal int64  // tokens
	Peg          *Peg   // nil: none
}

// A Peg is an exchange rate that a customer approves: one token is worth Rate tokens of another currency.
type Peg struct {
	Debtor swpt.DebtorID
	Rate   float64 // 0 or more
}

// NoPolicy is the policy of a new account.
func NoPolicy() Policy { return Policy{MinPrincipal: math.MinInt64, MaxPrincipal: math.MaxInt64} }

// now returns the current instant.
func (a *Agent) now() time.Time { return a.timeline.Now() }

// Open creates an account for a customer. It does nothing if there is one.
func (a *Agent) Open(key journal.Account) {
	if a.accounts[key] != nil {
		return
	}
	a.sequence++
	acc := &account{
		key: key, negligible: hugeAmount, policy: NoPolicy(), touchedAt: a.now(),
		ledgerID: a.sequence, policyID: a.sequence, flagsID: a.sequence,
	}
	a.accounts[key] = acc
	a.order = append(a.order, acc)
	a.configure(acc)
}

// configure sends the configuration of an account. Timestamps of configurations must grow.
func (a *Agent) configure(acc *account) {
	ts := a.now()
	if !ts.After(acc.configuredAt) {
		ts = acc.configuredAt.Add(time.Microsecond)
	}
	acc.configuredAt = ts
	a.links.Authority(&smp.ConfigureAccount{
		DebtorID: acc.key.Debtor, CreditorID: acc.key.Creditor, TS: ts,
		NegligibleAmount: acc.negligible, ConfigFlags: acc.flags,
	})
}

// SetNegligible changes which amounts a customer does not care about. It tells the service of the flags, changed or
// not.
func (a *Agent) SetNegligible(key journal.Account, amount float64) {
	if acc := a.accounts[key]; acc != nil {
		acc.negligible = amount
		a.notifyFlags(acc)
		a.configure(acc)
	}
}

// ScheduleDeletion has an account deleted as soon as the authority can do it.
func (a *Agent) ScheduleDeletion(key journal.Account) {
	if acc := a.accounts[key]; acc != nil {
		acc.flags |= scheduledForDeletion
		acc.negligible = hugeAmount
		a.notifyFlags(acc)
		a.configure(acc)
	}
}

// SetPolicy changes the exchange policy of an account.
func (a *Agent) SetPolicy(key journal.Account, policy Policy) {
	acc := a.accounts[key]
	if acc == nil {
		return
	}
	acc.policy = policy
	a.raise(&acc.policyID, 1)
	a.notifyPolicy(acc)
}

// Delete removes an account from the agent's books, at once: what may be on it is lost to the customer.
func (a *Agent) Delete(key journal.Account) {
	acc := a.accounts[key]
	if acc == nil {
		return
	}
	a.sequence++
	acc.ledgerID, acc.policyID, acc.flagsID = a.sequence, a.sequence, a.sequence
	acc.deleted, acc.accountID, acc.created, acc.principal, acc.number = true, "", 0, 0, 0
	acc.policy, acc.flags = NoPolicy(), 0
	delete(a.accounts, key)
	a.notifyLedger(acc)
	a.notifyPolicy(acc)
	a.links.Service(a.flagsOf(acc))
}

// raise moves an update ID on.
func (a *Agent) raise(id *int64, by int64) {
	*id += by
	if a.maxIDJump > 0 {
		*id += a.random.Int64N(a.maxIDJump + 1)
	}
	a.sequence = max(a.sequence, *id)
}

func (a *Agent) notifyLedger(acc *account) {
	acc.touchedAt = a.now()
	a.links.Service(a.ledgerOf(acc))
}

func (a *Agent) ledgerOf(acc *account) *smp.UpdatedLedger {
	return &smp.UpdatedLedger{
		DebtorID: acc.key.Debtor, CreditorID: acc.key.Creditor, UpdateID: acc.ledgerID, AccountID: acc.accountID,
		CreationDate: acc.created, Principal: acc.principal, LastTransferNumber: acc.number, TS: a.now(),
	}
}

func (a *Agent) notifyPolicy(acc *account) {
	m := &smp.UpdatedPolicy{
		DebtorID: acc.key.Debtor, CreditorID: acc.key.Creditor, UpdateID: acc.policyID,
		MinPrincipal: acc.policy.MinPrincipal, MaxPrincipal: acc.policy.MaxPrincipal, TS: a.now(),
	}
	if name := acc.policy.Name; name != "" {
		m.PolicyName = &name
	}
	if acc.policy.Peg != nil {
		peg := *acc.policy.Peg
		m.PegDebtorID, m.PegExchangeRate = &peg.Debtor, &peg.Rate
	}
	a.links.Service(m)
}

func (a *Agent) notifyFlags(acc *account) {
	a.raise(&acc.flagsID, 1)
	a.links.Service(a.flagsOf(acc))
}

func (a *Agent) flagsOf(acc *account) *smp.UpdatedFlags {
	return &smp.UpdatedFlags{
		DebtorID: acc.key.Debtor, CreditorID: acc.key.Creditor, UpdateID: acc.flagsID, ConfigFlags: acc.flags, TS: a.now(),
	}
}

// Receive has a message of an accounting authority take effect.
func (a *Agent) Receive(m smp.Message) {
	switch m := m.(type) {
	case *smp.AccountUpdate:
		a.updated(m)
	case *smp.AccountTransfer:
		a.transferred(m)
	case *smp.AccountPurge:
		acc := a.accounts[journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}]
		if acc != nil && acc.update != nil && acc.update.CreationDate <= m.CreationDate {
			acc.current = 0
		}
	case *smp.RejectedTransfer:
		delete(a.payments, m.CoordinatorRequestID)
	case *smp.PreparedTransfer:
		a.prepared(m)
	case *smp.FinalizedTransfer:
		a.finalized(m)
	}
}

// updated takes over the state of an account. One that nobody has opened, or that has been deleted, is to be deleted at
// the authority, too.
func (a *Agent) updated(m *smp.AccountUpdate) {
	key := journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}
	acc := a.accounts[key]
	if acc == nil {
		if m.ConfigFlags&scheduledForDeletion == 0 || m.NegligibleAmount < nearlyHuge {
			stranger := &account{
				key: key, flags: scheduledForDeletion, negligible: hugeAmount, configuredAt: m.LastConfigTS,
			}
			a.configure(stranger)
		}
		return
	}
	last := acc.update
	if last != nil && !m.Version().IsLaterThan(last.Version()) {
		return
	}
	acc.update, acc.current = m, m.Principal
	switch {
	case last == nil || m.CreationDate > last.CreationDate:
		acc.created, acc.accountID, acc.principal, acc.number = m.CreationDate, m.AccountID, 0, 0
		a.raise(&acc.ledgerID, 1)
		a.notifyLedger(acc)
		acc.forgetFormerLife()
		a.queueLedger(acc)
	case m.AccountID != acc.accountID:
		acc.accountID = m.AccountID
		a.raise(&acc.ledgerID, 1)
		a.notifyLedger(acc)
	}
}

// A State is what an agent knows of an account.
type State struct {
	Known     bool // to the agent: it has been opened, and not deleted
	Named     bool // the authority has given it an account ID
	AccountID string
	Principal int64 // tokens, by the ledger
	Number    int64 // of the last transfer in the ledger
	Policy    Policy
	Flags     int32
}

// Account returns what the agent knows of an account.
func (a *Agent) Account(key journal.Account) State {
	acc := a.accounts[key]
	if acc == nil {
		return State{}
	}
	return State{
		Known: true, Named: acc.accountID != "", AccountID: acc.accountID, Principal: acc.principal, Number: acc.number,
		Policy: acc.policy, Flags: acc.flags,
	}
}
