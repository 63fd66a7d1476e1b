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
	BrokerPages string // URL of the broker's management pages, if there are any

	Program string // the program trade

	Scenario world.Scenario
	Profile  world.Profile
	Seed     uint64
	Shards   int // number of workers: a power of two, at most 16
	Turns    int

	// Faults has processes killed at random moments, and started again, until shortly after the last turn has been
	// cleared. Every second worker then runs in parts, as in a cluster.
	Faults bool

	// Services is the path of scripts/services. If it is set, servers are started that belong to the demo alone, whatever
	// the URLs say, and Faults has them killed and stopped, too.
	Services string

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

// A show is one run of the demo.
type show struct {
	Settings
	screen  *screen
	servers *servers // nil: they belong to others
	stores  *stores
	admin   *admin
	fleet   *fleet
	world   *world.World
	pace    pace
	trouble *trouble // nil: there is none
	files   []*os.File
	bare    bool // nothing is written down that is not needed for trading
}

// Run runs the demo. It returns ErrFailed, or what has kept it from coming to its end.
func Run(ctx context.Context, settings Settings) (err error) {
	if err := os.MkdirAll(settings.Dir, 0o755); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(settings.Dir, reportFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // that of an earlier run would be taken for that of this one
	}
	s := &show{
		Settings: settings, screen: newScreen(settings.Out, settings.IsTerminal),
		pace: paceOf(&settings.Scenario, settings.Faults),
	}
	defer s.screen.close()
	if err := s.build(ctx); err != nil {
		return errors.Join(err, s.tearDown())
	}
	defer func() { err = errors.Join(err, s.tearDown()) }()
	err = s.play(ctx)
	if s.trouble != nil {
		s.tellOfTrouble()
	}
	if err != nil {
		if ctx.Err() == nil { // nobody wants to stop it: what there is may tell why
			_, failure := s.judge(ctx)
			err = errors.Join(err, failure)
		}
		return err
	}
	ok, err := s.tell(ctx)
	if err != nil {
		return err
	}
	if s.Keep {
		s.world.Disturb()
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
	if s.Services != "" {
		if s.servers, err = startServers(ctx, s.Services, s.Dir); err != nil {
			return err
		}
		s.PostgresURL, s.BrokerURL, s.BrokerPages = s.servers.postgres.url, s.servers.broker.url, s.servers.broker.pages
	}
	if s.stores, err = newStores(ctx, s.PostgresURL, s.Shards); err != nil {
		return err
	}
	if s.world, err = s.newWorld(ctx); err != nil {
		return err
	}
	if err := s.newFleet(ctx); err != nil {
		return err
	}
	if err := s.fleet.configure(ctx); err != nil {
		return err
	}
	if !s.bare {
		if err := s.stores.record(ctx); err != nil {
			return err
		}
	}
	log, err := s.createFile("webserver.log")
	if err != nil {
		return err
	}
	if s.admin, err = startAdmin(ctx, s.stores.solver, log); err != nil {
		return err
	}
	if err := s.fleet.startWorkers(); err != nil {
		return err
	}
	return s.world.Start(ctx)
}

func (s *show) newWorld(ctx context.Context) (*world.World, error) {
	journal, err := s.openJournal()
	if err != nil {
		return nil, err
	}
	log, err := s.createFile("world.log")
	if err != nil {
		return nil, err
	}
	w, err := world.New(ctx, world.Settings{
		BrokerURL: s.BrokerURL, Scenario: s.Scenario, Profile: s.Profile, Seed: s.Seed,
		Journal: journal, Log: slog.New(slog.NewTextHandler(log, nil)),
		Kept: keptShare,
	})
	if err != nil {
		return nil, fmt.Errorf("making the world: %w", err)
	}
	return w, nil
}

// openJournal returns where the world writes its journal; nil: nowhere.
func (s *show) openJournal() (io.Writer, error) {
	if s.bare {
		return nil, nil //nolint:nilnil // see above
	}
	return s.createFile("journal.jsonl")
}

// createFile creates a file that is closed at the end.
func (s *show) createFile(name string) (*os.File, error) {
	file, err := os.Create(filepath.Join(s.Dir, name))
	if err == nil {
		s.files = append(s.files, file)
	}
	return file, err
}

func (s *show) newFleet(ctx context.Context) (err error) {
	certificate := filepath.Join(s.Dir, "certificate.pem")
	if err := os.WriteFile(certificate, s.world.CertificatePEM(), 0o600); err != nil {
		return err
	}
	locator, base := s.world.Base()
	s.fleet, err = newFleet(ctx, fleetSettings{
		program: s.Program, dir: s.Dir, brokerURL: s.BrokerURL, stores: s.stores, shards: s.Shards, inParts: s.Faults,
		certificate: certificate, baseLocator: locator, baseDebtor: base, pace: s.pace, withStatus: s.Keep,
		healthy: func() bool { return s.servers == nil || s.servers.healthy(time.Now()) },
	})
	return err
}

// play lets the turns happen.
func (s *show) play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.admin.planCollectors(ctx, &s.Scenario); err != nil {
		return err
	}
	if s.Faults {
		s.trouble = makeTrouble(ctx, s)
		defer func() {
			cancel()
			s.trouble.calm(ctx)
		}()
	}
	if err := s.awaitMarket(ctx); err != nil {
		return err
	}
	if err := s.fleet.start(solverProcess); err != nil {
		return err
	}
	for turn := range s.Turns {
		if err := s.awaitTurn(ctx, turn+1); err != nil {
			return err
		}
	}
	if err := s.fleet.stop(solverProcess); err != nil {
		return err
	}
	s.trouble.calm(ctx)
	if err := s.awaitEnd(ctx); err != nil {
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
		errs = append(errs, s.fleet.stopAll(), s.fleet.lost())
	}
	if s.admin != nil {
		errs = append(errs, s.admin.stop())
	}
	if s.world != nil {
		errs = append(errs, s.world.Stop())
	}
	if s.stores != nil {
		errs = append(errs, s.stores.close(s.servers == nil))
	}
	if s.servers != nil {
		errs = append(errs, s.servers.close())
	}
	for _, file := range s.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
