package collector_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

var needed = &smp.NeededCollector{DebtorID: debtor, TS: now.Add(-time.Minute)}

func activation(accountID string) *smp.ActivateCollector {
	return &smp.ActivateCollector{DebtorID: debtor, CreditorID: first, AccountID: accountID, TS: now}
}

func mustFollow(tb testing.TB, f *collector.Follower) {
	tb.Helper()
	if err := f.RunOnce(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// remembered returns for which debtors collectors have been arranged, and how long ago they were needed.
func (w *world) remembered(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.worker.DB, `SELECT format('%s needed %s ago', debtor_id, $1 - needed_at)
		FROM recently_needed_collector ORDER BY 1`, now)
}

func TestNeededCollectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follower()
	planned := firsts("%d 0 ")
	w.handle(t, needed)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t), planned)
	mustBe(t, "remembered", w.remembered(t), "1001 needed 00:01:00 ago")
	mustBe(t, "tasks", w.tasks(t))

	// It is remembered, so the solver database is not asked again, and there is nothing new to remember.
	exec(t, w.solver.DB, "DELETE FROM collector_account")
	again := *needed
	again.TS = now.Add(44 * day)
	w.now = now.Add(45*day - time.Minute)
	w.handle(t, &again)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t))
	mustBe(t, "remembered", w.remembered(t), "1001 needed 00:01:00 ago")
	mustBe(t, "tasks", w.tasks(t))

	// What is remembered has expired.
	w.now = w.now.Add(time.Microsecond)
	w.handle(t, &again)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t), planned)
	mustBe(t, "remembered", w.remembered(t), "1001 needed -44 days ago")
	mustBe(t, "tasks", w.tasks(t))
}

// When there is no ID left, somebody has to be told. To try again would not help.
func TestNoCollectorIDIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follower()
	f.Pool.Last = f.Pool.First
	w.handle(t, needed)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t))
	mustBe(t, "remembered", w.remembered(t), "1001 needed 00:01:00 ago")
	mustBe(t, "tasks", w.tasks(t))
	w.log.mustHave(t, "level=ERROR", "no collector ID is left", "debtor_id=1001")
}

func TestActivateCollectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		status int // -1: there is no such collector
		id     string
		known  string // the account ID that the worker knows; "-": it does not know the account
		want   string
		isNew  bool // the status
	}{
		"missing":                  {-1, "", "7", "", false},
		"pristine":                 {0, "", "7", "2 7", true},
		"pristine, not known":      {0, "", "-", "2 7", true},
		"requested":                {1, "", "7", "2 7", true},
		"requested, known another": {1, "", "8", "2 7", true},
		"active":                   {2, "7", "7", "2 7", false},
		"active, replaced":         {2, "6", "7", "2 7", false},
		"active, late duplicate":   {2, "8", "8", "2 8", false},
		"active, known another":    {2, "6", "8", "2 6", false},
		"active, not known":        {2, "6", "-", "2 6", false},
		"active, known without ID": {2, "6", "", "2 6", false},
		"disabled":                 {3, "", "7", "3 ", false},
		"disabled, replaced":       {3, "6", "7", "3 6", false},
	} {
		w.clear(t)
		if c.status >= 0 {
			w.addCollector(t, first, c.status, c.id, now.Add(-day))
		}
		w.addCollector(t, second, 1, "", now.Add(-day))
		if c.known != "-" {
			w.knows(t, first, c.known)
		}
		w.knows(t, second, "7")
		w.handle(t, activation("7"))
		for range 2 { // the second time, there is nothing to do
			mustFollow(t, w.follower())
			want := []string{fmt.Sprintf("%d 1 ", second)}
			if c.want != "" {
				want = append(want, firsts("%d ")+c.want)
			}
			mustBe(t, name+": collectors", w.collectors(t), want...)
			mustBe(t, name+": tasks", w.tasks(t))
		}
		changed := lines(t, w.solver.DB, "SELECT collector_id::TEXT FROM collector_account WHERE latest_status_change_at = $1", now)
		if (len(changed) == 1) != c.isNew {
			t.Errorf("%s: new is the status of %q", name, changed)
		}
	}
}

func TestTasksOfOtherShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		realm  string
		delete bool
		tasks  []string
		log    string
	}{
		"ours":                  {"1.#", true, nil, ""},
		"left over":             {"0.#", true, nil, ""},
		"left over, to be kept": {"0.#", false, []string{"0/1001  in 60"}, "DELETE_PARENT_SHARD_RECORDS"},
		"another parent's":      {"0.1.#", true, []string{"0/1001  in 60"}, "the task belongs to another shard"},
	} {
		w.clear(t)
		f := w.follower()
		var err error
		if f.Realm, err = shard.ParseWorkerRealm(c.realm); err != nil {
			t.Fatal(err)
		}
		f.DeleteParentRecords = c.delete
		w.handle(t, needed) // the key of debtor 1001 begins with 1110
		mustFollow(t, f)
		mustBe(t, name+": tasks", w.tasks(t), c.tasks...)
		if ours := name == "ours"; (len(w.collectors(t)) == 1) != ours || (len(w.remembered(t)) == 1) != ours {
			t.Error(name + ": the task has been done for another shard, or not at all")
		}
		w.log.mustHave(t, c.log)
	}
}

// A task that fails by itself does not hold up the others, and is done when it can be.
func TestFailingTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	exec(t, w.solver.DB, `ALTER TABLE collector_account ADD CONSTRAINT trouble CHECK (debtor_id <> 1001)`)
	for n := range swpt.DebtorID(500) {
		w.handle(t, &smp.NeededCollector{DebtorID: 800 + n, TS: now})
	}
	f := w.follower()
	mustFollow(t, f)
	mustBe(t, "tasks", w.tasks(t), "0/1001  in 60")
	mustBe(t, "collectors", lines(t, w.solver.DB, "SELECT count(*)::TEXT FROM collector_account"), "499")
	w.log.mustHave(t, "a task concerning a collector has failed", "debtor_id=1001", "trouble")

	exec(t, w.solver.DB, `ALTER TABLE collector_account DROP CONSTRAINT trouble`)
	w.now = w.now.Add(time.Minute - time.Microsecond)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t))
	w.now = w.now.Add(time.Microsecond)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t), firsts("%d 0 "))
	mustBe(t, "tasks", w.tasks(t))
}

// While the solver database is away, messages are handled, and tasks wait. When it is back, they are done at once.
func TestSolverDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy := testenv.NewProxy(t, w.solverURL)
	f := w.follower()
	f.Solver = solverdbtest.Open(t, proxy.URL(), postgres.Options{})
	proxy.Refuse()
	proxy.Cut()
	w.handle(t, needed)
	if err := f.RunOnce(t.Context()); err == nil {
		t.Error("no error")
	}
	mustBe(t, "tasks", w.tasks(t), "0/1001  in 0")
	proxy.Accept()
	mustFollow(t, f)
	mustBe(t, "tasks", w.tasks(t))
	mustBe(t, "collectors", w.collectors(t), firsts("%d 0 "))
}

// A follower may die at any point. What it has begun is done again when it is due again.
func TestFollowerDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addCollector(t, first, 1, "", now.Add(-day))
	w.handle(t, needed, activation("7"))
	exec(t, w.worker.DB, `CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RAISE ''no way''; END'`)
	exec(t, w.worker.DB, `CREATE TRIGGER fail BEFORE DELETE ON collector_task EXECUTE FUNCTION fail()`)
	f := w.follower()
	if err := f.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "no way") {
		t.Fatalf("the error is %v", err)
	}
	active := firsts("%d 2 7")
	mustBe(t, "collectors", w.collectors(t), active)
	mustBe(t, "tasks", w.tasks(t), "0/1001  in 60", firsts("%d/1001 7 in 60"))
	mustBe(t, "remembered", w.remembered(t))

	exec(t, w.worker.DB, `DROP TRIGGER fail ON collector_task`)
	w.now = w.now.Add(time.Minute)
	mustFollow(t, f)
	mustBe(t, "collectors", w.collectors(t), active)
	mustBe(t, "tasks", w.tasks(t))
	mustBe(t, "remembered", w.remembered(t), "1001 needed 00:01:00 ago")
}

// hold changes the first collector in the solver database, in a transaction that ends when release is called.
func (w *world) hold(t *testing.T, change string) (release func()) {
	t.Helper()
	tx, err := w.solver.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "UPDATE collector_account SET "+change+" WHERE collector_id = $1", first); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Commit(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// awaitBlocked waits until somebody waits for a lock in a database.
func awaitBlocked(t *testing.T, db *postgres.DB) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		var blocked int
		const query = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
		if err := db.Pool().QueryRow(t.Context(), query).Scan(&blocked); err != nil {
			return err
		}
		if blocked == 0 {
			return errors.New("nobody waits for a lock")
		}
		return nil
	})
}

// A message that arrives while its task is under way is about something that the follower may not have seen: the task
// stays.
func TestTaskIsSetAgainMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addCollector(t, first, 1, "", now)
	w.handle(t, activation("7"))
	release := w.hold(t, "status = 1")
	followed := make(chan error, 1)
	f := w.follower()
	f.Now = func() time.Time { return now } // while the world's clock goes on
	go func() { followed <- f.RunOnce(context.WithoutCancel(t.Context())) }()
	awaitBlocked(t, w.solver.DB)
	w.now = w.now.Add(time.Second)
	w.handle(t, activation("7"))
	release()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	mustBe(t, "collectors", w.collectors(t), firsts("%d 2 7"))
	mustBe(t, "tasks", w.tasks(t), firsts("%d/1001 7 in 0"))
	mustFollow(t, w.follower())
	mustBe(t, "tasks", w.tasks(t))
}

// While a follower writes an ID that was the present one a moment ago, the account is replaced, and another follower has
// already written the new ID. That one must last.
func TestAccountIsReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addCollector(t, first, 2, "6", now)
	w.knows(t, first, "7")
	w.handle(t, activation("7"))
	release := w.hold(t, "account_id = '8'")
	followed := make(chan error, 1)
	go func() { followed <- w.follower().RunOnce(context.WithoutCancel(t.Context())) }()
	awaitBlocked(t, w.solver.DB)
	w.knows(t, first, "8")
	release()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	mustBe(t, "collectors", w.collectors(t), firsts("%d 2 8"))
	mustBe(t, "tasks", w.tasks(t))
}

func TestManyFollowers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const debtors, followers = 700, 4
	batch := make([]smp.Message, debtors)
	for n := range debtors {
		batch[n] = &smp.NeededCollector{DebtorID: swpt.DebtorID(n + 1), TS: now}
	}
	w.handle(t, batch...)
	var group errgroup.Group
	for range followers {
		group.Go(func() error { return w.follower().RunOnce(t.Context()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "collectors", lines(t, w.solver.DB, "SELECT count(*)::TEXT FROM collector_account"), strconv.Itoa(debtors))
	mustBe(t, "remembered", lines(t, w.worker.DB, "SELECT count(*)::TEXT FROM recently_needed_collector"), strconv.Itoa(debtors))
	mustBe(t, "tasks", w.tasks(t))
}

// start runs something that runs until it is asked to end.
func start(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// From the message to the request for the account, nothing waits for a period to pass.
func TestEverythingIsDoneAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, o := w.follower(), w.opener()
	for _, run := range []func(context.Context) error{f.Run, f.Listener.Run, o.Run, o.Listener.Run} {
		start(t, run)
	}
	for n := range 3 {
		w.handle(t, &smp.NeededCollector{DebtorID: debtor + swpt.DebtorID(n), TS: now})
		testenv.Eventually(t, patience, func() error {
			var sent int
			if err := w.worker.Pool().QueryRow(t.Context(), "SELECT count(*) FROM outbox").Scan(&sent); err != nil {
				return err
			}
			if sent != n+1 {
				return fmt.Errorf("%d messages have been sent", sent)
			}
			return nil
		})
	}
}

// A step of a turn has a connection to the worker's database when it wants one to the solver's. However few there are,
// it does not wait for a follower that has one to the solver's database, and wants one to the worker's.
func TestFollowersAndTurnsShareFewConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addCollector(t, first, 2, "6", now)
	w.knows(t, first, "7")
	w.handle(t, activation("7"))

	few := postgres.Options{MaxConns: 1}
	worker, err := workerdb.Open(w.worker.URL(), few)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	turns := make(chan error, 1)
	few.Tracer = &onQuery{"-- name: Collector ", func() {
		hasWorker := make(chan struct{})
		isFree := worker.Pool().Stat().AcquiredConns() == 0
		go func() {
			turns <- worker.InTx(w.ctx(t), "test", func(ctx context.Context, _ *workerdb.Tx) error {
				close(hasWorker)
				return w.solver.Ping(ctx)
			})
		}()
		if isFree {
			<-hasWorker
		}
	}}
	w.solver = solverdbtest.Open(t, w.solverURL, few)
	w.worker = worker
	if err := w.follower().RunOnce(w.ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-turns; err != nil {
		t.Fatal(err)
	}
	mustBe(t, "collectors", w.collectors(t), firsts("%d 2 7"))
}

// ctx returns a context for what should not take long.
func (w *world) ctx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// An onQuery calls a function, once, when a query begins.
type onQuery struct {
	prefix string
	do     func()
}

func (q *onQuery) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if q.do != nil && strings.HasPrefix(data.SQL, q.prefix) {
		do := q.do
		q.do = nil
		do()
	}
	return ctx
}

func (q *onQuery) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
