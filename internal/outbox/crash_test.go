package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// The environment of a test process that is to crash.
const (
	crashVariable         = "TEST_OUTBOX_CRASH"
	crashDatabaseVariable = "TEST_OUTBOX_DATABASE"
	crashBrokerVariable   = "TEST_OUTBOX_BROKER"
)

// An interceptor does something after each batch that a publisher has published.
type interceptor struct {
	outbox.Publisher
	after func([]broker.Outcome, error) ([]broker.Outcome, error)
}

func (i interceptor) PublishAll(ctx context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
	return i.after(i.Publisher.PublishAll(ctx, batch))
}

// flushAndCrash sends what is in the outbox until the broker has confirmed the second burst, and then kills itself.
func flushAndCrash() {
	url, err := postgres.ParseURL(os.Getenv(crashDatabaseVariable))
	if err != nil {
		panic(err)
	}
	db, err := workerdb.Open(url, postgres.Options{})
	if err != nil {
		panic(err)
	}
	bursts := 0
	w := &world{db: db, brokerURL: os.Getenv(crashBrokerVariable), log: &logbook{}}
	config := w.config()
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 100}
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return interceptor{newPublisher(w.brokerURL), func(outcomes []broker.Outcome, err error) ([]broker.Outcome, error) {
			if bursts++; bursts == 2 {
				_, _ = os.Stdout.WriteString("published")
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal comes
			}
			return outcomes, err
		}}
	}
	flusher, err := outbox.NewFlusher(config)
	if err == nil {
		err = flusher.RunOnce(context.Background())
	}
	_, _ = fmt.Fprintln(os.Stdout, "did not crash:", err)
	os.Exit(1)
}

// A process is killed after the broker has confirmed a burst, and before the database knows. Its messages are sent twice,
// and none is lost.
func TestCrashBetweenPublishAndDelete(t *testing.T) {
	t.Parallel()
	databaseURL := newDatabaseURL(t)
	w := newWorld(t)
	w.db = open(t, databaseURL, nil)
	w.appendAll(t, 350)
	process := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this is the test itself
	process.Env = append(os.Environ(),
		crashVariable+"=yes", crashDatabaseVariable+"="+databaseURL, crashBrokerVariable+"="+w.brokerURL)
	output, err := process.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL ||
		!strings.Contains(string(output), "published") {
		t.Fatalf("the process has ended with %v, and said:\n%s", err, output)
	}
	// The server has to notice that the process is gone.
	config := w.config()
	testenv.Eventually(t, patience, func() error {
		flush(t, config)
		if left := count(t, w.db); left > 0 {
			return fmt.Errorf("%d records are left", left)
		}
		return nil
	})
	if got := testenv.QueueDepth(t, w.channel, workerQueue); got != 450 {
		t.Errorf("%d messages were sent, want 350 and a burst of 100 again", got)
	}
	w.mustReceive(t, 350, true)
}

// The database does not take part in the commit, for whatever reason.
func TestDatabaseRefusesTheCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.appendAll(t, 50)
	w.exec(t, `
		CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END';
		CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON outbox DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION refuse();`)
	err := newFlusher(t, w.config()).RunOnce(t.Context())
	if err == nil || !strings.Contains(err.Error(), "committing") {
		t.Errorf("the error is %v", err)
	}
	w.mustHold(t, 50)
	w.exec(t, `DROP TRIGGER refuse ON outbox`)
	flush(t, w.config())
	w.mustHold(t, 0)
	w.mustReceive(t, 50, true)
}

// The database connection breaks while the broker confirms.
func TestDatabaseConnectionIsLost(t *testing.T) {
	t.Parallel()
	databaseURL := newDatabaseURL(t)
	w := newWorld(t)
	w.db = open(t, databaseURL, nil)
	w.appendAll(t, 50)
	proxy := testenv.NewProxy(t, databaseURL)
	config := w.config()
	config.DB = open(t, proxy.URL(), nil)
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return interceptor{newPublisher(w.brokerURL), func(outcomes []broker.Outcome, err error) ([]broker.Outcome, error) {
			proxy.Cut()
			return outcomes, err
		}}
	}
	if err := newFlusher(t, config).RunOnce(t.Context()); err == nil {
		t.Error("the flusher does not know of the failure")
	}
	w.mustHold(t, 50)
	testenv.Eventually(t, patience, func() error { // the server has to notice that the connection is gone
		flush(t, w.config())
		if left := count(t, w.db); left > 0 {
			return fmt.Errorf("%d records are left", left)
		}
		return nil
	})
	w.mustReceive(t, 50, true)
}

// Transactions that lose a race are repeated.
func TestSerializationFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.appendAll(t, 50)
	w.exec(t, `
		CREATE SEQUENCE attempts;
		CREATE FUNCTION fail_twice() RETURNS TRIGGER LANGUAGE plpgsql AS '
			BEGIN
				IF nextval($$attempts$$) <= 2 THEN RAISE EXCEPTION $$injected$$ USING ERRCODE = $$40P01$$; END IF;
				RETURN NULL;
			END';
		CREATE TRIGGER fail_twice AFTER DELETE ON outbox FOR EACH STATEMENT EXECUTE FUNCTION fail_twice();`)
	flush(t, w.config())
	w.mustHold(t, 0)
	if got := testenv.QueueDepth(t, w.channel, workerQueue); got != 150 {
		t.Errorf("%d messages were sent, want 50 three times", got)
	}
	w.mustReceive(t, 50, true)
}

// The connection to the broker breaks in the middle of a burst. The flusher does not fail, it makes another connection.
func TestBrokerConnectionIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const messages = 2000
	w.appendAll(t, messages)
	proxy := testenv.NewProxy(t, w.brokerURL)
	proxy.CutAfter(testenv.ToServer, 100_000)
	config := w.config()
	config.NewPublisher = func(smp.Class) outbox.Publisher { return newPublisher(proxy.URL()) }
	flush(t, config)
	w.mustHold(t, 0)
	w.mustReceive(t, messages, true)
}

// The broker is killed while messages are sent, and comes back.
func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	server := testenv.StartBroker(t)
	channel := testenv.OpenChannel(t, server.URL())
	declare(t, server.URL(), channel)
	w := newDatabase(t)
	w.brokerURL, w.channel = server.URL(), channel
	w.bind(t, workerQueue, "#", broker.ToTrade)
	const messages = 15000
	w.appendAll(t, messages)
	config := w.config()
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 1000}
	flusher := newFlusher(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error {
		for ctx.Err() == nil {
			_ = flusher.Run(ctx) // who is to blame if it fails is known
		}
		return nil
	})
	testenv.Eventually(t, patience, func() error {
		if left := count(t, w.db); left == messages {
			return errors.New("no burst has been sent")
		}
		return nil
	})
	server.Kill()
	if count(t, w.db) == 0 {
		t.Error("the broker was killed too late")
	}
	server.Start()
	w.eventuallyHolds(t, 0)
	cancel()
	_ = group.Wait()
	w.channel = testenv.OpenChannel(t, server.URL())
	w.mustReceive(t, messages, true)
}
