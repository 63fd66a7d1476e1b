package attempt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A key is the primary key of an attempt.
type key struct {
	collector     swpt.CreditorID
	turn          int32
	debtor        swpt.DebtorID
	creditor      swpt.CreditorID
	isDispatching bool
}

// A request identifies a PrepareTransfer, and so at most one attempt.
type request struct{ coordinator, number int64 }

// An account is where tokens are.
type account struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID
}

// A table has the attempts that a batch is about, locked in the database.
type table struct {
	rows       []*attempt
	ofKeys     map[key]*attempt
	ofRequests map[request]*attempt
}

// byKey returns the attempt with a key, or nil if there is none any more.
func (t *table) byKey(k key) *attempt { return existing(t.ofKeys[k]) }

// byRequest returns the attempt whose latest PrepareTransfer it was, or nil if there is none any more.
func (t *table) byRequest(r request) *attempt { return existing(t.ofRequests[r]) }

func existing(a *attempt) *attempt {
	if a == nil || a.isOver() {
		return nil
	}
	return a
}

// with returns the attempts with one of the fates.
func (t *table) with(fates ...fate) []*attempt {
	var found []*attempt
	for _, a := range t.rows {
		if slices.Contains(fates, a.fate) {
			found = append(found, a)
		}
	}
	return found
}

// distinct returns the values that a slice has, each once.
func distinct[V comparable](values []V) []V {
	set := make(map[V]struct{}, len(values))
	for _, value := range values {
		set[value] = struct{}{}
	}
	return slices.Collect(maps.Keys(set))
}

func lockByKey(ctx context.Context, tx *workerdb.Tx, keys []key) (*table, error) {
	var p workerdb.LockAttemptsParams
	for _, k := range distinct(keys) {
		p.CollectorIDs = append(p.CollectorIDs, int64(k.collector))
		p.TurnIDs = append(p.TurnIDs, k.turn)
		p.DebtorIDs = append(p.DebtorIDs, int64(k.debtor))
		p.CreditorIDs = append(p.CreditorIDs, int64(k.creditor))
		p.AreDispatching = append(p.AreDispatching, k.isDispatching)
	}
	found, err := tx.LockAttempts(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("locking transfer attempts: %w", err)
	}
	t := &table{ofKeys: make(map[key]*attempt, len(found))}
	for i := range found {
		a := &attempt{TransferAttempt: found[i].TransferAttempt, nextRequestID: found[i].NextRequestID}
		t.rows = append(t.rows, a)
		t.ofKeys[key{a.CollectorID, a.TurnID, a.DebtorID, a.CreditorID, a.IsDispatching}] = a
	}
	return t, nil
}

func lockByRequest(ctx context.Context, tx *workerdb.Tx, requests []request) (*table, error) {
	numbers := make([]int64, len(requests))
	for i, r := range requests {
		numbers[i] = r.number
	}
	found, err := tx.LockAttemptsByRequest(ctx, numbers)
	if err != nil {
		return nil, fmt.Errorf("locking transfer attempts: %w", err)
	}
	t := &table{ofRequests: make(map[request]*attempt, len(found))}
	for i := range found {
		a := &attempt{TransferAttempt: found[i]}
		t.rows = append(t.rows, a)
		t.ofRequests[request{int64(a.CollectorID), *a.CoordinatorRequestID}] = a
	}
	return t, nil
}

// store writes what has changed.
func (t *table) store(ctx context.Context, tx *workerdb.Tx) error {
	if err := storeChanged(ctx, tx, t.with(changed)); err != nil {
		return err
	}
	over := t.with(paid, worthless)
	if len(over) == 0 {
		return nil
	}
	var p workerdb.DeleteAttemptsParams
	for _, a := range over {
		p.CollectorIDs = append(p.CollectorIDs, int64(a.CollectorID))
		p.TurnIDs = append(p.TurnIDs, a.TurnID)
		p.DebtorIDs = append(p.DebtorIDs, int64(a.DebtorID))
		p.CreditorIDs = append(p.CreditorIDs, int64(a.CreditorID))
		p.AreDispatching = append(p.AreDispatching, a.IsDispatching)
	}
	if err := tx.DeleteAttempts(ctx, p); err != nil {
		return fmt.Errorf("deleting transfer attempts that are over: %w", err)
	}
	return nil
}

func storeChanged(ctx context.Context, tx *workerdb.Tx, attempts []*attempt) error {
	if len(attempts) == 0 {
		return nil
	}
	var p workerdb.StoreAttemptsParams
	for _, a := range attempts {
		p.CollectorIDs = append(p.CollectorIDs, int64(a.CollectorID))
		p.TurnIDs = append(p.TurnIDs, a.TurnID)
		p.DebtorIDs = append(p.DebtorIDs, int64(a.DebtorID))
		p.CreditorIDs = append(p.CreditorIDs, int64(a.CreditorID))
		p.AreDispatching = append(p.AreDispatching, a.IsDispatching)
		p.Recipients = append(p.Recipients, a.Recipient)
		p.RecipientVersions = append(p.RecipientVersions, a.RecipientVersion)
		p.AreRescheduled = append(p.AreRescheduled, a.RescheduledFor != nil)
		p.RescheduledFor = append(p.RescheduledFor, orZero(a.RescheduledFor))
		p.AreMade = append(p.AreMade, a.AttemptedAt != nil)
		p.AttemptedAt = append(p.AttemptedAt, orZero(a.AttemptedAt))
		p.CoordinatorRequestIDs = append(p.CoordinatorRequestIDs, orZero(a.CoordinatorRequestID))
		p.FinalInterestRateTimestamps = append(p.FinalInterestRateTimestamps, orZero(a.FinalInterestRateTs))
		p.Amounts = append(p.Amounts, orZero(a.Amount))
		p.AreSettled = append(p.AreSettled, a.TransferID != nil)
		p.TransferIDs = append(p.TransferIDs, orZero(a.TransferID))
		p.FinalizedAt = append(p.FinalizedAt, orZero(a.FinalizedAt))
		p.HaveFailed = append(p.HaveFailed, a.FailureCode != nil)
		p.FailureCodes = append(p.FailureCodes, orZero(a.FailureCode))
		p.BackoffCounters = append(p.BackoffCounters, a.BackoffCounter)
		p.AreFatal = append(p.AreFatal, a.FatalError != nil)
		p.FatalErrors = append(p.FatalErrors, orZero(a.FatalError))
	}
	if err := tx.StoreAttempts(ctx, p); err != nil {
		return fmt.Errorf("storing transfer attempts: %w", err)
	}
	return nil
}

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// dropObligations deletes the records of what collectors had to send, or to dispatch.
func dropObligations(ctx context.Context, tx *workerdb.Tx, attempts []*attempt) error {
	var sendings workerdb.DropSendingsParams
	var dispatchings workerdb.DropDispatchingsParams
	for _, a := range attempts {
		p := &sendings
		if a.IsDispatching {
			p = (*workerdb.DropSendingsParams)(&dispatchings)
		}
		p.CollectorIDs = append(p.CollectorIDs, int64(a.CollectorID))
		p.TurnIDs = append(p.TurnIDs, a.TurnID)
		p.DebtorIDs = append(p.DebtorIDs, int64(a.DebtorID))
		p.CreditorIDs = append(p.CreditorIDs, int64(a.CreditorID))
	}
	if err := tx.DropSendings(ctx, sendings); err != nil {
		return fmt.Errorf("deleting what is not to be sent: %w", err)
	}
	if err := tx.DropDispatchings(ctx, dispatchings); err != nil {
		return fmt.Errorf("deleting what is not to be dispatched: %w", err)
	}
	if len(attempts) > 0 {
		tx.NotifyOnCommit(workerdb.TopicSettlement)
	}
	return nil
}

// readRates returns the rates on the accounts of collectors, as far as they matter to the attempts that can be made.
func readRates(ctx context.Context, tx *workerdb.Tx, attempts []*attempt) (map[account]*rates, error) {
	since := map[account]time.Time{} // the beginning of the oldest attempt
	for _, a := range attempts {
		if s := a.state(); s == initiated || s == settled || s == fatal {
			continue
		}
		from := account{a.CollectorID, a.DebtorID}
		if oldest, found := since[from]; !found || a.CollectionStartedAt.Before(oldest) {
			since[from] = a.CollectionStartedAt
		}
	}
	if len(since) == 0 {
		return map[account]*rates{}, nil
	}
	var p workerdb.ReadInterestRateChangesParams
	for of, instant := range since {
		p.CreditorIDs = append(p.CreditorIDs, int64(of.creditor))
		p.DebtorIDs = append(p.DebtorIDs, int64(of.debtor))
		p.Since = append(p.Since, instant)
	}
	current, err := tx.ReadInterestRates(ctx, workerdb.ReadInterestRatesParams{
		CreditorIDs: p.CreditorIDs, DebtorIDs: p.DebtorIDs,
	})
	if err != nil {
		return nil, fmt.Errorf("reading interest rates: %w", err)
	}
	changes, err := tx.ReadInterestRateChanges(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading changes of interest rates: %w", err)
	}
	known := make(map[account]*rates, len(current))
	for _, row := range current {
		known[account{row.CreditorID, row.DebtorID}] = &rates{
			current: interest.Change{At: row.LastInterestRateChangeTs, Rate: row.InterestRate},
		}
	}
	for _, row := range changes {
		if r := known[account{row.CreditorID, row.DebtorID}]; r != nil {
			r.changes = append(r.changes, interest.Change{At: row.ChangeTs, Rate: row.InterestRate})
		}
	}
	return known, nil
}

// readAccountIDs returns the account IDs of creditors of this shard, with their versions.
func readAccountIDs(
	ctx context.Context, tx *workerdb.Tx, accounts []account,
) (map[account]workerdb.ReadAccountIDsRow, error) {
	var p workerdb.ReadAccountIDsParams
	for _, wanted := range distinct(accounts) {
		p.CreditorIDs = append(p.CreditorIDs, int64(wanted.creditor))
		p.DebtorIDs = append(p.DebtorIDs, int64(wanted.debtor))
	}
	rows, err := tx.ReadAccountIDs(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading account IDs: %w", err)
	}
	known := make(map[account]workerdb.ReadAccountIDsRow, len(rows))
	for _, row := range rows {
		known[account{swpt.CreditorID(row.CreditorID), swpt.DebtorID(row.DebtorID)}] = row
	}
	return known, nil
}
