package inbox

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// Metrics count messages. They are shared by all handlers of a process.
type Metrics struct {
	handled, failed *prometheus.CounterVec // by type
}

// NewMetrics makes the metrics and registers them, those of messages of the given types with zeros: whoever watches a
// counter that comes into being with its first failure does not see that failure. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer, types ...string) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		opts := prometheus.CounterOpts{Namespace: "trade", Subsystem: "inbox", Name: name, Help: help}
		return promauto.With(reg).NewCounterVec(opts, []string{"type"})
	}
	m := &Metrics{
		handled: counter("handled_messages_total", "Messages of which the effects have been committed."),
		failed: counter("failed_messages_total",
			"Messages that could not be handled, alone or along with others. They are tried again."),
	}
	for _, name := range types {
		m.handled.WithLabelValues(name)
		m.failed.WithLabelValues(name)
	}
	return m
}

func (m *Metrics) count(batch []smp.Message, err error) {
	counter := m.handled
	if err != nil {
		counter = m.failed
	}
	for _, message := range batch {
		counter.WithLabelValues(message.Type()).Inc()
	}
}
