package sweep_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/sweep"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const day = 24 * time.Hour

var now = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)

// The default settings.
var ages = sweep.Ages{
	DebtorInfo:   config.DebtorInfo{ClaimExpiry: 45 * day, DocumentExpiry: 7 * day},
	CommitPeriod: config.CommitPeriod{Max: 30 * day},
	Slacks:       config.Slacks{Collecting: 60 * day, Sending: 150 * day, Dispatching: 180 * day},
	Silence:      config.Silence{ExtremeMessageDelay: 7 * day, MaxHeartbeatDelay: 365 * day},
	AccountLocks: config.AccountLocks{MaxAge: 365 * day, ReleasedMaxAge: 30 * day},
}

// at returns an instant of the past as a literal.
func at(age time.Duration) string {
	return "TIMESTAMPTZ '" + now.Add(-age).Format(time.RFC3339Nano) + "'"
}

// A kind is how tests make rows of a table.
type kind struct {
	relation string
	key      string // the column that the row is sharded by
	insert   string // statement for a row with the key $1 that is not to be deleted
}

// keyOf returns the i-th key, and where it belongs.
func (k kind) keyOf(i int) (key any, place shard.Key) {
	if k.relation == "debtor_info_document" {
		locator := fmt.Sprintf("https://example.com/ü/%d", i)
		return locator, shard.KeyOfString(locator)
	}
	return int64(i), shard.KeyOf(int64(i))
}

var kinds = map[string]kind{
	"debtor_info_documents": {
		"debtor_info_document", "debtor_info_locator",
		`INSERT INTO debtor_info_document (debtor_info_locator, debtor_id, fetched_at) VALUES ($1, 1, ` + at(0) + `)`,
	},
	"debtor_locator_claims": {
		"debtor_locator_claim", "debtor_id",
		`INSERT INTO debtor_locator_claim VALUES ($1, NULL, NULL, ` + at(0) + `, NULL)`,
	},
	"trading_policies": {
		"trading_policy", "creditor_id",
		`INSERT INTO trading_policy (creditor_id, debtor_id, principal) VALUES ($1, 1, 1)`,
	},
	"worker_accounts": {
		"worker_account", "creditor_id",
		`INSERT INTO worker_account VALUES ($1, 1, '2026-01-01', 'epoch', 1, 0, 0, 0, 'epoch', 0, '', NULL, 0, 'epoch', 0, 0, 0, ` +
			at(0) + `)`,
	},
	"interest_rate_changes": {
		"interest_rate_change", "creditor_id", `INSERT INTO interest_rate_change VALUES ($1, 1, 'epoch', 0)`,
	},
	"needed_worker_accounts": {
		"needed_worker_account", "creditor_id", `INSERT INTO needed_worker_account VALUES ($1, 1, 'epoch')`,
	},
	"recently_needed_collectors": {
		"recently_needed_collector", "debtor_id", `INSERT INTO recently_needed_collector VALUES ($1, ` + at(0) + `)`,
	},
	"account_locks": {
		"account_lock", "creditor_id",
		`INSERT INTO account_lock VALUES ($1, 1, 1, 999999, ` + at(0) + `, $1, -1000)`,
	},
	"creditor_participations": {
		"creditor_participation", "creditor_id", `INSERT INTO creditor_participation VALUES ($1, 1, 1, -1000, 1)`,
	},
	"dispatching_statuses": {
		"dispatching_status", "collector_id",
		`INSERT INTO dispatching_status VALUES ($1, 1, 1, 'epoch', 0, 0, 0, 0, 0, 0)`,
	},
	"worker_collectings": {
		"worker_collecting", "collector_id",
		`INSERT INTO worker_collecting VALUES ($1, 1, 1, 1, 1000, FALSE, ` + at(0) + `)`,
	},
	"worker_sendings": {
		"worker_sending", "from_collector_id",
		`INSERT INTO worker_sending VALUES ($1, 1, 1, 1, 1000, ` + at(0) + `)`,
	},
	"worker_receivings": {
		"worker_receiving", "to_collector_id",
		`INSERT INTO worker_receiving VALUES ($1, 1, 1, 1, 1000, 0, ` + at(0) + `)`,
	},
	"worker_dispatchings": {
		"worker_dispatching", "collector_id",
		`INSERT INTO worker_dispatching VALUES ($1, 1, 1, 1, 1000, ` + at(0) + `)`,
	},
	"transfer_attempts": {
		"transfer_attempt", "collector_id",
		`INSERT INTO transfer_attempt VALUES ($1, 1, 1, 1, TRUE, 1000, ` + at(0) + `, 'epoch', '', 0)`,
	},
}

// A world is a worker's database.
type world struct {
	testing.TB
	*workerdb.DB
	registry *prometheus.Registry
	metrics  *sweep.Metrics
	locks    *lock.Rules
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	registry := prometheus.NewRegistry()
	return &world{
		TB: tb, DB: workerdbtest.New(tb), registry: registry, metrics: sweep.NewMetrics(registry),
		locks: &lock.Rules{
			Settings:         lock.Settings{DispatchingSlack: ages.Dispatching, MaxAge: ages.MaxAge},
			CollectingFailed: settlement.HandleCollectingFailures,
			IntN:             rand.IntN,
			Logger:           slog.New(slog.DiscardHandler),
			Metrics:          lock.NewMetrics(registry),
		},
	}
}

// sweeper returns one that is fast.
func (w *world) sweeper(table string) *sweep.Sweeper {
	return &sweep.Sweeper{
		DB:           w.DB,
		Table:        table,
		Pace:         config.Sweep{Duration: 100 * time.Millisecond, BlocksPerQuery: 40, Beat: time.Millisecond},
		Ages:         ages,
		DismissLocks: w.locks.DismissOverdue,
		Now:          func() time.Time { return now },
		Int64N:       rand.Int64N,
		Metrics:      w.metrics,
	}
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.Pool().Exec(w.Context(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

// addTurn adds a turn with a collection deadline in the past.
func (w *world) addTurn(id int, age time.Duration) {
	w.Helper()
	w.exec(`INSERT INTO worker_turn VALUES ($1, 'epoch', '', 1, 1, 1000, 3, NULL, 'epoch', `+at(age)+`, 10)`, id)
}

// add adds a row with the i-th key, and changes it.
func (w *world) add(table string, i int, change string) {
	w.Helper()
	k := kinds[table]
	key, _ := k.keyOf(i)
	w.exec(k.insert, key)
	if change != "" {
		w.exec(fmt.Sprintf(`UPDATE %s SET %s WHERE %s = $1`, k.relation, change, k.key), key)
	}
}

func (w *world) sweepOnce(s *sweep.Sweeper) {
	w.Helper()
	if err := s.RunOnce(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// keys returns the keys of the rows in a table, sorted.
func (w *world) keys(table string) []string {
	w.Helper()
	k := kinds[table]
	rows, err := w.Pool().Query(w.Context(), fmt.Sprintf(`SELECT %s::TEXT FROM %s ORDER BY %[1]s`, k.key, k.relation))
	if err != nil {
		w.Fatal(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

// mustHave checks which keys are left in a table.
func (w *world) mustHave(table string, want ...any) {
	w.Helper()
	texts := []string{}
	for _, key := range want {
		texts = append(texts, fmt.Sprint(key))
	}
	slices.Sort(texts)
	if got := w.keys(table); !slices.Equal(got, texts) {
		w.Errorf("%s: left are\n%s\nwant\n%s", table, strings.Join(got, " "), strings.Join(texts, " "))
	}
}

// metric returns the value of a counter or a gauge.
func (w *world) metric(name string, labels map[string]string) float64 {
	w.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			matching := 0
			for _, label := range m.GetLabel() {
				if labels[label.GetName()] == label.GetValue() {
					matching++
				}
			}
			if matching == len(labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	w.Fatalf("there is no metric %s%v", name, labels)
	return 0
}

// gauges returns the values of a gauge, by table.
func (w *world) gauges(name string) map[string]float64 {
	w.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			values[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return values
}
