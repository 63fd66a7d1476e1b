package turn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/turn"
)

// synthetic returns a market of any size.
func synthetic(currencies, traders int) market {
	m := market{}
	s := book.Synthetic{Currencies: currencies, Traders: traders, Seed: 7}
	for c := range s.AllCurrencies() {
		m.currencies = append(m.currencies, c)
	}
	for debtor, collector := range s.AllCollectors() {
		m.collectors = append(m.collectors, solverdb.ActiveCollector{DebtorID: debtor, CollectorID: collector})
	}
	for offers := range s.AllOffers() {
		m.sells = append(m.sells, offers.Sells...)
		m.buys = append(m.buys, offers.Buys...)
	}
	return m
}

// What is published is what the solver finds when it gets the same without a database, with the turn as its seed.
func TestResultsAreThoseOfTheSolver(t *testing.T) {
	t.Parallel()
	const turnID = 42
	m := synthetic(40, 1000)
	s := newSolver(t)
	s.exec(`SELECT setval('turn_turn_id_seq', $1, false)`, turnID)
	s.Settings.BaseLocator, s.Settings.BaseDebtorID = m.currencies[0].Locator, m.currencies[0].DebtorID
	s.tick()
	m.report(t, s.db, turnID)
	s.clock.advance(11 * time.Minute)
	s.tick()
	m.offer(t, s.db, turnID)
	s.toPhase3()

	params := solver.Params{
		BaseLocator: s.Settings.BaseLocator, BaseDebtorID: s.Settings.BaseDebtorID, MaxDistanceToBase: 10, MinTradeAmount: 1000,
	}
	want := m.outcome(t, params, turnID)
	if len(want.Takings) < 500 || len(want.Transfers) == 0 {
		t.Fatalf("%d takings and %d transfers prove nothing", len(want.Takings), len(want.Transfers))
	}
	var takings, givings, transfers []string
	for _, c := range want.Takings {
		takings = append(takings, fmt.Sprint(c.Creditor, c.Debtor, c.Amount, c.Collector))
	}
	for _, c := range want.Givings {
		givings = append(givings, fmt.Sprint(c.Creditor, c.Debtor, c.Amount, c.Collector))
	}
	for _, x := range want.Transfers {
		transfers = append(transfers, fmt.Sprint(x.Debtor, x.From, x.To, x.Amount))
	}
	for table, rows := range map[string][]string{
		"creditor_taking": takings, "collector_collecting": takings,
		"creditor_giving": givings, "collector_dispatching": givings,
	} {
		s.expect(rows, `SELECT creditor_id, debtor_id, amount, collector_id FROM `+table+` WHERE turn_id = $1`, turnID)
	}
	for _, table := range []string{"collector_sending", "collector_receiving"} {
		s.expect(transfers, `SELECT debtor_id, from_collector_id, to_collector_id, amount FROM `+table+` WHERE turn_id = $1`, turnID)
	}

	var sum solver.CurrencyOutcome
	for _, c := range want.Currencies {
		sum.Offered += c.Offered
		sum.Wanted += c.Wanted
		sum.Cleared += c.Cleared
	}
	s.expect([]string{fmt.Sprint("42 <nil> <nil> 40 40 40 40 ", len(m.collectors), " ", len(m.sells), " ", len(m.buys), " 0 ",
		want.Traders, " ", want.Served, " ", sum.Offered, " ", sum.Wanted, " ", sum.Cleared, " ",
		len(want.Takings), " ", len(want.Givings), " ", len(want.Transfers), " true")},
		`SELECT turn_id, failure, finished_at, currencies, confirmed_currencies, priced_currencies, traded_currencies,
			collectors, sell_offers, buy_offers, bad_offers, traders, served_traders, offered_value, wanted_value,
			cleared_value, takings, givings, transfers, least(read_seconds, clear_seconds, write_seconds) > 0
		FROM trade_turn_summary`)
	lines := s.log.records(t, slog.LevelInfo)
	line := lines[len(lines)-1]
	if line["msg"] != "published the results of a turn" || line["turn_id"] != 42.0 || line["cleared_value"] != sum.Cleared {
		t.Errorf("the last line in the log is %v", line)
	}
}

// offered returns a solver with a turn in phase 2, for which the swap has been offered. The deadline has passed.
func offered(t *testing.T) *solverProcess {
	t.Helper()
	s := newSolver(t)
	s.tick()
	swap().report(t, s.db, 1)
	s.clock.advance(11 * time.Minute)
	s.tick()
	swap().offer(t, s.db, 1)
	s.clock.advance(61 * time.Minute)
	return s
}

// expectSwap checks that the two traders swap.
func (s *solverProcess) expectSwap() {
	s.t.Helper()
	s.expectTurns("1 3")
	s.expect([]string{"123 60 6000", "789 61 2400"}, `SELECT creditor_id, debtor_id, amount FROM creditor_taking`)
	s.expect([]string{"123 61 2400", "789 60 6000"}, `SELECT creditor_id, debtor_id, amount FROM creditor_giving`)
}

// Rows that make no sense do no harm to others, and fill no logs.
func TestBadOffersAreLeftOut(t *testing.T) {
	t.Parallel()
	s := offered(t)
	for i := range 100 {
		s.exec(`INSERT INTO sell_offer VALUES (1, $1, 60, 5000, 0)`, 1000+i) // no collector
		s.exec(`INSERT INTO buy_offer VALUES (1, $1, 61, 1500)`, 1000+i)
		s.exec(`INSERT INTO buy_offer VALUES (1, $1, 62, 1500)`, 1000+i) // a currency that does not exist
		s.exec(`INSERT INTO sell_offer VALUES (1, $1, 61, 999, 802)`, 1000+i)
	}
	s.exec(`INSERT INTO sell_offer VALUES (1, 0, 60, 5000, 801)`) // no creditor
	s.exec(`INSERT INTO buy_offer VALUES (1, 0, 61, 1500)`)
	s.exec(`INSERT INTO currency_info VALUES (1, 'zero', 0, NULL, NULL, NULL, true), (1, 'odd', 62, NULL, 60, 1, true),
		(1, 'NaN', 63, 'L60', 60, 'NaN', true), (1, 'loop', 64, 'loop', 64, 1, true)`)
	s.tick()
	s.expectSwap()
	var got []string
	for _, w := range s.log.records(t, slog.LevelWarn) {
		got = append(got, fmt.Sprint(w["kind"], ", ", w["reason"], ", ", w["offers"]))
	}
	slices.Sort(got)
	want := []string{"buy, the creditor ID is 0, 1", "sell, the collector ID is 0, 100", "sell, the creditor ID is 0, 1"}
	if !slices.Equal(got, want) {
		t.Errorf("the warnings are %q, want %q", got, want)
	}
	s.expect([]string{"<nil> 6 5 3 2 203 203 102"}, `SELECT failure, currencies, confirmed_currencies, priced_currencies,
		tradable_currencies, sell_offers, buy_offers, bad_offers FROM trade_turn_summary`)
}

// A turn goes on without results if there cannot be any.
func TestTurnsWithoutResults(t *testing.T) {
	t.Parallel()
	outcomeOf := func(change func(*solver.Outcome)) func(turn.Clear) turn.Clear {
		return func(original turn.Clear) turn.Clear {
			return func(ctx context.Context, m *solver.Market, o solver.Options) (*solver.Outcome, error) {
				outcome, err := original(ctx, m, o)
				if err == nil {
					change(outcome)
				}
				return outcome, err
			}
		}
	}
	for name, c := range map[string]struct {
		prepare string
		solver  func(turn.Clear) turn.Clear
		want    string
	}{
		"inconsistent base": {
			prepare: `UPDATE currency_info SET debtor_id = 99 WHERE debtor_id = 60`,
			want:    "base locator is registered with another debtor ID",
		},
		"base claimed": {
			prepare: `UPDATE currency_info SET is_confirmed = false WHERE debtor_id = 60;
				INSERT INTO currency_info VALUES (1, 'claim', 60, 'L60', 60, 1, true)`,
			want: "debtor ID of the base currency is claimed by another tradable currency",
		},
		"error": {
			solver: func(turn.Clear) turn.Clear {
				return func(context.Context, *solver.Market, solver.Options) (*solver.Outcome, error) {
					return nil, solver.ErrInternal
				}
			},
			want: "clearing the market: internal error of the solver",
		},
		"panic": {
			solver: func(turn.Clear) turn.Clear {
				return func(context.Context, *solver.Market, solver.Options) (*solver.Outcome, error) {
					panic("index\x00 out of range \xff")
				}
			},
			want: "clearing the market: the solver has panicked: index out of range ?",
		},
		"unbalanced": {
			solver: outcomeOf(func(o *solver.Outcome) { o.Takings[0].Amount++ }),
			want:   "internal error: the outcome is not sound: collector 801 does not pass on what it takes of debtor 60",
		},
		"more than offered": {
			solver: outcomeOf(func(o *solver.Outcome) { // sound in itself
				for i := range 2 {
					o.Takings[i].Amount *= 2
					o.Givings[i].Amount *= 2
					o.Transfers[i].Amount *= 2
				}
			}),
			want: "2 takings and 2 givings have not been offered",
		},
		"never offered": {
			solver: outcomeOf(func(o *solver.Outcome) { o.Takings[1].Creditor, o.Givings[1].Creditor = 790, 790 }),
			want:   "1 takings and 1 givings have not been offered",
		},
		"another collector": {
			solver: outcomeOf(func(o *solver.Outcome) { o.Takings[0].Collector, o.Transfers[0].From = 803, 803 }),
			want:   "1 takings and 0 givings have not been offered",
		},
		"always killed": {
			prepare: `INSERT INTO trade_clearing_attempt SELECT 1, generate_series(1, 3), now()`,
			want:    "the process has been killed whenever it tried to clear the market, 3 times",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := offered(t)
			for statement := range strings.SplitSeq(c.prepare, ";") {
				s.exec(statement)
			}
			if c.solver != nil {
				s.ReplaceSolver(c.solver)
			}
			s.tick()
			s.expectTurns("1 3")
			for _, table := range slices.Concat(inputs, results) {
				s.expect(nil, `SELECT * FROM `+table)
			}
			s.expect([]string{"0 0 0 0 0"}, `SELECT takings, givings, transfers, served_traders, cleared_value FROM trade_turn_summary`)
			if got := query(t, s.db.Pool(), `SELECT failure FROM trade_turn_summary`); !strings.Contains(got[0], c.want) {
				t.Errorf("the failure is %q, want %q", got, c.want)
			}
			errs := s.log.records(t, slog.LevelError)
			last := errs[len(errs)-1]
			if last["msg"] != "a turn goes on without results" || last["turn_id"] != 1.0 ||
				!strings.Contains(strings.ReplaceAll(fmt.Sprint(last["error"]), "\x00", ""), strings.TrimSuffix(c.want, " ?")) {
				t.Errorf("the log has %v", last)
			}
			s.tick()
			s.expectTurns("1 4")
		})
	}
}

// If a process is killed while it clears a market, the next one tries again.
func TestKilledTwice(t *testing.T) {
	t.Parallel()
	s := offered(t)
	s.exec(`INSERT INTO trade_clearing_attempt VALUES (1, 1, now()), (1, 2, now())`)
	s.tick()
	s.expectSwap()
	s.expect(nil, `SELECT * FROM trade_clearing_attempt`)
}

// While the market is cleared, no transaction is open, and the attempt is known. An attempt that ends because the process
// is asked to end does not count, and neither does one that fails with the database.
func TestInterruptedAttempts(t *testing.T) {
	t.Parallel()
	s := offered(t)
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		s.ReplaceSolver(func(original turn.Clear) turn.Clear {
			return func(ctx context.Context, m *solver.Market, o solver.Options) (*solver.Outcome, error) {
				s.expect([]string{"1"}, `SELECT turn_id FROM trade_clearing_attempt`)
				s.expect([]string{"0"}, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
					AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`)
				cancel()
				_, err := original(ctx, m, o)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("the solver returned %v", err)
				}
				return nil, err
			}
		})
		if _, err := s.Tick(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		s.expect(nil, `SELECT * FROM trade_clearing_attempt`)
		s.ReplaceSolver(func(turn.Clear) turn.Clear { return clearMarket })
	}
	s.exec(`ALTER TABLE buy_offer RENAME TO gone`)
	for range 5 {
		if _, err := s.Tick(t.Context()); err == nil {
			t.Error("nothing has failed")
		}
	}
	s.expectTurns("1 2")
	s.exec(`ALTER TABLE gone RENAME TO buy_offer`)
	s.tick()
	s.expectSwap()
}

func clearMarket(ctx context.Context, m *solver.Market, o solver.Options) (*solver.Outcome, error) {
	return m.Clear(ctx, o)
}

// Offers that come after the market has been read are lost to the turn.
func TestOffersThatComeTooLate(t *testing.T) {
	t.Parallel()
	s := offered(t)
	s.ReplaceSolver(func(original turn.Clear) turn.Clear {
		return func(ctx context.Context, m *solver.Market, o solver.Options) (*solver.Outcome, error) {
			s.exec(`INSERT INTO sell_offer VALUES (1, 900, 61, 5000, 802)`)
			s.exec(`INSERT INTO buy_offer VALUES (1, 900, 60, 5000)`)
			return original(ctx, m, o)
		}
	})
	s.tick()
	s.expectSwap()
	s.expect(nil, `SELECT * FROM sell_offer`)
}

// The sort memory is raised where it is needed, and nowhere else.
func TestWorkMem(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.Settings.WorkMem = "much"
	s.tick()
	for range 2 {
		s.clock.advance(61 * time.Minute)
		if _, err := s.Tick(t.Context()); err == nil || !strings.Contains(err.Error(), "work_mem") {
			t.Errorf("the error is %v", err)
		}
		s.Settings.WorkMem = "50MB"
		s.tick()
		s.Settings.WorkMem = "much"
	}
	s.tick()
	s.expectTurns("1 4")
	s.expect([]string{"4MB"}, `SELECT current_setting('work_mem')`)
}
