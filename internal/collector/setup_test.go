package collector_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	day      = 24 * time.Hour
	patience = 30 * time.Second // for what should happen at once
	debtor   = swpt.DebtorID(1001)

	// The first collectors of the debtor.
	first  = swpt.CreditorID(1099511629226)
	second = swpt.CreditorID(1099511628424)
)

var (
	now  = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
	pool = collector.Pool{First: 0x10000000000, Last: 0x100000007ff}
)

// A world is the databases of a worker and of the solver, and what works on them.
type world struct {
	worker    *workerdb.DB
	solver    *solverdb.DB
	solverURL string
	rules     *collector.Rules
	log       *logbook
	registry  *prometheus.Registry
	now       time.Time
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	url := solverdbtest.URL(tb)
	w := &world{
		worker: workerdbtest.New(tb), solver: solverdbtest.Open(tb, url, postgres.Options{}), solverURL: url,
		log: &logbook{}, registry: prometheus.NewPedanticRegistry(), now: now,
	}
	w.rules = &collector.Rules{
		Settings: collector.Settings{
			Pool: pool, MinDemurrageRate: -50, MinCommitPeriod: 30 * day, MinNoteBytes: 80, RateHistoryPeriod: 220 * day,
		},
		Metrics: collector.NewMetrics(w.registry),
		Logger:  w.log.logger(),
	}
	w.registry.MustRegister(collector.NewBacklogCollector(w.worker, w.log.logger()))
	tb.Cleanup(func() {
		if problems, err := testutil.GatherAndLint(w.registry); err != nil || len(problems) > 0 {
			tb.Errorf("the metrics are not well made: %v %v", problems, err)
		}
	})
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) follower() *collector.Follower {
	return &collector.Follower{
		Worker: w.worker, Solver: w.solver, Pool: pool, NeedExpiry: 45 * day,
		Listener: postgres.NewListener(w.worker.URL(), w.log.logger()), Period: time.Hour, Now: w.clock, Logger: w.log.logger(),
	}
}

func (w *world) opener() *collector.Opener {
	return &collector.Opener{
		Worker: w.worker, Solver: w.solver, Threads: 2, MaxCount: 100000, Patience: 7 * day,
		Listener: postgres.NewListener(w.solver.URL(), w.log.logger()), Period: time.Hour, Now: w.clock,
		Metrics: w.rules.Metrics, Logger: w.log.logger(),
	}
}

// handle gives a batch to the rules, as the inbox does.
func (w *world) handle(tb testing.TB, batch ...smp.Message) {
	tb.Helper()
	if err := w.tryHandle(tb.Context(), batch...); err != nil {
		tb.Fatal(err)
	}
}

func (w *world) tryHandle(ctx context.Context, batch ...smp.Message) error {
	return w.worker.InTx(ctx, "test", func(ctx context.Context, tx *workerdb.Tx) error {
		for _, err := range []error{
			rule(ctx, tx, w.now, batch, w.rules.HandleAccountUpdates),
			rule(ctx, tx, w.now, batch, w.rules.HandleAccountPurges),
			rule(ctx, tx, w.now, batch, w.rules.HandleRejectedConfigs),
			rule(ctx, tx, w.now, batch, w.rules.HandleNeededCollectors),
			rule(ctx, tx, w.now, batch, w.rules.HandleActivateCollectors),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func rule[M smp.Message](
	ctx context.Context, tx *workerdb.Tx, at time.Time, batch []smp.Message,
	handle func(context.Context, *workerdb.Tx, time.Time, []M) error,
) error {
	var messages []M
	for _, m := range batch {
		if m, ok := m.(M); ok {
			messages = append(messages, m)
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return handle(ctx, tx, at, messages)
}

// update returns an update of the first collector's account, which is fit for trade.
func update(changes ...func(*smp.AccountUpdate)) *smp.AccountUpdate {
	m := &smp.AccountUpdate{
		DebtorID: debtor, CreditorID: first, CreationDate: smp.DateOf(now) - 10,
		LastChangeTS: now.Add(-time.Hour), LastChangeSeqnum: 7, Principal: 1000, Interest: -1.5, InterestRate: -5,
		LastInterestRateChangeTS: now.Add(-8 * day), NegligibleAmount: 1e30, AccountID: "7", DebtorInfoIRI: "https://a/",
		LastTransferNumber: 3, LastTransferCommittedAt: now.Add(-2 * time.Hour), DemurrageRate: -50, CommitPeriod: 30 * 86400,
		TransferNoteMaxBytes: 80, TTL: 7 * 86400, TS: now.Add(-time.Minute),
	}
	for _, change := range changes {
		change(m)
	}
	return m
}

func exec(tb testing.TB, db *postgres.DB, sql string, args ...any) {
	tb.Helper()
	if _, err := db.Pool().Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// lines returns the first column of what a query finds, as text.
func lines(tb testing.TB, db *postgres.DB, sql string, args ...any) []string {
	tb.Helper()
	rows, err := db.Pool().Query(tb.Context(), sql, args...)
	if err != nil {
		tb.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return found
}

func mustBe(tb testing.TB, what string, got []string, want ...string) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s:\n%q\nwant\n%q", what, got, want)
	}
}

// clear empties all tables that tests of many cases use.
func (w *world) clear(tb testing.TB) {
	tb.Helper()
	exec(tb, w.solver.DB, "DELETE FROM collector_account")
	for _, table := range []string{
		"collector_task", "recently_needed_collector", "needed_worker_account", "worker_account", "interest_rate_change",
		"worker_turn", "transfer_attempt", "outbox",
	} {
		exec(tb, w.worker.DB, "DELETE FROM "+table)
	}
	*w.log = logbook{}
}

// need notes that the account of a collector is needed.
func (w *world) need(tb testing.TB, id swpt.CreditorID) {
	tb.Helper()
	exec(tb, w.worker.DB, "INSERT INTO needed_worker_account VALUES ($1, $2, $3)", id, debtor, now.Add(-day))
}

// sent returns what is in the outbox, in short, and empties it.
func (w *world) sent(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.worker.DB, `WITH sent AS (DELETE FROM outbox RETURNING type, body::JSONB)
		SELECT concat_ws(' ', type, body->'creditor_id', body->'debtor_id', body->>'account_id', body->'config_flags',
			body->'negligible_amount', body->>'iri', body->'force_locator_refetch') FROM sent ORDER BY 1`)
}

// tasks returns the tasks that are left, and in how many seconds they are due.
func (w *world) tasks(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.worker.DB, `SELECT format('%s/%s %s in %s', collector_id, debtor_id, account_id,
			extract(epoch FROM next_attempt_at - $1)::INTEGER)
		FROM collector_task ORDER BY 1`, w.now)
}

// collectors returns the debtor's collectors in the solver database.
func (w *world) collectors(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.solver.DB, `SELECT format('%s %s %s', collector_id, status, account_id) FROM collector_account
		WHERE debtor_id = $1 ORDER BY 1`, debtor)
}

func (w *world) addCollector(tb testing.TB, id swpt.CreditorID, status int, accountID string, changedAt time.Time) {
	tb.Helper()
	exec(tb, w.solver.DB, "INSERT INTO collector_account VALUES ($1, $2, $3, $4, $5, $6)",
		debtor, id, shard.KeyOf(id).Hash16(), accountID, status, changedAt)
}

// knows makes the worker know the account ID of a collector.
func (w *world) knows(tb testing.TB, id swpt.CreditorID, accountID string) {
	tb.Helper()
	exec(tb, w.worker.DB, `INSERT INTO worker_account
		SELECT $1, $2, '2026-01-01', now(), 1, 0, 0, 0, now(), 0, $3, NULL, 0, now(), 0, 0, 0, now()
		ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET account_id = excluded.account_id`, id, debtor, accountID)
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

func (b *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func (b *logbook) mustHave(tb testing.TB, texts ...string) {
	tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range texts {
		if !bytes.Contains(b.text.Bytes(), []byte(text)) {
			tb.Errorf("the log lacks %q:\n%s", text, &b.text)
		}
	}
}

// metric returns the value of a metric, with a value of its label if it has one.
func (w *world) metric(tb testing.TB, name, label string) float64 {
	tb.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if labels := m.GetLabel(); family.GetName() == name && (len(labels) == 0 || labels[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	tb.Fatalf("there is no metric %s of %s", name, label)
	return 0
}
