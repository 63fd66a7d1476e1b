package demo

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Names of processes. Their logs have the same names.
const solverProcess = "solver"

func workerProcess(shard int) string { return fmt.Sprintf("worker-%d", shard) }

type fleetSettings struct {
	program, dir, brokerURL string
	stores                  *stores
	shards                  int
	certificate             string
	baseLocator             string
	baseDebtor              swpt.DebtorID
	pace                    pace
	withStatus              bool
}

// A fleet is the processes of the service.
type fleet struct {
	fleetSettings
	specs map[string]*spec

	mu         sync.Mutex
	crew       map[string]*process
	turnOffset time.Duration // 0: the solver has not been started yet
	kills      int
}

// A spec tells how a process is run.
type spec struct {
	command     string
	environment []string
	statusURL   string
}

// A process is running, or has ended.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // valid once it has ended
	log   *os.File
}

func newFleet(ctx context.Context, settings fleetSettings) (*fleet, error) {
	f := &fleet{fleetSettings: settings, specs: map[string]*spec{}, crew: map[string]*process{}}
	f.specs[solverProcess] = &spec{command: "solver", environment: f.solverEnvironment()}
	for i := range settings.shards {
		f.specs[workerProcess(i)] = &spec{command: "worker", environment: f.workerEnvironment(i)}
	}
	if !settings.withStatus {
		return f, nil
	}
	for _, s := range f.specs {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		s.environment = append(s.environment, "APP_STATUS_PORT="+strconv.Itoa(port))
		s.statusURL = fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	return f, nil
}

func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	address, isTCP := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil || !isTCP {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	return address.Port, nil
}

func (f *fleet) common() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		"TMPDIR=" + os.TempDir(),
		"APP_LOG_LEVEL=info",
		"SOLVER_POSTGRES_URL=" + f.stores.solverURL,
		"MAX_DISTANCE_TO_BASE=10",
	}
}

func (f *fleet) solverEnvironment() []string {
	return append(
		f.common(),
		"BASE_DEBTOR_INFO_LOCATOR="+f.baseLocator,
		"BASE_DEBTOR_ID="+strconv.FormatUint(uint64(f.baseDebtor), 10), //nolint:gosec // the way people write IDs
		"TURN_PERIOD="+seconds(f.pace.period()),
		"TURN_PHASE1_DURATION="+seconds(f.pace.phase1),
		"TURN_PHASE2_DURATION="+seconds(f.pace.phase2),
		"TURN_CHECK_INTERVAL=0.2s",
	)
}

// workerEnvironment has everything that is done periodically done often, for nobody wants to wait.
func (f *fleet) workerEnvironment(shard int) []string {
	return append(
		f.common(),
		"WORKER_POSTGRES_URL="+f.stores.workerURLs[shard],
		"PROTOCOL_BROKER_URL="+f.brokerURL,
		fmt.Sprintf("PROTOCOL_BROKER_QUEUE=trade-%d", shard),
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY="+routingKey(shard, f.shards),
		"PROTOCOL_BROKER_PREFETCH_COUNT=500",
		"SETUP_RABBITMQ_BINDINGS=yes",
		"HTTP_FETCH_SSL_CERT_FILE="+f.certificate,
		"APP_HTTP_FETCH_ALLOW_PRIVATE=true",
		"HTTP_FETCH_PERIOD=0.5",
		"HANDLE_PRISTINE_COLLECTORS_PERIOD=0.5",
		"APP_ROLL_WORKER_TURNS_WAIT=0.5",
		"TRIGGER_TRANSFERS_PERIOD=0.5",
		"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=6s",
	)
}

// routingKey returns the key of one of some shards.
func routingKey(shard, shards int) string {
	var key strings.Builder
	for bit := bits.Len(uint(shards-1)) - 1; bit >= 0; bit-- {
		fmt.Fprintf(&key, "%d.", shard>>bit&1)
	}
	return key.String() + "#"
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// configure makes tables, queues and bindings.
func (f *fleet) configure(ctx context.Context) error {
	for i := range f.shards {
		name := workerProcess(i)
		cmd := exec.CommandContext(ctx, f.program, "configure") //nolint:gosec // this very program
		cmd.Env = f.specs[name].environment
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("configuring %s: %w\n%s", name, err, output)
		}
	}
	return nil
}

// start starts a process, which writes to its log.
func (f *fleet) start(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(f.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	s := f.specs[name]
	// The end of a context would kill it, but it has to be asked to end.
	cmd := exec.Command(f.program, s.command) //nolint:gosec,noctx // this very program
	p := &process{cmd: cmd, ended: make(chan struct{}), log: log}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.environment, log, log
	if name == solverProcess {
		if f.turnOffset == 0 {
			f.turnOffset = f.pace.offset(time.Now())
		}
		p.cmd.Env = append(p.cmd.Env, "TURN_PERIOD_OFFSET="+seconds(f.turnOffset))
	}
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", name, err), log.Close())
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	f.crew[name] = p
	return nil
}

// stop has a process end in an orderly way.
func (f *fleet) stop(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, found := f.crew[name]
	if !found {
		return nil
	}
	delete(f.crew, name)
	return p.end(name, syscall.SIGTERM)
}

// endPatience is how long a process may take to end. It promises to end sooner.
const endPatience = 15 * time.Second

func (p *process) end(name string, signal os.Signal) error {
	select {
	case <-p.ended:
		err := fmt.Errorf("%s has ended without having been asked to: see %s", name, p.log.Name())
		return errors.Join(err, p.err, p.log.Close())
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("stopping %s: %w", name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(endPatience):
		err := fmt.Errorf("%s has not stopped in %v", name, endPatience)
		return errors.Join(err, p.cmd.Process.Kill())
	}
	if p.err != nil && signal == syscall.SIGTERM {
		return errors.Join(fmt.Errorf("%s has not stopped well: see its log: %w", name, p.err), p.log.Close())
	}
	return p.log.Close()
}

// lost returns an error if a process has ended by itself.
func (f *fleet) lost() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, p := range f.crew {
		select {
		case <-p.ended:
			return errors.Join(fmt.Errorf("%s has ended: see %s", name, p.log.Name()), p.err)
		default:
		}
	}
	return nil
}

// kill kills a process, and starts it again.
func (f *fleet) kill(name string) error {
	f.mu.Lock()
	p, found := f.crew[name]
	if found {
		delete(f.crew, name)
		f.kills++
	}
	f.mu.Unlock()
	if !found {
		return nil
	}
	return errors.Join(p.end(name, syscall.SIGKILL), f.start(name))
}

// trouble kills processes at random moments. The function that it returns ends that.
func (f *fleet) trouble(ctx context.Context, seed uint64) (stop func()) {
	const often, seldom = 300 * time.Millisecond, 3 * time.Second
	ctx, cancel := context.WithCancel(ctx)
	random := rand.New(rand.NewPCG(seed, 0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(often + time.Duration(random.Int64N(int64(seldom-often)))):
			}
			victim := solverProcess
			if n := random.IntN(f.shards + 1); n < f.shards {
				victim = workerProcess(n)
			}
			if f.kill(victim) != nil {
				return // lost tells of it
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (f *fleet) stopAll() error {
	var errs []error
	for name := range f.specs {
		errs = append(errs, f.stop(name))
	}
	return errors.Join(errs...)
}
