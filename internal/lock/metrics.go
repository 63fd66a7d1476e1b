package lock

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count what happens to locks, once it has been committed. They are shared by all rules of a process.
type Metrics struct {
	events, dropped, anomalies *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		opts := prometheus.CounterOpts{Namespace: "trade", Subsystem: "lock", Name: name, Help: help}
		return promauto.With(reg).NewCounterVec(opts, []string{label})
	}
	m := &Metrics{
		events: counter("events_total",
			"What has happened to account locks. A lock is initiated, mostly prepared, then settled (a seller) or kept (a "+
				"buyer), and released; or it is deleted for the reason that the event names.", "event"),
		dropped: counter("dropped_offers_total", "Candidate offers that have led to no account lock.", "reason"),
		anomalies: counter("anomalies_total",
			"Contradictions between account locks and what other nodes, or the solver, say of them. Each is also logged.",
			"anomaly"),
	}
	for _, e := range events {
		m.events.WithLabelValues(string(e))
	}
	for _, r := range dropReasons {
		m.dropped.WithLabelValues(string(r))
	}
	for _, k := range anomalyKinds {
		m.anomalies.WithLabelValues(string(k))
	}
	return m
}

func (m *Metrics) happened(e event, count int) {
	m.events.WithLabelValues(string(e)).Add(float64(count))
}

func (m *Metrics) droppedOffers(counts map[dropReason]int) {
	for reason, count := range counts {
		m.dropped.WithLabelValues(string(reason)).Add(float64(count))
	}
}
