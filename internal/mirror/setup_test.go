package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	day = 24 * time.Hour

	// theTurn is the turn of most tests. It does not fit into 16 bits.
	theTurn = 70_000

	patience = 20 * time.Second // with what should happen at once
)

// The turn's calendar. The clock of a node stands at its start, unless the test says otherwise.
var (
	turnStart          = time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC)
	phase1Deadline     = turnStart.Add(10 * time.Minute)
	phase2Deadline     = turnStart.Add(70 * time.Minute)
	pouring            = phase2Deadline.Add(-5 * time.Minute)
	collectionStart    = phase2Deadline.Add(time.Minute)
	collectionDeadline = turnStart.Add(30 * day)
)

// A node is a worker, with a roller whose clock stands still.
type node struct {
	solver *solverdb.DB
	worker *workerdb.DB
	roller *mirror.Roller
	now    time.Time
	log    *logbook
}

// newNode returns a worker with an empty database. Without a solver database, it gets one of its own.
func newNode(tb testing.TB, routingKey string, solver *solverdb.DB) *node {
	tb.Helper()
	if solver == nil {
		solver = solverdbtest.New(tb)
	}
	n := &node{solver: solver, worker: workerdbtest.New(tb), now: turnStart, log: &logbook{}}
	n.roller = &mirror.Roller{
		Settings: mirror.Settings{
			Realm:            realm(tb, routingKey),
			Wait:             time.Hour,
			Lead:             config.Pouring{Cushion: 5 * time.Minute}.Lead,
			CollectingSlack:  60 * day,
			SendingSlack:     150 * day,
			DispatchingSlack: 180 * day,
			Version:          "v1.2.3",
		},
		Worker:  n.worker,
		Solver:  n.solver,
		Now:     func() time.Time { return n.now },
		Metrics: mirror.NewMetrics(prometheus.NewPedanticRegistry()),
		Logger:  slog.New(slog.NewTextHandler(n.log, nil)),
	}
	return n
}

func realm(tb testing.TB, routingKey string) shard.Realm {
	tb.Helper()
	realm, err := shard.ParseWorkerRealm(routingKey)
	if err != nil {
		tb.Fatal(err)
	}
	return realm
}

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logbook) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// complaints returns the warnings and errors so far.
func (l *logbook) complaints() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var complaints []string
	for line := range strings.Lines(l.text.String()) {
		if !strings.Contains(line, "level=INFO") {
			complaints = append(complaints, line)
		}
	}
	return complaints
}

func (n *node) mustNotComplain(t *testing.T) {
	t.Helper()
	if complaints := n.log.complaints(); complaints != nil {
		t.Errorf("it complains: %q", complaints)
	}
}

// mustComplain checks that there are complaints with each of the texts, and no others.
func (n *node) mustComplain(t *testing.T, texts ...string) {
	t.Helper()
	complaints := n.log.complaints()
	if len(complaints) != len(texts) {
		t.Fatalf("it complains: %q; want %q", complaints, texts)
	}
	for i, text := range texts {
		if !strings.Contains(complaints[i], text) {
			t.Errorf("it complains: %q; want %q", complaints[i], text)
		}
	}
}

func (n *node) roll(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err := n.roller.RunOnce(ctx); err != nil {
		tb.Fatal(err)
	}
}

// rollAt sets the clock, and rolls.
func (n *node) rollAt(tb testing.TB, now time.Time) {
	tb.Helper()
	n.now = now
	n.roll(tb)
}

func exec(tb testing.TB, db *postgres.DB, statement string, args ...any) {
	tb.Helper()
	if len(args) == 0 { // there may be several
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	if _, err := db.Pool().Exec(tb.Context(), statement, args...); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}

func (n *node) inWorker(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	exec(tb, n.worker.DB, statement, args...)
}

func (n *node) inSolver(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	exec(tb, n.solver.DB, statement, args...)
}

// read returns what a query of one column returns, as text, in the order of the texts.
func read(tb testing.TB, db *postgres.DB, query string, args ...any) []string {
	tb.Helper()
	rows, err := db.Pool().Query(tb.Context(), query, args...)
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	slices.Sort(texts)
	return texts
}

// rows returns the rows of a query, as PostgreSQL writes records: (1,2,,text). Instants are in UTC.
func rows(tb testing.TB, db *postgres.DB, query string) []string {
	tb.Helper()
	conn, err := db.Pool().Acquire(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(tb.Context(), `SET timezone = 'UTC'`); err != nil {
		tb.Fatal(err)
	}
	found, err := conn.Query(tb.Context(), `SELECT found::TEXT FROM (`+query+`) AS found`)
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	texts, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	slices.Sort(texts)
	return texts
}

// mustHold compares the rows of a query with what they should be, in any order.
func mustHold(tb testing.TB, db *postgres.DB, query string, want ...string) {
	tb.Helper()
	slices.Sort(want)
	if got := rows(tb, db, query); !slices.Equal(got, want) {
		tb.Errorf("%s\n got %q\nwant %q", query, got, want)
	}
}

// Tables in which the steps write, or from which they delete, and others of the solver.
var (
	solverTables = []string{
		"turn", "debtor_info", "confirmed_debtor", "currency_info", "sell_offer", "buy_offer", "creditor_taking",
		"creditor_giving", "collector_collecting", "collector_sending", "collector_receiving", "collector_dispatching",
		"collector_account",
	}
	workerTables = []string{
		"worker_turn", "active_collector", "creditor_participation", "worker_collecting", "worker_sending", "worker_receiving",
		"worker_dispatching", "dispatching_status",
	}
)

// everything returns all that is in those tables, and in the outbox, but for numbers and instants that the database has
// chosen.
func (n *node) everything(tb testing.TB) []string {
	tb.Helper()
	var all []string
	for _, table := range solverTables {
		for _, row := range rows(tb, n.solver.DB, `SELECT * FROM `+table) {
			all = append(all, table+row)
		}
	}
	for _, table := range workerTables {
		for _, row := range rows(tb, n.worker.DB, `SELECT * FROM `+table) {
			all = append(all, table+row)
		}
	}
	for _, row := range rows(tb, n.worker.DB, `SELECT type, shard_key, body FROM outbox`) {
		all = append(all, "outbox"+row)
	}
	return all
}

// startTurn has the solver begin the turn. Its base is the currency 40, with the locator L40.
func (n *node) startTurn(tb testing.TB) {
	tb.Helper()
	n.inSolver(tb, `INSERT INTO turn VALUES ($1, $2, 'L40', 40, 2, 1000, 1, $3, NULL, NULL)`, theTurn, turnStart, phase1Deadline)
}

// toPhase has the solver lead the turn to a phase, without any rows.
func (n *node) toPhase(tb testing.TB, phase int) {
	tb.Helper()
	switch phase {
	case 2:
		n.inSolver(tb, `UPDATE turn SET phase = 2, phase_deadline = $2, collection_deadline = $3 WHERE turn_id = $1`,
			theTurn, phase2Deadline, collectionDeadline)
	case 3:
		n.inSolver(tb, `UPDATE turn SET phase = 3, phase_deadline = NULL, collection_started_at = $2, collection_deadline = $3
			WHERE turn_id = $1`, theTurn, collectionStart, collectionDeadline)
	case 4:
		n.inSolver(tb, `UPDATE turn SET phase = 4, phase_deadline = NULL, collection_started_at = $2, collection_deadline = $3
			WHERE turn_id = $1`, theTurn, collectionStart, collectionDeadline)
	default:
		tb.Fatalf("phase %d", phase)
	}
}

// startAt has the solver begin the turn, and the worker stand at a phase and a subphase of it.
func (n *node) startAt(tb testing.TB, phase, subphase int) {
	tb.Helper()
	n.startTurn(tb)
	if phase > 1 {
		n.toPhase(tb, phase)
	}
	rows, err := n.solver.Pool().Query(tb.Context(), `SELECT * FROM turn WHERE turn_id = $1`, theTurn)
	if err != nil {
		tb.Fatal(err)
	}
	turn, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[solverdb.Turn])
	if err != nil {
		tb.Fatal(err)
	}
	n.inWorker(tb, `INSERT INTO worker_turn VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		turn.TurnID, turn.StartedAt, turn.BaseDebtorInfoLocator, turn.BaseDebtorID, turn.MaxDistanceToBase, turn.MinTradeAmount,
		turn.Phase, turn.PhaseDeadline, turn.CollectionStartedAt, turn.CollectionDeadline, subphase)
}

// mustBeAt checks where the mirror of a turn stands.
func (n *node) mustBeAt(tb testing.TB, turnID, phase, subphase int) {
	tb.Helper()
	mustHold(tb, n.worker.DB, fmt.Sprintf(`SELECT phase, subphase FROM worker_turn WHERE turn_id = %d`, turnID),
		fmt.Sprintf("(%d,%d)", phase, subphase))
}

// sent returns the messages of a type that are in the outbox.
func (n *node) sent(tb testing.TB, messageType string) []string {
	tb.Helper()
	return read(tb, n.worker.DB, `SELECT body FROM outbox WHERE type = $1`, messageType)
}

// idOf returns the n-th smallest positive ID of a shard.
func idOf(tb testing.TB, routingKey string, n int) swpt.CreditorID {
	tb.Helper()
	realm := realm(tb, routingKey)
	for id := swpt.CreditorID(1); ; id++ {
		if realm.Match(shard.KeyOf(id)) {
			if n--; n == 0 {
				return id
			}
		}
	}
}

func hashOf(id swpt.CreditorID) int16 { return shard.KeyOf(id).Hash16() }

// mustBecome waits until the rows of a query of the worker's database are what they should be.
func mustBecome(tb testing.TB, n *node, query string, want ...string) {
	tb.Helper()
	testenv.Eventually(tb, patience, func() error {
		if got := rows(tb, n.worker.DB, query); !slices.Equal(got, want) {
			return fmt.Errorf("%s: got %q, want %q", query, got, want)
		}
		return nil
	})
}

// waitForLock waits until somebody waits for a lock in the database.
func waitForLock(tb testing.TB, db *workerdb.DB) {
	tb.Helper()
	testenv.Eventually(tb, patience, func() error {
		const query = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
		if len(rows(tb, db.DB, query)) == 0 {
			return errors.New("nobody waits")
		}
		return nil
	})
}

// reopen opens a database again, without repetitions of what fails.
func reopen(tb testing.TB, closed *workerdb.DB) *workerdb.DB {
	tb.Helper()
	db, err := workerdb.Open(closed.URL(), postgres.Options{
		Retry: postgres.Retry{Limit: 1, Pause: time.Millisecond, MaxPause: time.Millisecond},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	return db
}
