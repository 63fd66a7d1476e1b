package smp

import (
	"fmt"
	"reflect"
	"strings"
)

// maxFields limits the number of fields of a message type, "type" included, so that a set of fields fits in a word.
const maxFields = 32

// A schema is what the codec needs to know of a message type. It is derived from the declaration of the type.
type schema struct {
	name     string
	blank    func() Message // makes a message to be filled
	consumed bool           // the service accepts messages of this type
	fields   []field        // in the order of output; the first one is "type"
	required uint32         // the fields that must not be missing, as a set of bits
	opening  string         // the beginning of every body
}

// A field is a field of a message, and knows its place in the Go struct. The field "type" has no such place.
type field struct {
	name  string
	label string // what goes before the value
	index int
	codec codec
}

// The catalog holds the schema of every message type, by name.
var catalog = newCatalog(
	emittedOnly[ConfigureAccount](),
	emittedOnly[PrepareTransfer](),
	emittedOnly[FinalizeTransfer](),
	consumed[RejectedConfig](),
	consumed[RejectedTransfer](),
	consumed[PreparedTransfer](),
	consumed[FinalizedTransfer](),
	consumed[AccountUpdate](),
	consumed[AccountPurge](),
	consumed[AccountTransfer](),
	consumed[UpdatedLedger](),
	consumed[UpdatedPolicy](),
	consumed[UpdatedFlags](),
	consumed[FetchDebtorInfo](),
	consumed[StoreDocument](),
	consumed[DiscoverDebtor](),
	consumed[ConfirmDebtor](),
	consumed[ActivateCollector](),
	consumed[CandidateOffer](),
	consumed[NeededCollector](),
	consumed[ReviseAccountLock](),
	consumed[TriggerTransfer](),
	consumed[AccountIDRequest](),
	consumed[AccountIDResponse](),
	consumed[StartSending](),
	consumed[StartDispatching](),
	consumed[CollectingFailed](),
	consumed[NothingToReceive](),
	consumed[LockAbandoned](),
)

func newCatalog(schemas ...*schema) map[string]*schema {
	byName := make(map[string]*schema, len(schemas))
	for _, s := range schemas {
		byName[s.name] = s
	}
	return byName
}

// messagePointer is the constraint of a message type's pointer.
type messagePointer[T any] interface {
	*T
	Message
}

func consumed[T any, P messagePointer[T]]() *schema {
	s := emittedOnly[T, P]()
	s.consumed = true
	return s
}

func emittedOnly[T any, P messagePointer[T]]() *schema {
	name := P(new(T)).Type()
	t := reflect.TypeFor[T]()
	if t.NumField() >= maxFields {
		panic(fmt.Sprintf("smp: %s has more than %d fields", name, maxFields-1))
	}
	s := &schema{
		name:     name,
		blank:    func() Message { return P(new(T)) },
		fields:   []field{{name: "type"}},
		required: 1,
		opening:  `{"type":"` + name + `"`,
	}
	for i := range t.NumField() {
		f := t.Field(i)
		jsonName := jsonName(f)
		if f.Type.Kind() != reflect.Pointer {
			s.required |= 1 << len(s.fields)
		}
		s.fields = append(s.fields, field{
			name:  jsonName,
			label: `,"` + jsonName + `":`,
			index: i,
			codec: codecFor(f.Type),
		})
	}
	return s
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// find returns the place of a field among the fields of the schema, or -1. The search begins at the place where the
// field is when the sender's order is ours.
func (s *schema) find(name string, likely int) int {
	for i := likely; i < len(s.fields); i++ {
		if s.fields[i].name == name {
			return i
		}
	}
	for i := range min(likely, len(s.fields)) {
		if s.fields[i].name == name {
			return i
		}
	}
	return -1
}

// set gives a value to the i-th field of a message and returns the rule that the value violates, or "".
func (s *schema) set(message reflect.Value, i int, tok token) string {
	if tok.kind == kindNull && s.required&(1<<i) != 0 {
		return ruleRequired
	}
	if i > 0 {
		f := &s.fields[i]
		return f.codec.set(message.Field(f.index), tok)
	}
	if name, ok := tok.unescape(); tok.kind != kindString || !ok || name != s.name {
		return "eq=" + s.name
	}
	return ""
}

// decode fills a zero message from a body and finds the fields that are missing or of a wrong type; the limits of the
// values remain to be checked.
func (s *schema) decode(text string, m Message, found *findings) error {
	scan := scanner{text: text}
	message := reflect.ValueOf(m).Elem()
	if scan.peek() != '{' {
		return scan.fail("an object")
	}
	scan.pos++
	for next := 0; ; {
		key, more, err := scan.member(next == 0)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		tok, err := scan.value(1)
		if err != nil {
			return err
		}
		if name, ok := key.unescape(); ok {
			if i := s.find(name, next); i >= 0 {
				found.set(i, s.set(message, i, tok))
				next = i
			}
		}
		next++
	}
	if scan.peek(); scan.pos != len(text) {
		return scan.fail("the end")
	}
	found.addMissing(s.required)
	return nil
}

// appendJSON is the common implementation of [Message.AppendJSON].
func appendJSON(dst []byte, m Message) ([]byte, error) {
	s := catalog[m.Type()]
	message := reflect.ValueOf(m).Elem()
	var found findings
	out := dst
	out = append(out, s.opening...)
	for i := 1; i < len(s.fields); i++ {
		f := &s.fields[i]
		out = append(out, f.label...)
		var rule string
		out, rule = f.codec.append(out, message.Field(f.index))
		found.set(i, rule)
	}
	if err := found.err(s); err != nil {
		return dst, err
	}
	return append(out, '}'), nil
}

// findings collects which fields of a message were met and which of them violate a rule. The last word on a field
// counts.
type findings struct {
	seen  uint32
	bad   uint32
	rules [maxFields]string
}

func (f *findings) set(i int, rule string) {
	bit := uint32(1) << i
	f.seen |= bit
	f.bad &^= bit
	if rule != "" {
		f.bad |= bit
		f.rules[i] = rule
	}
}

func (f *findings) addMissing(required uint32) {
	for i := range maxFields {
		if bit := uint32(1) << i; required&^f.seen&bit != 0 {
			f.set(i, ruleRequired)
		}
	}
}

// err returns the findings as an error, or nil when all is well.
func (f *findings) err(s *schema) error {
	if f.bad == 0 {
		return nil
	}
	err := &ValidationError{Type: s.name}
	for i, field := range s.fields {
		if f.bad&(1<<i) != 0 {
			err.Violations = append(err.Violations, Violation{Field: field.name, Rule: f.rules[i]})
		}
	}
	return err
}
