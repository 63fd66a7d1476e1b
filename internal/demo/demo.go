package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/circular-trade/circular-trade/internal/world"
)

// Settings say what to show.
type Settings struct {
	PostgresURL string // of a server, as a role that may create databases
	BrokerURL   string // of a virtual host without queues

	Program string // the program trade

	Scenario world.Scenario
	Profile  world.Profile
	Seed     uint64
	Shards   int // number of workers: a power of two, at most 16
	Turns    int

	// Faults has processes killed at random moments, and started again, until shortly after the last turn has been
	// cleared.
	Faults bool

	// Keep has everything run on at the end, until the context ends.
	Keep bool

	Dir string // for logs, the journal of the world, and the report

	Out        io.Writer
	IsTerminal bool // Out can show a line that changes
}

// ErrFailed tells that something has not been as it should be. What it was has been printed.
var ErrFailed = errors.New("not everything has been as it should be")

// Patience limits how long each stage may take, however large the scenario.
const (
	setUpPatience  = 5 * time.Minute
	turnPatience   = 10 * time.Minute
	settlePatience = 5 * time.Minute
)

// faultsWhileMoving is how long processes are killed while the tokens move.
const faultsWhileMoving = 10 * time.Second

// A show is one run of the demo.
type show struct {
	Settings
	screen *screen
	stores *stores
	fleet  *fleet
	world  *world.World
	pace   pace
}

// Run runs the demo. It returns ErrFailed, or what has kept it from coming to its end.
func Run(ctx context.Context, settings Settings) (err error) {
	if err := os.MkdirAll(settings.Dir, 0o755); err != nil {
		return err
	}
	s := &show{Settings: settings, screen: newScreen(settings.Out, settings.IsTerminal), pace: paceOf(&settings.Scenario)}
	defer s.screen.close()
	if err := s.build(ctx); err != nil {
		return errors.Join(err, s.tearDown())
	}
	defer func() { err = errors.Join(err, s.tearDown()) }()
	if err := s.play(ctx); err != nil {
		return err
	}
	ok, err := s.tell()
	if err != nil {
		return err
	}
	if s.Keep {
		s.inviteToLookAround()
		<-ctx.Done()
	}
	if !ok {
		return ErrFailed
	}
	return nil
}

// build makes everything that is needed, and starts it, except the solver.
func (s *show) build(ctx context.Context) (err error) {
	s.screen.title("Setting up %d currencies, %d customers, %d %s", len(s.Scenario.Currencies), len(s.Scenario.Customers),
		s.Shards, plural(s.Shards, "worker", "workers"))
	if s.stores, err = newStores(ctx, s.PostgresURL, s.Shards); err != nil {
		return err
	}
	journal, err := os.Create(filepath.Join(s.Dir, "journal.jsonl"))
	if err != nil {
		return err
	}
	s.world, err = world.New(ctx, world.Settings{
		BrokerURL: s.BrokerURL, Scenario: s.Scenario, Profile: s.Profile, Seed: s.Seed,
		Journal: journal, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fmt.Errorf("making the world: %w", err)
	}
	certificate := filepath.Join(s.Dir, "certificate.pem")
	if err := os.WriteFile(certificate, s.world.CertificatePEM(), 0o600); err != nil {
		return err
	}
	locator, base := s.world.Base()
	s.fleet, err = newFleet(ctx, fleetSettings{
		program: s.Program, dir: s.Dir, brokerURL: s.BrokerURL, stores: s.stores, shards: s.Shards,
		certificate: certificate, baseLocator: locator, baseDebtor: base, pace: s.pace, withStatus: s.Keep,
	})
	if err != nil {
		return err
	}
	if err := s.fleet.configure(ctx); err != nil {
		return err
	}
	if err := s.stores.record(ctx); err != nil {
		return err
	}
	for i := range s.Shards {
		if err := s.fleet.start(workerProcess(i)); err != nil {
			return err
		}
	}
	return s.world.Start(ctx)
}

// play lets the turns happen.
func (s *show) play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.stores.planCollectors(ctx, &s.Scenario); err != nil {
		return err
	}
	if err := s.awaitMarket(ctx); err != nil {
		return err
	}
	if err := s.fleet.start(solverProcess); err != nil {
		return err
	}
	stopFaults := func() {}
	if s.Faults {
		stopFaults = s.fleet.trouble(ctx, s.Seed)
	}
	for turn := range s.Turns {
		if err := s.awaitTurn(ctx, turn+1); err != nil {
			stopFaults()
			return err
		}
	}
	if err := s.fleet.stop(solverProcess); err != nil {
		stopFaults()
		return err
	}
	quiet := time.AfterFunc(faultsWhileMoving, stopFaults)
	err := s.awaitEnd(ctx)
	quiet.Stop()
	stopFaults()
	if err != nil {
		return err
	}
	s.screen.status("Waiting until the world has come to rest")
	settling, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	return s.world.Settle(settling, 2*time.Second)
}

// tearDown ends everything.
func (s *show) tearDown() error {
	var errs []error
	if s.fleet != nil {
		errs = append(errs, s.fleet.stopAll())
	}
	if s.world != nil {
		errs = append(errs, s.world.Stop())
	}
	if s.stores != nil {
		errs = append(errs, s.stores.close())
	}
	return errors.Join(errs...)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
