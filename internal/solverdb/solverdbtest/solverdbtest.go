// Package solverdbtest gives tests solver databases.
package solverdbtest

import (
	"context"
	"testing"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// New returns a database that nobody else uses, has all tables, and is empty. It is closed and dropped with the test.
func New(tb testing.TB) *solverdb.DB {
	tb.Helper()
	return Open(tb, URL(tb), postgres.Options{})
}

// URL returns the URL of such a database, for tests that open it themselves, or several times.
func URL(tb testing.TB) string {
	tb.Helper()
	digest, err := solverdb.Migrations().Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return testenv.NewDatabaseFrom(tb, digest, func(databaseURL string) error {
		url, err := postgres.ParseURL(databaseURL)
		if err != nil {
			return err
		}
		return solverdb.Migrations().Up(context.WithoutCancel(tb.Context()), url)
	})
}

// Open opens a database, and closes it with the test.
func Open(tb testing.TB, url string, options postgres.Options) *solverdb.DB {
	tb.Helper()
	parsed, err := postgres.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	db, err := solverdb.Open(parsed, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	return db
}
