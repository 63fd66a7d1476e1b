package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/world"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// Scenes are runs of the whole service, solver and workers as processes of their own, in a world to which something
// happens at the right moment. No deadline decides when a phase of a turn ends: the scene ends it as soon as all workers
// have done their part, however long that takes on a busy machine.
func TestScenes(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "trade")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/trade").CombinedOutput()
	if err != nil {
		t.Fatalf("building the program: %v\n%s", err, output)
	}
	t.Run("one shard and four shards", func(t *testing.T) {
		t.Parallel()
		testShards(t, program)
	})
	t.Run("accidents in the middle of a turn", func(t *testing.T) {
		t.Parallel()
		testAccidents(t, program)
	})
	t.Run("what the service loses is noticed", func(t *testing.T) {
		t.Parallel()
		testLosses(t, program)
	})
}

// A scene is a show that a test directs.
type scene struct {
	*show
	t   *testing.T
	out bytes.Buffer
}

// openScene begins a scene: when it returns, workers know the market, and no turn has been started. The solver gets more
// settings.
func openScene(t *testing.T, program string, scenario world.Scenario, shards int, solverSettings ...string) *scene {
	t.Helper()
	profile := world.Calm()
	profile.AuthorityTiming.Capitalisation = 10_000 * time.Hour // whether interest is capitalised is left to chance
	s := &scene{t: t}
	s.show = &show{
		Settings: Settings{
			PostgresURL: os.Getenv("TEST_POSTGRES_URL"), BrokerURL: testenv.NewVirtualHost(t), Program: program,
			Scenario: scenario, Profile: profile, Seed: 1, Shards: shards, Turns: 1, Dir: t.TempDir(),
		},
		screen: newScreen(&s.out, false),
		// See TestScenes.
		pace: pace{phase1: 10 * time.Minute, phase2: 10 * time.Minute, commitDelay: 6 * time.Second},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", &s.out)
		}
		s.must(s.tearDown())
	})
	s.must(s.build(t.Context()))
	solver := s.fleet.specs[solverProcess]
	solver.environment = append(solver.environment, solverSettings...)
	s.must(s.admin.planCollectors(t.Context(), &s.Scenario))
	s.must(s.awaitMarket(t.Context()))
	s.awaitPolicies()
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// scenePatience limits how long anything may take. It is meant for machines with much else to do.
const scenePatience = 3 * time.Minute

// await waits until something is so.
func (s *scene) await(what string, look func(context.Context) (bool, error)) {
	s.t.Helper()
	s.must(s.poll(s.t.Context(), what, scenePatience, look))
}

// A known is what a worker has heard about an account.
type known struct{ principal, least, most int64 }

// awaitPolicies waits until the workers know what customers have, and want to have.
func (s *scene) awaitPolicies() {
	s.t.Helper()
	s.await("hearing of all policies", func(ctx context.Context) (bool, error) {
		heard := make(map[journal.Account]known)
		for _, db := range s.stores.workers {
			rows, err := db.Pool().Query(ctx,
				"SELECT debtor_id, creditor_id, principal, min_principal, max_principal FROM trading_policy")
			if err != nil {
				return false, err
			}
			var account journal.Account
			var k known
			for rows.Next() {
				if err := rows.Scan(&account.Debtor, &account.Creditor, &k.principal, &k.least, &k.most); err != nil {
					return false, err
				}
				heard[account] = k
			}
			if rows.Err() != nil {
				return false, rows.Err()
			}
		}
		for account := range s.accounts {
			p := s.world.Position(account)
			if heard[account] != (known{p.Now, p.Policy.MinPrincipal, p.Policy.MaxPrincipal}) {
				return false, fmt.Errorf("of the %v is known: %+v, and it has %d", account, heard[account], p.Now)
			}
		}
		return true, nil
	})
}

// accounts calls yield for each account of a customer.
func (s *scene) accounts(yield func(journal.Account) bool) {
	for i := range s.Scenario.Customers {
		customer := &s.Scenario.Customers[i]
		for _, a := range customer.Accounts {
			if !yield(journal.Account{Debtor: a.Debtor, Creditor: customer.ID}) {
				return
			}
		}
	}
}

// clear has the market cleared once. So many accounts get locks that are prepared, and so many requests are rejected.
// When it returns, all workers have got their share of the results, and the solver has ended.
func (s *scene) clear(turn, prepared, rejected int) {
	s.t.Helper()
	rejectedBefore := s.world.Report().Sent["RejectedTransfer"]
	s.must(s.fleet.start(solverProcess))
	s.awaitWorkers(turn, 1, 10)
	s.end(turn, 1)
	s.await("locking", func(ctx context.Context) (bool, error) {
		t, err := s.stores.turn(ctx, turn)
		s.screen.status("%d locks, %d of them are prepared", t.locks, t.prepared)
		answered := t.locks == prepared && t.prepared == prepared
		return answered && s.world.Report().Sent["RejectedTransfer"] == rejectedBefore+rejected, err
	})
	s.pour(turn)
	s.awaitWorkers(turn, 2, 10)
	s.end(turn, 2)
	s.awaitWorkers(turn, 3, 10)
	ctx, cancel := context.WithTimeout(s.t.Context(), scenePatience)
	defer cancel()
	s.must(s.awaitTurn(ctx, turn))
	s.must(s.fleet.stop(solverProcess))
}

// end has the solver end a phase of a turn now.
func (s *scene) end(turn, phase int) {
	s.t.Helper()
	_, err := s.stores.solver.Pool().Exec(s.t.Context(),
		"UPDATE turn SET phase_deadline = now() WHERE turn_id = $1 AND phase = $2", turn, phase)
	s.must(err)
}

// pour has the workers write their offers to the solver database now: they believe that the turn has begun long ago, so
// that it is time for that five minutes before the deadline.
func (s *scene) pour(turn int) {
	s.t.Helper()
	for _, db := range s.stores.workers {
		_, err := db.Pool().Exec(s.t.Context(), `
			UPDATE worker_turn
			SET started_at = started_at - interval '1 day', phase_deadline = now() + interval '4 minutes'
			WHERE turn_id = $1 AND phase = 2`, turn)
		s.must(err)
	}
}

// awaitWorkers waits until all workers have come so far in a turn.
func (s *scene) awaitWorkers(turn, phase, subphase int) {
	s.t.Helper()
	s.await(fmt.Sprintf("phase %d of turn %d", phase, turn), func(ctx context.Context) (bool, error) {
		const query = `
			SELECT count(*) FROM worker_turn
			WHERE turn_id = $1 AND phase = $2 AND subphase = $3`
		n, err := s.count(ctx, query, turn, phase, subphase)
		return n == s.Shards, err
	})
}

// count adds up what workers count.
func (s *scene) count(ctx context.Context, query string, args ...any) (sum int, err error) {
	for _, db := range s.stores.workers {
		n := 0
		if err := db.Pool().QueryRow(ctx, query, args...).Scan(&n); err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// startAfresh makes it time for another turn, as soon as the solver runs again.
func (s *scene) startAfresh() {
	s.t.Helper()
	_, err := s.stores.solver.Pool().Exec(s.t.Context(), "UPDATE turn SET started_at = started_at - interval '1 day'")
	s.must(err)
	s.fleet.mu.Lock()
	s.fleet.turnOffset = 0
	s.fleet.mu.Unlock()
}

// arrive waits until the tokens have arrived.
func (s *scene) arrive() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), scenePatience)
	defer cancel()
	s.must(s.awaitEnd(ctx))
}

// settle waits until the tokens have arrived, and the ledgers of the customers tell so.
func (s *scene) settle() {
	s.t.Helper()
	s.arrive()
	s.await("entering all in the ledgers", func(context.Context) (bool, error) {
		for account := range s.accounts {
			if p := s.world.Position(account); p.AccountID != "" && p.Now != p.Ledger {
				return false, fmt.Errorf("the %v has %d, the ledger says %d", account, p.Now, p.Ledger)
			}
		}
		return true, nil
	})
}

// judge brings the run to its quiet end, and wants that all has been as it should be.
func (s *scene) judge() world.Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), scenePatience)
	defer cancel()
	s.must(s.world.Settle(ctx, 2*time.Second))
	report := s.world.Report()
	report.Verdicts = append(report.Verdicts, s.verdict())
	if !report.OK() || !report.Final {
		s.t.Errorf("final: %v, broken: %+v", report.Final, report.Failures())
	}
	for _, v := range report.Verdicts {
		if slices.Contains([]string{"M1", "M2", "M3", "M4", "M6", "M8", "S1"}, v.Check) && v.Cases == 0 {
			s.t.Errorf("there has been no case of %s", v.Check)
		}
	}
	return report
}

// verdict tells whether what has been decided has moved.
func (s *scene) verdict() journal.Verdict {
	s.t.Helper()
	d, err := s.decisions(s.t.Context())
	s.must(err)
	return d.verdict()
}

// positions returns what customers have.
func (s *scene) positions() map[journal.Account]*world.Position {
	positions := make(map[journal.Account]*world.Position)
	for account := range s.accounts {
		position := s.world.Position(account)
		positions[account] = &position
	}
	return positions
}

// close ends everything but the databases, and returns what the journal tells.
func (s *scene) close() *chronicle {
	s.t.Helper()
	s.must(errors.Join(s.fleet.stopAll(), s.world.Stop()))
	s.fleet, s.world = nil, nil
	return readChronicle(s.t, filepath.Join(s.Dir, "journal.jsonl"))
}

// base is the currency that prices are compared in, and nobody has.
const base swpt.DebtorID = 600

// issued returns a currency whose tokens are worth as much as those of the base currency.
func issued(debtor swpt.DebtorID) world.Currency {
	return world.Currency{
		Debtor: debtor, Name: fmt.Sprintf("Issuer %d", debtor), Unit: "tokens", Divisor: 1,
		Peg: &agent.Peg{Debtor: base, Rate: 1},
	}
}

// scenarioOf returns a scenario with these currencies, and the base currency.
func scenarioOf(name string, currencies ...world.Currency) world.Scenario {
	unit := world.Currency{Debtor: base, Name: "Base", Unit: "units", Divisor: 1, Dummy: true}
	return world.Scenario{Name: name, Currencies: append([]world.Currency{unit}, currencies...)}
}

// trader returns a customer, whose number must not be 0.
func trader(number int, accounts ...world.Account) world.Customer {
	return world.Customer{
		ID: world.FirstCustomer + swpt.CreditorID(number), Name: fmt.Sprintf("Trader %d", number), Accounts: accounts,
	}
}

func accountOf(number int, debtor swpt.DebtorID) journal.Account {
	return journal.Account{Debtor: debtor, Creditor: world.FirstCustomer + swpt.CreditorID(number)}
}

// trading is the policy of somebody who wants to have so much.
func trading(least, most int64) agent.Policy {
	return agent.Policy{
		Name: "conservative", MinPrincipal: least, MaxPrincipal: most, Peg: &agent.Peg{Debtor: base, Rate: 1},
	}
}

// sells returns an account with an amount for sale. More is there, because more has to be locked than is sold, and
// −50 % a year may have been at work for ten days.
func sells(debtor swpt.DebtorID, amount int64) world.Account {
	reserve := amount/12 + 1000
	return world.Account{Debtor: debtor, Balance: amount + reserve, Policy: trading(0, reserve)}
}

// buys returns an account on which so much is wanted.
func buys(debtor swpt.DebtorID, amount int64) world.Account {
	return world.Account{Debtor: debtor, Policy: trading(amount, 1<<63-1)}
}

// collectors returns the collector accounts of a currency.
func (s *scene) collectors(debtor swpt.DebtorID) []journal.Account {
	s.t.Helper()
	rows, err := s.stores.solver.Pool().Query(s.t.Context(),
		"SELECT collector_id FROM collector_account WHERE debtor_id = $1 AND status = 2 ORDER BY collector_id", debtor)
	s.must(err)
	defer rows.Close()
	found := make(map[journal.Account]bool)
	for rows.Next() {
		account := journal.Account{Debtor: debtor}
		s.must(rows.Scan(&account.Creditor))
		found[account] = true
	}
	s.must(rows.Err())
	return slices.SortedFunc(maps.Keys(found), func(a, b journal.Account) int { return int(a.Creditor - b.Creditor) })
}
