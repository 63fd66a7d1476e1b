// Package solver decides who trades what. From the peg-tree of currencies it computes prices ([PegTree], [Prices]),
// from the bids of traders candidate offers ([Analyzer]), and from an offer book ([Market]) a clearing: circular trades
// in which everybody gives tokens they have too much of and gets, for the same value, tokens that they lack.
//
// The package is pure computation that follows the chapter solver.md of the specification: no I/O, no clock, and the
// source of randomness is a seed. The same input gives the same outcome, whatever the order of the offers, the number
// of processors, or the order in which maps are walked.
package solver
