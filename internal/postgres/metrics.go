package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what can be observed of a [DB].
type metrics struct {
	duration *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	pool     []prometheus.Collector
}

func newMetrics(pool *pgxpool.Pool) *metrics {
	gauge := func(name, help string, value func(*pgxpool.Stat) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			return value(pool.Stat())
		})
	}
	counter := func(name, help string, value func(*pgxpool.Stat) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 {
			return value(pool.Stat())
		})
	}
	return &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "trade_database_transaction_duration_seconds",
			Help:    "How long transactions took, repetitions and pauses included, by what they do and how they ended.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9), // 1 ms to 65 s
		}, []string{"transaction", "outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_database_transaction_retries_total",
			Help: "Repetitions of transactions that had lost a race against others, by what they do and how they lost.",
		}, []string{"transaction", "cause"}),
		pool: []prometheus.Collector{
			gauge("trade_database_connections", "Open connections, those that are being made included.",
				func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) }),
			gauge("trade_database_busy_connections", "Connections that somebody is using.",
				func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) }),
			counter("trade_database_connection_waits_total", "How often somebody had to wait for a connection.",
				func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) }),
			counter("trade_database_connection_wait_seconds_total", "How long everybody has waited for connections.",
				func(s *pgxpool.Stat) float64 { return s.EmptyAcquireWaitTime().Seconds() }),
		},
	}
}

// finished counts a transaction that has been committed, or has failed with err. What else may happen to transactions of
// this name is shown from now on.
func (m *metrics) finished(name string, err error, took time.Duration) {
	committed, failed := m.duration.WithLabelValues(name, "committed"), m.duration.WithLabelValues(name, "failed")
	if err != nil {
		failed.Observe(took.Seconds())
	} else {
		committed.Observe(took.Seconds())
	}
	for _, cause := range lostRaces {
		m.retries.WithLabelValues(name, cause)
	}
}

// repeated counts a repetition.
func (m *metrics) repeated(name, cause string) {
	m.retries.WithLabelValues(name, cause).Inc()
}

func (m *metrics) collectors() []prometheus.Collector {
	return append([]prometheus.Collector{m.duration, m.retries}, m.pool...)
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, collector := range m.collectors() {
		collector.Describe(descriptions)
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	for _, collector := range m.collectors() {
		collector.Collect(values)
	}
}
