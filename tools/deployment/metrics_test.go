package deployment_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// A metric is a row of docs/metrics.md, which a test of the service compares with what is really served.
type metric struct {
	kind, unit string
	labels     map[string][]string // with their values; none: anything
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(trade_[a-z_]+)` \\| ([a-z]+) \\| ([^|]+) \\| ([^|]*)\\|")
	codeWords = regexp.MustCompile("`([^`]*)`")

	// What Prometheus adds when it collects metrics, and pod-monitor.yaml has it add.
	targetLabels = []string{"namespace", "shard", "instance", "job", "pod"}

	language = parser.NewParser(parser.Options{})
)

func metrics(t *testing.T) map[string]metric {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	words := func(text string) (found []string) {
		for _, match := range codeWords.FindAllStringSubmatch(text, -1) {
			found = append(found, match[1])
		}
		return found
	}
	all := map[string]metric{
		"up":                            {kind: "gauge", unit: "1 or 0"},
		"process_resident_memory_bytes": {kind: "gauge", unit: "bytes"},
		"process_cpu_seconds_total":     {kind: "counter", unit: "seconds"},
	}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		m := metric{row[2], row[3], map[string][]string{}}
		for part := range strings.SplitSeq(row[4], ";") {
			names, values, _ := strings.Cut(part, ":")
			for _, name := range words(names) {
				m.labels[name] = words(values)
			}
		}
		all[row[1]] = m
	}
	if len(all) < 50 {
		t.Fatalf("only %d metrics can be read", len(all))
	}
	return all
}

// find returns the metric that a series belongs to.
func find(all map[string]metric, series string) (metric, error) {
	if m, known := all[series]; known && m.kind != "histogram" {
		return m, nil
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name, found := strings.CutSuffix(series, suffix)
		m := all[name]
		if !found || m.kind != "histogram" {
			continue
		}
		m.labels = maps.Clone(m.labels)
		if suffix == "_bucket" {
			m.labels["le"] = nil
		}
		return m, nil
	}
	return metric{}, fmt.Errorf("nobody serves %s", series)
}

// checkLabel returns an error unless a metric may have a label, with this value if it is not empty.
func (m metric) checkLabel(label, value string) error {
	values, known := m.labels[label]
	switch {
	case slices.Contains(targetLabels, label):
		return nil
	case !known:
		return fmt.Errorf("it has no label %s", label)
	case value != "" && len(values) > 0 && !slices.Contains(values, value):
		return fmt.Errorf("the label %s is never %s", label, value)
	}
	return nil
}

// check returns an error unless a query asks for metrics and labels that there are.
func check(all map[string]metric, query string) error {
	expr, err := language.ParseExpr(query)
	if err != nil {
		return err
	}
	var failure error
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			failure = firstOf(failure, checkSelector(all, node))
		case *parser.AggregateExpr:
			parser.Inspect(node.Expr, func(inner parser.Node, _ []parser.Node) error {
				if selector, is := inner.(*parser.VectorSelector); is {
					m, err := find(all, selector.Name)
					failure = firstOf(failure, err)
					for _, label := range node.Grouping {
						failure = firstOf(failure, named(selector.Name, m.checkLabel(label, "")))
					}
				}
				return nil
			})
		}
		return nil
	})
	return failure
}

func checkSelector(all map[string]metric, selector *parser.VectorSelector) error {
	m, err := find(all, selector.Name)
	if err != nil {
		return err
	}
	for _, matcher := range selector.LabelMatchers {
		if matcher.Name == model.MetricNameLabel {
			continue
		}
		values := []string{matcher.Value}
		if matcher.Type == labels.MatchRegexp || matcher.Type == labels.MatchNotRegexp {
			values = strings.Split(matcher.Value, "|")
		}
		for _, value := range values {
			if strings.ContainsAny(value, ".*") {
				value = ""
			}
			if err := m.checkLabel(matcher.Name, value); err != nil {
				return named(selector.Name, err)
			}
		}
	}
	return nil
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// firstOf returns the first error.
func firstOf(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// The check finds what it should.
func TestCheck(t *testing.T) {
	t.Parallel()
	all := metrics(t)
	for query, want := range map[string]string{
		`sum by (type) (rate(trade_inbox_handled_messages_total[5m]))`:                                  "",
		`histogram_quantile(0.9, sum by (le) (rate(trade_broker_confirm_duration_seconds_bucket[5m])))`: "",
		`trade_attempts{state="fatal", shard=~"0|1"}`:                                                   "",
		`trade_attempts{state=~"fatal|due"}`:                                                            "",
		`trade_attempts{state="lost"}`:                                                                  "trade_attempts: the label state is never lost",
		`trade_attempts{state=~"fatal|lost"}`:                                                           "trade_attempts: the label state is never lost",
		`trade_attempts{status="fatal"}`:                                                                "trade_attempts: it has no label status",
		`sum by (status) (trade_attempts)`:                                                              "trade_attempts: it has no label status",
		`sum by (le) (trade_broker_confirm_duration_seconds_count)`:                                     "trade_broker_confirm_duration_seconds_count: it has no label le",
		`trade_broker_confirm_duration_seconds`:                                                         "nobody serves trade_broker_confirm_duration_seconds",
		`trade_nothing_total`:                                                                           "nobody serves trade_nothing_total",
	} {
		if got := fmt.Sprint(check(all, query)); got != want && (want != "" || got != "<nil>") {
			t.Errorf("%s: %s, want %q", query, got, want)
		}
	}
}
