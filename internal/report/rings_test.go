package report

import (
	"iter"
	"reflect"
	"slices"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func ringOf(value float64, length int) solver.Ring {
	r := solver.Ring{Value: value}
	for i := range length {
		r.Steps = append(r.Steps, solver.RingStep{Creditor: swpt.CreditorID(i - 1), Debtor: -7, Amount: 1<<63 - 1})
	}
	return r
}

func TestSummaryKeepsTheLargestRings(t *testing.T) {
	t.Parallel()
	var rings []solver.Ring
	for i := range 100 {
		rings = append(rings, ringOf(float64(i*37%100), 2+i%3))
	}
	s := summariseRings(slices.Values(rings))
	if s.Count != 100 || s.Longest != 4 || len(s.Top) != topRings {
		t.Fatalf("%d rings up to %d traders, %d of them kept", s.Count, s.Longest, len(s.Top))
	}
	for i, r := range s.Top {
		if want := number(99 - i); r.Value != want {
			t.Errorf("ring %d has the value %v, want %v", i, r.Value, want)
		}
	}
}

func TestSummaryKeepsTheFirstOfEqualRings(t *testing.T) {
	t.Parallel()
	var rings []solver.Ring
	for i := range topRings + 5 {
		rings = append(rings, ringOf(10, 2+i))
	}
	for i, r := range summariseRings(slices.Values(rings)).Top {
		if r.Length != 2+i {
			t.Errorf("ring %d has %d traders, want %d", i, r.Length, 2+i)
		}
	}
}

// The solver reuses the steps of a ring for the next one.
func TestSummaryCopiesSteps(t *testing.T) {
	t.Parallel()
	var reusing iter.Seq[solver.Ring] = func(yield func(solver.Ring) bool) {
		steps := make([]solver.RingStep, 2)
		for i := range 3 {
			steps[0] = solver.RingStep{Creditor: swpt.CreditorID(i), Debtor: 60, Amount: 1000}
			steps[1] = solver.RingStep{Creditor: -1, Debtor: 1<<63 - 1, Amount: 1<<63 - 1}
			if !yield(solver.Ring{Value: float64(3 - i), Steps: steps}) {
				return
			}
		}
	}
	s := summariseRings(reusing)
	want := []ringStep{{"1", "60", "1000"}, {"-1", "9223372036854775807", "9223372036854775807"}}
	if got := s.Top[1].Steps; !slices.Equal(got, want) {
		t.Errorf("the second ring has the steps %v, want %v", got, want)
	}
}

func TestSummaryCutsLongRings(t *testing.T) {
	t.Parallel()
	r := summariseRings(valuesOf(ringOf(5, maxSteps+100))).Top[0]
	if r.Length != maxSteps+100 || len(r.Steps) != maxSteps {
		t.Errorf("a ring of %d traders has %d steps", r.Length, len(r.Steps))
	}
}

func TestLengthBins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rings []solver.Ring
		want  []lengthBin
	}{
		"no rings": {nil, []lengthBin{}},
		"short ones have a bin each": {
			[]solver.Ring{ringOf(10, 2), ringOf(5, 4), ringOf(1, 2)},
			[]lengthBin{{2, 2, 2, 22}, {3, 3, 0, 0}, {4, 4, 1, 20}},
		},
		"long ones share bins": {
			[]solver.Ring{ringOf(1, 12), ringOf(1, 13), ringOf(1, 16), ringOf(1, 24), ringOf(1, 40)},
			[]lengthBin{{12, 12, 1, 12}, {13, 16, 2, 29}, {17, 24, 1, 24}, {25, 32, 0, 0}, {33, 48, 1, 40}},
		},
		"the first bin begins at the shortest": {
			[]solver.Ring{ringOf(2, 20)}, []lengthBin{{20, 24, 1, 40}},
		},
	} {
		if got := summariseRings(slices.Values(c.rings)).Lengths; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: bins are %v, want %v", name, got, c.want)
		}
	}
}

func TestLengthBinsAreFew(t *testing.T) {
	t.Parallel()
	if n := len(summariseRings(valuesOf(ringOf(1, 2), ringOf(1, 1_000_000))).Lengths); n > 50 {
		t.Errorf("%d bins for lengths up to a million", n)
	}
}
