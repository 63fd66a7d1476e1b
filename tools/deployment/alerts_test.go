package deployment_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"sigs.k8s.io/yaml"
)

const guide = "https://github.com/circular-trade/circular-trade/blob/main/docs/operating.md#"

func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile("../../deploy/alerts.yaml", false, model.LegacyValidation, language, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

var (
	heading       = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnAnchor = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// anchors returns the anchors of the headings of a page, as GitHub makes them.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(string(text), -1) {
		anchor := notInAnAnchor.ReplaceAllString(strings.ToLower(match[1]), "")
		found[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	return found
}

// Each alert says what is wrong, how bad that is, and what to do, and asks for metrics that exist.
func TestAlerts(t *testing.T) {
	t.Parallel()
	all, sections := metrics(t), anchors(t, "../../docs/operating.md")
	names := map[string]bool{}
	for _, alert := range alerts(t) {
		if names[alert.Alert] || alert.Alert == "" {
			t.Errorf("there are two alerts %q", alert.Alert)
		}
		names[alert.Alert] = true
		if err := check(all, alert.Expr); err != nil {
			t.Errorf("%s: %v", alert.Alert, err)
		}
		if severity := alert.Labels["severity"]; len(alert.Labels) != 1 || severity != "critical" && severity != "warning" {
			t.Errorf("%s has the labels %v", alert.Alert, alert.Labels)
		}
		section, found := strings.CutPrefix(alert.Annotations["runbook_url"], guide)
		if !found || !sections[section] {
			t.Errorf("%s leads to %s", alert.Alert, alert.Annotations["runbook_url"])
		}
		if alert.Annotations["summary"] == "" || alert.Annotations["description"] == "" {
			t.Errorf("%s says nothing", alert.Alert)
		}
	}
}

// An alertsTest is a test of alerts_test.yaml, in the form of promtool.
type alertsTest struct {
	Name        string `json:"name"`
	Interval    string `json:"interval"`
	InputSeries []struct {
		Series string `json:"series"`
		Values string `json:"values"`
	} `json:"input_series"`
	Expectations []struct {
		Expr     string `json:"expr"`
		EvalTime string `json:"eval_time"`
		Samples  []struct {
			Labels string  `json:"labels"`
			Value  float64 `json:"value"`
		} `json:"exp_samples"`
	} `json:"promql_expr_test"`
}

// testName is the name of a test: the alert, whether it fires, and when.
var testName = regexp.MustCompile(`^(\w+) (fires|does not fire)(, .+)?$`)

// Alerts fire when they should, and each has a test in which it does, and one in which it does not. What they then say
// has no gaps.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		RuleFiles          []string     `json:"rule_files"`
		EvaluationInterval string       `json:"evaluation_interval"`
		Tests              []alertsTest `json:"tests"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	rules, every := alerts(t), duration(t, file.EvaluationInterval)
	known, untested, tests := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, rule := range rules {
		known[rule.Alert], untested[rule.Alert+" fires"], untested[rule.Alert+" does not fire"] = true, true, true
	}
	for _, test := range file.Tests {
		parts := testName.FindStringSubmatch(test.Name)
		if len(parts) == 0 || !known[parts[1]] || tests[test.Name] {
			t.Errorf("%q: there is no such alert, or two tests", test.Name)
			continue
		}
		tests[test.Name] = true
		delete(untested, parts[1]+" "+parts[2])
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			test.run(t, rules, every, parts[1], parts[2] == "fires")
		})
	}
	if len(untested) > 0 {
		t.Errorf("not tested: %q", slices.Sorted(maps.Keys(untested)))
	}
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := model.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(d)
}

var engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 10_000_000, Timeout: time.Minute, Parser: language})

// run runs a test of an alert, which should fire or not.
func (test *alertsTest) run(t *testing.T, rules []rulefmt.Rule, every time.Duration, name string, shouldFire bool) {
	t.Helper()
	var stored memory
	for _, input := range test.InputSeries {
		stored.add(t, input.Series, input.Values, duration(t, test.Interval))
	}
	if len(test.Expectations) != 1 {
		t.Fatalf("there are %d expectations", len(test.Expectations))
	}
	expectation := test.Expectations[0]
	end := time.Unix(0, 0).Add(duration(t, expectation.EvalTime))
	// Whether an alert is tested that fires or not, all of them are evaluated: others must not fire.
	firing := map[string]int{}
	for _, rule := range rules {
		if rule.Alert == "TradeSolverAbsent" && name != rule.Alert {
			continue // most tests are not about a solver, so there is none
		}
		if n := countFiring(t, &stored, rule, every, end); n > 0 {
			firing[rule.Alert] = n
		}
	}
	want := map[string]int{}
	for _, sample := range expectation.Samples {
		want[strings.TrimSuffix(strings.TrimPrefix(sample.Labels, `{alertname="`), `"}`)] = int(sample.Value)
	}
	if !maps.Equal(firing, want) {
		t.Errorf("firing are %v, want %v", firing, want)
	}
	if _, expected := want[name]; expected != shouldFire {
		t.Errorf("expected are %v", want)
	}
}

// countFiring returns how often an alert fires at some time, for different labels, and checks what it says then.
func countFiring(t *testing.T, stored *memory, rule rulefmt.Rule, every time.Duration, end time.Time) int {
	t.Helper()
	since := map[uint64]time.Time{}
	firing := 0
	for at := time.Unix(0, 0); !at.After(end); at = at.Add(every) {
		query, err := engine.NewInstantQuery(t.Context(), stored, nil, rule.Expr, at)
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		active := map[uint64]time.Time{}
		firing = 0
		for _, sample := range vector {
			key := sample.Metric.Hash()
			active[key] = at
			if begun, already := since[key]; already {
				active[key] = begun
			}
			if at.Sub(active[key]) >= time.Duration(rule.For) {
				firing++
				if at.Equal(end) {
					checkWords(t, rule, sample)
				}
			}
		}
		since = active
		query.Close()
	}
	return firing
}

// checkWords fills in the texts of an alert.
func checkWords(t *testing.T, rule rulefmt.Rule, sample promql.Sample) {
	t.Helper()
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", sample)
	for name, text := range rule.Annotations {
		const variables = "{{$labels := .Labels}}{{$value := .Value}}"
		expander := template.NewTemplateExpander(t.Context(), variables+text, name, data, 0,
			func(context.Context, string, time.Time) (promql.Vector, error) { return nil, nil }, nil, nil)
		said, err := expander.Expand()
		if err != nil || strings.Contains(said, "<no value>") || strings.Contains(said, "{{") {
			t.Errorf("%s: the %s is %q, %v", rule.Alert, name, said, err)
		}
		for label := range labelsIn(text) {
			if !sample.Metric.Has(label) && label != "shard" && label != "namespace" {
				t.Errorf("%s: the %s has the label %s, which is missing from %v", rule.Alert, name, label, sample.Metric)
			}
		}
	}
}

var usedLabel = regexp.MustCompile(`\$labels\.([a-z_]+)`)

func labelsIn(text string) map[string]bool {
	found := map[string]bool{}
	for _, match := range usedLabel.FindAllStringSubmatch(text, -1) {
		found[match[1]] = true
	}
	return found
}
