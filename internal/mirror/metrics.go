package mirror

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Metrics tell how a [Roller] is doing.
type Metrics struct {
	turn, phase, subphase prometheus.Gauge
	seconds               *prometheus.HistogramVec // by step
	rows                  *prometheus.CounterVec   // by table, or type of messages
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return factory.NewGauge(prometheus.GaugeOpts{Namespace: "trade", Subsystem: "worker_turn", Name: name, Help: help})
	}
	m := &Metrics{
		turn:     gauge("id", "The newest turn that this worker knows; 0 if there is none."),
		phase:    gauge("phase", "The phase of the newest turn, as far as this worker has followed it: 1 to 3."),
		subphase: gauge("subphase", "What this worker has done of that phase: 0 nothing, 5 the first step, 10 everything."),
		seconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "trade", Subsystem: "worker_turn", Name: "step_duration_seconds",
			Help:    "How long the steps of turns took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 9), // 10 ms to 11 min
		}, []string{"step"}),
		rows: factory.NewCounterVec(prometheus.CounterOpts{
			Namespace: "trade", Subsystem: "worker_turn", Name: "rows_total",
			Help: "Rows that the steps of turns have inserted, or, of the solver's results, deleted, by table; and messages " +
				"that they have appended to the outbox, by type.",
		}, []string{"table"}),
	}
	for _, s := range steps {
		m.seconds.WithLabelValues(s.name)
	}
	return m
}

// done counts a step that has been committed.
func (m *Metrics) done(step string, took time.Duration, rows map[string]int64) {
	m.seconds.WithLabelValues(step).Observe(took.Seconds())
	for table, count := range rows {
		m.rows.WithLabelValues(table).Add(float64(count))
	}
}

// at tells of the newest turn.
func (m *Metrics) at(turn workerdb.NewestMirroredTurnRow) {
	m.turn.Set(float64(turn.TurnID))
	m.phase.Set(float64(turn.Phase))
	m.subphase.Set(float64(turn.Subphase))
}
