package authority

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// scanSteps is how many parts a pass over all accounts has, so that the load is even.
const scanSteps = 16

// capitalisationThreshold is which part of the principal the interest must be in order to be capitalised.
const capitalisationThreshold = 0.0001

// scan visits the next part of the accounts.
func (a *Authority) scan() {
	a.after(a.settings.Timing.Scan/scanSteps, a.scan)
	part := len(a.order)/scanSteps + 1
	for ; part > 0 && a.cursor < len(a.order); part-- {
		if acc := a.order[a.cursor]; !acc.gone {
			a.visit(acc)
		}
		a.cursor++
	}
	if a.cursor >= len(a.order) {
		a.cursor = 0
		a.order = slices.DeleteFunc(a.order, func(acc *account) bool { return acc.gone })
	}
}

// visit does what is due on an account.
func (a *Authority) visit(acc *account) {
	if acc.closed {
		a.maybePurge(acc)
		return
	}
	if acc.key.Creditor == rootID {
		a.maybeDelete(acc)
		return
	}
	if !acc.named {
		acc.named = true
		a.change(acc)
		a.announce(acc)
	}
	a.adopt(acc)
	if !a.hushed {
		a.maybeCapitalise(acc)
		a.remind(acc, a.settings.Timing.Reminder)
	}
	a.maybeDelete(acc)
	if !acc.closed && (acc.due || a.isHeartbeatDue(acc)) {
		a.sendUpdate(acc, a.later(acc))
	}
}

func (a *Authority) isHeartbeatDue(acc *account) bool {
	if a.hushed {
		return false
	}
	return a.now.Sub(acc.updatedAt) > a.settings.Timing.Heartbeat || a.chance(a.settings.Freedoms.ExtraHeartbeat)
}

// later returns the timestamp of an AccountUpdate that is not sent at once.
func (a *Authority) later(acc *account) time.Time {
	if acc.holding.At.After(a.now) {
		return acc.holding.At
	}
	return a.now
}

// adopt gives an account the rate and the info that the issuer has set, in the account's own time (peers.md, section
// 1.5).
func (a *Authority) adopt(acc *account) {
	d := a.debtor(acc.key.Debtor)
	if !d.configured || d.rate == acc.holding.Rate && d.info == acc.info {
		return
	}
	lag := time.Duration(acc.lag * float64(a.settings.Timing.RateLag))
	if a.now.Sub(d.changedAt) < lag {
		return
	}
	if d.info != acc.info {
		a.setInfo(acc, d.info)
	}
	if d.rate != acc.holding.Rate && a.now.Sub(acc.holding.RateSince) >= a.settings.Timing.RateSpacing {
		a.setRate(acc, d.rate)
	}
}

// maybeCapitalise turns interest into principal (peers.md, section 1.3).
func (a *Authority) maybeCapitalise(acc *account) {
	if a.now.Sub(acc.capitalisedAt) < a.settings.Timing.Capitalisation {
		return
	}
	amount := math.Floor(acc.holding.Accrued(a.now))
	share := math.Abs(amount) / (1 + math.Abs(float64(acc.holding.Principal)))
	if share <= capitalisationThreshold || math.Abs(amount) >= 1<<62 {
		return
	}
	a.capitalise(acc, int64(amount))
}

// capitalise moves interest between an account and the root.
func (a *Authority) capitalise(acc *account, amount int64) {
	acc.capitalisedAt = a.now
	before := acc.holding
	a.change(acc)
	acc.holding.Interest -= float64(amount)
	acc.holding.Principal += amount
	acc.due = true
	root := a.root(acc.key)
	a.change(root)
	root.holding.Principal -= amount
	silent := amount > 0 && float64(amount) <= acc.config.negligible
	a.record(journal.Entry{
		Kind: journal.Capitalised, Account: acc.key, Amount: amount, Silent: silent,
		Before: before, Holding: acc.holding, RootPrincipal: root.holding.Principal,
	})
	if silent {
		return
	}
	p := payment{sender: root.key, recipient: acc.key, coordinatorType: typeInterest, committedAt: a.now}
	if amount < 0 {
		p.sender, p.recipient = p.recipient, p.sender
	}
	a.tell(acc, &p, amount, acc.holding.Principal)
}

// root returns the root account of an account's currency, which is created if there is none.
func (a *Authority) root(key journal.Account) *account {
	key.Creditor = rootID
	if acc := a.accounts[key]; acc != nil {
		return acc
	}
	acc := a.open(key)
	a.change(acc)
	return acc
}

// maybeDelete marks an account as deleted if that is what its owner wants, and it can be done (peers.md, section 1.4).
func (a *Authority) maybeDelete(acc *account) {
	if !acc.config.scheduled() || len(acc.locks) > 0 || a.now.Sub(acc.deletionTried) < a.settings.Timing.Deletion {
		return
	}
	acc.deletionTried = a.now
	if acc.key.Creditor == rootID && acc.holding.Principal != 0 ||
		acc.holding.Balance(a.now) > max(2, acc.config.negligible) {
		return
	}
	a.close(acc)
}

// close marks an account as deleted. What is on it goes to the root.
func (a *Authority) close(acc *account) {
	a.change(acc)
	acc.holding.Interest = 0 // before the transfer, so that no debt appears for a moment
	switch p := acc.holding.Principal; {
	case p > 0:
		a.transferAtOnce(acc, a.root(acc.key), p)
	case p < 0:
		a.transferAtOnce(a.root(acc.key), acc, -p)
	}
	acc.closed, acc.closedAt = true, a.now
	a.record(journal.Entry{Kind: journal.Closed, Account: acc.key})
	a.sendUpdate(acc, acc.holding.At)
}

// transferAtOnce makes a transfer of type "delete".
func (a *Authority) transferAtOnce(from, to *account, amount int64) {
	p := payment{
		sender: from.key, recipient: to.key, amount: amount, coordinatorType: typeDelete, committedAt: a.now,
	}
	a.debit(from, &p, from.holding.Principal-amount)
	a.credit(&p)
}

// maybePurge removes the record of an account that has been deleted for long.
func (a *Authority) maybePurge(acc *account) {
	if a.now.Sub(acc.closedAt) <= a.settings.Timing.Purge || a.now.Sub(acc.created.Time()) < a.settings.Timing.PurgeAge {
		return
	}
	a.purge(acc)
}

func (a *Authority) purge(acc *account) {
	acc.gone = true
	delete(a.accounts, acc.key)
	a.dates[acc.key] = acc.created
	a.record(journal.Entry{Kind: journal.Purged, Account: acc.key, Created: acc.created})
	a.send(&smp.AccountPurge{
		DebtorID: acc.key.Debtor, CreditorID: acc.key.Creditor, CreationDate: acc.created, TS: a.now,
	})
}

// Seize takes tokens from an account, which an operator may do: at most as many as there are, and are not locked.
func (a *Authority) Seize(key journal.Account, amount int64) {
	a.tick()
	if acc := a.accounts[key]; acc != nil && !acc.closed {
		if amount = min(amount, acc.holding.Principal, a.spendable(acc)-acc.locked); amount > 0 {
			a.transferAtOnce(acc, a.root(key), amount)
		}
	}
}

// ErrInUse tells that an account cannot be removed.
var ErrInUse = errors.New("the account has outgoing prepared transfers, or does not exist")

// Remove deletes and purges an account at once, whatever it holds, which an operator may do.
func (a *Authority) Remove(key journal.Account) error {
	a.tick()
	acc := a.accounts[key]
	if acc == nil || len(acc.locks) > 0 || key.Creditor == rootID {
		return ErrInUse
	}
	if !acc.closed {
		a.close(acc)
	}
	a.purge(acc)
	return nil
}

// Forget removes an account like Remove, together with what is prepared on it: an accident, which the protocol rules out.
func (a *Authority) Forget(key journal.Account) error {
	a.tick()
	if acc := a.accounts[key]; acc != nil && key.Creditor != rootID {
		for _, l := range acc.locks {
			acc.removeLock(l)
		}
		a.record(journal.Entry{Kind: journal.Forgotten, Account: key})
	}
	return a.Remove(key)
}

// Repeat sends an AccountUpdate of each account whose holder is wanted, and a reminder of each prepared transfer.
func (a *Authority) Repeat(wanted func(creditor swpt.CreditorID) bool) {
	a.tick()
	for _, acc := range a.order {
		if acc.gone || acc.closed || acc.key.Creditor == rootID {
			continue
		}
		a.remind(acc, -1)
		if wanted(acc.key.Creditor) {
			a.sendUpdate(acc, a.later(acc))
		}
	}
}

// Due returns the number of accounts of which the next scan will send an AccountUpdate, because they have changed.
func (a *Authority) Due() int {
	due := 0
	for _, acc := range a.order {
		if acc.due && !acc.gone && !acc.closed && acc.key.Creditor != rootID {
			due++
		}
	}
	return due
}
