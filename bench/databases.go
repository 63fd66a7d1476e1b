package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// newDatabase makes the database of a worker, on the server that TEST_POSTGRES_URL leads to. It has to be closed.
func newDatabase(ctx context.Context, options postgres.Options) (db *workerdb.DB, closeDatabase func() error, err error) {
	url, drop, err := newSchema(ctx, "worker", workerdb.Migrations())
	if err != nil {
		return nil, nil, err
	}
	if db, err = workerdb.Open(url, options); err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	return db, func() error {
		db.Close()
		return drop()
	}, nil
}

// newSolverDatabase makes a solver database there. It has to be closed.
func newSolverDatabase(ctx context.Context) (db *solverdb.DB, closeDatabase func() error, err error) {
	url, drop, err := newSchema(ctx, "solver", solverdb.Migrations())
	if err != nil {
		return nil, nil, err
	}
	if db, err = solverdb.Open(url, postgres.Options{}); err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	return db, func() error {
		db.Close()
		return drop()
	}, nil
}

// newSchema makes a schema with tables. It is as good as a database, and the URL stays the same but for an option.
func newSchema(
	ctx context.Context, purpose string, migrations postgres.Migrations,
) (url postgres.URL, drop func() error, err error) {
	server, err := postgres.ParseURL(os.Getenv("TEST_POSTGRES_URL"))
	if err != nil {
		return url, nil, err
	}
	admin, err := postgres.Connect(ctx, server)
	if err != nil {
		return url, nil, err
	}
	schema := fmt.Sprintf("bench_%s_%d", purpose, os.Getpid())
	drop = func() error {
		cleaning := context.WithoutCancel(ctx)
		_, err := admin.Exec(cleaning, "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
		return errors.Join(err, admin.Close(cleaning))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, drop())
		}
	}()
	if _, err := admin.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
		return url, nil, err
	}
	if url, err = postgres.ParseURL(os.Getenv("TEST_POSTGRES_URL") + "&search_path=" + schema); err != nil {
		return url, nil, err
	}
	return url, drop, migrations.Up(ctx, url)
}
