package fetcher

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/circular-trade/circular-trade/internal/currency"
)

// Outcomes of fetches, as metrics show them.
const (
	outcomeDocument  = "document"        // a valid document
	outcomeStatus    = "status"          // another HTTP status than 200
	outcomeInvalid   = "invalid"         // another media type, an encoding, or not a valid document
	outcomeTooLong   = "too_long"        // larger than allowed
	outcomeRedirect  = "redirect"        // to where nobody goes, or too many
	outcomeTimeout   = "timeout"         // not finished in time
	outcomeNetwork   = "network"         // names, connections, certificates
	outcomePrivate   = "private_address" // the host has no public address
	outcomeMalformed = "malformed"       // not an IRI that can be fetched; never tried again
	outcomeInternal  = "internal_error"  // a mistake in this program; never tried again
	outcomeAborted   = "aborted"         // the fetcher was asked to end
	outcomeDelayed   = "delayed"         // not started, because there was no slot for its host for a long time
	outcomeCached    = "cached"          // not started, because a stored document is fresh enough
	outcomeLeftOver  = "left_over"       // not started, because it belongs to the other half of the parent shard
)

var outcomes = []string{
	outcomeDocument, outcomeStatus, outcomeInvalid, outcomeTooLong, outcomeRedirect, outcomeTimeout, outcomeNetwork,
	outcomePrivate, outcomeMalformed, outcomeInternal, outcomeAborted, outcomeDelayed, outcomeCached, outcomeLeftOver,
}

// Metrics count what fetchers do. They are shared by all fetchers of a process.
type Metrics struct {
	fetches  *prometheus.CounterVec // by outcome
	duration prometheus.Histogram
	active   prometheus.Gauge
	results  *prometheus.CounterVec // by what has become of them
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	m := &Metrics{
		fetches: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_fetcher_fetches_total",
			Help: "Fetches of documents by outcome. Of each attempt, there is one.",
		}, []string{"outcome"}),
		duration: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "trade_fetcher_fetch_duration_seconds",
			Help:    "How long downloads took, whatever their outcome, from looking up the name to the last byte.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10), // 5 ms to 19 s
		}),
		active: factory.NewGauge(prometheus.GaugeOpts{
			Name: "trade_fetcher_active_fetches",
			Help: "Downloads that are going on. At the limit for connections, others wait.",
		}),
		results: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_fetcher_results_total",
			Help: "Results of fetches by what became of them: done; postponed, to be tried again; given up, after " +
				"too many failures; repeated, because something else was to be downloaded meanwhile; or lost, " +
				"because somebody else had taken the fetch over.",
		}, []string{"result"}),
	}
	for _, outcome := range outcomes {
		m.fetches.WithLabelValues(outcome)
	}
	m.settled(currency.Settled{}) // shows all results, with zeros
	return m
}

func (m *Metrics) count(outcome string, n int) {
	m.fetches.WithLabelValues(outcome).Add(float64(n))
}

func (m *Metrics) settled(s currency.Settled) {
	for result, n := range map[string]int{
		"done": s.Done, "postponed": s.Postponed, "given_up": s.GivenUp, "repeated": s.Repeated, "lost": s.Lost,
	} {
		m.results.WithLabelValues(result).Add(float64(n))
	}
}
