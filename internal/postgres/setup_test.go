package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// quickly repeats transactions without wasting the time of tests.
var quickly = postgres.Retry{Limit: 4, Pause: time.Millisecond, MaxPause: 4 * time.Millisecond}

type database struct {
	*postgres.DB
	metrics *prometheus.Registry
}

// newDatabase returns an empty database of the test's own.
func newDatabase(t *testing.T) *database {
	t.Helper()
	return open(t, testenv.NewDatabase(t), postgres.Options{Retry: quickly})
}

func open(t *testing.T, text string, options postgres.Options) *database {
	t.Helper()
	metrics := prometheus.NewPedanticRegistry()
	options.Registerer = metrics
	db, err := postgres.Open(parse(t, text), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return &database{db, metrics}
}

func parse(t *testing.T, text string) postgres.URL {
	t.Helper()
	url, err := postgres.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func (db *database) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := db.Pool().Exec(context.WithoutCancel(t.Context()), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// value returns the only value that a query returns.
func value[T any](t *testing.T, db *database, sql string, args ...any) T {
	t.Helper()
	var result T
	if err := db.Pool().QueryRow(t.Context(), sql, args...).Scan(&result); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return result
}

// counter returns the sum of all values of a counter, or of all counts of a histogram, with certain labels.
func (db *database) counter(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := db.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			matching := 0
			for _, label := range metric.GetLabel() {
				if labels[label.GetName()] == label.GetValue() {
					matching++
				}
			}
			if matching == len(labels) {
				sum += metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// execute is a transaction of one statement.
func execute(sql string, args ...any) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	}
}
