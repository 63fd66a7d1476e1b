package smp

import (
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// MaxBodyBytes is the length of the longest body that the service accepts.
const MaxBodyBytes = 262144

// ContentType is the only content type that the service accepts and sends.
const ContentType = "application/json"

// Reasons for rejecting a message, in the order in which they are looked for (section 5.1).
var (
	// ErrTooLong tells that a body has more than [MaxBodyBytes] bytes.
	ErrTooLong = errors.New("the body of the message is too long")
	// ErrContentType tells that a message's content type is missing or not [ContentType].
	ErrContentType = errors.New("wrong content type")
	// ErrUnknownType tells that a message's type is missing, or none that the service consumes.
	ErrUnknownType = errors.New("unknown message type")
	// ErrSyntax tells that a body is not a JSON object in UTF-8.
	ErrSyntax = errors.New("the body of the message is not valid JSON")
	// ErrInvalid tells that fields of a message violate its schema. Errors that wrap it are of type *[ValidationError].
	ErrInvalid = errors.New("invalid")
)

// Parse takes the decisions 0 to 4 of section 5.1 from the properties and the body of a delivery: it returns a valid
// message of one of the 26 types that the service consumes, or an error that wraps the reason for rejecting it:
// [ErrTooLong], [ErrContentType], [ErrUnknownType], [ErrSyntax] or [ErrInvalid]. No error quotes the body. What remains
// of decision 4 is [CheckCoordinator].
func Parse(contentType, typ string, body []byte) (Message, error) {
	if len(body) > MaxBodyBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLong, len(body), MaxBodyBytes)
	}
	if contentType != ContentType {
		return nil, fmt.Errorf("%w %q: it must be %q", ErrContentType, contentType, ContentType)
	}
	return Decode(typ, body)
}

// Decode reads and validates the body of a message of the given type, one of the 26 that the service consumes. Errors
// wrap [ErrUnknownType], [ErrSyntax] or [ErrInvalid]. The message does not alias the body, but its strings share one copy
// of it: clone what is to be kept for long.
func Decode(typ string, body []byte) (Message, error) {
	s := catalog[typ]
	if s == nil || !s.consumed {
		return nil, fmt.Errorf("%w %q: the service consumes no such messages", ErrUnknownType, typ)
	}
	m := s.blank()
	if err := s.read(body, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Unmarshal reads and validates the body of a message of m's type, which may be any of the 29, and stores it in m; what
// m held before is lost. After an error, which wraps [ErrSyntax] or [ErrInvalid], the content of m is undefined.
func Unmarshal(body []byte, m Message) error {
	reflect.ValueOf(m).Elem().SetZero()
	return catalog[m.Type()].read(body, m)
}

// CheckCoordinator completes decision 4 of section 5.1 for responses to transfers, when the caller knows whether the
// message belongs to its shard (ours): another coordinator type than [CoordinatorAgent], or a response that has been
// routed here by a coordinator ID that is not the creditor ID, are reasons for rejecting it (section 5.2). The error is
// a *[ValidationError]. Messages of other types pass.
func CheckCoordinator(m Message, ours bool) error {
	var (
		coordinator string
		misrouted   bool
	)
	switch m := m.(type) {
	case *RejectedTransfer:
		coordinator, misrouted = m.CoordinatorType, m.CoordinatorID != int64(m.CreditorID)
	case *PreparedTransfer:
		coordinator, misrouted = m.CoordinatorType, m.CoordinatorID != int64(m.CreditorID)
	case *FinalizedTransfer:
		coordinator, misrouted = m.CoordinatorType, m.CoordinatorID != int64(m.CreditorID)
	default:
		return nil
	}
	var violation Violation
	switch {
	case coordinator != CoordinatorAgent:
		violation = Violation{Field: "coordinator_type", Rule: "eq=" + CoordinatorAgent}
	case misrouted && !ours:
		violation = Violation{Field: "coordinator_id", Rule: "coordinator_id == creditor_id"}
	default:
		return nil
	}
	return &ValidationError{Type: m.Type(), Violations: []Violation{violation}}
}

// read decodes and validates a body.
func (s *schema) read(body []byte, m Message) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: it is not valid UTF-8", ErrSyntax)
	}
	var found findings
	text := string(body) // the strings of the message are cut out of this copy
	if err := s.decode(text, m, &found); err != nil {
		return err
	}
	return validate(s, m, &found)
}
