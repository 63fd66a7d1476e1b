package smp

import (
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A Message is a pointer to one of the message types of this package. Pointers to zero values are valid receivers.
type Message interface {
	// Type returns the name by which peers know the type: the AMQP property "type", the header "message-type" and the
	// field "type" of the body.
	Type() string

	// ShardKey returns what decides which worker the message belongs to (section 2.4).
	ShardKey() ShardKey

	// AppendJSON appends the body of the message to dst (section 3.1). What JSON or the protocol cannot express is an
	// error, a *[ValidationError], and leaves dst as it was: a float that is not finite, a string that is not valid UTF-8
	// or contains U+0000, an instant or a date outside the years 1 to 9999. Limits of single types are not looked at, see
	// [Validate].
	AppendJSON(dst []byte) ([]byte, error)
}

// A ShardKey is the key by which a message is assigned to a shard: a 64-bit ID, or for documents a text (section 2.4).
type ShardKey struct {
	ID     int64
	Text   string
	IsText bool // Text counts, and may be empty; otherwise ID counts
}

func creditorKey(id swpt.CreditorID) ShardKey { return ShardKey{ID: int64(id)} }
func debtorKey(id swpt.DebtorID) ShardKey     { return ShardKey{ID: int64(id)} }
func textKey(text string) ShardKey            { return ShardKey{Text: text, IsText: true} }

// A Class of messages shares an exchange and a way of routing (section 1.3).
type Class uint8

const (
	// ClassInternal are messages between workers: exchange "to_trade", routed by the binary key of the sharding key.
	ClassInternal Class = iota
	// ClassSMP are messages to accounting authorities: exchange "creditors_out", routed by the hexadecimal key of the
	// debtor ID.
	ClassSMP
)

// Outgoing is implemented by the nineteen message types that the service emits.
type Outgoing interface {
	Message

	// Envelope returns how the message travels.
	Envelope() Envelope
}

// An Envelope tells how an emitted message travels over AMQP (sections 1.3 and 3.3). It is plain data that can be
// stored beside a body.
type Envelope struct {
	Type      string // AMQP type
	Class     Class
	Mandatory bool     // the broker must return the message when nobody listens
	Key       ShardKey // routes messages of ClassInternal; of ClassSMP it tells whose shard may send them (section 6.4)

	// Only for ClassSMP.
	CreditorID      swpt.CreditorID
	DebtorID        swpt.DebtorID
	CoordinatorID   int64
	CoordinatorType string // empty: the message has no coordinator
}

// Headers returns the AMQP headers of the message: values are strings, or int64 for IDs.
func (e Envelope) Headers() map[string]any {
	headers := map[string]any{"message-type": e.Type}
	if e.Class == ClassSMP {
		headers["creditor-id"] = int64(e.CreditorID)
		headers["debtor-id"] = int64(e.DebtorID)
	}
	if e.CoordinatorType != "" {
		headers["coordinator-id"] = e.CoordinatorID
		headers["coordinator-type"] = e.CoordinatorType
	}
	return headers
}

// internalEnvelope is the envelope of all messages between workers: each of them must find its worker.
func internalEnvelope(m Message) Envelope {
	return Envelope{Type: m.Type(), Class: ClassInternal, Mandatory: true, Key: m.ShardKey()}
}

const (
	// CoordinatorAgent is the coordinator type of all transfers that this service coordinates.
	CoordinatorAgent = "agent"

	// StatusOK is the status code of a FinalizedTransfer that succeeded.
	StatusOK = "OK"
)
