package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// serviceCommands returns the commands that have settings.
func serviceCommands() (commands []*cobra.Command) {
	for _, cmd := range newRootCommand(nil).Commands() {
		switch {
		case slices.Contains([]string{"", groupBooks, groupWorld}, cmd.GroupID):
		case slices.Contains([]string{"config", "currencies"}, cmd.Name()):
		default:
			commands = append(commands, cmd)
		}
	}
	return commands
}

// Flags are a part of the contract with those who deploy the service.
func TestFlags(t *testing.T) {
	t.Parallel()
	const (
		consumer = "-u --url, -q --queue, -p --processes, -t --threads, -s --prefetch-size, -c --prefetch-count, --draining-mode"
		flusher  = "-p --processes, -w --wait, --quit-early"
		queues   = "-u --url, -q --queue, -U --internal-url, -Q --internal-queue"
	)
	want := map[string]string{
		"solver": "", "worker": "", "webserver": "", "configure": "", "await_migrations": "", "verify_shard_content": "",
		"subscribe": queues + ", -k --queue-routing-key", "unsubscribe": queues + ", -k --queue-routing-key", "delete_queue": queues,
		"consume_messages": consumer, "consume_internal_messages": consumer,
		"flush_all": flusher, "flush_messages": flusher,
		"fetch_debtor_infos":         "-p --processes, -c --connections, -t --timeout, -w --wait, --quit-early",
		"trigger_transfers":          flusher,
		"handle_pristine_collectors": "-t --threads, -w --wait, --quit-early",
		"roll_turns":                 "-p --period, -o --period-offset, -c --check-interval, --quit-early",
		"roll_worker_turns":          "-w --wait, --quit-early",
		"roll_transfers":             "-w --wait, --quit-early",
		"flush_calculate_surpluses":  flusher, "flush_replayed_account_transfers": flusher,
	}
	for _, flushed := range flushedTypes {
		want[flushed.command] = flusher
	}
	for _, table := range (config.Sweeps{}).Tables() {
		want["scan_"+table] = "-d --days, --quit-early"
	}
	for _, cmd := range serviceCommands() {
		var flags []string
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			name := "--" + flag.Name
			if flag.Shorthand != "" {
				name = "-" + flag.Shorthand + " " + name
			}
			flags = append(flags, name)
		})
		wanted, known := want[cmd.Name()]
		wantedFlags := slices.DeleteFunc(strings.Split(wanted, ", "), func(flag string) bool { return flag == "" })
		slices.Sort(flags)
		slices.Sort(wantedFlags)
		if !known || !slices.Equal(flags, wantedFlags) {
			t.Errorf("%s has the flags %q, want %q", cmd.Name(), flags, wantedFlags)
		}
		delete(want, cmd.Name())
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// Whoever calls a command in a wrong way is told how to call it.
func TestUsageOfServiceCommands(t *testing.T) {
	t.Parallel()
	for _, cmd := range serviceCommands() {
		calls := [][]string{{cmd.Name(), "--no-such-flag"}}
		if cmd.Name() != "flush_messages" {
			calls = append(calls, []string{cmd.Name(), "no-such-argument"})
		}
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if slices.Contains([]string{"processes", "wait", "threads", "days", "timeout", "period"}, flag.Name) {
				calls = append(calls, []string{cmd.Name(), "--" + flag.Name, "soon"})
			}
		})
		for _, args := range calls {
			r := trade(t.Context(), strings.NewReader(""), args...)
			if r.code != exitUsage || !strings.Contains(r.stderr, "\nUsage: trade "+cmd.Name()) {
				t.Errorf("trade %q: exit code %d, %s", args, r.code, r.stderr)
			}
		}
	}
}

// The settings of each command can be looked at. Without any, it tells what is missing, as the command itself does.
func TestSettingsOfServiceCommands(t *testing.T) {
	t.Parallel()
	d := &deployment{environment: map[string]string{ //nolint:gosec // the passwords are made up
		"SOLVER_POSTGRES_URL": "postgresql+psycopg://solver:swordfish@nowhere.invalid/db", "BASE_DEBTOR_ID": "1",
		"WORKER_POSTGRES_URL": "postgresql+psycopg://worker:swordfish@nowhere.invalid/db", "BASE_DEBTOR_INFO_LOCATOR": "base",
		"PROTOCOL_BROKER_URL": "amqp://guest:swordfish@nowhere.invalid", "OAUTH2_INTROSPECT_URL": "http://node:swordfish@nowhere.invalid",
		"INTERNAL_BROKER_URL": "amqp://guest:swordfish@nowhere.invalid", "APP_LOG_LEVEL": "debug",
	}}
	for _, cmd := range serviceCommands() {
		r := d.run(t.Context(), "config", cmd.Name())
		if r.code != exitSuccess || !strings.Contains(r.stdout, "APP_LOG_LEVEL ") || strings.Contains(r.stdout+r.stderr, "swordfish") {
			t.Errorf("trade config %s: exit code %d, %s%s", cmd.Name(), r.code, r.stdout, r.stderr)
		}
		shown := trade(t.Context(), strings.NewReader(""), "config", cmd.Name())
		if slices.Contains([]string{"await_migrations", "subscribe", "unsubscribe", "delete_queue"}, cmd.Name()) {
			if shown.code != exitSuccess {
				t.Errorf("trade config %s: exit code %d, %s", cmd.Name(), shown.code, shown.stderr)
			}
			continue
		}
		tried := trade(t.Context(), strings.NewReader(""), cmd.Name())
		for line := range strings.Lines(shown.stderr) {
			mistake, isMistake := strings.CutPrefix(line, "configuration error: ")
			if isMistake && !strings.Contains(tried.stdout, mistake) {
				t.Errorf("trade %s says %s, not %s", cmd.Name(), tried.stdout, mistake)
			}
		}
		if shown.code != exitFailure || tried.code != exitFailure || !strings.Contains(shown.stderr, ": missing\n") {
			t.Errorf("trade %s: exit codes %d, %d, %s", cmd.Name(), shown.code, tried.code, shown.stderr)
		}
	}
}

// All commands that go on for ever, but the consumers, can do what there is to do once. Those that sweep have a test of
// their own.
func TestQuitEarly(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	d.environment["BASE_DEBTOR_ID"], d.environment["BASE_DEBTOR_INFO_LOCATOR"] = "1", "base"
	for _, cmd := range serviceCommands() {
		if cmd.Flags().Lookup("quit-early") != nil && !strings.HasPrefix(cmd.Name(), "scan_") {
			d.mustRun(t, cmd.Name(), "--quit-early")
		}
	}
}

// There is one worker on a database. What another process does already, the worker leaves to it, until that process ends.
func TestWorkersKeepOffEachOther(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	d.environment["APP_SINGLETON_WAIT"], d.environment["FLUSH_PROCESSES"] = "0", "0"
	db := d.openWorkerDB(t)
	const since, from = " is already running on this database (since ", ", from 127.0.0.1)"
	alone := d.launch(t, "roll_transfers")
	alone.mustBecome(t, 200)
	worker := d.launch(t, "worker")
	worker.mustSay(t, "another roll_transfers"+since)
	worker.mustSay(t, from)
	const running, standingBy = `trade_component_running{component="roll_transfers"} `, `trade_component_standing_by{component="roll_transfers"} `
	worker.mustBecome(t, 200) // the work is done
	worker.mustMeasure(t, running+"0", standingBy+"1")
	second := d.launch(t, "worker")
	second.mustEnd(t, exitFailure)
	if said := second.output.String(); !strings.Contains(said, "another worker"+since) || !strings.Contains(said, from) {
		t.Errorf("the second one says %s", said)
	}

	d.addStatus(t, 1) // the next look at it is for whoever begins to roll transfers
	rolled := func() error {
		var signals int
		err := db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE type = 'StartSending'`).Scan(&signals)
		if err == nil && signals != 1 {
			err = fmt.Errorf("there are %d messages", signals)
		}
		return err
	}
	if rolled() == nil {
		t.Error("the worker does what another process does")
	}
	alone.mustStop(t, syscall.SIGTERM, 0)
	testenv.Eventually(t, servicePatience, rolled)
	worker.mustMeasure(t, running+"1", standingBy+"0")
	worker.mustStop(t, syscall.SIGTERM, 0)
	next := d.launch(t, "worker") // finds no lock held
	next.mustBecome(t, 200)
	next.mustStop(t, syscall.SIGHUP, 0)
}
