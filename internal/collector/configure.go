package collector

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

const (
	// What comes to a collector account in small amounts need not be told one by one: interest, above all.
	hugeNegligibleAmount = 1e30 // tokens

	// Accounting authorities may keep amounts in single precision.
	negligibleTolerance = 1e-5

	flagScheduledForDeletion = 1
)

// An accountKey names an account.
type accountKey struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID
}

// keyArrays are the keys of accounts in the form that queries want.
type keyArrays struct {
	creditors, debtors []int64
}

func (a *keyArrays) add(key accountKey) {
	a.creditors = append(a.creditors, int64(key.creditor))
	a.debtors = append(a.debtors, int64(key.debtor))
}

// openAccount asks for an account, or for one to be kept.
func openAccount(key accountKey, now time.Time) *smp.ConfigureAccount {
	return &smp.ConfigureAccount{
		DebtorID: key.debtor, CreditorID: key.creditor, TS: now, NegligibleAmount: hugeNegligibleAmount,
	}
}

// discardAccount asks for an account to be deleted, whatever is on it.
func discardAccount(key accountKey, now time.Time) *smp.ConfigureAccount {
	m := openAccount(key, now)
	m.ConfigFlags = flagScheduledForDeletion
	return m
}

// isDiscarded reports whether discardAccount has had its effect.
func isDiscarded(m *smp.AccountUpdate) bool {
	return m.ConfigFlags&flagScheduledForDeletion != 0 && m.NegligibleAmount >= (1-negligibleTolerance)*hugeNegligibleAmount
}
