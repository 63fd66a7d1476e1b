package authority

import (
	"slices"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// finalize queues a request, unless one for the same transfer waits already: the first one decides (peers.md, section
// 3.1).
func (a *Authority) finalize(m *smp.FinalizeTransfer) {
	key := journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}
	q := a.queue(key)
	sameTransfer := func(other *smp.FinalizeTransfer) bool { return other.TransferID == m.TransferID }
	if slices.ContainsFunc(q.finalizing, sameTransfer) {
		return
	}
	q.finalizing = append(q.finalizing, m)
	if len(q.finalizing) == 1 {
		a.after(a.wait(), func() { a.processFinalizing(key) })
	}
}

// processFinalizing finalises all transfers that wait on an account.
func (a *Authority) processFinalizing(key journal.Account) {
	q := a.queues[key]
	waiting := q.finalizing
	q.finalizing = nil
	a.forget(key)
	acc := a.accounts[key]
	if acc == nil {
		return
	}
	a.random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	before := acc.holding.Principal
	for _, m := range waiting {
		if l := acc.matching(m); l != nil {
			a.settle(acc, l, m, before)
		}
	}
}

// matching returns the prepared transfer that a message is about.
func (acc *account) matching(m *smp.FinalizeTransfer) *lock {
	l := acc.locks[m.TransferID]
	if l == nil || l.message.CoordinatorType != m.CoordinatorType ||
		l.message.CoordinatorID != m.CoordinatorID || l.message.CoordinatorRequestID != m.CoordinatorRequestID {
		return nil
	}
	return l
}

// settle ends a prepared transfer, and makes the debit if all is well (peers.md, sections 3.2 and 3.3). What the debit
// tells of the principal does not include the other debits of its batch.
func (a *Authority) settle(acc *account, l *lock, m *smp.FinalizeTransfer, principalBefore int64) {
	amount, code := m.CommittedAmount, ok
	if amount > 0 {
		if code = a.judgeCommit(acc, l, m); code != ok {
			amount = 0
		}
	}
	acc.removeLock(l)
	prepared := l.message
	a.record(journal.Entry{
		Kind: journal.Finalized, Account: acc.key, Prepared: &prepared, Amount: amount, Status: code, TotalLocked: acc.locked,
	})
	a.send(&smp.FinalizedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType,
		CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, TransferID: m.TransferID,
		CommittedAmount: amount, StatusCode: code, TotalLockedAmount: acc.locked,
		PreparedAt: l.message.PreparedAt, TS: a.now,
	})
	if amount == 0 {
		return
	}
	recipient, _ := a.creditorOf(l.message.Recipient)
	p := payment{
		sender: acc.key, recipient: journal.Account{Debtor: acc.key.Debtor, Creditor: recipient}, amount: amount,
		coordinatorType: m.CoordinatorType, noteFormat: m.TransferNoteFormat, note: m.TransferNote,
		committedAt: a.now, prepared: &prepared,
	}
	a.debit(acc, &p, principalBefore-amount)
	a.after(a.wait()+a.upTo(a.settings.Freedoms.CreditDelay), func() { a.credit(&p) })
}

// judgeCommit decides whether what a message asks for can be committed.
func (a *Authority) judgeCommit(acc *account, l *lock, m *smp.FinalizeTransfer) (code string) {
	recipient, _ := a.creditorOf(l.message.Recipient)
	isAgent := l.message.CoordinatorType == typeAgent
	switch {
	case a.now.After(l.message.Deadline):
		return timeout
	case acc.holding.RateSince.After(l.message.FinalInterestRateTS):
		return newerInterestRate
	case !a.isFree(acc, l, m.CommittedAmount) && !a.isReserved(acc, l, m.CommittedAmount):
		return insufficientAmount
	case len(m.TransferNote) > int(a.settings.TransferNoteMaxBytes):
		return transferNoteIsTooLong
	case isAgent && a.settings.Freedoms.Recipients == AtCommit && a.isGone(acc.key.Debtor, recipient):
		return recipientIsUnreachable
	case isAgent && a.isBlocked(acc.key, recipient, a.settings.Freedoms.FailCommit):
		return recipientIsUnreachable
	case isAgent && a.chance(a.settings.Freedoms.FailForGood):
		return fatalCodes[a.random.IntN(len(fatalCodes))]
	}
	return ok
}

// isFree tells whether an amount is there that nothing else has locked.
func (a *Authority) isFree(acc *account, l *lock, amount int64) bool {
	lockedElsewhere := acc.locked - l.message.LockedAmount
	return amount <= journal.Sum(journal.Sum(a.spendable(acc), -lockedElsewhere), -a.minimum(acc))
}

// isReserved tells whether an amount is what remains, at the demurrage rate, of what has been locked.
func (a *Authority) isReserved(acc *account, l *lock, amount int64) bool {
	if amount > l.message.LockedAmount {
		return false
	}
	remaining := demurrage.Remaining(l.message.DemurrageRate, a.now.Sub(l.message.PreparedAt))
	return acc.key.Creditor == rootID || float64(amount) <= float64(l.message.LockedAmount)*remaining
}
