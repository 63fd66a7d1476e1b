package book

import (
	"context"
	"fmt"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// A placed offer remembers the line that it was read from.
type placed[Offer any] struct {
	offer Offer
	line  int
}

// A stream carries the offers of one file from the goroutine that parses them to the one that feeds the market, in
// chunks that go to and fro.
type stream[Offer any] struct {
	table  *table
	row    func(*table) Offer
	add    func(Offer) (solver.Verdict, error)
	parsed chan []placed[Offer]
	used   chan []placed[Offer]

	tally   Tally
	skipped [len(Tally{})]Warning
}

func openStream[Offer any](
	l *loader, file int, row func(*table) Offer, add func(Offer) (solver.Verdict, error),
) (*stream[Offer], error) {
	t, err := l.book.open(file, &l.read)
	if err != nil {
		return nil, err
	}
	const (
		chunks    = 4
		chunkRows = 2048
	)
	s := &stream[Offer]{
		table: t, row: row, add: add,
		parsed: make(chan []placed[Offer], chunks),
		used:   make(chan []placed[Offer], chunks),
	}
	for range chunks {
		s.used <- make([]placed[Offer], 0, chunkRows)
	}
	return s, nil
}

// parse sends all sound rows of the file.
func (s *stream[Offer]) parse(ctx context.Context) error {
	defer close(s.parsed)
	for {
		var chunk []placed[Offer]
		select {
		case chunk = <-s.used:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for len(chunk) < cap(chunk) && s.table.next() {
			offer := s.row(s.table)
			if s.table.sound() {
				chunk = append(chunk, placed[Offer]{offer, s.table.line()})
			}
		}
		if len(chunk) == 0 {
			return s.table.err
		}
		s.parsed <- chunk // has room for all chunks there are
	}
}

// take adds a chunk of offers to the market.
func (s *stream[Offer]) take(chunk []placed[Offer]) error {
	for _, row := range chunk {
		verdict, err := s.add(row.offer)
		if err != nil {
			return fmt.Errorf("adding the offer of %s, line %d: %w", s.table.name, row.line, err)
		}
		s.tally[verdict]++
		if verdict >= solver.InvalidAmount {
			s.skipped[verdict].add(row.line)
		}
	}
	if chunk != nil {
		s.used <- chunk[:0]
	}
	return nil
}

func (s *stream[Offer]) warnings() []Warning {
	reasons := map[solver.Verdict]string{
		solver.InvalidAmount: "skipped, because the amount is not positive",
		solver.NoCreditor:    "skipped, because the creditor ID is 0",
		solver.NoCollector:   "skipped, because the collector ID is 0",
	}
	var warnings []Warning
	for verdict := solver.InvalidAmount; verdict <= solver.NoCollector; verdict++ {
		w := s.skipped[verdict]
		w.File, w.Reason = s.table.name, reasons[verdict]
		warnings = append(warnings, w)
	}
	return warnings
}
