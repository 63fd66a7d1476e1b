// Package workerdbtest gives tests databases of workers.
package workerdbtest

import (
	"context"
	"testing"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// New returns a database that nobody else uses, has all tables, and is empty. It is closed and dropped with the test.
func New(tb testing.TB) *workerdb.DB {
	tb.Helper()
	digest, err := workerdb.Migrations().Digest()
	if err != nil {
		tb.Fatal(err)
	}
	url := testenv.NewDatabaseFrom(tb, digest, func(databaseURL string) error {
		url, err := postgres.ParseURL(databaseURL)
		if err != nil {
			return err
		}
		return workerdb.Migrations().Up(context.WithoutCancel(tb.Context()), url)
	})
	parsed, err := postgres.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	db, err := workerdb.Open(parsed, postgres.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	return db
}
