// Package diagnosis tells why a currency can, or cannot, be traded.
//
// Much has to come together for that: a collector's account must have led to the debtor; the debtor must have confirmed
// where its document is; that document must have been fetched, and lead, over a chain of pegs, to the base currency;
// and a collector must be ready. What is known of all this lies in the database of a worker and in that of the solver.
// [Load] reads either or both, [Explain] finds out what is missing.
//
// A worker knows only what belongs to its shard. What belongs to others is seen only during phases 1 and 2 of a turn,
// in which the solver's database has everything; at other times, it is told apart from what is missing.
package diagnosis
