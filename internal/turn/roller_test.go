package turn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/turn"
)

func TestStart(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.clock.set(tuesday.Add(-time.Microsecond))
	if next := s.tick(); !next.Equal(tuesday) {
		t.Errorf("the next tick is at %v", next)
	}
	s.expectTurns()
	s.clock.set(tuesday)
	s.tick()
	s.tick()
	s.expect([]string{"1 2026-03-10T02:00:00Z L60 60 10 1000 1 2026-03-10T02:10:00Z <nil> <nil>"}, `SELECT * FROM turn`)
}

func TestNoPeriodNoTurns(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.Settings.Schedule.Period = 0
	if next := s.tick(); !next.Equal(tuesday.Add(time.Minute)) {
		t.Errorf("the next tick is at %v", next)
	}
	s.expectTurns()
}

// The parameters of a turn under way do not change with the settings.
func TestSettingsAreForNewTurns(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.tick()
	s.Settings.MinTradeAmount, s.Settings.BaseLocator, s.Settings.BaseDebtorID = 5000, "L61", 61
	swap().report(t, s.db, 1)
	s.clock.advance(11 * time.Minute)
	s.tick()
	swap().offer(t, s.db, 1)
	s.toPhase3()
	s.expect([]string{"2400", "6000"}, `SELECT amount FROM creditor_taking`) // 2400 is less than 5000
	s.exec(`TRUNCATE ` + strings.Join(results, ", "))
	s.tick()
	s.clock.set(tuesday.Add(day))
	s.tick()
	s.expect([]string{"1 L60 60 1000 4", "2 L61 61 5000 1"},
		`SELECT turn_id, base_debtor_info_locator, base_debtor_id, min_trade_amount, phase FROM turn`)
}

// A whole turn, step by step.
func TestTurn(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.tick()
	swap().report(t, s.db, 1)

	s.clock.set(tuesday.Add(10 * time.Minute)) // the deadline has come, and has to pass
	if next := s.tick(); !next.Equal(tuesday.Add(10*time.Minute + time.Microsecond)) {
		t.Errorf("the next tick is at %v", next)
	}
	s.expectTurns("1 1")
	s.clock.advance(time.Microsecond)
	s.tick()
	s.expect([]string{"1 2 2026-03-10T03:10:00.000001Z <nil> 2026-04-09T02:10:00.000001Z"},
		`SELECT turn_id, phase, phase_deadline, collection_started_at, collection_deadline FROM turn`)
	s.expect([]string{"1 L60 60 <nil> <nil> <nil> true", "1 L61 61 L60 60 2.5 true"}, `SELECT * FROM currency_info`)
	s.expect(nil, `SELECT * FROM debtor_info`)
	s.expect(nil, `SELECT * FROM confirmed_debtor`)

	swap().offer(t, s.db, 1)
	s.clock.set(tuesday.Add(70*time.Minute + time.Microsecond))
	s.tick()
	s.expectTurns("1 2")
	s.clock.advance(time.Microsecond)
	s.tick()
	s.expect([]string{"1 3 <nil> 2026-03-10T03:10:00.000002Z 2026-04-09T02:10:00.000001Z"},
		`SELECT turn_id, phase, phase_deadline, collection_started_at, collection_deadline FROM turn`)
	for _, table := range inputs {
		s.expect(nil, `SELECT * FROM `+table)
	}
	const hash123, hash789, hash801, hash802, hash701, hash702 = "-1008", "-23996", "-27923", "-9667", "4643", "24230"
	s.expect([]string{"1 123 60 " + hash123 + " 6000 801", "1 789 61 " + hash789 + " 2400 802"}, `SELECT * FROM creditor_taking`)
	s.expect([]string{"1 123 61 " + hash123 + " 2400 702", "1 789 60 " + hash789 + " 6000 701"}, `SELECT * FROM creditor_giving`)
	s.expect([]string{"1 60 123 6000 801 " + hash801, "1 61 789 2400 802 " + hash802}, `SELECT * FROM collector_collecting`)
	s.expect([]string{"1 60 789 6000 701 " + hash701, "1 61 123 2400 702 " + hash702}, `SELECT * FROM collector_dispatching`)
	s.expect([]string{"1 60 801 701 " + hash801 + " 6000", "1 61 802 702 " + hash802 + " 2400"}, `SELECT * FROM collector_sending`)
	s.expect([]string{"1 60 701 801 " + hash701 + " 6000", "1 61 702 802 " + hash702 + " 2400"}, `SELECT * FROM collector_receiving`)

	for _, table := range results { // each of them holds the turn
		s.tick()
		s.expectTurns("1 3")
		s.exec(`DELETE FROM ` + table)
	}
	s.tick()
	s.expect([]string{"1 4 <nil> 2026-03-10T03:10:00.000002Z"}, `SELECT turn_id, phase, phase_deadline, collection_started_at FROM turn`)
	s.clock.set(tuesday.Add(day))
	s.tick()
	s.expectTurns("1 4", "2 1")
}

// Only the rows of the turn itself hold it.
func TestResultsOfOtherTurns(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.toPhase2()
	s.toPhase3()
	s.exec(`INSERT INTO creditor_taking VALUES (2, 1, 1, 0, 1, 1)`)
	s.tick()
	s.expectTurns("1 4")
}

// A turn without trades ends by itself. Whenever a turn has moved, it is worth while to look again at once.
func TestTurnWithoutTrades(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	for _, step := range []struct {
		wait time.Duration
		next time.Duration // after the tick
		want string
	}{
		{0, 0, "1 1"},
		{0, time.Minute, "1 1"},
		{9*time.Minute + 30*time.Second, 30*time.Second + time.Microsecond, "1 1"},
		{time.Minute, 0, "1 2"},
		{59*time.Minute + 30*time.Second, 30*time.Second + time.Microsecond, "1 2"},
		{time.Minute, 0, "1 3"},
		{0, 0, "1 4"},
		{0, time.Minute, "1 4"},
		{22*time.Hour + 48*time.Minute + 30*time.Second, 30 * time.Second, "1 4"},
	} {
		s.clock.advance(step.wait)
		if next := s.tick(); !next.Equal(s.clock.Now().Add(step.next)) {
			t.Errorf("%s: at %v, the next tick is at %v", step.want, s.clock.Now(), next)
		}
		s.expectTurns(step.want)
	}
}

// A currency is confirmed if the locator and the ID match, and there is an active collector.
func TestConfirmedCurrencies(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.tick()
	const (
		disabled  = 3
		requested = 1
		pristine  = 0
		active    = 2
	)
	for debtor, c := range map[int]struct {
		confirmed int // debtor of the confirmation
		locator   string
		statuses  []int // of collectors
		turn      int
	}{
		1: {1, "L1", []int{active}, 1},
		2: {2, "L2", []int{disabled, requested, active}, 1},
		3: {3, "L3", nil, 1},
		4: {4, "L4", []int{pristine}, 1},
		5: {5, "L5", []int{requested}, 1},
		6: {6, "L6", []int{disabled}, 1},
		7: {7, "l7", []int{active}, 1},
		8: {80, "L8", []int{active}, 1},
		9: {9, "L9", []int{active}, 2},
	} {
		s.exec(`INSERT INTO debtor_info VALUES (1, $1, $2, 'L1', 1, 'NaN')`, fmt.Sprintf("L%d", debtor), debtor)
		s.exec(`INSERT INTO confirmed_debtor VALUES ($1, $2, $3)`, c.turn, c.confirmed, c.locator)
		for i, status := range c.statuses {
			s.exec(`INSERT INTO collector_account VALUES ($1, $2, 0, '', $3, now())`, debtor, i, status)
		}
	}
	s.exec(`INSERT INTO debtor_info VALUES (1, 'another', 1, NULL, 1, 2), (2, 'L10', 10, NULL, NULL, NULL)`)
	s.clock.advance(11 * time.Minute)
	s.tick()
	want := []string{"1 another 1 <nil> 1 2 false"}
	for debtor := 1; debtor <= 9; debtor++ {
		want = append(want, fmt.Sprintf("1 L%d %d L1 1 NaN %v", debtor, debtor, debtor <= 2))
	}
	s.expect(want, `SELECT * FROM currency_info`)
	// What belongs to a turn that has not come so far is not touched.
	s.expect([]string{"2"}, `SELECT turn_id FROM debtor_info`)
	s.expect([]string{"2"}, `SELECT turn_id FROM confirmed_debtor`)
}

// What comes too late for a turn is deleted in the next one.
func TestLateRows(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.toPhase2()
	late := func(turnID int) {
		s.exec(`INSERT INTO debtor_info VALUES ($1, 'late', 1, NULL, NULL, NULL)`, turnID)
		s.exec(`INSERT INTO confirmed_debtor VALUES ($1, 1, 'late')`, turnID)
	}
	later := func(turnID int) {
		s.exec(`INSERT INTO currency_info VALUES ($1, 'late', 1, NULL, NULL, NULL, false)`, turnID)
		s.exec(`INSERT INTO sell_offer VALUES ($1, 1, 1, 1, 1)`, turnID)
		s.exec(`INSERT INTO buy_offer VALUES ($1, 1, 1, 1)`, turnID)
	}
	late(1)
	s.toPhase3()
	later(1)
	s.tick()
	s.clock.set(tuesday.Add(day))
	s.tick()
	s.clock.advance(11 * time.Minute)
	s.tick()
	s.expectTurns("1 4", "2 2")
	s.expect(nil, `SELECT * FROM debtor_info`)
	s.expect(nil, `SELECT * FROM confirmed_debtor`)
	later(2)
	later(3) // which there is not
	s.toPhase3()
	s.expectTurns("1 4", "2 3")
	for _, table := range []string{"currency_info", "sell_offer", "buy_offer"} {
		s.expect([]string{"3"}, `SELECT turn_id FROM `+table)
	}
}

// The numbers of turns are 32 bits long.
func TestLargeTurnID(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	const id = 1<<31 - 1
	s.exec(`SELECT setval('turn_turn_id_seq', $1, false)`, id)
	s.tick()
	swap().report(t, s.db, id)
	s.clock.advance(11 * time.Minute)
	s.tick()
	swap().offer(t, s.db, id)
	s.toPhase3()
	for _, table := range results {
		s.expect([]string{"2147483647", "2147483647"}, `SELECT turn_id FROM `+table)
		s.exec(`DELETE FROM ` + table)
	}
	s.tick()
	s.expectTurns("2147483647 4")
}

// Another process that starts a turn at the same time is waited for, and then there is nothing left to do, even if its turn
// is finished already.
func TestStartersQueue(t *testing.T) {
	t.Parallel()
	for _, phase := range []int{1, 4} {
		s := newSolver(t)
		other, err := s.db.Pool().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Rollback(context.WithoutCancel(t.Context())) })
		if _, err := other.Exec(t.Context(), `LOCK TABLE turn IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			t.Fatal(err)
		}
		var ticking sync.WaitGroup
		ticking.Go(func() { _, err = s.Tick(t.Context()) })
		awaitWaiter(t, s.db, "LOCK TABLE turn")
		const start = `INSERT INTO turn (started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base,
			min_trade_amount, phase, phase_deadline, collection_started_at, collection_deadline)
			VALUES ($1, 'other', 1, 10, 1000, $2, $1, $1, $1)`
		if _, err := other.Exec(t.Context(), start, tuesday, phase); err != nil {
			t.Fatal(err)
		}
		if err := other.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		ticking.Wait()
		if err != nil {
			t.Fatal(err)
		}
		s.expect([]string{"1 other"}, `SELECT turn_id, base_debtor_info_locator FROM turn`)
	}
}

// awaitWaiter waits until a statement waits for a lock.
func awaitWaiter(t *testing.T, db *solverdb.DB, statement string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		var waits bool
		err := db.Pool().QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%')`, statement).Scan(&waits)
		if err == nil && !waits {
			err = errors.New("nobody waits for the lock")
		}
		return err
	})
}

// Whoever else advances a turn holds its row, and is waited for.
func TestStepsQueue(t *testing.T) {
	t.Parallel()
	for phase, advance := range map[int]string{
		1: `UPDATE turn SET phase = 2, collection_deadline = now()`,
		2: `UPDATE turn SET phase = 3, collection_started_at = now()`,
		3: `UPDATE turn SET phase = 4`,
	} {
		t.Run(fmt.Sprintf("phase %d", phase), func(t *testing.T) {
			t.Parallel()
			s := newSolver(t)
			s.tick()
			swap().report(t, s.db, 1)
			s.clock.advance(11 * time.Minute)
			if phase > 1 {
				s.tick()
				swap().offer(t, s.db, 1)
				s.clock.advance(61 * time.Minute)
			}
			if phase > 2 {
				s.tick()
				s.exec(`TRUNCATE ` + strings.Join(results, ", "))
			}
			other, err := s.db.Pool().Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Rollback(context.WithoutCancel(t.Context())) }()
			if _, err := other.Exec(t.Context(), `SELECT FROM turn FOR UPDATE`); err != nil {
				t.Fatal(err)
			}
			before := contents(t, s.db)
			var ticking sync.WaitGroup
			ticking.Go(func() { _, err = s.Tick(t.Context()) })
			awaitWaiter(t, s.db, "FOR UPDATE") // before anything else
			if _, err := other.Exec(t.Context(), advance); err != nil {
				t.Fatal(err)
			}
			if err := other.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			ticking.Wait()
			if err != nil {
				t.Fatal(err)
			}
			s.expectTurns(fmt.Sprintf("1 %d", phase+1))
			after := contents(t, s.db)
			before["turn"] = after["turn"]
			if !sameContents(before, after) {
				t.Errorf("the tables were\n%v\nand have become\n%v", before, after)
			}
		})
	}
}

// Several solvers do no more than one.
func TestConcurrentSolvers(t *testing.T) {
	t.Parallel()
	url, c := solverdbtest.URL(t), &clock{now: tuesday}
	solvers := make([]*solverProcess, 3)
	for i := range solvers {
		solvers[i] = newSolverOn(t, url, c)
	}
	allTick := func() {
		var all sync.WaitGroup
		for _, s := range solvers {
			all.Go(func() {
				if _, err := s.Tick(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	s := solvers[0]
	for n := int32(1); n <= 3; n++ {
		c.set(tuesday.Add(time.Duration(n) * day))
		allTick()
		market := swap()
		if n > 1 {
			market.collectors = nil // they are there
		}
		market.report(t, s.db, n)
		c.advance(11 * time.Minute)
		allTick()
		s.expect([]string{"60 true", "61 true"}, `SELECT debtor_id, is_confirmed FROM currency_info`)
		market.offer(t, s.db, n)
		c.advance(61 * time.Minute)
		allTick()
		for _, table := range results {
			s.expect([]string{strconv.Itoa(int(n)), strconv.Itoa(int(n))}, `SELECT turn_id FROM `+table)
			s.exec(`DELETE FROM ` + table)
		}
		allTick()
		allTick()
		s.expect([]string{fmt.Sprintf("%d 4", n)}, `SELECT turn_id, phase FROM turn WHERE turn_id >= $1`, n)
		s.expect([]string{strconv.Itoa(int(n))}, `SELECT count(*) FROM trade_turn_summary WHERE finished_at IS NOT NULL`)
	}
	s.expect(nil, `SELECT * FROM trade_clearing_attempt`)
}

// A turn that fails does not hold up another one.
func TestOneTurnFails(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	for phase := range 3 {
		s.exec(`INSERT INTO turn (started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
			phase, phase_deadline, collection_started_at, collection_deadline)
			VALUES ($1, 'L60', 60, 10, 1000, $2, $1, $1, $1)`, tuesday.Add(-time.Hour), phase+1)
	}
	// The same currency cannot be inserted again.
	s.exec(`INSERT INTO debtor_info VALUES (1, 'L1', 1, NULL, NULL, NULL)`)
	s.exec(`INSERT INTO currency_info VALUES (1, 'L1', 1, NULL, NULL, NULL, false)`)
	if _, err := s.Tick(t.Context()); err == nil || !strings.Contains(err.Error(), "turn 1 in phase 1") {
		t.Errorf("the error is %v", err)
	}
	s.expectTurns("1 1", "2 3", "3 4")
}

// A turn that stays in phase 3 is reported, but not all the time.
func TestSlowWorkersAreReported(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.toPhase2()
	s.toPhase3()
	s.exec(`INSERT INTO creditor_giving VALUES (1, 123, 1, -1008, 1, 1)`)
	for range 40 {
		s.tick()
		s.clock.advance(time.Minute)
	}
	warnings := s.log.records(t, slog.LevelWarn)
	if len(warnings) != 2 {
		t.Fatalf("in 40 minutes, there are %d warnings", len(warnings))
	}
	for i, phase3 := range []time.Duration{15 * time.Minute, 30 * time.Minute} {
		w := warnings[i]
		if w["turn_id"] != 1.0 || w["phase_3"] != float64(phase3) || w["tables"] != "creditor_giving" ||
			w["routing_key"] != "1.1.1.1.1.1.0.0.0.0.0.1.0.0.0.0" {
			t.Errorf("warning %d is %v", i, w)
		}
	}
}

// A roller that runs wakes up for deadlines, and when workers have taken over results. Whoever listens hears of each step.
func TestRun(t *testing.T) {
	t.Parallel()
	url := solverdbtest.URL(t)
	s := newSolverOn(t, url, &clock{})
	parsed, err := postgres.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	listener := postgres.NewListener(parsed, slog.New(slog.DiscardHandler))
	turns, _ := listener.Subscribe(solverdb.TopicTurns)
	config := s.Config
	config.Now, config.Listener = time.Now, listener
	config.Settings.Schedule = turn.Schedule{Period: time.Hour, Offset: time.Since(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))}
	config.Settings.CheckInterval = time.Hour
	config.Settings.Phase1Duration, config.Settings.Phase2Duration = 300*time.Millisecond, 300*time.Millisecond
	roller := turn.NewRoller(config)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = listener.Run(ctx) })
	receive(t, "connection", turns)
	running.Go(func() {
		if err := roller.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	defer running.Wait()
	defer cancel()

	receive(t, "start", turns)
	s.exec(`INSERT INTO collector_sending VALUES (1, 1, 1, 2, 0, 1)`)
	awaitPhase := func(phase int) {
		t.Helper()
		want := []string{fmt.Sprintf("1 %d", phase)}
		testenv.Eventually(t, patience, func() error {
			if got := query(t, s.db.Pool(), `SELECT turn_id, phase FROM turn`); !slices.Equal(got, want) {
				return fmt.Errorf("the turns are %v, want %v", got, want)
			}
			return nil
		})
	}
	awaitPhase(3)
	receive(t, "steps", turns)
	err = s.db.InTx(t.Context(), "take_over", func(ctx context.Context, tx *solverdb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM collector_sending`)
		return errors.Join(err, postgres.Notify(ctx, tx, solverdb.TopicResults))
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitPhase(4)
}

func receive[T any](t *testing.T, what string, from <-chan T) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
}

// Without the database, a roller fails.
func TestRunFails(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.exec(`ALTER TABLE turn RENAME TO gone`)
	if err := s.Run(t.Context()); err == nil {
		t.Error("nothing has failed")
	}
	if _, err := s.Tick(t.Context()); err == nil || errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("the error is %v", err)
	}
}
