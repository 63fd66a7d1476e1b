// Package journal writes down what happens in the simulated world, and judges it.
//
// Parties of the world record an [Entry] for each message that they say or hear, and for each change of their books. A
// [Checker] reads the entries as they come, and nothing else, and keeps a verdict on each of
//
//   - C1 to C9: whether the world itself is right (peers.md, section 8.5). A failure is a mistake in the simulator;
//   - M1 to M4, M6 to M8, M15, M16, M19, M22, M23: whether money is safe with the service (transfers.md, section 7);
//   - P1: whether what the service says can be understood by its peers (peers.md, section 6.1).
//   - P2: whether the service comes to the end of what it has begun, and no tokens stay with collectors that should not.
//
// All creditor IDs in entries are those of the creditors agent, which are also the service's. A checker needs memory in
// proportion to the accounts, the transfers, and the requests that it has seen, but does not keep the entries.
//
// The package does no I/O and has no clock.
package journal
