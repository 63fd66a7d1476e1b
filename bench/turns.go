package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/turn"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	turnCurrencies    = 1000
	policiesPerTrader = 4 // on average

	// How often is as many policies in a turn as are measured more than once.
	repeatedPolicies = 100_000
)

// The parameters of the turns.
const (
	turnDistance  = 10
	turnMinAmount = 1000
)

// newTurnsCommand measures what a turn does in databases, with one worker that has everything, on the database server
// that TEST_POSTGRES_URL leads to. What happens between the candidate offers and the account locks is left out: see the
// command rules.
func newTurnsCommand(runs *int) *cobra.Command {
	var sizes []int
	cmd := &cobra.Command{
		Use:   "turns",
		Short: "Measure turns, from trading policies to what is to be transferred",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("TEST_POSTGRES_URL") == "" {
				return errors.New(`there is no server to measure on: run "make bench", or set TEST_POSTGRES_URL`)
			}
			for _, policies := range sizes {
				// A large turn takes long enough for noise to even out.
				repeats := max(1, *runs*repeatedPolicies/max(repeatedPolicies, policies))
				if err := measureTurns(cmd.Context(), cmd.OutOrStdout(), repeats, policies); err != nil {
					return fmt.Errorf("a turn with %d policies: %w", policies, err)
				}
			}
			return nil
		},
	}
	cmd.Flags().IntSliceVar(&sizes, "policies", []int{100_000, 1_000_000}, "sizes of the turns, in trading policies")
	return cmd
}

// A stage is a part of a turn.
type stage struct {
	name    string
	seconds float64
	rows    int64
	peak    float64 // of this process' memory, in bytes; 0: see the next stage
}

func measureTurns(ctx context.Context, out io.Writer, runs, policies int) error {
	var all [][]stage
	for range runs {
		stages, err := measureTurn(ctx, policies)
		if err != nil {
			return err
		}
		all = append(all, stages)
	}
	medianAt := func(i int, of func(stage) float64) float64 {
		return medianOf(all, func(stages []stage) float64 { return of(stages[i]) })
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(table, "\t%s policies\trows\tseconds\trows per second\tof the bare one\tpeak MiB\t\n",
		humanize.Comma(int64(policies)))
	var total, bare float64
	for i, s := range all[0] {
		seconds := medianAt(i, func(s stage) float64 { return s.seconds })
		rate, ofBare, peak := float64(s.rows)/seconds, "", ""
		if i == 0 {
			bare = rate
		} else {
			total += seconds
			ofBare = fmt.Sprintf("%.2f", rate/bare)
		}
		if s.peak > 0 {
			peak = fmt.Sprintf("%.0f", medianAt(i, func(s stage) float64 { return s.peak })/(1<<20))
		}
		_, _ = fmt.Fprintf(table, "\t%s\t%s\t%.2f\t%s\t%s\t%s\t\n",
			s.name, humanize.Comma(s.rows), seconds, humanize.Comma(int64(rate)), ofBare, peak)
	}
	_, _ = fmt.Fprintf(table, "\tall of the turn\t\t%.2f\t\t\t\t\n", total)
	return table.Flush()
}

// A turnBench is a solver and a worker with a made-up market.
type turnBench struct {
	synthetic book.Synthetic
	now       time.Time
	solverDB  *solverdb.DB
	workerDB  *workerdb.DB
	solver    *turn.Roller
	worker    *mirror.Roller
}

func measureTurn(ctx context.Context, policies int) (stages []stage, err error) {
	b := &turnBench{
		synthetic: book.Synthetic{Currencies: turnCurrencies, Traders: policies / policiesPerTrader, Seed: 1},
		now:       time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC),
	}
	closeAll, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) ([]stage, error){
		b.copyBare, b.makeOffers, b.pourOffers, b.clear, b.copyResults,
	} {
		measured, err := part(ctx)
		if err != nil {
			return nil, err
		}
		stages = append(stages, measured...)
	}
	return stages, nil
}

func (b *turnBench) open(ctx context.Context) (closeAll func() error, err error) {
	workerDB, closeWorker, err := newDatabase(ctx, postgres.Options{})
	if err != nil {
		return nil, err
	}
	solverDB, closeSolver, err := newSolverDatabase(ctx)
	if err != nil {
		return nil, errors.Join(err, closeWorker())
	}
	b.workerDB, b.solverDB = workerDB, solverDB
	clock := func() time.Time { return b.now }
	settings := turn.Settings{
		Schedule:       turn.Schedule{Period: 24 * time.Hour, Offset: 2 * time.Hour},
		Phase1Duration: 10 * time.Minute, Phase2Duration: time.Hour, MaxCommitPeriod: 30 * 24 * time.Hour,
		MaxDistanceToBase: turnDistance, MinTradeAmount: turnMinAmount, CheckInterval: time.Minute, WorkMem: "50MB",
	}
	for c := range b.synthetic.AllCurrencies() {
		settings.BaseLocator, settings.BaseDebtorID = c.Locator, c.DebtorID
		break
	}
	b.solver = turn.NewRoller(turn.Config{
		DB: solverDB, Settings: settings, Now: clock,
		Metrics: turn.NewMetrics(prometheus.NewRegistry(), clock), Logger: slog.New(slog.DiscardHandler),
	})
	var everything shard.Realm
	b.worker = &mirror.Roller{
		Settings: mirror.Settings{
			Realm: everything, Lead: func(time.Duration) time.Duration { return 5 * time.Minute },
			CollectingSlack: time.Hour, SendingSlack: time.Hour, DispatchingSlack: time.Hour,
		},
		Worker: workerDB, Solver: solverDB, Now: clock,
		Metrics: mirror.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler),
	}
	return func() error { return errors.Join(closeWorker(), closeSolver()) }, nil
}

// prepare puts into the databases what there is before a turn, and has the turn get to phase 2.
func (b *turnBench) prepare(ctx context.Context) error {
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator: b.solver.Settings.BaseLocator, BaseDebtorID: b.solver.Settings.BaseDebtorID,
		MaxDistanceToBase: turnDistance, MinTradeAmount: turnMinAmount,
	})
	if err != nil {
		return err
	}
	var batch pgx.Batch
	for c := range b.synthetic.AllCurrencies() {
		if err := tree.Register(c); err != nil {
			return err
		}
		var pegLocator, pegDebtor, pegRate any
		if c.Peg != nil {
			pegLocator, pegDebtor, pegRate = c.Peg.Locator, c.Peg.DebtorID, c.Peg.Rate
		}
		batch.Queue(`INSERT INTO debtor_info_document VALUES ($1, $2, $3, $4, $5, NULL, 'epoch')`,
			c.Locator, c.DebtorID, pegLocator, pegDebtor, pegRate)
		batch.Queue(`INSERT INTO debtor_locator_claim VALUES ($1, $2, 'epoch', 'epoch', NULL)`, c.DebtorID, c.Locator)
	}
	if err := b.workerDB.Pool().SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	batch = pgx.Batch{}
	for debtor, collector := range b.synthetic.AllCollectors() {
		batch.Queue(`INSERT INTO collector_account VALUES ($1, $2, $3, 'account', 2, 'epoch')`,
			debtor, collector, shard.KeyOf(collector).Hash16())
	}
	if err := b.solverDB.Pool().SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	prices, err := tree.Prices()
	if err != nil {
		return err
	}
	if err := b.addPolicies(ctx, prices); err != nil {
		return err
	}
	return errors.Join(b.tickAt(ctx, 0), b.rollAt(ctx, time.Minute), b.tickAt(ctx, 11*time.Minute))
}

// An offered amount is what a trader sells, if it is negative, or buys.
type offered struct {
	creditor  swpt.CreditorID
	debtor    swpt.DebtorID
	amount    int64
	collector swpt.CreditorID // of a seller
}

func (b *turnBench) offers() iter.Seq[offered] {
	return func(yield func(offered) bool) {
		for trader := range b.synthetic.AllOffers() {
			for _, o := range trader.Sells {
				if !yield(offered{o.Creditor, o.Debtor, -o.Amount, o.Collector}) {
					return
				}
			}
			for _, o := range trader.Buys {
				if !yield(offered{o.Creditor, o.Debtor, o.Amount, 1}) {
					return
				}
			}
		}
	}
}

// fill copies a row for each offer into a table.
func (b *turnBench) fill(
	ctx context.Context, pool *pgxpool.Pool, table string, columns []string, row func(o offered, number int64) []any,
) error {
	next, stop := iter.Pull(b.offers())
	defer stop()
	number := int64(0)
	_, err := pool.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		o, ok := next()
		if !ok {
			return nil, nil
		}
		number++
		return row(o, number), nil
	}))
	return err
}

func (b *turnBench) addPolicies(ctx context.Context, prices *solver.Prices) error {
	columns := []string{
		"creditor_id", "debtor_id", "account_id", "policy_name", "principal", "min_principal", "max_principal",
		"peg_debtor_id", "peg_exchange_rate",
	}
	base := prices.Params().BaseDebtorID
	err := b.fill(ctx, b.workerDB.Pool(), "trading_policy", columns, func(o offered, _ int64) []any {
		principal, bound := max(-o.amount, 0), max(o.amount, 0)
		return []any{
			int64(o.creditor), int64(o.debtor), "account", "conservative", principal, bound, bound,
			int64(base), prices.Price(o.debtor),
		}
	})
	return errors.Join(err, analyze(ctx, b.workerDB.DB, "trading_policy"))
}

// addLocks locks all accounts for which there are candidate offers.
func (b *turnBench) addLocks(ctx context.Context) error {
	columns := []string{
		"creditor_id", "debtor_id", "turn_id", "collector_id", "initiated_at", "coordinator_request_id", "amount", "transfer_id",
	}
	if _, err := b.workerDB.Pool().Exec(ctx, "TRUNCATE outbox"); err != nil {
		return err
	}
	err := b.fill(ctx, b.workerDB.Pool(), "account_lock", columns, func(o offered, number int64) []any {
		return []any{int64(o.creditor), int64(o.debtor), int32(1), int64(o.collector), b.now, number, o.amount, number}
	})
	return errors.Join(err, analyze(ctx, b.workerDB.DB, "account_lock"))
}

func analyze(ctx context.Context, db *postgres.DB, table string) error {
	_, err := db.Pool().Exec(ctx, "VACUUM ANALYZE "+table)
	return err
}

func (b *turnBench) tickAt(ctx context.Context, sinceStart time.Duration) error {
	b.setClock(sinceStart)
	_, err := b.solver.Tick(ctx)
	return err
}

func (b *turnBench) rollAt(ctx context.Context, sinceStart time.Duration) error {
	b.setClock(sinceStart)
	return b.worker.RunOnce(ctx)
}

func (b *turnBench) setClock(sinceStart time.Duration) {
	b.now = time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC).Add(sinceStart)
}

// copyBare copies rows like those of offers into a table with nothing but the PostgreSQL library.
func (b *turnBench) copyBare(ctx context.Context) ([]stage, error) {
	const create = `CREATE TABLE bare (
		turn_id INTEGER, creditor_id BIGINT, debtor_id BIGINT, amount BIGINT, PRIMARY KEY (turn_id, creditor_id, debtor_id))`
	if _, err := b.solverDB.Pool().Exec(ctx, create); err != nil {
		return nil, err
	}
	s, err := measure("copy rows into a table, bare", func() error {
		columns := []string{"turn_id", "creditor_id", "debtor_id", "amount"}
		return b.fill(ctx, b.solverDB.Pool(), "bare", columns, func(o offered, _ int64) []any {
			return []any{int32(1), int64(o.creditor), int64(o.debtor), o.amount}
		})
	})
	return withRows(ctx, s, err, b.solverDB.DB, "bare")
}

func (b *turnBench) makeOffers(ctx context.Context) ([]stage, error) {
	s, err := measure("policies to candidate offers", func() error { return b.rollAt(ctx, 12*time.Minute) })
	return withRows(ctx, s, err, b.workerDB.DB, "outbox")
}

func (b *turnBench) pourOffers(ctx context.Context) ([]stage, error) {
	if err := b.addLocks(ctx); err != nil {
		return nil, err
	}
	s, err := measure("pour offers", func() error { return b.rollAt(ctx, 68*time.Minute) })
	return withRows(ctx, s, err, b.solverDB.DB, "sell_offer", "buy_offer")
}

// clear has the solver do its part, and looks up in the summary how long what took.
func (b *turnBench) clear(ctx context.Context) ([]stage, error) {
	all, err := measure("clear", func() error { return b.tickAt(ctx, 72*time.Minute) })
	if err != nil {
		return nil, err
	}
	summary, err := b.solverDB.Pool().Query(ctx, `
		SELECT read_seconds, clear_seconds, sell_offers + buy_offers AS offers, takings + givings + transfers AS results
		FROM trade_turn_summary WHERE failure IS NULL`)
	if err != nil {
		return nil, err
	}
	sums, err := pgx.CollectExactlyOneRow(summary, pgx.RowToStructByName[struct {
		ReadSeconds, ClearSeconds float64
		Offers, Results           int64
	}])
	return []stage{
		{"read the market", sums.ReadSeconds, sums.Offers, 0},
		{"clear it", sums.ClearSeconds, sums.Offers, 0},
		{"check and publish the results", all.seconds - sums.ReadSeconds - sums.ClearSeconds, sums.Results, all.peak},
	}, err
}

func (b *turnBench) copyResults(ctx context.Context) ([]stage, error) {
	s, err := measure("copy the results, take them away", func() error { return b.rollAt(ctx, 73*time.Minute) })
	if err != nil {
		return nil, err
	}
	if err := b.tickAt(ctx, 74*time.Minute); err != nil {
		return nil, err
	}
	unfinished, err := countRows(ctx, b.solverDB.DB, "turn WHERE phase < 4")
	if err == nil && unfinished > 0 {
		err = errors.New("the turn has not been finished")
	}
	return withRows(ctx, s, err, b.workerDB.DB, "worker_collecting", "worker_dispatching", "worker_sending")
}

// withRows returns a stage with the number of rows that tables have now. It passes on what has failed before.
func withRows(ctx context.Context, s stage, failure error, db *postgres.DB, tables ...string) ([]stage, error) {
	if failure != nil {
		return nil, failure
	}
	rows, err := countRows(ctx, db, tables...)
	s.rows = rows
	return []stage{s}, err
}

func countRows(ctx context.Context, db *postgres.DB, tables ...string) (rows int64, err error) {
	query := "SELECT (SELECT count(*) FROM " + strings.Join(tables, ") + (SELECT count(*) FROM ") + ")"
	err = db.Pool().QueryRow(ctx, query).Scan(&rows)
	return rows, err
}

// measure does something, and tells how long that took, and how much memory this process had meanwhile.
func measure(name string, do func() error) (stage, error) {
	debug.FreeOSMemory()
	const resetPeak = "5"
	if err := os.WriteFile("/proc/self/clear_refs", []byte(resetPeak), 0); err != nil {
		return stage{}, fmt.Errorf("measuring memory works on Linux only: %w", err)
	}
	start := time.Now()
	if err := do(); err != nil {
		return stage{}, fmt.Errorf("%s: %w", name, err)
	}
	seconds := time.Since(start).Seconds()
	peak, err := peakMemory()
	return stage{name: name, seconds: seconds, peak: peak}, err
}

// peakMemory returns the largest amount of memory that this process had since the peak was reset, in bytes.
func peakMemory() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	return kilobytes(string(status), "VmHWM:")
}

// kilobytes returns the bytes of a line of a file below /proc, such as "VmHWM: 12 kB".
func kilobytes(file, name string) (bytes float64, err error) {
	for line := range strings.Lines(file) {
		if text, found := strings.CutPrefix(line, name); found {
			kilobytes, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
			return kilobytes * 1024, err
		}
	}
	return 0, fmt.Errorf("the kernel does not tell %s", name)
}
