package workerdb

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/sql"
)

// Migrations returns what brings the database to its present form.
func Migrations() postgres.Migrations {
	return postgres.Migrations{Table: "trade_worker_schema", Files: sql.WorkerMigrations()}
}

// A DB is the database of a worker.
type DB struct {
	*postgres.DB
}

// Open returns the database with a URL. It connects when it is first needed. The caller has to close it. Most tables are
// queues, so plans of statements are not kept, whatever the options say.
func Open(url postgres.URL, options postgres.Options) (*DB, error) {
	if options.Registerer != nil {
		options.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"database": "worker"}, options.Registerer)
	}
	options.FreshPlans = true
	db, err := postgres.Open(url, options)
	if err != nil {
		return nil, err
	}
	return &DB{db}, nil
}

// Migrated reports whether the tables are there, in the form that this program expects or a later one.
func (db *DB) Migrated(ctx context.Context) (bool, error) {
	return Migrations().Done(ctx, db.Pool())
}

// Queries returns the queries, each to be run in a transaction of its own.
func (db *DB) Queries() *Queries {
	return New(db.Pool())
}

// A Tx is a transaction.
type Tx struct {
	pgx.Tx
	*Queries
	topics      map[string]struct{}
	afterCommit []func()
}

// NotifyOnCommit has the commit tell of topics, as [postgres.Notify] does.
func (tx *Tx) NotifyOnCommit(topics ...string) {
	if tx.topics == nil {
		tx.topics = map[string]struct{}{}
	}
	for _, topic := range topics {
		tx.topics[topic] = struct{}{}
	}
}

// AfterCommit has do called when the transaction has been committed: once, and not when it is rolled back or repeated. It
// is for telling operators what has been done, in metrics and in the log. If the process dies, nobody is told.
func (tx *Tx) AfterCommit(do func()) {
	tx.afterCommit = append(tx.afterCommit, do)
}

// InTx runs do in a transaction that sees the database as it was at its beginning, and repeats it after lost races. See
// [postgres.DB.InTx].
func (db *DB) InTx(ctx context.Context, name string, do func(context.Context, *Tx) error) error {
	return inTx(ctx, name, db.DB.InTx, do)
}

// InReadCommittedTx runs do in a transaction in which each statement sees what was committed before it. See
// [postgres.DB.InReadCommittedTx].
func (db *DB) InReadCommittedTx(ctx context.Context, name string, do func(context.Context, *Tx) error) error {
	return inTx(ctx, name, db.DB.InReadCommittedTx, do)
}

// run is how a transaction is run whatever it does.
type run = func(ctx context.Context, name string, do func(context.Context, pgx.Tx) error) error

func inTx(ctx context.Context, name string, run run, do func(context.Context, *Tx) error) error {
	var latest *Tx
	err := run(ctx, name, func(ctx context.Context, plain pgx.Tx) error {
		tx := &Tx{Tx: plain, Queries: New(plain)}
		latest = tx
		if err := do(ctx, tx); err != nil {
			return err
		}
		if len(tx.topics) == 0 {
			return nil
		}
		return postgres.Notify(ctx, tx, slices.Sorted(maps.Keys(tx.topics))...)
	})
	if err != nil {
		return err
	}
	for _, tell := range latest.afterCommit {
		tell()
	}
	return nil
}
