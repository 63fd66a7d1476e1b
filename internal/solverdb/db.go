package solverdb

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/sql"
)

// Migrations returns what brings the database to its present form. Tables that swpt_trade has made are taken as they are.
func Migrations() postgres.Migrations {
	return postgres.Migrations{Table: "trade_solver_schema", Files: sql.SolverMigrations()}
}

// A DB is the solver database.
type DB struct {
	*postgres.DB
}

// Open returns the database with a URL. It connects when it is first needed. The caller has to close it.
func Open(url postgres.URL, options postgres.Options) (*DB, error) {
	if options.Registerer != nil {
		options.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"database": "solver"}, options.Registerer)
	}
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
}

// InTx runs do in a transaction that sees the database as it was at its beginning, and repeats it after lost races. See
// [postgres.DB.InTx].
func (db *DB) InTx(ctx context.Context, name string, do func(context.Context, *Tx) error) error {
	return db.DB.InTx(ctx, name, func(ctx context.Context, tx pgx.Tx) error {
		return do(ctx, &Tx{Tx: tx, Queries: New(tx)})
	})
}
