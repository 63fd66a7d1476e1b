package currency

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Collector makes metrics of what is known about currencies, by asking the database whenever it is asked itself.
type Collector struct {
	rules *Rules
	db    *workerdb.DB
}

// NewCollector returns a collector, which the caller has to register.
func NewCollector(rules *Rules, db *workerdb.DB) *Collector { return &Collector{rules, db} }

const (
	// collectTimeout bounds the time that a collection takes.
	collectTimeout = 5 * time.Second
	// maxCounted is how far fetches are counted: of more than that, the exact number does not matter.
	maxCounted = 100000
)

var (
	fetchesDesc = prometheus.NewDesc("trade_currency_fetches",
		"Fetches in the queue, counted up to a limit: those that are due, and those that wait, for another attempt or "+
			"for somebody who is at work on them.", []string{"state"}, nil)
	fetchAgeDesc = prometheus.NewDesc("trade_currency_oldest_due_fetch_age_seconds",
		"For how long the first of the fetches has been due; 0 if none is.", nil, nil)
	documentsDesc = prometheus.NewDesc("trade_currency_documents",
		"Stored documents by age: fresh ones; older ones that have promised not to change; and expired ones, which "+
			"are to be fetched again if a debtor's claim leads to them.", []string{"state"}, nil)
	claimsDesc = prometheus.NewDesc("trade_currency_claims",
		"Debtors with whom collectors have accounts: those who have confirmed where their document is, and others.",
		[]string{"state"}, nil)
)

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{fetchesDesc, fetchAgeDesc, documentsDesc, claimsDesc} {
		descriptions <- description
	}
}

// Collect implements [prometheus.Collector]. What the database does not answer has no value.
func (c *Collector) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	if err := c.collect(ctx, values, time.Now().Truncate(time.Microsecond)); err != nil {
		c.rules.Logger.WarnContext(ctx, "there are no metrics of currencies", slog.Any("error", err))
	}
}

func (c *Collector) collect(ctx context.Context, values chan<- prometheus.Metric, now time.Time) error {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	fetches, err := c.db.Queries().CountFetches(ctx, workerdb.CountFetchesParams{Now: now, AtMost: maxCounted})
	if err != nil {
		return err
	}
	gauge(fetchesDesc, float64(fetches.Due), "due")
	gauge(fetchesDesc, float64(fetches.Waiting), "waiting")
	gauge(fetchAgeDesc, max(0, now.Sub(fetches.DueSince).Seconds()))
	documents, err := c.db.Queries().CountDocuments(ctx, workerdb.CountDocumentsParams{
		FreshSince: now.Add(-c.rules.DocumentExpiry), FrozenSince: now.Add(-c.rules.frozenExpiry()), Now: now,
	})
	if err != nil {
		return err
	}
	gauge(documentsDesc, float64(documents.Fresh), "fresh")
	gauge(documentsDesc, float64(documents.Frozen), "frozen")
	gauge(documentsDesc, float64(documents.Stored-documents.Fresh-documents.Frozen), "expired")
	claims, err := c.db.Queries().CountClaims(ctx)
	if err != nil {
		return err
	}
	gauge(claimsDesc, float64(claims.Confirmed), "confirmed")
	gauge(claimsDesc, float64(claims.Stored-claims.Confirmed), "unconfirmed")
	return nil
}
