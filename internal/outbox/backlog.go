package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// MaxCounted is how far messages are counted: of more than that, the exact number does not matter.
const MaxCounted = 100000

// A Backlog is what waits in the outbox of the messages of one type: those to be sent at once, or those that the broker
// has returned.
type Backlog struct {
	Type     string
	Returned bool      // by the broker, and to be sent again after a pause
	Records  int       // at most MaxCounted
	OldestAt time.Time // when the oldest message was appended, as far as they were counted
}

// Backlogs returns the backlogs in which there are messages.
func Backlogs(ctx context.Context, db *workerdb.DB) ([]Backlog, error) {
	var backlogs []Backlog
	err := db.InReadCommittedTx(ctx, "count_outbox", func(ctx context.Context, tx *workerdb.Tx) error {
		if err := tx.ReadOutboxByIndex(ctx); err != nil {
			return err
		}
		rows, err := tx.OutboxBacklog(ctx, workerdb.OutboxBacklogParams{Types: Types(), AtMost: MaxCounted})
		backlogs = make([]Backlog, len(rows))
		for i, row := range rows {
			backlogs[i] = Backlog{row.Type, row.Returned, int(row.Records), row.OldestAt}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting the messages in the outbox: %w", err)
	}
	return backlogs, nil
}

// Metrics counts what flushers do. Several of them may share it.
type Metrics struct {
	records *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{records: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trade_outbox_flushed_records_total",
		Help: "Messages from the outbox by what became of them: confirmed by the broker and deleted, returned by the broker " +
			"and kept, or deleted unsent because they were left over from the parent shard.",
	}, []string{"type", "outcome"})}
	if reg != nil {
		reg.MustRegister(m.records)
	}
	return m
}

// What has become of messages, as metrics show it.
const (
	outcomeConfirmed = "confirmed"
	outcomeReturned  = "returned"
	outcomeLeftOver  = "left_over"
)

// show shows the metrics of messages of a type from now on.
func (m *Metrics) show(messageType string) {
	for _, outcome := range []string{outcomeConfirmed, outcomeReturned, outcomeLeftOver} {
		m.records.WithLabelValues(messageType, outcome)
	}
}

func (m *Metrics) flushed(b *burst) {
	for outcome, count := range map[string]int{
		outcomeConfirmed: len(b.confirmed), outcomeReturned: len(b.returned), outcomeLeftOver: len(b.leftOver),
	} {
		m.records.WithLabelValues(b.kind.Type, outcome).Add(float64(count))
	}
}

// A BacklogCollector makes metrics of the backlogs, by asking the database whenever it is asked itself.
type BacklogCollector struct {
	db     *workerdb.DB
	logger *slog.Logger
}

// NewBacklogCollector returns a collector, which the caller has to register.
func NewBacklogCollector(db *workerdb.DB, logger *slog.Logger) *BacklogCollector {
	return &BacklogCollector{db, logger}
}

var (
	backlogRecords = prometheus.NewDesc("trade_outbox_records",
		"Messages in the outbox, counted up to a limit: those to be sent at once, and those returned by the broker.",
		[]string{"type", "state"}, nil)
	backlogAge = prometheus.NewDesc("trade_outbox_oldest_record_age_seconds",
		"Age of the oldest message in the outbox: of those to be sent at once, and of those returned by the broker.",
		[]string{"type", "state"}, nil)
)

// collectTimeout bounds the time that a collection takes.
const collectTimeout = 5 * time.Second

// Describe implements [prometheus.Collector].
func (c *BacklogCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- backlogRecords
	descriptions <- backlogAge
}

// Collect implements [prometheus.Collector]. If the database does not answer, there is no value.
func (c *BacklogCollector) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	backlogs, err := Backlogs(ctx, c.db)
	if err != nil {
		c.logger.WarnContext(ctx, "there are no metrics of the outbox", slog.Any("error", err))
		return
	}
	states := map[bool]string{false: "pending", true: "returned"}
	type key struct{ messageType, state string }
	found := map[key]Backlog{}
	for _, backlog := range backlogs {
		found[key{backlog.Type, states[backlog.Returned]}] = backlog
	}
	for _, name := range Types() {
		for _, state := range states {
			backlog, age := found[key{name, state}], 0.0
			if !backlog.OldestAt.IsZero() {
				age = max(0, time.Since(backlog.OldestAt).Seconds())
			}
			values <- prometheus.MustNewConstMetric(backlogRecords, prometheus.GaugeValue, float64(backlog.Records), name, state)
			values <- prometheus.MustNewConstMetric(backlogAge, prometheus.GaugeValue, age, name, state)
		}
	}
}
