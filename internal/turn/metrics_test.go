package turn_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func (s *solverProcess) expectMetrics(want string) {
	s.t.Helper()
	var names []string
	for line := range strings.Lines(want) {
		if words := strings.Fields(line); len(words) > 1 && words[1] == "TYPE" {
			names = append(names, words[2])
		}
	}
	problems, err := testutil.GatherAndLint(s.registry)
	if err != nil || len(problems) > 0 {
		s.t.Errorf("the metrics have problems: %v, %v", problems, err)
	}
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), names...); err != nil {
		s.t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSolver(t)
	s.tick()
	s.tick() // the first one to know of the turn
	s.expectMetrics(`
		# HELP trade_turn_overdue_seconds How long ago the present phase of the unfinished turn should have ended. Phase 3 should end as soon as it has begun: with the hand-over of the results to the workers.
		# TYPE trade_turn_overdue_seconds gauge
		trade_turn_overdue_seconds 0
	`)
	swap().report(t, s.db, 1)
	s.clock.advance(11 * time.Minute)
	s.expectMetrics(`
		# HELP trade_turn_overdue_seconds How long ago the present phase of the unfinished turn should have ended. Phase 3 should end as soon as it has begun: with the hand-over of the results to the workers.
		# TYPE trade_turn_overdue_seconds gauge
		trade_turn_overdue_seconds 60
	`)
	s.tick()
	swap().offer(t, s.db, 1)
	s.clock.advance(61 * time.Minute)
	s.tick()
	s.tick()
	s.clock.advance(30 * time.Second)
	s.expectMetrics(`
		# HELP trade_turn_cleared_value_total Value of all that was sold, in tokens of the base currency.
		# TYPE trade_turn_cleared_value_total counter
		trade_turn_cleared_value_total 12000
		# HELP trade_turn_offered_value_total Value of all that could have been sold, in tokens of the base currency.
		# TYPE trade_turn_offered_value_total counter
		trade_turn_offered_value_total 16500
		# HELP trade_turn_overdue_seconds How long ago the present phase of the unfinished turn should have ended. Phase 3 should end as soon as it has begun: with the hand-over of the results to the workers.
		# TYPE trade_turn_overdue_seconds gauge
		trade_turn_overdue_seconds 30
		# HELP trade_turn_phase Phase of the unfinished turn, 1 to 3; 0 if there is none.
		# TYPE trade_turn_phase gauge
		trade_turn_phase 3
		# HELP trade_turns_started_total Turns that this process has started.
		# TYPE trade_turns_started_total counter
		trade_turns_started_total 1
		# HELP trade_turns_without_results_total Turns that had to go on without results, because the market could not be cleared. The log tells why.
		# TYPE trade_turns_without_results_total counter
		trade_turns_without_results_total 0
	`)
	s.exec(`TRUNCATE ` + strings.Join(results, ", "))
	s.tick()
	s.tick()
	s.expectMetrics(`
		# HELP trade_turn_overdue_seconds How long ago the present phase of the unfinished turn should have ended. Phase 3 should end as soon as it has begun: with the hand-over of the results to the workers.
		# TYPE trade_turn_overdue_seconds gauge
		trade_turn_overdue_seconds 0
		# HELP trade_turn_phase Phase of the unfinished turn, 1 to 3; 0 if there is none.
		# TYPE trade_turn_phase gauge
		trade_turn_phase 0
	`)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	measured := 0
	for _, family := range families {
		for _, metric := range family.Metric {
			if family.GetName() == "trade_turn_step_duration_seconds" && metric.GetHistogram().GetSampleCount() > 0 {
				measured++
			}
		}
	}
	if measured != 5 {
		t.Errorf("%d steps have been measured", measured)
	}
}
