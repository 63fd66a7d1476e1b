package turn_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// The connection to the database breaks at any place of any step, which is what the database sees of a process that is
// killed. Then the step has been done or it has not, and whoever comes next brings the turn to the same end.
func TestCrashes(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name    string
		prepare func(s *solverProcess) // the step is due afterwards
	}{
		{"start", func(*solverProcess) {}},
		{"agree", func(s *solverProcess) {
			swap().report(s.t, s.db, 1)
			s.clock.advance(11 * time.Minute)
		}},
		{"trade", func(s *solverProcess) {
			swap().offer(s.t, s.db, 1)
			s.clock.advance(61 * time.Minute)
		}},
		{"finish", func(s *solverProcess) { s.exec(`TRUNCATE ` + strings.Join(results, ", ")) }},
	}
	for i, step := range steps {
		for direction, name := range map[testenv.Direction]string{
			testenv.ToServer: "request", testenv.ToClient: "answer",
		} {
			t.Run(step.name+" "+name, func(t *testing.T) {
				t.Parallel()
				url := solverdbtest.URL(t)
				s := newSolverOn(t, url, &clock{now: tuesday})
				for _, before := range steps[:i] {
					before.prepare(s)
					s.tick()
				}
				step.prepare(s)
				before := contents(t, s.db)
				want := undisturbed(t, s.clock.Now(), i, func(other *solverProcess, n int) {
					steps[n].prepare(other)
					other.tick()
				})
				proxy := testenv.NewProxy(t, url)
				crashes := 0
				for cut := int64(0); sameContents(contents(t, s.db), before); cut += 151 {
					proxy.CutAfter(direction, cut)
					if _, err := newSolverOn(t, proxy.URL(), s.clock).Tick(t.Context()); err != nil {
						crashes++
					}
				}
				if crashes < 5 {
					t.Errorf("there were %d crashes only", crashes)
				}
				if got := contents(t, s.db); !sameContents(got, want) {
					t.Errorf("the tables hold\n%v\nwant\n%v", got, want)
				}
				s.expect(nil, `SELECT * FROM trade_clearing_attempt`)
				s.tick()
				s.expect([]string{strconv.Itoa(i + 1)}, `SELECT phase FROM turn`)
			})
		}
	}
}

// undisturbed returns what there is after the first steps, if nothing has gone wrong.
func undisturbed(t *testing.T, end time.Time, steps int, do func(s *solverProcess, step int)) map[string][]string {
	t.Helper()
	s := newSolver(t)
	for step := range steps + 1 {
		do(s, step)
	}
	if !s.clock.Now().Equal(end) {
		t.Fatalf("it is %v, not %v", s.clock.Now(), end)
	}
	return contents(t, s.db)
}
