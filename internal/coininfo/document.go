package coininfo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// MediaType is the media type of CoinInfo documents.
const MediaType = "application/vnd.swaptacular.coin-info+json"

// Limits of what is read.
const (
	maxDepth        = 32  // levels of nesting, the document itself being the first one
	maxLocatorChars = 200 // Unicode code points
	maxURIChars     = 100 // Unicode code points
)

// ErrInvalid tells that a document does not follow the rules. Errors that wrap it are of type *[Error].
var ErrInvalid = errors.New("invalid CoinInfo document")

// A Document is what the service wants to know of a currency.
type Document struct {
	// Locator is the IRI where the newest revision of the document is, at most 200 characters. It may be empty.
	Locator  string
	DebtorID swpt.DebtorID
	// Peg is nil if the currency is not pegged to another one.
	Peg *Peg
	// WillNotChangeUntil is the instant, cut to microseconds, up to which the issuer promises that there will be no
	// newer revision. Nil: there is no such promise.
	WillNotChangeUntil *time.Time
}

// A Peg ties a currency to another one.
type Peg struct {
	Locator  string // of the peg currency, as in a Document
	DebtorID swpt.DebtorID
	Rate     float64 // tokens of the peg currency for one token; finite, 0 or more
}

// A Problem is a rule that a part of a document does not follow.
type Problem struct {
	Path   string // of JSON members, as in "peg.exchangeRate"; of the document as a whole: "document"
	Reason string // what should be different, as in "must be a number"; never contains anything from the document
}

// An Error lists what is wrong with a document, as far as its structure allows to tell. It wraps [ErrInvalid].
type Error struct{ Problems []Problem }

// Error implements error.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString(ErrInvalid.Error())
	separator := ": "
	for _, problem := range e.Problems {
		text.WriteString(separator + problem.Path + " " + problem.Reason)
		separator = ", "
	}
	return text.String()
}

// Unwrap returns [ErrInvalid].
func (e *Error) Unwrap() error { return ErrInvalid }

// Parse reads a document. Of a repeated member, the last one counts; an explicit null is not the same as nothing.
// Errors are of type *[Error].
func Parse(body []byte) (Document, error) {
	r := &reader{}
	d := r.document(body)
	if len(r.problems) > 0 {
		return Document{}, &Error{Problems: r.problems}
	}
	return d, nil
}

// A reader takes a document apart, and remembers what is wrong with it. Its methods return zero values for what is.
type reader struct{ problems []Problem }

func (r *reader) fail(path, format string, args ...any) {
	r.problems = append(r.problems, Problem{Path: path, Reason: fmt.Sprintf(format, args...)})
}

func (r *reader) document(body []byte) (d Document) {
	if reason := syntaxProblem(body); reason != "" {
		r.fail("document", "%s", reason)
		return d
	}
	root := r.object("", body)
	if root.members == nil {
		return d
	}
	r.typeName(root, "CoinInfo")
	d.Locator = r.locator(root)
	d.DebtorID = r.debtorID(root)
	d.WillNotChangeUntil = r.instant(root, "willNotChangeUntil")
	d.Peg = r.peg(root)
	return d
}

func (r *reader) peg(root object) *Peg {
	const name = "peg"
	raw, found := root.members[name]
	if !found {
		return nil
	}
	peg := r.object(name, raw)
	if peg.members == nil {
		return nil
	}
	r.typeName(peg, "Peg")
	return &Peg{Locator: r.locator(peg), DebtorID: r.debtorID(peg), Rate: r.rate(peg, "exchangeRate")}
}

// locator reads the member that names the place of a document.
func (r *reader) locator(parent object) string {
	const name = "latestDebtorInfo"
	info := r.requiredObject(parent, name)
	if info.members == nil {
		return ""
	}
	// This part of the document may get members with another meaning one day; who sends them means that meaning.
	for member := range info.members {
		if member != "uri" {
			r.fail(info.path, "must not have other members than uri")
			break
		}
	}
	return r.text(info, "uri", maxLocatorChars)
}

// debtorID reads the member that names a debtor.
func (r *reader) debtorID(parent object) swpt.DebtorID {
	const name = "debtorIdentity"
	identity := r.requiredObject(parent, name)
	if identity.members == nil {
		return 0
	}
	r.typeName(identity, "DebtorIdentity")
	before := len(r.problems)
	uri := r.text(identity, "uri", maxURIChars)
	if len(r.problems) > before {
		return 0
	}
	id, ok := parseDebtorURI(uri)
	if !ok {
		r.fail(identity.pathOf("uri"), `must be "swpt:" and an unsigned number of 64 bits`)
	}
	return id
}

// An object is a JSON object. Without members (nil), there is none.
type object struct {
	path    string // empty for the root
	members map[string]json.RawMessage
}

func (o object) pathOf(member string) string {
	if o.path == "" {
		return member
	}
	return o.path + "." + member
}

func (r *reader) requiredObject(parent object, name string) object {
	raw, found := r.required(parent, name)
	if !found {
		return object{}
	}
	return r.object(parent.pathOf(name), raw)
}

func (r *reader) required(parent object, name string) (raw json.RawMessage, found bool) {
	raw, found = parent.members[name]
	if !found {
		r.fail(parent.pathOf(name), "is missing")
	}
	return raw, found
}

// object reads an object. Names of members are compared as they are: a map does that, a struct would not.
func (r *reader) object(path string, raw json.RawMessage) object {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		r.fail(cmp.Or(path, "document"), "must be an object")
		return object{}
	}
	return object{path, members}
}

// typeName checks the member "type": a name, and perhaps a version.
func (r *reader) typeName(parent object, name string) {
	raw, found := r.required(parent, "type")
	if !found {
		return
	}
	text, ok := parseString(raw)
	if !ok || !typePatterns[name].MatchString(text) {
		r.fail(parent.pathOf("type"), `must be %q, or that with a version, as in "%s-v2"`, name, name)
	}
}

// text reads a string, which is required.
func (r *reader) text(parent object, name string, maxChars int) string {
	raw, found := r.required(parent, name)
	if !found {
		return ""
	}
	path := parent.pathOf(name)
	text, ok := parseString(raw)
	switch {
	case !ok:
		r.fail(path, "must be a string of Unicode characters, U+0000 excepted")
	case len([]rune(text)) > maxChars:
		r.fail(path, "must not have more than %d characters", maxChars)
	}
	return text
}

// instant reads a date and a time, which may be missing.
func (r *reader) instant(parent object, name string) *time.Time {
	raw, found := parent.members[name]
	if !found {
		return nil
	}
	text, ok := parseString(raw)
	if ok {
		if t, ok := parseInstant(text); ok {
			return &t
		}
	}
	r.fail(parent.pathOf(name), "must be a date and a time of ISO 8601")
	return nil
}

// rate reads an exchange rate, which is required.
func (r *reader) rate(parent object, name string) float64 {
	raw, found := r.required(parent, name)
	if !found {
		return 0
	}
	rate, ok := parseNumber(raw)
	switch {
	case !ok:
		r.fail(parent.pathOf(name), "must be a number that is not too large")
	case rate < 0:
		r.fail(parent.pathOf(name), "must not be negative")
	}
	return math.Abs(rate) // of zeros, there is one
}
