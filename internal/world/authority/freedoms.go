package authority

import (
	"math"
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// Traits are what an authority is like beyond the reference implementation, for as long as it exists (peers.md, section
// 8.4). The zero value is the reference.
type Traits struct {
	OpaqueAccountIDs bool          // account IDs are not numbers
	RandomIDs        bool          // transfer IDs are any numbers: 0, negative ones, and others
	NumberStep       int64         // transfer numbers grow by 1 to this, at random; 0 means 1
	DoublePrecision  bool          // negligible amounts and rates keep double precision
	ClockSkew        time.Duration // how much the authority's clock is ahead
}

// Freedoms are what an authority may do beyond the reference implementation at any time (peers.md, section 8.4). The
// zero value is the reference.
type Freedoms struct {
	Recipients Existence // when it is looked whether recipients exist

	// Probabilities, from 0 to 1. What passes does not happen again between the same two accounts.
	RejectRecipient float64 // a request of the service is refused, for a reason that passes
	FailCommit      float64 // a commit of the service fails, for a reason that passes
	FailForGood     float64 // a request, or a commit, of the service fails for a reason that ends an attempt
	SkipUpdate      float64 // an AccountUpdate is left out; the next scan sends one
	ExtraHeartbeat  float64 // in a scan, an AccountUpdate is repeated without a cause
	UnnamedAtFirst  float64 // a new account has no account ID until the next scan

	CreditDelay time.Duration // credits are in flight for up to so much longer
}

// Existence says when an authority makes sure that the recipient of an agent's transfer exists.
type Existence uint8

// The possibilities. In the reference, the credit creates the account that is missing.
const (
	Unchecked Existence = iota
	AtPrepare
	AtCommit
)

// nextNumber returns the number of the next transfer of an account.
func (a *Authority) nextNumber(last int64) int64 {
	step := int64(1)
	if limit := a.settings.Traits.NumberStep; limit > 1 {
		step = 1 + a.random.Int64N(limit)
	}
	return last + step
}

// nextTransferID returns an ID that no transfer of the account has had: the reference begins anew with each creation
// date, which is why the IDs of a re-created account are larger. If IDs are any numbers, the first one ever is 0.
func (a *Authority) nextTransferID(acc *account) int64 {
	acc.lastTransferID++
	serial := int64(acc.created)<<40 + acc.lastTransferID
	if !a.settings.Traits.RandomIDs {
		return serial
	}
	if _, purged := a.dates[acc.key]; acc.lastTransferID == 1 && !purged {
		return 0
	}
	// Multiplying by an odd number permutes the numbers of 64 bits, and only 0 becomes 0.
	return int64(uint64(serial) * 0x9E3779B97F4A7C15)
}

// single rounds to the precision that the reference keeps.
func (a *Authority) single(x float64) float64 {
	if a.settings.Traits.DoublePrecision || math.Abs(x) > math.MaxFloat32 {
		return x
	}
	return float64(float32(x))
}

// A route leads from an account to another one in the same currency.
type route struct {
	sender    journal.Account
	recipient swpt.CreditorID
}

// isBlocked decides with a probability whether a recipient cannot be reached for the moment. The service waits many times
// longer after a second failure than after the first one, so there is none.
func (a *Authority) isBlocked(sender journal.Account, recipient swpt.CreditorID, probability float64) bool {
	r := route{sender, recipient}
	if _, before := a.blocked[r]; before || !a.chance(probability) {
		return false
	}
	a.blocked[r] = struct{}{}
	return true
}

// Codes that end an attempt for good.
var fatalCodes = []string{"SENDER_IS_UNREACHABLE", "SOMETHING_ELSE", ""}

// isGone tells whether an account does not exist, or has been deleted.
func (a *Authority) isGone(debtor swpt.DebtorID, creditor swpt.CreditorID) bool {
	acc := a.find(debtor, creditor)
	return creditor != rootID && (acc == nil || acc.closed)
}
