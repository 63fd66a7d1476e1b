// Package agent is the creditors agent of the simulated world: the software through which customers reach their
// accounts, as peers.md, section 5, has it.
//
// An [Agent] hears what accounting authorities say about its customers' accounts, keeps a ledger of each, and notifies
// the trading service of what changes: the ledger, the exchange policy, the flags. Its methods are what customers can
// do: open accounts, set policies, pay each other, delete accounts.
//
// The package does no I/O and has no clock, see package authority, which is its counterpart.
package agent
