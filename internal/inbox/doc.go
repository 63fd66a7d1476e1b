// Package inbox applies incoming messages to the database of a worker.
//
// What a message means is the business of rules, each of which is given all messages of one type in a batch:
//
//	delivery ─▶ decode, validate, shard check ─▶ batch ─▶ by type ─▶ rule(tx, messages) … ─▶ commit
//	                  │ nobody can handle it
//	                  ▼
//	            dead-letter queue
//
// A [Handler] does all of this for a [broker.Consumer], which acknowledges what has been committed.
package inbox
