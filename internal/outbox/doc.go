// Package outbox sends what has been decided, and only that. A rule that changes a row and has something to say about it
// does both in one transaction: it appends the message to the outbox, which is a table of the worker's database. When the
// transaction is committed, a flusher finds the message there, publishes it, and deletes it once the broker has taken
// responsibility for it.
//
//	rule ─▶ [Append], [AppendAll] ─▶ table ─▶ [Flusher] ─▶ broker
//	                      commit ─▶ notification ─┘
//
// So a message is sent if and only if its transaction is committed; sent at least once, because a flusher can be killed
// after the broker has taken the message and before the table knows; and in no particular order. The body of a message,
// its timestamp included, is made when it is appended.
//
// Any number of flushers can work on the table. Each takes, locks, and deletes up to a burst of messages of one type in a
// transaction. The types take turns, and so do, of each type, the messages that the broker has returned before and the
// others: no message waits until a long queue of others has been sent, or until those can be delivered that cannot.
// docs/decisions/0003-the-outbox.md tells what else was tried, and how fast it was.
package outbox
