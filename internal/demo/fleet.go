package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Names of processes. Their logs have the same names.
const solverProcess = "solver"

func workerProcess(shard int) string { return fmt.Sprintf("worker-%d", shard) }

// partCommands are the parts of a worker that Kubernetes runs as processes of their own. They end when something fails,
// and leave it to others to start them again.
var partCommands = []string{"consume_messages", "flush_all", "fetch_debtor_infos", "trigger_transfers"}

// withoutParts has a worker leave these parts to others.
var withoutParts = []string{
	"PROTOCOL_BROKER_PROCESSES=0", "INTERNAL_BROKER_PROCESSES=0", "FLUSH_PROCESSES=0", "HTTP_FETCH_PROCESSES=0",
	"TRIGGER_TRANSFERS_PROCESSES=0",
}

func partProcess(shard int, command string) string { return workerProcess(shard) + "-" + command }

type fleetSettings struct {
	program, dir, brokerURL string
	stores                  *stores
	shards                  int
	inParts                 bool // every second worker, beginning with the first, runs in parts
	certificate             string
	baseLocator             string
	baseDebtor              swpt.DebtorID
	pace                    pace
	withStatus              bool

	// healthy tells whether servers have been there for some time, so that no part has a reason to fail.
	healthy func() bool
}

// A fleet is the processes of the service.
type fleet struct {
	fleetSettings
	specs map[string]*spec

	mu         sync.Mutex
	crew       map[string]*process
	retired    map[string]bool // stopped on purpose, not to be started again by those who restart processes
	turnOffset time.Duration   // 0: the solver has not been started yet
	failed     error           // tells of processes that have ended by themselves, and must not
	restarts   int             // of parts that have ended by themselves
	ending     chan struct{}   // closed when everything is being stopped

	restarting sync.WaitGroup
}

// A spec tells how a process is run.
type spec struct {
	command     string
	environment []string
	statusURL   string
	isPart      bool
}

// A process is running, or has ended.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // valid once it has ended
	log   *os.File
}

func newFleet(ctx context.Context, settings fleetSettings) (*fleet, error) {
	f := &fleet{
		fleetSettings: settings, specs: map[string]*spec{}, crew: map[string]*process{}, retired: map[string]bool{},
		ending: make(chan struct{}),
	}
	f.specs[solverProcess] = &spec{command: "solver", environment: f.solverEnvironment()}
	for i := range settings.shards {
		f.addWorker(i)
	}
	for name, s := range f.specs {
		if err := os.Remove(f.logFile(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("removing the log of an earlier run: %w", err)
		}
		if !settings.withStatus {
			continue
		}
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		s.environment = append(s.environment, "APP_STATUS_PORT="+strconv.Itoa(port))
		s.statusURL = fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	return f, nil
}

func (f *fleet) addWorker(shard int) {
	environment := f.workerEnvironment(shard)
	if !f.inParts || shard%2 != 0 {
		f.specs[workerProcess(shard)] = &spec{command: "worker", environment: environment}
		return
	}
	f.specs[workerProcess(shard)] = &spec{command: "worker", environment: append(slices.Clip(environment), withoutParts...)}
	for _, command := range partCommands {
		f.specs[partProcess(shard, command)] = &spec{command: command, environment: environment, isPart: true}
	}
}

// names returns the names of all processes, in an order that is always the same.
func (f *fleet) names() []string { return slices.Sorted(maps.Keys(f.specs)) }

func (f *fleet) logFile(name string) string { return filepath.Join(f.dir, name+".log") }

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
		"MAX_DISTANCE_TO_BASE=" + strconv.Itoa(maxDistanceToBase),
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
		"PROTOCOL_BROKER_QUEUE="+queueName(shard),
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY="+routingKey(shard, f.shards),
		"PROTOCOL_BROKER_PREFETCH_COUNT=500",
		"SETUP_RABBITMQ_BINDINGS=yes",
		"HTTP_FETCH_SSL_CERT_FILE="+f.certificate,
		"APP_HTTP_FETCH_ALLOW_PRIVATE=true",
		"HTTP_FETCH_PERIOD=0.5",
		"HANDLE_PRISTINE_COLLECTORS_PERIOD=0.5",
		"APP_ROLL_WORKER_TURNS_WAIT=0.5",
		"TRIGGER_TRANSFERS_PERIOD=0.5",
		"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY="+seconds(f.pace.commitDelay),
	)
}

func queueName(shard int) string { return fmt.Sprintf("trade-%d", shard) }

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

// startWorkers starts all processes except the solver.
func (f *fleet) startWorkers() error {
	for _, name := range f.names() {
		if name == solverProcess {
			continue
		}
		if err := f.start(name); err != nil {
			return err
		}
	}
	return nil
}

// stopWorkers has all processes except the solver end in an orderly way. They can be started again.
func (f *fleet) stopWorkers() error {
	var stopping errgroup.Group
	for _, name := range f.names() {
		if name != solverProcess {
			stopping.Go(func() error { return f.stop(name) })
		}
	}
	return stopping.Wait()
}

// start starts a process, which writes to its log.
func (f *fleet) start(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.retired, name)
	return f.launch(name)
}

// startAgain starts a process that has ended, unless it has been stopped meanwhile.
func (f *fleet) startAgain(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retired[name] {
		return nil
	}
	return f.launch(name)
}

func (f *fleet) launch(name string) error {
	log, err := os.OpenFile(f.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	s := f.specs[name]
	// The end of a context would kill it, but it has to be asked to end.
	cmd := exec.Command(f.program, s.command) //nolint:gosec,noctx // this very program
	shield(cmd)
	p := &process{cmd: cmd, ended: make(chan struct{}), log: log}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.environment, log, log
	if name == solverProcess {
		if f.turnOffset == 0 {
			f.turnOffset = f.pace.offset(time.Now())
		}
		p.cmd.Env = append(slices.Clip(p.cmd.Env), "TURN_PERIOD_OFFSET="+seconds(f.turnOffset))
	}
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", name, err), log.Close())
	}
	f.crew[name] = p
	go func() {
		p.err = errors.Join(p.cmd.Wait(), log.Close())
		f.ended(name, p)
		close(p.ended)
	}()
	return nil
}

// partPause is how long the start of a part is put off that has ended by itself.
const partPause = 500 * time.Millisecond

// ended decides what to do about a process that has ended. Only parts of workers may, if there is a reason: they are
// started again.
func (f *fleet) ended(name string, p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crew[name] != p {
		return // somebody has asked for it
	}
	delete(f.crew, name)
	switch {
	case !f.specs[name].isPart || p.cmd.ProcessState.ExitCode() != 1 || f.healthy():
		f.failed = errors.Join(f.failed, fmt.Errorf("%s has ended by itself: see %s: %w", name, f.logFile(name), p.err))
	case !f.stopping():
		f.restarts++
		f.restarting.Go(func() { f.restart(name) })
	}
}

func (f *fleet) stopping() bool {
	select {
	case <-f.ending:
		return true
	default:
		return false
	}
}

// restart starts a part again, unless everything is being stopped.
func (f *fleet) restart(name string) {
	select {
	case <-time.After(partPause):
	case <-f.ending:
		return
	}
	if err := f.startAgain(name); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failed = errors.Join(f.failed, err)
	}
}

// stop has a process end in an orderly way, for good, even if it is just being killed to be started again.
func (f *fleet) stop(name string) error {
	f.mu.Lock()
	f.retired[name] = true
	f.mu.Unlock()
	p := f.dismiss(name)
	if p == nil {
		return nil
	}
	return p.end(name, syscall.SIGTERM)
}

// dismiss returns a process that is running, or nil, and regards it as one that may end.
func (f *fleet) dismiss(name string) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.crew[name]
	delete(f.crew, name)
	return p
}

// endPatience is how long a process may take to end. It promises to end sooner.
const endPatience = 15 * time.Second

func (p *process) end(name string, signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending %s: %w", name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(endPatience):
		err := fmt.Errorf("%s has not ended in %v", name, endPatience)
		return errors.Join(err, p.cmd.Process.Kill())
	}
	if p.err != nil && signal == syscall.SIGTERM {
		return fmt.Errorf("%s has not stopped well: see its log: %w", name, p.err)
	}
	return nil
}

// lost returns an error if a process has ended by itself, and must not.
func (f *fleet) lost() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// partRestarts returns how often parts have ended by themselves.
func (f *fleet) partRestarts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restarts
}

// kill kills a process, and starts it again. It reports whether there was something to kill.
func (f *fleet) kill(name string) (killed bool, err error) {
	p := f.dismiss(name)
	if p == nil {
		return false, nil
	}
	return true, errors.Join(p.end(name, syscall.SIGKILL), f.startAgain(name))
}

// stopAll has all processes end in an orderly way.
func (f *fleet) stopAll() error {
	f.mu.Lock()
	close(f.ending)
	f.mu.Unlock()
	f.restarting.Wait()
	var stopping errgroup.Group
	for _, name := range f.names() {
		stopping.Go(func() error { return f.stop(name) })
	}
	return stopping.Wait()
}
