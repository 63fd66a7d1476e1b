package lock

import (
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// An Account is what a lock is about: an account of a customer, or of a collector.
type Account struct {
	CreditorID swpt.CreditorID
	DebtorID   swpt.DebtorID
}

// A state is how far a lock has got.
type state uint8

const (
	initiated state = iota // a transfer has been asked for
	prepared               // it has been prepared
	settled                // it has been committed, as far as we are concerned
	released               // the account includes the transfer of the turn, and its number is known
)

func stateOf(lock *workerdb.AccountLock) state {
	switch {
	case lock.ReleasedAt != nil:
		return released
	case lock.FinalizedAt != nil:
		return settled
	case lock.TransferID != nil:
		return prepared
	default:
		return initiated
	}
}

// isSelfLock reports whether a collector has locked its own account, for which no transfer has been made.
func isSelfLock(lock *workerdb.AccountLock) bool {
	return lock.CreditorID == lock.CollectorID
}

// A decision is what becomes of a lock, and what there is to say about it.
type decision struct {
	lock     *workerdb.AccountLock // from now on. The lock as it was: nothing changes; nil: it is deleted
	event    event                 // what has happened to the lock, if it has changed
	messages []smp.Outgoing
	anomaly  *anomaly
}

// An event is something that happens to a lock, as metrics name it.
type event string

const (
	eventInitiated event = "initiated"
	eventPrepared  event = "prepared"
	eventSettled   event = "settled"  // a seller's transfer is committed
	eventKept      event = "kept"     // a buyer waits for being paid
	eventReleased  event = "released" // the seller has paid, the buyer has been paid, or a collector has traded

	// Events that end with the lock's deletion.
	eventRejected  event = "rejected"  // the amount could not be secured
	eventUnfit     event = "unfit"     // it is not secured for long enough, or not against demurrage
	eventDismissed event = "dismissed" // the turn is not about the account
	eventRefused   event = "refused"   // what the solver has decided does not fit the lock
	eventFailed    event = "failed"    // the seller's transfer could not be committed
	eventAbandoned event = "abandoned" // the buyer will not be paid
	eventOverdue   event = "overdue"   // nothing has come of the lock
)

var events = []event{
	eventInitiated, eventPrepared, eventSettled, eventKept, eventReleased, eventRejected, eventUnfit, eventDismissed,
	eventRefused, eventFailed, eventAbandoned, eventOverdue,
}

// An anomaly is something about money that operators should know of.
type anomaly struct {
	kind  anomalyKind
	attrs []slog.Attr // what the lock does not tell
}

type anomalyKind string

const (
	// A transfer that has been prepared for our request is from another account than the one asked for.
	anomalyOtherAccount anomalyKind = "other_account"
	// The solver has decided on more than the lock is about. What is beyond is ignored.
	anomalyExcess anomalyKind = "participation_exceeds_lock"
	// What the solver has decided does not fit the lock in another way. It is ignored.
	anomalyMismatch anomalyKind = "participation_mismatch"
	// The commit of a seller's transfer has failed. The collector stops waiting for it.
	anomalyFailedCommit anomalyKind = "failed_commit"
	// Another amount has been committed than what was asked for.
	anomalyCommittedAmount anomalyKind = "unexpected_committed_amount"
	// The seller's account tells of another amount than what was asked for.
	anomalyPaidAmount anomalyKind = "unexpected_paid_amount"
)

var anomalyKinds = []anomalyKind{
	anomalyOtherAccount, anomalyExcess, anomalyMismatch, anomalyFailedCommit, anomalyCommittedAmount, anomalyPaidAmount,
}

// unchanged is the decision to do nothing.
func unchanged(lock *workerdb.AccountLock) decision {
	return decision{lock: lock}
}

// deletion is the decision to delete a lock, and to dismiss its transfer, if there is one.
func deletion(lock *workerdb.AccountLock, because event, now time.Time) decision {
	return decision{event: because, messages: dismissal(lock, now)}
}

// dismissal returns the message that gives up a lock's transfer, if there is one.
func dismissal(lock *workerdb.AccountLock, now time.Time) []smp.Outgoing {
	if lock.TransferID == nil || isSelfLock(lock) {
		return nil
	}
	return []smp.Outgoing{finalizeTransfer(lock, 0, now)}
}

// commit returns the message that commits the transfer of a settled lock of a seller. It says the same whenever it is
// asked for, the timestamp apart.
func commit(lock *workerdb.AccountLock, now time.Time) []smp.Outgoing {
	m := finalizeTransfer(lock, -lock.Amount, now)
	m.TransferNoteFormat = smp.NoteFormat
	m.TransferNote = smp.Note{
		Kind: smp.Collecting, TurnID: lock.TurnID, First: lock.CollectorID, Second: lock.CreditorID,
	}.String()
	return []smp.Outgoing{m}
}

func finalizeTransfer(lock *workerdb.AccountLock, amount int64, now time.Time) *smp.FinalizeTransfer {
	return &smp.FinalizeTransfer{
		CreditorID:           lock.CreditorID,
		DebtorID:             lock.DebtorID,
		TransferID:           *lock.TransferID,
		CoordinatorType:      smp.CoordinatorAgent,
		CoordinatorID:        int64(lock.CreditorID),
		CoordinatorRequestID: lock.CoordinatorRequestID,
		CommittedAmount:      amount,
		TS:                   now,
	}
}

// release is the decision to release a prepared or settled lock: its account includes the transfer of the turn from the
// given transfer on.
func release(lock *workerdb.AccountLock, creationDate smp.Date, transferNumber int64, now time.Time) decision {
	r := *lock
	if r.FinalizedAt == nil {
		r.FinalizedAt = &now
	}
	day := creationDate.Time()
	r.ReleasedAt, r.AccountCreationDate, r.AccountLastTransferNumber = &now, &day, &transferNumber
	return decision{lock: &r, event: eventReleased}
}

// failure returns the message that tells a collector not to wait for a seller. A collector does not wait for itself.
func failure(lock *workerdb.AccountLock, collector swpt.CreditorID, now time.Time) []smp.Outgoing {
	if collector == lock.CreditorID {
		return nil
	}
	return []smp.Outgoing{&smp.CollectingFailed{
		CollectorID: collector, TurnID: lock.TurnID, DebtorID: lock.DebtorID, CreditorID: lock.CreditorID, TS: now,
	}}
}
