package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func (a *API) addCollectors(api huma.API) {
	const activatePath = "/trade/collectors/{debtorId}/activate"
	huma.Register(api, operation{
		id: "activateCollectors", method: http.MethodPost, path: activatePath,
		tag: tagCollectors, scope: scopeActivate, isPath: isDebtorPath,
		summary: "Ensure a number of alive collector accounts",
		description: "Plans collector accounts with the debtor until there are as many as asked for that are not disabled. " +
			"If there are, nothing happens.",
		errors: []int{
			http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
			http.StatusInternalServerError,
		},
	}.define(), a.activateCollectors)
	// Had huma known of the body before, it would read it.
	api.OpenAPI().Paths[activatePath].Post.RequestBody = activationBody(api.OpenAPI().Components.Schemas)

	huma.Register(api, operation{
		id: "listCollectors", method: http.MethodGet, path: "/trade/collectors/{debtorId}",
		tag: tagMonitoring, scope: scopeRead, isPath: isDebtorPath,
		summary: "List the collector accounts with a debtor",
	}.define(), a.listCollectors)
}

func (a *API) activateCollectors(ctx context.Context, input *activation) (*struct{}, error) {
	debtor := input.id()
	if debtor == 0 {
		return nil, newError(http.StatusInternalServerError, "no currency has the debtor ID 0")
	}
	if err := a.ClaimPool(ctx); err != nil {
		return nil, a.failure(ctx, "looking which collector IDs are used", err)
	}
	added, err := collector.Ensure(ctx, a.DB, a.Pool, debtor, input.count, a.Now())
	for _, refusal := range []error{collector.ErrPoolTooSmall, collector.ErrTooMany} {
		if errors.Is(err, refusal) {
			a.Logger.ErrorContext(ctx, "there are not enough collector IDs", slog.Any("error", err))
			return nil, newError(http.StatusInternalServerError, refusal.Error())
		}
	}
	if err != nil {
		return nil, a.failure(ctx, "adding collectors", err)
	}
	if added > 0 {
		who, _ := callerOf(ctx)
		a.Logger.InfoContext(ctx, "collectors have been planned on request", slog.Any("debtor_id", debtor),
			slog.Int("added", added), slog.String("identity", who.identity), slog.String("role", string(who.role)))
	}
	return nil, nil //nolint:nilnil // huma takes it for an empty body
}

type collectorsInput struct {
	DebtorPath
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many collectors to list at most."`
	After string `query:"after" doc:"List collectors with a higher ID than this one."`

	firstID swpt.CreditorID
	none    bool // no ID is higher
}

// Resolve reads what a schema cannot describe.
func (i *collectorsInput) Resolve(huma.Context) []error {
	i.firstID = math.MinInt64
	if i.After == "" {
		return nil
	}
	after, ok := parseUnsigned(i.After)
	if !ok {
		return []error{&huma.ErrorDetail{Location: "query.after", Message: "not a collector ID"}}
	}
	i.none = after == math.MaxInt64
	i.firstID = swpt.CreditorID(after) + 1
	return nil
}

// CollectorsList is a page of the list of the collectors of a debtor.
type CollectorsList struct {
	Type       string      `json:"type" enum:"CollectorsList"`
	DebtorID   string      `json:"debtorId" doc:"Unsigned."`
	Collectors []Collector `json:"collectors" nullable:"false" doc:"In the order of their IDs."`
	Next       string      `json:"next,omitempty" doc:"What after has to be for the next page. There is none on the last one."`
}

// Collector is an account that belongs to the node itself.
type Collector struct {
	CollectorID          string    `json:"collectorId" doc:"The creditor ID of the collector, unsigned."`
	Status               int16     `json:"status" minimum:"0" maximum:"3"`
	StatusName           string    `json:"statusName" enum:"pristine,requested,active,disabled"`
	AccountID            string    `json:"accountId" doc:"Empty until the account is there."`
	LatestStatusChangeAt time.Time `json:"latestStatusChangeAt"`
}

var statusNames = [...]string{"pristine", "requested", "active", "disabled"}

func (a *API) listCollectors(ctx context.Context, input *collectorsInput) (*body[CollectorsList], error) {
	list := CollectorsList{Type: "CollectorsList", DebtorID: formatID(input.id()), Collectors: []Collector{}}
	if input.none {
		return &body[CollectorsList]{list}, nil
	}
	rows, err := a.DB.Queries().ListCollectors(ctx, solverdb.ListCollectorsParams{
		DebtorID: input.id(), FirstID: input.firstID, AtMost: int32(input.Limit) + 1, //nolint:gosec // at most 1000
	})
	if err != nil {
		return nil, a.failure(ctx, "listing collectors", err)
	}
	if len(rows) > input.Limit {
		rows = rows[:input.Limit]
		list.Next = formatID(rows[input.Limit-1].CollectorID)
	}
	for _, row := range rows {
		list.Collectors = append(list.Collectors, Collector{
			CollectorID: formatID(row.CollectorID), Status: row.Status, StatusName: statusNames[row.Status],
			AccountID: row.AccountID, LatestStatusChangeAt: row.LatestStatusChangeAt,
		})
	}
	return &body[CollectorsList]{list}, nil
}

// A body is the output of operations that answer with a JSON object.
type body[T any] struct{ Body T }
