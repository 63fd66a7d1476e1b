package turn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// errNotOffered tells that somebody would give or get what they have not offered.
var errNotOffered = errors.New("internal error: the results do not agree with the offers")

// trade ends phase 2: it clears the market, and publishes what has come of it.
func (r *Roller) trade(ctx context.Context, t solverdb.Turn) (advanced bool, err error) {
	c, err := r.attempt(ctx, t)
	if err != nil {
		return false, err
	}
	begun := time.Now()
	advanced, err = r.publish(ctx, t.TurnID, c)
	if errors.Is(err, errNotOffered) {
		c = c.withoutResults(err)
		advanced, err = r.publish(ctx, t.TurnID, c)
	}
	if advanced {
		r.Metrics.took(stepPublish, time.Since(begun))
		r.Metrics.published(c.summary)
		c.log(ctx, r.Logger)
	}
	return advanced, err
}

// publish has the results appear, the offers disappear, and the turn get to phase 3, all together or not at all.
// It fails with errNotOffered if the results must not be published.
func (r *Roller) publish(ctx context.Context, turnID int32, c *clearing) (advanced bool, err error) {
	results := newResults(turnID, c)
	return r.step(ctx, "publish_results", turnID, phaseOffers,
		func(ctx context.Context, tx *solverdb.Tx, _ solverdb.Turn) (bool, error) {
			begun := time.Now()
			if err := tx.IncreaseWorkMem(ctx, r.Settings.WorkMem); err != nil {
				return false, fmt.Errorf("setting work_mem: %w", err)
			}
			if err := results.write(ctx, tx); err != nil {
				return false, err
			}
			if c.failure == nil {
				if err := checkOffered(ctx, tx, turnID); err != nil {
					return false, err
				}
			}
			now := r.Now()
			err := tx.BeginPhase3(ctx, solverdb.BeginPhase3Params{TurnID: turnID, CollectionStartedAt: now})
			if err != nil {
				return false, fmt.Errorf("beginning phase 3: %w", err)
			}
			err = errors.Join(tx.DeleteCurrencies(ctx), tx.DeleteSellOffers(ctx), tx.DeleteBuyOffers(ctx),
				tx.ForgetClearingAttempts(ctx, turnID))
			if err != nil {
				return false, fmt.Errorf("deleting the offers: %w", err)
			}
			c.summary.PublishedAt, c.summary.WriteSeconds = now, time.Since(begun).Seconds()
			if err := tx.InsertTurnSummary(ctx, c.summary); err != nil {
				return false, fmt.Errorf("inserting the summary: %w", err)
			}
			return true, nil
		})
}

// checkOffered has the database compare what it is about to publish with the offers that it has.
func checkOffered(ctx context.Context, tx *solverdb.Tx, turnID int32) error {
	unoffered, err := tx.CountUnofferedChanges(ctx, turnID)
	if err != nil {
		return fmt.Errorf("comparing the results with the offers: %w", err)
	}
	if unoffered.Takings > 0 || unoffered.Givings > 0 {
		return fmt.Errorf("%w: %d takings and %d givings have not been offered",
			errNotOffered, unoffered.Takings, unoffered.Givings)
	}
	return nil
}

// Results yield the rows of the six tables. Each list is for two tables: one for the worker of either side. The rows
// come in the order of the primary key: to keep the indexes up to date is half of the work, and costs twice as much
// otherwise.
type results struct {
	turnID                    int32
	takings, givings          []solver.Change // by creditor
	collectings, dispatchings []int32         // indices of the two above, by debtor
	sendings, receivings      []solver.Transfer
}

func newResults(turnID int32, c *clearing) *results {
	r := &results{
		turnID: turnID, takings: c.takings, givings: c.givings,
		collectings: byDebtor(c.takings), dispatchings: byDebtor(c.givings),
		sendings: slices.Clone(c.transfers), receivings: slices.Clone(c.transfers),
	}
	slices.SortFunc(r.sendings, func(a, b solver.Transfer) int {
		return cmp.Or(cmp.Compare(a.Debtor, b.Debtor), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	slices.SortFunc(r.receivings, func(a, b solver.Transfer) int {
		return cmp.Or(cmp.Compare(a.Debtor, b.Debtor), cmp.Compare(a.To, b.To), cmp.Compare(a.From, b.From))
	})
	return r
}

// byDebtor returns the indices of changes in the order of debtor and creditor.
func byDebtor(changes []solver.Change) []int32 {
	order := make([]int32, len(changes))
	for i := range order {
		order[i] = int32(i) // a market has fewer than 2^30 offers
	}
	slices.SortFunc(order, func(i, j int32) int {
		a, b := &changes[i], &changes[j]
		return cmp.Or(cmp.Compare(a.Debtor, b.Debtor), cmp.Compare(a.Creditor, b.Creditor))
	})
	return order
}

// write inserts all results.
func (r *results) write(ctx context.Context, tx *solverdb.Tx) error {
	for _, write := range []func() error{
		func() error { return tx.CopyTakings(ctx, convert(slices.Values(r.takings), r.taking)) },
		func() error { return tx.CopyCollectings(ctx, convert(slices.Values(r.collectings), r.collecting)) },
		func() error { return tx.CopySendings(ctx, convert(slices.Values(r.sendings), r.sending)) },
		func() error { return tx.CopyReceivings(ctx, convert(slices.Values(r.receivings), r.receiving)) },
		func() error { return tx.CopyDispatchings(ctx, convert(slices.Values(r.dispatchings), r.dispatching)) },
		func() error { return tx.CopyGivings(ctx, convert(slices.Values(r.givings), r.giving)) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

func convert[From, To any](from iter.Seq[From], to func(From) To) iter.Seq[To] {
	return func(yield func(To) bool) {
		for value := range from {
			if !yield(to(value)) {
				return
			}
		}
	}
}

func hash[ID ~int64](id ID) int16 { return shard.KeyOf(id).Hash16() }

func (r *results) taking(c solver.Change) solverdb.CreditorTaking {
	return solverdb.CreditorTaking{
		TurnID: r.turnID, CreditorID: c.Creditor, DebtorID: c.Debtor, CreditorHash: hash(c.Creditor), Amount: c.Amount,
		CollectorID: c.Collector,
	}
}

func (r *results) giving(c solver.Change) solverdb.CreditorGiving {
	return solverdb.CreditorGiving(r.taking(c))
}

func (r *results) collecting(i int32) solverdb.CollectorCollecting {
	c := r.takings[i]
	return solverdb.CollectorCollecting{
		TurnID: r.turnID, DebtorID: c.Debtor, CreditorID: c.Creditor, Amount: c.Amount, CollectorID: c.Collector,
		CollectorHash: hash(c.Collector),
	}
}

func (r *results) dispatching(i int32) solverdb.CollectorDispatching {
	c := r.givings[i]
	return solverdb.CollectorDispatching{
		TurnID: r.turnID, DebtorID: c.Debtor, CreditorID: c.Creditor, Amount: c.Amount, CollectorID: c.Collector,
		CollectorHash: hash(c.Collector),
	}
}

func (r *results) sending(t solver.Transfer) solverdb.CollectorSending {
	return solverdb.CollectorSending{
		TurnID: r.turnID, DebtorID: t.Debtor, FromCollectorID: t.From, ToCollectorID: t.To,
		FromCollectorHash: hash(t.From), Amount: t.Amount,
	}
}

func (r *results) receiving(t solver.Transfer) solverdb.CollectorReceiving {
	return solverdb.CollectorReceiving{
		TurnID: r.turnID, DebtorID: t.Debtor, ToCollectorID: t.To, FromCollectorID: t.From,
		ToCollectorHash: hash(t.To), Amount: t.Amount,
	}
}
