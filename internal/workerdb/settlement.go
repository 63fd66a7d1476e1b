package workerdb

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Statuses are keys of dispatching statuses, one for each place in the slices.
type Statuses struct {
	CollectorIDs []int64
	TurnIDs      []int32
	DebtorIDs    []int64
}

// A DueTransfer is a sending or a dispatching that a collector is about to make.
type DueTransfer struct {
	Status     int             // the place of its status among those that were asked for
	CreditorID swpt.CreditorID // who is going to get the tokens
	Amount     int64
}

// EachSending calls do with the sendings of statuses, a portion of at most so many at a time. They are those that were
// there at the first call. The slice is used again for the next portion. Within do, the transaction can be used for
// anything but this.
func (tx *Tx) EachSending(ctx context.Context, statuses Statuses, portion int, do func([]DueTransfer) error) error {
	const sendings = `
		SELECT status.place, record.to_collector_id, record.amount
		FROM unnest($1::bigint[], $2::integer[], $3::bigint[])
			WITH ORDINALITY AS status (collector_id, turn_id, debtor_id, place)
		INNER JOIN worker_sending AS record
			ON record.from_collector_id = status.collector_id
			AND record.turn_id = status.turn_id
			AND record.debtor_id = status.debtor_id`
	return tx.eachDue(ctx, sendings, statuses, portion, do)
}

// EachDispatching does with dispatchings what [Tx.EachSending] does with sendings.
func (tx *Tx) EachDispatching(ctx context.Context, statuses Statuses, portion int, do func([]DueTransfer) error) error {
	const dispatchings = `
		SELECT status.place, record.creditor_id, record.amount
		FROM unnest($1::bigint[], $2::integer[], $3::bigint[])
			WITH ORDINALITY AS status (collector_id, turn_id, debtor_id, place)
		INNER JOIN worker_dispatching AS record
			ON record.collector_id = status.collector_id
			AND record.turn_id = status.turn_id
			AND record.debtor_id = status.debtor_id`
	return tx.eachDue(ctx, dispatchings, statuses, portion, do)
}

// eachDue reads the result of a query through a cursor, so that neither side has to hold all of it.
func (tx *Tx) eachDue(
	ctx context.Context, query string, statuses Statuses, portion int, do func([]DueTransfer) error,
) error {
	const name = "due_transfers"
	declare := `DECLARE ` + name + ` NO SCROLL CURSOR FOR ` + query
	if _, err := tx.Exec(ctx, declare, statuses.CollectorIDs, statuses.TurnIDs, statuses.DebtorIDs); err != nil {
		return fmt.Errorf("opening a cursor: %w", err)
	}
	fetch := fmt.Sprintf(`FETCH FORWARD %d FROM %s`, portion, name)
	var due []DueTransfer
	for {
		rows, err := tx.Query(ctx, fetch)
		if err != nil {
			return fmt.Errorf("fetching from a cursor: %w", err)
		}
		due, err = pgx.AppendRows(due[:0], rows, func(row pgx.CollectableRow) (d DueTransfer, err error) {
			err = row.Scan(&d.Status, &d.CreditorID, &d.Amount)
			d.Status-- // counted from 1
			return d, err
		})
		if err != nil {
			return fmt.Errorf("fetching from a cursor: %w", err)
		}
		if len(due) > 0 {
			if err := do(due); err != nil {
				return err
			}
		}
		if len(due) < portion {
			break
		}
	}
	if _, err := tx.Exec(ctx, `CLOSE `+name); err != nil {
		return fmt.Errorf("closing a cursor: %w", err)
	}
	return nil
}
