// Package attempt makes the transfers by which collectors pay: to other collectors (sending), and to buyers
// (dispatching). Each of them is an attempt, a row that exists until the transfer has been made, however often that
// has to be tried. See the chapter about transfers, section 4.
//
// # The way of an attempt
//
// Who decides that a collector has to pay inserts a NEW attempt, and asks the recipient's shard for the account ID.
// From then on, messages and the clock move it:
//
//	┌─────┐
//	│ NEW │ due: a TriggerTransfer has the account ID asked for again
//	└──┬──┘
//	   │ AccountIdResponse: try
//	   ▼
//	┌───────────┐ PreparedTransfer: commit ┌─────────┐ FinalizedTransfer
//	│ INITIATED ├─────────────────────────▶│ SETTLED ├───────────────────▶ deleted: paid
//	└─▲──────┬──┘                          └────┬────┘
//	  │      │ RejectedTransfer,                │ FinalizedTransfer
//	  │      │ or no answer for a week          │ that tells of a failure
//	  │      └──────────────────┬───────────────┘
//	  │                         ├───────────────────────▶ FATAL, if there is no hope
//	  │ TriggerTransfer: try    ▼
//	  │           ┌─────┐ ┌───────────┐
//	  └───────────┤ DUE │◀┤ POSTPONED │ for longer each time
//	              └──┬──┘ └───────────┘
//	                 └──────────────────────────────────▶ deleted: worthless
//
// To try is to work out the amount, which interest and the node's cut make smaller than what the recipient is entitled
// to, and to ask the accounting authority to prepare the transfer. If nothing of the amount is left, the attempt is
// over. If the recipient was not to be reached, the account ID is asked for instead, every other time. If it is not
// yet known which interest rate has made the last try fail, the attempt is postponed.
//
// # Why nobody is paid twice
//
// Each PrepareTransfer has a number of its own, and only an answer to the latest one of an attempt leads to a commit.
// All other prepared transfers are dismissed, also those that come too late. A new PrepareTransfer is sent only when
// the outcome of the one before is known: it was refused, or it committed nothing, or nobody has tried to commit it
// before its deadline.
//
// The deadline is as far away as the pause until the next try, and the amount is what will be left of it at the
// deadline, at the worst rate since the collection began. If a rate comes into force meanwhile, the accounting
// authority refuses the commit. So demurrage does not have a collector pay more than it has.
//
// # Who does what
//
// The machine (machine.go) decides: it takes a row and an event, changes the row in memory, and says what has to be
// sent. [Rules] read rows for a batch of messages, have the machine work on them, and write them back. [Trigger] finds
// attempts whose time has come; its TriggerTransfer messages go through the broker, to be handled in batches by
// whoever has time.
package attempt
