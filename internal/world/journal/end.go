package journal

import (
	"slices"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A Leniency tells what need not hold at the quiet end of a run.
type Leniency struct {
	// Losses tells that messages to or from collectors have been lost, or their transfers have failed for good, so that
	// some buyers have not been paid. The locks of those, which hold no tokens, stay for months.
	Losses bool

	// Kept is the share of what sellers have given that may stay with collectors, apart from parts of tokens. 0: any.
	Kept float64
}

// FinalVerdicts returns the verdicts at the quiet end of a run, when no fault is going on, and everything that was due
// has been delivered, reminders included. The journal may go on afterwards.
func (c *Checker) FinalVerdicts(l Leniency) []Verdict {
	final := *c
	for id := range final.verdicts {
		final.verdicts[id].Examples = append([]string(nil), c.verdicts[id].Examples...)
	}
	final.checkAccounts()
	final.checkTransfers(l)
	if l.Kept > 0 {
		final.checkTurnovers(l.Kept)
	}
	return final.verdicts.list()
}

func (c *Checker) checkAccounts() {
	for debtor, total := range c.currencies {
		if c.fails(c9, total.inFlight == 0) {
			c.explain(c9, c.latest, "currency %d: %d are in flight", debtor, total.inFlight)
		}
		if c.fails(c1, total.principals+total.inFlight == 0) {
			c.explain(c1, c.latest, "currency %d: principals of %d, and %d in flight", debtor, total.principals, total.inFlight)
		}
	}
	for _, a := range c.order {
		if a.Creditor == Root || !a.live {
			continue
		}
		if c.fails(c4, a.acquired == a.holding.Principal) {
			c.explain(c4, c.latest, "%v: all transfers give %d, and the principal is %d", a, a.acquired, a.holding.Principal)
		}
		known := a.ledger != nil && a.ledger.AccountID != "" && !a.closed
		if known && c.fails(c9, a.ledger.Principal == a.holding.Principal && a.ledger.CreationDate == a.created) {
			c.explain(c9, c.latest, "%v: the ledger has %d, the authority %d", a, a.ledger.Principal, a.holding.Principal)
		}
	}
}

func (c *Checker) checkTransfers(l Leniency) {
	for _, t := range c.prepared {
		if !t.isOfService() {
			continue
		}
		// Those that the service has not heard of are the world's fault, and so is a commit that has not been heeded.
		if c.fails(c9, t.finalized || t.delivered && t.commit == nil && !t.dismissed) {
			c.explain(c9, c.latest, "%v: transfer %d is still there, and should not be", t.Account, t.message.TransferID)
		}
		waiting := t.delivered && !t.finalized && t.commit == nil && !t.dismissed
		if t.delivered && c.fails(m8, !waiting || l.Losses && c.isOfUnpaidBuyer(t)) {
			c.explain(m8, c.latest, "%v: transfer %d of request %d has neither been committed nor dismissed",
				t.Account, t.message.TransferID, t.message.CoordinatorRequestID)
		}
		if r := t.request; r != nil && r.isFirst(t) {
			c.checkCopies(t.Account, r)
			if IsCollector(t.Creditor) {
				c.checkGivenUp(t.Account, r)
			}
		}
	}
}

// checkCopies checks that of several transfers that a request has brought about, one is left at most.
func (c *Checker) checkCopies(a Account, r *request) {
	if len(r.transfers) < 2 {
		return
	}
	if open := r.open(); c.fails(m23, open <= 1) {
		c.explain(m23, c.latest, "%v: %d transfers of request %d are left", a, open, r.message.CoordinatorRequestID)
	}
}

// isOfUnpaidBuyer tells whether a transfer is the lock of a customer who has not traded since. (Whoever is still to be paid
// cannot trade otherwise in the currency.)
func (c *Checker) isOfUnpaidBuyer(t *transfer) bool {
	if IsCollector(t.Creditor) || t.message.LockedAmount > 0 {
		return false
	}
	return !slices.ContainsFunc(c.account(t.Account).trades, func(trade Trade) bool {
		return trade.At.After(t.message.PreparedAt)
	})
}

// checkGivenUp looks at a request of a collector that the service has given up: what has been prepared was dismissed in
// time, and nothing is to be committed. The service must have known that it had failed, as another copy was rejected.
// Otherwise it has made another request while this one was open. (If both are to be committed, heardCommit has seen it.)
// Dismissals may be heard before the commit of another copy, which is why this can only be judged in the end.
func (c *Checker) checkGivenUp(a Account, r *request) {
	givenUp := false
	for _, t := range r.transfers {
		if t.commit != nil {
			return
		}
		givenUp = givenUp || t.givenUp
	}
	if givenUp && c.fails(m7, r.rejected) {
		c.explain(m7, c.latest, "%v: request %d has been given up, and could have succeeded",
			a, r.message.CoordinatorRequestID)
	}
}

// checkTurnovers wants that what sellers have given has reached buyers. Collectors keep some of each transfer: the cut,
// what negative interest could have taken meanwhile, and parts of tokens (transfers.md, section 4.4).
func (c *Checker) checkTurnovers(share float64) {
	const tokens = 2 // of each transfer
	for _, t := range c.Turnovers() {
		kept := t.Collected - t.Dispatched
		transfers := int64(t.Sellers + t.Sendings + t.Buyers)
		if c.fails(p2, float64(kept) <= share*float64(t.Collected)+float64(tokens*transfers)) {
			c.explain(p2, c.latest, "turn %d, currency %d: %d sellers have given %d, and %d buyers have got %d",
				t.Turn, t.Debtor, t.Sellers, t.Collected, t.Buyers, t.Dispatched)
		}
	}
}

// isFirst tells whether a transfer is the first one that the request has brought about.
func (r *request) isFirst(t *transfer) bool { return r.transfers[0] == t }

// open counts the transfers of the request that have been told of, and not finalised.
func (r *request) open() int {
	open := 0
	for _, t := range r.transfers {
		if t.delivered && !t.finalized {
			open++
		}
	}
	return open
}

// A Purse tells how many tokens an account has, by the journal.
type Purse struct {
	Account
	Live      bool  // the account exists, and is not marked as deleted
	Principal int64 // tokens, interest not included
	Locked    int64 // tokens
}

// Purses calls yield for each account that there has ever been, in the order of their opening, roots included.
func (c *Checker) Purses(yield func(Purse) bool) {
	for _, a := range c.order {
		if !yield(Purse{a.Account, a.live && !a.closed, a.holding.Principal, a.locked}) {
			return
		}
	}
}

// InFlight returns how many tokens of a currency have been debited and not yet credited.
func (c *Checker) InFlight(debtor swpt.DebtorID) int64 {
	if total := c.currencies[debtor]; total != nil {
		return total.inFlight
	}
	return 0
}

// Unfinished counts transfers of the service that are prepared, and not yet finalised.
type Unfinished struct {
	Transfers int
	Holding   int // those of them that hold tokens
}

func (u *Unfinished) count(t *transfer, change int) {
	if !t.isOfService() {
		return
	}
	u.Transfers += change
	if t.message.LockedAmount > 0 {
		u.Holding += change
	}
}

// Unfinished returns how many transfers of the service are waiting for their end.
func (c *Checker) Unfinished() Unfinished { return c.unfinished }
