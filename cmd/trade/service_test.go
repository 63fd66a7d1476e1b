package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// servicePatience is how long a test waits for what should happen at once.
const servicePatience = 30 * time.Second

// A deployment is two databases and a broker, with an environment that leads to them.
type deployment struct {
	environment map[string]string
	channel     *amqp.Channel
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	return newDeploymentOn(t, testenv.NewDatabase(t), testenv.NewDatabase(t))
}

func newDeploymentOn(t *testing.T, solverURL, workerURL string) *deployment {
	t.Helper()
	brokerURL := testenv.NewVirtualHost(t)
	return &deployment{
		environment: map[string]string{
			"SOLVER_POSTGRES_URL":       solverURL,
			"WORKER_POSTGRES_URL":       workerURL,
			"PROTOCOL_BROKER_URL":       brokerURL,
			"SETUP_RABBITMQ_BINDINGS":   "yes",
			"APP_LOG_LEVEL":             "info",
			"FLUSH_PERIOD":              "0.5",
			"PROTOCOL_BROKER_PROCESSES": "2",
		},
		channel: testenv.OpenChannel(t, brokerURL),
	}
}

// run runs a command to its end.
func (d *deployment) run(ctx context.Context, args ...string) result {
	var environment []string
	for name, value := range d.environment {
		environment = append(environment, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	code := execute(ctx, environment, args, strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func (d *deployment) mustRun(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
	defer cancel()
	r := d.run(ctx, args...)
	if r.code != exitSuccess || r.stderr != "" {
		t.Fatalf("trade %q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// start runs a command in the background. stop asks it to end, and waits for that.
func (d *deployment) start(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() { ended <- d.run(ctx, args...) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if r := <-ended; r.code != exitSuccess {
			t.Errorf("trade %q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	t.Cleanup(stop)
	return stop
}

func (d *deployment) openWorkerDB(t *testing.T) *workerdb.DB {
	t.Helper()
	url, err := postgres.ParseURL(d.environment["WORKER_POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	db, err := workerdb.Open(url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	const ready = "solver database: ready\nworker database: ready\nbroker: ready\n"
	for range 2 {
		if got := d.mustRun(t, "configure"); got != ready {
			t.Errorf("configure says %q", got)
		}
	}
	if got := d.mustRun(t, "await_migrations"); got != "solver database: ready\nworker database: ready\n" {
		t.Errorf("await_migrations says %q", got)
	}
	testenv.QueueDepth(t, d.channel, "swpt_trade")
	testenv.QueueDepth(t, d.channel, "swpt_trade.XQ")
}

// Each container sees only the variables that it needs.
func TestConfigurePart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args     []string
		variable map[string]string // that is changed; empty: it is removed
		want     string
	}{
		"solver": {
			[]string{"configure", "solver"},
			map[string]string{"WORKER_POSTGRES_URL": "", "PROTOCOL_BROKER_URL": "amqp://nowhere.invalid"},
			"solver database: ready\n",
		},
		"worker": {
			[]string{"configure", "worker"},
			map[string]string{"SOLVER_POSTGRES_URL": ""},
			"worker database: ready\nbroker: ready\n",
		},
		"bindings not asked for": {
			[]string{"configure", "worker"},
			map[string]string{"SETUP_RABBITMQ_BINDINGS": "YES"},
			"worker database: ready\n",
		},
		"await one": {[]string{"await_migrations"}, map[string]string{"SOLVER_POSTGRES_URL": "", "WORKER_POSTGRES_URL": ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t)
			for variable, value := range c.variable {
				if value == "" {
					delete(d.environment, variable)
				} else {
					d.environment[variable] = value
				}
			}
			if got := d.mustRun(t, c.args...); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
		})
	}
}

// await_migrations waits for databases that are not migrated, and ends when they are.
func TestAwaitMigrations(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if r := d.run(ctx, "await_migrations"); r.code != exitFailure || !strings.Contains(r.stderr, "trade configure") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}

func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		environment    []string
		args           []string
		code           int
		stdout, stderr string
	}{
		"nothing is set": {
			nil,
			[]string{"configure"},
			exitFailure, "ERROR:trade:configuration error: SOLVER_POSTGRES_URL: missing", "the configuration is not valid",
		},
		"everything is reported": {
			[]string{"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=2.#", "FLUSH_PROCESSES=-1"},
			[]string{"flush_all"},
			exitFailure, "ERROR:trade:configuration error: PROTOCOL_BROKER_QUEUE_ROUTING_KEY: not a valid routing key", "the configuration is not valid",
		},
		"a flag": {
			[]string{"WORKER_POSTGRES_URL=postgres://nowhere.invalid/x"},
			[]string{"consume_messages", "--threads", "many"},
			exitUsage, "", `--threads: "many" is not an integer`,
		},
		"only what is used": {
			[]string{"WORKER_POSTGRES_URL=postgres://nowhere.invalid/x", "APP_FLUSH_STORE_DOCUMENT_BURST_COUNT=0"},
			[]string{"flush_start_sendings", "-p", "-1"},
			exitUsage, "", "--processes: must be at least 0",
		},
		"the owner is no collector": {
			[]string{"WORKER_POSTGRES_URL=postgres://nowhere.invalid/x", "OWNER_CREDITOR_ID=0x10000000000"},
			[]string{"consume_messages"},
			exitFailure, "ERROR:trade:configuration error: OWNER_CREDITOR_ID: must not be a collector ID", "the configuration is not valid",
		},
		"unknown database": {nil, []string{"configure", "everything"}, exitUsage, "", `invalid argument "everything"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := execute(t.Context(), c.environment, c.args, strings.NewReader(""), &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit code %d, it says\n%s%s", code, &stdout, &stderr)
			}
		})
	}
}

// A queue is filled as long as it is bound, and can be deleted when it is empty.
func TestQueueCommands(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "subscribe", "--queue", "one", "--queue-routing-key", "1.#")
	d.publish(t, broker.ToTrade, "1.0.1", "one")
	d.mustRun(t, "unsubscribe", "-q", "one", "-k", "1.#")
	d.mustRun(t, "unsubscribe", "-q", "one", "-k", "1.#")
	d.publish(t, broker.ToTrade, "1.0.1", "")
	if n := len(testenv.Drain(t, d.channel, "one")); n != 1 {
		t.Fatalf("there were %d messages in the queue", n)
	}
	d.mustRun(t, "delete_queue", "-q", "one")
	d.mustRun(t, "delete_queue", "-q", "one")
	d.mustRun(t, "unsubscribe", "-q", "one", "-k", "1.#")
	if _, err := d.channel.QueueDeclarePassive("one", true, false, false, false, nil); err == nil {
		t.Error("the queue is still there")
	}
}

// publish publishes a message, and checks whether a queue, if one is named, has got it.
func (d *deployment) publish(t *testing.T, exchange, key, queue string) {
	t.Helper()
	p := broker.NewPublisher(broker.PublisherConfig{
		URL:     d.environment["PROTOCOL_BROKER_URL"],
		Metrics: broker.NewMetrics(prometheus.NewRegistry()),
		Log:     slog.New(slog.DiscardHandler),
	})
	defer p.Close()
	outcomes, err := p.PublishAll(t.Context(), []broker.Publishing{{Exchange: exchange, RoutingKey: key, Mandatory: true}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcomes[0] == broker.Confirmed; got != (queue != "") {
		t.Fatalf("the message is %v", outcomes[0])
	}
}

// What arrives in the queue ends up in the database.
func TestConsumeMessages(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure", "worker")
	db := d.openWorkerDB(t)
	stop := d.start(t, "consume_messages", "--threads", "2", "--prefetch-count", "100")
	const messages = 300
	for i := range messages {
		m := &smp.UpdatedFlags{CreditorID: swpt.CreditorID(i), DebtorID: 1, UpdateID: 1, TS: time.Unix(0, 0)}
		body, err := m.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		publishing := amqp.Publishing{ContentType: smp.ContentType, Type: m.Type(), Body: body}
		if err := d.channel.PublishWithContext(t.Context(), broker.ToTrade, "1.1", true, false, publishing); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Eventually(t, servicePatience, func() error {
		var n int
		if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM trading_policy").Scan(&n); err != nil {
			return err
		}
		if n != messages {
			return fmt.Errorf("%d messages have been handled", n)
		}
		return nil
	})
	stop()
	if n := len(testenv.Drain(t, d.channel, "swpt_trade")); n != 0 {
		t.Errorf("%d messages are left in the queue", n)
	}
}

// Without processes, or without a broker to work for, a command stays alive and does nothing.
func TestIdleCommands(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure", "worker")
	for _, args := range [][]string{
		{"consume_messages", "-p", "0"},
		{"consume_internal_messages"},
		{"flush_all", "-p", "0"},
		{"fetch_debtor_infos", "-p", "0"},
		{"flush_messages", "NoSuchSignal"},
		{"flush_calculate_surpluses"},
		{"trigger_transfers", "-p", "0"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if r := d.run(ctx, args...); r.code != exitSuccess || r.stderr != "" || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("trade %q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
		cancel()
	}
}

// outgoing returns a message of each type that is sent. All of them can be routed if every queue is there.
func outgoing() map[string]smp.Outgoing {
	at := time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
	messages := map[string]smp.Outgoing{}
	for _, m := range []smp.Outgoing{
		&smp.ConfigureAccount{DebtorID: 1, CreditorID: 1, TS: at},
		&smp.PrepareTransfer{DebtorID: 1, CreditorID: 1, CoordinatorType: "agent", MaxLockedAmount: 1, TS: at},
		&smp.FinalizeTransfer{DebtorID: 1, CreditorID: 1, CoordinatorType: "agent", TS: at},
		&smp.FetchDebtorInfo{DebtorID: 1, IRI: "https://example.com/", TS: at},
		&smp.StoreDocument{DebtorID: 1, DebtorInfoLocator: "https://example.com/", TS: at},
		&smp.DiscoverDebtor{DebtorID: 1, IRI: "https://example.com/", TS: at},
		&smp.ConfirmDebtor{DebtorID: 1, DebtorInfoLocator: "https://example.com/", TS: at},
		&smp.ActivateCollector{DebtorID: 1, AccountID: "1", TS: at},
		&smp.CandidateOffer{DebtorID: 1, Amount: 1, TS: at},
		&smp.NeededCollector{DebtorID: 1, TS: at},
		&smp.ReviseAccountLock{DebtorID: 1, TS: at},
		&smp.TriggerTransfer{DebtorID: 1, TS: at},
		&smp.AccountIDRequest{DebtorID: 1, TS: at},
		&smp.AccountIDResponse{DebtorID: 1, TS: at},
		&smp.StartSending{DebtorID: 1, TS: at},
		&smp.StartDispatching{DebtorID: 1, TS: at},
		&smp.CollectingFailed{DebtorID: 1, TS: at},
		&smp.NothingToReceive{DebtorID: 1, TS: at},
		&smp.LockAbandoned{DebtorID: 1, TS: at},
	} {
		messages[m.Type()] = m
	}
	return messages
}

// flushedTypes are the types of messages that have a command of their own, by its name.
var flushedTypes = []struct{ command, messageType string }{
	{"flush_configure_accounts", smp.TypeConfigureAccount},
	{"flush_prepare_transfers", smp.TypePrepareTransfer},
	{"flush_finalize_transfers", smp.TypeFinalizeTransfer},
	{"flush_fetch_debtor_infos", smp.TypeFetchDebtorInfo},
	{"flush_store_documents", smp.TypeStoreDocument},
	{"flush_discover_debtors", smp.TypeDiscoverDebtor},
	{"flush_confirm_debtors", smp.TypeConfirmDebtor},
	{"flush_activate_collectors", smp.TypeActivateCollector},
	{"flush_candidate_offers", smp.TypeCandidateOffer},
	{"flush_needed_collectors", smp.TypeNeededCollector},
	{"flush_revise_account_locks", smp.TypeReviseAccountLock},
	{"flush_trigger_transfers", smp.TypeTriggerTransfer},
	{"flush_account_id_requests", smp.TypeAccountIDRequest},
	{"flush_account_id_responses", smp.TypeAccountIDResponse},
	{"flush_start_sendings", smp.TypeStartSending},
	{"flush_start_dispatchings", smp.TypeStartDispatching},
	{"flush_collecting_failures", smp.TypeCollectingFailed},
	{"flush_nothing_to_receives", smp.TypeNothingToReceive},
	{"flush_lock_abandonments", smp.TypeLockAbandoned},
}

// Each command sends the messages of its type, and no others.
func TestFlushCommands(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure", "worker")
	if _, err := d.channel.QueueDeclare("authority", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.channel.QueueBind("authority", "#", broker.CreditorsOut, false, nil); err != nil {
		t.Fatal(err)
	}
	db := d.openWorkerDB(t)
	all := outgoing()
	if len(all) != len(flushedTypes) {
		t.Fatalf("there are %d types of messages, and %d commands", len(all), len(flushedTypes))
	}
	err := db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		return outbox.Append(ctx, tx, slices.Collect(maps.Values(all))...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, flushed := range flushedTypes {
		if i%2 == 0 {
			d.mustRun(t, flushed.command, "--quit-early")
		} else {
			d.mustRun(t, "flush_messages", "--quit-early", flushed.messageType+"Signal")
		}
		d.mustReceive(t, flushed.messageType)
	}

	err = db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		return outbox.Append(ctx, tx, slices.Collect(maps.Values(all))...)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.mustRun(t, "flush_all", "--quit-early")
	d.mustReceive(t, slices.Sorted(maps.Keys(all))...)
}

// mustReceive checks which types of messages have arrived.
func (d *deployment) mustReceive(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, queue := range []string{"swpt_trade", "authority"} {
		messages := testenv.Drain(t, d.channel, queue)
		for i := range messages {
			got = append(got, messages[i].Type)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("sent have been %q, want %q", got, want)
	}
}

// A flusher that runs sends messages soon after they have been committed.
func TestFlushAll(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.environment["FLUSH_PERIOD"] = "3600"
	d.mustRun(t, "configure", "worker")
	db := d.openWorkerDB(t)
	d.start(t, "flush_all", "--processes", "2")
	for i := range 3 {
		err := db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
			return outbox.Append(ctx, tx, outgoing()[smp.TypeCandidateOffer])
		})
		if err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, servicePatience, func() error {
			if n := testenv.QueueDepth(t, d.channel, "swpt_trade"); n != i+1 {
				return fmt.Errorf("%d messages have been sent", n)
			}
			return nil
		})
	}
}
