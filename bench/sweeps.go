package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/sweep"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	disturbedBatch   = 100 // messages in a batch of a worker that sweeps disturb
	disturbedBatches = 500 // in each run

	// firstSwept is the lowest creditor ID of the rows that are made to be swept.
	firstSwept = 1 << 60
)

// newSweepsCommand measures sweeps, and what they do to a worker that is busy with messages, on the database server that
// TEST_POSTGRES_URL leads to.
func newSweepsCommand(runs *int) *cobra.Command {
	var rows int
	cmd := &cobra.Command{
		Use:   "sweeps",
		Short: "Measure sweeps, and how they disturb a busy worker",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("TEST_POSTGRES_URL") == "" {
				return errors.New(`there is no server to measure on: run "make bench", or set TEST_POSTGRES_URL`)
			}
			if err := measureSweeps(cmd.Context(), cmd.OutOrStdout(), *runs, rows); err != nil {
				return err
			}
			return measureDisturbance(cmd.Context(), cmd.OutOrStdout(), *runs, rows)
		},
	}
	cmd.Flags().IntVar(&rows, "rows", 100_000, "rows that are swept in each table")
	return cmd
}

// A swept table is one of the largest tables of a worker.
type swept struct {
	table, relation string
	lifetime        time.Duration // of a row
	moment          string        // the column with the instant at which the life of a row began
	insert          string        // statement for $1 rows whose lives began at `began`
}

// A janitor sweeps a worker's database.
type janitor struct {
	db     *workerdb.DB
	ages   sweep.Ages
	paces  config.Sweeps
	tables []swept
}

func newJanitor(db *workerdb.DB) (*janitor, error) {
	var settings struct {
		sweep.Ages
		config.Sweeps
	}
	if _, err := config.Load(&settings, config.Input{}); err != nil {
		return nil, err
	}
	ages := settings.Ages
	return &janitor{db: db, ages: ages, paces: settings.Sweeps, tables: []swept{
		{
			table: "account_locks", relation: "account_lock", lifetime: ages.ReleasedMaxAge, moment: "released_at",
			insert: `INSERT INTO account_lock SELECT creditor_id, 0, 0, 1, now(), nextval('coordinator_request_id_seq'), -10000, n,
				now(), began, '2026-01-01', 1 FROM young`,
		},
		{
			table: "transfer_attempts", relation: "transfer_attempt", moment: "collection_started_at",
			lifetime: ages.CommitPeriod.Max + max(ages.Sending, ages.Dispatching),
			insert:   `INSERT INTO transfer_attempt SELECT 1, 0, 0, creditor_id, TRUE, 10000, began, now(), 'account', 1 FROM young`,
		},
		{
			table: "trading_policies", relation: "trading_policy", moment: "latest_ledger_update_ts",
			lifetime: ages.CommitPeriod.Max + ages.Dispatching + ages.ExtremeMessageDelay,
			insert: `INSERT INTO trading_policy (creditor_id, debtor_id, latest_ledger_update_ts, latest_policy_update_ts,
				latest_flags_update_ts) SELECT creditor_id, 0, began, began, began FROM young`,
		},
	}}, nil
}

// fill makes rows that are to be swept, the ones from before excepted. Until tells when they expire: a time from now, as
// an expression.
func (j *janitor) fill(ctx context.Context, t swept, rows int, until string) error {
	if _, err := j.db.Pool().Exec(ctx, "DELETE FROM "+t.relation+" WHERE creditor_id >= $1", firstSwept); err != nil {
		return err
	}
	_, err := j.db.Pool().Exec(ctx, fmt.Sprintf(`
		WITH young AS (
			SELECT n, %d + n AS creditor_id, now() - INTERVAL '%d seconds' + %s AS began FROM generate_series(1, $1::BIGINT) AS n
		) `, firstSwept, int(t.lifetime.Seconds()), until)+t.insert, rows)
	return errors.Join(err, analyze(ctx, j.db.DB, t.relation))
}

func (j *janitor) sweeper(t swept, pace config.Sweep, now func() time.Time) *sweep.Sweeper {
	registry := prometheus.NewRegistry()
	locks := &lock.Rules{
		Settings:         lock.Settings{DispatchingSlack: j.ages.Dispatching, MaxAge: j.ages.MaxAge},
		CollectingFailed: settlement.HandleCollectingFailures,
		IntN:             rand.IntN, Logger: slog.New(slog.DiscardHandler), Metrics: lock.NewMetrics(registry),
	}
	return &sweep.Sweeper{
		DB: j.db, Table: t.table, Pace: pace, Ages: j.ages, DismissLocks: locks.DismissOverdue,
		Now: now, Int64N: rand.Int64N, Metrics: sweep.NewMetrics(registry),
	}
}

func (j *janitor) count(ctx context.Context, t swept) (rows int64, err error) {
	return countRows(ctx, j.db.DB, fmt.Sprintf("%s WHERE creditor_id >= %d", t.relation, firstSwept))
}

// A case of a table that is swept at full speed.
type sweepCase struct {
	swept
	name, until string
	deleted     int64
	bare, own   []float64 // rows per second
}

func measureSweeps(ctx context.Context, out io.Writer, runs, rows int) (err error) {
	db, closeDatabase, err := newDatabase(ctx, postgres.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDatabase()) }()
	j, err := newJanitor(db)
	if err != nil {
		return err
	}
	var cases []*sweepCase
	for _, t := range j.tables {
		cases = append(cases,
			&sweepCase{swept: t, name: t.relation + ", all needed", until: "INTERVAL '1d'"},
			&sweepCase{swept: t, name: t.relation + ", half expired", until: "INTERVAL '1d' * (n % 2 * 2 - 1)"})
	}
	for range runs { // in turn, so that noise is fair
		for _, c := range cases {
			for _, work := range []func(context.Context, *janitor, int) error{c.deleteBare, c.sweep} {
				if err := work(ctx, j, rows); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(table, "\tsweep at full speed\trows\tdeleted\trows per second\tof one statement, bare\t\n")
	for _, c := range cases {
		rate := median(c.own)
		_, _ = fmt.Fprintf(table, "\t%s\t%s\t%s\t%s\t%.2f\t\n", c.name, humanize.Comma(int64(rows)), humanize.Comma(c.deleted),
			humanize.Comma(int64(rate)), rate/median(c.bare))
	}
	return table.Flush()
}

// deleteBare deletes what has expired with one statement.
func (c *sweepCase) deleteBare(ctx context.Context, j *janitor, rows int) error {
	if err := j.fill(ctx, c.swept, rows, c.until); err != nil {
		return err
	}
	started := time.Now()
	_, err := j.db.Pool().Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s < $1", c.relation, c.moment), started.Add(-c.lifetime))
	c.bare = append(c.bare, float64(rows)/time.Since(started).Seconds())
	return err
}

// sweep does the same with a sweep at full speed.
func (c *sweepCase) sweep(ctx context.Context, j *janitor, rows int) error {
	if err := j.fill(ctx, c.swept, rows, c.until); err != nil {
		return err
	}
	pace, _ := j.paces.Of(c.table)
	started := time.Now()
	if err := j.sweeper(c.swept, pace, time.Now).RunOnce(ctx); err != nil {
		return err
	}
	c.own = append(c.own, float64(rows)/time.Since(started).Seconds())
	left, err := j.count(ctx, c.swept)
	c.deleted = int64(rows) - left
	return err
}

// A disturbance is how the tables are swept while a worker handles messages.
type disturbance struct {
	name  string
	sweep func(ctx context.Context, t swept) error // nil: not at all
}

// disturbances returns all of them. The first one is none, which others are compared with.
func (j *janitor) disturbances() []disturbance {
	return []disturbance{
		{"no sweeps", nil},
		{"sweeps at the usual pace", j.sweepAsUsual},
		{"sweeps at full speed", j.sweepWithoutEnd},
	}
}

// While a worker is measured, rows expire little by little: all of them in half a minute, so that each pass through a
// table finds some, as each of the usual passes does, between which there are weeks. For that, the clock of the sweeps is
// fast. It does not get so far that the locks of the turn would be too old.
const (
	expiry  = "random() * INTERVAL '100d'"
	hurries = 100 * 24 * time.Hour / (30 * time.Second) // by so much it is faster
	ahead   = 100 * 24 * time.Hour                      // at most
)

// fastClock returns the clock of sweeps.
func fastClock() func() time.Time {
	started := time.Now()
	return func() time.Time {
		return started.Add(min(hurries*time.Since(started), ahead)) //nolint:durationcheck // it is a factor
	}
}

// sweepAsUsual goes through a table at the pace at which the service goes through those that are so large that a pass
// takes as long as it may: with every beat, it reads some pages. In smaller tables, it pauses for longer.
func (j *janitor) sweepAsUsual(ctx context.Context, t swept) error {
	var pages int64
	err := j.db.Pool().QueryRow(ctx, "SELECT pg_relation_size($1::TEXT::REGCLASS) / current_setting('block_size')::BIGINT",
		t.relation).Scan(&pages)
	if err != nil {
		return err
	}
	pace, _ := j.paces.Of(t.table)
	pace.Duration = pace.Beat * time.Duration(max(1, pages/int64(pace.BlocksPerQuery)))
	return j.sweeper(t, pace, fastClock()).Run(ctx)
}

// sweepWithoutEnd goes through a table again and again, without pauses.
func (j *janitor) sweepWithoutEnd(ctx context.Context, t swept) error {
	pace, _ := j.paces.Of(t.table)
	sweeper := j.sweeper(t, pace, fastClock())
	for ctx.Err() == nil {
		if err := sweeper.RunOnce(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// A busyRun is how a worker has handled messages.
type busyRun struct {
	handling
	deleted float64 // rows per second, by sweeps
}

func measureDisturbance(ctx context.Context, out io.Writer, runs, rows int) (err error) {
	b, closeDatabase, err := newRuleBench(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDatabase()) }()
	db, err := workerdb.Open(b.db.URL(), postgres.Options{}) // of the sweeps: the worker's measures one connection
	if err != nil {
		return err
	}
	defer db.Close()
	j, err := newJanitor(db)
	if err != nil {
		return err
	}
	disturbances := j.disturbances()
	kinds := []struct {
		name    string
		prepare func(context.Context, int) ([]smp.Message, error)
	}{{smp.TypeCandidateOffer, b.candidateOffers}, {smp.TypeAccountTransfer, b.accountTransfers}}
	measured := map[string][]busyRun{}
	for range runs { // in turn, so that noise is fair
		for _, kind := range kinds {
			for _, d := range disturbances {
				batch, err := kind.prepare(ctx, disturbedBatches*disturbedBatch)
				if err != nil {
					return fmt.Errorf("preparing messages of type %s: %w", kind.name, err)
				}
				r, err := j.disturb(ctx, d, b, batch, rows)
				if err != nil {
					return fmt.Errorf("messages of type %s, %s: %w", kind.name, d.name, err)
				}
				measured[kind.name+d.name] = append(measured[kind.name+d.name], r)
			}
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(table, "\tmessages in batches of %d\t\tper second\twithout sweeps\tmedian ms\tp99 ms\twithout sweeps\trows deleted per second\t\n",
		disturbedBatch)
	for _, kind := range kinds {
		undisturbed := measured[kind.name+disturbances[0].name]
		for _, d := range disturbances {
			writeBusyLine(table, kind.name, d.name, measured[kind.name+d.name], undisturbed)
		}
	}
	return table.Flush()
}

func writeBusyLine(table io.Writer, kind, disturbance string, all, undisturbed []busyRun) {
	perSecond := func(r busyRun) float64 { return r.perSecond }
	p99 := func(r busyRun) float64 { return milliseconds(quantile(r.batches, 0.99)) }
	_, _ = fmt.Fprintf(table, "\t%s\t%s\t%s\t%.2f\t%.1f\t%.1f\t%.2f\t%s\t\n", kind, disturbance,
		humanize.Comma(int64(medianOf(all, perSecond))), medianOf(all, perSecond)/medianOf(undisturbed, perSecond),
		medianOf(all, func(r busyRun) float64 { return milliseconds(quantile(r.batches, 0.5)) }),
		medianOf(all, p99), medianOf(all, p99)/medianOf(undisturbed, p99),
		humanize.Comma(int64(medianOf(all, func(r busyRun) float64 { return r.deleted }))))
}

// disturb has a worker handle messages while tables are swept.
func (j *janitor) disturb(ctx context.Context, d disturbance, b *ruleBench, batch []smp.Message, rows int) (r busyRun, err error) {
	for _, t := range j.tables {
		if err := j.fill(ctx, t, rows, expiry); err != nil {
			return r, err
		}
	}
	sweeping, stop := context.WithCancel(ctx)
	defer stop()
	var sweepers errgroup.Group
	started := time.Now()
	if d.sweep != nil {
		for _, t := range j.tables {
			sweepers.Go(func() error { return d.sweep(sweeping, t) })
		}
	}
	r.handling, err = b.handle(ctx, batch, disturbedBatch)
	stop()
	err = errors.Join(err, sweepers.Wait())
	elapsed := time.Since(started).Seconds()
	for _, t := range j.tables {
		left, failure := j.count(ctx, t)
		r.deleted += float64(int64(rows)-left) / elapsed
		err = errors.Join(err, failure)
	}
	return r, err
}
