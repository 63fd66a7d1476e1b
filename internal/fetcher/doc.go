// Package fetcher does the fetches that are due: it takes them from the queue in the worker's database, downloads the
// documents, and hands in what it has found.
//
//	queue ─▶ feed ─▶ agenda ─▶ slots: download, parse ─▶ recorder ─▶ queue, outbox
//
// No transaction is open while the network is awaited. Instead, a fetch is taken from the queue for a while, in which
// nobody else gets it. A fetcher that is killed, or cut off from its database, loses nothing: what it was at is due
// again when that while is over.
//
// All stages work at the same time, so that slots are busy as long as there is something to do: the feed takes the next
// fetches before the agenda is empty, and the recorder hands in, in one transaction, whatever has come together since
// the last one. A host gets only so many slots, and hosts take turns, so a slow host delays nobody else's documents.
package fetcher
