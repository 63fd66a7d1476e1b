package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// HandleUpdatedLedgers stores what has changed in ledgers. Updates that are not newer than what is known are ignored.
func HandleUpdatedLedgers(ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.UpdatedLedger) error {
	return inWaves(batch, ledgerUpdate, func(wave []*smp.UpdatedLedger) error {
		var p workerdb.UpdateLedgersParams
		for _, m := range wave {
			p.CreditorIDs = append(p.CreditorIDs, int64(m.CreditorID))
			p.DebtorIDs = append(p.DebtorIDs, int64(m.DebtorID))
			p.UpdateIDs = append(p.UpdateIDs, m.UpdateID)
			p.Timestamps = append(p.Timestamps, m.TS)
			p.AccountIDs = append(p.AccountIDs, m.AccountID)
			p.CreationDates = append(p.CreationDates, m.CreationDate.Time())
			p.Principals = append(p.Principals, m.Principal)
			p.LastTransferNumbers = append(p.LastTransferNumbers, m.LastTransferNumber)
		}
		if _, err := tx.UpdateLedgers(ctx, p); err != nil {
			return fmt.Errorf("updating ledgers: %w", err)
		}
		return nil
	})
}

// HandleUpdatedPolicies stores what customers want. Updates that are not newer than what is known are ignored.
func HandleUpdatedPolicies(ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.UpdatedPolicy) error {
	return inWaves(batch, policyUpdate, func(wave []*smp.UpdatedPolicy) error {
		var p workerdb.UpdatePoliciesParams
		for _, m := range wave {
			p.CreditorIDs = append(p.CreditorIDs, int64(m.CreditorID))
			p.DebtorIDs = append(p.DebtorIDs, int64(m.DebtorID))
			p.UpdateIDs = append(p.UpdateIDs, m.UpdateID)
			p.Timestamps = append(p.Timestamps, m.TS)
			p.HaveNames = append(p.HaveNames, m.PolicyName != nil)
			p.PolicyNames = append(p.PolicyNames, orZero(m.PolicyName))
			p.MinPrincipals = append(p.MinPrincipals, m.MinPrincipal)
			p.MaxPrincipals = append(p.MaxPrincipals, m.MaxPrincipal)
			p.HavePegs = append(p.HavePegs, m.PegDebtorID != nil)
			p.PegDebtorIDs = append(p.PegDebtorIDs, int64(orZero(m.PegDebtorID)))
			p.PegExchangeRates = append(p.PegExchangeRates, orZero(m.PegExchangeRate))
		}
		if _, err := tx.UpdatePolicies(ctx, p); err != nil {
			return fmt.Errorf("updating policies: %w", err)
		}
		return nil
	})
}

// HandleUpdatedFlags stores flags of accounts. Updates that are not newer than what is known are ignored.
func HandleUpdatedFlags(ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.UpdatedFlags) error {
	return inWaves(batch, flagsUpdate, func(wave []*smp.UpdatedFlags) error {
		var p workerdb.UpdateFlagsParams
		for _, m := range wave {
			p.CreditorIDs = append(p.CreditorIDs, int64(m.CreditorID))
			p.DebtorIDs = append(p.DebtorIDs, int64(m.DebtorID))
			p.UpdateIDs = append(p.UpdateIDs, m.UpdateID)
			p.Timestamps = append(p.Timestamps, m.TS)
			p.ConfigFlags = append(p.ConfigFlags, m.ConfigFlags)
		}
		if _, err := tx.UpdateFlags(ctx, p); err != nil {
			return fmt.Errorf("updating flags: %w", err)
		}
		return nil
	})
}

// An update is what the three kinds of messages have in common: which account it is about, and its number among those
// of its kind and account.
type update struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID
	number   int64
}

func ledgerUpdate(m *smp.UpdatedLedger) update { return update{m.CreditorID, m.DebtorID, m.UpdateID} }

func policyUpdate(m *smp.UpdatedPolicy) update { return update{m.CreditorID, m.DebtorID, m.UpdateID} }

func flagsUpdate(m *smp.UpdatedFlags) update { return update{m.CreditorID, m.DebtorID, m.UpdateID} }

// inWaves passes on a batch in parts in which there is at most one update for each account, older ones first. Hardly any
// batch has more than one part. The batch is left in another order.
func inWaves[M any](batch []M, of func(M) update, apply func(wave []M) error) error {
	slices.SortStableFunc(batch, func(a, b M) int {
		x, y := of(a), of(b)
		return cmp.Or(cmp.Compare(x.creditor, y.creditor), cmp.Compare(x.debtor, y.debtor), cmp.Compare(x.number, y.number))
	})
	for len(batch) > 0 {
		var wave, rest []M
		for i, m := range batch {
			if i > 0 && sameAccount(of(m), of(batch[i-1])) {
				rest = append(rest, m)
			} else {
				wave = append(wave, m)
			}
		}
		if err := apply(wave); err != nil {
			return err
		}
		batch = rest
	}
	return nil
}

func sameAccount(a, b update) bool { return a.creditor == b.creditor && a.debtor == b.debtor }

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
