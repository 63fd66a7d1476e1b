// Package cli is what programs of the service have in common: how their commands are run, how these get their settings,
// and the commands that are part of several programs.
//
// Commands get their streams from cobra, and their environment and context as arguments, so that tests can run them
// in-process.
package cli
