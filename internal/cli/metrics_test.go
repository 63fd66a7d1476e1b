package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/cli"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A documentedMetric is a row of docs/metrics.md.
type documentedMetric struct {
	kind     string
	labels   map[string][]string // with their values; none: anything
	servedBy []string            // patterns for names of commands
}

func (m documentedMetric) isServedBy(command string) bool {
	return slices.ContainsFunc(m.servedBy, func(pattern string) bool {
		matches, _ := path.Match(pattern, command)
		return pattern == "all" || matches
	})
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(trade_[a-z_]+)` \\| ([a-z]+) \\| [^|]+ \\| ([^|]*) ?\\| ([^|]+) \\| [^|]+ \\|$")
	codeWords = regexp.MustCompile("`([^`]*)`")
)

// words returns what is written as code.
func words(text string) (found []string) {
	for _, match := range codeWords.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// documentedMetrics reads docs/metrics.md.
func documentedMetrics(t *testing.T) map[string]documentedMetric {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]documentedMetric{}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		m := documentedMetric{kind: row[2], labels: map[string][]string{}, servedBy: strings.Split(row[4], ", ")}
		for part := range strings.SplitSeq(row[3], ";") {
			names, values, _ := strings.Cut(part, ":")
			for _, name := range words(names) {
				m.labels[name] = words(values)
			}
		}
		if _, twice := metrics[row[1]]; twice {
			t.Errorf("%s has two rows", row[1])
		}
		metrics[row[1]] = m
	}
	if rows := strings.Count(string(page), "\n| `trade_"); rows != len(metrics) {
		t.Fatalf("%d rows are metrics, and %d can be read", rows, len(metrics))
	}
	return metrics
}

// A network is what all servers of a node work with: both databases, a broker, and somebody who knows all tokens.
type network struct {
	*deployment
	worker *workerdb.DB
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	d := newDeployment(t)
	d.migrate(t)
	workerURL, brokerURL := testenv.NewDatabase(t), testenv.NewVirtualHost(t)
	url, err := postgres.ParseURL(workerURL)
	if err != nil {
		t.Fatal(err)
	}
	if err := workerdb.Migrations().Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	db, err := workerdb.Open(url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	topology := broker.Topology{
		ProtocolURL: brokerURL, ProtocolQueue: "swpt_trade", RoutingKey: "#", Log: slog.New(slog.DiscardHandler),
	}
	if err := topology.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "sub": "creditors-superuser", "scope": "access activate"})
	}))
	t.Cleanup(authority.Close)
	d.environment = append(d.environment, "WORKER_POSTGRES_URL="+workerURL, "PROTOCOL_BROKER_URL="+brokerURL,
		"OAUTH2_INTROSPECT_URL="+authority.URL, "APP_ROLL_WORKER_TURNS_WAIT=0.5", "HANDLE_PRISTINE_COLLECTORS_PERIOD=0.5")
	return &network{d, db}
}

// A newCommand makes a command that has an environment.
type newCommand = func(environment []string) *cobra.Command

// serve runs a command until it is stopped, and returns where its status is served.
func (n *network) serve(t *testing.T, command newCommand) (status string, stop func()) {
	t.Helper()
	port := strconv.Itoa(testenv.FreePort(t))
	environment := slices.Concat(n.environment, []string{"APP_STATUS_PORT=" + port})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var log logbook
	go func() {
		defer close(ended)
		if code := cli.Execute(ctx, command(environment), nil, strings.NewReader(""), &log, &log); code != cli.ExitSuccess {
			t.Errorf("it ends with %d: %s", code, &log.text)
		}
	}()
	return "http://127.0.0.1:" + port, func() {
		cancel()
		<-ended
	}
}

// parts returns commands that run parts of a worker. Those that are missing, which send messages of one type, or sweep
// one table, differ from others only in the values of labels.
func parts() map[string]newCommand {
	commands := map[string]newCommand{}
	for _, name := range []string{
		"consume_messages", "consume_internal_messages", "flush_all", "flush_messages", "flush_start_sendings",
		"fetch_debtor_infos", "trigger_transfers", "handle_pristine_collectors", "roll_worker_turns", "roll_transfers",
		"scan_account_locks", "scan_worker_accounts",
	} {
		commands[name] = func(environment []string) *cobra.Command {
			all := cli.NewPartCommands(environment)
			return all[slices.IndexFunc(all, func(cmd *cobra.Command) bool { return cmd.Name() == name })]
		}
	}
	return commands
}

// scrape returns the metrics of a process, those of the Go runtime left out.
func scrape(status string) (map[string]*dto.MetricFamily, error) {
	code, text, err := request("GET", status+"/metrics", "")
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("the metrics are answered with %d", code)
	}
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		return nil, fmt.Errorf("promlint finds %v, %w", problems, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	maps.DeleteFunc(families, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "trade_") })
	return families, err
}

// observed are values of labels, by metric and label.
type observed map[string]map[string]map[string]bool

// add adds those of a scrape. It returns what contradicts the documentation, and which components do not run.
func (o observed) add(command string, families map[string]*dto.MetricFamily, documented map[string]documentedMetric) error {
	var errs []error
	for name, family := range families {
		m, known := documented[name]
		if !known || !m.isServedBy(command) {
			errs = append(errs, fmt.Errorf("%s serves %s", command, name))
			continue
		}
		if kind := strings.ToLower(family.GetType().String()); kind != m.kind {
			errs = append(errs, fmt.Errorf("%s is a %s", name, kind))
		}
		if o[name] == nil {
			o[name] = map[string]map[string]bool{}
		}
		for _, metric := range family.Metric {
			if name == "trade_component_running" && metric.GetGauge().GetValue() != 1 {
				errs = append(errs, fmt.Errorf("%s is not running: %v", command, metric.Label))
			}
			if len(metric.Label) != len(m.labels) {
				errs = append(errs, fmt.Errorf("%s has the labels %v", name, metric.Label))
			}
			for _, label := range metric.Label {
				values, known := m.labels[label.GetName()]
				if !known || len(values) > 0 && !slices.Contains(values, label.GetValue()) {
					errs = append(errs, fmt.Errorf("%s has the label %v", name, label))
				}
				if o[name][label.GetName()] == nil {
					o[name][label.GetName()] = map[string]bool{}
				}
				o[name][label.GetName()][label.GetValue()] = true
			}
		}
	}
	for name, m := range documented {
		if _, served := families[name]; !served && m.isServedBy(command) {
			errs = append(errs, fmt.Errorf("%s does not serve %s", command, name))
		}
	}
	return errors.Join(errs...)
}

// begin gives a worker something to be observed: a turn that begins, and a collector who waits for a seller.
func (n *network) begin(t *testing.T) {
	t.Helper()
	for db, statements := range map[*pgxpool.Pool][]string{
		n.db.Pool(): {
			"UPDATE turn SET phase = 4, collection_started_at = now(), collection_deadline = now()",
			`INSERT INTO turn (started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
				phase, phase_deadline) VALUES (now(), 'https://example.com/60', 60, 10, 1000, 1, now() + interval '1 hour')`,
		},
		n.worker.Pool(): {
			`INSERT INTO dispatching_status (collector_id, turn_id, debtor_id, inserted_at, amount_to_collect, amount_own_sold,
				amount_to_send, amount_to_receive, number_to_receive, amount_to_dispatch)
				VALUES (1, 1, 1, now(), 100, 0, 0, 0, 0, 100) ON CONFLICT DO NOTHING`,
			`INSERT INTO worker_collecting (collector_id, turn_id, debtor_id, creditor_id, amount, purge_after)
				VALUES (1, 1, 1, 2, 100, now() + interval '1 day') ON CONFLICT DO NOTHING`,
		},
	} {
		for _, statement := range statements {
			if _, err := db.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// compareWebServer has the web server answer requests before it is compared.
func (n *network) compareWebServer(t *testing.T, documented map[string]documentedMetric, seen observed) {
	t.Helper()
	port := strconv.Itoa(testenv.FreePort(t))
	n.environment = append(n.environment, "WEBSERVER_PORT="+port)
	status, stop := n.serve(t, cli.NewWebServerCommand)
	defer stop()
	awaitAnswer(t, "GET", "http://127.0.0.1:"+port+"/trade/turns", "token", http.StatusOK)
	awaitAnswer(t, "POST", "http://127.0.0.1:"+port+"/trade/collectors/9/activate", "token", http.StatusNoContent)
	testenv.Eventually(t, patience, func() error {
		families, err := scrape(status)
		if err != nil {
			return err
		}
		return seen.add("webserver", families, documented)
	})
}

// compare runs commands side by side until they serve what they should, or for too long.
func (n *network) compare(
	t *testing.T, documented map[string]documentedMetric, seen observed, commands map[string]newCommand,
) {
	t.Helper()
	statuses := map[string]string{}
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for name, command := range commands {
		status, stop := n.serve(t, command)
		statuses[name], stops = status, append(stops, stop)
	}
	for name, status := range statuses {
		testenv.Eventually(t, patience, func() error {
			families, err := scrape(status)
			if err != nil {
				return err
			}
			return seen.add(name, families, documented)
		})
	}
}

// What commands serve is what the documentation says, no more and no less.
func TestServedMetrics(t *testing.T) {
	t.Parallel()
	documented := documentedMetrics(t)
	seen := observed{}
	n := newNetwork(t)
	n.compareWebServer(t, documented, seen)
	n.begin(t)
	n.compare(t, documented, seen, map[string]newCommand{"worker": cli.NewWorkerCommand})
	n.begin(t)
	n.compare(t, documented, seen, parts())
	for name, command := range map[string]newCommand{"solver": cli.NewSolverCommand, "roll_turns": cli.NewRollTurnsCommand} {
		newNetwork(t).compare(t, documented, seen, map[string]newCommand{name: command})
	}
	for name, m := range documented {
		for label, values := range m.labels {
			for _, value := range values {
				if !seen[name][label][value] {
					t.Errorf("%s has never had the label %s=%q", name, label, value)
				}
			}
		}
	}
}

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// What servers register is documented, even if it has never had a value.
func TestRegisteredMetrics(t *testing.T) {
	t.Parallel()
	documented := documentedMetrics(t)
	n := newNetwork(t)
	registered := map[string]bool{}
	for server, registry := range cli.Registries(t, n.environment) {
		descriptions := make(chan *prometheus.Desc)
		go func() {
			defer close(descriptions)
			registry.Describe(descriptions)
		}()
		for d := range descriptions {
			parts := description.FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatalf("%v cannot be read", d)
			}
			name, labels := parts[1], strings.FieldsFunc(parts[3], func(r rune) bool { return r == ',' })
			for _, constant := range strings.FieldsFunc(parts[2], func(r rune) bool { return r == ',' }) {
				label, _, _ := strings.Cut(constant, "=")
				labels = append(labels, label)
			}
			slices.Sort(labels)
			m := documented[name]
			if want := slices.Sorted(maps.Keys(m.labels)); !slices.Equal(labels, want) || !m.isServedBy(server) {
				t.Errorf("%s registers %s with the labels %q; documented are the labels %q, and that %q serve it", server, name,
					labels, want, m.servedBy)
			}
			registered[name] = true
		}
	}
	for name := range documented {
		// The metrics of processes are registered when they run; see TestServedMetrics.
		if !registered[name] && !strings.HasPrefix(name, "trade_component_") && name != "trade_build_info" {
			t.Errorf("%s is not registered", name)
		}
	}
}

// Operators are promised that these are there.
func TestPromisedMetrics(t *testing.T) {
	t.Parallel()
	documented := documentedMetrics(t)
	for name, servers := range map[string][]string{
		"trade_component_restarts_total":         {"solver", "worker", "webserver", "flush_all", "scan_worker_accounts"},
		"trade_inbox_handled_messages_total":     {"worker", "consume_messages", "consume_internal_messages"},
		"trade_inbox_failed_messages_total":      {"worker", "consume_messages", "consume_internal_messages"},
		"trade_outbox_records":                   {"worker", "flush_all"},
		"trade_outbox_oldest_record_age_seconds": {"worker", "flush_all"},
		"trade_fetcher_fetches_total":            {"worker", "fetch_debtor_infos"},
		"trade_turn_phase":                       {"solver", "roll_turns"},
		"trade_turn_overdue_seconds":             {"solver", "roll_turns"},
		"trade_sweep_progress_ratio":             {"worker", "scan_worker_accounts"},
	} {
		for _, server := range servers {
			if !documented[name].isServedBy(server) {
				t.Errorf("%s does not serve %s", server, name)
			}
		}
	}
}
