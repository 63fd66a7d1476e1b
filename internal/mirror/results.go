package mirror

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A share is what this worker copies of the solver's results. The parameters of its query are the turn's ID, the mask
// and the prefix of our hashes, and, where the rows have such a thing, an instant.
//
// Of an amount of 1, nothing is left when interest and the cut have been deducted, so it is not paid out. Nor does a
// collector transfer to itself. But what is taken is always copied, because there is a lock to be settled.
type share struct {
	postgres.Copy
	instant func(*work) time.Time
}

var shares = []share{
	{
		// No account has both a taking and a giving, if the solver is right. If not, the lock knows of one of them, and
		// should be settled.
		postgres.Copy{
			Query: `
				SELECT creditor_id, debtor_id, turn_id, -amount, collector_id
				FROM creditor_taking
				WHERE turn_id = $1 AND creditor_hash & $2::SMALLINT = $3::SMALLINT
				UNION ALL
				SELECT creditor_id, debtor_id, turn_id, amount, collector_id
				FROM creditor_giving AS giving
				WHERE
					turn_id = $1 AND creditor_hash & $2::SMALLINT = $3::SMALLINT AND amount > 1
					AND NOT EXISTS (
						SELECT
						FROM creditor_taking AS taking
						WHERE
							taking.turn_id = $1
							AND taking.creditor_id = giving.creditor_id
							AND taking.debtor_id = giving.debtor_id
					)`,
			Table:   "creditor_participation",
			Columns: []string{"creditor_id", "debtor_id", "turn_id", "amount", "collector_id"},
		},
		nil,
	},
	{
		postgres.Copy{
			Query: `
				SELECT collector_id, turn_id, debtor_id, creditor_id, amount, $4::TIMESTAMPTZ
				FROM collector_collecting
				WHERE
					turn_id = $1 AND collector_hash & $2::SMALLINT = $3::SMALLINT
					AND creditor_id <> collector_id`,
			Table:   "worker_collecting",
			Columns: []string{"collector_id", "turn_id", "debtor_id", "creditor_id", "amount", "purge_after"},
		},
		func(w *work) time.Time { return w.purgeAfter(w.Settings.CollectingSlack) },
	},
	{
		postgres.Copy{
			Query: `
				SELECT from_collector_id, turn_id, debtor_id, to_collector_id, amount, $4::TIMESTAMPTZ
				FROM collector_sending
				WHERE turn_id = $1 AND from_collector_hash & $2::SMALLINT = $3::SMALLINT AND amount > 1`,
			Table:   "worker_sending",
			Columns: []string{"from_collector_id", "turn_id", "debtor_id", "to_collector_id", "amount", "purge_after"},
		},
		func(w *work) time.Time { return w.purgeAfter(w.Settings.SendingSlack) },
	},
	{
		postgres.Copy{
			Query: `
				SELECT to_collector_id, turn_id, debtor_id, from_collector_id, amount, $4::TIMESTAMPTZ
				FROM collector_receiving
				WHERE turn_id = $1 AND to_collector_hash & $2::SMALLINT = $3::SMALLINT AND amount > 1`,
			Table:   "worker_receiving",
			Columns: []string{"to_collector_id", "turn_id", "debtor_id", "from_collector_id", "expected_amount", "purge_after"},
		},
		func(w *work) time.Time { return w.purgeAfter(w.Settings.SendingSlack) },
	},
	{
		postgres.Copy{
			Query: `
				SELECT collector_id, turn_id, debtor_id, creditor_id, amount, $4::TIMESTAMPTZ
				FROM collector_dispatching
				WHERE
					turn_id = $1 AND collector_hash & $2::SMALLINT = $3::SMALLINT
					AND amount > 1 AND creditor_id <> collector_id`,
			Table:   "worker_dispatching",
			Columns: []string{"collector_id", "turn_id", "debtor_id", "creditor_id", "amount", "purge_after"},
		},
		func(w *work) time.Time { return w.purgeAfter(w.Settings.DispatchingSlack) },
	},
	{
		// One status for each collector and currency of which something has been copied above. All amounts are positive,
		// so limiting the sum is the same as limiting it at each addition.
		postgres.Copy{
			Query: `
				SELECT
					collector_id, $1, debtor_id, $4::TIMESTAMPTZ,
					least(coalesce(sum(amount) FILTER (WHERE kind = 'collecting' AND is_copied), 0), 9223372036854775807)::BIGINT,
					least(coalesce(sum(amount) FILTER (WHERE kind = 'collecting' AND NOT is_copied), 0), 9223372036854775807)::BIGINT,
					least(coalesce(sum(amount) FILTER (WHERE kind = 'sending' AND is_copied), 0), 9223372036854775807)::BIGINT,
					least(coalesce(sum(amount) FILTER (WHERE kind = 'receiving'), 0), 9223372036854775807)::BIGINT,
					(count(*) FILTER (WHERE kind = 'receiving' AND is_copied))::INTEGER,
					least(coalesce(sum(amount) FILTER (WHERE kind = 'dispatching' AND is_copied), 0), 9223372036854775807)::BIGINT
				FROM (
					SELECT 'collecting' AS kind, collector_id, debtor_id, amount, creditor_id <> collector_id AS is_copied
					FROM collector_collecting
					WHERE turn_id = $1 AND collector_hash & $2::SMALLINT = $3::SMALLINT
					UNION ALL
					SELECT 'sending', from_collector_id, debtor_id, amount, amount > 1
					FROM collector_sending
					WHERE turn_id = $1 AND from_collector_hash & $2::SMALLINT = $3::SMALLINT
					UNION ALL
					SELECT 'receiving', to_collector_id, debtor_id, amount, amount > 1
					FROM collector_receiving
					WHERE turn_id = $1 AND to_collector_hash & $2::SMALLINT = $3::SMALLINT
					UNION ALL
					SELECT 'dispatching', collector_id, debtor_id, amount, amount > 1 AND creditor_id <> collector_id
					FROM collector_dispatching
					WHERE turn_id = $1 AND collector_hash & $2::SMALLINT = $3::SMALLINT
				) AS ours
				GROUP BY collector_id, debtor_id
				HAVING bool_or(is_copied)`,
			Table: "dispatching_status",
			Columns: []string{
				"collector_id", "turn_id", "debtor_id", "inserted_at",
				"amount_to_collect", "amount_own_sold", "amount_to_send", "amount_to_receive", "number_to_receive",
				"amount_to_dispatch",
			},
		},
		func(w *work) time.Time { return w.now },
	},
}

// purgeAfter returns from when on records of the turn's transfers need not be kept. A turn has its collection deadline
// since phase 2.
func (w *work) purgeAfter(slack time.Duration) time.Time {
	return w.turn.CollectionDeadline.Add(slack)
}

// copyResults is the first step of phase 3: what the solver has decided about our creditors and our collectors becomes
// work to be done, and all account locks of the turn are to be revised. The solver database is only read, all of it as
// it is at one moment.
func (w *work) copyResults(ctx context.Context) error {
	// This is not repeated on its own when it fails: what it has written would be written again.
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, w.Solver.Pool(), snapshot, func(from pgx.Tx) error {
		realm := w.Settings.Realm
		for _, s := range shares {
			args := []any{w.turn.TurnID, realm.HashMask(), realm.HashPrefix()}
			if s.instant != nil {
				args = append(args, s.instant(w))
			}
			count, err := s.Run(ctx, from, w.tx, args...)
			if err != nil {
				return err
			}
			w.rows[s.Table] = count
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("copying the results of the turn: %w", err)
	}
	if err := w.analyze(ctx); err != nil {
		return err
	}
	w.tx.NotifyOnCommit(workerdb.TopicSettlement)
	return w.reviseLocks(ctx)
}

// analyze has the server count what has been copied. It would do so by itself, a minute later or two. Until then, the
// statements of other connections that have been planned when the tables were empty would read these from end to end,
// for each batch of messages: 100 ms instead of 0.05 ms with 300,000 rows.
func (w *work) analyze(ctx context.Context) error {
	for _, s := range shares {
		if _, err := w.tx.Exec(ctx, "ANALYZE "+s.Table); err != nil {
			return fmt.Errorf("analyzing %s: %w", s.Table, err)
		}
	}
	return nil
}

// A lockKey tells which account is locked.
type lockKey struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID
}

func scanLockKey(row pgx.CollectableRow, key *lockKey) error {
	return row.Scan(&key.creditor, &key.debtor)
}

// reviseLocks has all account locks of the turn revised, whatever their state is. The messages will be handled after
// this step has been committed, so the handler finds the participations.
func (w *work) reviseLocks(ctx context.Context) error {
	const query = `SELECT creditor_id, debtor_id FROM account_lock WHERE turn_id = $1`
	for keys, err := range postgres.Portions(ctx, w.tx, readAtOnce, scanLockKey, query, w.turn.TurnID) {
		if err != nil {
			return fmt.Errorf("reading the account locks of the turn: %w", err)
		}
		count, err := outbox.AppendAll(ctx, w.tx, func(yield func(smp.Outgoing, error) bool) {
			var revision smp.ReviseAccountLock
			for _, key := range keys {
				if !w.Settings.Realm.Match(shard.KeyOf(key.creditor)) {
					continue
				}
				revision = smp.ReviseAccountLock{
					CreditorID: key.creditor, DebtorID: key.debtor, TurnID: w.turn.TurnID, TS: w.now,
				}
				if !yield(&revision, nil) {
					return
				}
			}
		})
		if err != nil {
			return err
		}
		w.rows[smp.TypeReviseAccountLock] += count
	}
	return nil
}

// cleanUp is the last step of phase 3: it takes our share of the results away, also what has not been copied. When all
// workers have done so, the solver finishes the turn.
func (w *work) cleanUp(ctx context.Context) error {
	err := w.Solver.InTx(ctx, "take_results_away", func(ctx context.Context, solver *solverdb.Tx) error {
		for _, result := range solverdb.Results {
			count, err := solver.DeleteShare(ctx, result, w.turn.TurnID, w.Settings.Realm)
			if err != nil {
				return err
			}
			w.rows[result.Table] = count
		}
		return postgres.Notify(ctx, solver, solverdb.TopicResults)
	})
	if err != nil {
		return fmt.Errorf("taking the results of the turn away: %w", err)
	}
	return nil
}
