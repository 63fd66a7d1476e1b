package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	otherLocks     = 200_000 // that there are all the time
	batchesAtMost  = 1000    // in each run
	rulesTurn      = 1
	rulesDebtors   = 1000
	firstCollector = 1 << 40
	collectorIDs   = 1000
)

// newRulesCommand measures the handling of those messages of which each turn brings as many as there are offers, by one
// consumer, on the database server that TEST_POSTGRES_URL leads to. There is no broker: see the command messages.
func newRulesCommand(runs *int) *cobra.Command {
	var messages int
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Measure applying the messages of a turn",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("TEST_POSTGRES_URL") == "" {
				return errors.New(`there is no server to measure on: run "make bench", or set TEST_POSTGRES_URL`)
			}
			return measureRules(cmd.Context(), cmd.OutOrStdout(), *runs, messages)
		},
	}
	cmd.Flags().IntVar(&messages, "messages", 20_000,
		fmt.Sprintf("messages in each run; fewer if that makes more than %d batches", batchesAtMost))
	return cmd
}

// undone counts what messages should have changed: candidate offers excepted, which are seen by what is sent.
const undone = `SELECT
	(SELECT count(*) FROM account_lock WHERE transfer_id IS NULL AND coordinator_request_id < 0)
	+ (SELECT count(*) FROM account_lock WHERE finalized_at IS NOT NULL AND released_at IS NULL)
	+ (SELECT count(*) FROM worker_collecting WHERE NOT collected)
	+ (SELECT count(*) FROM worker_dispatching)`

// A handling is how fast messages have been handled.
type handling struct {
	perSecond float64
	inQueries float64 // share of the time in which a statement was under way
	ownCPU    float64 // time of processors that this process needed, for each second
	batches   []time.Duration
}

func measureRules(ctx context.Context, out io.Writer, runs, messages int) (err error) {
	b, closeDatabase, err := newRuleBench(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDatabase()) }()

	type line struct {
		kind    string
		size    int
		prepare func(context.Context, int) ([]smp.Message, error)
		answers float64 // messages that are sent for each message
	}
	var lines []line
	for _, kind := range []line{
		{kind: smp.TypeCandidateOffer, prepare: b.candidateOffers, answers: 1},
		{kind: smp.TypePreparedTransfer, prepare: b.preparedTransfers, answers: 0},
		{kind: smp.TypeAccountTransfer, prepare: b.accountTransfers, answers: 0.25},
	} {
		for _, size := range []int{1, 10, 100, 500} {
			kind.size = size
			lines = append(lines, kind)
		}
	}
	measured := map[string]map[int][]handling{}
	for range runs { // in turn, so that noise is fair
		for _, l := range lines {
			batch, err := l.prepare(ctx, min(messages, batchesAtMost*l.size))
			if err != nil {
				return fmt.Errorf("preparing messages of type %s: %w", l.kind, err)
			}
			h, err := b.handle(ctx, batch, l.size)
			if err == nil {
				err = b.mustBeDone(ctx, int(l.answers*float64(len(batch))))
			}
			if err != nil {
				return fmt.Errorf("messages of type %s, in batches of %d: %w", l.kind, l.size, err)
			}
			if measured[l.kind] == nil {
				measured[l.kind] = map[int][]handling{}
			}
			measured[l.kind][l.size] = append(measured[l.kind][l.size], h)
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(table, "\tmessages\tin batches of\tper second\tof batches of 1\tin statements\town processor time\t\n")
	for _, l := range lines {
		perSecond := medianOf(measured[l.kind][l.size], func(h handling) float64 { return h.perSecond })
		_, _ = fmt.Fprintf(table, "\t%s\t%d\t%s\t%.1f\t%.2f\t%.2f\t\n", l.kind, l.size, humanize.Comma(int64(perSecond)),
			perSecond/medianOf(measured[l.kind][1], func(h handling) float64 { return h.perSecond }),
			medianOf(measured[l.kind][l.size], func(h handling) float64 { return h.inQueries }),
			medianOf(measured[l.kind][l.size], func(h handling) float64 { return h.ownCPU }))
	}
	return table.Flush()
}

// A ruleBench is a worker that has everything, in the middle of a turn, with many accounts locked already.
type ruleBench struct {
	db      *workerdb.DB
	handler *inbox.Handler
	watch   *stopwatch
	random  *rand.Rand
	made    int64 // accounts so far
}

func newRuleBench(ctx context.Context) (b *ruleBench, closeDatabase func() error, err error) {
	var settings rulebook.Settings
	if _, err := config.Load(&settings, config.Input{}); err != nil {
		return nil, nil, err
	}
	watch := &stopwatch{}
	db, closeDatabase, err := newDatabase(ctx, postgres.Options{Tracer: watch})
	if err != nil {
		return nil, nil, err
	}
	var everything shard.Realm
	b = &ruleBench{db: db, watch: watch, random: rand.New(rand.NewPCG(1, 1)), handler: &inbox.Handler{
		Realm: everything, DB: db, Now: time.Now, Metrics: inbox.NewMetrics(prometheus.NewRegistry()),
		Rules: rulebook.New(everything, settings, rulebook.NewMetrics(prometheus.NewRegistry()),
			slog.New(slog.DiscardHandler)),
	}}
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO worker_turn VALUES (%d, now() - INTERVAL '20m', 'L', 1, 10, 1000, 2, now() + INTERVAL '1h',
			NULL, now() + INTERVAL '30d', 5)`, rulesTurn),
		fmt.Sprintf(`INSERT INTO active_collector SELECT n, %d + n %% %d, 'account' FROM generate_series(1, %d) AS n`,
			firstCollector, collectorIDs, rulesDebtors),
		fmt.Sprintf(`INSERT INTO account_lock SELECT n * 7919, 0, 0, %d, now(), nextval('coordinator_request_id_seq'), -10000, 9
			FROM generate_series(1, %d::BIGINT) AS n`, firstCollector, otherLocks),
		"VACUUM ANALYZE account_lock",
	} {
		if _, err := db.Pool().Exec(ctx, statement); err != nil {
			return nil, nil, errors.Join(err, closeDatabase())
		}
	}
	return b, closeDatabase, nil
}

// A deal is an account with something to be sold, or to be bought.
type deal struct {
	number    int64
	creditor  swpt.CreditorID
	debtor    swpt.DebtorID
	collector swpt.CreditorID
	amount    int64 // negative: to be sold
}

// deals returns deals of accounts that had none before. The IDs of the creditors are in no order.
func (b *ruleBench) deals(count int) []deal {
	const odd = 0x9e3779b97f4a7 // so different numbers give different IDs
	all := make([]deal, count)
	for i := range all {
		b.made++
		debtor := 1 + b.made%rulesDebtors
		all[i] = deal{
			number: b.made, creditor: swpt.CreditorID(1<<52 + b.made*odd%(1<<51)), debtor: swpt.DebtorID(debtor),
			collector: swpt.CreditorID(firstCollector + debtor%collectorIDs), amount: 5000 + b.random.Int64N(1_000_000),
		}
		if i%2 == 0 {
			all[i].amount *= -1
		}
	}
	return all
}

// insert copies rows into a table, and has the server count them, as workers do when they copy the results of a turn.
func insert[T any](ctx context.Context, db *workerdb.DB, table string, columns []string, from []T, row func(T) []any) error {
	_, err := db.Pool().CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(len(from), func(i int) ([]any, error) {
		return row(from[i]), nil
	}))
	return errors.Join(err, analyze(ctx, db.DB, table))
}

func (b *ruleBench) candidateOffers(_ context.Context, count int) ([]smp.Message, error) {
	messages := make([]smp.Message, count)
	for i, d := range b.deals(count) {
		messages[i] = &smp.CandidateOffer{
			TurnID: rulesTurn, DebtorID: d.debtor, CreditorID: d.creditor, Amount: d.amount, TS: time.Now(),
		}
	}
	return messages, nil
}

// preparedTransfers returns answers about accounts that it locks.
func (b *ruleBench) preparedTransfers(ctx context.Context, count int) ([]smp.Message, error) {
	deals := b.deals(count)
	columns := []string{
		"creditor_id", "debtor_id", "turn_id", "collector_id", "initiated_at", "coordinator_request_id", "amount",
	}
	err := insert(ctx, b.db, "account_lock", columns, deals, func(d deal) []any {
		return []any{int64(d.creditor), int64(d.debtor), rulesTurn, int64(d.collector), time.Now(), -d.number, d.amount}
	})
	messages := make([]smp.Message, count)
	for i, d := range deals {
		messages[i] = &smp.PreparedTransfer{
			DebtorID: d.debtor, CreditorID: d.creditor, CoordinatorType: smp.CoordinatorAgent, CoordinatorID: int64(d.creditor),
			CoordinatorRequestID: -d.number, TransferID: d.number, LockedAmount: max(0, -d.amount), Recipient: "account",
			PreparedAt: time.Now(), Deadline: time.Now().AddDate(1, 0, 0), FinalInterestRateTS: time.Now(), TS: time.Now(),
		}
	}
	return messages, err
}

// accountTransfers returns the news of transfers from sellers to collectors, and from collectors to buyers. Each is told
// to both sides, at different times.
func (b *ruleBench) accountTransfers(ctx context.Context, count int) ([]smp.Message, error) {
	deals := b.deals(count / 2)
	if err := b.decide(ctx, deals); err != nil {
		return nil, err
	}
	messages := make([]smp.Message, 0, count)
	for _, d := range deals {
		kind := smp.Dispatching
		if d.amount < 0 {
			kind = smp.Collecting
		}
		note := smp.Note{Kind: kind, TurnID: rulesTurn, First: d.collector, Second: d.creditor}.String()
		for _, side := range []struct {
			account swpt.CreditorID
			amount  int64
		}{{d.creditor, d.amount}, {d.collector, -d.amount}} {
			messages = append(messages, &smp.AccountTransfer{
				DebtorID: d.debtor, CreditorID: side.account, TransferNumber: d.number, CoordinatorType: smp.CoordinatorAgent,
				AcquiredAmount: side.amount, TransferNoteFormat: smp.NoteFormat, TransferNote: note, CommittedAt: time.Now(),
				TS: time.Now(),
			})
		}
	}
	b.random.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
	return messages, nil
}

// decide has the market cleared, and sellers asked to pay.
func (b *ruleBench) decide(ctx context.Context, deals []deal) error {
	locks := []string{
		"creditor_id", "debtor_id", "turn_id", "collector_id", "initiated_at", "coordinator_request_id", "amount", "transfer_id",
		"finalized_at",
	}
	err := insert(ctx, b.db, "account_lock", locks, deals, func(d deal) []any {
		var finalizedAt any
		if d.amount < 0 {
			finalizedAt = time.Now()
		}
		return []any{
			int64(d.creditor), int64(d.debtor), rulesTurn, int64(d.collector), time.Now(), -d.number, d.amount, d.number,
			finalizedAt,
		}
	})
	if err != nil {
		return err
	}
	var collecting, dispatching []deal
	for _, d := range deals {
		if d.amount < 0 {
			collecting = append(collecting, d)
		} else {
			dispatching = append(dispatching, d)
		}
	}
	columns := []string{"collector_id", "turn_id", "debtor_id", "creditor_id", "amount", "purge_after"}
	row := func(d deal) []any {
		return []any{
			int64(d.collector), rulesTurn, int64(d.debtor), int64(d.creditor), max(d.amount, -d.amount), time.Now().AddDate(1, 0, 0),
		}
	}
	if err := insert(ctx, b.db, "worker_collecting", columns, collecting, row); err != nil {
		return err
	}
	return insert(ctx, b.db, "worker_dispatching", columns, dispatching, row)
}

// handle decodes and applies messages, in batches of some size.
func (b *ruleBench) handle(ctx context.Context, messages []smp.Message, size int) (handling, error) {
	deliveries := make([]broker.Delivery, len(messages))
	for i, m := range messages {
		body, err := m.AppendJSON(nil)
		if err != nil {
			return handling{}, err
		}
		deliveries[i] = broker.Delivery{ContentType: smp.ContentType, Type: m.Type(), Body: body}
	}
	if _, err := b.db.Pool().Exec(ctx, "TRUNCATE outbox"); err != nil {
		return handling{}, err
	}
	before, err := processorTime()
	if err != nil {
		return handling{}, err
	}
	b.watch.total = 0
	var batches []time.Duration
	start := time.Now()
	for first := 0; first < len(deliveries); first += size {
		begun := time.Now()
		var batch []smp.Message
		for _, d := range deliveries[first:min(first+size, len(deliveries))] {
			m, err := b.handler.Check(d)
			if err != nil {
				return handling{}, err
			}
			batch = append(batch, m)
		}
		if err := b.handler.Handle(ctx, batch); err != nil {
			return handling{}, err
		}
		batches = append(batches, time.Since(begun))
	}
	wall := time.Since(start).Seconds()
	inQueries := b.watch.total.Seconds()
	after, err := processorTime()
	return handling{
		perSecond: float64(len(messages)) / wall, inQueries: inQueries / wall, ownCPU: (after - before).Seconds() / wall,
		batches: batches,
	}, err
}

// mustBeDone looks whether messages have had an effect, and as many answers are to be sent as there should be.
func (b *ruleBench) mustBeDone(ctx context.Context, answers int) error {
	var left, sent int
	err := b.db.Pool().QueryRow(ctx, "SELECT ("+undone+"), (SELECT count(*) FROM outbox)").Scan(&left, &sent)
	if err == nil && (left != 0 || sent != answers) {
		err = fmt.Errorf("%d have had no effect, and %d messages are to be sent, not %d", left, sent, answers)
	}
	return err
}

// processorTime returns how long processors have been at work for this process.
func processorTime() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}

// A stopwatch adds up how long statements take, from when they are sent until their last row has been read. It is for
// one connection.
type stopwatch struct {
	started time.Time
	total   time.Duration
}

func (s *stopwatch) start(ctx context.Context) context.Context {
	s.started = time.Now()
	return ctx
}

func (s *stopwatch) stop() { s.total += time.Since(s.started) }

// TraceQueryStart implements [pgx.QueryTracer].
func (s *stopwatch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return s.start(ctx)
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (s *stopwatch) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { s.stop() }

// TraceCopyFromStart implements [pgx.CopyFromTracer].
func (s *stopwatch) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return s.start(ctx)
}

// TraceCopyFromEnd implements [pgx.CopyFromTracer].
func (s *stopwatch) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) { s.stop() }
