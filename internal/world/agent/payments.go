package agent

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// A payment is a transfer that a customer has ordered (peers.md, section 5.4).
type payment struct {
	from       journal.Account
	amount     int64
	prepared   bool
	transferID int64
}

// The terms of payments.
const (
	paymentNote     = "a payment between customers"
	paymentPatience = 24 * time.Hour
)

// noFinalTS is the end of time: no change of the interest rate matters.
var noFinalTS = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Pay has a customer pay somebody, who is known by an account ID. If there is not enough, nothing happens.
func (a *Agent) Pay(from journal.Account, recipient string, amount int64) {
	a.requests++
	a.payments[a.requests] = &payment{from: from, amount: amount}
	a.links.Authority(&smp.PrepareTransfer{
		CreditorID: from.Creditor, DebtorID: from.Debtor, CoordinatorType: typeDirect,
		CoordinatorID: int64(from.Creditor), CoordinatorRequestID: a.requests,
		MinLockedAmount: amount, MaxLockedAmount: amount, Recipient: recipient,
		FinalInterestRateTS: noFinalTS, MaxCommitDelay: int32(paymentPatience / time.Second), TS: a.now(),
	})
}

// prepared commits a payment, and dismisses what nobody has ordered, or twice.
func (a *Agent) prepared(m *smp.PreparedTransfer) {
	p := a.payments[m.CoordinatorRequestID]
	if m.CoordinatorType != typeDirect || p == nil || p.prepared && p.transferID != m.TransferID {
		a.finalize(m, 0, "")
		return
	}
	p.prepared, p.transferID = true, m.TransferID
	a.finalize(m, p.amount, paymentNote)
}

func (a *Agent) finalize(m *smp.PreparedTransfer, amount int64, note string) {
	a.links.Authority(&smp.FinalizeTransfer{
		CreditorID: m.CreditorID, DebtorID: m.DebtorID, TransferID: m.TransferID, CoordinatorType: m.CoordinatorType,
		CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, CommittedAmount: amount,
		TransferNote: note, TS: a.now(),
	})
}

func (a *Agent) finalized(m *smp.FinalizedTransfer) {
	if p := a.payments[m.CoordinatorRequestID]; p != nil && p.prepared && p.transferID == m.TransferID {
		delete(a.payments, m.CoordinatorRequestID)
	}
}

// Payments returns how many payments are under way.
func (a *Agent) Payments() int { return len(a.payments) }
