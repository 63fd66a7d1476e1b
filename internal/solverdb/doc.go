// Package solverdb is the database that the solver, all workers, and all admin nodes share. Its tables are a contract:
// some of those nodes may run swpt_trade, which knows the same tables and does not know of this program.
//
// The queries are in sql/solver/queries, and sqlc makes the methods of [Queries] of them. The tables are made by the
// migrations in sql/solver/migrations, or were made by swpt_trade. No column has a default, except turn.turn_id: each
// INSERT has to supply all columns.
//
// Tables whose names begin with "trade_" are not part of the contract. They are only ours, and swpt_trade ignores them.
package solverdb
