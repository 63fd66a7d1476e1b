// Package sweep deletes from the tables of a worker what nobody needs any more: records that have expired, and what a
// shard has left over from the one that it is a half of. It follows the chapter about operations, sections 6 and 7.3.
//
// Each table is swept by a [Sweeper] of its own, which goes through the table again and again, in the physical order of
// its pages. It reads a few pages at a time, and pauses in between, so that a pass takes about a week and nobody notices.
//
// How it is divided:
//
//   - tables.go lists the tables, and says which of their rows are not needed any more.
//   - sweeper.go goes through a table, and deletes.
//   - pace.go computes how many pages to read, and when.
//   - verify.go looks whether a database holds anything that belongs to another shard ([Verify]).
//
// # Safety
//
// A stretch of pages is one statement, and one transaction. The statement looks at each row without locking it; locks the
// row if it is not needed; and looks again at the row that it has then. A row that somebody else has locked, or that has
// changed meanwhile, is left for the next pass. So a sweep never waits for anybody, cannot be part of a deadlock, and can
// be killed at any time. No rule relies on a sweep having been there: what has expired is harmless while it waits.
//
// One kind of rows is not just deleted: account locks that have come to nothing. Their transfers are dismissed first, see
// [github.com/circular-trade/circular-trade/internal/lock.Rules.DismissOverdue].
package sweep
