package authority

import (
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// Status codes of the protocol.
const (
	recipientIsUnreachable = "RECIPIENT_IS_UNREACHABLE"
	senderIsUnreachable    = "SENDER_IS_UNREACHABLE"
	tooManyTransfers       = "TOO_MANY_TRANSFERS"
	recipientSameAsSender  = "RECIPIENT_SAME_AS_SENDER"
	newerInterestRate      = "NEWER_INTEREST_RATE"
	insufficientAmount     = "INSUFFICIENT_AVAILABLE_AMOUNT"
	transferNoteIsTooLong  = "TRANSFER_NOTE_IS_TOO_LONG"
	timeout                = "TIMEOUT"
	ok                     = smp.StatusOK
	typeAgent              = smp.CoordinatorAgent
	typeIssuing            = "issuing"
	typeInterest           = "interest"
	typeDelete             = "delete"
	maxPreparedTransfers   = math.MaxInt32
	creditorsAgentShift    = 40 // the bits above are those of a creditors agent
)

// A queue holds what is asked for on an account, or on one that does not exist, until it is processed: all requests of
// a kind together.
type queue struct {
	preparing  []*smp.PrepareTransfer
	finalizing []*smp.FinalizeTransfer
}

func (a *Authority) queue(key journal.Account) *queue {
	q := a.queues[key]
	if q == nil {
		q = &queue{}
		a.queues[key] = q
	}
	return q
}

// forget removes a queue that is empty.
func (a *Authority) forget(key journal.Account) {
	if q := a.queues[key]; len(q.preparing)+len(q.finalizing) == 0 {
		delete(a.queues, key)
	}
}

// prepare makes the checks that are made on arrival, and queues the request (peers.md, section 2.1).
func (a *Authority) prepare(m *smp.PrepareTransfer) {
	recipient, valid := a.creditorOf(m.Recipient)
	if !valid {
		a.reject(m, recipientIsUnreachable, 0)
		return
	}
	if m.CoordinatorType != typeAgent && recipient != rootID {
		acc := a.find(m.DebtorID, recipient)
		if acc == nil || acc.closed || acc.config.scheduled() {
			a.reject(m, recipientIsUnreachable, 0)
			return
		}
	}
	key := journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}
	q := a.queue(key)
	q.preparing = append(q.preparing, m)
	if len(q.preparing) == 1 {
		a.after(a.wait(), func() { a.processPreparing(key) })
	}
}

// processPreparing answers all requests that wait for an account, in no particular order.
func (a *Authority) processPreparing(key journal.Account) {
	q := a.queues[key]
	waiting := q.preparing
	q.preparing = nil
	a.forget(key)
	a.random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	for _, m := range waiting {
		acc := a.accounts[key]
		amount, code, total := a.judgePreparing(acc, m)
		if code != ok {
			a.reject(m, code, total)
			continue
		}
		a.lock(acc, m, amount)
	}
}

// judgePreparing decides about a request: how much is locked, or why nothing is, and how much is locked already.
func (a *Authority) judgePreparing(acc *account, m *smp.PrepareTransfer) (amount int64, code string, total int64) {
	recipient, _ := a.creditorOf(m.Recipient)
	isAgent := m.CoordinatorType == typeAgent
	switch {
	case acc == nil || acc.closed:
		return 0, senderIsUnreachable, 0
	case isAgent && !haveSameAgent(int64(m.CreditorID), int64(recipient)):
		return 0, recipientIsUnreachable, 0
	case isAgent && a.settings.Freedoms.Recipients == AtPrepare && a.isGone(m.DebtorID, recipient):
		return 0, recipientIsUnreachable, 0
	case len(acc.locks) >= maxPreparedTransfers:
		return 0, tooManyTransfers, acc.locked
	case recipient == m.CreditorID:
		return 0, recipientSameAsSender, acc.locked
	case acc.holding.RateSince.After(m.FinalInterestRateTS):
		return 0, newerInterestRate, acc.locked
	}
	available := journal.Sum(journal.Sum(a.spendable(acc), -acc.locked), -a.minimum(acc))
	amount = max(0, min(m.MaxLockedAmount, available))
	switch {
	case amount < m.MinLockedAmount:
		return 0, insufficientAmount, acc.locked
	case isAgent && a.isBlocked(acc.key, recipient, a.settings.Freedoms.RejectRecipient):
		return 0, recipientIsUnreachable, acc.locked
	case isAgent && a.chance(a.settings.Freedoms.FailForGood):
		return 0, fatalCodes[a.random.IntN(len(fatalCodes))], acc.locked
	}
	return amount, ok, acc.locked
}

// haveSameAgent tells whether two creditors, other than the root, belong to one creditors agent.
func haveSameAgent(sender, recipient int64) bool {
	agent := uint64(sender) >> creditorsAgentShift
	return agent != 0 && agent == uint64(recipient)>>creditorsAgentShift
}

func (a *Authority) reject(m *smp.PrepareTransfer, code string, total int64) {
	a.send(&smp.RejectedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
		CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID,
		StatusCode: code, TotalLockedAmount: total, TS: a.now,
	})
}

// lock prepares a transfer (peers.md, section 2.3).
func (a *Authority) lock(acc *account, m *smp.PrepareTransfer, amount int64) {
	deadline := a.now.Add(a.settings.CommitPeriod)
	if limit := m.TS.Add(time.Duration(m.MaxCommitDelay) * time.Second); limit.Before(deadline) {
		deadline = limit
	}
	l := &lock{
		message: smp.PreparedTransfer{
			DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
			CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID,
			TransferID: a.nextTransferID(acc), LockedAmount: amount, Recipient: m.Recipient,
			PreparedAt: a.now, Deadline: deadline, FinalInterestRateTS: m.FinalInterestRateTS,
			DemurrageRate: a.settings.DemurrageRate, TS: a.now,
		},
		remindedAt: a.now,
	}
	acc.addLock(l)
	told := l.message
	a.record(journal.Entry{
		Kind: journal.Locked, Account: acc.key, Prepared: &told,
		TotalLocked: acc.locked, Minimum: a.minimum(acc), Holding: acc.holding,
	})
	a.send(&told)
}

// remind repeats the messages about prepared transfers that wait for long.
func (a *Authority) remind(acc *account, silence time.Duration) {
	for l := acc.oldest; l != nil; l = l.newer {
		if a.now.Sub(l.remindedAt) > silence {
			l.remindedAt = a.now
			reminder := l.message
			reminder.TS = a.now
			a.send(&reminder)
		}
	}
}
