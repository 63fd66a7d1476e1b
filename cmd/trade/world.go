package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/world"
)

// worldSettings are those variables that the simulated world has in common with the service.
type worldSettings struct {
	Common
	config.ProtocolBroker
}

// worldOptions are the flags of the command.
type worldOptions struct {
	scenarioOptions
	listen, host         string
	certificate, journal string
	settling             time.Duration
}

const worldHelp = `Simulates everybody that the service has to do with, for trying a deployment without a network of real nodes:
accounting authorities, a creditors agent with its customers, and the issuers of currencies with their website. By
default, it is a small town. It speaks with the service through RabbitMQ and HTTPS, as the real ones do.

It waits for the broker, says which settings the service needs, and tells what happens, until it is stopped. Then it
waits until all that is under way has come to its end, tells where the tokens are, and whether all has been as it should
be. It ends with status 1 if not.

The virtual host must be one without queues of an earlier world, and the databases of the service must be empty, because
a new world knows nothing of what was before.

Collectors come by themselves: in its first turn, the service finds out which currencies need one. So the first trades
happen in the second turn.`

func newWorldCommand(environment []string) *cobra.Command {
	var opts worldOptions
	cmd := &cobra.Command{
		Use:   "world",
		Short: "Simulate peers and customers, to try a deployment with",
		Long:  worldHelp,
		Example: `  trade world --listen :44302 --host world.example.com
  trade world --customers 1000 --currencies 50 --profile noisy`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runWorld(cmd, environment, &opts)
		},
	}
	overrideFlag(cmd, "url", "u", "PROTOCOL_BROKER_URL")
	flags := cmd.Flags()
	opts.addTo(flags)
	flags.StringVar(&opts.listen, "listen", "127.0.0.1:0", "`ADDRESS` of the issuers' website, as host:port")
	flags.StringVar(&opts.host, "host", "", "`NAME` by which the service reaches the issuers' website (default: as it listens)")
	flags.StringVar(&opts.certificate, "certificate", "", "`FILE` to write the certificate to, for HTTP_FETCH_SSL_CERT_FILE")
	flags.StringVar(&opts.journal, "journal", "", "`FILE` to write the journal to, a line for each message and each change of an account")
	flags.DurationVar(&opts.settling, "settling", time.Minute, "longest time `T` to wait at the end, until all has come to rest")
	return cmd
}

func runWorld(cmd *cobra.Command, environment []string, opts *worldOptions) (err error) {
	ctx := cmd.Context()
	var settings worldSettings
	logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
	if err != nil {
		return err
	}
	scenario, profile, err := opts.load(ctx)
	if err != nil {
		return err
	}
	made := world.Settings{
		BrokerURL: string(settings.ProtocolBroker.URL), Scenario: scenario, Profile: profile, Seed: opts.seed,
		Log: logger, Address: opts.listen, Host: opts.host,
	}
	if opts.journal != "" {
		file, failure := os.Create(opts.journal)
		if failure != nil {
			return failure
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		made.Journal = file
	}
	w, err := world.New(ctx, made)
	if err != nil {
		return err
	}
	t := teller{out: cmd.OutOrStdout(), world: w, started: time.Now()}
	defer func() { err = errors.Join(err, w.Stop()) }()
	if opts.certificate != "" {
		if err := os.WriteFile(opts.certificate, w.CertificatePEM(), 0o644); err != nil { //nolint:gosec // it is no secret
			return err
		}
	}
	t.introduce(opts)
	if err := w.Start(ctx); ctx.Err() != nil {
		return nil // it was asked to end before the broker has appeared
	} else if err != nil {
		return err
	}
	t.tellUntil(ctx)
	return t.end(context.WithoutCancel(ctx), opts.settling)
}

// A teller tells people what happens in a world.
type teller struct {
	out     io.Writer
	world   *world.World
	started time.Time
	told    world.Progress
}

// say prints a line. That nobody listens is no reason to stop.
func (t *teller) say(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "%6.1f s  %s\n", time.Since(t.started).Seconds(), fmt.Sprintf(format, args...))
}

// introduce says who there is, and what the service has to know.
func (t *teller) introduce(opts *worldOptions) {
	scenario := t.world.Scenario()
	t.say("Simulating %s: %d currencies, %d customers, profile %s, seed %d",
		scenario.Name, len(scenario.Currencies), len(scenario.Customers), opts.profile, opts.seed)
	locator, base := t.world.Base()
	trust := "APP_VERIFY_SSL_CERTS=false"
	if opts.certificate != "" {
		trust = "HTTP_FETCH_SSL_CERT_FILE=" + opts.certificate + "\n            APP_HTTP_FETCH_ALLOW_PRIVATE=true"
	}
	t.say("The solver needs these settings:\n            BASE_DEBTOR_INFO_LOCATOR=%s\n            BASE_DEBTOR_ID=%d",
		locator, uint64(base)) //nolint:gosec // the way people write IDs
	t.say("and workers these:\n            %s", trust)
}

// tellUntil tells of everything that the service brings about, until the context ends, or the world.
func (t *teller) tellUntil(ctx context.Context) {
	t.say("The world has begun")
	often := time.NewTicker(time.Second)
	defer often.Stop()
	for {
		select {
		case <-often.C:
			t.tellNews()
		case <-ctx.Done():
			return
		case <-t.world.Ended():
			return
		}
	}
}

// tellNews tells what has changed since the last time.
func (t *teller) tellNews() {
	now := t.world.Progress()
	if now.Collectors != t.told.Collectors {
		t.say("Collectors have %d accounts", now.Collectors)
	}
	for i, turn := range now.Turns {
		if i >= len(t.told.Turns) || turn != t.told.Turns[i] {
			t.say("Turn %d: in %d currencies, %d sellers have given, collectors have paid %d times among each other, "+
				"%d buyers have got", turn.Turn, turn.Currencies, turn.Sellers, turn.Sendings, turn.Buyers)
		}
	}
	t.told = now
}

// errWorldFailed tells that something has not been as it should be. What it was has been printed.
var errWorldFailed = errors.New("not everything has been as it should be")

// end brings the world to rest, as far as that is possible in some time, and tells the outcome.
func (t *teller) end(ctx context.Context, patience time.Duration) error {
	t.say("Waiting until the world has come to rest, for %v at most", patience)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := t.settle(ctx)
	t.tellNews()
	if err != nil && !errors.Is(err, world.ErrUnsettled) {
		return err
	}
	report := t.world.Report()
	if !report.Final {
		t.say("The world has not come to rest, so not everything can be judged: %v; %d transfers of the service are "+
			"prepared, and not finalised", err, report.Unfinished.Transfers)
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil {
		return err
	}
	t.say("Where the tokens are, and whether all has been as it should be\n\n%s", text.String())
	if !report.OK() {
		return errWorldFailed
	}
	return nil
}

// settle brings the world to rest between two turns: what the service has prepared in a turn that goes on is neither
// right nor wrong yet.
func (t *teller) settle(ctx context.Context) error {
	const silence = time.Second
	for {
		err := t.world.Settle(ctx, silence)
		if report := t.world.Report(); err != nil || report.Unfinished.Transfers == 0 {
			return err
		}
	}
}
