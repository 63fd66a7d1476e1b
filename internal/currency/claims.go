package currency

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A claim says which locator a debtor names for itself. With a locator, the debtor is confirmed.
type claim = workerdb.DebtorLocatorClaim

// HandleDiscoverDebtors makes claims of debtors that collectors have accounts with, and asks for the fetches by which
// they are confirmed, and later renewed.
func (r *Rules) HandleDiscoverDebtors(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.DiscoverDebtor,
) error {
	ids := make([]int64, len(batch))
	for i, m := range batch {
		ids[i] = int64(m.DebtorID)
	}
	claims, err := lockClaims(ctx, tx, ids)
	if err != nil {
		return err
	}
	for _, m := range batch {
		after, requests := r.discover(claims.of(m.DebtorID), m, now)
		claims.put(after)
		claims.request(requests...)
	}
	return claims.save(ctx, tx)
}

// discover returns what becomes of a claim, nil if there is none, and what has to be fetched.
func (r *Rules) discover(before *claim, m *smp.DiscoverDebtor, now time.Time) (after claim, requests []smp.Outgoing) {
	discovery := &smp.FetchDebtorInfo{IRI: m.IRI, DebtorID: m.DebtorID, IsDiscoveryFetch: true, TS: now}
	if before == nil {
		return claim{DebtorID: m.DebtorID, LatestDiscoveryFetchAt: now}, []smp.Outgoing{discovery}
	}
	after = *before
	if locator := before.DebtorInfoLocator; locator != nil {
		forcedAt := before.ForcedLocatorRefetchAt
		forced := m.ForceLocatorRefetch && (forcedAt == nil || longAgo(*forcedAt, now, r.DocumentExpiry))
		if forced {
			after.ForcedLocatorRefetchAt = &now
		}
		if forced || longAgo(*before.LatestLocatorFetchAt, now, r.DocumentExpiry) {
			request := locatorFetch(*locator, m.DebtorID, 0, now)
			if forced {
				request.ForcedIRI = &m.IRI
			}
			requests = append(requests, request)
			after.LatestLocatorFetchAt = &now
		}
	}
	if longAgo(before.LatestDiscoveryFetchAt, now, r.ClaimExpiry) {
		requests = append(requests, discovery)
		after.LatestDiscoveryFetchAt = now
	}
	return after, requests
}

// locatorFetch is the request to fetch the newest revision of a document.
func locatorFetch(locator string, debtor swpt.DebtorID, level int32, now time.Time) *smp.FetchDebtorInfo {
	return &smp.FetchDebtorInfo{IRI: locator, DebtorID: debtor, IsLocatorFetch: true, RecursionLevel: level, TS: now}
}

// HandleConfirmDebtors stores which locators debtors name for themselves, and asks to fetch the documents that are
// there. Confirmations are not ordered: the last one counts.
func (r *Rules) HandleConfirmDebtors(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.ConfirmDebtor,
) error {
	var ids []int64
	var timely []*smp.ConfirmDebtor
	for _, m := range batch {
		if now.Sub(m.TS) > r.MaxMessageDelay {
			tx.AfterCommit(func() {
				r.Logger.WarnContext(ctx, "a debtor's confirmation comes too late, and is ignored",
					slog.Int64("debtor", int64(m.DebtorID)), slog.Time("ts", m.TS))
			})
			continue
		}
		ids, timely = append(ids, int64(m.DebtorID)), append(timely, m)
	}
	if len(timely) == 0 {
		return nil
	}
	claims, err := lockClaims(ctx, tx, ids)
	if err != nil {
		return err
	}
	for _, m := range timely {
		claims.put(confirm(claims.of(m.DebtorID), m, now))
		claims.request(locatorFetch(m.DebtorInfoLocator, m.DebtorID, 0, now))
	}
	return claims.save(ctx, tx)
}

// confirm returns what becomes of a claim, nil if there is none.
func confirm(before *claim, m *smp.ConfirmDebtor, now time.Time) claim {
	after := claim{DebtorID: m.DebtorID, LatestDiscoveryFetchAt: now}
	if before != nil {
		after = *before
	}
	after.DebtorInfoLocator, after.LatestLocatorFetchAt = &m.DebtorInfoLocator, &now
	return after
}

// claimChanges are claims on their way through a batch, and what has to be fetched because of them.
type claimChanges struct {
	claims   map[swpt.DebtorID]claim
	changed  map[swpt.DebtorID]struct{}
	requests []smp.Outgoing
}

// lockClaims reads, and locks, the claims of debtors, some of whom may be named several times, or have none.
func lockClaims(ctx context.Context, tx *workerdb.Tx, debtorIDs []int64) (*claimChanges, error) {
	rows, err := tx.LockClaims(ctx, debtorIDs)
	if err != nil {
		return nil, fmt.Errorf("reading claims of %d debtors: %w", len(debtorIDs), err)
	}
	c := &claimChanges{claims: make(map[swpt.DebtorID]claim, len(rows)), changed: map[swpt.DebtorID]struct{}{}}
	for _, row := range rows {
		c.claims[row.DebtorID] = row
	}
	return c, nil
}

// of returns the claim of a debtor, or nil.
func (c *claimChanges) of(debtor swpt.DebtorID) *claim {
	if found, ok := c.claims[debtor]; ok {
		return &found
	}
	return nil
}

func (c *claimChanges) put(after claim) {
	if before, ok := c.claims[after.DebtorID]; !ok || before != after { // what has not changed is a copy
		c.claims[after.DebtorID] = after
		c.changed[after.DebtorID] = struct{}{}
	}
}

func (c *claimChanges) request(requests ...smp.Outgoing) {
	c.requests = append(c.requests, requests...)
}

// save writes claims that have changed, and appends the requests to the outbox.
func (c *claimChanges) save(ctx context.Context, tx *workerdb.Tx) error {
	var p workerdb.SaveClaimsParams
	for debtor := range c.changed {
		changed := c.claims[debtor]
		p.DebtorIDs = append(p.DebtorIDs, int64(debtor))
		p.AreConfirmed = append(p.AreConfirmed, changed.DebtorInfoLocator != nil)
		p.DebtorInfoLocators = append(p.DebtorInfoLocators, orZero(changed.DebtorInfoLocator))
		p.LatestLocatorFetches = append(p.LatestLocatorFetches, orZero(changed.LatestLocatorFetchAt))
		p.LatestDiscoveryFetches = append(p.LatestDiscoveryFetches, changed.LatestDiscoveryFetchAt)
		p.WereForced = append(p.WereForced, changed.ForcedLocatorRefetchAt != nil)
		p.ForcedLocatorRefetches = append(p.ForcedLocatorRefetches, orZero(changed.ForcedLocatorRefetchAt))
	}
	if len(p.DebtorIDs) > 0 {
		if err := tx.SaveClaims(ctx, p); err != nil {
			return fmt.Errorf("storing claims of %d debtors: %w", len(p.DebtorIDs), err)
		}
	}
	return outbox.Append(ctx, tx, c.requests...)
}

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
