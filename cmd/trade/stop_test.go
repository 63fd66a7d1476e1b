package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// migratedDatabase returns the URL of a database with all tables.
func migratedDatabase(t *testing.T, migrations postgres.Migrations) string {
	t.Helper()
	digest, err := migrations.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return testenv.NewDatabaseFrom(t, digest, func(databaseURL string) error {
		parsed, err := postgres.ParseURL(databaseURL)
		if err != nil {
			return err
		}
		return migrations.Up(context.WithoutCancel(t.Context()), parsed)
	})
}

// launch starts a command of the deployment in a process of its own.
func (d *deployment) launch(t *testing.T, args ...string) *process {
	t.Helper()
	var environment []string
	for name, value := range d.environment {
		environment = append(environment, name+"="+value)
	}
	return launch(t, environment, args...)
}

// block runs statements in a transaction that stays open, and keeps others waiting, until it is removed.
func block(t *testing.T, db *postgres.DB, statements ...string) (remove func()) {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append([]string{"BEGIN"}, statements...) {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	remove = sync.OnceFunc(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	t.Cleanup(remove)
	return remove
}

// awaitBlocked waits until somebody waits for a lock in a database.
func awaitBlocked(t *testing.T, db *postgres.DB) {
	t.Helper()
	testenv.Eventually(t, servicePatience, func() error {
		var blocked int
		err := db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&blocked)
		if err == nil && blocked == 0 {
			err = errors.New("nobody is blocked")
		}
		return err
	})
}

// Whatever a process is at, it ends in time, with status 0, when it waits for a database that is locked.
func TestStopWhileDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	const due = `INSERT INTO transfer_attempt (collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount,
		collection_started_at, inserted_at, recipient, recipient_version, rescheduled_for)
		VALUES (1, 1, 1, 1, TRUE, 1000, now(), now(), '', 0, now())`
	const pouring = `INSERT INTO worker_turn (turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base,
		min_trade_amount, phase, phase_deadline, collection_started_at, collection_deadline, subphase)
		VALUES (1, now() - INTERVAL '1 hour', 'base', 1, 10, 1000, 2, now() + INTERVAL '1 minute', now(), now(), 5);
		INSERT INTO account_lock (creditor_id, debtor_id, turn_id, collector_id, initiated_at, amount, transfer_id,
			coordinator_request_id)
		SELECT id, 1, 1, 1, now(), 5000, 1, id FROM generate_series(1, 10000) AS id`
	const turn = `INSERT INTO turn VALUES (1, now() - INTERVAL '1 hour', 'base', 1, 10, 1000, $phase, now() + INTERVAL '$left', now(), now())`
	inPhase := func(phase, left string) string {
		return strings.NewReplacer("$phase", phase, "$left", left).Replace(turn)
	}
	for name, c := range map[string]struct {
		command        []string
		signal         syscall.Signal
		solver, worker string // statements that give the command something to do
		locked         string // a table of the one of these databases that has it
	}{
		"a turn's start":    {[]string{"solver"}, syscall.SIGTERM, "", "", "solver turn"},
		"a market's offers": {[]string{"solver"}, syscall.SIGHUP, inPhase("2", "-1 minute"), "", "solver sell_offer"},
		"pouring offers":    {[]string{"roll_worker_turns"}, syscall.SIGTERM, inPhase("2", "1 minute"), pouring, "solver buy_offer"},
		"copying results":   {[]string{"worker"}, syscall.SIGINT, inPhase("3", "0"), "", "solver collector_collecting"},
		"flushing":          {[]string{"flush_all"}, syscall.SIGINT, "", "", "worker outbox"},
		"triggering":        {[]string{"trigger_transfers"}, syscall.SIGHUP, "", due, "worker transfer_attempt"},
		"rolling transfers": {[]string{"roll_transfers"}, syscall.SIGTERM, "", "", "worker dispatching_status"},
		"fetching":          {[]string{"fetch_debtor_infos"}, syscall.SIGINT, "", "", "worker debtor_info_fetch"},
		"collectors":        {[]string{"handle_pristine_collectors"}, syscall.SIGTERM, "", "", "solver collector_account"},
		"sweeping":          {[]string{"scan_worker_accounts"}, syscall.SIGHUP, "", "", "worker worker_account"},
		"a whole worker":    {[]string{"worker"}, syscall.SIGTERM, "", "", "worker dispatching_status"},
		"nothing":           {[]string{"flush_calculate_surpluses"}, syscall.SIGHUP, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newMigratedDeployment(t)
			d.environment["BASE_DEBTOR_ID"], d.environment["BASE_DEBTOR_INFO_LOCATOR"] = "1", "base"
			d.environment["TURN_PERIOD"], d.environment["APP_WORKER_ACCOUNTS_SCAN_DAYS"] = "1d", "0.000001"
			solver, worker := d.openSolverDB(t), d.openWorkerDB(t)
			for db, statements := range map[*postgres.DB]string{solver.DB: c.solver, worker.DB: c.worker} {
				if _, err := db.Pool().Exec(t.Context(), statements); err != nil {
					t.Fatal(err)
				}
			}
			database, table, isLocked := strings.Cut(c.locked, " ")
			db := worker.DB
			if database == "solver" {
				db = solver.DB
			}
			if isLocked {
				block(t, db, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE")
			}
			p := d.launch(t, c.command...)
			if isLocked {
				awaitBlocked(t, db)
			} else {
				p.mustBecome(t, 200)
			}
			p.mustStop(t, c.signal, 0)
		})
	}
}

// newMigratedDeployment returns a deployment with all tables, and the queue.
func newMigratedDeployment(t *testing.T) *deployment {
	t.Helper()
	d := newDeploymentOn(t, migratedDatabase(t, solverdb.Migrations()), migratedDatabase(t, workerdb.Migrations()))
	d.mustRun(t, "subscribe")
	return d
}

// A consumer that has to stop in the middle of a batch leaves the messages in the queue.
func TestStopConsumerInTheMiddle(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	db := d.openWorkerDB(t)
	remove := block(t, db.DB, "LOCK TABLE trading_policy IN ACCESS EXCLUSIVE MODE")
	const messages = 50
	for i := range messages {
		d.send(t, &smp.UpdatedFlags{CreditorID: swpt.CreditorID(i), DebtorID: 1, UpdateID: 1, TS: time.Unix(0, 0)})
	}
	p := d.launch(t, "consume_messages", "--threads", "2", "--prefetch-count", "10")
	awaitBlocked(t, db.DB)
	p.mustStop(t, syscall.SIGTERM, 0)
	remove()
	if n := testenv.QueueDepth(t, d.channel, "swpt_trade"); n != messages {
		t.Errorf("%d of %d messages are left", n, messages)
	}
	var handled int
	if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM trading_policy").Scan(&handled); err != nil || handled != 0 {
		t.Errorf("%d messages have been handled, %v", handled, err)
	}

	// The next one handles them, and has acknowledged what it has handled when it is stopped.
	p = d.launch(t, "consume_messages", "--prefetch-count", "10")
	testenv.Eventually(t, servicePatience, func() error {
		err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM trading_policy").Scan(&handled)
		if err == nil && handled == 0 {
			err = errors.New("nothing is handled")
		}
		return err
	})
	p.mustStop(t, syscall.SIGINT, 0)
	if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM trading_policy").Scan(&handled); err != nil {
		t.Fatal(err)
	}
	if n := testenv.QueueDepth(t, d.channel, "swpt_trade"); n+handled != messages {
		t.Errorf("%d messages have been handled, and %d of %d are left", handled, n, messages)
	}
}

// A flusher that has to stop in the middle has sent what is not in the outbox any more.
func TestStopFlusherInTheMiddle(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	d.environment["APP_START_SENDING_BURST_COUNT"] = "100"
	db := d.openWorkerDB(t)
	const messages = 10_000
	err := db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		all := make([]smp.Outgoing, messages)
		for i := range all {
			all[i] = &smp.StartSending{DebtorID: swpt.DebtorID(i + 1), TS: time.Unix(0, 0)}
		}
		return outbox.Append(ctx, tx, all...)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := d.launch(t, "flush_all")
	testenv.Eventually(t, servicePatience, func() error {
		if testenv.QueueDepth(t, d.channel, "swpt_trade") == 0 {
			return errors.New("nothing is sent")
		}
		return nil
	})
	p.mustStop(t, syscall.SIGTERM, 0)
	var left int
	if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM outbox").Scan(&left); err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	for _, m := range testenv.Drain(t, d.channel, "swpt_trade") {
		sent[string(m.Body)] = true
	}
	t.Logf("%d messages have been sent, %d are left", len(sent), left)
	if len(sent)+left < messages {
		t.Errorf("%d messages have been sent, and %d of %d are left", len(sent), left, messages)
	}
}

// A fetcher does not wait for servers that do not answer, and what they have not answered stays in the queue.
func TestStopFetcherWithHangingServers(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	d.environment["APP_VERIFY_SSL_CERTS"], d.environment["HTTP_FETCH_TIMEOUT"] = "false", "600"
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, so nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	db := d.openWorkerDB(t)
	const fetches = 20
	_, err = db.Pool().Exec(t.Context(), `INSERT INTO debtor_info_fetch SELECT 'https://' || $1 || '/' || id, id, TRUE, FALSE, NULL,
		$1, 0, now(), 0, NULL, NULL, now() FROM generate_series(1, $2::INTEGER) AS id`, listener.Addr().String(), fetches)
	if err != nil {
		t.Fatal(err)
	}
	p := d.launch(t, "fetch_debtor_infos")
	testenv.Eventually(t, servicePatience, func() error {
		if _, metrics := get(p.status + "metrics"); !strings.Contains(metrics, "trade_fetcher_active_fetches 10") {
			return errors.New("nothing is fetched")
		}
		return nil
	})
	p.mustStop(t, syscall.SIGTERM, 0)
	var left, failed int
	err = db.Pool().QueryRow(t.Context(), "SELECT count(*), sum(attempts_count) FROM debtor_info_fetch").Scan(&left, &failed)
	if err != nil || left != fetches || failed != 0 {
		t.Errorf("%d of %d are left, %d have failed, %v", left, fetches, failed, err)
	}
}

// A web server ends with requests in flight, which are answered before.
func TestStopWebServerWithRequests(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	d.environment["APP_UNPROTECTED_ADMIN_API"], d.environment["WEBSERVER_PORT"] = "true", strconv.Itoa(testenv.FreePort(t))
	db := d.openSolverDB(t)
	p := d.launch(t, "webserver")
	p.mustBecome(t, 200)
	block(t, db.DB, "LOCK TABLE collector_account IN ACCESS EXCLUSIVE MODE")
	answers := make(chan int, 4)
	for range cap(answers) {
		go func() {
			code, _ := get("http://127.0.0.1:" + d.environment["WEBSERVER_PORT"] + "/trade/collectors/9")
			answers <- code
		}()
	}
	awaitBlocked(t, db.DB)
	p.mustStop(t, syscall.SIGTERM, 0)
	for range cap(answers) {
		if code := <-answers; code != 0 && code != http.StatusServiceUnavailable {
			t.Errorf("a request is answered with %d", code)
		}
	}
}

// A web server ends, however many requests wait for an authorization server that does not answer, and even if the turn of
// some comes while it ends.
func TestStopWebServerWithHangingAuthority(t *testing.T) {
	t.Parallel()
	d := newMigratedDeployment(t)
	const requests, served = 12, 3
	asked, refuse := make(chan struct{}, 100), make(chan struct{})
	var questions atomic.Int64
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.FormValue("token") // the server notices only then that the client is gone
		asked <- struct{}{}
		answer := refuse
		if questions.Add(1) > served {
			answer = nil
		}
		select {
		case <-answer:
			_, _ = io.WriteString(w, `{"active":false}`)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(authority.Close)
	d.environment["OAUTH2_INTROSPECT_URL"], d.environment["WEBSERVER_PORT"] = authority.URL, strconv.Itoa(testenv.FreePort(t))
	p := d.launch(t, "webserver")
	p.mustBecome(t, 200)
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+d.environment["WEBSERVER_PORT"]+"/trade/turns", http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+strconv.Itoa(i))
			if response, err := http.DefaultClient.Do(r); err == nil {
				_ = response.Body.Close()
				if response.StatusCode < 400 {
					t.Errorf("a request is answered with %d", response.StatusCode)
				}
			}
		})
	}
	for range served {
		<-asked
	}
	p.mustMeasure(t, "trade_admin_active_requests "+strconv.Itoa(requests))    // all others wait
	release := time.AfterFunc(3300*time.Millisecond, func() { close(refuse) }) // still within the time to finish requests
	defer release.Stop()
	p.mustStop(t, syscall.SIGTERM, 0)
	all.Wait()
}

// Setting up that is stopped has failed. It can be done again, as nothing is left half-done.
func TestStopConfigureInTheMiddle(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	db := d.openWorkerDB(t)
	remove := block(t, db.DB, "CREATE TABLE trading_policy ()") // configure is about to do the same
	p := d.launch(t, "configure", "worker")
	awaitBlocked(t, db.DB)
	p.mustStop(t, syscall.SIGTERM, exitFailure)
	remove()
	var tables int
	testenv.Eventually(t, servicePatience, func() error { // the server may not yet have noticed that the process is gone
		err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables)
		if err == nil && tables != 0 {
			err = fmt.Errorf("there are %d tables", tables)
		}
		return err
	})
	d.launch(t, "configure", "worker").mustEnd(t, 0)
	p = d.launch(t, "await_migrations")
	p.mustSay(t, "waiting for a database") // the solver's has not been set up
	p.mustStop(t, syscall.SIGHUP, exitFailure)
}

// To stop who waits until a queue can be deleted does not delete it.
func TestStopDeletingQueue(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "subscribe")
	d.publish(t, broker.ToTrade, "1.0.1", "swpt_trade")
	p := d.launch(t, "delete_queue")
	p.mustSay(t, "waiting until a queue is empty and unused")
	p.mustStop(t, syscall.SIGTERM, exitFailure)
	if n := testenv.QueueDepth(t, d.channel, "swpt_trade"); n != 1 {
		t.Errorf("%d messages are left", n)
	}
}
