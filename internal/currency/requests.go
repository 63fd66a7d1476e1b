package currency

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Topic is what commits tell of after which there may be more fetches that are due.
const Topic = "debtor_info_fetches"

// HandleFetchDebtorInfos puts fetches into the queue. A fetch that is there already is merged with what is asked for
// now, and comes no sooner.
func (r *Rules) HandleFetchDebtorInfos(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.FetchDebtorInfo,
) error {
	merged := map[fetchKey]*smp.FetchDebtorInfo{}
	for _, m := range batch {
		if len(m.IRI) > maxIRIBytes || len(orZero(m.ForcedIRI)) > maxIRIBytes {
			tx.AfterCommit(func() {
				r.Logger.WarnContext(ctx, "a fetch is not done, because the IRI is too long",
					slog.Int64("debtor", int64(m.DebtorID)), slog.Int("bytes", len(m.IRI)),
					slog.Int("forced_bytes", len(orZero(m.ForcedIRI))))
			})
			continue
		}
		key := fetchKey{m.IRI, m.DebtorID}
		merged[key] = merge(merged[key], m)
	}
	if len(merged) == 0 {
		return nil
	}
	p := workerdb.RequestFetchesParams{Now: now}
	for key, m := range merged {
		forced := orZero(m.ForcedIRI)
		p.IRIs = append(p.IRIs, key.iri)
		p.DebtorIDs = append(p.DebtorIDs, int64(key.debtor))
		p.AreLocatorFetches = append(p.AreLocatorFetches, m.IsLocatorFetch)
		p.AreDiscoveryFetches = append(p.AreDiscoveryFetches, m.IsDiscoveryFetch)
		p.ForcedIRIs = append(p.ForcedIRIs, forced)
		p.Hosts = append(p.Hosts, fetch.Host(target(key.iri, forced)))
		p.RecursionLevels = append(p.RecursionLevels, int16(m.RecursionLevel)) //nolint:gosec // at most 32767
	}
	changed, err := tx.RequestFetches(ctx, p)
	if err != nil {
		return fmt.Errorf("putting %d fetches into the queue: %w", len(merged), err)
	}
	if changed > 0 {
		tx.NotifyOnCommit(Topic)
	}
	return nil
}

// A fetchKey is what two requests have in common that are merged.
type fetchKey struct {
	iri    string
	debtor swpt.DebtorID
}

// target returns what is downloaded: the forced IRI, if there is one.
func target(iri, forced string) string {
	if forced != "" {
		return forced
	}
	return iri
}

// merge returns what two requests for one fetch ask for together. The first one may be nil, the second one is newer.
func merge(before, m *smp.FetchDebtorInfo) *smp.FetchDebtorInfo {
	if before == nil {
		return m
	}
	merged := *before
	merged.IsLocatorFetch = before.IsLocatorFetch || m.IsLocatorFetch
	merged.IsDiscoveryFetch = before.IsDiscoveryFetch || m.IsDiscoveryFetch
	merged.RecursionLevel = min(before.RecursionLevel, m.RecursionLevel)
	if orZero(m.ForcedIRI) != "" {
		merged.ForcedIRI = m.ForcedIRI
	}
	return &merged
}
