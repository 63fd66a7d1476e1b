package lock

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	// maxCounted is how many locks a [Collector] looks at, which takes tenths of a second: if there are more, it counts
	// those only.
	maxCounted = 1_000_000

	// collectTimeout bounds the time that a collection takes.
	collectTimeout = 5 * time.Second
)

var (
	locksDesc = prometheus.NewDesc("trade_lock_locks",
		"Account locks by state, of the first million.", []string{"state"}, nil)
	oldestDesc = prometheus.NewDesc("trade_lock_oldest_age_seconds",
		"Age of the oldest account lock in a state, of the first million; zero if there is none.", []string{"state"}, nil)
)

// A Collector makes metrics of the locks in the database, by asking it whenever it is asked itself.
type Collector struct {
	db     *workerdb.DB
	now    func() time.Time
	logger *slog.Logger
}

// NewCollector returns a collector of metrics, which the caller has to register.
func NewCollector(db *workerdb.DB, now func() time.Time, logger *slog.Logger) *Collector {
	return &Collector{db, now, logger}
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- locksDesc
	descriptions <- oldestDesc
}

// Collect implements [prometheus.Collector]. If the database does not answer, there is no value.
func (c *Collector) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	rows, err := c.db.Queries().CountAccountLocks(ctx, maxCounted)
	if err != nil {
		c.logger.WarnContext(ctx, "there are no metrics of account locks", slog.Any("error", err))
		return
	}
	counts, ages := map[string]int64{}, map[string]time.Duration{}
	for _, row := range rows {
		counts[row.State], ages[row.State] = row.Locks, max(0, c.now().Sub(row.OldestAt))
	}
	for _, s := range []string{"initiated", "prepared", "settled", "released"} {
		values <- prometheus.MustNewConstMetric(locksDesc, prometheus.GaugeValue, float64(counts[s]), s)
		values <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, ages[s].Seconds(), s)
	}
}
