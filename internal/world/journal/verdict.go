package journal

import (
	"fmt"
	"time"
)

// check is a number by which the checker knows a check.
type check uint8

const (
	c1 check = iota
	c2
	c3
	c4
	c5
	c6
	c7
	c8
	c9
	m1
	m2
	m3
	m4
	m6
	m7
	m8
	m15
	m16
	m19
	m22
	m23
	p1
	p2
	checks // how many there are
)

// statements tell, for each check, its name and what should hold.
var statements = [checks]struct{ name, text string }{
	c1:  {"C1", "In each currency, the principals of all accounts and what is in flight add up to zero."},
	c2:  {"C2", "What is locked on an account is the sum of its locks, and was there when it was locked."},
	c3:  {"C3", "On each account, there is always as much as its locks promise."},
	c4:  {"C4", "The transfers of an account form one chain, and add up to its principal."},
	c5:  {"C5", "Each commit makes one debit and one credit, of the same amount."},
	c6:  {"C6", "What peers tell about an account never goes back."},
	c7:  {"C7", "No peer does or says what the protocol rules out."},
	c8:  {"C8", "To capitalise interest changes no balance, and takes from the root what it gives."},
	c9:  {"C9", "In the end nothing is in flight, ledgers are right, and no transfer waits for its end."},
	m1:  {"M1", "Of no currency has more been paid out in a turn than has been collected."},
	m2:  {"M2", "No collector has passed on more than it has got in the turn."},
	m3:  {"M3", "Nobody has been charged or paid twice, in somebody else's name, or without a lock."},
	m4:  {"M4", "No seller has been charged more than has been locked."},
	m6:  {"M6", "A request is committed once; nothing is dismissed while its commit may succeed."},
	m7:  {"M7", "A transfer is tried again only after it has failed for certain."},
	m8:  {"M8", "Each prepared transfer that the service has heard of is finalised."},
	m15: {"M15", "Nothing is committed later than its sender has allowed for."},
	m16: {"M16", "Nothing is committed under an interest rate that its sender did not know."},
	m19: {"M19", "The service configures collectors' accounts only, and discards none that it has asked for."},
	m22: {"M22", "No transfer note is longer than the authority takes."},
	m23: {"M23", "Copies of requests leave no transfers behind."},
	p1:  {"P1", "Peers understand, and accept, every message of the service."},
	p2:  {"P2", "In the end, buyers have got what sellers have given, but for what the service may keep."},
}

// A Verdict tells how a check has turned out.
type Verdict struct {
	Check     string // "C1", for example
	Statement string // what should hold
	Cases     int    // how often the checker has looked
	Failures  int
	Examples  []string // the first failures
}

// OK tells whether what should hold does hold. It also does if there has been no case.
func (v *Verdict) OK() bool { return v.Failures == 0 }

// maxExamples is how many failures of a check are told in words.
const maxExamples = 5

// verdicts is a judgement in the making.
type verdicts [checks]Verdict

// fails counts a case, and tells whether what should hold does not. Then the caller says with explain what is wrong.
func (v *verdicts) fails(id check, holds bool) bool {
	v[id].Cases++
	return !holds
}

// explain counts a failure.
func (v *verdicts) explain(id check, at time.Time, format string, args ...any) {
	v[id].Failures++
	if len(v[id].Examples) < maxExamples {
		text := at.UTC().Format("2006-01-02T15:04:05.000000Z ") + fmt.Sprintf(format, args...)
		v[id].Examples = append(v[id].Examples, text)
	}
}

// list returns the verdicts with their names.
func (v *verdicts) list() []Verdict {
	list := make([]Verdict, checks)
	for id := range checks {
		list[id] = v[id]
		list[id].Check, list[id].Statement = statements[id].name, statements[id].text
	}
	return list
}
