package attempt

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Metrics count what becomes of attempts. They are shared by all rules and triggers of a process.
type Metrics struct {
	made, failed, ended *prometheus.CounterVec
	dismissed           prometheus.Counter
}

// NewMetrics makes the metrics and registers them. It panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "trade", Subsystem: "attempts", Name: name, Help: help}
	}
	factory := promauto.With(reg)
	m := &Metrics{
		made: factory.NewCounterVec(opts("made_total",
			"Transfers that accounting authorities have been asked to prepare, by what they are for: sending to another "+
				"collector, or dispatching to a buyer."), []string{"kind"}),
		failed: factory.NewCounterVec(opts("failed_total",
			"Transfers that have failed, by the reason. Except for the reason other, they are tried again."),
			[]string{"kind", "reason"}),
		ended: factory.NewCounterVec(opts("ended_total",
			"Attempts that are over: the amount has been paid; it was worthless, because interest and the cut have left "+
				"nothing of it; or the failure is fatal, and somebody has to look after it."), []string{"kind", "outcome"}),
		dismissed: factory.NewCounter(opts("dismissed_transfers_total",
			"Prepared transfers that nobody was waiting for.")),
	}
	for _, kind := range []smp.NoteKind{smp.Sending, smp.Dispatching} {
		m.show(kind.String())
	}
	return m
}

// show shows the metrics of transfers of a kind from now on.
func (m *Metrics) show(kind string) {
	m.made.WithLabelValues(kind)
	for _, reason := range reasonByStatusCode {
		m.failed.WithLabelValues(kind, reason)
	}
	m.failed.WithLabelValues(kind, reasonNoAnswer)
	m.failed.WithLabelValues(kind, reasonOther)
	for _, outcome := range []string{outcomePaid, outcomeWorthless, outcomeFatal} {
		m.ended.WithLabelValues(kind, outcome)
	}
}

// A failure and an ending are what is counted of attempts, with its labels.
type (
	failure struct {
		kind   smp.NoteKind
		reason string
	}
	ending struct {
		kind    smp.NoteKind
		outcome string
	}
)

// A tally is what operators are told when a batch has been committed.
type tally struct {
	made      [smp.Dispatching + 1]int // by kind
	failed    map[failure]int
	ended     map[ending]int
	fatal     []*attempt
	dismissed int
}

func (t *tally) fail(a *attempt, reason string) {
	if t.failed == nil {
		t.failed = map[failure]int{}
	}
	t.failed[failure{a.kind(), reason}]++
}

func (t *tally) end(a *attempt, outcome string) {
	if t.ended == nil {
		t.ended = map[ending]int{}
	}
	t.ended[ending{a.kind(), outcome}]++
	if a.FatalError != nil {
		t.fatal = append(t.fatal, a)
	}
}

// What metrics call the reasons for failures, and the outcomes of attempts. Anybody may invent new status codes: all that
// are not known count as one reason.
const (
	reasonNoAnswer = "no_answer"
	reasonOther    = "other"

	outcomePaid      = "paid"
	outcomeWorthless = "worthless" // interest and the cut have left nothing
	outcomeFatal     = "fatal"     // somebody has to look after it
)

var reasonByStatusCode = map[string]string{
	statusTimeout:                     "timeout",
	statusNewerInterestRate:           "newer_interest_rate",
	statusRecipientIsUnreachable:      "recipient_is_unreachable",
	statusInsufficientAvailableAmount: "insufficient_available_amount",
	statusSenderIsUnreachable:         "sender_is_unreachable",
}

func reasonOf(statusCode string) string {
	if reason, known := reasonByStatusCode[statusCode]; known {
		return reason
	}
	return reasonOther
}

// report adds the tally to the metrics, and logs what somebody has to look after.
func (t *tally) report(ctx context.Context, metrics *Metrics, logger *slog.Logger) {
	for kind, count := range t.made {
		if count > 0 {
			metrics.made.WithLabelValues(smp.NoteKind(kind).String()).Add(float64(count))
		}
	}
	for f, count := range t.failed {
		metrics.failed.WithLabelValues(f.kind.String(), f.reason).Add(float64(count))
	}
	for e, count := range t.ended {
		metrics.ended.WithLabelValues(e.kind.String(), e.outcome).Add(float64(count))
	}
	metrics.dismissed.Add(float64(t.dismissed))
	for _, a := range t.fatal {
		logger.ErrorContext(ctx, "a transfer has failed for good, and somebody has to look after it",
			slog.String("status_code", *a.FatalError),
			slog.String("kind", a.kind().String()),
			slog.Int64("collector_id", int64(a.CollectorID)),
			slog.Int("turn_id", int(a.TurnID)),
			slog.Int64("debtor_id", int64(a.DebtorID)),
			slog.Int64("creditor_id", int64(a.CreditorID)),
			slog.String("recipient", a.Recipient),
			slog.Int64("amount", *a.Amount),
			slog.Int64("coordinator_request_id", *a.CoordinatorRequestID),
			slog.Any("transfer_id", orNone(a.TransferID)),
		)
	}
}

// orNone returns what p points to, or nothing.
func orNone(p *int64) any {
	if p == nil {
		return "none"
	}
	return *p
}

// MaxCounted is how many attempts a [Collector] looks at: if there are more, it counts those only.
const MaxCounted = 100000

// collectTimeout bounds the time that a collection takes.
const collectTimeout = 5 * time.Second

// A Collector makes metrics of the attempts in the database, by asking it whenever it is asked itself.
type Collector struct {
	db     *workerdb.DB
	now    func() time.Time
	logger *slog.Logger
}

// NewCollector returns a collector, which the caller has to register.
func NewCollector(db *workerdb.DB, now func() time.Time, logger *slog.Logger) *Collector {
	return &Collector{db, now, logger}
}

var (
	attemptsDesc = prometheus.NewDesc("trade_attempts",
		"Attempts by state, of the first 100000. The fatal ones are counted in any case.", []string{"state"}, nil)
	oldestDueDesc = prometheus.NewDesc("trade_attempts_oldest_due_age_seconds",
		"For how long the time of an attempt has come without anybody having noticed, at most.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- attemptsDesc
	descriptions <- oldestDueDesc
}

// Collect implements [prometheus.Collector]. If the database does not answer, there is no value.
func (c *Collector) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	counts, oldestDueAge, err := c.look(ctx)
	if err != nil {
		c.logger.WarnContext(ctx, "there are no metrics of transfer attempts", slog.Any("error", err))
		return
	}
	for _, s := range []state{isNew, postponed, due, initiated, settled, fatal} {
		values <- prometheus.MustNewConstMetric(attemptsDesc, prometheus.GaugeValue, float64(counts[s]), string(s))
	}
	values <- prometheus.MustNewConstMetric(oldestDueDesc, prometheus.GaugeValue, oldestDueAge.Seconds())
}

// look counts attempts, and tells for how long one of them has been due, at most.
func (c *Collector) look(ctx context.Context) (counts map[state]int64, oldestDueAge time.Duration, err error) {
	queries := c.db.Queries()
	rows, err := queries.CountAttempts(ctx, MaxCounted)
	if err != nil {
		return nil, 0, err
	}
	counts = map[state]int64{}
	for _, row := range rows {
		counts[state(row.State)] = row.Attempts
	}
	if counts[fatal], err = queries.CountFatalAttempts(ctx, MaxCounted); err != nil {
		return nil, 0, err
	}
	oldest, err := queries.NextDueAttempts(ctx, workerdb.NextDueAttemptsParams{AtMost: 1})
	if err != nil || len(oldest) == 0 {
		return counts, 0, err
	}
	return counts, max(0, c.now().Sub(oldest[0])), nil
}
