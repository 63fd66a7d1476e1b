package cli_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/cli"
)

// fields returns what is printed about a variable.
func (r result) fields(variable string) string {
	for line := range strings.Lines(r.stdout) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == variable {
			return strings.Join(fields[1:], " ")
		}
	}
	return "not printed"
}

func newConfigCommand(environment []string) *cobra.Command {
	return cli.NewConfigCommand(environment, nil)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	d := &deployment{environment: []string{
		"SOLVER_POSTGRES_URL=postgresql+psycopg://trade:secret@localhost:5432/db?connect_timeout=10",
		"WORKER_POSTGRES_URL=postgresql://trade:hidden@localhost/db",
		"PROTOCOL_BROKER_URL=amqp://guest:masked@localhost:5672",
		"OAUTH2_INTROSPECT_URL=https://node:concealed@sso.example.com/introspect",
		"BASE_DEBTOR_ID=60",
		"BASE_DEBTOR_INFO_LOCATOR=",
		"TURN_PERIOD=2h",
		"PROTOCOL_BROKER_QUEUE=some\tqueue",
	}}
	const notPrinted = "not printed"
	for _, c := range []struct {
		args []string
		want map[string]string
	}{
		{[]string{"solver"}, map[string]string{
			"TURN_PERIOD": "environment 2h", "BASE_DEBTOR_INFO_LOCATOR": "environment", "TURN_CHECK_INTERVAL": "default 60s",
			"APP_STATUS_PORT": "unset", "WORKER_POSTGRES_URL": notPrinted,
			"SOLVER_POSTGRES_URL": "environment postgresql+psycopg://trade:***@localhost:5432/db?connect_timeout=10",
		}},
		{[]string{"worker"}, map[string]string{
			"TURN_PERIOD": notPrinted, "APP_ACCOUNT_LOCKS_SCAN_DAYS": "default 7",
			"APP_FLUSH_STORE_DOCUMENT_BURST_COUNT": "default 10000", "INTERNAL_BROKER_QUEUE": `default "some\tqueue-internal"`,
		}},
		{[]string{"webserver"}, map[string]string{
			"WEBSERVER_PORT": "default 8080", "OAUTH2_INTROSPECT_URL": "environment https://node:***@sso.example.com/introspect",
			"WORKER_POSTGRES_URL": notPrinted, "SQLALCHEMY_ENGINE_OPTIONS": `default {"pool_size": 0}`,
		}},
		{[]string{"flush_trigger_transfers"}, map[string]string{
			"APP_FLUSH_TRIGGER_TRANSFER_BURST_COUNT": "default 10000", "APP_FLUSH_STORE_DOCUMENT_BURST_COUNT": notPrinted,
		}},
		{[]string{"flush_calculate_surpluses"}, map[string]string{
			"FLUSH_PROCESSES": "default 1", "APP_FLUSH_STORE_DOCUMENT_BURST_COUNT": notPrinted,
		}},
		{[]string{"scan_account_locks"}, map[string]string{
			"APP_ACCOUNT_LOCKS_SCAN_DAYS": "default 7", "APP_WORKER_SENDINGS_SCAN_DAYS": notPrinted,
		}},
		{nil, map[string]string{"TURN_PERIOD": "environment 2h", "WEBSERVER_PORT": "default 8080"}},
	} {
		r := d.run(t.Context(), newConfigCommand, c.args...)
		if r.code != cli.ExitSuccess {
			t.Errorf("config %q ends with %d, and says %s", c.args, r.code, r.stderr)
		}
		for variable, want := range c.want {
			if got := r.fields(variable); got != want {
				t.Errorf("config %q: %s is %q, want %q", c.args, variable, got, want)
			}
		}
		for _, password := range []string{"secret", "hidden", "masked", "concealed"} {
			if strings.Contains(r.stdout+r.stderr, password) {
				t.Errorf("config %q tells a password: %s%s", c.args, r.stdout, r.stderr)
			}
		}
	}
	if r := d.run(t.Context(), newConfigCommand, "solver"); !strings.Contains(r.stderr, "warning: BASE_DEBTOR_INFO_LOCATOR: empty") {
		t.Errorf("there is no warning: %s", r.stderr)
	}
}

// What is wrong is told after all settings.
func TestWrongConfig(t *testing.T) {
	t.Parallel()
	d := &deployment{environment: []string{"WORKER_POSTGRES_URL=postgres://u:secret@host/x", "FLUSH_PROCESSES=-1", "HTTP_FETCH_PERIOD=3"}}
	r := d.run(t.Context(), newConfigCommand, "worker")
	for _, want := range []string{
		"configuration error: SOLVER_POSTGRES_URL: missing", "configuration error: FLUSH_PROCESSES: must be at least 0",
		"the configuration is not valid",
	} {
		if r.code != cli.ExitFailure || !strings.Contains(r.stderr, want) {
			t.Errorf("it ends with %d, and says %s", r.code, r.stderr)
		}
	}
	if got := r.fields("HTTP_FETCH_PERIOD"); got != "environment 3" {
		t.Errorf("HTTP_FETCH_PERIOD is %q", got)
	}
	if r := d.run(t.Context(), newConfigCommand, "swpt"); r.code != cli.ExitUsage {
		t.Errorf("for an unknown server, it ends with %d", r.code)
	}
}
