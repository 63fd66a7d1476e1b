package turn

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// Metrics is what can be observed of a [Roller].
type Metrics struct {
	started        prometheus.Counter
	withoutResults prometheus.Counter
	durations      *prometheus.HistogramVec
	offeredValue   prometheus.Counter
	clearedValue   prometheus.Counter

	mu    sync.Mutex
	phase int16
	due   time.Time // when the phase should have ended; zero if there is no turn
}

// Steps of turns, as metrics show them.
const (
	stepAgree    = "agree"
	stepRead     = "read"
	stepClear    = "clear"
	stepPublish  = "publish"
	stepHandOver = "hand_over"
)

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer, now func() time.Time) *Metrics {
	m := &Metrics{
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trade_turns_started_total",
			Help: "Turns that this process has started.",
		}),
		withoutResults: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trade_turns_without_results_total",
			Help: "Turns that had to go on without results, because the market could not be cleared. The log tells why.",
		}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "trade_turn_step_duration_seconds",
			Help: "How long the steps of turns took: agree on the currencies, read the market, clear it, publish the results, " +
				"and the hand-over of the results to the workers.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10), // 10 ms to 44 min
		}, []string{"step"}),
		offeredValue: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trade_turn_offered_value_total",
			Help: "Value of all that could have been sold, in tokens of the base currency.",
		}),
		clearedValue: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trade_turn_cleared_value_total",
			Help: "Value of all that was sold, in tokens of the base currency.",
		}),
	}
	for _, step := range []string{stepAgree, stepRead, stepClear, stepPublish, stepHandOver} {
		m.durations.WithLabelValues(step)
	}
	phase := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trade_turn_phase",
		Help: "Phase of the unfinished turn, 1 to 3; 0 if there is none.",
	}, func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		return float64(m.phase)
	})
	overdue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trade_turn_overdue_seconds",
		Help: "How long ago the present phase of the unfinished turn should have ended. Phase 3 should end as soon as it " +
			"has begun: with the hand-over of the results to the workers.",
	}, func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.due.IsZero() {
			return 0
		}
		return max(0, now().Sub(m.due).Seconds())
	})
	reg.MustRegister(m.started, m.withoutResults, m.durations, m.offeredValue, m.clearedValue, phase, overdue)
	return m
}

// observe notes what is known about the unfinished turns, the oldest one first. There should not be more than one.
func (m *Metrics) observe(turns []solverdb.Turn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phase, m.due = 0, time.Time{}
	if len(turns) == 0 {
		return
	}
	oldest := turns[0]
	m.phase = oldest.Phase
	switch {
	case oldest.Phase == phaseResults && oldest.CollectionStartedAt != nil:
		m.due = *oldest.CollectionStartedAt
	case oldest.PhaseDeadline != nil:
		m.due = *oldest.PhaseDeadline
	}
}

// published counts a turn that has got to phase 3.
func (m *Metrics) published(s solverdb.InsertTurnSummaryParams) {
	if s.Failure != nil {
		m.withoutResults.Inc()
	}
	m.offeredValue.Add(s.OfferedValue)
	m.clearedValue.Add(s.ClearedValue)
}

func (m *Metrics) took(step string, duration time.Duration) {
	m.durations.WithLabelValues(step).Observe(duration.Seconds())
}
