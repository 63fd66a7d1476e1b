package deployment_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// A memory keeps time series for queries.
type memory struct{ series []storage.Series }

// add adds a series that is written in the notation of tests for Prometheus: its samples are an interval apart.
func (m *memory) add(t *testing.T, name, values string, interval time.Duration) {
	t.Helper()
	set, sequence, err := language.ParseSeriesDesc(name + " " + values)
	if err != nil {
		t.Fatal(err)
	}
	var samples []chunks.Sample
	for i, value := range sequence {
		if !value.Omitted {
			samples = append(samples, sample{int64(i) * interval.Milliseconds(), value.Value})
		}
	}
	m.series = append(m.series, storage.NewListSeries(set, samples))
}

// Querier implements [storage.Queryable].
func (m *memory) Querier(_, _ int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: m.find}, nil
}

func (m *memory) find(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &seriesSet{at: -1}
	for _, series := range m.series {
		if matches(series.Labels(), matchers) {
			found.series = append(found.series, series)
		}
	}
	return found
}

func matches(set labels.Labels, matchers []*labels.Matcher) bool {
	for _, matcher := range matchers {
		if !matcher.Matches(set.Get(matcher.Name)) {
			return false
		}
	}
	return true
}

// A seriesSet implements [storage.SeriesSet].
type seriesSet struct {
	series []storage.Series
	at     int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.Series                { return s.series[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// A sample implements [chunks.Sample]: a number at a time, in milliseconds.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
