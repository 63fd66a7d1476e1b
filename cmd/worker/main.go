// Command worker is a whole worker as a program of its own. It does the same as "trade worker".
package main

import "github.com/circular-trade/circular-trade/internal/cli"

func main() {
	cli.Main(cli.NewWorkerCommand)
}
