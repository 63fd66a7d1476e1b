package settlement_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	day = 24 * time.Hour

	turn   = int32(7)
	debtor = swpt.DebtorID(666)

	healthyCommitDelay = 2 * time.Hour
	maxAge             = 210 * day
)

// Two collectors of the one half of all keys, and one of the other.
const (
	hub      = swpt.CreditorID(1099511627777)
	otherHub = swpt.CreditorID(1099511627779)
	farHub   = swpt.CreditorID(1099511627776)
)

var (
	now       = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
	started   = now.Add(-time.Hour)
	nearRealm = mustParse("0.#")
	farRealm  = mustParse("1.#")
)

func mustParse(bindingKey string) shard.Realm {
	realm, err := shard.ParseRealm(bindingKey)
	if err != nil {
		panic(err)
	}
	return realm
}

// A world is a worker's database, with what works on it.
type world struct {
	*workerdb.DB
	starter   *settlement.Starter
	roller    *settlement.Roller
	abandoned []*smp.LockAbandoned // those of own buyers
	log       *logbook
	now       time.Time
}

// newWorld returns the world of the worker that owns the near realm. The records of the turn have been made: there are
// none yet.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{DB: workerdbtest.New(tb), log: &logbook{}, now: now}
	w.starter = &settlement.Starter{
		Realm: nearRealm, HealthyCommitDelay: healthyCommitDelay, ExtendedMessages: true,
		LockAbandoned: func(_ context.Context, _ *workerdb.Tx, _ time.Time, batch []*smp.LockAbandoned) error {
			w.abandoned = append(w.abandoned, batch...)
			return nil
		},
		Logger: w.log.logger(),
	}
	w.roller = &settlement.Roller{
		DB: w.DB, Realm: nearRealm, EarlyReceiptMaxAge: maxAge, Period: time.Hour,
		Now: func() time.Time { return w.now }, Logger: w.log.logger(),
	}
	w.addTurn(tb, turn, 3, 10)
	return w
}

func (w *world) addTurn(tb testing.TB, id int32, phase, subphase int) {
	tb.Helper()
	w.exec(tb, `
		INSERT INTO worker_turn (
			turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
			phase, phase_deadline, collection_started_at, collection_deadline, subphase
		) VALUES ($1, $2, '', 1, 10, 1000, $3, $2, $2, $2, $4)
		ON CONFLICT (turn_id) DO UPDATE SET phase = excluded.phase, subphase = excluded.subphase`,
		id, started, phase, subphase)
}

func (w *world) exec(tb testing.TB, sql string, args ...any) {
	tb.Helper()
	if _, err := w.Pool().Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// clear empties the world for the next case of a table.
func (w *world) clear(tb testing.TB) {
	tb.Helper()
	w.exec(tb, `
		DELETE FROM worker_collecting; DELETE FROM worker_receiving; DELETE FROM worker_sending;
		DELETE FROM worker_dispatching; DELETE FROM dispatching_status; DELETE FROM transfer_attempt;
		DELETE FROM early_receipt; DELETE FROM worker_turn; DELETE FROM outbox`)
	w.abandoned = nil
	w.addTurn(tb, turn, 3, 10)
}

func (w *world) inTx(tb testing.TB, do func(context.Context, *workerdb.Tx) error) {
	tb.Helper()
	if err := w.InTx(tb.Context(), "test", do); err != nil {
		tb.Fatal(err)
	}
}

// A handler is a rule for transfers.
type handler = func(context.Context, *workerdb.Tx, time.Time, []settlement.Transfer) error

func (w *world) handle(tb testing.TB, rule handler, transfers ...settlement.Transfer) {
	tb.Helper()
	w.inTx(tb, func(ctx context.Context, tx *workerdb.Tx) error { return rule(ctx, tx, w.now, transfers) })
}

// deliver hands messages to the rule for their type.
func deliver[M any](
	tb testing.TB, w *world, rule func(context.Context, *workerdb.Tx, time.Time, []M) error, batch ...M,
) {
	tb.Helper()
	w.inTx(tb, func(ctx context.Context, tx *workerdb.Tx) error { return rule(ctx, tx, w.now, batch) })
}

func (w *world) roll(tb testing.TB) {
	tb.Helper()
	if err := w.roller.RunOnce(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// transfer returns news of a transfer between the hub and somebody else.
func transfer(other swpt.CreditorID, amount int64) settlement.Transfer {
	return settlement.Transfer{Record: record(other), Amount: amount}
}

func record(other swpt.CreditorID) settlement.Record {
	return settlement.Record{CollectorID: hub, TurnID: turn, DebtorID: debtor, OtherID: other}
}

// The following add records of the hub.

func (w *world) addCollecting(tb testing.TB, seller swpt.CreditorID, amount int64) {
	tb.Helper()
	w.exec(tb, `INSERT INTO worker_collecting VALUES ($1, $2, $3, $4, $5, FALSE, $6)`,
		hub, turn, debtor, seller, amount, now.Add(60*day))
}

func (w *world) addReceiving(tb testing.TB, from swpt.CreditorID, amount int64) {
	tb.Helper()
	w.exec(tb, `INSERT INTO worker_receiving VALUES ($1, $2, $3, $4, $5, 0, $6)`,
		hub, turn, debtor, from, amount, now.Add(150*day))
}

func (w *world) addSending(tb testing.TB, to swpt.CreditorID, amount int64) {
	tb.Helper()
	w.exec(tb, `INSERT INTO worker_sending VALUES ($1, $2, $3, $4, $5, $6)`, hub, turn, debtor, to, amount, now.Add(150*day))
}

func (w *world) addDispatching(tb testing.TB, buyer swpt.CreditorID, amount int64) {
	tb.Helper()
	w.exec(tb, `INSERT INTO worker_dispatching VALUES ($1, $2, $3, $4, $5, $6)`,
		hub, turn, debtor, buyer, amount, now.Add(180*day))
}

// addStatus adds a status in a state that is given as assignments to its columns.
func (w *world) addStatus(tb testing.TB, collector swpt.CreditorID, a settlement.Amounts, state string) {
	tb.Helper()
	w.exec(tb, `
		INSERT INTO dispatching_status (
			collector_id, turn_id, debtor_id, inserted_at,
			amount_to_collect, amount_own_sold, amount_to_send, amount_to_receive, number_to_receive, amount_to_dispatch
		) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, 0, $8)`,
		collector, turn, debtor, now, a.ToCollect, a.ToSend, a.ToReceive, a.ToDispatch)
	if state != "" {
		w.exec(tb, `UPDATE dispatching_status SET `+state+` WHERE collector_id = $1 AND debtor_id = $2`, collector, debtor)
	}
}

// States of statuses.
const (
	awaitingSending     = `awaiting_signal_flag = TRUE`
	sending             = `started_sending = TRUE, total_collected_amount = 0`
	allSent             = sending + `, all_sent = TRUE`
	awaitingDispatching = allSent + `, awaiting_signal_flag = TRUE`
	dispatching         = allSent + `, started_dispatching = TRUE, total_received_amount = 0`
)

// Queries that tell what is in tables, in a few words.
const (
	collectings  = `SELECT creditor_id, amount, collected FROM worker_collecting ORDER BY 1`
	receivings   = `SELECT from_collector_id, received_amount FROM worker_receiving ORDER BY 1`
	sendings     = `SELECT to_collector_id, amount FROM worker_sending ORDER BY 1`
	dispatchings = `SELECT creditor_id, amount FROM worker_dispatching ORDER BY 1`
	statuses     = `
		SELECT collector_id, total_collected_amount, total_received_amount,
			concat_ws(' ', CASE WHEN awaiting_signal_flag THEN 'awaiting' END, CASE WHEN started_sending THEN 'sending' END,
				CASE WHEN all_sent THEN 'sent' END, CASE WHEN started_dispatching THEN 'dispatching' END)
		FROM dispatching_status ORDER BY 1`
	attempts = `SELECT collector_id, creditor_id, is_dispatching, nominal_amount FROM transfer_attempt ORDER BY 1, 2, 3`
	early    = `SELECT collector_id, turn_id, creditor_id, is_sending, amount FROM early_receipt ORDER BY 1, 2, 3, 4`
)

// must checks what a query returns: a text for each row.
func (w *world) must(tb testing.TB, query string, want ...string) {
	tb.Helper()
	if got := w.lines(tb, query); !slices.Equal(got, want) {
		tb.Errorf("%s: there is\n%q\nwant\n%q", query, got, want)
	}
}

func (w *world) lines(tb testing.TB, query string) []string {
	tb.Helper()
	rows, err := w.Pool().Query(tb.Context(), query)
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		text := fmt.Sprintln(values...)
		return strings.TrimSuffix(text, "\n"), err
	})
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return lines
}

// sent returns the messages in the outbox, and empties it.
func (w *world) sent(tb testing.TB) []smp.Message {
	tb.Helper()
	rows, err := w.Pool().Query(tb.Context(), `WITH sent AS (DELETE FROM outbox RETURNING *) SELECT type, body FROM sent ORDER BY id`)
	if err != nil {
		tb.Fatal(err)
	}
	messages, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (smp.Message, error) {
		var messageType, body string
		if err := row.Scan(&messageType, &body); err != nil {
			return nil, err
		}
		return smp.Parse("application/json", messageType, []byte(body))
	})
	if err != nil {
		tb.Fatal(err)
	}
	return messages
}

// mustSend checks what is in the outbox, in any order.
func (w *world) mustSend(tb testing.TB, want ...smp.Message) {
	tb.Helper()
	if got, want := texts(tb, w.sent(tb)), texts(tb, want); !slices.Equal(got, want) {
		tb.Errorf("sent are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func texts(tb testing.TB, messages []smp.Message) []string {
	tb.Helper()
	var texts []string
	for _, m := range messages {
		text, err := m.AppendJSON(nil)
		if err != nil {
			tb.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	slices.Sort(texts)
	return texts
}

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logbook) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func TestHubs(t *testing.T) {
	t.Parallel()
	for id, near := range map[swpt.CreditorID]bool{hub: true, otherHub: true, farHub: false} {
		key := shard.KeyOf(id)
		if nearRealm.Match(key) != near || farRealm.Match(key) == near {
			t.Errorf("the tests are wrong about the realm of %d", id)
		}
	}
}

func collectOne[T any](rows pgx.Rows) (T, error) {
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
}
