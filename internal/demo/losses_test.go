package demo

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world"
)

// The currencies of those who trade with each other. The results for one of them are lost.
const (
	lost  swpt.DebtorID = 8021
	found swpt.DebtorID = 9021
)

// testLosses makes the service lose what no peer could know of: all results of a turn that are about one currency, at the
// moment when they are published, and then a message. That must not go unnoticed.
func testLosses(t *testing.T, program string) {
	t.Helper()
	s := openScene(t, program, lossesScenario(), 2)
	s.loseResults()
	s.clear(1, 4, 0)
	s.settle()
	s.must(s.world.Settle(t.Context(), time.Second))
	s.wantLostResults()

	for range 2 { // workers go on if they are to be kept
		if leftovers, err := s.leftovers(t.Context()); len(leftovers) > 0 || err != nil {
			t.Errorf("before a message fails, there are %q, %v", leftovers, err)
		}
		s.must(s.fleet.startWorkers())
	}
	s.makeMessageFail()
	leftovers, err := s.leftovers(t.Context())
	if want := []string{"1 message has not been handled"}; !slices.Equal(leftovers, want) || err != nil {
		t.Errorf("left over are %q, %v, want %q", leftovers, err, want)
	}
}

func lossesScenario() world.Scenario {
	s := scenarioOf("losses", issued(lost), issued(found))
	s.Customers = []world.Customer{
		trader(1, sells(lost, 50_000), buys(found, 50_000)),
		trader(2, sells(found, 50_000), buys(lost, 50_000)),
	}
	return s
}

// loseResults has the solver database lose the results that are about a currency.
func (s *scene) loseResults() {
	s.t.Helper()
	tables := slices.Concat(results, []string{"collector_collecting", "collector_dispatching", "collector_receiving"})
	for _, table := range tables {
		_, err := s.stores.solver.Pool().Exec(s.t.Context(), strings.NewReplacer("TABLE", table, "LOST", "8021").Replace(`
			DO $do$
			BEGIN
				CREATE FUNCTION lose_TABLE() RETURNS TRIGGER LANGUAGE plpgsql AS
					'BEGIN DELETE FROM TABLE WHERE debtor_id = LOST; RETURN NULL; END';
				CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON TABLE INITIALLY DEFERRED
				FOR EACH ROW EXECUTE FUNCTION lose_TABLE();
			END
			$do$`))
		s.must(err)
	}
}

// wantLostResults wants that nothing is wrong by what peers can see, and all the same by what has been decided.
func (s *scene) wantLostResults() {
	s.t.Helper()
	report := s.world.Report()
	if !report.OK() || !report.Final || len(report.Turnovers) != 1 || report.Turnovers[0].Debtor != found {
		s.t.Errorf("broken: %+v, turnovers: %+v", report.Failures(), report.Turnovers)
	}
	verdict := s.verdict()
	// Besides the four movements, the number of decisions has been compared.
	if verdict.Cases != 5 || verdict.Failures != 2 {
		s.t.Errorf("the verdict is %+v", verdict)
	}
	for _, example := range verdict.Examples {
		if !strings.Contains(example, "currency 8021: ") || !strings.HasSuffix(example, ": 50000 have been decided, 0 have moved") {
			s.t.Errorf("it says %q", example)
		}
	}
}

// makeMessageFail has a worker get a message that it will never be able to handle.
func (s *scene) makeMessageFail() {
	s.t.Helper()
	account := accountOf(1, found)
	for _, db := range s.stores.workers {
		_, err := db.Pool().Exec(s.t.Context(), `
			CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RAISE ''out of order''; END';
			CREATE TRIGGER fail BEFORE UPDATE ON trading_policy FOR EACH ROW
			WHEN (NEW.policy_name = 'fails') EXECUTE FUNCTION fail();`)
		s.must(err)
	}
	policy := trading(0, 1)
	policy.Name = "fails"
	s.world.SetPolicy(account, policy)
	s.await("a failure", func(context.Context) (bool, error) { return s.logsSay("out of order"), nil })
}

// logsSay tells whether a text is in the log of a worker.
func (s *scene) logsSay(text string) bool {
	s.t.Helper()
	for i := range s.Shards {
		log, err := os.ReadFile(s.fleet.logFile(workerProcess(i)))
		s.must(err)
		if strings.Contains(string(log), text) {
			return true
		}
	}
	return false
}
