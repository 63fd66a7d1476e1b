package collector

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Rules apply messages about collectors, and about accounts.
type Rules struct {
	Settings
	Metrics *Metrics
	Logger  *slog.Logger
}

// AddTo adds the rules for AccountUpdate, AccountPurge, RejectedConfig, NeededCollector, and ActivateCollector.
func (r *Rules) AddTo(rules *inbox.Rules) {
	inbox.Add(rules, r.HandleAccountUpdates)
	inbox.Add(rules, r.HandleAccountPurges)
	inbox.Add(rules, r.HandleRejectedConfigs)
	inbox.Add(rules, r.HandleNeededCollectors)
	inbox.Add(rules, r.HandleActivateCollectors)
}

// HandleAccountUpdates stores what accounting authorities tell about the accounts of collectors. It has accounts deleted
// that this worker does not need.
func (r *Rules) HandleAccountUpdates(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.AccountUpdate) error {
	l, err := openLedger(ctx, tx, &r.Settings, now, batch)
	if err != nil {
		return err
	}
	var messages []smp.Outgoing
	for _, m := range batch {
		messages = append(messages, l.of(m).apply(m, &r.Settings, now)...)
	}
	if err := l.store(ctx, tx); err != nil {
		return err
	}
	unneeded := 0
	for _, m := range messages {
		if m.Type() == smp.TypeConfigureAccount {
			unneeded++
		}
	}
	tx.AfterCommit(func() { r.Metrics.configured(reasonUnneeded, unneeded) })
	return outbox.Append(ctx, tx, messages...)
}

// HandleAccountPurges forgets accounts that have been removed, and asks for those that are needed to be made again.
func (r *Rules) HandleAccountPurges(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.AccountPurge) error {
	purged := map[accountKey]smp.Date{} // the youngest account that has been removed
	for _, m := range batch {
		key := accountKey{m.CreditorID, m.DebtorID}
		if date, found := purged[key]; !found || date < m.CreationDate {
			purged[key] = m.CreationDate
		}
	}
	var named keyArrays
	for key := range purged {
		named.add(key)
	}
	needed, err := tx.LockNeededAccounts(ctx, workerdb.LockNeededAccountsParams{
		CreditorIDs: named.creditors, DebtorIDs: named.debtors,
	})
	if err != nil {
		return fmt.Errorf("looking which accounts are needed: %w", err)
	}
	records, err := tx.LockWorkerAccounts(ctx, workerdb.LockWorkerAccountsParams{
		CreditorIDs: named.creditors, DebtorIDs: named.debtors,
	})
	if err != nil {
		return fmt.Errorf("reading accounts: %w", err)
	}
	dead, lost := afterPurges(purged, needed, records)
	if len(dead.creditors) > 0 {
		err := tx.DeleteWorkerAccounts(ctx, workerdb.DeleteWorkerAccountsParams{CreditorIDs: dead.creditors, DebtorIDs: dead.debtors})
		if err != nil {
			return fmt.Errorf("forgetting %d accounts: %w", len(dead.creditors), err)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	tx.AfterCommit(func() {
		for _, key := range lost {
			r.Logger.WarnContext(ctx, "a needed account has been removed; a new one has been asked for",
				slog.Int64("creditor_id", int64(key.creditor)), slog.Int64("debtor_id", int64(key.debtor)))
		}
		r.Metrics.configured(reasonPurged, len(lost))
	})
	return openAccounts(ctx, tx, lost, now)
}

// afterPurges returns which records describe accounts that have been removed, and which needed accounts are missing.
func afterPurges(
	purged map[accountKey]smp.Date, needed []workerdb.NeededWorkerAccount, records []workerdb.WorkerAccount,
) (dead keyArrays, lost []accountKey) {
	alive := map[accountKey]bool{}
	for i := range records {
		key := accountKey{records[i].CreditorID, records[i].DebtorID}
		if smp.DateOf(records[i].CreationDate) <= purged[key] {
			dead.add(key)
		} else {
			alive[key] = true
		}
	}
	for _, row := range needed {
		if key := (accountKey{row.CreditorID, row.DebtorID}); !alive[key] {
			lost = append(lost, key)
		}
	}
	return dead, lost
}

// openAccounts asks for accounts, and notes when.
func openAccounts(ctx context.Context, tx *workerdb.Tx, keys []accountKey, now time.Time) error {
	var asked keyArrays
	messages := make([]smp.Outgoing, 0, len(keys))
	for _, key := range keys {
		asked.add(key)
		messages = append(messages, openAccount(key, now))
	}
	err := tx.StoreNeededAccounts(ctx, workerdb.StoreNeededAccountsParams{
		ConfiguredAt: now, CreditorIDs: asked.creditors, DebtorIDs: asked.debtors,
	})
	if err != nil {
		return fmt.Errorf("noting that %d accounts are needed: %w", len(keys), err)
	}
	return outbox.Append(ctx, tx, messages...)
}

// HandleRejectedConfigs logs that accounting authorities have refused to make, or to change, accounts. Collectors that
// get no account are tried again after some days.
func (r *Rules) HandleRejectedConfigs(ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.RejectedConfig) error {
	tx.AfterCommit(func() {
		for _, m := range batch {
			r.Logger.WarnContext(ctx, "an accounting authority has refused the configuration of an account",
				slog.Int64("creditor_id", int64(m.CreditorID)), slog.Int64("debtor_id", int64(m.DebtorID)),
				slog.String("rejection_code", m.RejectionCode), slog.Time("config_ts", m.ConfigTS),
				slog.Int("config_flags", int(m.ConfigFlags)), slog.Float64("negligible_amount", m.NegligibleAmount))
		}
	})
	return nil
}

// HandleNeededCollectors leaves tasks for the [Follower]: to make sure that debtors have a collector.
func (r *Rules) HandleNeededCollectors(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.NeededCollector) error {
	asked := tasks{}
	for _, m := range batch {
		asked.add(taskKey{debtor: m.DebtorID}, m.TS)
	}
	return asked.record(ctx, tx, now)
}

// HandleActivateCollectors leaves tasks for the [Follower]: to activate collectors that have got an account ID.
func (r *Rules) HandleActivateCollectors(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.ActivateCollector,
) error {
	asked := tasks{}
	for _, m := range batch {
		if m.CreditorID != 0 { // which is never a collector's
			asked.add(taskKey{m.DebtorID, m.CreditorID, m.AccountID}, m.TS)
		}
	}
	return asked.record(ctx, tx, now)
}
