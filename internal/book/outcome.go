package book

import (
	"bufio"
	"context"
	"iter"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// The files of an outcome.
const (
	takingsFile   = "takings.csv"
	givingsFile   = "givings.csv"
	transfersFile = "collector_transfers.csv"
	ringsFile     = "circular_trades.csv"
)

// RingCount sums up the rings of an outcome.
type RingCount struct {
	Rings int
	Steps int // of all rings together
}

// WriteOutcome stages the files of an outcome in a directory, which it creates if necessary. The rings are written and
// counted only if decompose is true; otherwise the rings of an earlier outcome will be removed.
func WriteOutcome(
	ctx context.Context, s *Staging, dir string, o *solver.Outcome, decompose bool,
) (RingCount, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return RingCount{}, err
	}
	var group errgroup.Group
	write := func(name string, content func(*bufio.Writer) error) {
		group.Go(func() error { return s.Write(ctx, filepath.Join(dir, name), content) })
	}
	write(takingsFile, func(w *bufio.Writer) error { return writeChanges(w, o.Takings) })
	write(givingsFile, func(w *bufio.Writer) error { return writeChanges(w, o.Givings) })
	write(transfersFile, func(w *bufio.Writer) error { return writeTransfers(w, o.Transfers) })
	var count RingCount
	if decompose {
		write(ringsFile, func(w *bufio.Writer) (err error) {
			count, err = writeRings(w, o.Rings())
			return err
		})
	} else {
		s.Remove(filepath.Join(dir, ringsFile))
	}
	if err := group.Wait(); err != nil {
		return RingCount{}, err
	}
	return count, nil
}

func writeChanges(w *bufio.Writer, changes []solver.Change) error {
	if _, err := w.WriteString("creditor_id,debtor_id,amount,collector_id\n"); err != nil {
		return err
	}
	for _, c := range changes {
		if err := writeRow(w, int64(c.Creditor), int64(c.Debtor), c.Amount, int64(c.Collector)); err != nil {
			return err
		}
	}
	return nil
}

func writeTransfers(w *bufio.Writer, transfers []solver.Transfer) error {
	if _, err := w.WriteString("debtor_id,from_collector_id,to_collector_id,amount\n"); err != nil {
		return err
	}
	for _, t := range transfers {
		if err := writeRow(w, int64(t.Debtor), int64(t.From), int64(t.To), t.Amount); err != nil {
			return err
		}
	}
	return nil
}

func writeRings(w *bufio.Writer, rings iter.Seq[solver.Ring]) (RingCount, error) {
	var count RingCount
	if _, err := w.WriteString("ring,value,step,creditor_id,gives_debtor_id,amount\n"); err != nil {
		return count, err
	}
	for ring := range rings {
		count.Rings++
		count.Steps += len(ring.Steps)
		for i, step := range ring.Steps {
			row := strconv.AppendInt(w.AvailableBuffer(), int64(count.Rings), 10)
			row = append(row, ',')
			row = appendValue(row, ring.Value)
			row = append(row, ',')
			row = appendRow(row, int64(i+1), int64(step.Creditor), int64(step.Debtor), step.Amount)
			if _, err := w.Write(row); err != nil {
				return count, err
			}
		}
	}
	return count, nil
}

// writeRow writes a line of whole numbers.
func writeRow(w *bufio.Writer, cells ...int64) error {
	_, err := w.Write(appendRow(w.AvailableBuffer(), cells...))
	return err
}

func appendRow(row []byte, cells ...int64) []byte {
	for i, cell := range cells {
		if i > 0 {
			row = append(row, ',')
		}
		row = strconv.AppendInt(row, cell, 10)
	}
	return append(row, '\n')
}

// appendValue writes a value with as many digits as mean something: it comes from a flow that has been computed in units
// of a binary fraction.
func appendValue(row []byte, value float64) []byte {
	const digits = 12
	return strconv.AppendFloat(row, value, 'g', digits, 64)
}
