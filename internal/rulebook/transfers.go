package rulebook

import (
	"context"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// coordinatorType is that of the transfers that workers make.
const coordinatorType = "agent"

// movements are tokens that have moved, sorted by what that means to this worker.
type movements struct {
	paid, bought                          []lock.Payment        // by sellers, by buyers
	collected, sent, received, dispatched []settlement.Transfer // by collectors
}

// handleAccountTransfers tells of tokens that have moved those who have waited for it: the lock of the account, if it is
// that of a seller or a buyer; and what a collector has to do, if it is that of a collector. Transfers that have nothing
// to do with trades change nothing.
func (b *book) handleAccountTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.AccountTransfer,
) error {
	var m movements
	for _, transfer := range batch {
		if transfer.CoordinatorType != coordinatorType {
			continue
		}
		note, err := transfer.TradeNote()
		if err != nil {
			b.logger.WarnContext(ctx, "tokens have moved for a reason that is not clear; this changes nothing",
				slog.Int64("creditor_id", int64(transfer.CreditorID)), slog.Int64("debtor_id", int64(transfer.DebtorID)),
				slog.Int64("amount", transfer.AcquiredAmount), slog.Any("reason", err))
			continue
		}
		m.add(transfer, note)
	}
	return m.apply(ctx, tx, now, b.locks)
}

// add sorts a transfer. The sign of its amount tells which side of it this is.
func (m *movements) add(transfer *smp.AccountTransfer, note smp.Note) {
	payment := lock.Payment{Transfer: transfer, Note: note}
	record := settlement.Record{
		CollectorID: note.First, TurnID: note.TurnID, DebtorID: transfer.DebtorID, OtherID: note.Second,
	}
	incoming := transfer.AcquiredAmount > 0
	switch {
	case note.Kind == smp.Collecting && incoming:
		m.collected = append(m.collected, settlement.Transfer{Record: record, Amount: transfer.AcquiredAmount})
	case note.Kind == smp.Collecting:
		m.paid = append(m.paid, payment)
	case note.Kind == smp.Sending && incoming:
		record.CollectorID, record.OtherID = note.Second, note.First
		m.received = append(m.received, settlement.Transfer{Record: record, Amount: transfer.AcquiredAmount})
	case note.Kind == smp.Sending:
		m.sent = append(m.sent, settlement.Transfer{Record: record})
	case note.Kind == smp.Dispatching && incoming:
		m.bought = append(m.bought, payment)
	case note.Kind == smp.Dispatching:
		m.dispatched = append(m.dispatched, settlement.Transfer{Record: record})
	}
}

func (m *movements) apply(ctx context.Context, tx *workerdb.Tx, now time.Time, locks *lock.Rules) error {
	for _, payments := range []struct {
		list  []lock.Payment
		apply func(context.Context, *workerdb.Tx, time.Time, []lock.Payment) error
	}{
		{m.paid, locks.ReleaseSellers},
		{m.bought, locks.ReleaseBuyers},
	} {
		if len(payments.list) > 0 {
			if err := payments.apply(ctx, tx, now, payments.list); err != nil {
				return err
			}
		}
	}
	for _, transfers := range []struct {
		list  []settlement.Transfer
		apply func(context.Context, *workerdb.Tx, time.Time, []settlement.Transfer) error
	}{
		{m.collected, settlement.HandleCollected},
		{m.sent, settlement.HandleSent},
		{m.received, settlement.HandleReceived},
		{m.dispatched, settlement.HandleDispatched},
	} {
		if len(transfers.list) > 0 {
			if err := transfers.apply(ctx, tx, now, transfers.list); err != nil {
				return err
			}
		}
	}
	return nil
}
