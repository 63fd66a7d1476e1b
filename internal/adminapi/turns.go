package adminapi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/circular-trade/circular-trade/internal/solverdb"
)

func (a *API) addTurns(api huma.API) {
	huma.Register(api, operation{
		id: "listTurns", method: http.MethodGet, path: "/trade/turns", tag: tagMonitoring, scope: scopeRead,
		summary: "List turns, newest first",
	}.define(), a.listTurns)

	huma.Register(api, operation{
		id: "getTurn", method: http.MethodGet, path: "/trade/turns/{turnId}", tag: tagMonitoring, scope: scopeRead,
		isPath:  isTurnPath,
		summary: "Tell how a turn is going on",
		description: "A turn is in phase 3 until workers have taken all rows of creditor_taking, creditor_giving, and the " +
			"four tables whose names begin with collector. Rows that stay belong to a worker that does not run, whose routing " +
			"key begins with the bits in byPrefix.",
	}.define(), a.getTurn)
}

// TurnsList is a page of the list of all turns.
type TurnsList struct {
	Type  string `json:"type" enum:"TurnsList"`
	Turns []Turn `json:"turns" nullable:"false" doc:"Newest first."`
	Next  string `json:"next,omitempty" doc:"What before has to be for the next page. There is none on the last one."`
}

// Turn is one round of trading.
type Turn struct {
	Type                  string     `json:"type" enum:"Turn"`
	TurnID                string     `json:"turnId"`
	Phase                 int16      `json:"phase" minimum:"1" maximum:"4" doc:"In phase 4, the turn is over."`
	StartedAt             time.Time  `json:"startedAt"`
	PhaseDeadline         *time.Time `json:"phaseDeadline,omitempty"`
	CollectionStartedAt   *time.Time `json:"collectionStartedAt,omitempty" doc:"When the market was cleared."`
	CollectionDeadline    *time.Time `json:"collectionDeadline,omitempty"`
	BaseDebtorID          string     `json:"baseDebtorId" doc:"Unsigned."`
	BaseDebtorInfoLocator string     `json:"baseDebtorInfoLocator"`
	MaxDistanceToBase     int16      `json:"maxDistanceToBase"`
	MinTradeAmount        int64      `json:"minTradeAmount"`
	OverdueSeconds        float64    `json:"overdueSeconds" minimum:"0" doc:"How long ago phase 1 or 2 should have ended."`
	Pending               *Pending   `json:"pending,omitempty" doc:"Only where one turn was asked for."`
}

// Pending has the numbers of rows that are in the solver database because of a turn.
type Pending struct {
	DebtorInfo           int64                       `json:"debtor_info"`
	ConfirmedDebtor      int64                       `json:"confirmed_debtor"`
	CurrencyInfo         int64                       `json:"currency_info"`
	SellOffer            int64                       `json:"sell_offer"`
	BuyOffer             int64                       `json:"buy_offer"`
	CreditorTaking       int64                       `json:"creditor_taking"`
	CreditorGiving       int64                       `json:"creditor_giving"`
	CollectorCollecting  int64                       `json:"collector_collecting"`
	CollectorSending     int64                       `json:"collector_sending"`
	CollectorReceiving   int64                       `json:"collector_receiving"`
	CollectorDispatching int64                       `json:"collector_dispatching"`
	ByPrefix             map[string]map[string]int64 `json:"byPrefix" doc:"The last six, by the first four bits of the hash that tells which worker has to take a row. What is not there is 0."`
}

type turnsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many turns to list at most."`
	Before string `query:"before" doc:"List turns that came before this one."`

	before int64
}

// Resolve reads what a schema cannot describe.
func (i *turnsInput) Resolve(huma.Context) []error {
	i.before = math.MaxInt64
	if i.Before == "" {
		return nil
	}
	id, ok := parseTurnID(i.Before)
	if !ok {
		return []error{&huma.ErrorDetail{Location: "query.before", Message: "not the ID of a turn"}}
	}
	i.before = int64(id)
	return nil
}

func (a *API) listTurns(ctx context.Context, input *turnsInput) (*body[TurnsList], error) {
	rows, err := a.DB.Queries().ListTurns(ctx, solverdb.ListTurnsParams{
		Before: input.before, AtMost: int32(input.Limit) + 1, //nolint:gosec // at most 100
	})
	if err != nil {
		return nil, a.failure(ctx, "listing turns", err)
	}
	list := TurnsList{Type: "TurnsList", Turns: []Turn{}}
	if len(rows) > input.Limit {
		rows = rows[:input.Limit]
		list.Next = strconv.Itoa(int(rows[input.Limit-1].TurnID))
	}
	for _, row := range rows {
		list.Turns = append(list.Turns, newTurn(row, a.Now()))
	}
	return &body[TurnsList]{list}, nil
}

func (a *API) getTurn(ctx context.Context, input *TurnPath) (*body[Turn], error) {
	rows, err := a.DB.Queries().TurnsByID(ctx, []int32{input.id()})
	if err != nil {
		return nil, a.failure(ctx, "reading a turn", err)
	}
	if len(rows) == 0 {
		return nil, newError(http.StatusNotFound, "there is no such turn")
	}
	counts, err := a.DB.Queries().RowsOfTurn(ctx, input.id())
	if err != nil {
		return nil, a.failure(ctx, "counting the rows of a turn", err)
	}
	turn := newTurn(rows[0], a.Now())
	turn.Pending = newPending(counts)
	return &body[Turn]{turn}, nil
}

func newTurn(row solverdb.Turn, now time.Time) Turn {
	turn := Turn{
		Type:                  "Turn",
		TurnID:                strconv.Itoa(int(row.TurnID)),
		Phase:                 row.Phase,
		StartedAt:             row.StartedAt,
		PhaseDeadline:         row.PhaseDeadline,
		CollectionStartedAt:   row.CollectionStartedAt,
		CollectionDeadline:    row.CollectionDeadline,
		BaseDebtorID:          formatID(row.BaseDebtorID),
		BaseDebtorInfoLocator: row.BaseDebtorInfoLocator,
		MaxDistanceToBase:     row.MaxDistanceToBase,
		MinTradeAmount:        row.MinTradeAmount,
	}
	if row.Phase <= 2 && row.PhaseDeadline != nil {
		turn.OverdueSeconds = max(0, now.Sub(*row.PhaseDeadline).Seconds())
	}
	return turn
}

func newPending(counts []solverdb.RowsOfTurnRow) *Pending {
	p := &Pending{ByPrefix: map[string]map[string]int64{}}
	plain := map[string]*int64{
		"debtor_info":      &p.DebtorInfo,
		"confirmed_debtor": &p.ConfirmedDebtor,
		"currency_info":    &p.CurrencyInfo,
		"sell_offer":       &p.SellOffer,
		"buy_offer":        &p.BuyOffer,
	}
	sharded := map[string]*int64{
		"creditor_taking":       &p.CreditorTaking,
		"creditor_giving":       &p.CreditorGiving,
		"collector_collecting":  &p.CollectorCollecting,
		"collector_sending":     &p.CollectorSending,
		"collector_receiving":   &p.CollectorReceiving,
		"collector_dispatching": &p.CollectorDispatching,
	}
	for table := range sharded {
		p.ByPrefix[table] = map[string]int64{}
	}
	for _, count := range counts {
		if total, found := plain[count.TableName]; found {
			*total = count.N
		} else {
			*sharded[count.TableName] += count.N
			p.ByPrefix[count.TableName][fmt.Sprintf("%04b", count.Prefix)] = count.N
		}
	}
	return p
}
