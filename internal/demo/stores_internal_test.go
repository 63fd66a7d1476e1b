package demo

import (
	"testing"

	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
)

// After a crash of PostgreSQL, the next turn has an ID that is up to 32 higher.
func TestTurnsAreFoundByTheirNumber(t *testing.T) {
	t.Parallel()
	s := &stores{solver: solverdbtest.New(t)}
	for n, want := range []int{5, 38, 0} {
		if want != 0 {
			_, err := s.solver.Pool().Exec(t.Context(), `
				INSERT INTO turn (turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base,
					min_trade_amount, phase, phase_deadline)
				VALUES ($1, now(), '', 1, 1, 1, 1, now())`, want)
			if err != nil {
				t.Fatal(err)
			}
		}
		if id, err := s.turnID(t.Context(), n+1); id != want || err != nil {
			t.Errorf("turn number %d has the ID %d, %v, want %d", n+1, id, err, want)
		}
		if state, err := s.turn(t.Context(), n+1); (state.phase == 1) != (want != 0) || err != nil {
			t.Errorf("turn number %d: %+v, %v", n+1, state, err)
		}
	}
}
