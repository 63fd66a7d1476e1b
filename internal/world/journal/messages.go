package journal

import (
	"bytes"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// heard looks at what authorities are asked for.
func (c *Checker) heard(e *Entry) {
	switch m := e.Message.(type) {
	case *smp.ConfigureAccount:
		c.heardConfigure(e, m)
	case *smp.PrepareTransfer:
		c.heardPrepare(e, m)
	case *smp.FinalizeTransfer:
		c.heardFinalize(e, m)
	}
}

func (c *Checker) heardPrepare(e *Entry, m *smp.PrepareTransfer) {
	key := requestKey{Account{m.DebtorID, m.CreditorID}, m.CoordinatorType, m.CoordinatorRequestID}
	r := c.requests[key]
	if r == nil {
		c.requests[key] = &request{message: m, sequence: c.sequence}
		return
	}
	if c.fails(p1, sameContent(r.message, m)) {
		c.explain(p1, e.At, "%v: request ID %d is used for another transfer", key.Account, m.CoordinatorRequestID)
	}
}

func (c *Checker) heardFinalize(e *Entry, m *smp.FinalizeTransfer) {
	t := c.transfers[transferKey{Account{m.DebtorID, m.CreditorID}, m.TransferID}]
	if c.fails(p1, t != nil && t.message.CoordinatorType == m.CoordinatorType &&
		t.message.CoordinatorRequestID == m.CoordinatorRequestID && m.CoordinatorID == int64(m.CreditorID)) {
		c.explain(p1, e.At, "%v: transfer %d is finalised, which has not been prepared, or for somebody else",
			Account{m.DebtorID, m.CreditorID}, m.TransferID)
		return
	}
	switch {
	case m.CommittedAmount == 0:
		if !t.dismissed {
			t.dismissed, t.givenUp = true, !t.finalized && !e.At.After(t.message.Deadline)
		}
		if t.commit != nil && t.isOfService() && c.fails(m6, t.finalized) {
			c.explain(m6, e.At, "%v: transfer %d is dismissed, and its commit may succeed", t.Account, m.TransferID)
		}
	case t.commit != nil:
		again := *m
		again.TS = t.commit.TS
		if c.fails(m6, sameContent(t.commit, &again)) {
			c.explain(m6, e.At, "%v: transfer %d is to be committed in two ways", t.Account, m.TransferID)
		}
	default:
		t.commit = m
		if t.isOfService() && c.fails(m6, !t.dismissed) {
			c.explain(m6, e.At, "%v: transfer %d is to be committed, after it has been dismissed", t.Account, m.TransferID)
		}
		c.heardCommit(e, t, m)
	}
}

// heardCommit looks at the first commit of a transfer.
func (c *Checker) heardCommit(e *Entry, t *transfer, m *smp.FinalizeTransfer) {
	if !t.isOfService() {
		return
	}
	if told := c.account(t.Account).update; told != nil &&
		c.fails(m22, len(m.TransferNote) <= int(told.TransferNoteMaxBytes)) {
		c.explain(m22, e.At, "%v: transfer %d has a note of %d bytes, and %d are allowed",
			t.Account, m.TransferID, len(m.TransferNote), told.TransferNoteMaxBytes)
	}
	note, err := smp.ParseNote(m.TransferNote)
	if c.fails(p1, m.TransferNoteFormat == smp.NoteFormat && err == nil) {
		c.explain(p1, e.At, "%v: transfer %d has the note %q", t.Account, m.TransferID, m.TransferNote)
		return
	}
	d := c.deal(m.DebtorID, note)
	for _, earlier := range d.commits {
		if c.fails(m7, failedBefore(earlier, t, e.At)) {
			c.explain(m7, e.At, "turn %d, %v: %v is tried again with transfer %d, and transfer %d may succeed, or has",
				note.TurnID, t.Account, note.Kind, m.TransferID, earlier.message.TransferID)
		}
	}
	d.commits = append(d.commits, t)
}

// failedBefore tells whether a transfer had failed when another one was asked for.
func failedBefore(earlier, later *transfer, now time.Time) bool {
	if !earlier.finalized {
		return now.After(earlier.message.Deadline)
	}
	return earlier.amount == 0 && (later.request == nil || later.request.sequence > earlier.finalizedSeq)
}

// sameContent tells whether two messages look the same on the wire.
func sameContent(a, b smp.Message) bool {
	textA, errA := a.AppendJSON(nil)
	textB, errB := b.AppendJSON(nil)
	return errA == nil && errB == nil && bytes.Equal(textA, textB)
}

// issued looks at what peers say.
func (c *Checker) issued(e *Entry) {
	if err := smp.Validate(e.Message); c.fails(c7, err == nil) {
		c.explain(c7, e.At, "%v", err)
	}
	switch m := e.Message.(type) {
	case *smp.ConfigureAccount:
		c.account(Account{m.DebtorID, m.CreditorID}).configurations.add(m)
	case *smp.AccountUpdate:
		c.issuedUpdate(e, m)
	case *smp.AccountTransfer:
		c.issuedTransfer(e, m)
	case *smp.RejectedTransfer:
		c.issuedRejected(e, m)
	case *smp.PreparedTransfer:
		c.issuedPrepared(e, m)
	case *smp.FinalizedTransfer:
		t := c.transfers[transferKey{Account{m.DebtorID, m.CreditorID}, m.TransferID}]
		if c.fails(c7, t != nil && t.finalized && t.amount == m.CommittedAmount) {
			c.explain(c7, e.At, "creditor %#x: the end of transfer %d is not as told", uint64(m.CreditorID), m.TransferID)
		}
	case *smp.UpdatedLedger:
		a := c.account(Account{m.DebtorID, m.CreditorID})
		c.follows(e, a, &a.ledgerID, m.UpdateID)
		a.ledger = m
		if c.fails(c6, m.CreationDate < a.created || m.CreationDate == a.created && m.LastTransferNumber <= a.number) {
			c.explain(c6, e.At, "%v: the ledger of %v knows of transfer %d, the authority of %v only of %d",
				a, m.CreationDate, m.LastTransferNumber, a.created, a.number)
		}
	case *smp.UpdatedPolicy:
		a := c.account(Account{m.DebtorID, m.CreditorID})
		c.follows(e, a, &a.policyID, m.UpdateID)
	case *smp.UpdatedFlags:
		a := c.account(Account{m.DebtorID, m.CreditorID})
		c.follows(e, a, &a.flagsID, m.UpdateID)
	}
}

// follows checks that update IDs grow.
func (c *Checker) follows(e *Entry, a *account, latest *int64, id int64) {
	if c.fails(c6, id > *latest) {
		c.explain(c6, e.At, "%v: %s has ID %d after %d", a, e.Message.Type(), id, *latest)
	}
	*latest = id
}

func (c *Checker) issuedUpdate(e *Entry, m *smp.AccountUpdate) {
	a := c.account(Account{m.DebtorID, m.CreditorID})
	if c.fails(c4, m.Principal == a.holding.Principal && m.CreationDate == a.created && m.LastTransferNumber == a.number) {
		c.explain(c4, e.At, "%v: an AccountUpdate tells of %d tokens after transfer %d, and they are %d after %d",
			a, m.Principal, m.LastTransferNumber, a.holding.Principal, a.number)
	}
	last := a.update
	a.update = m
	if c.fails(c7, a.accountID == "" || a.accountID == m.AccountID) {
		c.explain(c7, e.At, "%v: the account ID changes from %q to %q", a, a.accountID, m.AccountID)
	}
	a.accountID = m.AccountID
	if last == nil {
		return
	}
	if last.Version() == m.Version() {
		heartbeat := *m
		heartbeat.TS = last.TS
		if c.fails(c6, heartbeat == *last || sameContent(&heartbeat, last)) {
			c.explain(c6, e.At, "%v: two different AccountUpdates have number %d", a, m.LastChangeSeqnum)
		}
		return
	}
	if c.fails(c6, m.Version().IsLaterThan(last.Version())) {
		c.explain(c6, e.At, "%v: AccountUpdate %d follows %d", a, m.LastChangeSeqnum, last.LastChangeSeqnum)
	}
	sameLife := m.CreationDate == last.CreationDate
	if c.fails(c7, !sameLife || !m.LastInterestRateChangeTS.Before(last.LastInterestRateChangeTS)) {
		c.explain(c7, e.At, "%v: the time of the latest change of the rate goes back", a)
	}
}

func (c *Checker) issuedTransfer(e *Entry, m *smp.AccountTransfer) {
	a := c.account(Account{m.DebtorID, m.CreditorID})
	if c.fails(c4, m.CreationDate == a.created && m.PreviousTransferNumber == a.number) {
		c.explain(c4, e.At, "%v: transfer %d says that it follows %d, and follows %d",
			a, m.TransferNumber, m.PreviousTransferNumber, a.number)
	}
	a.number = m.TransferNumber
	a.acquired += m.AcquiredAmount
	if c.fails(c4, a.acquired == a.holding.Principal) {
		c.explain(c4, e.At, "%v: all transfers give %d, and the principal is %d", a, a.acquired, a.holding.Principal)
	}
	alone := a.batchAt.Equal(m.CommittedAt) && m.Principal == a.batchPrincipal+m.AcquiredAmount
	if c.fails(c4, m.Principal == a.holding.Principal || alone) {
		c.explain(c4, e.At, "%v: transfer %d tells of a principal of %d, not %d",
			a, m.TransferNumber, m.Principal, a.holding.Principal)
	}
}

func (c *Checker) issuedRejected(e *Entry, m *smp.RejectedTransfer) {
	key := requestKey{Account{m.DebtorID, m.CreditorID}, m.CoordinatorType, m.CoordinatorRequestID}
	r := c.requests[key]
	if c.fails(c7, r != nil) {
		c.explain(c7, e.At, "%v: nobody has made request %d, which is rejected", key.Account, m.CoordinatorRequestID)
		return
	}
	r.rejected = true
}

func (c *Checker) issuedPrepared(e *Entry, m *smp.PreparedTransfer) {
	t := c.transfers[transferKey{Account{m.DebtorID, m.CreditorID}, m.TransferID}]
	if c.fails(c7, t != nil && !t.finalized) {
		c.explain(c7, e.At, "creditor %#x is told of transfer %d, which is not prepared", uint64(m.CreditorID), m.TransferID)
		return
	}
	same := m.LockedAmount == t.message.LockedAmount && m.Deadline.Equal(t.message.Deadline) &&
		m.PreparedAt.Equal(t.message.PreparedAt) && m.DemurrageRate == t.message.DemurrageRate &&
		m.CoordinatorRequestID == t.message.CoordinatorRequestID && m.Recipient == t.message.Recipient
	if c.fails(c7, same) {
		c.explain(c7, e.At, "%v: transfer %d is not as it was", t.Account, m.TransferID)
	}
}

// delivered looks at what the service can have heard.
func (c *Checker) delivered(e *Entry) {
	if m, ok := e.Message.(*smp.PreparedTransfer); ok {
		if t := c.transfers[transferKey{Account{m.DebtorID, m.CreditorID}, m.TransferID}]; t != nil {
			t.delivered = true
		}
	}
}
