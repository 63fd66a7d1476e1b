package rulebook_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

const (
	commitPeriod  = 90 * day
	demurrageRate = -50.0
	reminderAfter = 7 * day
)

// An accountKey tells which account is meant.
type accountKey struct {
	debtor   swpt.DebtorID
	creditor swpt.CreditorID
}

// An account is one at the accounting authority.
type account struct {
	accountKey
	principal      int64
	interest       float64 // until changedAt
	rate           float64 // percent per year
	rateSince      time.Time
	changedAt      time.Time
	changes        int32
	transferNumber int64
	locked         int64
	isGone         bool // nobody can send anything to it
}

// id returns the account ID. It is not the creditor's ID.
func (a *account) id() string { return fmt.Sprintf("%d/%d", a.debtor, a.creditor) }

// balance returns what the account is worth.
func (a *account) balance(now time.Time) float64 {
	total := float64(a.principal) + a.interest
	if total <= 0 {
		return total
	}
	perSecond := math.Log1p(a.rate/100) / (365.25 * 24 * 3600)
	return total * math.Exp(perSecond*now.Sub(a.changedAt).Seconds())
}

// change moves tokens to the account, or from it.
func (a *account) change(now time.Time, amount int64) {
	a.interest = a.balance(now) - float64(a.principal)
	a.principal += amount
	a.changedAt = now
	a.changes++
}

// A transferKey tells which prepared transfer is meant.
type transferKey struct {
	accountKey
	id int64
}

// A hold is a prepared transfer.
type hold struct {
	prepared   *smp.PreparedTransfer
	remindedAt time.Time
}

// A payment is a committed transfer that the recipient has not got yet.
type payment struct {
	recipient *account
	transfer  smp.AccountTransfer
}

// An authority is an accounting authority. It does what it is asked for when it is told to.
type authority struct {
	now          func() time.Time
	say          func(smp.Message)
	failure      func(isCommit bool, sender *account) string // a status code; empty: nothing goes wrong
	committed    func(*hold, *smp.FinalizeTransfer)          // is told of each commit
	insufficient func(*account, string)                      // is told when somebody cannot pay

	accounts     map[accountKey]*account
	byID         map[string]*account
	holds        map[transferKey]*hold
	outcomes     map[transferKey]bool // of prepared transfers that are gone: whether they were committed
	inFlight     []payment
	lastTransfer int64
}

func newAuthority() *authority {
	return &authority{
		accounts: map[accountKey]*account{}, byID: map[string]*account{},
		holds: map[transferKey]*hold{}, outcomes: map[transferKey]bool{},
	}
}

var epoch = time.Unix(0, 0).UTC()

func (a *authority) open(key accountKey, principal int64, rate float64) *account {
	acc := &account{
		accountKey: key, principal: principal, rate: rate, rateSince: accountsCreated.Time().Add(time.Hour), changedAt: a.now(),
	}
	a.accounts[key], a.byID[acc.id()] = acc, acc
	return acc
}

// handle does what a message asks for.
func (a *authority) handle(m smp.Message) {
	switch m := m.(type) {
	case *smp.PrepareTransfer:
		a.prepare(m)
	case *smp.FinalizeTransfer:
		a.finalize(m)
	}
}

func (a *authority) prepare(m *smp.PrepareTransfer) {
	sender, recipient := a.accounts[accountKey{m.DebtorID, m.CreditorID}], a.byID[m.Recipient]
	var amount int64
	if sender != nil {
		amount = max(0, min(m.MaxLockedAmount, demurrage.Contain(math.Floor(sender.balance(a.now())))-sender.locked))
	}
	var code string
	switch {
	case sender == nil:
		code = "SENDER_IS_UNREACHABLE"
	case recipient == nil || recipient.isGone:
		code = "RECIPIENT_IS_UNREACHABLE"
	case recipient == sender:
		code = "RECIPIENT_SAME_AS_SENDER"
	case sender.rateSince.After(m.FinalInterestRateTS):
		code = "NEWER_INTEREST_RATE"
	case amount < m.MinLockedAmount:
		code = "INSUFFICIENT_AVAILABLE_AMOUNT"
	default:
		code = a.failure(false, sender)
	}
	if code != "" {
		a.say(&smp.RejectedTransfer{
			DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
			CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, StatusCode: code, TS: a.now(),
		})
		return
	}
	deadline := a.now().Add(commitPeriod)
	if asked := m.TS.Add(time.Duration(m.MaxCommitDelay) * time.Second); asked.Before(deadline) {
		deadline = asked
	}
	a.lastTransfer++
	prepared := &smp.PreparedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
		CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, TransferID: a.lastTransfer,
		LockedAmount: amount, Recipient: m.Recipient, PreparedAt: a.now(), Deadline: deadline,
		FinalInterestRateTS: m.FinalInterestRateTS, DemurrageRate: demurrageRate, TS: a.now(),
	}
	sender.locked += amount
	a.holds[transferKey{sender.accountKey, prepared.TransferID}] = &hold{prepared, a.now()}
	a.say(prepared)
}

func (a *authority) finalize(m *smp.FinalizeTransfer) {
	sender := a.accounts[accountKey{m.DebtorID, m.CreditorID}]
	if sender == nil {
		return
	}
	key := transferKey{sender.accountKey, m.TransferID}
	h := a.holds[key]
	if h == nil || h.prepared.CoordinatorID != m.CoordinatorID || h.prepared.CoordinatorType != m.CoordinatorType ||
		h.prepared.CoordinatorRequestID != m.CoordinatorRequestID {
		return
	}
	amount, code := m.CommittedAmount, ""
	if amount > 0 {
		code = a.judge(sender, h.prepared, amount)
	}
	if code != "" {
		amount = 0
	} else {
		code = smp.StatusOK
	}
	delete(a.holds, key)
	a.outcomes[key] = amount > 0
	sender.locked -= h.prepared.LockedAmount
	a.say(&smp.FinalizedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType, CoordinatorID: m.CoordinatorID,
		CoordinatorRequestID: m.CoordinatorRequestID, TransferID: m.TransferID, CommittedAmount: amount, StatusCode: code,
		PreparedAt: h.prepared.PreparedAt, TS: a.now(),
	})
	if amount > 0 {
		a.committed(h, m)
		a.transfer(sender, a.byID[h.prepared.Recipient], m)
	}
}

// judge returns why an amount cannot be transferred; empty if it can be.
func (a *authority) judge(sender *account, prepared *smp.PreparedTransfer, amount int64) string {
	free := demurrage.Contain(math.Floor(sender.balance(a.now()))) - (sender.locked - prepared.LockedAmount)
	reserved := float64(prepared.LockedAmount) * demurrage.Remaining(demurrageRate, a.now().Sub(prepared.PreparedAt))
	switch {
	case a.now().After(prepared.Deadline):
		return "TIMEOUT"
	case sender.rateSince.After(prepared.FinalInterestRateTS):
		return "NEWER_INTEREST_RATE"
	case amount > free && (amount > prepared.LockedAmount || float64(amount) > reserved):
		a.insufficient(sender, fmt.Sprintf("%d of %d free and %v reserved", amount, free, reserved))
		return "INSUFFICIENT_AVAILABLE_AMOUNT"
	default:
		return a.failure(true, sender)
	}
}

// transfer debits the sender. The recipient is credited later.
func (a *authority) transfer(sender, recipient *account, m *smp.FinalizeTransfer) {
	sender.change(a.now(), -m.CommittedAmount)
	transfer := smp.AccountTransfer{
		DebtorID: m.DebtorID, CreationDate: accountsCreated, CoordinatorType: m.CoordinatorType,
		Sender: sender.id(), Recipient: recipient.id(),
		TransferNoteFormat: m.TransferNoteFormat, TransferNote: m.TransferNote, CommittedAt: a.now(),
	}
	a.inFlight = append(a.inFlight, payment{recipient, transfer})
	last := &a.inFlight[len(a.inFlight)-1]
	last.transfer.AcquiredAmount = m.CommittedAmount
	transfer.AcquiredAmount = -m.CommittedAmount
	a.tell(sender, transfer)
}

// credit credits the recipient of a payment in flight.
func (a *authority) credit(i int) {
	p := a.inFlight[i]
	a.inFlight = slices.Delete(a.inFlight, i, i+1)
	p.recipient.change(a.now(), p.transfer.AcquiredAmount)
	a.tell(p.recipient, p.transfer)
}

func (a *authority) tell(acc *account, transfer smp.AccountTransfer) {
	transfer.PreviousTransferNumber = acc.transferNumber
	acc.transferNumber++
	transfer.TransferNumber = acc.transferNumber
	transfer.CreditorID, transfer.Principal, transfer.TS = acc.creditor, acc.principal, a.now()
	a.say(&transfer)
}

// update tells of the state of an account.
func (a *authority) update(acc *account, flags int32, negligible float64) {
	a.say(&smp.AccountUpdate{
		DebtorID: acc.debtor, CreditorID: acc.creditor, CreationDate: accountsCreated,
		LastChangeTS: acc.changedAt, LastChangeSeqnum: acc.changes, Principal: acc.principal, Interest: acc.interest,
		InterestRate: acc.rate, LastInterestRateChangeTS: acc.rateSince, LastConfigTS: epoch,
		NegligibleAmount: negligible, ConfigFlags: flags, AccountID: acc.id(),
		LastTransferNumber: acc.transferNumber, LastTransferCommittedAt: epoch, DemurrageRate: demurrageRate,
		CommitPeriod: int32(commitPeriod / time.Second), TransferNoteMaxBytes: 500, TTL: int32(7 * day / time.Second),
		TS: a.now(),
	})
}

// setRate changes the interest rate of an account.
func (a *authority) setRate(acc *account, rate float64) {
	acc.change(a.now(), 0)
	acc.rate, acc.rateSince = rate, a.now()
	a.update(acc, 0, huge)
}

// remind sends reminders of what has not been finalized for a week.
func (a *authority) remind() {
	for _, key := range slices.SortedFunc(maps.Keys(a.holds), compareTransfers) {
		h := a.holds[key]
		if a.now().Sub(h.remindedAt) > reminderAfter {
			h.remindedAt = a.now()
			reminder := *h.prepared
			reminder.TS = a.now()
			a.say(&reminder)
		}
	}
}

func compareTransfers(a, b transferKey) int { return int(a.id - b.id) }

// total returns all tokens that there are of a currency. Interest is not among them, as it is never paid out here.
func (a *authority) total(debtor swpt.DebtorID) (total int64) {
	for key, acc := range a.accounts {
		if key.debtor == debtor {
			total += acc.principal
		}
	}
	for i := range a.inFlight {
		if transfer := &a.inFlight[i].transfer; transfer.DebtorID == debtor {
			total += transfer.AcquiredAmount
		}
	}
	return total
}
