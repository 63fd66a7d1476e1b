package lock

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/demurrage"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// HandleCandidateOffers locks the accounts of those who might trade in a turn: amounts on sale are asked to be secured.
// An offer has no effect when its turn does not take offers any more, when the account is locked, when nobody collects
// the currency, or when the amount is too small.
func (r *Rules) HandleCandidateOffers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, offers []*smp.CandidateOffer,
) error {
	turns, err := r.shareTurns(ctx, tx, now, offers)
	if err != nil {
		return err
	}
	drops := map[dropReason]int{}
	tx.AfterCommit(func() { r.Metrics.droppedOffers(drops) })
	timely := offers[:0:0]
	for _, o := range offers {
		if _, isOpen := turns[o.TurnID]; isOpen {
			timely = append(timely, o)
		} else {
			drops[dropTurnClosed]++
		}
	}
	if len(timely) == 0 {
		return nil
	}
	b, err := hold(ctx, tx, r, now, timely, accountOffered)
	if err != nil {
		return err
	}
	collectors, err := usableCollectors(ctx, tx, timely)
	if err != nil {
		return err
	}
	held := b.byAccount()
	locks := make(map[Account]*workerdb.AccountLock, len(timely))
	for account, h := range held {
		locks[account] = h.lock
	}
	var initiations []initiation
	for _, o := range timely {
		account := accountOffered(o)
		i, dropped := r.consider(locks[account], o, turns[o.TurnID], collectors[o.DebtorID], now)
		if dropped != "" {
			drops[dropped]++
			continue
		}
		locks[account] = i.lock
		_, i.overwrites = held[account]
		initiations = append(initiations, i)
	}
	return r.initiate(ctx, tx, now, initiations)
}

func accountOffered(o *smp.CandidateOffer) Account { return Account{o.CreditorID, o.DebtorID} }

// A dropReason is why an offer has had no effect, as metrics name it.
type dropReason string

const (
	dropTurnClosed  dropReason = "turn_closed"  // its turn is not known, or it is too late for its offers
	dropLocked      dropReason = "locked"       // there is a lock in force
	dropNoCollector dropReason = "no_collector" // nobody collects the currency
	dropTooSmall    dropReason = "too_small"    // too little for a trade may be left at the collection deadline
	dropWorthless   dropReason = "worthless"    // nothing may be left at the collection deadline
)

var dropReasons = []dropReason{dropTurnClosed, dropLocked, dropNoCollector, dropTooSmall, dropWorthless}

// turnTerms are the terms on which a turn takes offers.
type turnTerms struct {
	minTradeAmount     int64
	collectionDeadline time.Time
}

// shareTurns returns the terms of those turns of offers that still take offers. They go on doing so until the
// transaction ends: a turn is not closed before all locks are there for which its offers are searched.
func (r *Rules) shareTurns(
	ctx context.Context, tx *workerdb.Tx, now time.Time, offers []*smp.CandidateOffer,
) (map[int32]turnTerms, error) {
	turns := map[int32]turnTerms{}
	ids, err := r.timelyTurns(ctx, tx, now, offers)
	if err != nil || len(ids) == 0 {
		return turns, err
	}
	rows, err := tx.ShareTurnsThatTakeOffers(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("keeping %d turns open for offers: %w", len(ids), err)
	}
	for _, row := range rows {
		turns[row.TurnID] = turnTerms{row.MinTradeAmount, orEndless(row.CollectionDeadline)}
	}
	return turns, nil
}

// timelyTurns returns those turns of offers that it is not yet time to close. Whoever wants to close a turn has to wait
// until nobody shares it. As long as offers come one after the other, there is always somebody who does, so offers that
// are too late have to be kept from it.
func (r *Rules) timelyTurns(
	ctx context.Context, tx *workerdb.Tx, now time.Time, offers []*smp.CandidateOffer,
) (timely []int32, err error) {
	named := map[int32]struct{}{}
	for _, o := range offers {
		named[o.TurnID] = struct{}{}
	}
	rows, err := tx.TurnsThatTakeOffers(ctx, slices.Collect(maps.Keys(named)))
	if err != nil {
		return nil, fmt.Errorf("looking which of %d turns still take offers: %w", len(named), err)
	}
	for _, row := range rows { // phase 2 has a deadline
		lead := r.Lead(row.PhaseDeadline.Sub(row.StartedAt))
		if !now.After(row.PhaseDeadline.Add(-lead)) {
			timely = append(timely, row.TurnID)
		}
	}
	return timely, nil
}

// usableCollectors returns the collectors of the currencies that are offered, in the order of their IDs. Collectors
// with account IDs that no accounting authority could have given are left out.
func usableCollectors(
	ctx context.Context, tx *workerdb.Tx, offers []*smp.CandidateOffer,
) (map[swpt.DebtorID][]workerdb.ActiveCollector, error) {
	collectors := map[swpt.DebtorID][]workerdb.ActiveCollector{}
	var ids []int64
	for _, o := range offers {
		if _, twice := collectors[o.DebtorID]; !twice {
			collectors[o.DebtorID] = nil
			ids = append(ids, int64(o.DebtorID))
		}
	}
	rows, err := tx.ActiveCollectors(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading the collectors of %d currencies: %w", len(ids), err)
	}
	for _, c := range rows {
		if isAccountID(c.AccountID) {
			collectors[c.DebtorID] = append(collectors[c.DebtorID], c)
		}
	}
	return collectors, nil
}

// isAccountID reports whether a text can be the recipient of a transfer.
func isAccountID(text string) bool {
	const maxLength = 100
	for i := range len(text) {
		if text[i] > 127 {
			return false
		}
	}
	return len(text) <= maxLength
}

// An initiation is a new lock, and what is to be asked for it.
type initiation struct {
	lock                 *workerdb.AccountLock // without the number of the request
	overwrites           bool                  // a lock of the account that is held
	recipient            string                // the account ID of its collector
	minLocked, maxLocked int64
}

// consider decides whether an offer leads to a lock. The lock that its account has, if any, will be overwritten.
func (r *Rules) consider(
	lock *workerdb.AccountLock, o *smp.CandidateOffer, turn turnTerms, collectors []workerdb.ActiveCollector,
	now time.Time,
) (i initiation, dropped dropReason) {
	if lock != nil && isInForce(lock, o) {
		return initiation{}, dropLocked
	}
	if len(collectors) == 0 {
		return initiation{}, dropNoCollector
	}
	collector := collectors[r.IntN(len(collectors))]
	i.recipient = collector.AccountID
	if o.Amount < 0 {
		i.minLocked, i.maxLocked, dropped = bounds(o.Amount, turn, r.MinDemurrageRate, now)
		if dropped != "" {
			return initiation{}, dropped
		}
	}
	i.lock = &workerdb.AccountLock{
		CreditorID: o.CreditorID, DebtorID: o.DebtorID, TurnID: o.TurnID, CollectorID: collector.CollectorID,
		InitiatedAt: now, Amount: o.Amount,
	}
	if isSelfLock(i.lock) {
		i.lock.TransferID = new(int64(0)) // nothing has to be prepared
	}
	return i, ""
}

// isInForce reports whether a lock keeps its account from being offered: as long as it is not released, or the ledger
// behind the offer does not yet include the transfer of the lock's turn.
func isInForce(lock *workerdb.AccountLock, o *smp.CandidateOffer) bool {
	if stateOf(lock) != released {
		return true
	}
	if created := smp.DateOf(*lock.AccountCreationDate); created != o.AccountCreationDate {
		return created > o.AccountCreationDate
	}
	return *lock.AccountLastTransferNumber > o.LastTransferNumber
}

// bounds returns how much to secure of an amount on sale, which is negative: enough that, after demurrage at the worst
// rate, the least amount for a trade is left at the collection deadline, and no more than leaves the whole amount.
func bounds(amount int64, turn turnTerms, minRate float64, now time.Time) (least, most int64, dropped dropReason) {
	remaining := demurrage.Remaining(minRate, turn.collectionDeadline.Sub(now))
	if remaining <= 0 {
		return 0, 0, dropWorthless
	}
	least = demurrage.Contain(math.Ceil(max(0, float64(turn.minTradeAmount)) / remaining))
	most = demurrage.Contain(math.Ceil(-float64(amount) / remaining))
	if most < least {
		return 0, 0, dropTooSmall
	}
	return least, most, ""
}

// initiate stores new locks, which gives their requests numbers, and asks for their transfers.
func (r *Rules) initiate(ctx context.Context, tx *workerdb.Tx, now time.Time, initiations []initiation) error {
	if len(initiations) == 0 {
		return nil
	}
	requests := make(map[Account]int64, len(initiations))
	inserted := workerdb.InsertAccountLocksParams{InitiatedAt: now}
	overwritten := inserted
	for _, i := range initiations {
		if i.overwrites {
			addInitiated(&overwritten, i.lock)
		} else {
			addInitiated(&inserted, i.lock)
		}
	}
	if n := len(inserted.CreditorIDs); n > 0 {
		rows, err := tx.InsertAccountLocks(ctx, inserted)
		if err != nil {
			return fmt.Errorf("inserting %d account locks: %w", n, err)
		}
		for _, row := range rows {
			requests[Account{row.CreditorID, row.DebtorID}] = row.CoordinatorRequestID
		}
	}
	if n := len(overwritten.CreditorIDs); n > 0 {
		rows, err := tx.OverwriteAccountLocks(ctx, workerdb.OverwriteAccountLocksParams(overwritten))
		if err != nil {
			return fmt.Errorf("overwriting %d account locks: %w", n, err)
		}
		for _, row := range rows {
			requests[Account{row.CreditorID, row.DebtorID}] = row.CoordinatorRequestID
		}
	}
	var messages []smp.Outgoing
	for _, i := range initiations {
		i.lock.CoordinatorRequestID = requests[Account{i.lock.CreditorID, i.lock.DebtorID}]
		messages = append(messages, i.request(now)...)
	}
	tx.AfterCommit(func() { r.Metrics.happened(eventInitiated, len(initiations)) })
	return r.tell(ctx, tx, now, messages)
}

func addInitiated(p *workerdb.InsertAccountLocksParams, lock *workerdb.AccountLock) {
	p.CreditorIDs = append(p.CreditorIDs, int64(lock.CreditorID))
	p.DebtorIDs = append(p.DebtorIDs, int64(lock.DebtorID))
	p.TurnIDs = append(p.TurnIDs, lock.TurnID)
	p.CollectorIDs = append(p.CollectorIDs, int64(lock.CollectorID))
	p.Amounts = append(p.Amounts, lock.Amount)
	p.ArePrepared = append(p.ArePrepared, lock.TransferID != nil)
}

// request returns the message that asks for the transfer of a new lock, if it needs one.
func (i initiation) request(now time.Time) []smp.Outgoing {
	if isSelfLock(i.lock) {
		return nil
	}
	return []smp.Outgoing{&smp.PrepareTransfer{
		CreditorID:           i.lock.CreditorID,
		DebtorID:             i.lock.DebtorID,
		CoordinatorType:      smp.CoordinatorAgent,
		CoordinatorID:        int64(i.lock.CreditorID),
		CoordinatorRequestID: i.lock.CoordinatorRequestID,
		MinLockedAmount:      i.minLocked,
		MaxLockedAmount:      i.maxLocked,
		Recipient:            i.recipient,
		FinalInterestRateTS:  endless,
		MaxCommitDelay:       math.MaxInt32,
		TS:                   now,
	}}
}
