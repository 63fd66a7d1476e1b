package book

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func writeOutcome(t *testing.T, dir string, o *solver.Outcome, decompose bool) RingCount {
	t.Helper()
	var s Staging
	rings, err := WriteOutcome(t.Context(), &s, dir, o, decompose)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	return rings
}

func TestWriteOutcome(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "out")
	writeOutcome(t, dir, &solver.Outcome{
		Takings: []solver.Change{
			{Creditor: 1, Debtor: 60, Amount: 6000, Collector: 801},
			{Creditor: math.MinInt64, Debtor: -61, Amount: math.MaxInt64, Collector: -802},
		},
		Givings:   []solver.Change{{Creditor: 1, Debtor: 61, Amount: 2400, Collector: 702}},
		Transfers: []solver.Transfer{{Debtor: 60, From: 801, To: 701, Amount: 6000}},
	}, false)
	mustHold(t, dir, map[string]string{
		"takings.csv": "creditor_id,debtor_id,amount,collector_id\n1,60,6000,801\n" +
			"-9223372036854775808,-61,9223372036854775807,-802\n",
		"givings.csv":             "creditor_id,debtor_id,amount,collector_id\n1,61,2400,702\n",
		"collector_transfers.csv": "debtor_id,from_collector_id,to_collector_id,amount\n60,801,701,6000\n",
	})
}

// The rings of an earlier outcome would not fit to a new one.
func TestWriteOutcomeRemovesOldRings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"circular_trades.csv", "takings.csv", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeOutcome(t, dir, &solver.Outcome{}, false)
	mustHold(t, dir, map[string]string{
		"takings.csv":             "creditor_id,debtor_id,amount,collector_id\n",
		"givings.csv":             "creditor_id,debtor_id,amount,collector_id\n",
		"collector_transfers.csv": "debtor_id,from_collector_id,to_collector_id,amount\n",
		"notes.txt":               "old",
	})
}

func TestWriteRings(t *testing.T) {
	t.Parallel()
	step := func(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64) solver.RingStep {
		return solver.RingStep{Creditor: creditor, Debtor: debtor, Amount: amount}
	}
	rings := []solver.Ring{
		{Value: 7700.25, Steps: []solver.RingStep{step(1, 60, 7700), step(2, 61, 11000), step(3, 62, 5923)}},
		{Value: 2.5e21, Steps: []solver.RingStep{step(-1, 60, math.MaxInt64), step(2, -61, 1)}},
		{Value: 1e-7, Steps: []solver.RingStep{step(4, 60, 1), step(5, 61, 1)}},
		{Value: 123456789, Steps: []solver.RingStep{step(4, 60, 1), step(5, 61, 1)}},
	}
	var text bytes.Buffer
	w := bufio.NewWriter(&text)
	count, err := writeRings(w, slices.Values(rings))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"ring,value,step,creditor_id,gives_debtor_id,amount",
		"1,7700.25,1,1,60,7700",
		"1,7700.25,2,2,61,11000",
		"1,7700.25,3,3,62,5923",
		"2,2.5e+21,1,-1,60,9223372036854775807",
		"2,2.5e+21,2,2,-61,1",
		"3,1e-07,1,4,60,1",
		"3,1e-07,2,5,61,1",
		"4,123456789,1,4,60,1",
		"4,123456789,2,5,61,1",
		"",
	}, "\n")
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
	if want := (RingCount{Rings: 4, Steps: 9}); count != want {
		t.Errorf("got %v, want %v", count, want)
	}
}

// What is written can be read again: takings have the columns of sells.csv.
func TestOutcomeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		changes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) solver.Change {
			return solver.Change{
				Creditor:  swpt.CreditorID(rapid.Int64().Draw(t, "creditor")),
				Debtor:    swpt.DebtorID(rapid.Int64().Draw(t, "debtor")),
				Amount:    rapid.Int64Min(1).Draw(t, "amount"),
				Collector: swpt.CreditorID(rapid.Int64().Draw(t, "collector")),
			}
		})).Draw(t, "changes")
		var text bytes.Buffer
		w := bufio.NewWriterSize(&text, 64)
		if err := writeChanges(w, changes); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		read, err := readTable(text.String(), sells)
		if err != nil {
			t.Fatal(err)
		}
		var got []solver.Change
		for read.next() {
			got = append(got, solver.Change(parseSell(read)))
		}
		if read.err != nil || read.problems.total > 0 {
			t.Fatal(read.err, read.problems.err())
		}
		if !slices.Equal(got, changes) {
			t.Fatalf("got %v, want %v", got, changes)
		}
	})
}
