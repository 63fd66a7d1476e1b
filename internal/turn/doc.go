// Package turn is the solver's side of trading turns: it starts them, and leads them through their four phases. It
// follows section 2 of the chapter about turns.
//
//	start ─▶ 1: workers report currencies ─▶ 2: workers make offers ─▶ 3: workers take results over ─▶ 4: finished
//	              agree on the currencies ──┘   clear the market ──┘    nothing is left ──────────────┘
//
// A [Roller] does what is due, tick by tick. Each step is one transaction that first locks the row of the turn, and
// does nothing if the turn is not in the expected phase any more. So any number of rollers, those of swpt_trade among
// them, can work on the same turns: what one of them has done, the others leave alone. A process may be killed at any
// time: then a step has been done, or it has not.
//
// # Clearing the market
//
// The market is read and cleared outside of any transaction. What is published is computed from the offers and the
// number of the turn alone, so whoever does it gets the same. Before it is published, it is checked, without trust in
// the package that has computed it: that everybody who gives something gets the same value, that the collectors pass on
// exactly what they take, and, by the database itself, that nobody gives or gets more than offered.
//
// A turn always goes on. Rows that make no sense are skipped, with a warning. If the market cannot be cleared at all,
// that is logged as an error, and the turn goes on without results: everybody keeps what they have, and takes part in
// the next turn. This is the case if
//
//   - the currencies contradict each other,
//   - the market has more offers than the solver can take,
//   - the solver fails, or what it has found does not pass the check,
//   - the process has been killed three times while it was at it.
//
// If the database fails, on the other hand, all is as it was, and the next tick tries again.
package turn
