package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// What containers get, as in the manifests for Kubernetes.
var (
	turnEnvironment = []string{
		"TURN_PERIOD=1d", "TURN_PERIOD_OFFSET=2h", "TURN_PHASE1_DURATION=10m", "TURN_PHASE2_DURATION=1h",
		"OFFERS_POURING_DURATION=", "BASE_DEBTOR_INFO_LOCATOR=https://example.com/USD", "BASE_DEBTOR_ID=666",
		"MAX_DISTANCE_TO_BASE=10", "MIN_TRADE_AMOUNT=1000", "TRANSFERS_COLLECTOR_LIMIT=100000",
		"MIN_COLLECTOR_ID=0x0000010000000000", "MAX_COLLECTOR_ID=0x00000100000003ff", "SOLVER_INCREASED_WORK_MEM=50MB",
		"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=2h", "TRANSFERS_AMOUNT_CUT=1e-3", "OWNER_CREDITOR_ID=0x00000100ffffffff",
		"WEBSERVER_PROCESSES=1", "WEBSERVER_THREADS=3", "APP_VERIFY_SSL_CERTS=true",
	}
	shardEnvironment = []string{
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=0.#", "PROTOCOL_BROKER_PROCESSES=1", "PROTOCOL_BROKER_THREADS=3",
		"PROTOCOL_BROKER_PREFETCH_COUNT=10", "INTERNAL_BROKER_PROCESSES=1", "INTERNAL_BROKER_THREADS=3",
		"INTERNAL_BROKER_PREFETCH_COUNT=10", "FLUSH_PROCESSES=2", "FLUSH_PERIOD=1.5", "HTTP_FETCH_PROCESSES=1",
		"HTTP_FETCH_CONNECTIONS=10", "HTTP_FETCH_TIMEOUT=10.0", "TRIGGER_TRANSFERS_PROCESSES=1",
		"pg_cluster_name=trade-worker-db-0", "DELETE_PARENT_SHARD_RECORDS=true",
	}
	jsonLog         = []string{"APP_LOG_LEVEL=info", "APP_LOG_FORMAT=json"}
	webEnvironment  = []string{"OAUTH2_INTROSPECT_URL=http://hydra:4445/oauth2/introspect", "OAUTH2_SUPERUSER_USERNAME=creditors-superuser", "OAUTH2_SUPERVISOR_USERNAME=creditors-supervisor"}
	nothingToDo     = []string{"PROTOCOL_BROKER_PROCESSES=0", "INTERNAL_BROKER_PROCESSES=0", "FLUSH_PROCESSES=0", "HTTP_FETCH_PROCESSES=0", "TRIGGER_TRANSFERS_PROCESSES=0"}
	ofOtherSoftware = []string{
		"APP_ROOT_DIR=/usr/src/app", "FLASK_APP=swpt_trade", "FLASK_RUN_PORT=x", "GUNICORN_LOGLEVEL=x", "RESOURCE_SERVER=x",
		"APP_ASSOCIATED_LOGGERS=x y", "SQLALCHEMY_ECHO=x", "SQLALCHEMY_TRACK_MODIFICATIONS=x", "OPENAPI_VERSION=x", "API_TITLE=x",
	}
)

// rawPassword has what manifests splice into URLs without encoding it.
const rawPassword = "p/w?x#y%z&" //nolint:gosec // it is made up

// newRole adds a role to the database of a test, with a schema of its own, and returns the URL with which the manifests
// have the role connect.
func newRole(t *testing.T, databaseURL, kind string) string {
	t.Helper()
	parsed, err := postgres.ParseURL(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(server.Path, "/")
	role := kind + "_" + database[max(0, len(database)-40):]
	do := func(ctx context.Context, statements ...string) {
		t.Helper()
		conn, err := postgres.Connect(ctx, parsed)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(ctx) }()
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	quoted := `"` + role + `"`
	do(t.Context(),
		`CREATE ROLE `+quoted+` LOGIN PASSWORD '`+rawPassword+`'`,
		`CREATE SCHEMA `+quoted+` AUTHORIZATION `+quoted,
		`ALTER ROLE `+quoted+` SET search_path TO `+quoted)
	t.Cleanup(func() { // before the database is dropped
		do(context.WithoutCancel(t.Context()), `DROP OWNED BY `+quoted+` CASCADE`, `DROP ROLE `+quoted)
	})
	return fmt.Sprintf("postgresql+psycopg://%s:%s@%s/%s?connect_timeout=10", role, rawPassword, server.Host, database)
}

// mustLogJSON checks that log collectors would not take a line of the output for an error.
func (p *process) mustLogJSON(t *testing.T) {
	t.Helper()
	for line := range bytes.Lines([]byte(p.output.String())) {
		var record struct{ Levelname string }
		if err := json.Unmarshal(line, &record); err != nil || record.Levelname == "" {
			t.Errorf("%s says %s", p.name, line)
		}
	}
}

// Every container of the manifests for Kubernetes starts with the arguments and the environment that it gets there, becomes
// ready, and ends when it is asked to, or does its work and ends.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	solverURL := "SOLVER_POSTGRES_URL=" + newRole(t, testenv.NewDatabase(t), "solver")
	databases := []string{
		solverURL, "WORKER_POSTGRES_URL=" + newRole(t, testenv.NewDatabase(t), "worker"), "pg_username=worker", "pg_password=" + rawPassword,
	}
	protocolURL, internalURL := testenv.NewVirtualHost(t), testenv.NewVirtualHost(t)
	brokers := func(suffix string) []string {
		return []string{
			"PROTOCOL_BROKER_URL=" + protocolURL, "PROTOCOL_BROKER_QUEUE=trade-worker-db" + suffix,
			"INTERNAL_BROKER_URL=" + internalURL, "INTERNAL_BROKER_QUEUE=trade-worker-db" + suffix + "-internal",
			"rmq_username=user", "internal_rmq_password=pass",
		}
	}
	worker := slices.Concat(turnEnvironment, shardEnvironment, databases, brokers("-0"), jsonLog, ofOtherSoftware)
	await := slices.Concat(turnEnvironment, shardEnvironment, databases, jsonLog)
	solver := slices.Concat(turnEnvironment, []string{solverURL}, jsonLog)

	waiting := launch(t, await, "await_migrations")
	waiting.mustSay(t, "waiting for a database")
	var setUp []*process
	for range 2 { // of the solver, and of a web server
		setUp = append(setUp, launch(t, slices.Concat([]string{solverURL}, jsonLog), "configure", "solver"))
	}
	setUp = append(setUp, launch(t, slices.Concat(worker, []string{"SETUP_RABBITMQ_BINDINGS=yes"}), "configure", "worker"))
	for _, p := range setUp {
		p.mustEnd(t, 0)
		p.mustLogJSON(t)
	}

	webPort := strconv.Itoa(testenv.FreePort(t)) // instead of 8080, which another process may have
	var pods []*process
	for _, pod := range []struct {
		environment []string
		args        []string
	}{
		{solver, []string{"solver"}},
		{slices.Concat(solver, webEnvironment, []string{"WEBSERVER_PORT=" + webPort}), []string{"webserver"}},
		{slices.Concat(worker, nothingToDo), []string{"worker"}},
		{worker, []string{"consume_messages"}},
		{worker, []string{"consume_messages", "--draining-mode"}},
		{worker, []string{"consume_internal_messages"}},
		{worker, []string{"consume_internal_messages", "--draining-mode"}},
		{worker, []string{"flush_all"}},
		{worker, []string{"fetch_debtor_infos"}},
		{worker, []string{"trigger_transfers"}},
	} {
		pods = append(pods, launch(t, pod.environment, pod.args...))
	}
	for _, p := range pods {
		p.mustBecome(t, 200)
	}
	if code, body := get("http://127.0.0.1:" + webPort + "/trade/health/check/public"); code != 200 || body != "I am healthy." {
		t.Errorf("the web server's health is %d %s", code, body)
	}
	for _, p := range pods {
		p.mustStop(t, syscall.SIGTERM, 0)
		p.mustLogJSON(t)
	}
	waiting.mustEnd(t, 0)
	launch(t, slices.Concat(shardEnvironment, databases, brokers("-0"), []string{"APP_LOG_LEVEL=info"}),
		"verify_shard_content").mustEnd(t, 0)

	// The second phase of splitting the shard. It needs no databases.
	away := []string{
		"SOLVER_POSTGRES_URL=postgresql+psycopg://solver:" + rawPassword + "@nowhere.invalid:5432/db?connect_timeout=10",
		"WORKER_POSTGRES_URL=postgresql+psycopg://worker:" + rawPassword + "@nowhere.invalid:5432/db?connect_timeout=10",
	}
	job := func(suffix, key, command string) *process {
		environment := slices.Concat(turnEnvironment, away, brokers(suffix), []string{
			"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=" + key, "APP_LOG_LEVEL=info", "SHARD_SUFFIX=" + suffix, "SHARD0_ROUTING_KEY=0.0.#",
		})
		return launch(t, environment, command)
	}
	for range 2 { // a job that is restarted does everything again
		for _, step := range [][]string{
			{"-00", "0.0.#", "subscribe"}, {"-01", "0.1.#", "subscribe"}, {"-0", "0.#", "unsubscribe"}, {"-0", "0.#", "delete_queue"},
		} {
			job(step[0], step[1], step[2]).mustEnd(t, 0)
		}
	}
}

// Every service of the compose file starts with what it gets there. Nothing orders the services, and nothing restarts
// them: they wait for the servers, the tables and the queues. Both databases are schemas of one.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	database := testenv.NewDatabase(t)
	databases, broker := testenv.NewProxy(t, database), testenv.NewProxy(t, testenv.NewVirtualHost(t))
	solverURL, workerURL := newRole(t, database, "solver"), newRole(t, database, "worker")
	through := func(databaseURL string) string {
		parsed, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Replace(databaseURL, parsed.Host, databases.Addr(), 1)
	}
	common := []string{
		"SOLVER_POSTGRES_URL=" + through(solverURL), "APP_LOG_LEVEL=info", "APP_LOG_FORMAT=text",
	}
	collectors := []string{"MIN_COLLECTOR_ID=0x0000010000000000", "MAX_COLLECTOR_ID=0x00000100000007ff"}
	shard := []string{
		"WORKER_POSTGRES_URL=" + through(workerURL),
		"PROTOCOL_BROKER_URL=" + broker.URL(), "PROTOCOL_BROKER_QUEUE=swpt_trade", "PROTOCOL_BROKER_QUEUE_ROUTING_KEY=#",
		"INTERNAL_BROKER_URL=" + broker.URL(), "INTERNAL_BROKER_QUEUE=swpt_trade-internal",
		"SUBSTITUTE_LOCALHOST_IN_VARS=PROTOCOL_BROKER_URL INTERNAL_BROKER_URL",
	}
	owner := []string{"OWNER_CREDITOR_ID=0x00000100ffffffff"}
	databases.Refuse()
	broker.Refuse()
	webPort := strconv.Itoa(testenv.FreePort(t))
	services := []*process{
		launch(t, slices.Concat(common, collectors, []string{
			"TURN_PERIOD=1m", "TURN_PERIOD_OFFSET=0s", "TURN_PHASE1_DURATION=10s", "TURN_PHASE2_DURATION=30s",
			"BASE_DEBTOR_INFO_LOCATOR=https://host.docker.internal:44302/USD", "BASE_DEBTOR_ID=666", "MAX_DISTANCE_TO_BASE=10",
			"MIN_TRADE_AMOUNT=1000", "TRANSFERS_COLLECTOR_LIMIT=15000", "SOLVER_INCREASED_WORK_MEM=4MB",
		}), "solver"),
		launch(t, slices.Concat(common, collectors, shard, owner, []string{
			"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=2h", "TRANSFERS_AMOUNT_CUT=1e-5", "PROTOCOL_BROKER_PROCESSES=1",
			"PROTOCOL_BROKER_THREADS=1", "PROTOCOL_BROKER_PREFETCH_COUNT=1", "PROTOCOL_BROKER_PREFETCH_SIZE=0",
			"INTERNAL_BROKER_PROCESSES=1", "INTERNAL_BROKER_THREADS=1", "INTERNAL_BROKER_PREFETCH_COUNT=1",
			"INTERNAL_BROKER_PREFETCH_SIZE=0", "FLUSH_PROCESSES=1", "FLUSH_PERIOD=2", "HTTP_FETCH_PROCESSES=1",
			"HTTP_FETCH_CONNECTIONS=10", "HTTP_FETCH_TIMEOUT=10.0", "TRIGGER_TRANSFERS_PROCESSES=1",
			"DELETE_PARENT_SHARD_RECORDS=false", "APP_ROLL_WORKER_TURNS_WAIT=5.0", "APP_VERIFY_SSL_CERTS=false",
		}), "worker"),
		launch(t, slices.Concat(common, collectors, owner, webEnvironment, []string{
			"WEBSERVER_PROCESSES=1", "WEBSERVER_THREADS=1", "WEBSERVER_PORT=" + webPort,
		}), "webserver"),
	}
	for i, sign := range []string{"is restarted", "is restarted", "waiting for the solver database"} {
		services[i].mustSay(t, sign)
	}
	health := "http://127.0.0.1:" + webPort + "/trade/health/check/public"
	if code, body := get(health); code != 200 {
		t.Errorf("the web server's health is %d %s", code, body)
	}
	databases.Accept()
	for _, p := range services {
		p.mustSay(t, "trade configure") // the servers are there, but not the tables
		p.mustBecome(t, 503)
	}
	configuring := launch(t, slices.Concat(common, shard, []string{"SETUP_RABBITMQ_BINDINGS=yes"}), "configure")
	configuring.mustSay(t, "trying again")
	broker.Accept()
	configuring.mustEnd(t, 0)
	for _, p := range services {
		p.mustBecome(t, 200)
	}

	// Later, all servers are away for a while.
	databases.Refuse()
	databases.Cut()
	broker.Refuse()
	broker.Cut()
	for _, p := range services {
		p.mustBecome(t, 503)
	}
	databases.Accept()
	broker.Accept()
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		services[i].mustBecome(t, 200)
		services[i].mustStop(t, s, 0)
	}
}
