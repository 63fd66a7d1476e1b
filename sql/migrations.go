// Package sql holds what is written in SQL: the migrations of both databases, which are compiled into the program, and
// the queries, from which sqlc generates Go code in internal/workerdb and internal/solverdb.
package sql

import (
	"embed"
	"io/fs"
)

//go:generate make --no-print-directory -C .. .bin/sqlc
//go:generate ../.bin/sqlc generate --file ../sqlc.yaml

//go:embed */migrations/*.sql
var files embed.FS

// WorkerMigrations returns the migrations of a worker's database.
func WorkerMigrations() fs.FS {
	return migrations("worker")
}

// SolverMigrations returns the migrations of the solver's database.
func SolverMigrations() fs.FS {
	return migrations("solver")
}

func migrations(database string) fs.FS {
	directory, err := fs.Sub(files, database+"/migrations")
	if err != nil {
		panic(err) // only a malformed path is an error
	}
	return directory
}
