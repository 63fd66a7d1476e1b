package guard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// Tests here wait more than they compute: much more of them can run at a time than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "20"); err != nil {
		panic(err)
	}
	time.Local = time.FixedZone("", 2*60*60) // what people read must not depend on it
	m.Run()
}

const (
	patience = 30 * time.Second // for what happens within a second or two, on a machine that is not busy
	promised = 5 * time.Second  // for the work to be stopped
)

var errBroken = errors.New("broken")

// A contender is a guard that runs in the background, with work that goes on until it is told to end.
type contender struct {
	guard.Guard
	t   *testing.T
	url string
	log *logbook

	begun     chan context.Context // the context of the work, each time that it has begun
	end       chan error           // ends the work
	connected chan *pgx.Conn       // each of the guard's connections
	tries     atomic.Int32         // of getting the lock
	result    chan error           // of Run
}

// newContender returns a contender that has not been started. It is patient.
func newContender(t *testing.T, url string) *contender {
	t.Helper()
	c := &contender{
		t: t, url: url, log: new(logbook),
		begun: make(chan context.Context, 10), end: make(chan error),
		connected: make(chan *pgx.Conn, 10), result: make(chan error, 1),
	}
	c.Guard = guard.Guard{
		Component: "solver",
		Connect:   c.connect,
		Wait:      time.Hour,
		Logger:    slog.New(slog.NewJSONHandler(c.log, nil)),
	}
	return c
}

func (c *contender) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(c.url)
	if err != nil {
		return nil, err
	}
	config.Tracer = c
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		c.connected <- conn
	}
	return conn, err
}

type isTry struct{} // a key of contexts

// TraceQueryStart implements pgx.QueryTracer.
func (*contender) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, isTry{}, strings.Contains(data.SQL, "pg_try_advisory_lock"))
}

// TraceQueryEnd implements pgx.QueryTracer.
func (c *contender) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if try, _ := ctx.Value(isTry{}).(bool); try {
		c.tries.Add(1)
	}
}

// start starts the contender, which is stopped at the end of the test, at the latest.
func (c *contender) start() *contender {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	var running sync.WaitGroup
	running.Go(func() { c.result <- c.Run(ctx, c.work) })
	c.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

func (c *contender) work(ctx context.Context) error {
	c.begun <- ctx
	select {
	case err := <-c.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitTries waits until the contender has tried that many times more to get the lock.
func (c *contender) awaitTries(n int32) {
	c.t.Helper()
	before := c.tries.Load()
	testenv.Eventually(c.t, patience, func() error {
		if got := c.tries.Load() - before; got < n {
			return fmt.Errorf("the lock was tried to get %d times, want %d", got, n)
		}
		return nil
	})
}

// expectIdle checks that the work has not begun.
func (c *contender) expectIdle() {
	c.t.Helper()
	select {
	case <-c.begun:
		c.t.Fatal("the work has begun while another process holds the lock")
	default:
	}
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
		panic("unreachable")
	}
}

// A logbook remembers what was logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

// errors returns the messages that were logged as errors.
func (b *logbook) errors(t *testing.T) []string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var messages []string
	for line := range bytes.Lines(b.text.Bytes()) {
		var record struct{ Level, Msg string }
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		if record.Level == slog.LevelError.String() {
			messages = append(messages, record.Msg)
		}
	}
	return messages
}

func expectErrors(t *testing.T, log *logbook, want ...string) {
	t.Helper()
	if got := log.errors(t); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("logged errors:\n%q\nwant:\n%q", got, want)
	}
}

// An observer is a connection of somebody who looks on.
type observer struct {
	*pgx.Conn
	t *testing.T
}

func newObserver(t *testing.T, url string) *observer {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return &observer{Conn: conn, t: t}
}

func (o *observer) exec(sql string, args ...any) {
	o.t.Helper()
	if _, err := o.Exec(o.t.Context(), sql, args...); err != nil {
		o.t.Fatalf("%s: %v", sql, err)
	}
}

func query[T any](o *observer, sql string, args ...any) T {
	o.t.Helper()
	var value T
	if err := o.QueryRow(o.t.Context(), sql, args...).Scan(&value); err != nil {
		o.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// terminate ends a session.
func (o *observer) terminate(conn *pgx.Conn) {
	o.t.Helper()
	if !query[bool](o, "SELECT pg_terminate_backend($1)", conn.PgConn().PID()) {
		o.t.Fatal("there is no such session")
	}
}

// locks returns how many advisory locks are held in the database, with the given key.
func (o *observer) locks(class, object int32) int {
	return query[int](o, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND classid = $1 AND objid = $2 AND objsubid = 2
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, uint32(class), uint32(object))
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	first, second := newContender(t, url).start(), newContender(t, url)
	receive(t, "first", first.begun)
	second.start()
	second.awaitTries(3)
	second.expectIdle()

	first.end <- errBroken
	if err := receive(t, "first", first.result); !errors.Is(err, errBroken) {
		t.Errorf("Run: %v", err)
	}
	receive(t, "second", second.begun)
	second.end <- nil
	if err := receive(t, "second", second.result); err != nil {
		t.Errorf("Run: %v", err)
	}
	expectErrors(t, first.log)
	expectErrors(t, second.log)
}

// The key is known to others: to operators, and to the programs of other versions.
func TestKey(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	o := newObserver(t, url)
	o.exec("CREATE SCHEMA trade")
	for name, test := range map[string]struct {
		component, schema string
		object            int32 // CRC-32 of "component@schema", computed elsewhere
	}{
		"solver":    {"solver", "public", -974521264},
		"worker":    {"worker", "public", 729838419},
		"component": {"roll_transfers", "trade", -976647912},
	} {
		c := newContender(t, inSchema(t, url, "missing,"+test.schema))
		c.Component = test.component
		c.start()
		receive(t, name, c.begun)
		if got := o.locks(1414676804, test.object); got != 1 {
			t.Errorf("%s: %d locks", name, got)
		}
	}
}

func TestWhatDoesNotClash(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	newObserver(t, url).exec("CREATE SCHEMA other")
	other := newContender(t, url)
	other.Component = "worker"
	for _, c := range []*contender{
		newContender(t, url),
		newContender(t, inSchema(t, url, "other")),
		newContender(t, testenv.NewDatabase(t)),
		other,
	} {
		c.start()
		receive(t, "all of them", c.begun)
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	first := newContender(t, url).start()
	holder := receive(t, "first", first.connected)
	receive(t, "first", first.begun)
	start := query[time.Time](newObserver(t, url), "SELECT backend_start FROM pg_stat_activity WHERE pid = $1",
		holder.PgConn().PID())

	for _, wait := range []time.Duration{0, 1500 * time.Millisecond} {
		second := newContender(t, url)
		second.Wait = wait
		began := time.Now()
		second.start()
		err := receive(t, "second", second.result)
		if !errors.Is(err, guard.ErrHeld) {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took < wait {
			t.Errorf("Run returned after %v, before %v were over", took, wait)
		}
		second.expectIdle()
		expectErrors(t, second.log, "another solver is already running on this database (since "+
			start.UTC().Format("2006-01-02T15:04:05Z")+", from 127.0.0.1)")
	}
}

// Sessions of other roles are not for everybody to see.
func TestHeldByAnotherRole(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	o := newObserver(t, url)
	role := query[string](o, "SELECT current_database() || '_role'")
	o.exec("CREATE ROLE " + pgx.Identifier{role}.Sanitize() + " LOGIN PASSWORD 'secret'")
	t.Cleanup(func() {
		_, err := o.Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+pgx.Identifier{role}.Sanitize())
		if err != nil {
			t.Error(err)
		}
	})
	receive(t, "first", newContender(t, url).start().begun)
	second := newContender(t, as(t, url, role, "secret"))
	second.Wait = 0
	if err := receive(t, "second", second.start().result); !errors.Is(err, guard.ErrHeld) {
		t.Errorf("Run: %v", err)
	}
	expectErrors(t, second.log, "another solver is already running on this database")
}

func TestStandBy(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	first, second := newContender(t, url).start(), newContender(t, url)
	receive(t, "first", first.begun)
	second.Wait, second.StandBy = 0, true
	var held atomic.Bool
	second.Held = held.Store
	second.start().awaitTries(3)
	second.expectIdle()
	if !held.Load() {
		t.Error("it does not tell that another process holds the lock")
	}
	complaints := second.log.errors(t)
	const complaint = "another solver is already running on this database (since "
	if len(complaints) != 1 || !strings.HasPrefix(complaints[0], complaint) {
		t.Errorf("logged errors: %q", complaints)
	}

	close(first.end)
	receive(t, "second", second.begun)
	if held.Load() {
		t.Error("it tells that another process holds the lock, which it has got itself")
	}
}

// The lock's session is ended by the server. The work is stopped, and waits like everybody else, if there is somebody.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	first, second := newContender(t, url), newContender(t, url)
	reconnect := make(chan struct{}, 1)
	reconnect <- struct{}{}
	first.Connect = func(ctx context.Context) (*pgx.Conn, error) {
		<-reconnect // only when the second one has the lock
		return first.connect(ctx)
	}
	first.start()
	session := receive(t, "first", first.connected)
	working := receive(t, "first", first.begun)
	second.start().awaitTries(2)

	newObserver(t, url).terminate(session)
	receive(t, "end of the first one's work", working.Done())
	cause := context.Cause(working)
	reason, _ := errors.AsType[*pgconn.PgError](cause)
	if !errors.Is(cause, guard.ErrLost) || reason == nil || reason.Code != "57P01" {
		t.Errorf("the cause for the work to end: %v", cause)
	}
	receive(t, "second", second.begun)
	reconnect <- struct{}{}
	first.awaitTries(2)
	first.expectIdle()
	expectErrors(t, first.log, "stopped the work, because its lock may be lost")

	second.end <- nil
	receive(t, "first, again", first.begun)
	first.end <- errBroken
	if err := receive(t, "first", first.result); !errors.Is(err, errBroken) {
		t.Errorf("Run: %v", err)
	}
}

func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewDatabase(t))
	c := newContender(t, proxy.URL()).start()
	for range 2 {
		working := receive(t, "work", c.begun)
		proxy.Cut()
		receive(t, "end of the work", working.Done())
		if cause := context.Cause(working); !errors.Is(cause, guard.ErrLost) {
			t.Errorf("the cause for the work to end: %v", cause)
		}
	}
	receive(t, "work, again", c.begun)
	proxy.Refuse()
	proxy.Cut()
	if err := receive(t, "result", c.result); err == nil || errors.Is(err, guard.ErrHeld) {
		t.Errorf("Run, when nothing can be connected to: %v", err)
	}
}

// The network falls silent, and no side learns anything.
func TestSilence(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewDatabase(t))
	c := newContender(t, proxy.URL()).start()
	working := receive(t, "work", c.begun)
	began := time.Now()
	proxy.Stall()
	receive(t, "end of the work", working.Done())
	if took := time.Since(began); took > promised {
		t.Errorf("the work was stopped after %v", took)
	}
	if cause := context.Cause(working); !errors.Is(cause, guard.ErrLost) {
		t.Errorf("the cause for the work to end: %v", cause)
	}
	proxy.Resume()
	receive(t, "work, again", c.begun)
}

// A quiet connection is not a lost one.
func TestQuiet(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	o := newObserver(t, url)
	c := newContender(t, url).start()
	session := receive(t, "connection", c.connected)
	working := receive(t, "work", c.begun)
	pings := func() time.Time {
		return query[time.Time](o, "SELECT query_start FROM pg_stat_activity WHERE pid = $1", session.PgConn().PID())
	}
	for range 3 {
		before := pings()
		testenv.Eventually(t, patience, func() error {
			if pings().Equal(before) {
				return errors.New("the server has not been asked whether it is there")
			}
			return nil
		})
	}
	if working.Err() != nil {
		t.Errorf("the work was stopped: %v", context.Cause(working))
	}
}

// What the work writes is written by one process at a time, and soon not any more when the lock is lost.
func TestNothingIsWrittenWithoutTheLock(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	o := newObserver(t, url)
	o.exec("CREATE TABLE writings (id bigserial, run int, at timestamptz DEFAULT clock_timestamp())")
	c := newContender(t, url)
	var run atomic.Int32
	written := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		c.result <- c.Run(ctx, func(ctx context.Context) error {
			mine := run.Add(1)
			conn, err := pgx.Connect(ctx, url)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			for {
				if _, err := conn.Exec(ctx, "INSERT INTO writings (run) VALUES ($1)", mine); err != nil {
					return err
				}
				select {
				case written <- struct{}{}:
				default:
				}
			}
		})
	}()
	const losses = 3
	var lost [losses]time.Time
	for i := range losses {
		session := receive(t, "connection", c.connected)
		testenv.Eventually(t, patience, func() error {
			if n := query[int](o, "SELECT count(*) FROM writings WHERE run = $1", i+1); n == 0 {
				return fmt.Errorf("run %d has not written anything", i+1)
			}
			return nil
		})
		lost[i] = query[time.Time](o, "SELECT clock_timestamp()")
		o.terminate(session)
	}
	stop()
	if err := receive(t, "result", c.result); err == nil {
		t.Error("no error")
	}
	for i := range losses {
		late := query[int](o, "SELECT count(*) FROM writings WHERE run = $1 AND at > $2", i+1, lost[i].Add(promised))
		mixed := query[int](o, `SELECT count(*) FROM writings WHERE run = $1
			AND id > (SELECT min(id) FROM writings WHERE run > $1)`, i+1)
		if late > 0 || mixed > 0 {
			t.Errorf("run %d wrote %d rows too late, and %d after the next run had begun", i+1, late, mixed)
		}
	}
}

// Work that does not end keeps the lock from being taken again by its own guard, and operators hear of it.
func TestWorkThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	c := newContender(t, url)
	begun, end := make(chan struct{}, 10), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		c.result <- c.Run(ctx, func(context.Context) error {
			begun <- struct{}{}
			<-end
			return nil
		})
	}()
	receive(t, "work", begun)
	newObserver(t, url).terminate(receive(t, "connection", c.connected))
	testenv.Eventually(t, patience, func() error {
		if got := c.log.errors(t); len(got) != 1 || got[0] != "the work goes on although its lock may be lost" {
			return fmt.Errorf("logged errors: %q", got)
		}
		return nil
	})
	select {
	case <-begun:
		t.Error("the work has begun again while it goes on")
	case <-c.connected:
		t.Error("the guard has connected again while the work goes on")
	default:
	}
	close(end)
	receive(t, "work, again", begun)
}

// When the process stops, the lock is held until the work has ended.
func TestStop(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	o := newObserver(t, url)
	c := newContender(t, url)
	cause := fmt.Errorf("the process stops: %w", guard.ErrLost) // of a guard around this one
	ctx, stop := context.WithCancelCause(t.Context())
	finishing, finished := make(chan struct{}), make(chan struct{})
	go func() {
		c.result <- c.Run(ctx, func(ctx context.Context) error {
			c.begun <- ctx
			<-ctx.Done()
			close(finishing)
			<-finished
			return context.Cause(ctx)
		})
	}()
	receive(t, "work", c.begun)
	stop(cause)
	receive(t, "the work's last steps", finishing)
	if n := o.locks(guard.LockClass, -974521264); n != 1 {
		t.Errorf("%d locks are held while the work finishes", n)
	}
	close(finished)
	if err := receive(t, "result", c.result); !errors.Is(err, cause) {
		t.Errorf("Run: %v", err)
	}
	testenv.Eventually(t, patience, func() error {
		if n := o.locks(guard.LockClass, -974521264); n != 0 {
			return fmt.Errorf("%d locks are held", n)
		}
		return nil
	})
	expectErrors(t, c.log)
}

// A connection that tells when the server is asked whether it is there.
type tellingConn struct {
	net.Conn
	pings chan struct{}
}

func (c tellingConn) Write(message []byte) (int, error) {
	if bytes.Contains(message, []byte("-- ping")) {
		select {
		case c.pings <- struct{}{}:
		default:
		}
	}
	return c.Conn.Write(message)
}

// The lock is held on to, too, if the process stops while the guard waits for an answer of the server.
func TestStopDuringAPing(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewDatabase(t))
	pings := make(chan struct{})
	c := newContender(t, proxy.URL())
	c.Connect = func(ctx context.Context) (*pgx.Conn, error) {
		config, err := pgx.ParseConfig(proxy.URL())
		if err != nil {
			return nil, err
		}
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return tellingConn{conn, pings}, err
		}
		return pgx.ConnectConfig(ctx, config)
	}
	ctx, stop := context.WithCancel(t.Context())
	finish := make(chan struct{})
	go func() {
		c.result <- c.Run(ctx, func(ctx context.Context) error {
			c.begun <- ctx
			<-finish
			return nil
		})
	}()
	receive(t, "work", c.begun)
	proxy.Stall()
	receive(t, "ping without an answer", pings)
	stop()
	proxy.Resume()
	receive(t, "another ping", pings)
	close(finish)
	if err := receive(t, "result", c.result); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	receive(t, "first", newContender(t, url).start().begun)
	second := newContender(t, url)
	ctx, stop := context.WithCancelCause(t.Context())
	go func() { second.result <- second.Run(ctx, second.work) }()
	second.awaitTries(1)
	stop(errBroken)
	if err := receive(t, "second", second.result); !errors.Is(err, errBroken) {
		t.Errorf("Run: %v", err)
	}
	second.expectIdle()
}

func TestPanic(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	first := newContender(t, url)
	func() {
		defer func() {
			if value := recover(); value != "no way" {
				t.Errorf("recovered: %v", value)
			}
		}()
		_ = first.Run(t.Context(), func(context.Context) error { panic("no way") })
	}()
	receive(t, "second", newContender(t, url).start().begun)
}

func TestNoConnection(t *testing.T) {
	t.Parallel()
	c := newContender(t, "")
	c.Connect = func(context.Context) (*pgx.Conn, error) { return nil, errBroken }
	if err := c.Run(t.Context(), c.work); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "solver") {
		t.Errorf("Run: %v", err)
	}
	c.expectIdle()
}

func TestConnectionLostWhileWaiting(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	receive(t, "first", newContender(t, url).start().begun)
	second := newContender(t, url).start()
	session := receive(t, "second", second.connected)
	second.awaitTries(1)
	newObserver(t, url).terminate(session)
	if err := receive(t, "second", second.result); err == nil || errors.Is(err, guard.ErrHeld) {
		t.Errorf("Run: %v", err)
	}
	second.expectIdle()
}

func TestNoSchema(t *testing.T) {
	t.Parallel()
	c := newContender(t, inSchema(t, testenv.NewDatabase(t), "missing"))
	if err := c.Run(t.Context(), c.work); err == nil || !strings.Contains(err.Error(), "search_path") {
		t.Errorf("Run: %v", err)
	}
	c.expectIdle()
}
