// Package authority is an accounting authority of the simulated world: it keeps the accounts of some currencies, as
// peers.md, sections 1 to 4, has it.
//
// An [Authority] hears ConfigureAccount, PrepareTransfer and FinalizeTransfer, and sends all other messages of the
// protocol. It uses creditor IDs of its own, as real authorities do. By default it does what the reference
// implementation does; [Freedoms] make it do other things that the protocol permits.
//
// The package does no I/O and has no clock: instants come with the messages, waits are on a [timeline.Timeline], chance
// comes from a seed. The same messages at the same instants have the same consequences. Each change of an account is
// recorded in the journal.
package authority
