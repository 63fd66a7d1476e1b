package journal

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// An Account is the pair of a currency and a holder of it.
type Account struct {
	Debtor   swpt.DebtorID
	Creditor swpt.CreditorID
}

// Root is the creditor ID of the account that all tokens of a currency come from.
const Root swpt.CreditorID = 0

// IsCollector tells whether a creditor, who is not the root, is of the service: bits 32 to 39 of the ID are zero.
func IsCollector(id swpt.CreditorID) bool { return id&0xff00000000 == 0 }

// Kind tells what an entry is about.
type Kind uint8

// The kinds of entries, and which fields they use beside At; Account is used by all from Opened on.
const (
	Heard     Kind = iota // an authority's gateway has taken Message from the broker
	Issued                // a peer says Message, to the service or to another peer
	Delivered             // the broker has got a copy of Message, from an authority
	Refused               // a gateway cannot pass on what it has been given: Reason

	Opened      // an account, on the date Created
	Closed      // the account is marked as deleted
	Revived     // it is no longer so
	Purged      // the record of the account of the date Created is removed
	RateChanged // Holding
	Locked      // Prepared, with TotalLocked and Minimum; Holding
	Finalized   // Prepared, with Amount, Status, TotalLocked
	Forgotten   // all prepared transfers of the account: an accident, which the protocol rules out
	Debited     // Amount, on its way as Credit; Prepared, if it has been; transfer fields; Holding
	Credited    // Amount, as Credit; Silent if there is no AccountTransfer; transfer fields; Holding
	Capitalised // Amount, from the root; Silent; Before, Holding, RootPrincipal
)

// An Entry is a line of the journal. Entries are not changed after they have been recorded.
type Entry struct {
	Kind Kind
	At   time.Time // by the clock of the party concerned

	Message smp.Message
	Reason  string

	Account       Account
	Created       smp.Date
	Before        Holding
	Holding       Holding // after what has happened
	RootPrincipal int64   // after what has happened

	Prepared    *smp.PreparedTransfer
	TotalLocked int64 // tokens, on the account afterwards
	Minimum     int64 // tokens, the least that the balance may fall to
	Status      string

	Amount          int64 // tokens; of Capitalised, negative if the root gains
	Credit          int64 // links a debit and its credit; unique in the currency
	Silent          bool
	CoordinatorType string
	NoteFormat      string
	Note            string
}

// A Recorder keeps entries, or looks at them. It must not keep the pointer.
type Recorder interface {
	Record(e *Entry)
}
