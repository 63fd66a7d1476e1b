// Package shard tells which worker owns a record or a message.
//
// Everything that can be sharded has an integer, a few integers, or a string to be sharded by. Its [Key] is 32 bits of
// the MD5 digest of that value. A worker owns a [Realm]: all keys that begin with certain bits, written as the binding
// key of the worker's queue ("0.1.#"). The same bits appear in three places, which must always agree:
//
//   - the routing key of a message, which the broker compares with the binding key ([Key.RoutingKey]);
//   - the key of the message's content, which the worker checks in memory ([Realm.Match]);
//   - the 16-bit hash in the rows of the solver database, which the worker's queries filter on ([Key.Hash16],
//     [Realm.HashMask], [Realm.HashPrefix]).
//
// Messages to accounting authorities are routed by the plain debtor ID instead ([HexRoutingKey]).
//
// The package follows section 2 of the chapter messages.md. It does no I/O, and only the functions that return a
// string or an error allocate memory. MD5 is a contract with the other nodes here and protects nothing; programs that
// are run with GODEBUG=fips140=only, which forbids it, panic.
package shard
