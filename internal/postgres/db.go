package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// ErrPoolExhausted tells that all connections of a pool stayed busy for as long as the caller was ready to wait.
var ErrPoolExhausted = errors.New("no database connection became free")

// Options of a [DB]. The zero value is valid.
type Options struct {
	// MaxConns is the largest number of pooled connections. Zero: as many as are asked for at the same time.
	MaxConns int

	// AcquireTimeout is how long a transaction waits for a free connection before it fails with [ErrPoolExhausted].
	// Zero: as long as its context allows.
	AcquireTimeout time.Duration

	// MaxConnLifetime is the age at which connections are replaced. Zero: an hour.
	MaxConnLifetime time.Duration

	// Retry says how often a transaction is repeated. The zero value stands for [DefaultRetry].
	Retry Retry

	// Registerer takes the metrics of the database, until it is closed. Nil: they are not kept. Of two databases in one
	// program, each needs a label of its own (see [prometheus.WrapRegistererWith]).
	Registerer prometheus.Registerer

	// FreshPlans has the server plan each statement when it is executed, which takes a tenth of a millisecond, and not
	// keep the plan. It is for tables that are often empty, and large a moment later: a plan that was made for an empty
	// table reads all of a large one, each time, until the server happens to count its rows.
	FreshPlans bool

	// Tracer is told of all that is sent to the server. Nil: nobody is.
	Tracer pgx.QueryTracer
}

// A DB is a database on which transactions run. It can be used by several goroutines at a time.
type DB struct {
	pool           *pgxpool.Pool
	url            URL
	acquireTimeout time.Duration
	retry          Retry
	metrics        *metrics
	registerer     prometheus.Registerer
}

const (
	defaultMaxConnLifetime = time.Hour
	pingTimeout            = 5 * time.Second
	closeTimeout           = time.Second
)

// Open returns a database that connects when it is first needed: an unreachable server is not an error. The caller has
// to close the database.
func Open(url URL, options Options) (*DB, error) {
	if url.config == nil {
		return nil, invalidURL("it is empty")
	}
	config := url.config.Copy()
	config.MaxConns = int32(max(0, min(options.MaxConns, math.MaxInt32)))
	if config.MaxConns == 0 {
		config.MaxConns = math.MaxInt32
	}
	config.MaxConnLifetime = options.MaxConnLifetime
	if config.MaxConnLifetime == 0 {
		config.MaxConnLifetime = defaultMaxConnLifetime
	}
	config.MaxConnLifetimeJitter = config.MaxConnLifetime / 10
	config.PingTimeout = pingTimeout
	config.ConnConfig.Tracer = options.Tracer
	if options.FreshPlans {
		config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	}
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		scanInUTC(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("making a pool of connections to %v: %w", url, err)
	}
	db := &DB{
		pool:           pool,
		url:            url,
		acquireTimeout: options.AcquireTimeout,
		retry:          options.Retry,
		metrics:        newMetrics(pool),
		registerer:     options.Registerer,
	}
	if db.retry == (Retry{}) {
		db.retry = DefaultRetry
	}
	if db.registerer != nil {
		if err := db.registerer.Register(db.metrics); err != nil {
			pool.Close()
			return nil, fmt.Errorf("registering the metrics of the database %v: %w", url, err)
		}
	}
	return db, nil
}

// scanInUTC has instants read in UTC. The default would be the time zone of the machine.
func scanInUTC(types *pgtype.Map) {
	timestamptz := &pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	}
	types.RegisterType(timestamptz)
	types.RegisterType(&pgtype.Type{
		Name: "_timestamptz", OID: pgtype.TimestamptzArrayOID, Codec: &pgtype.ArrayCodec{ElementType: timestamptz},
	})
}

// Close waits until all connections have been given back, and closes them.
func (db *DB) Close() {
	db.pool.Close()
	if db.registerer != nil {
		db.registerer.Unregister(db.metrics)
	}
}

// Pool returns the pool of connections, for single statements that need no transaction of their own.
func (db *DB) Pool() *pgxpool.Pool {
	return db.pool
}

// URL returns what the database was opened with.
func (db *DB) URL() URL {
	return db.url
}

// Ping reports whether the server answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.Ping(ctx); err != nil {
		return fmt.Errorf("looking whether the database %v answers: %w", db.url, err)
	}
	return nil
}

// acquire returns a connection, which the caller has to release.
func (db *DB) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	waiting := ctx
	if db.acquireTimeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, db.acquireTimeout)
		defer cancel()
	}
	conn, err := db.pool.Acquire(waiting)
	if err != nil {
		if waiting.Err() != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("%w within %v: allow more than %d, or find out what keeps them busy",
				ErrPoolExhausted, db.acquireTimeout, db.pool.Config().MaxConns)
		}
		return nil, fmt.Errorf("connecting to the database %v: %w", db.url, err)
	}
	return conn, nil
}

// Connect makes a connection outside of any pool. The caller has to close it.
func Connect(ctx context.Context, url URL) (*pgx.Conn, error) {
	if url.config == nil {
		return nil, invalidURL("it is empty")
	}
	conn, err := pgx.ConnectConfig(ctx, url.config.ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connecting to the database %v: %w", url, err)
	}
	scanInUTC(conn.TypeMap())
	return conn, nil
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ending) // nothing depends on the farewell
}
