// Package guard sees to it that some work is done by one process at a time. The process that does it holds a lock in
// the database that the work is about:
//
//	err := guard.Guard{
//		Component: "roll_transfers",
//		Connect:   connect,
//		Wait:      time.Minute,
//		Logger:    logger,
//	}.Run(ctx, rollTransfers)
//
// The lock is an advisory lock of PostgreSQL. It belongs to a database session, so it is gone when the process that
// holds it is, whatever has happened to that process. Its key is a pair of integers: [LockClass], and the CRC-32 of
// "<component>@<schema>", read as a signed number. The schema is the current one of the session, so several instances
// can live in schemas of one database.
//
// # What is promised
//
// The work does not begin before the lock is held. When it turns out that the lock may be lost, the context of the work
// is cancelled: at once if the connection breaks, and within 4 seconds if nothing more is heard from the server. Only
// after the work has ended, the guard tries to get the lock again.
//
// That is a help for operators who have started something twice. It is not a proof that nobody else does the same: a
// process that was suspended for a while learns that its lock is lost when somebody else may have it already.
//
// # Connections
//
// The lock's connection has to go straight to the server. A pooler that shares sessions between clients would share the
// lock between them, too. With TCP keep-alive probes, each side finds out within 30 seconds that the other one is gone,
// so the lock of a machine that has lost its power is free again after that time.
package guard
