package lock_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	day = 24 * time.Hour

	creditor  swpt.CreditorID = 0x101000000a1
	debtor    swpt.DebtorID   = 8001
	collector swpt.CreditorID = 0x10000000005
	turn      int32           = 70_000 // more than 16 bits

	minTradeAmount = 1000
)

var (
	began    = time.Date(2026, 3, 10, 6, 45, 0, 123456000, time.UTC)
	now      = began.Add(time.Minute)
	later    = now.Add(time.Hour)
	deadline = began.Add(30 * day)
	created  = smp.DateOf(began) - 100
)

// A world is a worker's database, and rules for it.
type world struct {
	testing.TB
	db       *workerdb.DB
	rules    *lock.Rules
	registry *prometheus.Registry
	log      *bytes.Buffer

	mu     sync.Mutex
	failed []string // what collectors of this shard have been told
}

// newWorld returns a world in which a turn takes offers, and a collector collects the usual currency.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := newWorldOn(tb, workerdbtest.New(tb))
	w.insertTurn(turn, 2, 5, &deadline)
	w.insertCollector(debtor, collector)
	return w
}

func newWorldOn(tb testing.TB, db *workerdb.DB) *world {
	tb.Helper()
	w := &world{TB: tb, db: db, registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	w.rules = &lock.Rules{
		Settings: lock.Settings{
			ExtendedMessages: true,
			MinCollectorID:   0x10000000000, MaxCollectorID: 0x100000007ff,
			MinDemurrageRate: -50,
			Lead:             func(startToDeadline time.Duration) time.Duration { return startToDeadline / 10 },
			DispatchingSlack: 180 * day, MaxAge: 365 * day,
		},
		CollectingFailed: w.collectingFailed,
		IntN:             rand.IntN,
		Logger:           slog.New(slog.NewTextHandler(w.log, nil)),
		Metrics:          lock.NewMetrics(w.registry),
	}
	return w
}

func (w *world) collectingFailed(_ context.Context, _ *workerdb.Tx, now time.Time, batch []*smp.CollectingFailed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range batch {
		if !m.TS.Equal(now) {
			return fmt.Errorf("the timestamp is %v", m.TS)
		}
		w.failed = append(w.failed, fmt.Sprintf("%d/%d/%d/%d", m.CollectorID, m.TurnID, m.DebtorID, m.CreditorID))
	}
	return nil
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.db.Pool().Exec(w.Context(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) insertTurn(id int32, phase, subphase int, deadline *time.Time) {
	w.Helper()
	w.exec(`INSERT INTO worker_turn (
		turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount, phase,
		phase_deadline, collection_started_at, collection_deadline, subphase
	) VALUES ($1, $2, 'base', 1, 10, $3, $4, $7, $2, $5, $6)`,
		id, began, minTradeAmount, phase, deadline, subphase, began.Add(day))
}

func (w *world) insertCollector(debtor swpt.DebtorID, id swpt.CreditorID) {
	w.Helper()
	w.exec("INSERT INTO active_collector VALUES ($1, $2, $3)", debtor, id, accountOf(id))
}

func accountOf(id swpt.CreditorID) string { return fmt.Sprint("account of ", int64(id)) }

func (w *world) insertParticipation(creditor swpt.CreditorID, amount int64, collector swpt.CreditorID) {
	w.Helper()
	w.exec("INSERT INTO creditor_participation VALUES ($1, $2, $3, $4, $5)", creditor, debtor, turn, amount, collector)
}

// inTx runs a rule in a transaction of its own.
func (w *world) inTx(do func(context.Context, *workerdb.Tx) error) {
	w.Helper()
	if err := w.db.InTx(w.Context(), "test", do); err != nil {
		w.Fatal(err)
	}
}

// handle gives a batch to the rule for its type at an instant, and returns what the rule has not dealt with.
func (w *world) handle(now time.Time, batch any) (rest []smp.Message) {
	w.Helper()
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) (err error) {
		rest, err = apply(ctx, tx, w.rules, now, batch)
		return err
	})
	return rest
}

// What a batch is about decides which accounts are released.
type (
	paid     []lock.Payment // by sellers
	received []lock.Payment // by buyers
)

func apply(ctx context.Context, tx *workerdb.Tx, r *lock.Rules, now time.Time, batch any) ([]smp.Message, error) {
	switch batch := batch.(type) {
	case []*smp.CandidateOffer:
		return nil, r.HandleCandidateOffers(ctx, tx, now, batch)
	case []*smp.PreparedTransfer:
		return messages(r.HandlePreparedTransfers(ctx, tx, now, batch))
	case []*smp.RejectedTransfer:
		return messages(r.HandleRejectedTransfers(ctx, tx, now, batch))
	case []*smp.FinalizedTransfer:
		return messages(r.HandleFinalizedTransfers(ctx, tx, now, batch))
	case []*smp.ReviseAccountLock:
		return nil, r.HandleReviseAccountLocks(ctx, tx, now, batch)
	case paid:
		return nil, r.ReleaseSellers(ctx, tx, now, batch)
	case received:
		return nil, r.ReleaseBuyers(ctx, tx, now, batch)
	case []*smp.LockAbandoned:
		return nil, r.HandleLockAbandonments(ctx, tx, now, batch)
	default:
		panic(fmt.Sprintf("a batch of type %T", batch))
	}
}

func messages[M smp.Message](batch []M, err error) ([]smp.Message, error) {
	var all []smp.Message
	for _, m := range batch {
		all = append(all, m)
	}
	return all, err
}

// The usual messages about the usual account.

func offer(amount int64) *smp.CandidateOffer {
	return &smp.CandidateOffer{
		TurnID: turn, DebtorID: debtor, CreditorID: creditor, Amount: amount, AccountCreationDate: created,
		LastTransferNumber: 17, TS: now,
	}
}

func preparedTransfer(request int64) *smp.PreparedTransfer {
	return &smp.PreparedTransfer{
		DebtorID: debtor, CreditorID: creditor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
		CoordinatorRequestID: request, TransferID: 9, LockedAmount: 1 << 50, Recipient: "x", PreparedAt: now,
		Deadline: deadline, FinalInterestRateTS: now, TS: now,
	}
}

func rejectedTransfer(request int64) *smp.RejectedTransfer {
	return &smp.RejectedTransfer{
		DebtorID: debtor, CreditorID: creditor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
		CoordinatorRequestID: request, StatusCode: "SENDER_IS_UNREACHABLE", TS: now,
	}
}

func finalizedTransfer(request, amount int64) *smp.FinalizedTransfer {
	m := &smp.FinalizedTransfer{
		DebtorID: debtor, CreditorID: creditor, CoordinatorType: "agent", CoordinatorID: int64(creditor),
		CoordinatorRequestID: request, TransferID: 9, CommittedAmount: amount, StatusCode: "OK", PreparedAt: now, TS: now,
	}
	if amount == 0 {
		m.StatusCode = "TIMEOUT"
	}
	return m
}

func revision() *smp.ReviseAccountLock {
	return &smp.ReviseAccountLock{CreditorID: creditor, DebtorID: debtor, TurnID: turn, TS: now}
}

func abandonment() *smp.LockAbandoned {
	return &smp.LockAbandoned{CreditorID: creditor, DebtorID: debtor, TurnID: turn, TS: now}
}

func payment(amount int64) lock.Payment {
	return lock.Payment{
		Transfer: &smp.AccountTransfer{
			DebtorID: debtor, CreditorID: creditor, CreationDate: created + 1, TransferNumber: 18, CoordinatorType: "agent",
			AcquiredAmount: amount, TS: now,
		},
		Note: smp.Note{TurnID: turn},
	}
}

// What is stored.

func (w *world) locks() []workerdb.AccountLock {
	w.Helper()
	rows, err := w.db.Pool().Query(w.Context(), "SELECT * FROM account_lock ORDER BY creditor_id, debtor_id")
	if err != nil {
		w.Fatal(err)
	}
	locks, err := pgx.CollectRows(rows, pgx.RowToStructByName[workerdb.AccountLock])
	if err != nil {
		w.Fatal(err)
	}
	return locks
}

// theLock returns the only lock that there is.
func (w *world) theLock() workerdb.AccountLock {
	w.Helper()
	locks := w.locks()
	if len(locks) != 1 {
		w.Fatalf("there are %d locks, want 1: %+v", len(locks), locks)
	}
	return locks[0]
}

func (w *world) mustHaveNoLock() {
	w.Helper()
	if locks := w.locks(); len(locks) > 0 {
		w.Fatalf("there are locks: %+v", locks)
	}
}

func (w *world) mustStore(want workerdb.AccountLock) {
	w.Helper()
	if got, want := fmt.Sprintf("%+v", plain(w.theLock())), fmt.Sprintf("%+v", plain(want)); got != want {
		w.Fatalf("stored is\n%s\nwant\n%s", got, want)
	}
}

// plain returns a lock in which pointers can be read.
func plain(l workerdb.AccountLock) any {
	return struct {
		workerdb.AccountLock
		Pointers string
	}{
		workerdb.AccountLock{
			CreditorID: l.CreditorID, DebtorID: l.DebtorID, TurnID: l.TurnID, CollectorID: l.CollectorID,
			InitiatedAt: l.InitiatedAt, CoordinatorRequestID: l.CoordinatorRequestID, Amount: l.Amount,
			HasBeenRevised: l.HasBeenRevised,
		},
		strings.Join([]string{
			text(l.TransferID), text(l.FinalizedAt), text(l.ReleasedAt), text(l.AccountCreationDate),
			text(l.AccountLastTransferNumber),
		}, " "),
	}
}

func text[T any](p *T) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%v", *p)
}

// A sent message has the fields of all messages that the rules send.
type sent struct {
	Type                 string
	CreditorID           swpt.CreditorID `json:"creditor_id"`
	DebtorID             swpt.DebtorID   `json:"debtor_id"`
	CoordinatorID        swpt.CreditorID `json:"coordinator_id"`
	CoordinatorRequestID int64           `json:"coordinator_request_id"`
	MinLockedAmount      int64           `json:"min_locked_amount"`
	MaxLockedAmount      int64           `json:"max_locked_amount"`
	Recipient            string          `json:"recipient"`
	TransferID           int64           `json:"transfer_id"`
	CommittedAmount      int64           `json:"committed_amount"`
	TransferNote         string          `json:"transfer_note"`
	CollectorID          swpt.CreditorID `json:"collector_id"`
	TurnID               int32           `json:"turn_id"`
	TS                   time.Time       `json:"ts"`
}

func (m *sent) String() string {
	about := fmt.Sprintf("%d/%d for %d/%d", m.CreditorID, m.DebtorID, m.CoordinatorID, m.CoordinatorRequestID)
	switch {
	case m.Type == smp.TypePrepareTransfer:
		return fmt.Sprintf("prepare %s: %d to %d to %q", about, m.MinLockedAmount, m.MaxLockedAmount, m.Recipient)
	case m.Type == smp.TypeFinalizeTransfer && m.CommittedAmount > 0:
		return fmt.Sprintf("commit %d of %d of %s: %q", m.CommittedAmount, m.TransferID, about, m.TransferNote)
	case m.Type == smp.TypeFinalizeTransfer:
		return fmt.Sprintf("dismiss %d of %s%s", m.TransferID, about, m.TransferNote)
	default:
		return fmt.Sprintf("%s %d/%d/%d/%d", m.Type, m.CollectorID, m.TurnID, m.DebtorID, m.CreditorID)
	}
}

// send returns what is in the outbox, and empties it.
func (w *world) send() []*sent {
	w.Helper()
	rows, err := w.db.Pool().Query(w.Context(), "WITH o AS (DELETE FROM outbox RETURNING *) SELECT body FROM o ORDER BY id")
	if err != nil {
		w.Fatal(err)
	}
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.Fatal(err)
	}
	var all []*sent
	for _, body := range bodies {
		m := new(sent)
		if err := json.Unmarshal([]byte(body), m); err != nil {
			w.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func (w *world) mustSend(want ...string) {
	w.Helper()
	var got []string
	for _, m := range w.send() {
		got = append(got, m.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.Fatalf("sent are\n%q\nwant\n%q", got, want)
	}
}

func (w *world) count(table string) (n int) {
	w.Helper()
	if err := w.db.Pool().QueryRow(w.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}
