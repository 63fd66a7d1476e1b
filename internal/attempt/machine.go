package attempt

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A state is how far an attempt has got (section 4.3).
type state string

const (
	isNew     state = "new"       // the recipient is not known
	postponed state = "postponed" // it will be made at some time
	due       state = "due"       // it will be made when a TriggerTransfer comes
	initiated state = "initiated" // the accounting authority has been asked to prepare the transfer
	settled   state = "settled"   // the accounting authority has been asked to commit the transfer
	fatal     state = "fatal"     // it will not be made any more
)

func stateOf(a *workerdb.TransferAttempt) state {
	switch {
	case a.FatalError != nil:
		return fatal
	case a.AttemptedAt != nil && a.FailureCode == nil && a.TransferID == nil:
		return initiated
	case a.AttemptedAt != nil && a.FailureCode == nil:
		return settled
	case a.Recipient == "":
		return isNew
	case a.RescheduledFor != nil:
		return postponed
	default:
		return due
	}
}

// Why an attempt has failed (the column failure_code).
const (
	unspecified int16 = iota
	timeout
	newerInterestRate
	recipientIsUnreachable
	insufficientAvailableAmount
)

// Status codes of accounting authorities. All others end an attempt.
const (
	statusTimeout                     = "TIMEOUT"
	statusNewerInterestRate           = "NEWER_INTEREST_RATE"
	statusRecipientIsUnreachable      = "RECIPIENT_IS_UNREACHABLE"
	statusInsufficientAvailableAmount = "INSUFFICIENT_AVAILABLE_AMOUNT"
	statusSenderIsUnreachable         = "SENDER_IS_UNREACHABLE"

	// Not a code of theirs: this is what a commit has failed with that was successful, but for another amount.
	statusUnexpectedCommittedAmount = "UNEXPECTED_COMMITTED_AMOUNT"
)

// coordinatorType is how accounting authorities know those who coordinate transfers between customers.
const coordinatorType = "agent"

// An attempt is a row on which a batch works.
type attempt struct {
	workerdb.TransferAttempt

	// nextRequestID is the number of the PrepareTransfer if the attempt is made now. Whatever comes, a batch of messages
	// of one type makes it only once.
	nextRequestID int64

	fate fate
}

// A fate is what a batch has done to an attempt.
type fate uint8

const (
	untouched fate = iota
	changed
	paid      // it is over
	worthless // it is over, because nothing is left to be transferred
)

// isOver reports whether the attempt does not exist any more.
func (a *attempt) isOver() bool { return a.fate == paid || a.fate == worthless }

func (a *attempt) state() state { return stateOf(&a.TransferAttempt) }

func (a *attempt) hasFailedWith(code int16) bool {
	return a.FailureCode != nil && *a.FailureCode == code
}

// kind returns what the transfer is for.
func (a *attempt) kind() smp.NoteKind {
	if a.IsDispatching {
		return smp.Dispatching
	}
	return smp.Sending
}

// A machine decides what becomes of attempts. It does that to rows in memory, and keeps the messages that have to be
// sent. Its methods are the events of section 4.3. An attempt that is over does not exist any more, and must not be
// given. Only the answers of accounting authorities come with nil if there is no attempt.
type machine struct {
	healthyDelay time.Duration // in which transfers normally succeed
	cut          float64       // of amounts, which collectors keep
	now          time.Time

	outgoing []smp.Outgoing
	tally    tally
}

// triggered makes an attempt, or asks for its recipient, if that is due.
func (m *machine) triggered(a *attempt, _ *smp.TriggerTransfer, known *rates) {
	switch s := a.state(); {
	case s == due:
		m.try(a, known)
	case s == isNew && a.RescheduledFor == nil:
		a.fate = changed
		m.askForRecipient(a)
		a.RescheduledFor = new(m.now.Add(m.healthyDelay))
	}
}

// accountIDReceived stores the recipient's account ID if it is wanted, and makes the attempt if it can be made now
// (section 4.5).
func (m *machine) accountIDReceived(a *attempt, response *smp.AccountIDResponse, known *rates) {
	wasNew := a.state() == isNew
	isWanted := wasNew || a.hasFailedWith(recipientIsUnreachable)
	if !isWanted || response.AccountIDVersion <= a.RecipientVersion {
		return
	}
	a.fate = changed
	a.RecipientVersion = response.AccountIDVersion
	if !canBePaid(response.AccountID) {
		return
	}
	a.Recipient = response.AccountID
	if wasNew {
		a.RescheduledFor = nil
	} else {
		a.FailureCode = new(unspecified)
	}
	if a.state() == due {
		m.try(a, known)
	}
}

// canBePaid reports whether an account ID may stand in a PrepareTransfer. Customers' agents are not checked that
// strictly.
func canBePaid(accountID string) bool {
	for _, letter := range []byte(accountID) {
		if letter > 0x7f {
			return false
		}
	}
	return accountID != ""
}

// prepared commits the transfer that the attempt is waiting for, and dismisses all others.
func (m *machine) prepared(a *attempt, transfer *smp.PreparedTransfer) {
	isOurs := a != nil && a.DebtorID == transfer.DebtorID && a.CollectorID == transfer.CreditorID
	switch {
	case isOurs && a.state() == initiated:
		a.fate = changed
		a.TransferID, a.FinalizedAt = new(transfer.TransferID), new(m.now)
		m.commit(a)
	case isOurs && a.state() == settled && *a.TransferID == transfer.TransferID:
		m.commit(a)
	default:
		m.dismiss(transfer)
	}
}

// rejected notes that the transfer could not be prepared.
func (m *machine) rejected(a *attempt, rejection *smp.RejectedTransfer) {
	if a != nil && a.state() == initiated {
		m.fail(a, rejection.StatusCode, reasonOf(rejection.StatusCode))
	}
}

// unanswered notes that there has been no answer for so long that there will be none (W-23).
func (m *machine) unanswered(a *attempt) {
	if a.state() == initiated {
		m.fail(a, statusTimeout, reasonNoAnswer)
	}
}

// finalized notes that the amount has been transferred, or why not.
func (m *machine) finalized(a *attempt, outcome *smp.FinalizedTransfer) {
	isOurs := a != nil && a.state() == settled &&
		a.DebtorID == outcome.DebtorID && a.CollectorID == outcome.CreditorID && *a.TransferID == outcome.TransferID
	switch {
	case !isOurs:
	case outcome.StatusCode == smp.StatusOK && outcome.CommittedAmount == *a.Amount:
		a.fate = paid
		m.tally.end(a, outcomePaid)
	case outcome.CommittedAmount != 0:
		m.fail(a, statusUnexpectedCommittedAmount, reasonOther)
	default:
		m.fail(a, outcome.StatusCode, reasonOf(outcome.StatusCode))
	}
}

// try makes an attempt that is due (section 4.4).
func (m *machine) try(a *attempt, known *rates) {
	delay := backoff(m.healthyDelay, a.BackoffCounter)
	rate, rateTS, isKnown := known.worst(a.CollectionStartedAt)
	elapsed := min(m.now.Sub(a.CollectionStartedAt), maxElapsed)
	amount := amountLeft(a.NominalAmount, rate, clockMargin+elapsed+delay, m.cut)
	if amount == 0 {
		a.fate = worthless
		m.tally.end(a, outcomeWorthless)
		return
	}
	a.fate = changed
	if !isKnown || a.hasFailedWith(newerInterestRate) && !a.FinalInterestRateTs.Before(rateTS) {
		a.RescheduledFor = new(m.now.Add(m.healthyDelay)) // until then, the new rate may have become known
		return
	}
	a.AttemptedAt, a.CoordinatorRequestID = new(m.now), new(a.nextRequestID)
	a.FinalInterestRateTs, a.Amount = new(rateTS), new(amount)
	a.TransferID, a.FinalizedAt = nil, nil
	if a.hasFailedWith(recipientIsUnreachable) && a.BackoffCounter%2 != 0 {
		m.askForRecipient(a)
		m.backOff(a, recipientIsUnreachable)
		return
	}
	a.FailureCode = nil
	m.prepare(a, delay)
}

// fail notes that an attempt under way has failed, and decides whether it will be made again (section 4.6).
func (m *machine) fail(a *attempt, statusCode, reason string) {
	a.fate = changed
	m.tally.fail(a, reason)
	switch statusCode {
	case statusTimeout:
		m.backOff(a, timeout)
	case statusNewerInterestRate:
		a.FailureCode = new(newerInterestRate)
		a.RescheduledFor = new(m.now.Add(m.healthyDelay))
	case statusRecipientIsUnreachable:
		m.backOff(a, recipientIsUnreachable)
		m.askForRecipient(a)
	case statusInsufficientAvailableAmount:
		m.backOff(a, insufficientAvailableAmount)
	case statusSenderIsUnreachable: // the collector's account will be made again
		m.backOff(a, unspecified)
	default:
		a.FailureCode, a.FatalError = new(unspecified), new(statusCode)
		m.tally.end(a, outcomeFatal)
	}
}

// backOff has an attempt made again, after a pause that is longer the more often it has failed.
func (m *machine) backOff(a *attempt, code int16) {
	a.FailureCode = new(code)
	a.RescheduledFor = new(a.AttemptedAt.Add(backoff(m.healthyDelay, a.BackoffCounter)))
	a.BackoffCounter = incremented(a.BackoffCounter)
}

func (m *machine) say(message smp.Outgoing) { m.outgoing = append(m.outgoing, message) }

// prepare asks the accounting authority to prepare the transfer, and to refuse to commit it after a delay.
func (m *machine) prepare(a *attempt, delay time.Duration) {
	m.tally.made[a.kind()]++
	m.say(&smp.PrepareTransfer{
		CreditorID:           a.CollectorID,
		DebtorID:             a.DebtorID,
		CoordinatorType:      coordinatorType,
		CoordinatorID:        int64(a.CollectorID),
		CoordinatorRequestID: *a.CoordinatorRequestID,
		Recipient:            a.Recipient,
		FinalInterestRateTS:  *a.FinalInterestRateTs,
		MaxCommitDelay:       int32(delay / time.Second), //nolint:gosec // backoff returns no more than fits
		TS:                   m.now,
	})
}

func (m *machine) commit(a *attempt) {
	m.say(&smp.FinalizeTransfer{
		CreditorID:           a.CollectorID,
		DebtorID:             a.DebtorID,
		TransferID:           *a.TransferID,
		CoordinatorType:      coordinatorType,
		CoordinatorID:        int64(a.CollectorID),
		CoordinatorRequestID: *a.CoordinatorRequestID,
		CommittedAmount:      *a.Amount,
		TransferNoteFormat:   smp.NoteFormat,
		TransferNote: smp.Note{
			Kind: a.kind(), TurnID: a.TurnID, First: a.CollectorID, Second: a.CreditorID,
		}.String(),
		TS: m.now,
	})
}

func (m *machine) dismiss(transfer *smp.PreparedTransfer) {
	m.tally.dismissed++
	m.say(&smp.FinalizeTransfer{
		CreditorID:           transfer.CreditorID,
		DebtorID:             transfer.DebtorID,
		TransferID:           transfer.TransferID,
		CoordinatorType:      transfer.CoordinatorType,
		CoordinatorID:        transfer.CoordinatorID,
		CoordinatorRequestID: transfer.CoordinatorRequestID,
		TS:                   m.now,
	})
}

func (m *machine) askForRecipient(a *attempt) {
	m.say(&smp.AccountIDRequest{
		CollectorID:   a.CollectorID,
		TurnID:        a.TurnID,
		DebtorID:      a.DebtorID,
		CreditorID:    a.CreditorID,
		IsDispatching: a.IsDispatching,
		TS:            m.now,
	})
}
