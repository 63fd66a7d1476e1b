// Package settlement moves the tokens of a turn from those who sell them to those who buy them, through the accounts of
// this worker's collectors. It follows section 3 of the chapter about transfers.
//
//	sellers ──collect──▶ collector ──dispatch──▶ buyers
//	                      │     ▲
//	                    send  receive
//	                      ▼     │
//	                other collectors of the currency
//
// When a turn has been decided, there is a record of each of these movements, and a status for each currency that a
// collector has to do with. From there on, two kinds of events move things on. Accounting authorities tell of transfers,
// which settle records; and a status that waits for no record any more takes its next step:
//
//	            all collected               all sent and received                all dispatched
//	collecting ──────────────▶ sending ──────────────────────▶ dispatching ──────────────────▶ deleted
//	             StartSending                 StartDispatching
//
// How it is divided:
//
//   - quantities.go computes how much a collector may send and dispatch when not everything has come.
//   - arrivals.go applies news: what has come and gone ([HandleCollected], [HandleSent], [HandleReceived],
//     [HandleDispatched]), and what will not come ([HandleCollectingFailures], [HandleNothingToReceives]).
//   - roll.go looks which statuses can take a step ([Roller]), and early.go applies news that came before the records.
//   - start.go begins to send and to dispatch ([Starter]): it makes the transfer attempts.
//
// # Safety
//
// No more leaves a collector's account than has come in. What has come is added up once when sending begins, and once when
// dispatching begins, and then the records are gone: whatever comes later stays on the account. All amounts that go out
// shrink by the same share, which floating-point numbers hold to 15 digits; the cut, which is taken off when the transfer
// is made, is larger than what they lose.
//
// # Early news
//
// A transfer may be heard of before this worker knows that the turn has been decided. Such news are kept until it does
// (W-10). News of a record that has been settled, and is gone, must not be taken for those. So the worker's own turn is
// looked at, in the same snapshot of the database: it tells whether its records have been made.
package settlement
