package sweep

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics tell how sweeps are getting on. The sweepers of a process share them.
type Metrics struct {
	deleted    *prometheus.CounterVec
	passes     *prometheus.CounterVec
	progress   *prometheus.GaugeVec
	latestPass *prometheus.GaugeVec
}

// The reasons for which rows are deleted.
const (
	reasonExpired  = "expired"
	reasonLeftOver = "parent_shard"
)

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	return &Metrics{
		deleted: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_sweep_deleted_rows_total",
			Help: "Rows that have been deleted, by table, because they had expired, or belonged to the other half of the " +
				"parent shard.",
		}, []string{"table", "reason"}),
		passes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_sweep_passes_total",
			Help: "How often the end of a table has been reached. The first pass begins anywhere.",
		}, []string{"table"}),
		progress: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trade_sweep_progress_ratio",
			Help: "How far a sweep has got with its table: 0 at the beginning of a pass, 1 at the end.",
		}, []string{"table"}),
		latestPass: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trade_sweep_latest_pass_timestamp_seconds",
			Help: "When the end of a table has been reached, or since when it is being swept, whatever came later.",
		}, []string{"table"}),
	}
}

// passed tells that a pass through a table ends, or that the first one begins. Tables that are not swept have no such
// time.
func (m *Metrics) passed(table string, now time.Time) {
	m.latestPass.WithLabelValues(table).Set(float64(now.UnixMilli()) / 1000)
}

// of shows the metrics of a table from now on.
func (m *Metrics) of(table string) tableMetrics {
	return tableMetrics{
		expired:  m.deleted.WithLabelValues(table, reasonExpired),
		leftOver: m.deleted.WithLabelValues(table, reasonLeftOver),
		passes:   m.passes.WithLabelValues(table),
		progress: m.progress.WithLabelValues(table),
	}
}

type tableMetrics struct {
	expired, leftOver, passes prometheus.Counter
	progress                  prometheus.Gauge
}

// at shows the position in a table.
func (m tableMetrics) at(page, pages int64) {
	if pages > 0 {
		m.progress.Set(float64(page) / float64(pages))
	}
}
