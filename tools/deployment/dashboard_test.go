package deployment_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// A dashboard is what matters of one of Grafana's.
type dashboard struct {
	UID           string
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name  string
			Query any
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ RefID, Expr, LegendFormat string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("../../deploy/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	var d dashboard
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The dashboard is one that Grafana can show: every panel has a place and a name of its own.
func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("%q, called %q, has the schema version %d", d.UID, d.Title, d.SchemaVersion)
	}
	ids, titles, taken := map[int]bool{}, map[string]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || p.Type != "row" && p.Description == "" {
			t.Errorf("panel %d, %q, is a second one, or has no title, or no description", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, is := taken[[2]int{x, y}]; is || x < 0 || x > 23 {
					t.Fatalf("%q has a place where %q is, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if area := p.GridPos.W * p.GridPos.H; area <= 0 {
			t.Errorf("%q has no place", p.Title)
		}
	}
}

var (
	legendLabel  = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	variable     = regexp.MustCompile(`\$\{?([a-z][a-z_]*)`)
	labelValues  = regexp.MustCompile(`^label_values\(([a-z_]+), ([a-z]+)\)$`)
	intervalName = strings.NewReplacer("$__rate_interval", "5m")
)

// The dashboard asks for metrics and labels that there are, and shows them in the right unit.
func TestDashboardQueries(t *testing.T) {
	t.Parallel()
	all, d := metrics(t), readDashboard(t)
	known := map[string]bool{}
	for _, v := range d.Templating.List {
		known[v.Name] = true
		if query, is := v.Query.(map[string]any); is {
			parts := labelValues.FindStringSubmatch(query["query"].(string))
			if len(parts) == 0 || check(all, parts[1]) != nil || !slices.Contains(targetLabels, parts[2]) {
				t.Errorf("the variable %s is %v", v.Name, query)
			}
		}
	}
	for _, p := range d.Panels {
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.RefID == "" {
				t.Errorf("%q has two queries %s", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			query := intervalName.Replace(target.Expr)
			if err := check(all, query); err != nil {
				t.Errorf("%q: %v", p.Title, err)
				continue
			}
			for _, match := range variable.FindAllStringSubmatch(query, -1) {
				if !known[match[1]] {
					t.Errorf("%q uses the variable %s", p.Title, match[1])
				}
			}
			expr, err := language.ParseExpr(query)
			if err != nil {
				t.Fatal(err)
			}
			if want := unitOf(all, expr); p.FieldConfig.Defaults.Unit != want {
				t.Errorf("%q has the unit %q, and %s is %q", p.Title, p.FieldConfig.Defaults.Unit, query, want)
			}
			for _, match := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(query, match[1]) && !slices.Contains(targetLabels, match[1]) {
					t.Errorf("%q: the legend names %s, which %s does not", p.Title, match[1], query)
				}
			}
		}
		if p.Type != "row" && len(refs) == 0 {
			t.Errorf("%q shows nothing", p.Title)
		}
	}
}

// units are Grafana's names for the units of metrics. All others are plain numbers.
var units = map[string]string{"seconds": "s", "bytes": "bytes", "ratio": "percentunit"}

// unitOf returns Grafana's name for the unit of what a query returns.
func unitOf(all map[string]metric, expr parser.Expr) string {
	switch expr := expr.(type) {
	case *parser.AggregateExpr:
		if expr.Op == parser.COUNT {
			return "short"
		}
		return unitOf(all, expr.Expr)
	case *parser.ParenExpr:
		return unitOf(all, expr.Expr)
	case *parser.BinaryExpr:
		left, right := unitOf(all, expr.LHS), unitOf(all, expr.RHS)
		if expr.Op == parser.DIV && left == right {
			return "percentunit"
		}
		return left // of a mean, or of what is compared
	case *parser.MatrixSelector:
		return unitOf(all, expr.VectorSelector)
	case *parser.Call:
		inner := unitOf(all, expr.Args[len(expr.Args)-1])
		switch {
		case expr.Func.Name != "rate":
			return inner
		case isOfHistogram(expr.Args[0]):
			return inner
		case inner == "s":
			return "short" // seconds in a second: how many at a time
		default:
			return "cps"
		}
	case *parser.VectorSelector:
		if strings.HasSuffix(expr.Name, "_count") {
			return "short"
		}
		m, _ := find(all, expr.Name)
		if unit, known := units[m.unit]; known {
			return unit
		}
		return "short"
	default:
		return "short"
	}
}

// isOfHistogram reports whether a rate is that of a part of a histogram which is only good for a mean, or a quantile.
func isOfHistogram(expr parser.Expr) bool {
	matrix, is := expr.(*parser.MatrixSelector)
	if !is {
		return false
	}
	name := matrix.VectorSelector.(*parser.VectorSelector).Name
	return strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_bucket")
}
