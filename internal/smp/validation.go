package smp

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// A Violation is a rule that a field of a message does not follow.
type Violation struct {
	Field string // the name on the wire
	// Rule is "required"; or the type that the value should have: "int64", "int32", "float", "bool", "string",
	// "unicode" (no lone surrogates, no U+0000), "date", "timestamp"; or a limit, such as "min=1", "max=100" (of a
	// string: characters), "bytes=500", "ascii"; or a relation between two fields, such as
	// "transfer_number > previous_transfer_number".
	Rule string
}

// A ValidationError lists all that is wrong with a message, in the order of its type's fields. Relations between fields
// are looked at only if the fields themselves are valid (section 3.2). It wraps [ErrInvalid], and never contains values.
type ValidationError struct {
	Type       string
	Violations []Violation
}

// Error implements error.
func (e *ValidationError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%v %s message", ErrInvalid, e.Type)
	for i, violation := range e.Violations {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		fmt.Fprintf(&text, "%s%s (%s)", separator, violation.Field, violation.Rule)
	}
	return text.String()
}

// Unwrap returns [ErrInvalid].
func (e *ValidationError) Unwrap() error { return ErrInvalid }

// Validate checks the limits of a message's fields, and the relations between them, by the tables of section 4. The
// error is a *[ValidationError].
func Validate(m Message) error {
	return validate(catalog[m.Type()], m, &findings{})
}

// validate adds the violations of limits to what the codec has found, and returns the result.
func validate(s *schema, m Message, found *findings) error {
	if err := limits.Struct(m); err != nil {
		violations, ok := errors.AsType[validator.ValidationErrors](err)
		if !ok {
			return fmt.Errorf("validating a message of type %s: %w", s.name, err)
		}
		s.addViolations(violations, found)
	}
	return found.err(s)
}

func (s *schema) addViolations(violations validator.ValidationErrors, found *findings) {
	unset := found.bad // fields that hold nothing to be checked
	for _, violation := range violations {
		i := s.find(violation.Field(), 0)
		if violation.Tag() == tagRelation || unset&(1<<i) != 0 {
			continue
		}
		rule := violation.Tag()
		if violation.Param() != "" {
			rule += "=" + violation.Param()
		}
		found.set(i, rule)
	}
	if found.bad != 0 {
		return
	}
	for _, violation := range violations {
		found.set(s.find(violation.Field(), 0), violation.Param())
	}
}

// Tags that the message types use beside those that come with the validator.
const (
	tagBytes      = "bytes"      // at most so many bytes of UTF-8; the validator's own "max" counts characters
	tagASCII      = "ascii"      // instead of the validator's own, a regular expression that takes ten times as long
	tagNoteFormat = "noteformat" // ^[0-9A-Za-z.-]{0,8}$
	tagSHA256     = "sha256hex"  // empty, or 64 hexadecimal digits, all lower or all upper case
	tagRelation   = "relation"   // between fields; the parameter tells which
)

// limits validates the values of messages. It may be used by many goroutines at once.
var limits = newLimits()

func newLimits() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(jsonName)
	for tag, check := range map[string]validator.Func{
		tagBytes:      hasAtMostBytes,
		tagASCII:      isASCII,
		tagNoteFormat: isNoteFormat,
		tagSHA256:     isSHA256,
	} {
		if err := v.RegisterValidation(tag, check); err != nil {
			panic(fmt.Sprintf("smp: validation %q: %v", tag, err))
		}
	}
	for _, s := range catalog {
		skipUnlimited(v, s)
	}
	relate(v, prepareTransferRelations)
	relate(v, finalizedTransferRelations)
	relate(v, accountTransferRelations)
	relate(v, updatedPolicyRelations)
	relate(v, storeDocumentRelations)
	return v
}

// skipUnlimited spares the validator the fields on which it has nothing to check: it would box each of them.
func skipUnlimited(v *validator.Validate, s *schema) {
	message := reflect.TypeOf(s.blank()).Elem()
	rules := make(map[string]string)
	for i := range message.NumField() {
		if f := message.Field(i); f.Tag.Get("validate") == "" {
			rules[f.Name] = "-"
		}
	}
	v.RegisterStructValidationMapRules(rules, reflect.Zero(message).Interface())
}

func hasAtMostBytes(field validator.FieldLevel) bool {
	limit, err := strconv.Atoi(field.Param())
	return err == nil && field.Field().Len() <= limit
}

func isASCII(field validator.FieldLevel) bool { return isASCIIText(field.Field().String()) }

func isASCIIText(text string) bool {
	for i := range len(text) {
		if text[i] > 127 {
			return false
		}
	}
	return true
}

func isNoteFormat(field validator.FieldLevel) bool {
	text := field.Field().String()
	for i := range len(text) {
		if c := text[i]; !isLetterOrDigit(c) && c != '.' && c != '-' {
			return false
		}
	}
	return len(text) <= 8
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c)
}

func isSHA256(field validator.FieldLevel) bool {
	text := field.Field().String()
	lower, upper := false, false
	for i := range len(text) {
		if _, ok := hexDigit(text[i]); !ok {
			return false
		}
		lower = lower || text[i] >= 'a'
		upper = upper || 'A' <= text[i] && text[i] <= 'F'
	}
	return text == "" || len(text) == 64 && !(lower && upper)
}

// must reports a violation of a relation, in the name of a field, unless it holds.
type must func(holds bool, field, relation string)

// relate registers the relations between the fields of a message type.
func relate[T any](v *validator.Validate, relations func(m *T, must must)) {
	var zero T
	v.RegisterStructValidation(func(level validator.StructLevel) {
		m := level.Current().Addr().Interface().(*T)
		relations(m, func(holds bool, field, relation string) {
			if !holds {
				level.ReportError(m, field, field, tagRelation, relation)
			}
		})
	}, zero)
}

func prepareTransferRelations(m *PrepareTransfer, must must) {
	must(m.MinLockedAmount <= m.MaxLockedAmount, "min_locked_amount", "min_locked_amount <= max_locked_amount")
	switch m.CoordinatorType {
	case "direct":
		must(m.CoordinatorID == int64(m.CreditorID), "coordinator_id", "coordinator_id == creditor_id")
	case "issuing":
		must(m.CoordinatorID == int64(m.DebtorID), "coordinator_id", "coordinator_id == debtor_id")
		must(m.CreditorID == 0, "creditor_id", "creditor_id == 0")
	}
}

func finalizedTransferRelations(m *FinalizedTransfer, must must) {
	must(m.CommittedAmount == 0 || m.StatusCode == StatusOK, "committed_amount", "committed_amount == 0 or status_code == OK")
}

func accountTransferRelations(m *AccountTransfer, must must) {
	must(m.TransferNumber > m.PreviousTransferNumber, "transfer_number", "transfer_number > previous_transfer_number")
}

func updatedPolicyRelations(m *UpdatedPolicy, must must) {
	must(m.MinPrincipal <= m.MaxPrincipal, "min_principal", "min_principal <= max_principal")
	must((m.PegExchangeRate == nil) == (m.PegDebtorID == nil), "peg_exchange_rate", "with peg_debtor_id or not at all")
}

func storeDocumentRelations(m *StoreDocument, must must) {
	pegged := m.PegDebtorID != nil
	must((m.PegExchangeRate != nil) == pegged && (m.PegDebtorInfoLocator != nil) == pegged,
		"peg_debtor_id", "with peg_exchange_rate and peg_debtor_info_locator or not at all")
}
