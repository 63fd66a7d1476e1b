package collector

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A ledger holds, for the time of a transaction, all that is known of the accounts in a batch of updates.
type ledger struct {
	accounts map[accountKey]*account
	found    map[accountKey]account // as they were in the beginning
}

// of returns the account that an update is about.
func (l *ledger) of(m *smp.AccountUpdate) *account {
	return l.accounts[accountKey{m.CreditorID, m.DebtorID}]
}

// openLedger reads and locks what the database knows of the accounts.
func openLedger(
	ctx context.Context, tx *workerdb.Tx, s *Settings, now time.Time, batch []*smp.AccountUpdate,
) (*ledger, error) {
	l := &ledger{accounts: map[accountKey]*account{}, found: map[accountKey]account{}}
	var named keyArrays
	for _, m := range batch {
		if key := (accountKey{m.CreditorID, m.DebtorID}); l.accounts[key] == nil {
			l.accounts[key] = &account{}
			named.add(key)
		}
	}
	if err := l.readNeeded(ctx, tx, named); err != nil {
		return nil, fmt.Errorf("looking which accounts are needed: %w", err)
	}
	if err := l.readRecords(ctx, tx, named); err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	if err := l.readHistories(ctx, tx, batch); err != nil {
		return nil, fmt.Errorf("reading the interest rates of accounts: %w", err)
	}
	if err := l.readDependencies(ctx, tx, s, now, batch); err != nil {
		return nil, fmt.Errorf("looking which interest rates transfers depend on: %w", err)
	}
	for key, a := range l.accounts {
		l.found[key] = *a
	}
	return l, nil
}

func (l *ledger) readNeeded(ctx context.Context, tx *workerdb.Tx, named keyArrays) error {
	rows, err := tx.KeepNeededAccounts(ctx, workerdb.KeepNeededAccountsParams{
		CreditorIDs: named.creditors, DebtorIDs: named.debtors,
	})
	for _, row := range rows {
		l.accounts[accountKey{row.CreditorID, row.DebtorID}].needed = true
	}
	return err
}

func (l *ledger) readRecords(ctx context.Context, tx *workerdb.Tx, named keyArrays) error {
	rows, err := tx.LockWorkerAccounts(ctx, workerdb.LockWorkerAccountsParams{
		CreditorIDs: named.creditors, DebtorIDs: named.debtors,
	})
	for i := range rows {
		l.accounts[accountKey{rows[i].CreditorID, rows[i].DebtorID}].record = &rows[i]
	}
	return err
}

// readHistories reads the histories of needed accounts that have got another interest rate. As a rule, there are none.
func (l *ledger) readHistories(ctx context.Context, tx *workerdb.Tx, batch []*smp.AccountUpdate) error {
	var told workerdb.AccountsWithNewRatesParams
	for _, m := range batch {
		if a := l.of(m); a.needed {
			a.ratesKnown = true
			told.CreditorIDs = append(told.CreditorIDs, int64(m.CreditorID))
			told.DebtorIDs = append(told.DebtorIDs, int64(m.DebtorID))
			told.ChangesAt = append(told.ChangesAt, m.LastInterestRateChangeTS)
		}
	}
	if len(told.CreditorIDs) == 0 {
		return nil
	}
	accounts, err := tx.AccountsWithNewRates(ctx, told)
	if err != nil {
		return err
	}
	var changed keyArrays
	for _, row := range accounts {
		key := accountKey{swpt.CreditorID(row.CreditorID), swpt.DebtorID(row.DebtorID)}
		if a := l.accounts[key]; a.ratesKnown {
			a.ratesKnown = false
			changed.add(key)
		}
	}
	if len(changed.creditors) == 0 {
		return nil
	}
	rows, err := tx.InterestRateChanges(ctx, workerdb.InterestRateChangesParams{
		CreditorIDs: changed.creditors, DebtorIDs: changed.debtors,
	})
	for _, row := range rows {
		a := l.accounts[accountKey{row.CreditorID, row.DebtorID}]
		a.history = append(a.history, interest.Change{At: row.ChangeTs, Rate: row.InterestRate})
	}
	return err
}

// readDependencies finds out since when the interest rates matter for transfers, for those accounts of whose histories
// something would be forgotten otherwise. That is rare, for accounts seldom get another rate.
func (l *ledger) readDependencies(
	ctx context.Context, tx *workerdb.Tx, s *Settings, now time.Time, batch []*smp.AccountUpdate,
) error {
	longest := map[accountKey][]interest.Change{} // histories with all changes in the batch
	for _, m := range batch {
		if a := l.of(m); a.needed && !a.ratesKnown {
			key := accountKey{m.CreditorID, m.DebtorID}
			history, found := longest[key]
			if !found {
				history = a.history
			}
			longest[key], _ = interest.Record(history, interest.Change{At: m.LastInterestRateChangeTS, Rate: m.InterestRate})
		}
	}
	var concerned keyArrays
	for key, history := range longest {
		if interest.MayForget(history, now, s.RateHistoryPeriod) {
			concerned.add(key)
		}
	}
	if len(concerned.creditors) == 0 {
		return nil
	}
	rows, err := tx.OldestTransferAttempts(ctx, workerdb.OldestTransferAttemptsParams{
		CreditorIDs: concerned.creditors, DebtorIDs: concerned.debtors,
	})
	for _, row := range rows {
		key := accountKey{swpt.CreditorID(row.CreditorID), swpt.DebtorID(row.DebtorID)}
		l.accounts[key].dependedSince = row.OldestAt
	}
	return err
}

// store writes what has changed.
func (l *ledger) store(ctx context.Context, tx *workerdb.Tx) error {
	if err := l.storeRecords(ctx, tx); err != nil {
		return fmt.Errorf("storing accounts: %w", err)
	}
	if err := l.storeHistories(ctx, tx); err != nil {
		return fmt.Errorf("storing the interest rates of accounts: %w", err)
	}
	return nil
}

func (l *ledger) storeRecords(ctx context.Context, tx *workerdb.Tx) error {
	var p workerdb.StoreWorkerAccountsParams
	for key, a := range l.accounts {
		record := a.record
		if record == l.found[key].record {
			continue
		}
		p.CreditorIDs = append(p.CreditorIDs, int64(record.CreditorID))
		p.DebtorIDs = append(p.DebtorIDs, int64(record.DebtorID))
		p.CreationDates = append(p.CreationDates, record.CreationDate)
		p.LastChangesAt = append(p.LastChangesAt, record.LastChangeTs)
		p.LastChangeSeqnums = append(p.LastChangeSeqnums, record.LastChangeSeqnum)
		p.Principals = append(p.Principals, record.Principal)
		p.Interests = append(p.Interests, record.Interest)
		p.InterestRates = append(p.InterestRates, record.InterestRate)
		p.LastInterestRateChangesAt = append(p.LastInterestRateChangesAt, record.LastInterestRateChangeTs)
		p.ConfigFlags = append(p.ConfigFlags, record.ConfigFlags)
		p.AccountIDs = append(p.AccountIDs, record.AccountID)
		p.DebtorInfoIRIs = append(p.DebtorInfoIRIs, orEmpty(record.DebtorInfoIri))
		p.LastTransferNumbers = append(p.LastTransferNumbers, record.LastTransferNumber)
		p.LastTransfersCommittedAt = append(p.LastTransfersCommittedAt, record.LastTransferCommittedAt)
		p.DemurrageRates = append(p.DemurrageRates, record.DemurrageRate)
		p.CommitPeriods = append(p.CommitPeriods, record.CommitPeriod)
		p.TransferNotesMaxBytes = append(p.TransferNotesMaxBytes, record.TransferNoteMaxBytes)
		p.LastHeartbeatsAt = append(p.LastHeartbeatsAt, record.LastHeartbeatTs)
	}
	if len(p.CreditorIDs) == 0 {
		return nil
	}
	return tx.StoreWorkerAccounts(ctx, p)
}

func (l *ledger) storeHistories(ctx context.Context, tx *workerdb.Tx) error {
	var (
		added   workerdb.AddInterestRateChangesParams
		deleted workerdb.DeleteInterestRateChangesParams
	)
	for key, a := range l.accounts {
		found := l.found[key].history
		if slices.Equal(a.history, found) {
			continue // as a rule
		}
		for _, change := range without(a.history, found) {
			added.CreditorIDs = append(added.CreditorIDs, int64(key.creditor))
			added.DebtorIDs = append(added.DebtorIDs, int64(key.debtor))
			added.ChangesAt = append(added.ChangesAt, change.At)
			added.InterestRates = append(added.InterestRates, change.Rate)
		}
		for _, change := range without(found, a.history) {
			deleted.CreditorIDs = append(deleted.CreditorIDs, int64(key.creditor))
			deleted.DebtorIDs = append(deleted.DebtorIDs, int64(key.debtor))
			deleted.ChangesAt = append(deleted.ChangesAt, change.At)
		}
	}
	if len(deleted.CreditorIDs) > 0 {
		if err := tx.DeleteInterestRateChanges(ctx, deleted); err != nil {
			return err
		}
	}
	if len(added.CreditorIDs) == 0 {
		return nil
	}
	return tx.AddInterestRateChanges(ctx, added)
}

// without returns those changes that are not in the other history.
func without(history, other []interest.Change) (missing []interest.Change) {
	for _, change := range history {
		same := func(o interest.Change) bool { return o.At.Equal(change.At) && o.Rate == change.Rate }
		if !slices.ContainsFunc(other, same) {
			missing = append(missing, change)
		}
	}
	return missing
}
