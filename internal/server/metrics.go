package server

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/collectors/version"
)

// metrics are what can be observed of components.
type metrics struct {
	restarts *prometheus.CounterVec
	running  *prometheus.GaugeVec
}

// newMetrics registers the metrics of components, and those of the build, the process, and the Go runtime.
func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trade_component_restarts_total",
			Help: "How often a component has been restarted, after it had failed.",
		}, []string{"component"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trade_component_running",
			Help: "Whether a component is running: 1 if it is, 0 if it waits or has ended.",
		}, []string{"component"}),
	}
	err := errors.Join(
		registry.Register(m.restarts),
		registry.Register(m.running),
		registry.Register(version.NewCollector("trade")),
		registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of the process: %w", err)
	}
	return m, nil
}

// componentMetrics are the metrics of one component.
type componentMetrics struct {
	restarts prometheus.Counter
	running  prometheus.Gauge
}

// ofComponent returns metrics that are visible from now on.
func (m *metrics) ofComponent(name string) componentMetrics {
	return componentMetrics{restarts: m.restarts.WithLabelValues(name), running: m.running.WithLabelValues(name)}
}

func (m componentMetrics) setRunning(running bool) {
	if running {
		m.running.Set(1)
	} else {
		m.running.Set(0)
	}
}
