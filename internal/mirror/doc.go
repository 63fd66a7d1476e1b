// Package mirror is the worker's side of trading turns. The solver starts turns, and leads them from phase to phase in
// the database that it shares with all workers. A worker keeps a mirror of each turn in its own database, together with
// a subphase, which tells what the worker has done of the phase:
//
//	phase 1, currencies:   0 ──report them───────────────▶ 10
//	phase 2, offers:       0 ──candidate offers──▶ 5 ──pour offers──▶ 10
//	phase 3, results:      0 ──copy our share────▶ 5 ──clean up─────▶ 10
//
// Each arrow is a step. It is one transaction on the worker's database, which changes the subphase along with
// everything else that it writes there. What it writes to the solver database is committed separately, and before. So a
// step that fails, or is killed, in between is done again from the start, and every step gives the same result when it
// is done twice: what is in the solver database already is not inserted again, nor changed.
//
// Meanwhile, candidate offers become account locks (see the chapter about transfers), and some of these are prepared
// when the offers are poured. The pouring begins a while before the deadline of phase 2, and ends the time of candidate
// offers: the step locks the mirror, and from then on the handler of candidate offers drops them.
//
// What belongs to this worker is decided by its realm, never by where it has been found: after a shard has been split,
// the databases of both halves hold rows of the other one.
//
// All steps stream. How much memory they need depends on the number of currencies, and not on that of accounts or
// offers.
//
// The package follows section 3 of the chapter about turns.
package mirror
