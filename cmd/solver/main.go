// Command solver is the solver as a program of its own. It does the same as "trade solver".
package main

import "github.com/circular-trade/circular-trade/internal/cli"

func main() {
	cli.Main(cli.NewSolverCommand)
}
