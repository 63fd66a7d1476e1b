package journal

import (
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/smp"
)

// A requestKey identifies a PrepareTransfer. The coordinator is of the type, and has the ID of the creditor.
type requestKey struct {
	Account
	coordinatorType string
	number          int64
}

// A request is a PrepareTransfer that has been heard, in one copy or several.
type request struct {
	message   *smp.PrepareTransfer
	sequence  int64 // of the entry that tells of it first
	transfers []*transfer
	rejected  bool // at least one copy
	commits   int  // how many of its transfers have been committed
}

type transferKey struct {
	Account
	id int64
}

// A transfer has been prepared.
type transfer struct {
	Account
	message *smp.PreparedTransfer // as it was at first
	request *request              // nil if it was not a peer who asked for it

	delivered    bool // the service has heard of it
	commit       *smp.FinalizeTransfer
	dismissed    bool // the service has dismissed it
	givenUp      bool // it has been dismissed while it could have been committed
	finalized    bool
	finalizedSeq int64 // number of the entry that tells of it
	amount       int64 // that has been committed
	debited      bool
}

// promise returns how much of what has been locked must still be there.
func (t *transfer) promise(at time.Time) float64 {
	return float64(t.message.LockedAmount) * demurrage.Remaining(t.message.DemurrageRate, at.Sub(t.message.PreparedAt))
}

// isOfService tells whether the service, and not a customer, has to finalise the transfer.
func (t *transfer) isOfService() bool { return t.message.CoordinatorType == smp.CoordinatorAgent }

func (c *Checker) lockedAmount(e *Entry) {
	a, m := c.account(e.Account), e.Prepared
	key := transferKey{a.Account, m.TransferID}
	if c.fails(c7, c.transfers[key] == nil) {
		c.explain(c7, e.At, "%v: transfer ID %d is used again", a, m.TransferID)
	}
	t := &transfer{Account: a.Account, message: m}
	t.request = c.requests[requestKey{a.Account, m.CoordinatorType, m.CoordinatorRequestID}]
	c.transfers[key] = t
	c.prepared = append(c.prepared, t)
	a.open++
	a.locked += m.LockedAmount
	if m.LockedAmount > 0 {
		a.locks = append(a.locks, t)
	}
	c.unfinished.count(t, 1)
	a.lowRate = a.lowRate || e.Holding.Rate < m.DemurrageRate
	c.move(a, e, 0)

	if c.fails(c2, e.TotalLocked == a.locked && a.live && !a.closed) {
		c.explain(c2, e.At, "%v: %d are locked in total, not %d", a, e.TotalLocked, a.locked)
	}
	if m.LockedAmount > 0 && c.fails(c2, a.locked <= e.Holding.Spendable(e.At)-e.Minimum) {
		c.explain(c2, e.At, "%v: %d are locked, of %d", a, a.locked, e.Holding.Spendable(e.At))
	}
	c.checkRequest(a, t, e.At)
}

// checkRequest checks that a transfer is what somebody has asked for.
func (c *Checker) checkRequest(a *account, t *transfer, at time.Time) {
	r := t.request
	if c.fails(c7, r != nil) {
		c.explain(c7, at, "%v: nobody has asked for transfer %d", a, t.message.TransferID)
		return
	}
	r.transfers = append(r.transfers, t)
	if t.isOfService() && r.isFirst(t) && r.message.MaxLockedAmount == 0 {
		a.wishes++
	}
	amount := t.message.LockedAmount
	if c.fails(c7, r.message.MinLockedAmount <= amount && amount <= r.message.MaxLockedAmount) {
		c.explain(c7, at, "%v: %d are locked, where %d to %d were asked for",
			a, amount, r.message.MinLockedAmount, r.message.MaxLockedAmount)
	}
}

func (c *Checker) finalized(e *Entry) {
	a := c.account(e.Account)
	t := c.transfers[transferKey{a.Account, e.Prepared.TransferID}]
	if c.fails(c5, t != nil && !t.finalized) {
		c.explain(c5, e.At, "%v: transfer %d is not there to be finalised", a, e.Prepared.TransferID)
		return
	}
	t.finalized, t.finalizedSeq, t.amount = true, c.sequence, e.Amount
	a.open--
	a.locked -= t.message.LockedAmount
	a.locks = slices.DeleteFunc(a.locks, func(l *transfer) bool { return l == t })
	c.unfinished.count(t, -1)
	if c.fails(c2, e.TotalLocked == a.locked) {
		c.explain(c2, e.At, "%v: %d are locked in total, not %d", a, e.TotalLocked, a.locked)
	}
	asked := t.dismissed && e.Amount == 0 || t.commit != nil && (e.Amount == t.commit.CommittedAmount || e.Amount == 0)
	if c.fails(c7, asked) {
		c.explain(c7, e.At, "%v: transfer %d is finalised with %d, which nobody has asked for",
			a, t.message.TransferID, e.Amount)
	}
	if e.Amount > 0 && c.fails(c7, !e.At.After(t.message.Deadline)) {
		c.explain(c7, e.At, "%v: transfer %d is committed after %v", a, t.message.TransferID, t.message.Deadline)
	}
	if (e.Amount > 0 || t.dismissed && t.commit == nil) && c.fails(c7, e.Status == smp.StatusOK) {
		c.explain(c7, e.At, "%v: transfer %d ends with %q, committed amount %d", a, t.message.TransferID, e.Status, e.Amount)
	}
}

// forgotten ends all prepared transfers of an account. That is nobody's fault: neither can the authority finalise them
// any more, nor is the service to blame.
func (c *Checker) forgotten(e *Entry) {
	a := c.account(e.Account)
	for _, t := range c.prepared {
		if t.Account == a.Account && !t.finalized {
			t.finalized, t.finalizedSeq = true, c.sequence
			c.unfinished.count(t, -1)
		}
	}
	a.open, a.locked, a.locks = 0, 0, nil
}

// committed checks the debit that belongs to a prepared transfer.
func (c *Checker) committed(a *account, e *Entry) {
	t := c.transfers[transferKey{a.Account, e.Prepared.TransferID}]
	if c.fails(c5, t != nil && t.finalized && !t.debited && t.amount == e.Amount && e.Amount > 0) {
		c.explain(c5, e.At, "%v: a debit of %d for transfer %d, which does not fit", a, e.Amount, e.Prepared.TransferID)
		return
	}
	t.debited = true
	r := t.request
	if r == nil || !t.isOfService() {
		return
	}
	r.commits++
	if c.fails(m6, r.commits == 1) {
		c.explain(m6, e.At, "%v: request %d has been committed %d times", a, r.message.CoordinatorRequestID, r.commits)
	}
	limit := r.message.TS.Add(time.Duration(r.message.MaxCommitDelay) * time.Second)
	if c.fails(m15, !e.At.After(limit)) {
		c.explain(m15, e.At, "%v: transfer %d is committed later than %v", a, t.message.TransferID, limit)
	}
	if c.fails(m16, !e.Holding.RateSince.After(r.message.FinalInterestRateTS)) {
		c.explain(m16, e.At, "%v: transfer %d is committed under a rate in force since %v, later than %v",
			a, t.message.TransferID, e.Holding.RateSince, r.message.FinalInterestRateTS)
	}
}
