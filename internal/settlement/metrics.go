package settlement

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Collector makes metrics of what collectors still have to do, by asking the database whenever it is asked itself. It
// reads all statuses, which takes tenths of a second if there is a million.
type Collector struct {
	db     *workerdb.DB
	logger *slog.Logger
}

// NewCollector returns a collector of metrics, which the caller has to register.
func NewCollector(db *workerdb.DB, logger *slog.Logger) *Collector {
	return &Collector{db, logger}
}

const (
	// maxTurns is how many turns the metrics tell apart, the newest ones. The others count as one, which is called
	// older.
	maxTurns   = 10
	olderTurns = "older"

	// maxCounted is the number of early receipts at which counting ends. More than that are a lot, however many.
	maxCounted = 100000

	// collectTimeout bounds the time that a collection takes.
	collectTimeout = 5 * time.Second
)

var (
	outstandingTokens = prometheus.NewDesc("trade_settlement_outstanding_tokens",
		"Tokens, of all currencies, that collectors of turns under way still have to collect, send, receive, or dispatch, as "+
			"the turn was decided.", []string{"turn", "movement"}, nil)
	statuses = prometheus.NewDesc("trade_settlement_statuses",
		"Currencies of collectors in turns under way, by what they are waiting for.", []string{"turn", "step"}, nil)
	oldestStatusAge = prometheus.NewDesc("trade_settlement_oldest_status_age_seconds",
		"Age of the oldest currency of a collector in a turn under way.", nil, nil)
	earlyReceipts = prometheus.NewDesc("trade_settlement_early_receipts",
		"News of transfers that came before what they are about was known, counted up to a limit.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- outstandingTokens
	descriptions <- statuses
	descriptions <- oldestStatusAge
	descriptions <- earlyReceipts
}

// Collect implements [prometheus.Collector]. If the database does not answer, there is no value.
func (c *Collector) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	turns, early, err := c.ask(ctx)
	if err != nil {
		c.logger.WarnContext(ctx, "there are no metrics of the settlement of turns", slog.Any("error", err))
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	var age time.Duration
	for i := range turns {
		age = max(age, time.Since(turns[i].OldestAt))
	}
	gauge(oldestStatusAge, age.Seconds())
	gauge(earlyReceipts, float64(early))
	for _, turn := range bounded(turns) {
		gauge(statuses, float64(turn.Collecting), turn.name, "collecting")
		gauge(statuses, float64(turn.Sending), turn.name, "sending")
		gauge(statuses, float64(turn.Receiving), turn.name, "receiving")
		gauge(statuses, float64(turn.Dispatching), turn.name, "dispatching")
		gauge(outstandingTokens, turn.ToCollect, turn.name, "collect")
		gauge(outstandingTokens, turn.ToSend, turn.name, "send")
		gauge(outstandingTokens, turn.ToReceive, turn.name, "receive")
		gauge(outstandingTokens, turn.ToDispatch, turn.name, "dispatch")
	}
}

func (c *Collector) ask(ctx context.Context) (turns []workerdb.OutstandingByTurnRow, early int64, err error) {
	turns, err = c.db.Queries().OutstandingByTurn(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("adding up what collectors have to do: %w", err)
	}
	early, err = c.db.Queries().CountEarlyReceipts(ctx, maxCounted)
	if err != nil {
		return nil, 0, fmt.Errorf("counting early receipts: %w", err)
	}
	return turns, early, nil
}

// A namedTurn is a turn, or several, under the name that metrics give it.
type namedTurn struct {
	workerdb.OutstandingByTurnRow
	name string
}

// bounded adds up all turns but the newest. The turns come with the newest first.
func bounded(turns []workerdb.OutstandingByTurnRow) []namedTurn {
	var named []namedTurn
	for i, turn := range turns {
		if i < maxTurns {
			named = append(named, namedTurn{turn, strconv.Itoa(int(turn.TurnID))})
			continue
		}
		if i == maxTurns {
			named = append(named, namedTurn{name: olderTurns})
		}
		older := &named[maxTurns]
		older.Collecting += turn.Collecting
		older.Sending += turn.Sending
		older.Receiving += turn.Receiving
		older.Dispatching += turn.Dispatching
		older.ToCollect += turn.ToCollect
		older.ToSend += turn.ToSend
		older.ToReceive += turn.ToReceive
		older.ToDispatch += turn.ToDispatch
	}
	return named
}
