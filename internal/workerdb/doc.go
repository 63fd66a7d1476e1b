// Package workerdb is the database of a worker. Each worker has one for itself; what is in there is nobody else's
// business, and only has to fit what earlier versions of the service have left behind.
//
// The queries are in sql/worker/queries, and sqlc makes the methods of [Queries] of them. The tables are made by the
// migrations in sql/worker/migrations.
package workerdb
