package agent

import (
	"cmp"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// transferred stores a transfer, and has the ledger processed if the transfer is the next one (peers.md, section 5.2,
// rule L1).
func (a *Agent) transferred(m *smp.AccountTransfer) {
	acc := a.accounts[journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}]
	oldest := a.now().Add(-a.timing.OldTransfer)
	if acc == nil || m.TS.Before(oldest) || m.CommittedAt.Before(oldest) || !acc.store(m) {
		return
	}
	if m.CreationDate == acc.created && m.PreviousTransferNumber == acc.number {
		a.queueLedger(acc)
	}
}

// store keeps a transfer, unless it is known already, or of an earlier life of the account.
func (acc *account) store(m *smp.AccountTransfer) bool {
	isPast := m.CreationDate < acc.created || m.CreationDate == acc.created && m.TransferNumber <= acc.number
	if isPast {
		return false
	}
	at, found := slices.BinarySearchFunc(acc.waiting, m, func(x, y *smp.AccountTransfer) int {
		return cmp.Or(cmp.Compare(x.CreationDate, y.CreationDate), cmp.Compare(x.TransferNumber, y.TransferNumber))
	})
	if !found {
		acc.waiting = slices.Insert(acc.waiting, at, m)
	}
	return !found
}

// forgetFormerLife forgets transfers that have not been entered, and never will be.
func (acc *account) forgetFormerLife() {
	acc.waiting = slices.DeleteFunc(acc.waiting, func(t *smp.AccountTransfer) bool { return t.CreationDate < acc.created })
}

// queueLedger has a ledger processed soon.
func (a *Agent) queueLedger(acc *account) {
	if acc.queued {
		return
	}
	acc.queued = true
	wait := time.Duration(a.random.Int64N(int64(a.timing.LedgerQueue) + 1))
	a.timeline.After(wait.Truncate(time.Microsecond), func() {
		acc.queued = false
		a.processLedger(acc)
	})
}

// processLedger enters the transfers that are due, in the order of their numbers: those that follow the last one
// entered, and those for whose predecessors nobody has the patience to wait any longer (rule L2).
func (a *Agent) processLedger(acc *account) {
	if acc.deleted || acc.update == nil {
		return
	}
	impatience := a.now().Add(-a.timing.Patience)
	entered := int64(0)
	for len(acc.waiting) > 0 {
		next := acc.waiting[0]
		isNext := next.CreationDate == acc.created &&
			(next.PreviousTransferNumber == acc.number || next.CommittedAt.Before(impatience))
		if !isNext {
			break
		}
		acc.principal, acc.number = next.Principal, next.TransferNumber
		acc.waiting = slices.Delete(acc.waiting, 0, 1)
		entered++
	}
	if entered > 0 {
		a.raise(&acc.ledgerID, entered)
		a.notifyLedger(acc)
	}
}

// scan visits the next part of the accounts.
func (a *Agent) scan() {
	a.timeline.After(a.timing.Scan/scanSteps, a.scan)
	part := len(a.order)/scanSteps + 1
	for ; part > 0 && a.cursor < len(a.order); part-- {
		if acc := a.order[a.cursor]; !acc.deleted {
			a.visit(acc)
		}
		a.cursor++
	}
	if a.cursor >= len(a.order) {
		a.cursor = 0
		a.order = slices.DeleteFunc(a.order, func(acc *account) bool { return acc.deleted })
	}
}

// visit brings a ledger in line with what the authority tells (rules L3 and L4).
func (a *Agent) visit(acc *account) {
	if acc.update == nil || acc.update.CreationDate != acc.created {
		return
	}
	impatience := a.now().Add(-a.timing.Patience)
	switch last := acc.update.LastTransferNumber; {
	case last > acc.number:
		if len(acc.waiting) > 0 {
			a.processLedger(acc)
			return
		}
		if acc.update.LastTransferCommittedAt.Before(impatience) {
			a.adoptTail(acc)
		}
	case last == acc.number && acc.current != acc.principal && a.now().Sub(acc.touchedAt) >= a.timing.LedgerAge:
		acc.principal = acc.current
		a.raise(&acc.ledgerID, 1)
		a.notifyLedger(acc)
	}
}

// adoptTail gives up waiting for the last transfers of an account, all of which are missing.
func (a *Agent) adoptTail(acc *account) {
	acc.number = acc.update.LastTransferNumber
	if acc.principal == acc.current {
		return
	}
	acc.principal = acc.current
	a.raise(&acc.ledgerID, 1)
	a.notifyLedger(acc)
}

// Behind returns how many ledgers differ from what the authority has told last.
func (a *Agent) Behind() int {
	behind := 0
	for _, acc := range a.order {
		u := acc.update
		if !acc.deleted && u != nil && u.CreationDate == acc.created &&
			(u.LastTransferNumber != acc.number || acc.current != acc.principal) {
			behind++
		}
	}
	return behind
}
