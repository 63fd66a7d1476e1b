package broker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what publishers and consumers do. Several of them may share it.
type Metrics struct {
	published, confirmed, returned, nacked prometheus.Counter
	confirmSeconds                         prometheus.Histogram

	consumed, acked, failed, retried *prometheus.CounterVec // by queue
	rejected                         *prometheus.CounterVec // by queue and reason
	batchMessages, handlingSeconds   *prometheus.HistogramVec

	reconnects *prometheus.CounterVec // by client
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return factory.NewCounter(prometheus.CounterOpts{Namespace: "trade", Subsystem: "broker", Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(
			prometheus.CounterOpts{Namespace: "trade", Subsystem: "broker", Name: name, Help: help}, labels)
	}
	return &Metrics{
		published: counter("messages_published_total", "Messages sent to the broker, repetitions included."),
		confirmed: counter("messages_confirmed_total", "Published messages that the broker has stored."),
		returned:  counter("messages_returned_total", "Published messages that no queue would have got."),
		nacked:    counter("messages_nacked_total", "Published messages that the broker could not store."),
		confirmSeconds: factory.NewHistogram(prometheus.HistogramOpts{
			Namespace: "trade", Subsystem: "broker", Name: "confirm_duration_seconds",
			Help:    "Time from the publishing of a message to its confirmation.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8), // 1 ms to 16 s
		}),

		consumed: counters("messages_consumed_total", "Messages received, redeliveries included.", "queue"),
		acked:    counters("messages_acked_total", "Messages handled and acknowledged.", "queue"),
		rejected: counters("messages_rejected_total", "Messages sent to the dead-letter queue.", "queue", "reason"),
		failed:   counters("messages_failed_total", "Failures to handle a single message.", "queue"),
		retried:  counters("messages_retried_total", "Messages handled singly, after a failure.", "queue"),
		batchMessages: factory.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "trade", Subsystem: "broker", Name: "batch_messages",
			Help:    "Messages handled at a time.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10), // 1 to 512
		}, []string{"queue"}),
		handlingSeconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "trade", Subsystem: "broker", Name: "handling_duration_seconds",
			Help:    "Time to handle a batch of messages, or a single one.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8), // 1 ms to 16 s
		}, []string{"queue"}),

		reconnects: counters("reconnects_total", "Connections made after a connection had been lost.", "client"),
	}
}

// reconnectsOf counts from now on how often clients of a kind have lost their connection.
func (m *Metrics) reconnectsOf(client string) prometheus.Counter {
	return m.reconnects.WithLabelValues(client)
}

// queueMetrics are the metrics of one queue.
type queueMetrics struct {
	consumed, acked, failed, retried, reconnects prometheus.Counter
	rejected                                     *prometheus.CounterVec // by reason
	batchMessages, handlingSeconds               prometheus.Observer
}

// ofQueue shows the metrics of a queue from now on.
func (m *Metrics) ofQueue(queue string, reasons []string) queueMetrics {
	q := queueMetrics{
		consumed:        m.consumed.WithLabelValues(queue),
		acked:           m.acked.WithLabelValues(queue),
		failed:          m.failed.WithLabelValues(queue),
		retried:         m.retried.WithLabelValues(queue),
		reconnects:      m.reconnectsOf("consumer"),
		rejected:        m.rejected.MustCurryWith(prometheus.Labels{"queue": queue}),
		batchMessages:   m.batchMessages.WithLabelValues(queue),
		handlingSeconds: m.handlingSeconds.WithLabelValues(queue),
	}
	for _, reason := range reasons {
		q.rejected.WithLabelValues(reason)
	}
	return q
}
