package report

import (
	"iter"
	"maps"
	"slices"

	"github.com/circular-trade/circular-trade/internal/solver"
)

const (
	// topRings is how many of the largest rings are drawn.
	topRings = 12

	// maxSteps is how many steps of a ring are listed.
	maxSteps = 500
)

// A ringSummary is what remains of all the rings of an outcome.
type ringSummary struct {
	Count   int
	Longest int
	Lengths []lengthBin
	Top     []ring // by value, the largest first
}

// A lengthBin counts the rings of From to To steps. Value is what their traders give together: values of all bins add up
// to the cleared value.
type lengthBin struct {
	From  int    `json:"from"`
	To    int    `json:"to"`
	Count int    `json:"count"`
	Value number `json:"value"`
}

// A ring is one of the largest. Steps has at most maxSteps of its Length steps.
type ring struct {
	Value  number     `json:"value"`
	Length int        `json:"length"`
	Steps  []ringStep `json:"steps"`
}

// A ringStep is a trader, the debtor of what it gives to the next one, and how much it gives.
type ringStep [3]string

func summariseRings(rings iter.Seq[solver.Ring]) ringSummary {
	s := ringSummary{Top: []ring{}}
	byLength := make(map[int]*lengthBin)
	for r := range rings {
		n := len(r.Steps)
		s.Count++
		s.Longest = max(s.Longest, n)
		bin, found := byLength[n]
		if !found {
			bin = &lengthBin{From: n, To: n}
			byLength[n] = bin
		}
		bin.Count++
		bin.Value += number(r.Value * float64(n))
		s.offer(r)
	}
	s.Lengths = binLengths(byLength)
	return s
}

// offer keeps a ring that is one of the largest so far. Of equally large ones the first to come stays.
func (s *ringSummary) offer(r solver.Ring) {
	if len(s.Top) == topRings && number(r.Value) <= s.Top[topRings-1].Value {
		return
	}
	at := len(s.Top)
	for at > 0 && s.Top[at-1].Value < number(r.Value) {
		at--
	}
	if len(s.Top) == topRings {
		s.Top = s.Top[:topRings-1]
	}
	s.Top = slices.Insert(s.Top, at, newRing(r))
}

func newRing(r solver.Ring) ring {
	shown := min(len(r.Steps), maxSteps)
	steps := make([]ringStep, 0, shown)
	for _, s := range r.Steps[:shown] {
		steps = append(steps, ringStep{
			formatID(s.Creditor),
			formatID(s.Debtor),
			formatID(s.Amount),
		})
	}
	return ring{Value: number(r.Value), Length: len(r.Steps), Steps: steps}
}

// binLengths joins great lengths: up to 12 each length has its bin, from there on each bin is wider than the one
// before. There is a bin for every length from the shortest to the longest, though some may be empty.
func binLengths(byLength map[int]*lengthBin) []lengthBin {
	bins := []lengthBin{}
	if len(byLength) == 0 {
		return bins
	}
	lengths := slices.Sorted(maps.Keys(byLength))
	for from, longest := lengths[0], lengths[len(lengths)-1]; from <= longest; from = bins[len(bins)-1].To + 1 {
		bins = append(bins, lengthBin{From: from, To: binEnd(from)})
	}
	for _, n := range lengths {
		i, _ := slices.BinarySearchFunc(bins, n, func(b lengthBin, n int) int { return b.To - n })
		bins[i].Count += byLength[n].Count
		bins[i].Value += byLength[n].Value
	}
	return bins
}

// binEnd returns the last length of the bin that begins with the given one: 1, 2, …, 12, 16, 24, 32, 48, 64, 96, ….
func binEnd(from int) int {
	if from <= 12 {
		return from
	}
	for end := 16; ; end *= 2 {
		if from <= end {
			return end
		}
		if from <= end+end/2 {
			return end + end/2
		}
	}
}
