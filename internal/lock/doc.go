// Package lock keeps the accounts of customers as they are while a turn decides about them. What a customer offers must
// still be there an hour later, when the market has been cleared: so an amount on a seller's account is secured by a
// transfer that is prepared, and not yet committed. A buyer's account gets such a transfer, too, over nothing: it
// proves that the account works, and keeps it from being deleted. See the chapter about transfers, section 2.
//
// There is at most one lock for each account, a row of the table account_lock:
//
//	      CandidateOffer
//	            │  PrepareTransfer ▶
//	            ▼
//	┌────── initiated ──────▶ deleted     RejectedTransfer, or PreparedTransfer on bad terms
//	│           │
//	│           │ PreparedTransfer
//	│           ▼
//	│       prepared ───────▶ deleted     LockAbandoned, when the buyer will not be paid
//	│        │  │  │  │
//	└────────┼──┼──┼──┴─────▶ deleted     ReviseAccountLock, when the turn is not about the account;
//	         │  │  │                      half a year after the turn, see [Rules.DismissOverdue]
//	         │  │  │ ReviseAccountLock, to a seller
//	         │  │  │  FinalizeTransfer ▶
//	         │  │  ▼
//	         │  │ settled ──▶ deleted     FinalizedTransfer, when the commit has failed
//	         │  │  │
//	         │  │  │ AccountTransfer from the seller, see [Rules.ReleaseSellers]
//	         │  │  ▼
//	         │  └▶ released               AccountTransfer to the buyer, see [Rules.ReleaseBuyers]
//	         │     ▲  │
//	         └─────┘  └────▶ overwritten  CandidateOffer, when the ledger has caught up;
//	ReviseAccountLock,       deleted      a month later, by a sweep of the table
//	to a collector itself
//
// Whoever is deleted from "prepared" gets its transfer dismissed: FinalizeTransfer over nothing. A collector that
// offers its own tokens, by way of itself, has a self-lock: no transfer is possible, and none is needed, so it is
// prepared at once.
//
// While a lock is in force, its account is not offered again, because what is known of the account's balance may not
// yet include the transfer of the turn. When a lock is released, it remembers the number of that transfer, and stays in
// force until an offer rests on a ledger that includes it.
//
// The file decision.go has the states; offer.go, answer.go, revision.go, release.go and expiry.go decide what becomes
// of a lock, one message at a time, without a database. The rules around them read and lock the rows of a whole batch
// with one statement, let one message after the other change them in memory, and write what has changed (batch.go).
package lock
