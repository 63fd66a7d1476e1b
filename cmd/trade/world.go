package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
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
	kept                 float64
}

const worldHelp = `Simulates everybody that the service has to do with, for trying a deployment without a network of real nodes:
accounting authorities, a creditors agent with its customers, and the issuers of currencies with their website. By
default, it is a small town. It speaks with the service through RabbitMQ and HTTPS, as the real ones do.

It waits for the broker, says which settings the service needs, and tells what happens, until it is stopped. Then it
waits until all that is under way has come to its end, tells where the tokens are, and whether all has been as it should
be. It ends with status 1 if not, or if that cannot be told: because the world does not come to rest, or because what
the service has prepared has not come to its end. So stop it between two turns, or let --settling be longer than a turn
takes, until the last token has arrived. If the service has not said anything, nothing can be wrong with it.

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
	flags.Float64Var(&opts.kept, "kept", 0.01, "largest `SHARE` of what sellers give that may stay with collectors; 0: any")
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
	if opts.kept < 0 || opts.kept >= 1 || math.IsNaN(opts.kept) {
		return usageErrorf("--kept: %v is not from 0 to below 1", opts.kept)
	}
	scenario, profile, err := opts.load(ctx)
	if err != nil {
		return err
	}
	made := world.Settings{
		BrokerURL: string(settings.ProtocolBroker.URL), Scenario: scenario, Profile: profile, Seed: opts.seed,
		Log: logger, Address: opts.listen, Host: opts.host, Kept: opts.kept,
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
	report, err := t.settle(ctx)
	t.tellNews()
	if err != nil && !errors.Is(err, world.ErrUnsettled) {
		return err
	}
	heard := t.told.Collectors > 0 || report.Fetches > 0
	switch waiting := report.Unfinished.Transfers; {
	case !report.Final:
		t.say("The world has not come to rest, so not everything can be judged: %v; %d transfers of the service are "+
			"prepared, and not finalised", err, waiting)
	case waiting > 0:
		t.say("The world has come to rest, and %d transfers of the service are prepared, and not finalised. In the middle of "+
			"a turn, that has to be so, and no tokens need have arrived", waiting)
	}
	if !heard {
		t.say("The service has neither opened an account nor asked for a document, so nothing is known about it")
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil {
		return err
	}
	t.say("Where the tokens are, and whether all has been as it should be\n\n%s", text.String())
	if !report.OK() || heard && !report.Final {
		return errWorldFailed
	}
	return nil
}

// settle brings the world to rest between two turns, and returns the report about it: what the service has prepared in a
// turn that goes on is neither right nor wrong yet. Should there be no such moment, a report tells what has been
// prepared for ever, if the world has come to rest at least once, and nobody has said anything since.
func (t *teller) settle(ctx context.Context) (world.Report, error) {
	const silence = time.Second
	var atRest world.Report
	for {
		err := t.world.Settle(ctx, silence)
		report := t.world.Report()
		switch {
		case err == nil && report.Unfinished.Transfers == 0:
			return report, nil
		case err == nil:
			atRest = report
		case atRest.Final && maps.Equal(atRest.Heard, report.Heard):
			return atRest, nil
		default:
			return report, err
		}
	}
}
