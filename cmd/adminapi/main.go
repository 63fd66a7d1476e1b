// Command adminapi is the admin API as a program of its own. It does the same as "trade webserver".
package main

import "github.com/circular-trade/circular-trade/internal/cli"

func main() {
	cli.Main(cli.NewWebServerCommand)
}
