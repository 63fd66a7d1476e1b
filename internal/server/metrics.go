package server

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/collectors/version"
)

// newRestarts returns what counts the restarts of components.
func newRestarts() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trade_component_restarts_total",
		Help: "How often a component has been restarted, after it had failed.",
	}, []string{"component"})
}

// registerMetrics registers the metrics of components, and those of the build, the process, and the Go runtime.
func registerMetrics(registry prometheus.Registerer, restarts *prometheus.CounterVec, v *supervisor) error {
	err := errors.Join(
		registry.Register(restarts),
		registry.Register(states{v}),
		registry.Register(version.NewCollector("trade")),
		registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	if err != nil {
		return fmt.Errorf("registering the metrics of the process: %w", err)
	}
	return nil
}

// states are metrics that tell what components are doing when somebody looks.
type states struct{ supervisor *supervisor }

var (
	runningMetric = prometheus.NewDesc("trade_component_running",
		"Whether a component is running: 1 if it is, 0 if it waits or has failed. One that has done its work is left out.",
		[]string{"component"}, nil)
	standingByMetric = prometheus.NewDesc("trade_component_standing_by",
		"Whether a component waits because another process does the same: 1 if it does, 0 if not.",
		[]string{"component"}, nil)
)

// Describe lists the metrics.
func (s states) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- runningMetric
	descriptions <- standingByMetric
}

// Collect looks at all components.
func (s states) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range s.supervisor.all() {
		running, trouble := c.get()
		if !running && trouble == nil { // it has ended by itself
			continue
		}
		standsBy := running && c.StandsBy != nil && c.StandsBy()
		metrics <- gauge(runningMetric, running && !standsBy, c.Name)
		metrics <- gauge(standingByMetric, standsBy, c.Name)
	}
}

func gauge(description *prometheus.Desc, is bool, component string) prometheus.Metric {
	value := 0.0
	if is {
		value = 1
	}
	return prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, component)
}
