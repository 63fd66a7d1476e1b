package rulebook_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/attempt"
	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const (
	day  = 24 * time.Hour
	huge = 1e30 // a negligible amount

	firstCollector = swpt.CreditorID(0x0000010000000000)
	lastCollector  = swpt.CreditorID(0x00000100000007ff)
	firstCustomer  = swpt.CreditorID(0x0000010100000000)

	cut     = 1e-5
	healthy = 2 * time.Hour
)

var (
	start           = time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC)
	accountsCreated = smp.DateOf(start.AddDate(-1, 0, 0))
)

// A round of the random tests takes a second, so there are few of them, unless the command line asks for more:
//
//	scripts/services go test ./internal/rulebook -run Money -rapid.checks 1000 -timeout 2h
//
// The rules pick the collectors of sellers at random, so a round that has failed may have to be tried a few times.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

var settings = rulebook.Settings{
	Collectors:       config.Collectors{MinID: firstCollector, MaxID: lastCollector},
	CommitPeriod:     config.CommitPeriod{Max: 30 * day},
	Accounts:         config.Accounts{MinDemurrageRate: demurrageRate, MinTransferNoteMaxBytes: 80},
	InterestRates:    config.InterestRates{HistoryPeriod: 180 * day},
	AccountLocks:     config.AccountLocks{MaxAge: 365 * day, ReleasedMaxAge: 30 * day},
	Transfers:        config.Transfers{HealthyCommitDelay: healthy, AmountCut: cut},
	Slacks:           config.Slacks{Collecting: 60 * day, Sending: 150 * day, Dispatching: 180 * day},
	DebtorInfo:       config.DebtorInfo{ClaimExpiry: 45 * day, DocumentExpiry: 7 * day},
	Silence:          config.Silence{ExtremeMessageDelay: 7 * day, MaxHeartbeatDelay: 365 * day},
	InternalMessages: config.InternalMessages{Extended: true},
}

// errCrash tells that a worker has died before the commit.
var errCrash = errors.New("a crash")

// A crash is a message that has the worker die when all others of its batch have been applied.
type crash struct{}

func (*crash) Type() string                          { return "Crash" }
func (*crash) ShardKey() smp.ShardKey                { return smp.ShardKey{} }
func (*crash) AppendJSON(dst []byte) ([]byte, error) { return dst, nil }

// A node is a worker.
type node struct {
	*workerdb.DB
	realm   shard.Realm
	handler *inbox.Handler
	mirror  *mirror.Roller
	roller  *settlement.Roller
	trigger *attempt.Trigger
	locks   *lock.Rules // for what is done to locks of which nothing has come
}

// newNode returns a worker with an empty database, without any rules.
func newNode(tb testing.TB, routingKey string) *node {
	tb.Helper()
	realm, err := shard.ParseWorkerRealm(routingKey)
	if err != nil {
		tb.Fatal(err)
	}
	return &node{DB: workerdbtest.New(tb), realm: realm}
}

// begin gives the worker its rules, and a clock.
func (n *node) begin(solver *solverdb.DB, extended bool, now func() time.Time) {
	s := settings
	s.Extended = extended
	logger := slog.New(slog.DiscardHandler)
	registry := prometheus.NewRegistry()
	metrics := rulebook.NewMetrics(registry)
	rules := rulebook.New(n.realm, s, metrics, logger)
	inbox.Add(rules, func(context.Context, *workerdb.Tx, time.Time, []*crash) error { return errCrash })
	n.handler = &inbox.Handler{Realm: n.realm, DB: n.DB, Rules: rules, Now: now, Metrics: inbox.NewMetrics(registry)}
	n.mirror = &mirror.Roller{
		Settings: mirror.Settings{
			Realm: n.realm, Wait: time.Hour, Lead: func(time.Duration) time.Duration { return pouring },
			CollectingSlack: s.Collecting, SendingSlack: s.Sending, DispatchingSlack: s.Dispatching,
		},
		Worker: n.DB, Solver: solver, Now: now, Metrics: mirror.NewMetrics(registry), Logger: logger,
	}
	n.roller = &settlement.Roller{
		DB: n.DB, Realm: n.realm, EarlyReceiptMaxAge: s.CommitPeriod.Max + s.Dispatching,
		Period: time.Hour, Now: now, Logger: logger, PageSize: 2,
	}
	n.trigger = &attempt.Trigger{
		DB: n.DB, HealthyCommitDelay: healthy, Period: time.Hour, Burst: 3, Now: now, Metrics: metrics.Attempts, Logger: logger,
	}
	n.locks = &lock.Rules{
		Settings: lock.Settings{
			Realm: n.realm, ExtendedMessages: extended, MinCollectorID: firstCollector, MaxCollectorID: lastCollector,
			MinDemurrageRate: demurrageRate, DispatchingSlack: s.Dispatching, MaxAge: s.MaxAge,
		},
		CollectingFailed: settlement.HandleCollectingFailures, IntN: func(int) int { return 0 },
		Logger: logger, Metrics: metrics.Locks,
	}
}

// check decodes a message as a consumer does.
func (n *node) check(m smp.Message) (smp.Message, error) {
	body, err := m.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	return n.handler.Check(broker.Delivery{ContentType: smp.ContentType, Type: m.Type(), Body: body})
}

// handle has the worker handle messages in one transaction, as a consumer does.
func (n *node) handle(ctx context.Context, batch []smp.Message, dies bool) error {
	checked := make([]smp.Message, 0, len(batch)+1)
	for _, m := range batch {
		message, err := n.check(m)
		if err != nil {
			return fmt.Errorf("checking a message of type %s: %w", m.Type(), err)
		}
		checked = append(checked, message)
	}
	if dies {
		checked = append(checked, &crash{})
	}
	err := n.handler.Handle(ctx, checked)
	if dies && errors.Is(err, errCrash) {
		return nil
	}
	return err
}

// said returns the messages in the outbox, and empties it.
func (n *node) said(ctx context.Context) ([]smp.Message, error) {
	rows, err := n.Pool().Query(ctx,
		`WITH said AS (DELETE FROM outbox RETURNING id, type, body) SELECT type, body FROM said ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (smp.Message, error) {
		var messageType, body string
		if err := row.Scan(&messageType, &body); err != nil {
			return nil, err
		}
		emitted := map[string]smp.Message{
			smp.TypePrepareTransfer: &smp.PrepareTransfer{}, smp.TypeFinalizeTransfer: &smp.FinalizeTransfer{},
			smp.TypeConfigureAccount: &smp.ConfigureAccount{},
		}
		if m := emitted[messageType]; m != nil {
			return m, smp.Unmarshal([]byte(body), m)
		}
		return smp.Decode(messageType, []byte(body))
	})
}

// Tables in which rounds leave something.
const (
	workerTables = `outbox trading_policy worker_turn active_collector needed_worker_account worker_account
		interest_rate_change account_lock creditor_participation worker_collecting worker_sending worker_receiving
		worker_dispatching dispatching_status transfer_attempt early_receipt collector_task`
	solverTables = `collector_account turn sell_offer buy_offer creditor_taking creditor_giving collector_collecting
		collector_dispatching collector_sending collector_receiving`
)

// clear empties a database.
func clearTables(tb testing.TB, db *postgres.DB, tables string) {
	tb.Helper()
	statement := "DELETE FROM " + strings.Join(strings.Fields(tables), "; DELETE FROM ")
	if _, err := db.Pool().Exec(tb.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		tb.Fatal(err)
	}
}
