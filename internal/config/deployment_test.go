package config

import (
	"slices"
	"testing"
	"time"
)

// What the commands use. WorkerRules is what the rules of workers need, in whatever command they run.
type (
	WorkerRules struct {
		SolverDatabase
		WorkerDatabase
		Pools
		Collectors
		Owner
		Pegs
		CommitPeriod
		Shard
		ParentShard
		InternalMessages
		DebtorInfo
		Pouring
		Accounts
		InterestRates
		Transfers
		Silence
		AccountLocks
		Slacks
	}
	workerSettings struct {
		Log
		Status
		Singleton
		WorkerRules
		ProtocolBroker
		ProtocolConsumer
		InternalBroker
		InternalConsumer
		Flush
		Bursts
		Fetch
		WorkerTurns
		Trigger
		PristineCollectors
		Sweeps
	}
	solverSettings struct {
		Log
		Status
		Singleton
		SolverDatabase
		Pools
		Collectors
		Turns
		CommitPeriod
		BaseCurrency
		Pegs
		Clearing
	}
	webserverSettings struct {
		Log
		Status
		SolverDatabase
		Pools
		Collectors
		Owner
		WebServer
		AdminAccess
	}
	configureSettings struct {
		Log
		SolverDatabase
		WorkerDatabase
		Shard
		ProtocolBroker
		InternalBroker
		BrokerSetup
	}
	configureSolverSettings struct {
		Log
		SolverDatabase
	}
	configureWorkerSettings struct {
		Log
		WorkerDatabase
		Shard
		ProtocolBroker
		InternalBroker
		BrokerSetup
	}
	awaitMigrationsSettings struct {
		Log
		SolverDatabase `optional:"true"`
		WorkerDatabase `optional:"true"`
	}
	consumeMessagesSettings struct {
		Log
		Status
		WorkerRules
		ProtocolBroker
		ProtocolConsumer
	}
	consumeInternalMessagesSettings struct {
		Log
		Status
		WorkerRules
		InternalBroker
		InternalConsumer
	}
	flushSettings struct {
		Log
		Status
		WorkerDatabase
		Pools
		Shard
		ParentShard
		ProtocolBroker
		InternalBroker
		Flush
		Bursts
	}
	fetchSettings struct {
		Log
		Status
		WorkerDatabase
		Pools
		Shard
		Pegs
		DebtorInfo
		Fetch
	}
	triggerSettings struct {
		Log
		Status
		WorkerDatabase
		Pools
		Shard
		Transfers
		Trigger
	}
	verifyShardSettings struct {
		Log
		WorkerDatabase
		Shard
		ShardVerification
	}
	topologySettings struct {
		Log
		Shard
		ProtocolBroker
		InternalBroker
	}
)

// What containers get, as in the manifests for Kubernetes.
var (
	turnSettings = []string{
		"TURN_PERIOD=1d", "TURN_PERIOD_OFFSET=2h", "TURN_PHASE1_DURATION=10m", "TURN_PHASE2_DURATION=1h",
		"OFFERS_POURING_DURATION=", "BASE_DEBTOR_INFO_LOCATOR=https://example.com/USD", "BASE_DEBTOR_ID=666",
		"MAX_DISTANCE_TO_BASE=10", "MIN_TRADE_AMOUNT=1000", "TRANSFERS_COLLECTOR_LIMIT=100000",
		"MIN_COLLECTOR_ID=0x0000010000000000", "MAX_COLLECTOR_ID=0x00000100000003ff", "SOLVER_INCREASED_WORK_MEM=50MB",
		"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=2h", "TRANSFERS_AMOUNT_CUT=1e-3", "OWNER_CREDITOR_ID=0x00000100ffffffff",
		"WEBSERVER_PROCESSES=1", "WEBSERVER_THREADS=3", "APP_VERIFY_SSL_CERTS=true",
	}
	shardSettings = []string{
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=0.#", "PROTOCOL_BROKER_PROCESSES=1", "PROTOCOL_BROKER_THREADS=3",
		"PROTOCOL_BROKER_PREFETCH_COUNT=10", "INTERNAL_BROKER_PROCESSES=1", "INTERNAL_BROKER_THREADS=3",
		"INTERNAL_BROKER_PREFETCH_COUNT=10", "FLUSH_PROCESSES=2", "FLUSH_PERIOD=1.5", "HTTP_FETCH_PROCESSES=1",
		"HTTP_FETCH_CONNECTIONS=10", "HTTP_FETCH_TIMEOUT=10.0", "TRIGGER_TRANSFERS_PROCESSES=1",
		"pg_cluster_name=trade-worker-db-0", "DELETE_PARENT_SHARD_RECORDS=true",
	}
	solverURL    = "SOLVER_POSTGRES_URL=postgresql+psycopg://solver:p/?#w@trade-solver-db:5432/db?connect_timeout=10"
	databaseURLs = []string{
		solverURL,
		"WORKER_POSTGRES_URL=postgresql+psycopg://worker:p/?#w@trade-worker-db-0:5432/db?connect_timeout=10",
		"pg_username=worker", "pg_password=p/?#w",
	}
	brokerSettings = []string{
		"PROTOCOL_BROKER_URL=amqp://user:pass@rabbitmq:5672/trade", "PROTOCOL_BROKER_QUEUE=trade-worker-db-0",
		"INTERNAL_BROKER_URL=amqp://user:pass@internal-rabbitmq:5672", "INTERNAL_BROKER_QUEUE=trade-worker-db-0-internal",
		"rmq_username=user", "internal_rmq_password=pass",
	}
	logSettings = []string{"APP_LOG_LEVEL=info", "APP_LOG_FORMAT=json"}
	noProcesses = []string{
		"PROTOCOL_BROKER_PROCESSES=0", "INTERNAL_BROKER_PROCESSES=0", "FLUSH_PROCESSES=0", "HTTP_FETCH_PROCESSES=0",
		"TRIGGER_TRANSFERS_PROCESSES=0",
	}
	webAccess = []string{
		"OAUTH2_INTROSPECT_URL=http://hydra:4445/oauth2/introspect", "OAUTH2_SUPERUSER_USERNAME=creditors-superuser",
		"OAUTH2_SUPERVISOR_USERNAME=creditors-supervisor",
	}

	// Every variable that is accepted, and ignored.
	ignoredSettings = []string{
		"APP_ROOT_DIR=/usr/src/app", "FLASK_APP=swpt_trade", "FLASK_RUN_PORT=x", "GUNICORN_LOGLEVEL=x", "RESOURCE_SERVER=x",
		"APP_ASSOCIATED_LOGGERS=x y", "SQLALCHEMY_ECHO=x", "SQLALCHEMY_TRACK_MODIFICATIONS=x", "OPENAPI_REDOC_PATH=x",
		"OPENAPI_REDOC_URL=x", "OPENAPI_URL_PREFIX=x", "OPENAPI_SWAGGER_UI_PATH=x", "OPENAPI_VERSION=x", "API_TITLE=x",
		"API_VERSION=x", "PATH=/usr/bin", "HOME=", "SHARD0_ROUTING_KEY=x", "no equals sign", "=",
	}
)

// Every container of the manifests and of the compose file starts with what it gets.
func TestDeployments(t *testing.T) {
	t.Parallel()
	worker := slices.Concat(turnSettings, shardSettings, databaseURLs, brokerSettings, logSettings)
	composeBase := []string{
		"SOLVER_POSTGRES_URL=postgresql+psycopg://trade_solver:secret@pg/test?options=x", "APP_LOG_LEVEL=info",
		"APP_LOG_FORMAT=text", "MIN_COLLECTOR_ID=0x0000010000000000", "MAX_COLLECTOR_ID=0x00000100000007ff",
	}
	composeBrokers := []string{
		"WORKER_POSTGRES_URL=postgresql+psycopg://trade_worker:secret@pg/test",
		"PROTOCOL_BROKER_URL=amqp://guest:guest@rabbitmq:5672", "PROTOCOL_BROKER_QUEUE=swpt_trade",
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=#", "INTERNAL_BROKER_URL=amqp://guest:guest@rabbitmq:5672",
		"INTERNAL_BROKER_QUEUE=swpt_trade-internal",
		"SUBSTITUTE_LOCALHOST_IN_VARS=PROTOCOL_BROKER_URL INTERNAL_BROKER_URL",
	}
	for name, test := range map[string]struct {
		settings    any
		environment []string
	}{
		"solver":           {new(solverSettings), slices.Concat(turnSettings, []string{solverURL}, logSettings)},
		"configure solver": {new(configureSolverSettings), slices.Concat([]string{solverURL}, logSettings)},
		"webserver": {
			new(webserverSettings), slices.Concat(turnSettings, []string{solverURL}, webAccess, logSettings),
		},
		"worker": {new(workerSettings), slices.Concat(worker, noProcesses)},
		"configure worker": {
			new(configureWorkerSettings), slices.Concat(worker, []string{"SETUP_RABBITMQ_BINDINGS=yes"}),
		},
		"consume_messages":          {new(consumeMessagesSettings), worker},
		"consume_internal_messages": {new(consumeInternalMessagesSettings), worker},
		"flush_all":                 {new(flushSettings), worker},
		"fetch_debtor_infos":        {new(fetchSettings), worker},
		"trigger_transfers":         {new(triggerSettings), worker},
		"await_migrations": {
			new(awaitMigrationsSettings), slices.Concat(turnSettings, shardSettings, databaseURLs, logSettings),
		},
		"await_migrations of nothing": {new(awaitMigrationsSettings), nil},
		"verify_shard_content": {
			new(verifyShardSettings), slices.Concat(shardSettings, databaseURLs, brokerSettings, []string{"APP_LOG_LEVEL=info"}),
		},
		"subscribe, unsubscribe, delete_queue": {
			new(topologySettings), slices.Concat(turnSettings, databaseURLs, brokerSettings,
				[]string{"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=0.0.#", "APP_LOG_LEVEL=info", "SHARD_SUFFIX=-00"}),
		},
		"compose: configure": {
			new(configureSettings), slices.Concat(composeBase[:3], composeBrokers, []string{"SETUP_RABBITMQ_BINDINGS=yes"}),
		},
		"compose: solver": {
			new(solverSettings), slices.Concat(composeBase, []string{
				"TURN_PERIOD=1m", "TURN_PERIOD_OFFSET=0s", "TURN_PHASE1_DURATION=10s", "TURN_PHASE2_DURATION=30s",
				"BASE_DEBTOR_INFO_LOCATOR=https://host.docker.internal:44302/USD", "BASE_DEBTOR_ID=666",
				"MAX_DISTANCE_TO_BASE=10", "MIN_TRADE_AMOUNT=1000", "TRANSFERS_COLLECTOR_LIMIT=15000",
				"SOLVER_INCREASED_WORK_MEM=4MB",
			}),
		},
		"compose: worker": {
			new(workerSettings), slices.Concat(composeBase, composeBrokers, []string{
				"OWNER_CREDITOR_ID=0x00000100ffffffff", "TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=2h", "TRANSFERS_AMOUNT_CUT=1e-5",
				"PROTOCOL_BROKER_PROCESSES=1", "PROTOCOL_BROKER_THREADS=1", "PROTOCOL_BROKER_PREFETCH_COUNT=1",
				"PROTOCOL_BROKER_PREFETCH_SIZE=0", "INTERNAL_BROKER_PROCESSES=1", "INTERNAL_BROKER_THREADS=1",
				"INTERNAL_BROKER_PREFETCH_COUNT=1", "INTERNAL_BROKER_PREFETCH_SIZE=0", "FLUSH_PROCESSES=1", "FLUSH_PERIOD=2",
				"HTTP_FETCH_PROCESSES=1", "HTTP_FETCH_CONNECTIONS=10", "HTTP_FETCH_TIMEOUT=10.0",
				"TRIGGER_TRANSFERS_PROCESSES=1", "DELETE_PARENT_SHARD_RECORDS=false", "APP_ROLL_WORKER_TURNS_WAIT=5.0",
				"APP_VERIFY_SSL_CERTS=false",
			}),
		},
		"compose: webserver": {
			new(webserverSettings), slices.Concat(composeBase, webAccess, []string{
				"OWNER_CREDITOR_ID=0x00000100ffffffff", "WEBSERVER_PROCESSES=1", "WEBSERVER_THREADS=1", "WEBSERVER_PORT=8080",
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			input := Input{Environment: slices.Concat(ignoredSettings, test.environment), DefaultGateway: gateway}
			if _, errs := loadFrom(t, test.settings, input); errs != nil {
				t.Error(errs)
			}
		})
	}
}

// Some of what the manifests tell is easily misunderstood.
func TestDeployedValues(t *testing.T) {
	t.Parallel()
	var settings workerSettings
	environment := slices.Concat(turnSettings, shardSettings, databaseURLs, brokerSettings, logSettings, noProcesses)
	if _, errs := load(t, &settings, environment...); errs != nil {
		t.Fatal(errs)
	}
	switch {
	case settings.Pouring.Duration != nil, settings.Pouring.Lead(70*time.Minute) != 5*time.Minute:
		t.Error("an empty duration of pouring is not ignored")
	case settings.Flush.Processes != 0, settings.ProtocolConsumer.Processes != 0, settings.ProtocolConsumer.Threads != 3:
		t.Error("no processes are some")
	case settings.Fetch.AllowPrivate():
		t.Error("private addresses are allowed")
	case string(settings.SolverDatabase.URL) != solverURL[len("SOLVER_POSTGRES_URL="):]:
		t.Errorf("a raw password is changed: %s", string(settings.SolverDatabase.URL))
	case settings.Shard.Realm.String() != "0.#", !settings.ParentShard.DeleteRecords:
		t.Error("the shard is another one")
	}
}
