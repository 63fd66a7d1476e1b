package journal

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// Configurations are what an authority has been asked to make of an account. On the wire, the messages of the creditors
// agent and those of the service look the same, but the agent tells what it says.
type configurations struct {
	ofAgent     map[string]struct{} // messages of the agent, as they look on the wire
	neededAt    time.Time           // the earliest message by which the service has asked for the account; zero: none
	discardedAt time.Time           // the latest message by which the service wants it deleted; zero: none
}

// add takes note of what the creditors agent says.
func (c *configurations) add(m *smp.ConfigureAccount) {
	if text, err := m.AppendJSON(nil); err == nil {
		if c.ofAgent == nil {
			c.ofAgent = make(map[string]struct{})
		}
		c.ofAgent[string(text)] = struct{}{}
	}
}

// has tells whether the creditors agent has said so.
func (c *configurations) has(m *smp.ConfigureAccount) bool {
	text, err := m.AppendJSON(nil)
	_, said := c.ofAgent[string(text)]
	return err == nil && said
}

const (
	scheduledForDeletion = 1
	hugeAmount           = 1e30 // so that the authority deletes the account, whatever it holds
)

// heardConfigure looks at what the service makes of accounts (M19, and transfers.md, sections 1.2 and 1.3). An account of
// a customer is the creditors agent's business alone: to discard it destroys what is on it. One of a collector is asked
// for, or is discarded if nobody has asked for it. Messages may overtake each other, so their timestamps count.
func (c *Checker) heardConfigure(e *Entry, m *smp.ConfigureAccount) {
	a := c.account(Account{m.DebtorID, m.CreditorID})
	asked := &a.configurations
	if asked.has(m) {
		return
	}
	if c.fails(m19, IsCollector(m.CreditorID)) {
		c.explain(m19, e.At, "%v, who is no collector, is configured by the service, with flags %d and %g as negligible",
			a, m.ConfigFlags, m.NegligibleAmount)
		return
	}
	usual := m.NegligibleAmount == hugeAmount && m.ConfigData == "" && m.ConfigFlags&^scheduledForDeletion == 0
	if c.fails(m19, usual) {
		c.explain(m19, e.At, "%v is configured with flags %d, %g as negligible, and the data %q",
			a, m.ConfigFlags, m.NegligibleAmount, m.ConfigData)
	}
	if m.ConfigFlags&scheduledForDeletion != 0 {
		if m.TS.After(asked.discardedAt) {
			asked.discardedAt = m.TS
		}
	} else if asked.neededAt.IsZero() || m.TS.Before(asked.neededAt) {
		asked.neededAt = m.TS
	}
	kept := asked.neededAt.IsZero() || asked.discardedAt.Before(asked.neededAt)
	if c.fails(m19, kept) {
		c.explain(m19, e.At, "%v is to be deleted since %v, and has been asked for at %v",
			a, asked.discardedAt, asked.neededAt)
	}
}
