package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/circular-trade/circular-trade/internal/demo"
)

// demoOptions are the flags of the command.
type demoOptions struct {
	scenarioOptions
	shards, turns    int
	faults, keep     bool
	dir, services    string
	postgres, broker string
}

// servicesScript is where the script is in the repository.
const servicesScript = "scripts/services"

const demoHelp = `Shows the service at work, in a simulated world: a small town by default, whose businesses hand out tokens for what
they make, and whose people have too many of some and would rather have others. Accounting authorities, a creditors
agent, and the websites of issuers are simulated; the solver, the workers, PostgreSQL and RabbitMQ are real.

The servers are taken from the environment (TEST_POSTGRES_URL, TEST_BROKER_URL), where scripts/services puts them; run
'make demo' to have everything installed and started. The demo makes databases of its own there, and drops them at the
end.

With --faults, processes are killed at random moments, and so are the servers. These are then started for this demo
alone, by scripts/services, and what the environment says is not looked at. Every second worker runs in parts, as in a
cluster. The seed decides what is killed, and when.

It ends with status 0 only if every transfer has come to its end, the world has found nothing wrong, what has moved is
what the solver had decided, and all messages have been handled. Without --faults, it also is a failure if nobody trades,
unless there are no wishes that fit together.`

func newDemoCommand() *cobra.Command {
	var opts demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch trading turns happen in a simulated world",
		Long:  demoHelp,
		Example: `  trade demo
  trade demo --customers 1000 --currencies 50 --shards 4 --turns 2 --profile noisy
  trade demo --book book --keep`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := opts.settings(cmd.Context())
			if err != nil {
				return err
			}
			settings.Out = cmd.OutOrStdout()
			if file, ok := settings.Out.(*os.File); ok {
				settings.IsTerminal = term.IsTerminal(int(file.Fd()))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := demo.Run(ctx, settings); err != nil {
				return fmt.Errorf("%w\nTo let the same happen again: %s", err, again(cmd))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	opts.addTo(flags)
	flags.IntVar(&opts.shards, "shards", 2, "number `N` of workers: 1, 2, 4, 8, or 16")
	flags.IntVar(&opts.turns, "turns", 1, "number `N` of turns")
	flags.BoolVar(&opts.faults, "faults", false, "kill processes and servers at random moments while turns go on, and start them again")
	flags.StringVar(&opts.services, "services", "", "with --faults: `PATH` of the script that runs servers (default: "+servicesScript+")")
	flags.BoolVar(&opts.keep, "keep", false, "leave everything running at the end, and tell where it is")
	flags.StringVar(&opts.dir, "dir", "demo-output", "`DIR` for logs and the report, made if missing")
	flags.StringVar(&opts.postgres, "postgres", os.Getenv("TEST_POSTGRES_URL"), "`URL` of a PostgreSQL server (default: TEST_POSTGRES_URL)")
	flags.StringVar(&opts.broker, "broker", os.Getenv("TEST_BROKER_URL"), "`URL` of a virtual host of a RabbitMQ broker (default: TEST_BROKER_URL)")
	for _, url := range []string{"postgres", "broker"} {
		flags.Lookup(url).DefValue = "" // it may hold a password
	}
	return cmd
}

func (o *demoOptions) settings(ctx context.Context) (demo.Settings, error) {
	s := demo.Settings{
		PostgresURL: o.postgres, BrokerURL: o.broker, BrokerPages: os.Getenv("TEST_BROKER_MANAGEMENT_URL"),
		Seed: o.seed, Shards: o.shards, Turns: o.turns, Faults: o.faults, Keep: o.keep, Dir: o.dir,
	}
	switch {
	case !o.faults && (o.postgres == "" || o.broker == ""):
		return s, errors.New("there are no servers: run 'make demo', or set TEST_POSTGRES_URL and TEST_BROKER_URL")
	case o.shards < 1 || o.shards > 16 || o.shards&(o.shards-1) != 0:
		return s, usageErrorf("--shards: %d is not 1, 2, 4, 8, or 16", o.shards)
	case o.turns < 1:
		return s, usageErrorf("--turns: there has to be at least one")
	}
	var err error
	if o.faults {
		if s.Services, err = o.findServices(); err != nil {
			return s, err
		}
	}
	if s.Scenario, s.Profile, err = o.load(ctx); err != nil {
		return s, err
	}
	if s.Program, err = os.Executable(); err != nil {
		return s, fmt.Errorf("looking for this program: %w", err)
	}
	return s, nil
}

// findServices returns the absolute path of the script that runs servers.
func (o *demoOptions) findServices() (string, error) {
	path, err := filepath.Abs(cmp.Or(o.services, servicesScript))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("--faults needs servers that may be killed: name %s by --services: %w", servicesScript, err)
	}
	return path, nil
}

// again returns a command that does the same once more. URLs are left out: they may hold passwords.
func again(cmd *cobra.Command) string {
	command := strings.Fields(cmd.CommandPath())
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Name != "postgres" && flag.Name != "broker" {
			command = append(command, fmt.Sprintf("--%s=%s", flag.Name, flag.Value))
		}
	})
	return strings.Join(command, " ")
}
