package journal

import (
	"cmp"
	"maps"
	"slices"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

type turnKey struct {
	turn   int32
	debtor swpt.DebtorID
}

// A flowKey identifies the part of a collector in a turn.
type flowKey struct {
	turnKey
	collector swpt.CreditorID
}

// A flow is what has passed through a collector in a turn, in tokens.
type flow struct{ collected, received, sent, dispatched int64 }

// A dealKey identifies what must happen at most once: that a seller is charged, that a buyer is paid, that a collector
// pays another one. For the former two, the collector does not matter.
type dealKey struct {
	turnKey
	kind     smp.NoteKind
	from, to swpt.CreditorID
}

// A deal is what has been done about it.
type deal struct {
	debits  int
	commits []*transfer // that the service wants to be committed
}

func (c *Checker) deal(debtor swpt.DebtorID, note smp.Note) *deal {
	key := keyOfDeal(debtor, note)
	d := c.deals[key]
	if d == nil {
		d = &deal{}
		c.deals[key] = d
	}
	return d
}

func keyOfDeal(debtor swpt.DebtorID, note smp.Note) dealKey {
	key := dealKey{turnKey: turnKey{note.TurnID, debtor}, kind: note.Kind, from: note.Sender(), to: note.Recipient()}
	switch note.Kind {
	case smp.Collecting:
		key.to = 0
	case smp.Dispatching:
		key.from = 0
	default: // sending: both count
	}
	return key
}

func (c *Checker) flow(debtor swpt.DebtorID, turn int32, collector swpt.CreditorID) *flow {
	key := flowKey{turnKey{turn, debtor}, collector}
	f := c.flows[key]
	if f == nil {
		f = &flow{}
		c.flows[key] = f
	}
	return f
}

// HasFailed tells whether the service has wanted a payment to be committed, and the accounting authority has refused.
func (c *Checker) HasFailed(debtor swpt.DebtorID, note smp.Note) bool {
	d := c.deals[keyOfDeal(debtor, note)]
	return d != nil && slices.ContainsFunc(d.commits, func(t *transfer) bool { return t.finalized && t.amount == 0 })
}

// A Turnover is what has been moved in a turn in a currency.
type Turnover struct {
	Turn                        int32
	Debtor                      swpt.DebtorID
	Sellers, Sendings, Buyers   int   // how many have been charged, made, paid
	Collected, Sent, Dispatched int64 // tokens
}

// Turnovers returns what has been moved so far, ordered by turn and currency.
func (c *Checker) Turnovers() []Turnover {
	list := make([]Turnover, 0, len(c.turnovers))
	for t := range maps.Values(c.turnovers) {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Turnover) int {
		return cmp.Or(cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.Debtor, b.Debtor))
	})
	return list
}

func (c *Checker) turnover(debtor swpt.DebtorID, turn int32) *Turnover {
	key := turnKey{turn, debtor}
	t := c.turnovers[key]
	if t == nil {
		t = &Turnover{Turn: turn, Debtor: debtor}
		c.turnovers[key] = t
	}
	return t
}

// pays checks a debit that the service has caused.
func (c *Checker) pays(a *account, e *Entry, note smp.Note) {
	a.trades = append(a.trades, Trade{Account: a.Account, Note: note, Amount: -e.Amount, At: e.At})
	if c.fails(m3, note.Sender() == a.Creditor) {
		c.explain(m3, e.At, "%v pays in the name of %#x", a, uint64(note.Sender()))
	}
	d := c.deal(a.Debtor, note)
	d.debits++
	if c.fails(m3, d.debits == 1) {
		c.explain(m3, e.At, "turn %d, %v: %v for the %d. time", note.TurnID, a, note.Kind, d.debits)
	}
	total, f := c.turnover(a.Debtor, note.TurnID), c.flow(a.Debtor, note.TurnID, note.First)
	switch note.Kind {
	case smp.Collecting:
		total.Sellers++
		total.Collected += e.Amount
		if c.fails(m4, e.Prepared != nil && e.Amount <= e.Prepared.LockedAmount) {
			c.explain(m4, e.At, "turn %d, %v is charged %d, more than has been locked", note.TurnID, a, e.Amount)
		}
	case smp.Sending:
		total.Sendings++
		total.Sent += e.Amount
		f.sent += e.Amount
		if c.fails(m2, f.sent <= f.collected) {
			c.explain(m2, e.At, "turn %d, %v has sent %d, having collected %d", note.TurnID, a, f.sent, f.collected)
		}
		c.checkFlow(a, e, note, f)
	case smp.Dispatching:
		total.Buyers++
		total.Dispatched += e.Amount
		f.dispatched += e.Amount
		c.checkFlow(a, e, note, f)
		c.checkBuyer(e, note)
		if c.fails(m1, total.Dispatched <= total.Collected) {
			c.explain(m1, e.At, "turn %d, currency %d: %d dispatched, %d collected",
				note.TurnID, a.Debtor, total.Dispatched, total.Collected)
		}
	}
}

// checkBuyer checks that a buyer has been ready for another turn: only accounts that have been locked can trade, and each
// lock is good for one turn.
func (c *Checker) checkBuyer(e *Entry, note smp.Note) {
	buyer := c.account(Account{e.Account.Debtor, note.Recipient()})
	buyer.payments++
	if c.fails(m3, buyer.payments <= buyer.wishes) {
		c.explain(m3, e.At, "turn %d, %v is paid for the %d. time, and has been locked %d times",
			note.TurnID, buyer, buyer.payments, buyer.wishes)
	}
}

// checkFlow checks that a collector has not passed on more than it has got.
func (c *Checker) checkFlow(a *account, e *Entry, note smp.Note, f *flow) {
	if c.fails(m2, f.dispatched <= f.collected+f.received-f.sent) {
		c.explain(m2, e.At, "turn %d, %v has dispatched %d, having collected %d, received %d, sent %d",
			note.TurnID, a, f.dispatched, f.collected, f.received, f.sent)
	}
}

// isPaid checks a credit that the service has caused.
func (c *Checker) isPaid(a *account, e *Entry, note smp.Note) {
	a.trades = append(a.trades, Trade{Account: a.Account, Note: note, Amount: e.Amount, At: e.At})
	if c.fails(m3, note.Recipient() == a.Creditor) {
		c.explain(m3, e.At, "%v is paid what is meant for %#x", a, uint64(note.Recipient()))
	}
	switch note.Kind {
	case smp.Collecting:
		c.flow(a.Debtor, note.TurnID, a.Creditor).collected += e.Amount
	case smp.Sending:
		c.flow(a.Debtor, note.TurnID, a.Creditor).received += e.Amount
	default: // dispatching: no collector gets anything
	}
}
