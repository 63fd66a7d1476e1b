package collector

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Reasons for which accounts are configured.
const (
	reasonPlanned  = "planned"  // a new collector needs an account
	reasonSilent   = "silent"   // it has been asked for, but nothing has been heard of it
	reasonPurged   = "purged"   // it has been removed, but is needed
	reasonUnneeded = "unneeded" // it is there, but not needed: it has to be deleted
)

// Metrics counts what becomes of collectors and their accounts.
type Metrics struct {
	collectors     *prometheus.GaugeVec
	configurations *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		collectors: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trade_collectors",
			Help: "Collectors of this shard by status, when they were looked at last: planned, requested (an account has been " +
				"asked for), active, or disabled.",
		}, []string{"status"}),
		configurations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_collector_account_configurations_total",
			Help: "ConfigureAccount messages by reason: the collector is planned, its account is silent, or purged; or the account " +
				"is unneeded, and told to go.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{reasonPlanned, reasonSilent, reasonPurged, reasonUnneeded} {
		m.configurations.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.collectors, m.configurations)
	}
	return m
}

func (m *Metrics) configured(reason string, accounts int) {
	m.configurations.WithLabelValues(reason).Add(float64(accounts))
}

func (m *Metrics) counted(counts []solverdb.CountCollectorsByStatusRow) {
	statuses := []string{statusPlanned: "planned", statusRequested: "requested", statusActive: "active", statusDisabled: "disabled"}
	for _, status := range statuses {
		m.collectors.WithLabelValues(status).Set(0)
	}
	for _, row := range counts {
		m.collectors.WithLabelValues(statuses[row.Status]).Set(float64(row.Collectors)) // the table has no other status
	}
}

// A BacklogCollector makes metrics of the tasks that wait for a [Follower], by asking the database whenever it is asked
// itself.
type BacklogCollector struct {
	db     *workerdb.DB
	logger *slog.Logger
}

// NewBacklogCollector returns a collector (of metrics), which the caller has to register.
func NewBacklogCollector(db *workerdb.DB, logger *slog.Logger) *BacklogCollector {
	return &BacklogCollector{db, logger}
}

var (
	waitingTasks = prometheus.NewDesc("trade_collector_tasks",
		"Tasks that messages have left: to plan, or to activate, collectors in the solver database.", nil, nil)
	oldestTask = prometheus.NewDesc("trade_collector_oldest_task_age_seconds",
		"Age of the oldest message that has left a task.", nil, nil)
)

// collectTimeout bounds the time that a collection takes.
const collectTimeout = 5 * time.Second

// Describe implements [prometheus.Collector].
func (c *BacklogCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- waitingTasks
	descriptions <- oldestTask
}

// Collect implements [prometheus.Collector]. If the database does not answer, there is no value.
func (c *BacklogCollector) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	now := time.Now()
	backlog, err := c.db.Queries().CollectorTaskBacklog(ctx, now)
	if err != nil {
		c.logger.WarnContext(ctx, "there are no metrics of the tasks concerning collectors", slog.Any("error", err))
		return
	}
	age := max(0, now.Sub(backlog.OldestAt).Seconds())
	values <- prometheus.MustNewConstMetric(waitingTasks, prometheus.GaugeValue, float64(backlog.Tasks))
	values <- prometheus.MustNewConstMetric(oldestTask, prometheus.GaugeValue, age)
}
