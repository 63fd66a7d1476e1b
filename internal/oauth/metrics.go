package oauth

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of judging tokens, as metrics show them.
const (
	outcomeActive      = "active"
	outcomeInactive    = "inactive"
	outcomeUnavailable = "unavailable" // no sensible answer
	outcomeCached      = "cached"      // active a short while ago
)

// Metrics are about the questions to an authorization server.
type Metrics struct {
	answers  *prometheus.CounterVec
	duration prometheus.Histogram
}

// NewMetrics returns metrics that are registered.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_oauth_introspections_total",
			Help: "Tokens that had to be judged: active, inactive, unavailable (no sensible answer), " +
				"or cached (active a short while ago).",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "trade_oauth_introspection_duration_seconds",
			Help:    "How long it took to ask the authorization server about a token.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	for _, outcome := range []string{outcomeActive, outcomeInactive, outcomeUnavailable, outcomeCached} {
		m.answers.WithLabelValues(outcome)
	}
	registerer.MustRegister(m.answers, m.duration)
	return m
}

func (m *Metrics) count(outcome string) {
	if m != nil {
		m.answers.WithLabelValues(outcome).Inc()
	}
}

func (m *Metrics) observe(duration time.Duration, err error) {
	if m == nil {
		return
	}
	m.duration.Observe(duration.Seconds())
	switch {
	case err == nil:
		m.count(outcomeActive)
	case errors.Is(err, ErrInactive):
		m.count(outcomeInactive)
	default:
		m.count(outcomeUnavailable)
	}
}
