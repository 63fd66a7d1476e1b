package attempt_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/attempt"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	healthy = 2 * time.Hour
	cut     = 1e-5
	day     = 24 * time.Hour

	turn   = 7
	debtor = swpt.DebtorID(8001)
)

var (
	start = time.Date(2026, 3, 10, 3, 12, 0, 0, time.UTC) // of the collection
	now   = start.Add(time.Hour)
)

// A bench is a database with rules for attempts. What the rules apply directly, to the rows of others, is noted.
type bench struct {
	db       *workerdb.DB
	rules    *attempt.Rules
	trigger  *attempt.Trigger
	registry *prometheus.Registry
	log      *logbook

	mu      sync.Mutex
	applied []smp.Message
}

// newBench returns a bench of the only shard, and of a certain one if there is an option that says so.
func newBench(tb testing.TB, options ...func(*attempt.Settings)) *bench {
	tb.Helper()
	b := &bench{db: workerdbtest.New(tb), registry: prometheus.NewRegistry(), log: &logbook{}}
	logger := slog.New(slog.NewJSONHandler(b.log, nil))
	metrics := attempt.NewMetrics(b.registry)
	b.registry.MustRegister(attempt.NewCollector(b.db, func() time.Time { return now }, logger))
	settings := attempt.Settings{
		HealthyCommitDelay: healthy,
		AmountCut:          cut,
		ExtendedMessages:   true,
		NothingToReceive:   noted[*smp.NothingToReceive](b),
		LockAbandoned:      noted[*smp.LockAbandoned](b),
		Metrics:            metrics,
		Logger:             logger,
	}
	for _, option := range options {
		option(&settings)
	}
	b.rules = attempt.NewRules(settings)
	b.trigger = &attempt.Trigger{
		DB: b.db, HealthyCommitDelay: healthy, Period: time.Hour, Burst: 100,
		Now: func() time.Time { return now }, Metrics: metrics, Logger: logger,
	}
	tb.Cleanup(func() {
		problems, err := testutil.GatherAndLint(b.registry)
		if err != nil || len(problems) > 0 {
			tb.Errorf("the metrics are not well made: %v %v", problems, err)
		}
	})
	return b
}

func inShard(tb testing.TB, key string) func(*attempt.Settings) {
	tb.Helper()
	realm, err := shard.ParseWorkerRealm(key)
	if err != nil {
		tb.Fatal(err)
	}
	return func(settings *attempt.Settings) { settings.Realm = realm }
}

// noted returns a rule that notes what it has got.
func noted[M smp.Message](b *bench) func(context.Context, *workerdb.Tx, time.Time, []M) error {
	return func(_ context.Context, tx *workerdb.Tx, _ time.Time, batch []M) error {
		tx.AfterCommit(func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, m := range batch {
				b.applied = append(b.applied, m)
			}
		})
		return nil
	}
}

// tryToHandle gives a batch to the rules, as the inbox does.
func (b *bench) tryToHandle(ctx context.Context, at time.Time, batch ...smp.Message) error {
	return b.db.InTx(ctx, "test", func(ctx context.Context, tx *workerdb.Tx) error {
		return errors.Join(
			apply(ctx, tx, at, batch, b.rules.HandleTriggerTransfers),
			apply(ctx, tx, at, batch, b.rules.HandleAccountIDRequests),
			apply(ctx, tx, at, batch, b.rules.HandleAccountIDResponses),
			apply(ctx, tx, at, batch, b.rules.HandlePreparedTransfers),
			apply(ctx, tx, at, batch, b.rules.HandleRejectedTransfers),
			apply(ctx, tx, at, batch, b.rules.HandleFinalizedTransfers),
		)
	})
}

// apply applies a rule to the messages of its type, if there are any.
func apply[M smp.Message](
	ctx context.Context, tx *workerdb.Tx, at time.Time, batch []smp.Message,
	rule func(context.Context, *workerdb.Tx, time.Time, []M) error,
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
	return rule(ctx, tx, at, messages)
}

func (b *bench) handle(tb testing.TB, at time.Time, batch ...smp.Message) {
	tb.Helper()
	if err := b.tryToHandle(tb.Context(), at, batch...); err != nil {
		tb.Fatal(err)
	}
}

func (b *bench) exec(tb testing.TB, sql string, args ...any) {
	tb.Helper()
	if _, err := b.db.Pool().Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatal(err)
	}
}

var attemptColumns = []string{
	"collector_id", "turn_id", "debtor_id", "creditor_id", "is_dispatching", "nominal_amount", "collection_started_at",
	"inserted_at", "recipient", "recipient_version", "rescheduled_for", "attempted_at", "coordinator_request_id",
	"final_interest_rate_ts", "amount", "transfer_id", "finalized_at", "failure_code", "backoff_counter", "fatal_error",
}

// insert inserts attempts.
func (b *bench) insert(tb testing.TB, rows ...workerdb.TransferAttempt) {
	tb.Helper()
	_, err := b.db.Pool().CopyFrom(tb.Context(), pgx.Identifier{"transfer_attempt"}, attemptColumns,
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := &rows[i]
			return []any{
				int64(r.CollectorID), r.TurnID, int64(r.DebtorID), int64(r.CreditorID), r.IsDispatching, r.NominalAmount,
				r.CollectionStartedAt, r.InsertedAt, r.Recipient, r.RecipientVersion, r.RescheduledFor, r.AttemptedAt,
				r.CoordinatorRequestID, r.FinalInterestRateTs, r.Amount, r.TransferID, r.FinalizedAt, r.FailureCode,
				r.BackoffCounter, r.FatalError,
			}, nil
		}))
	if err != nil {
		tb.Fatal(err)
	}
}

// stored returns all attempts in the order of their keys.
func (b *bench) stored(tb testing.TB) []workerdb.TransferAttempt {
	tb.Helper()
	rows, err := b.db.Pool().Query(tb.Context(), "SELECT * FROM transfer_attempt ORDER BY 1, 2, 3, 4, 5")
	if err != nil {
		tb.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[workerdb.TransferAttempt])
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

// count returns how many rows a table has.
func (b *bench) count(tb testing.TB, table string) (count int) {
	tb.Helper()
	err := b.db.Pool().QueryRow(tb.Context(), "SELECT count(*) FROM "+table).Scan(&count)
	if err != nil {
		tb.Fatal(err)
	}
	return count
}

// sent takes all messages from the outbox, in the order in which they have been appended.
func (b *bench) sent(tb testing.TB) []smp.Message {
	tb.Helper()
	rows, err := b.db.Pool().Query(tb.Context(),
		"WITH taken AS (DELETE FROM outbox RETURNING id, type, body) SELECT type, body FROM taken ORDER BY id")
	if err != nil {
		tb.Fatal(err)
	}
	type record struct{ Type, Body string }
	records, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record])
	if err != nil {
		tb.Fatal(err)
	}
	var messages []smp.Message
	for _, r := range records {
		messages = append(messages, decode(tb, r.Type, r.Body))
	}
	return messages
}

func decode(tb testing.TB, messageType, body string) (m smp.Message) {
	tb.Helper()
	var err error
	switch messageType {
	case smp.TypePrepareTransfer:
		m = &smp.PrepareTransfer{}
		err = smp.Unmarshal([]byte(body), m)
	case smp.TypeFinalizeTransfer:
		m = &smp.FinalizeTransfer{}
		err = smp.Unmarshal([]byte(body), m)
	default:
		m, err = smp.Decode(messageType, []byte(body))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// account makes the account of a collector known, with an interest rate that has been in force for years.
func (b *bench) account(tb testing.TB, collector swpt.CreditorID, accountID string, rate float64) {
	tb.Helper()
	changed := start.AddDate(-2, 0, 0)
	b.exec(tb, `
		INSERT INTO worker_account VALUES
		($1, $2, '2020-01-02', $3, 1, 0, 0, $4, $3, 0, $5, NULL, 0, $3, -50, 2592000, 500, $3)`,
		int64(collector), int64(debtor), changed, rate, accountID)
	b.exec(tb, "INSERT INTO interest_rate_change VALUES ($1, $2, $3, $4)", int64(collector), int64(debtor), changed, rate)
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

// String returns all that has been written.
func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const (
	collector = swpt.CreditorID(0x10000000005)
	buyer     = swpt.CreditorID(0x101000000b2)
)

// newAttempt returns an attempt to dispatch that waits for the account ID.
func newAttempt() workerdb.TransferAttempt {
	return workerdb.TransferAttempt{
		CollectorID: collector, TurnID: turn, DebtorID: debtor, CreditorID: buyer, IsDispatching: true,
		NominalAmount: 1e6, CollectionStartedAt: start, InsertedAt: start, RecipientVersion: -1 << 63,
		RescheduledFor: new(start.Add(healthy)),
	}
}

func dueAttempt() workerdb.TransferAttempt {
	row := newAttempt()
	row.Recipient, row.RecipientVersion, row.RescheduledFor = "B", 10, nil
	return row
}

func initiatedAttempt(request int64) workerdb.TransferAttempt {
	row := dueAttempt()
	row.AttemptedAt, row.CoordinatorRequestID = new(start), new(request)
	row.FinalInterestRateTs, row.Amount = new(start.Add(-day)), new(int64(999_000))
	return row
}

func settledAttempt(request, transfer int64) workerdb.TransferAttempt {
	row := initiatedAttempt(request)
	row.TransferID, row.FinalizedAt = new(transfer), new(start.Add(time.Minute))
	return row
}

func failedAttempt(request int64, code int16) workerdb.TransferAttempt {
	row := initiatedAttempt(request)
	row.FailureCode, row.BackoffCounter = new(code), 3
	return row
}

func waitingAttempt(request int64, code int16, until time.Time) workerdb.TransferAttempt {
	row := failedAttempt(request, code)
	row.RescheduledFor = new(until)
	return row
}

// changed returns a row with a change.
func changed(row workerdb.TransferAttempt, change func(*workerdb.TransferAttempt)) workerdb.TransferAttempt {
	change(&row)
	return row
}

func triggerOf(row workerdb.TransferAttempt) *smp.TriggerTransfer {
	return &smp.TriggerTransfer{
		CollectorID: row.CollectorID, TurnID: row.TurnID, DebtorID: row.DebtorID, CreditorID: row.CreditorID,
		IsDispatching: row.IsDispatching, TS: now,
	}
}

func requestOf(row workerdb.TransferAttempt) *smp.AccountIDRequest {
	return new(smp.AccountIDRequest(*triggerOf(row)))
}

func responseTo(row workerdb.TransferAttempt, accountID string, version int64) *smp.AccountIDResponse {
	return &smp.AccountIDResponse{
		CollectorID: row.CollectorID, TurnID: row.TurnID, DebtorID: row.DebtorID, CreditorID: row.CreditorID,
		IsDispatching: row.IsDispatching, AccountID: accountID, AccountIDVersion: version, TS: now,
	}
}

func preparedTransfer(request, transfer int64) *smp.PreparedTransfer {
	return &smp.PreparedTransfer{
		DebtorID: debtor, CreditorID: collector, CoordinatorType: "agent", CoordinatorID: int64(collector),
		CoordinatorRequestID: request, TransferID: transfer, Recipient: "B", PreparedAt: now, Deadline: now,
		FinalInterestRateTS: now, TS: now,
	}
}

func rejectedTransfer(request int64, code string) *smp.RejectedTransfer {
	return &smp.RejectedTransfer{
		DebtorID: debtor, CreditorID: collector, CoordinatorType: "agent", CoordinatorID: int64(collector),
		CoordinatorRequestID: request, StatusCode: code, TS: now,
	}
}

func finalizedTransfer(request, transfer, amount int64, code string) *smp.FinalizedTransfer {
	return &smp.FinalizedTransfer{
		DebtorID: debtor, CreditorID: collector, CoordinatorType: "agent", CoordinatorID: int64(collector),
		CoordinatorRequestID: request, TransferID: transfer, CommittedAmount: amount, StatusCode: code, PreparedAt: now,
		TS: now,
	}
}
