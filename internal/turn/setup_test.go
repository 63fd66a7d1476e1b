package turn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/turn"
)

// patience is for what happens at once, on a machine that is not busy.
const patience = 30 * time.Second

// quickly repeats transactions without wasting the time of tests.
var quickly = postgres.Retry{Limit: 8, Pause: time.Millisecond, MaxPause: 16 * time.Millisecond}

// tuesday is when turns start in these tests.
var tuesday = time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC)

func settings() turn.Settings {
	return turn.Settings{
		Schedule:          turn.Schedule{Period: day, Offset: 2 * time.Hour},
		Phase1Duration:    10 * time.Minute,
		Phase2Duration:    time.Hour,
		MaxCommitPeriod:   30 * day,
		BaseLocator:       "L60",
		BaseDebtorID:      60,
		MaxDistanceToBase: 10,
		MinTradeAmount:    1000,
		CheckInterval:     time.Minute,
		WorkMem:           "50MB",
	}
}

// A solverProcess is a roller with all that it works with.
type solverProcess struct {
	*turn.Roller
	t        testing.TB
	db       *solverdb.DB
	clock    *clock
	log      *logbook
	registry *prometheus.Registry
}

// newSolver returns a solver on a new database, in the morning of a Tuesday.
func newSolver(tb testing.TB) *solverProcess {
	tb.Helper()
	return newSolverOn(tb, solverdbtest.URL(tb), &clock{now: tuesday})
}

func newSolverOn(tb testing.TB, databaseURL string, c *clock) *solverProcess {
	tb.Helper()
	s := &solverProcess{
		t: tb, db: solverdbtest.Open(tb, databaseURL, postgres.Options{Retry: quickly}), clock: c, log: &logbook{}, registry: prometheus.NewPedanticRegistry(),
	}
	s.Roller = turn.NewRoller(turn.Config{
		DB: s.db, Settings: settings(), Now: c.Now,
		Metrics: turn.NewMetrics(s.registry, c.Now),
		Logger:  slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return s
}

// A clock shows the time that it is set to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *clock) advance(d time.Duration) { c.set(c.Now().Add(d)) }

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

// records returns what was logged at a level.
func (b *logbook) records(tb testing.TB, level slog.Level) []map[string]any {
	tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var records []map[string]any
	for line := range bytes.Lines(b.text.Bytes()) {
		var record map[string]any
		if err := json.Unmarshal(line, &record); err != nil {
			tb.Fatal(err)
		}
		if record["level"] == level.String() {
			records = append(records, record)
		}
	}
	return records
}

// tick ticks, and must not fail.
func (s *solverProcess) tick() time.Time {
	s.t.Helper()
	next, err := s.Tick(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return next
}

func (s *solverProcess) exec(sql string, args ...any) {
	s.t.Helper()
	exec(s.t, s.db, sql, args...)
}

func exec(tb testing.TB, db *solverdb.DB, sql string, args ...any) {
	tb.Helper()
	if _, err := db.Pool().Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// query returns the rows of a query, each as its values with spaces between them, in alphabetical order.
func query(tb testing.TB, db solverdb.DBTX, sql string, args ...any) []string {
	tb.Helper()
	rows, err := db.Query(tb.Context(), sql, args...)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		words := make([]string, len(values))
		for i, value := range values {
			if at, ok := value.(time.Time); ok {
				value = at.Format(time.RFC3339Nano)
			}
			words[i] = fmt.Sprint(value)
		}
		return strings.Join(words, " "), err
	})
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	slices.Sort(lines)
	return lines
}

func (s *solverProcess) expect(want []string, sql string, args ...any) {
	s.t.Helper()
	if got := query(s.t, s.db.Pool(), sql, args...); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		s.t.Errorf("%s:\n got %s\nwant %s", sql, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// turns returns a line for each turn.
func (s *solverProcess) expectTurns(want ...string) {
	s.t.Helper()
	s.expect(want, `SELECT turn_id, phase FROM turn`)
}

// toPhase2 brings a new turn into phase 2.
func (s *solverProcess) toPhase2() {
	s.t.Helper()
	s.tick()
	s.clock.advance(11 * time.Minute)
	s.tick()
}

// toPhase3 brings the turn from phase 2 into phase 3.
func (s *solverProcess) toPhase3() {
	s.t.Helper()
	s.clock.advance(61 * time.Minute)
	s.tick()
}

// inputs and results are the tables whose rows belong to a turn.
var (
	inputs  = []string{"debtor_info", "confirmed_debtor", "currency_info", "sell_offer", "buy_offer"}
	results = []string{
		"creditor_taking", "creditor_giving", "collector_collecting", "collector_dispatching", "collector_sending",
		"collector_receiving",
	}
)

// contents returns all that is in the tables of turns, at one instant.
func contents(tb testing.TB, db *solverdb.DB) map[string][]string {
	tb.Helper()
	all := map[string][]string{}
	err := db.InTx(tb.Context(), "read_all", func(_ context.Context, tx *solverdb.Tx) error {
		for _, table := range slices.Concat(inputs, results) {
			all[table] = query(tb, tx, `SELECT * FROM `+table)
		}
		// Without the ID: numbers that were drawn in vain are missing.
		all["turn"] = query(tb, tx, `SELECT started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base,
			min_trade_amount, phase, phase_deadline, collection_started_at, collection_deadline FROM turn`)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func sameContents(a, b map[string][]string) bool {
	return maps.EqualFunc(a, b, slices.Equal)
}

// A market is what workers report and offer in a turn.
type market struct {
	currencies []solver.Currency
	collectors []solverdb.ActiveCollector
	sells      []solver.SellOffer
	buys       []solver.BuyOffer
}

// swap is a market with two traders who can swap, so that collectors have to transfer tokens to each other.
func swap() market {
	return market{
		currencies: []solver.Currency{
			{Confirmed: true, Locator: "L60", DebtorID: 60},
			{Confirmed: true, Locator: "L61", DebtorID: 61, Peg: &solver.Peg{Locator: "L60", DebtorID: 60, Rate: 2.5}},
		},
		collectors: []solverdb.ActiveCollector{{DebtorID: 60, CollectorID: 701}, {DebtorID: 61, CollectorID: 702}},
		sells:      []solver.SellOffer{{Creditor: 123, Debtor: 60, Amount: 9000, Collector: 801}, {Creditor: 789, Debtor: 61, Amount: 3000, Collector: 802}},
		buys:       []solver.BuyOffer{{Creditor: 123, Debtor: 61, Amount: 4000}, {Creditor: 789, Debtor: 60, Amount: 6000}},
	}
}

// report does what workers do in phase 1, and before.
func (m market) report(tb testing.TB, db *solverdb.DB, turnID int32) {
	tb.Helper()
	for _, c := range m.collectors {
		exec(tb, db, `INSERT INTO collector_account VALUES ($1, $2, 0, 'account', 2, now())`, c.DebtorID, c.CollectorID)
	}
	for _, c := range m.currencies {
		var locator *string
		var debtor *swpt.DebtorID
		var rate *float64
		if c.Peg != nil {
			locator, debtor, rate = &c.Peg.Locator, &c.Peg.DebtorID, &c.Peg.Rate
		}
		exec(tb, db, `INSERT INTO debtor_info VALUES ($1, $2, $3, $4, $5, $6)`, turnID, c.Locator, c.DebtorID, locator, debtor, rate)
		if c.Confirmed {
			exec(tb, db, `INSERT INTO confirmed_debtor VALUES ($1, $2, $3)`, turnID, c.DebtorID, c.Locator)
		}
	}
}

// offer does what workers do in phase 2.
func (m market) offer(tb testing.TB, db *solverdb.DB, turnID int32) {
	tb.Helper()
	err := db.InTx(tb.Context(), "offer", func(ctx context.Context, tx *solverdb.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"sell_offer"},
			[]string{"turn_id", "creditor_id", "debtor_id", "amount", "collector_id"},
			pgx.CopyFromSlice(len(m.sells), func(i int) ([]any, error) {
				o := m.sells[i]
				return []any{turnID, int64(o.Creditor), int64(o.Debtor), o.Amount, int64(o.Collector)}, nil
			}))
		if err != nil {
			return err
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"buy_offer"}, []string{"turn_id", "creditor_id", "debtor_id", "amount"},
			pgx.CopyFromSlice(len(m.buys), func(i int) ([]any, error) {
				o := m.buys[i]
				return []any{turnID, int64(o.Creditor), int64(o.Debtor), o.Amount}, nil
			}))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// outcome clears the market without a database.
func (m market) outcome(tb testing.TB, params solver.Params, turnID int32) *solver.Outcome {
	tb.Helper()
	outcome, err := m.load(tb, params).Clear(tb.Context(), solver.Options{Seed: int64(turnID)})
	if err != nil {
		tb.Fatal(err)
	}
	return outcome
}

func (m market) prices(tb testing.TB, params solver.Params) *solver.Prices {
	tb.Helper()
	tree, err := solver.NewPegTree(params)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range m.currencies {
		if err := tree.Register(c); err != nil {
			tb.Fatal(err)
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		tb.Fatal(err)
	}
	return prices
}

func (m market) load(tb testing.TB, params solver.Params) *solver.Market {
	tb.Helper()
	loaded := solver.NewMarket(m.prices(tb, params))
	for _, c := range m.collectors {
		if err := loaded.AddCollector(c.DebtorID, c.CollectorID); err != nil {
			tb.Fatal(err)
		}
	}
	for _, o := range m.sells {
		if _, err := loaded.AddSell(o); err != nil {
			tb.Fatal(err)
		}
	}
	for _, o := range m.buys {
		if _, err := loaded.AddBuy(o); err != nil {
			tb.Fatal(err)
		}
	}
	return loaded
}
