// Package currency keeps what is known about currencies: which document a debtor calls its own, what that document
// says, and what is to be fetched to find out. It follows the chapter about currencies.
//
// A currency becomes known in steps, each of which is a message to the worker that the next row belongs to:
//
//	AccountUpdate ─▶ DiscoverDebtor ─▶ claim ─▶ FetchDebtorInfo ─▶ fetch (page that the account names)
//	                                     ▲                           │
//	                                     └────── ConfirmDebtor ◀─────┘
//	                                   claim ─▶ FetchDebtorInfo ─▶ fetch (page that the debtor names)
//	                                                                 ├─▶ StoreDocument ─▶ document
//	                                                                 └─▶ FetchDebtorInfo, for the peg currency
//
// [Rules] handle these messages, and decide what becomes of fetches. They do not fetch: the package about fetching
// takes fetches from the queue, and hands in what it has found.
package currency
