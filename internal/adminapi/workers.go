package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// reportLife is how long workers are listed that do not report any more.
const reportLife = 30 * 24 * time.Hour

func (a *API) addWorkers(api huma.API) {
	huma.Register(api, operation{
		id: "listWorkers", method: http.MethodGet, path: "/trade/workers", tag: tagMonitoring, scope: scopeRead,
		summary:     "Tell how workers are doing",
		description: "Each worker reports about itself, about once a minute. Those of swpt_trade do not.",
	}.define(), a.listWorkers)
}

// WorkersList is the list of all workers.
type WorkersList struct {
	Type    string   `json:"type" enum:"WorkersList"`
	Workers []Worker `json:"workers" nullable:"false" doc:"In the order of their routing keys."`
}

// Worker is what a worker has reported about itself.
type Worker struct {
	RoutingKey              string               `json:"routingKey" doc:"The shard."`
	Version                 string               `json:"version" doc:"Of the program."`
	ReportedAt              time.Time            `json:"reportedAt"`
	LagSeconds              float64              `json:"lagSeconds" doc:"How long ago that was."`
	TurnID                  *string              `json:"turnId,omitempty" doc:"The newest turn that the worker knows."`
	Phase                   *int16               `json:"phase,omitempty" doc:"The phase in which the worker believes the turn to be."`
	Subphase                *int16               `json:"subphase,omitempty" doc:"How far the worker has got with the phase."`
	BehindTurns             int                  `json:"behindTurns" doc:"How many turns are in a phase that the worker has not got to."`
	OutboxBacklog           map[string]int       `json:"outboxBacklog" doc:"How many messages wait to be sent, by type, at most 100000."`
	OldestOutboxAt          map[string]time.Time `json:"oldestOutboxAt" doc:"Since when the oldest of them waits, by type."`
	OverdueFetches          int32                `json:"overdueFetches"`
	OverdueTransferAttempts int32                `json:"overdueTransferAttempts"`
	UnfinishedDispatchings  int32                `json:"unfinishedDispatchings"`
}

func (a *API) listWorkers(ctx context.Context, _ *struct{}) (*body[WorkersList], error) {
	now := a.Now()
	if err := a.DB.Queries().DeleteWorkerReportsBefore(ctx, now.Add(-reportLife)); err != nil {
		return nil, a.failure(ctx, "deleting old reports of workers", err)
	}
	reports, err := a.DB.Queries().WorkerReports(ctx)
	if err != nil {
		return nil, a.failure(ctx, "reading reports of workers", err)
	}
	turns, err := a.DB.Queries().UnfinishedTurns(ctx)
	if err != nil {
		return nil, a.failure(ctx, "reading turns", err)
	}
	list := WorkersList{Type: "WorkersList", Workers: []Worker{}}
	for i := range reports {
		worker, err := newWorker(&reports[i], turns, now)
		if err != nil {
			return nil, a.failure(ctx, "reading the report of a worker", err)
		}
		list.Workers = append(list.Workers, worker)
	}
	return &body[WorkersList]{list}, nil
}

func newWorker(report *solverdb.TradeWorkerReport, unfinished []solverdb.Turn, now time.Time) (Worker, error) {
	worker := Worker{
		RoutingKey:              report.RoutingKey,
		Version:                 report.Version,
		ReportedAt:              report.ReportedAt,
		LagSeconds:              now.Sub(report.ReportedAt).Seconds(),
		Phase:                   report.Phase,
		Subphase:                report.Subphase,
		OverdueFetches:          report.OverdueFetches,
		OverdueTransferAttempts: report.OverdueTransferAttempts,
		UnfinishedDispatchings:  report.UnfinishedDispatchings,
	}
	if report.TurnID != nil {
		id := strconv.Itoa(int(*report.TurnID))
		worker.TurnID = &id
	}
	for _, turn := range unfinished {
		if !reached(report, turn) {
			worker.BehindTurns++
		}
	}
	if err := json.Unmarshal(report.OutboxBacklog, &worker.OutboxBacklog); err != nil {
		return worker, fmt.Errorf("the backlog of the worker %s: %w", report.RoutingKey, err)
	}
	if err := json.Unmarshal(report.OldestOutboxAt, &worker.OldestOutboxAt); err != nil {
		return worker, fmt.Errorf("the oldest messages of the worker %s: %w", report.RoutingKey, err)
	}
	return worker, nil
}

// reached reports whether a worker knows that a turn has got to its phase. Workers tell of their newest turn only; they
// have got to the present phases of those before it.
func reached(report *solverdb.TradeWorkerReport, turn solverdb.Turn) bool {
	if report.TurnID == nil || *report.TurnID < turn.TurnID {
		return false
	}
	return *report.TurnID > turn.TurnID || report.Phase != nil && *report.Phase >= turn.Phase
}
