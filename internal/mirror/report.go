package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	// reportLife is how long a report is kept of a worker that does not report any more.
	reportLife = 30 * 24 * time.Hour

	undefinedTable = "42P01" // the SQLSTATE
)

// report tells operators, by way of a table in the solver database, how this worker is doing. That it cannot do so is
// no reason not to roll turns.
func (r *Roller) report(ctx context.Context) {
	err := r.storeReport(ctx)
	failure, _ := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		r.reportsRefused = false
	case failure != nil && failure.Code == undefinedTable:
		if !r.reportsRefused {
			r.Logger.WarnContext(ctx, `there is no table for reports in the solver database: run "trade configure solver"`)
		}
		r.reportsRefused = true
	case ctx.Err() == nil:
		r.Logger.WarnContext(ctx, "cannot report how this worker is doing", slog.Any("error", err))
	}
}

func (r *Roller) storeReport(ctx context.Context) error {
	report, err := r.makeReport(ctx)
	if err != nil {
		return fmt.Errorf("making a report: %w", err)
	}
	return r.Solver.InTx(ctx, "report", func(ctx context.Context, tx *solverdb.Tx) error {
		if err := tx.StoreWorkerReport(ctx, report); err != nil {
			return fmt.Errorf("storing a report: %w", err)
		}
		return tx.DeleteWorkerReportsBefore(ctx, report.ReportedAt.Add(-reportLife))
	})
}

func (r *Roller) makeReport(ctx context.Context) (solverdb.StoreWorkerReportParams, error) {
	report := solverdb.StoreWorkerReportParams{
		RoutingKey: r.Settings.Realm.String(),
		Version:    r.Settings.Version,
		ReportedAt: r.now(),
	}
	turns, err := r.Worker.Queries().NewestMirroredTurn(ctx)
	if err != nil {
		return report, err
	}
	for _, newest := range turns { // one, or none
		r.Metrics.at(newest)
		report.TurnID, report.Phase, report.Subphase = &newest.TurnID, &newest.Phase, &newest.Subphase
	}
	counts, err := r.Worker.Queries().CountUnfinishedWork(ctx,
		workerdb.CountUnfinishedWorkParams{Now: report.ReportedAt, AtMost: outbox.MaxCounted})
	if err != nil {
		return report, err
	}
	report.OverdueFetches = counts.Fetches
	report.OverdueTransferAttempts = counts.TransferAttempts
	report.UnfinishedDispatchings = counts.Dispatchings
	report.OutboxBacklog, report.OldestOutboxAt, err = r.outbox(ctx)
	return report, err
}

// outbox returns, in JSON, how many messages of each type are in the outbox, and since when the oldest of them is.
func (r *Roller) outbox(ctx context.Context) (counts, oldest []byte, err error) {
	backlogs, err := outbox.Backlogs(ctx, r.Worker)
	if err != nil {
		return nil, nil, err
	}
	countOf, oldestOf := map[string]int{}, map[string]time.Time{}
	for _, backlog := range backlogs {
		countOf[backlog.Type] = min(countOf[backlog.Type]+backlog.Records, outbox.MaxCounted)
		if oldest, known := oldestOf[backlog.Type]; !known || backlog.OldestAt.Before(oldest) {
			oldestOf[backlog.Type] = backlog.OldestAt
		}
	}
	counts, err = json.Marshal(countOf)
	if err != nil {
		return nil, nil, err
	}
	oldest, err = json.Marshal(oldestOf)
	return counts, oldest, err
}
