package config

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Log says what is logged, and how. All commands use it.
type Log struct {
	// Least severity logged: debug, info, warning or error. At debug, the web server also logs every request.
	Level LogLevel `env:"APP_LOG_LEVEL" default:"warning"`
	// Form of the log on standard output: text for people, json (an object a line) for log collectors.
	Format LogFormat `env:"APP_LOG_FORMAT" default:"text"`
}

// Status says where a process tells how it is doing. All commands that run for long use it.
type Status struct {
	// Port of /healthz, /readyz and /metrics, which ask for no tokens. Unset: they are not served.
	Port int `env:"APP_STATUS_PORT" validate:"gte=1,lte=65535"`
}

// Localhost helps development set-ups in which a container needs servers of the machine that it runs on. It is obeyed
// before anything else is looked at, by all commands.
type Localhost struct {
	// Names of variables, separated by spaces, such as PROTOCOL_BROKER_URL. Where the host in the URL of such a
	// variable is exactly localhost, it is replaced by the address of the default gateway. Without a default route,
	// nothing is replaced.
	Variables string `env:"SUBSTITUTE_LOCALHOST_IN_VARS"`
}

// SolverDatabase leads to the database that the solver, the workers and the admin API share.
type SolverDatabase struct {
	// Solver database: postgresql://user:password@host:port/database. The driver in the scheme, as in
	// postgresql+psycopg, is ignored. Required.
	URL DatabaseURL `env:"SOLVER_POSTGRES_URL" required:"missing"`
	// Largest number of pooled connections to the solver database. 0 or unset: no limit.
	PoolSize int `env:"SOLVER_CLIENT_POOL_SIZE" default:"0" validate:"gte=0"`
}

// WorkerDatabase leads to the database of one worker.
type WorkerDatabase struct {
	// Database of this worker, see SOLVER_POSTGRES_URL. Required by everything that works for a shard.
	URL DatabaseURL `env:"WORKER_POSTGRES_URL" required:"missing"`
}

// Pools limits the pools of connections to databases. All servers use it.
type Pools struct {
	// A JSON object in which these options are looked at: pool_size (0: no limit) and max_overflow limit the number of
	// connections to the worker database; pool_timeout, in seconds, says how long to wait for a connection that is not
	// free, and pool_recycle at which age connections are replaced, both for all databases.
	Options PoolOptions `env:"SQLALCHEMY_ENGINE_OPTIONS" default:"{\"pool_size\": 0}"`
}

// Collectors is the range of the collectors' creditor IDs. It is the same for all servers of a node, and must never
// change once it has been used.
type Collectors struct {
	// Lowest collector ID.
	MinID swpt.CreditorID `env:"MIN_COLLECTOR_ID" default:"0x0000010000000000"`
	// Highest collector ID. Real deployments set both ends of the range.
	MaxID swpt.CreditorID `env:"MAX_COLLECTOR_ID" default:"0x00000100000007ff"`
}

// Owner is the user to whom the node belongs.
type Owner struct {
	// User account of the node's owner, who has the rights of a supervisor. Surpluses of collectors are not spent for the
	// owner yet: they stay where they are.
	CreditorID swpt.CreditorID `env:"OWNER_CREDITOR_ID" default:"0x00000100ffffffff"`
}

// Singleton is for servers and components of which only one may run.
type Singleton struct {
	// How long to wait for another instance to end, before giving up. Rolling updates overlap briefly.
	Wait time.Duration `env:"APP_SINGLETON_WAIT" default:"60s"`
}

// Pegs limits chains of pegged currencies. The solver and the workers use it.
type Pegs struct {
	// Longest path of pegs from a currency to the base currency.
	MaxDistanceToBase int `env:"MAX_DISTANCE_TO_BASE" default:"10" validate:"gte=2,lte=32767"`
}

// CommitPeriod limits how long a turn's transfers may take. The solver and the workers use it.
type CommitPeriod struct {
	// Time from the start of a turn's phase 2 to its collection deadline. Accounts that do not allow transfers to be
	// committed so late do not take part.
	Max time.Duration `env:"APP_TURN_MAX_COMMIT_PERIOD" default:"30d"`
}
