// Command trade is the one program of Circular Trade: every task of the service is a subcommand of it.
//
// Each command has a file of its own, which declares its flags and checks them, and leaves the work to the packages
// below. Commands that are programs of their own, too, are in package cli.
package main

import "github.com/circular-trade/circular-trade/internal/cli"

func main() {
	cli.Main(newRootCommand)
}
