// Command trade is the one program of Circular Trade: every task of the service is a subcommand of it.
//
// Each command has a file of its own, which declares its flags and checks them, and leaves the work to the packages
// below. Commands get their streams from cobra and their context from main, so that tests can run them in-process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), heededSignals()...)
	// The first signal asks for a clean end, the second one gets the system's treatment.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Environ(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// heededSignals leaves out those that whoever started the program wants to be ignored, as nohup does.
func heededSignals() []os.Signal {
	var heeded []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			heeded = append(heeded, s)
		}
	}
	return heeded
}
