package authority

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// A payment is a transfer that has been committed.
type payment struct {
	number            int64 // unique in the authority
	sender, recipient journal.Account
	amount            int64
	coordinatorType   string
	noteFormat, note  string
	committedAt       time.Time
	prepared          *smp.PreparedTransfer // nil if the authority makes the payment by itself
}

// debit takes a payment from the sender, and puts it in flight (peers.md, section 1.3). The AccountTransfer tells of
// the given principal.
func (a *Authority) debit(acc *account, p *payment, principalTold int64) {
	a.credits++
	a.inFlight++
	p.number = a.credits
	a.change(acc)
	acc.holding.Principal -= p.amount
	acc.due = true
	a.recordPayment(journal.Debited, acc, p, false)
	a.tell(acc, p, -p.amount, principalTold)
}

// credit gives a payment to the recipient, who is created, or revived, if need be (peers.md, sections 1.3 and 1.4).
func (a *Authority) credit(p *payment) {
	acc := a.accounts[p.recipient]
	if acc != nil && !acc.named {
		a.after(a.settings.Timing.Scan, func() { a.credit(p) }) // it cannot have been meant before it has a name
		return
	}
	switch {
	case acc == nil:
		acc = a.open(p.recipient)
		acc.named = true // somebody knows the name
		a.change(acc)
		a.announce(acc)
	case acc.closed:
		a.revive(acc)
		a.change(acc)
		a.announce(acc)
	}
	a.inFlight--
	missed := a.missedInterest(acc, p)
	a.change(acc)
	acc.holding.Principal += p.amount
	acc.holding.Interest += missed
	acc.due = true
	silent := p.coordinatorType != typeAgent && float64(p.amount) <= acc.config.negligible || acc.key.Creditor == rootID
	a.recordPayment(journal.Credited, acc, p, silent)
	if !silent {
		a.tell(acc, p, p.amount, acc.holding.Principal)
	}
}

// missedInterest makes up for the time in flight.
func (a *Authority) missedInterest(acc *account, p *payment) float64 {
	if acc.key.Creditor == rootID || !p.committedAt.Before(a.now) {
		return 0
	}
	changed := acc.holding.RateSince
	if changed.Before(p.committedAt) {
		changed = p.committedAt
	}
	before := journal.Growth(acc.formerRate, changed.Sub(p.committedAt))
	after := journal.Growth(acc.holding.Rate, a.now.Sub(changed))
	return float64(p.amount) * ((1+before)*(1+after) - 1)
}

func (a *Authority) recordPayment(kind journal.Kind, acc *account, p *payment, silent bool) {
	a.record(journal.Entry{
		Kind: kind, Account: acc.key, Amount: p.amount, Credit: p.number, Silent: silent, Prepared: p.prepared,
		CoordinatorType: p.coordinatorType, NoteFormat: p.noteFormat, Note: p.note, Holding: acc.holding,
	})
}

// tell sends the AccountTransfer of one side of a payment. Roots have none (peers.md, section 3.4).
func (a *Authority) tell(acc *account, p *payment, acquired, principal int64) {
	if acc.key.Creditor == rootID {
		return
	}
	previous := acc.number
	acc.number, acc.committedAt = a.nextNumber(previous), p.committedAt
	a.send(&smp.AccountTransfer{
		DebtorID: acc.key.Debtor, CreditorID: acc.key.Creditor, CreationDate: acc.created,
		TransferNumber: acc.number, PreviousTransferNumber: previous, CoordinatorType: p.coordinatorType,
		Sender: a.accountID(p.sender.Creditor), Recipient: a.accountID(p.recipient.Creditor),
		AcquiredAmount: acquired, TransferNoteFormat: p.noteFormat, TransferNote: p.note,
		CommittedAt: p.committedAt, Principal: principal, TS: a.now,
	})
}

// Issue creates tokens on an account, which must exist, as if they had been on their way for no time. Amounts must be
// positive.
func (a *Authority) Issue(to journal.Account, amount int64) {
	a.tick()
	root := a.accounts[journal.Account{Debtor: to.Debtor, Creditor: rootID}]
	p := payment{sender: root.key, recipient: to, amount: amount, coordinatorType: typeIssuing, committedAt: a.now}
	a.debit(root, &p, 0)
	a.credit(&p)
}

// An AccountState is what an authority knows of an account.
type AccountState struct {
	Exists      bool // and is not marked as deleted
	Created     smp.Date
	AccountID   string // empty: none yet
	Holding     journal.Holding
	Locked      int64 // tokens
	Prepared    int   // number of prepared transfers
	ConfigFlags int32
	Number      int64 // of the latest AccountTransfer
}

// Account returns the state of an account.
func (a *Authority) Account(key journal.Account) AccountState {
	acc := a.accounts[key]
	if acc == nil {
		return AccountState{}
	}
	return AccountState{
		Exists: !acc.closed, Created: acc.created, AccountID: a.id(acc), Holding: acc.holding,
		Locked: acc.locked, Prepared: len(acc.locks), ConfigFlags: acc.config.flags, Number: acc.number,
	}
}

// AccountID returns the account ID that a creditor of this authority has, or would have.
func (a *Authority) AccountID(creditor swpt.CreditorID) string { return a.accountID(creditor) }
