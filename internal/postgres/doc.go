// Package postgres is what the service knows about PostgreSQL, and nothing of what it keeps there.
//
//   - [ParseURL] reads database URLs as leniently as operators write them, and makes a [URL], which never prints its
//     password.
//   - [Open] makes a [DB]: a pool of connections, limited in size, on which transactions run. [DB.InTx] is the way to
//     change anything: it repeats the transaction when it has lost a race against another one.
//   - [Migrations] bring a schema to the version that the program expects, in one transaction.
//   - [Notify] tells other processes of a commit; a [Listener] hears it, and survives lost connections.
//
// # Schemas
//
// One database may hold the tables of several programs, or of several instances of this one, in schemas of their own.
// So nothing here names a schema. Tables are created and found in the current schema, the first one of the role's
// search_path; locks and notification channels are told apart by its name.
package postgres
