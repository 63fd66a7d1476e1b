package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/mirror"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/rulebook"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/turn"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

// townTurn is the turn of these tests. It does not fit into 16 bits.
const townTurn = 70_000

// townMorning is when the turn starts.
var townMorning = time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC)

// A town is a solver, two workers, each with one half of all keys, and an accounting authority, without a broker.
type town struct {
	t       *testing.T
	village *village
	now     time.Time // for everybody
	log     bytes.Buffer

	db      *solverdb.DB
	solver  *turn.Roller
	workers [2]*townWorker

	transfers int64 // that the authority has prepared
	delayed   []townMail
}

type townWorker struct {
	realm   shard.Realm
	db      *workerdb.DB
	roller  *mirror.Roller
	handler *inbox.Handler
}

// A townMail is a message for a worker.
type townMail struct {
	to      *townWorker
	message smp.Message
}

func newTown(t *testing.T, v *village) *town {
	t.Helper()
	w := &town{t: t, village: v, now: townMorning, db: solverdbtest.New(t)}
	logger := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	clock := func() time.Time { return w.now }
	w.solver = turn.NewRoller(turn.Config{
		DB: w.db,
		Settings: turn.Settings{
			Schedule:       turn.Schedule{Period: 24 * time.Hour, Offset: 2 * time.Hour},
			Phase1Duration: 10 * time.Minute, Phase2Duration: time.Hour, MaxCommitPeriod: 30 * 24 * time.Hour,
			BaseLocator: v.currencies[0].locator, BaseDebtorID: v.currencies[0].debtor,
			MaxDistanceToBase: villageDistance, MinTradeAmount: villageMinimum,
			CheckInterval: time.Minute, WorkMem: "50MB",
		},
		Now: clock, Metrics: turn.NewMetrics(prometheus.NewRegistry(), clock), Logger: logger,
	})
	for i, key := range []string{"0.#", "1.#"} {
		w.workers[i] = w.newWorker(key, clock, logger)
	}
	return w
}

func (w *town) newWorker(routingKey string, clock func() time.Time, logger *slog.Logger) *townWorker {
	w.t.Helper()
	realm, err := shard.ParseWorkerRealm(routingKey)
	if err != nil {
		w.t.Fatal(err)
	}
	var settings rulebook.Settings
	if _, err := config.Load(&settings, config.Input{}); err != nil {
		w.t.Fatal(err)
	}
	db := workerdbtest.New(w.t)
	return &townWorker{
		realm: realm, db: db,
		roller: &mirror.Roller{
			Settings: mirror.Settings{
				Realm: realm, Wait: time.Hour, Lead: config.Pouring{Cushion: 5 * time.Minute}.Lead,
				CollectingSlack: time.Hour, SendingSlack: time.Hour, DispatchingSlack: time.Hour, Version: "v1",
			},
			Worker: db, Solver: w.db, Now: clock, Metrics: mirror.NewMetrics(prometheus.NewRegistry()), Logger: logger,
		},
		handler: &inbox.Handler{
			Realm: realm, DB: db, Now: clock, Metrics: inbox.NewMetrics(prometheus.NewRegistry()),
			Rules: rulebook.New(realm, settings, rulebook.NewMetrics(prometheus.NewRegistry()), logger),
		},
	}
}

// owner returns the worker that has a key.
func (w *town) owner(key shard.Key) *townWorker { return w.workers[key>>31] }

func (w *town) exec(db *postgres.DB, statement string, args ...any) {
	w.t.Helper()
	if _, err := db.Pool().Exec(w.t.Context(), statement, args...); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

// rows returns the rows of a query, each as its values with commas between them, in alphabetical order.
func (w *town) rows(db *postgres.DB, query string, args ...any) []string {
	w.t.Helper()
	rows, err := db.Pool().Query(w.t.Context(), query, args...)
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return line(values...), err
	})
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	slices.Sort(lines)
	return lines
}

func line(values ...any) string {
	cells := make([]string, len(values))
	for i, value := range values {
		cells[i] = fmt.Sprint(value)
	}
	return strings.Join(cells, ",")
}

func (w *town) mustBe(what string, got, want []string) {
	w.t.Helper()
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	strange := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return slices.Contains(want, s) })
	missing := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(got, s) })
	w.t.Fatalf("%s: of %d, there are %d; strange: %q; missing: %q", what, len(want), len(got), strange, missing)
}

// settle puts into the databases what there is before the turn. As after the split of a shard, each worker also has
// rows that belong to the other one; those of policies are out of date there.
func (w *town) settle() {
	w.t.Helper()
	w.exec(w.db.DB, `SELECT setval('turn_turn_id_seq', $1)`, townTurn-1)
	for _, c := range w.village.collectors {
		w.exec(w.db.DB, `INSERT INTO collector_account VALUES ($1, $2, $3, $4, $5, now())`,
			c.debtor, c.collector, shard.KeyOf(c.collector).Hash16(), fmt.Sprintf("account-%d", c.collector), c.status)
	}
	for _, worker := range w.workers {
		for _, c := range w.village.currencies {
			w.exec(worker.db.DB, `INSERT INTO debtor_info_document VALUES ($1, $2, $3, $4, $5, NULL, 'epoch')`,
				c.locator, c.debtor, c.pegLocator, c.pegDebtor, c.pegRate)
		}
		for debtor, locator := range w.village.claims {
			w.exec(worker.db.DB, `INSERT INTO debtor_locator_claim VALUES ($1, $2, 'epoch', 'epoch', NULL)`, debtor, locator)
		}
		for a, p := range w.village.policies {
			principal := p.principal
			if w.owner(shard.KeyOf(a.creditor)) != worker {
				principal /= 2
			}
			w.exec(worker.db.DB, `
				INSERT INTO trading_policy (creditor_id, debtor_id, account_id, account_id_is_obsolete, creation_date, principal,
					last_transfer_number, policy_name, min_principal, max_principal, peg_debtor_id, peg_exchange_rate, config_flags)
				VALUES ($1, $2, $3, $4, '2020-01-01'::DATE + $5::INTEGER, $6, $7, nullif($8, ''), $9, $10,
					nullif($11::BIGINT, 0), CASE WHEN $11 <> 0 THEN $12::FLOAT8 END, $13)`,
				a.creditor, a.debtor, p.accountID, p.obsolete, p.creationDateOffset, principal, p.lastTransferNumber, p.name,
				p.minPrincipal, p.maxPrincipal, p.pegDebtor, p.pegRate, p.flags)
		}
	}
}

// tickAt sets the clock, and has the solver do what is due.
func (w *town) tickAt(sinceMorning time.Duration) {
	w.t.Helper()
	w.now = townMorning.Add(sinceMorning)
	if _, err := w.solver.Tick(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// rollAt sets the clock, and has workers do what is due.
func (w *town) rollAt(sinceMorning time.Duration, workers ...*townWorker) {
	w.t.Helper()
	w.now = townMorning.Add(sinceMorning)
	for _, worker := range workers {
		if err := worker.roller.RunOnce(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// deliver brings messages to where they belong, until none is on its way but those that take very long. It returns the
// candidate offers among them, and the debtors who need a collector.
func (w *town) deliver() (candidates, needed []string) {
	w.t.Helper()
	for {
		var mail []townMail
		for _, worker := range w.workers {
			for _, m := range w.collect(worker) {
				switch message := m.message.(type) {
				case *smp.CandidateOffer:
					if message.TurnID != townTurn || !message.TS.Equal(w.now) || m.to != worker {
						w.t.Fatalf("a worker sends %+v", message)
					}
					candidates = append(candidates, line(message.CreditorID, message.DebtorID, message.Amount,
						message.AccountCreationDate, message.LastTransferNumber))
				case *smp.NeededCollector:
					needed = append(needed, strconv.FormatInt(int64(message.DebtorID), 10))
				}
				mail = append(mail, m)
			}
		}
		if mail == nil {
			slices.Sort(candidates)
			slices.Sort(needed)
			return candidates, slices.Compact(needed)
		}
		w.handle(slices.DeleteFunc(mail, w.takesLong))
	}
}

// takesLong tells whether a message does not arrive in time. It will be delivered later.
func (w *town) takesLong(m townMail) bool {
	var slow fate
	var a account
	switch message := m.message.(type) {
	case *smp.CandidateOffer:
		slow, a = delayed, account{message.CreditorID, message.DebtorID}
	case *smp.PreparedTransfer:
		slow, a = late, account{message.CreditorID, message.DebtorID}
	default:
		return false
	}
	if w.village.policies[a].fate != slow {
		return false
	}
	w.delayed = append(w.delayed, m)
	return true
}

// handle has workers handle messages, one after the other.
func (w *town) handle(mail []townMail) {
	w.t.Helper()
	for _, worker := range w.workers {
		var batch []smp.Message
		for _, m := range mail {
			if m.to == worker {
				batch = append(batch, m.message)
			}
		}
		if err := worker.handler.Handle(w.t.Context(), batch); err != nil {
			w.t.Fatal(err)
		}
	}
}

// collect empties the outbox of a worker. What is for the accounting authority is answered.
func (w *town) collect(worker *townWorker) (mail []townMail) {
	w.t.Helper()
	type record struct {
		Type, Body string
		ShardKey   int32
	}
	rows, err := worker.db.Pool().Query(w.t.Context(), `DELETE FROM outbox RETURNING type, body, shard_key`)
	if err != nil {
		w.t.Fatal(err)
	}
	records, err := pgx.CollectRows(rows, pgx.RowToStructByName[record])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		to := w.owner(shard.Key(uint32(r.ShardKey)))
		if r.Type == smp.TypePrepareTransfer {
			var request smp.PrepareTransfer
			if err := json.Unmarshal([]byte(r.Body), &request); err != nil {
				w.t.Fatal(err)
			}
			mail = append(mail, w.prepare(&request)...)
			continue
		}
		delivery := broker.Delivery{ContentType: smp.ContentType, Type: r.Type, Body: []byte(r.Body)}
		message, err := to.handler.Check(delivery)
		if err != nil {
			w.t.Fatalf("%s: %v", r.Body, err)
		}
		mail = append(mail, townMail{to, message})
	}
	return mail
}

// prepare is what the accounting authority does when it is asked to secure an amount.
func (w *town) prepare(m *smp.PrepareTransfer) []townMail {
	w.t.Helper()
	if m.CoordinatorType != smp.CoordinatorAgent || !strings.HasPrefix(m.Recipient, "account-") {
		w.t.Fatalf("a worker sends %+v", m)
	}
	to := w.owner(shard.KeyOf(m.CreditorID))
	p := w.village.policies[account{m.CreditorID, m.DebtorID}]
	if p.fate == silent {
		return nil
	}
	if p.fate == rejected || p.available < m.MinLockedAmount {
		return []townMail{{to, &smp.RejectedTransfer{
			DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType, CoordinatorID: m.CoordinatorID,
			CoordinatorRequestID: m.CoordinatorRequestID, StatusCode: "INSUFFICIENT_AVAILABLE_AMOUNT", TS: w.now,
		}}}
	}
	w.transfers++
	return []townMail{{to, &smp.PreparedTransfer{
		DebtorID: m.DebtorID, CreditorID: m.CreditorID, CoordinatorType: m.CoordinatorType, CoordinatorID: m.CoordinatorID,
		CoordinatorRequestID: m.CoordinatorRequestID, TransferID: w.transfers,
		LockedAmount: min(p.available, m.MaxLockedAmount), Recipient: m.Recipient, PreparedAt: w.now,
		Deadline: w.now.AddDate(100, 0, 0), FinalInterestRateTS: m.FinalInterestRateTS, TS: w.now,
	}}}
}

// isSelfLock tells whether a collector has locked its own account.
func (w *town) isSelfLock(a account) bool {
	w.t.Helper()
	return len(w.rows(w.owner(shard.KeyOf(a.creditor)).db.DB,
		`SELECT 1 FROM account_lock WHERE creditor_id = $1 AND debtor_id = $2 AND collector_id = creditor_id`,
		a.creditor, a.debtor)) > 0
}

// mustOffer checks the offers that the solver has, and returns them as a book.
func (w *town) mustOffer() (book map[string]string) {
	w.t.Helper()
	sells, buys := w.village.offers(w.isSelfLock)
	var wantSells, wantBuys []string
	for a, amount := range sells {
		wantSells = append(wantSells, line(a.creditor, a.debtor, amount))
	}
	for a, amount := range buys {
		wantBuys = append(wantBuys, line(a.creditor, a.debtor, amount))
	}
	w.mustBe("sell offers", w.rows(w.db.DB, `SELECT creditor_id, debtor_id, amount FROM sell_offer
		JOIN collector_account USING (debtor_id, collector_id) WHERE turn_id = $1 AND status = 2`, townTurn), wantSells)
	w.mustBe("buy offers", w.rows(w.db.DB, `SELECT creditor_id, debtor_id, amount FROM buy_offer WHERE turn_id = $1`,
		townTurn), wantBuys)
	collectors := map[account]swpt.CreditorID{}
	var a account
	var collector swpt.CreditorID
	rows, err := w.db.Pool().Query(w.t.Context(), `SELECT creditor_id, debtor_id, collector_id FROM sell_offer`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&a.creditor, &a.debtor, &collector}, func() error {
			collectors[a] = collector
			return nil
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return w.village.book(sells, buys, collectors)
}

// A change is a line of takings.csv, givings.csv or collector_transfers.csv: four numbers.
type change [4]int64

func changes(t *testing.T, file string) (all []change) {
	t.Helper()
	for i, text := range slices.Collect(strings.Lines(file)) {
		if i == 0 {
			continue // the names of the columns
		}
		var c change
		for k, cell := range strings.Split(strings.TrimSpace(text), ",") {
			number, err := strconv.ParseInt(cell, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			c[k] = number
		}
		all = append(all, c)
	}
	return all
}

// solve has the command clear a book, with the turn as its seed.
func (w *town) solve(book map[string]string) (takings, givings, transfers []change) {
	w.t.Helper()
	out := w.t.TempDir()
	base := w.village.currencies[0]
	mustTrade(w.t, "solve", "--book", writeFiles(w.t, book), "--out", out, "--seed", strconv.Itoa(townTurn),
		"--base-debtor-id", strconv.FormatInt(int64(base.debtor), 10), "--base-debtor-info-locator", base.locator,
		"--max-distance-to-base", strconv.Itoa(villageDistance), "--min-trade-amount", strconv.Itoa(villageMinimum))
	files := readFiles(w.t, out)
	return changes(w.t, files["takings.csv"]), changes(w.t, files["givings.csv"]), changes(w.t, files["collector_transfers.csv"])
}

// Tallies are what a collector has to do, in sum: to collect, of which its own is not a part, to send, to receive, to
// dispatch.
type tallies struct{ collect, own, send, receive, number, dispatch int64 }

func add(sum *int64, amount int64) {
	if *sum > math.MaxInt64-amount {
		*sum = math.MaxInt64
	} else {
		*sum += amount
	}
}

// expectations are what workers have to copy, by table.
type expectations struct {
	tables   map[string][]string
	statuses map[account]*tallies // by collector
}

func (e *expectations) copied(table string, values ...any) {
	e.tables[table] = append(e.tables[table], line(values...))
}

func (e *expectations) of(collector, debtor int64) *tallies {
	a := account{swpt.CreditorID(collector), swpt.DebtorID(debtor)}
	if e.statuses[a] == nil {
		e.statuses[a] = &tallies{}
	}
	return e.statuses[a]
}

// expect returns what a worker has to copy of an outcome.
func (w *town) expect(worker *townWorker, takings, givings, transfers []change) map[string][]string {
	e := expectations{map[string][]string{}, map[account]*tallies{}}
	isOurs := func(id int64) bool { return worker.realm.Match(shard.KeyOf(id)) }
	for _, c := range takings {
		creditor, debtor, amount, collector := c[0], c[1], c[2], c[3]
		if isOurs(creditor) {
			e.copied("creditor_participation", creditor, debtor, townTurn, -amount, collector)
		}
		switch {
		case !isOurs(collector):
		case creditor == collector:
			add(&e.of(collector, debtor).own, amount)
		default:
			e.copied("worker_collecting", collector, townTurn, debtor, creditor, amount)
			add(&e.of(collector, debtor).collect, amount)
		}
	}
	for _, c := range givings {
		creditor, debtor, amount, collector := c[0], c[1], c[2], c[3]
		if isOurs(creditor) {
			e.copied("creditor_participation", creditor, debtor, townTurn, amount, collector)
		}
		if isOurs(collector) && creditor != collector {
			e.copied("worker_dispatching", collector, townTurn, debtor, creditor, amount)
			add(&e.of(collector, debtor).dispatch, amount)
		}
	}
	for _, c := range transfers {
		debtor, from, to, amount := c[0], c[1], c[2], c[3]
		if isOurs(from) && amount > 1 {
			e.copied("worker_sending", from, townTurn, debtor, to, amount)
			add(&e.of(from, debtor).send, amount)
		}
		if isOurs(to) {
			add(&e.of(to, debtor).receive, amount)
		}
		if isOurs(to) && amount > 1 {
			e.copied("worker_receiving", to, townTurn, debtor, from, amount)
			e.of(to, debtor).number++
		}
	}
	for a, s := range e.statuses {
		if s.collect > 0 || s.send > 0 || s.number > 0 || s.dispatch > 0 {
			e.copied("dispatching_status", a.creditor, townTurn, a.debtor, s.collect, s.own, s.send, s.receive, s.number, s.dispatch)
		}
	}
	return e.tables
}

// copies are the columns that workers copy, or compute.
var copies = map[string]string{ //nolint:gosec // creditors are not credentials
	"creditor_participation": "creditor_id, debtor_id, turn_id, amount, collector_id",
	"worker_collecting":      "collector_id, turn_id, debtor_id, creditor_id, amount",
	"worker_dispatching":     "collector_id, turn_id, debtor_id, creditor_id, amount",
	"worker_sending":         "from_collector_id, turn_id, debtor_id, to_collector_id, amount",
	"worker_receiving":       "to_collector_id, turn_id, debtor_id, from_collector_id, expected_amount",
	"dispatching_status": "collector_id, turn_id, debtor_id, amount_to_collect, amount_own_sold, amount_to_send, " +
		"amount_to_receive, number_to_receive, amount_to_dispatch",
}

// left returns the tables of the solver that hold rows of the turn.
func (w *town) left(tables ...string) (notEmpty []string) {
	w.t.Helper()
	for _, table := range tables {
		if n := len(w.rows(w.db.DB, `SELECT turn_id FROM `+table)); n > 0 {
			notEmpty = append(notEmpty, fmt.Sprintf("%d in %s", n, table))
		}
	}
	return notEmpty
}

func (w *town) mustBeIn(phase int) {
	w.t.Helper()
	w.mustBe("turns", w.rows(w.db.DB, `SELECT turn_id, phase FROM turn`), []string{line(townTurn, phase)})
}

// A whole turn, with two workers: the solver gets the offers that the rules demand; what workers copy of the results is
// what the command solve computes for a book with these offers; and nothing is left behind in the solver database.
func TestTurnAgreesWithSolve(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newTown(t, newVillage(seed))
			w.settle()
			w.tickAt(0)
			w.mustBeIn(1)
			w.rollAt(time.Minute, w.workers[:]...)
			w.tickAt(11 * time.Minute)
			w.mustBeIn(2)
			w.makeOffers()

			book := w.mustOffer()
			takings, givings, transfers := w.solve(book)
			t.Logf("%d takings, %d givings, %d transfers", len(takings), len(givings), len(transfers))
			if len(takings) < 10 || len(transfers) == 0 {
				t.Error("there is hardly any trade")
			}
			w.tickAt(72 * time.Minute)
			w.mustBeIn(3)
			w.mustCopy(takings, givings, transfers)
			w.tickAt(75 * time.Minute)
			w.mustBeIn(4)
			if complaints, _ := io.ReadAll(&w.log); len(complaints) > 0 {
				t.Errorf("somebody complains: %s", complaints)
			}
		})
	}
}

// makeOffers has the workers go through phase 2, and checks what they do.
func (w *town) makeOffers() {
	w.t.Helper()
	var currencies, candidates []string
	for _, c := range w.village.currencies {
		currencies = append(currencies, line(c.locator, c.debtor, c.pegLocator, c.pegDebtor, c.pegRate, w.village.isConfirmed(c)))
	}
	w.mustBe("currencies", w.rows(w.db.DB, `SELECT debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id,
		peg_exchange_rate, is_confirmed FROM currency_info WHERE turn_id = $1`, townTurn), currencies)
	for a, amount := range w.village.candidates() {
		p := w.village.policies[a]
		created := time.Date(2020, 1, 1+p.creationDateOffset, 0, 0, 0, 0, time.UTC)
		candidates = append(candidates, line(a.creditor, a.debtor, amount, smp.DateOf(created), p.lastTransferNumber))
	}
	w.rollAt(12*time.Minute, w.workers[:]...)
	sent, needed := w.deliver()
	w.mustBe("candidate offers", sent, candidates)
	w.mustBe("needed collectors", needed, w.village.needed())
	w.rollAt(66*time.Minute, w.workers[:]...) // not yet
	if poured := w.left("sell_offer", "buy_offer"); poured != nil {
		w.t.Errorf("poured too early: %q", poured)
	}
	w.rollAt(67*time.Minute, w.workers[:]...)
	w.handle(w.delayed)
	w.deliver()
	w.rollAt(68*time.Minute, w.workers[:]...)
}

// mustCopy has the workers go through phase 3, one after the other, and checks what they copy, and what they leave.
func (w *town) mustCopy(takings, givings, transfers []change) {
	w.t.Helper()
	if inputs := w.left("debtor_info", "confirmed_debtor", "currency_info", "sell_offer", "buy_offer"); inputs != nil {
		w.t.Errorf("there are still %q", inputs)
	}
	for _, worker := range w.workers {
		w.rollAt(73*time.Minute, worker)
		w.tickAt(74 * time.Minute)
		want := w.expect(worker, takings, givings, transfers)
		for table, columns := range copies {
			w.mustBe(table, w.rows(worker.db.DB, `SELECT `+columns+` FROM `+table), want[table])
		}
		w.mustBe("revisions", w.rows(worker.db.DB, `SELECT body::JSON->>'creditor_id', body::JSON->>'debtor_id' FROM outbox
			WHERE type = 'ReviseAccountLock'`), w.rows(worker.db.DB, `SELECT creditor_id, debtor_id FROM account_lock`))
	}
	if results := w.left("creditor_taking", "creditor_giving", "collector_collecting", "collector_dispatching",
		"collector_sending", "collector_receiving", "trade_clearing_attempt"); results != nil {
		w.t.Errorf("there are still %q", results)
	}
}
