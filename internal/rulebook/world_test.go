package rulebook_test

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// inOrder goes through a map in the order of its keys, which is the same in each run.
func inOrder[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// A faults says what can go wrong in a round.
type faults struct {
	areFlat bool // all interest rates are zero, for ever

	// Some things go wrong for good: accounts vanish, transfers fail for no reason, news of them get lost, the solver is not
	// right, workers do not understand each other. Then there are many good outcomes.
	areHard bool

	areDoubled bool // everything comes twice, even when nothing else goes wrong any more
}

// between draws a number of a range, each with the same probability, whereas rapid itself prefers small ones: then,
// hardly anybody would ever trade.
func between[N ~int | ~int32 | ~int64](rt *rapid.T, label string, least, most N) N {
	const bits = 24
	return rapid.Custom(func(rt *rapid.T) N {
		var number uint64
		for range bits {
			number *= 2
			if rapid.Bool().Draw(rt, "bit") {
				number++
			}
		}
		return least + N(number%uint64(most-least+1))
	}).Draw(rt, label)
}

// oneOf draws one of some things, each with the same probability.
func oneOf[T any](rt *rapid.T, label string, things []T) T {
	return things[between(rt, label, 0, len(things)-1)]
}

type failer interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A world is a few workers, a solver, and an accounting authority. What they tell each other waits until somebody
// delivers it. All of it is checked.
type world struct {
	tb     testing.TB
	rt     *rapid.T // for what is random
	fail   failer   // for what is wrong
	faults faults
	quiet  bool // nothing goes wrong any more
	clock  time.Time
	closes time.Time // when the turn under way will not take offers any more
	nodes  []*node
	solver *solverdb.DB

	*authority
	mail      [][]smp.Message // for each worker
	requests  []smp.Message   // for the authority
	delivered []smp.Message   // to any worker

	debtors    []swpt.DebtorID
	collectors map[swpt.DebtorID][]swpt.CreditorID
	initial    map[accountKey]int64 // principals
	totals     map[swpt.DebtorID]int64
	decisions  map[int32]*decision

	journal
}

// newWorld returns a world in which nobody has an account. The workers forget everything.
func newWorld(tb testing.TB, fail failer, nodes []*node, solver *solverdb.DB, extended bool) *world {
	tb.Helper()
	w := &world{
		tb: tb, fail: fail, nodes: nodes, solver: solver, clock: start, mail: make([][]smp.Message, len(nodes)),
		authority: newAuthority(), collectors: map[swpt.DebtorID][]swpt.CreditorID{}, initial: map[accountKey]int64{},
		totals: map[swpt.DebtorID]int64{}, decisions: map[int32]*decision{}, journal: newJournal(),
	}
	w.now = func() time.Time { return w.clock }
	w.say, w.failure, w.committed, w.insufficient = w.post, w.goesWrong, w.checkCommitted, w.checkInsufficient
	clearTables(tb, solver.DB, solverTables)
	for _, n := range nodes {
		clearTables(tb, n.DB.DB, workerTables)
		n.begin(solver, extended, w.now)
	}
	return w
}

// drawWorld draws a world.
func drawWorld(tb testing.TB, rt *rapid.T, nodes []*node, solver *solverdb.DB) *world {
	tb.Helper()
	f := faults{areFlat: rapid.Bool().Draw(rt, "flat"), areHard: between(rt, "hard", 0, 2) == 0, areDoubled: rapid.Bool().Draw(rt, "doubled")}
	w := newWorld(tb, rt, nodes, solver, !f.areHard || rapid.Bool().Draw(rt, "extended"))
	w.rt, w.faults = rt, f
	for debtor := range between[swpt.DebtorID](rt, "currencies", 1, 2) {
		w.drawCurrency(100 + debtor)
	}
	return w
}

func (w *world) drawCurrency(debtor swpt.DebtorID) {
	w.debtors = append(w.debtors, debtor)
	for i := range between[swpt.CreditorID](w.rt, "collectors", 1, 3) {
		rate := 0.0
		if !w.faults.areFlat {
			rate = oneOf(w.rt, "rate", []float64{0, -20, 5})
		}
		w.addCollector(accountKey{debtor, firstCollector + i}, oneOf(w.rt, "surplus", []int64{0, 5}), rate)
	}
	for i := range between[swpt.CreditorID](w.rt, "customers", 3, 8) {
		w.addCustomer(accountKey{debtor, firstCustomer + i}, w.tokens("balance"))
	}
	w.totals[debtor] = w.total(debtor)
}

// tokens draws an amount. Some are so small that hardly anything is left of them.
func (w *world) tokens(label string) int64 {
	return between(w.rt, label, 0, oneOf(w.rt, "range", []int64{5, 100_000, 100_000, 100_000}))
}

func (w *world) addCollector(key accountKey, principal int64, rate float64) {
	w.collectors[key.debtor] = append(w.collectors[key.debtor], key.creditor)
	acc := w.open(key, principal, rate)
	w.initial[key] = principal
	w.exec(w.nodeOf(key.creditor), `INSERT INTO needed_worker_account VALUES ($1, $2, $3)`, key.creditor, key.debtor, w.clock)
	if _, err := w.solver.Pool().Exec(w.tb.Context(), `
		INSERT INTO collector_account (debtor_id, collector_id, collector_hash, account_id, status, latest_status_change_at)
		VALUES ($1, $2, $3, $4, 2, $5)`,
		key.debtor, key.creditor, shard.KeyOf(key.creditor).Hash16(), acc.id(), w.clock); err != nil {
		w.tb.Fatal(err)
	}
	w.update(acc, 0, huge)
}

func (w *world) addCustomer(key accountKey, principal int64) {
	acc := w.open(key, principal, 0)
	w.initial[key] = principal
	w.post(&smp.UpdatedLedger{
		DebtorID: key.debtor, CreditorID: key.creditor, UpdateID: 1, AccountID: acc.id(), CreationDate: accountsCreated,
		Principal: principal, TS: w.clock,
	})
}

func (w *world) nodeOf(id swpt.CreditorID) *node {
	return w.nodes[w.numberOf(shard.KeyOf(id))]
}

func (w *world) numberOf(key shard.Key) int {
	return slices.IndexFunc(w.nodes, func(n *node) bool { return n.realm.Match(key) })
}

func (w *world) exec(n *node, sql string, args ...any) {
	if _, err := n.Pool().Exec(w.tb.Context(), sql, args...); err != nil {
		w.tb.Fatalf("%s: %v", sql, err)
	}
}

// post puts a message into the mail of the worker that it is for.
func (w *world) post(m smp.Message) {
	key := m.ShardKey()
	digest := shard.KeyOf(key.ID)
	if key.IsText {
		digest = shard.KeyOfString(key.Text)
	}
	number := w.numberOf(digest)
	w.mail[number] = append(w.mail[number], m)
}

// goesWrong draws whether the authority refuses something for a reason that nobody else can see.
func (w *world) goesWrong(isCommit bool, sender *account) string {
	if w.quiet {
		return ""
	}
	codes := []string{"", "", "", "", "", ""}
	switch {
	case sender.creditor >= firstCustomer && isCommit, sender.creditor >= firstCustomer && w.faults.areHard:
		codes = append(codes, "SENDER_IS_UNREACHABLE", "ANYTHING")
	case sender.creditor >= firstCustomer:
		codes = append(codes, "INSUFFICIENT_AVAILABLE_AMOUNT")
	default:
		codes = append(codes, "RECIPIENT_IS_UNREACHABLE", "SENDER_IS_UNREACHABLE", "INSUFFICIENT_AVAILABLE_AMOUNT", "TIMEOUT")
		if w.faults.areHard {
			codes = append(codes, "ANYTHING")
		}
	}
	return oneOf(w.rt, "status code", codes)
}

// listen takes what a worker has said, checks it, and passes it on. The batch is what the worker has been told.
func (w *world) listen(n *node, batch []smp.Message) {
	said, err := n.said(w.tb.Context())
	if err != nil {
		w.tb.Fatal(err)
	}
	before := w.look(n)
	for _, m := range said {
		switch m := m.(type) {
		case *smp.PrepareTransfer:
			w.checkPrepare(n, m, before, batch)
			w.requests = append(w.requests, m)
		case *smp.FinalizeTransfer:
			w.checkFinalize(m)
			w.requests = append(w.requests, m)
		case *smp.ConfigureAccount:
			w.checkConfigure(m)
		default:
			w.post(m)
		}
	}
}

// deliver has a worker handle a batch.
func (w *world) deliver(n *node, batch []smp.Message, dies bool) {
	if err := n.handle(w.tb.Context(), batch, dies); err != nil {
		w.fail.Fatalf("handling %d messages: %v", len(batch), err)
	}
	w.listen(n, batch)
}

// take takes some messages, in any order. Copies of some of them stay.
func (w *world) take(from *[]smp.Message) []smp.Message {
	if len(*from) == 0 {
		return nil
	}
	all := rapid.Permutation(*from).Draw(w.rt, "order")
	count := min(len(all), oneOf(w.rt, "batch size", []int{1, 3, 500}))
	taken := slices.Clone(all[:count])
	*from = slices.Clone(all[count:])
	if between(w.rt, "a copy stays", 0, 2) == 0 {
		*from = append(*from, taken[0])
	}
	return taken
}

// step has something happen.
func (w *world) step() {
	n := between(w.rt, "worker", 0, len(w.nodes)-1)
	node := w.nodes[n]
	switch oneOf(w.rt, "event", []string{
		"mail", "mail", "mail", "mail", "authority", "authority", "authority", "credit", "credit", "roll", "roll", "trigger",
		"mirror", "mirror", "everybody", "everybody", "everybody", "everybody", "time", "lose", "lose", "crash", "again", "again", "rate", "vanish",
		"return",
	}) {
	case "mail":
		if batch := w.take(&w.mail[n]); len(batch) > 0 {
			w.deliver(node, batch, false)
			w.delivered = append(w.delivered, batch...)
		}
	case "crash":
		batch := rapid.Permutation(w.mail[n]).Draw(w.rt, "order")
		w.deliver(node, batch, true)
	case "again":
		if len(w.delivered) > 0 {
			for range 5 {
				w.post(oneOf(w.rt, "message", w.delivered))
			}
		}
	case "authority":
		for _, m := range w.take(&w.requests) {
			w.handle(m)
		}
	case "credit":
		if len(w.inFlight) > 0 {
			w.credit(between(w.rt, "payment", 0, len(w.inFlight)-1))
		}
	case "roll":
		w.roll(node)
	case "trigger":
		w.triggerAll(node)
	case "mirror":
		w.mirror(node)
	case "everybody":
		if between(w.rt, "loses", 0, 3) == 0 {
			w.lose()
		}
		for _, n := range w.nodes {
			w.roll(n)
		}
		w.exchange()
	case "time":
		w.passTimeInTurn(oneOf(w.rt, "time", []time.Duration{time.Second, time.Minute, 20 * time.Minute, 3 * time.Hour}))
	case "lose":
		w.lose()
	case "rate":
		if !w.faults.areFlat {
			w.clock = w.clock.Add(time.Minute) // changes are far apart
			debtor := oneOf(w.rt, "currency", w.debtors)
			collector := oneOf(w.rt, "collector", w.collectors[debtor])
			w.setRate(w.accounts[accountKey{debtor, collector}], oneOf(w.rt, "rate", []float64{-50, -10, 0, 10}))
		}
	case "vanish":
		w.anyAccount().isGone = true
	case "return":
		w.anyAccount().isGone = false
	}
}

func (w *world) anyAccount() *account {
	keys := slices.SortedFunc(maps.Keys(w.accounts), func(a, b accountKey) int {
		return cmp.Or(cmp.Compare(a.debtor, b.debtor), cmp.Compare(a.creditor, b.creditor))
	})
	return w.accounts[oneOf(w.rt, "account", keys)]
}

// lose loses messages that can get lost. If the times are hard, these are also those which should not.
func (w *world) lose() {
	w.requests = slices.DeleteFunc(w.requests, func(m smp.Message) bool {
		_, isLossy := m.(*smp.PrepareTransfer)
		return isLossy && rapid.Bool().Draw(w.rt, "lost")
	})
	if !w.faults.areHard {
		return
	}
	for n := range w.mail {
		w.mail[n] = slices.DeleteFunc(w.mail[n], func(m smp.Message) bool {
			switch m.(type) {
			case *smp.FinalizedTransfer, *smp.AccountTransfer:
				return between(w.rt, "lost", 0, 3) == 0
			default:
				return false
			}
		})
	}
}

func (w *world) passTime(d time.Duration) {
	w.clock = w.clock.Add(d)
	w.remind()
}

// passTimeInTurn does the same, but not so that a turn ends without offers.
func (w *world) passTimeInTurn(d time.Duration) {
	if w.clock.Before(w.closes) {
		d = min(d, w.closes.Sub(w.clock)-1)
	}
	w.passTime(d)
}

func (w *world) roll(n *node) {
	if err := n.roller.RunOnce(w.tb.Context()); err != nil {
		w.fail.Fatalf("rolling transfers: %v", err)
	}
	w.listen(n, nil)
}

func (w *world) triggerAll(n *node) {
	if err := n.trigger.RunOnce(w.tb.Context()); err != nil {
		w.fail.Fatalf("triggering transfers: %v", err)
	}
	w.listen(n, nil)
}

func (w *world) mirror(n *node) {
	if err := n.mirror.RunOnce(w.tb.Context()); err != nil {
		w.fail.Fatalf("following turns: %v", err)
	}
	w.listen(n, nil)
}

func (w *world) mirrorAll() {
	for _, n := range w.nodes {
		w.mirror(n)
	}
}

// trade has a turn take place, until it has been decided. Things happen meanwhile.
func (w *world) trade(turn int32) {
	w.beginTurn(turn, oneOf(w.rt, "least amount", []int64{1, 100}))
	for _, key := range slices.SortedFunc(maps.Keys(w.accounts), func(a, b accountKey) int {
		return cmp.Or(cmp.Compare(a.debtor, b.debtor), cmp.Compare(a.creditor, b.creditor))
	}) {
		if key.creditor >= firstCustomer && between(w.rt, "offers", 0, 9) > 0 {
			w.offer(turn, w.accounts[key])
		}
	}
	for range between(w.rt, "steps", 0, 20) {
		w.step()
	}
	for range between(w.rt, "exchanges", 1, 5) { // an offer needs three of them to get prepared
		w.exchange()
	}
	w.clock = w.closes
	w.mirrorAll()
	d, sellers, buyers, err := readOffers(w.tb.Context(), w.solver, turn, w.collectors)
	if err != nil {
		w.tb.Fatal(err)
	}
	decide(w.rt, d, sellers, buyers, w.faults.areHard)
	w.passTime(10 * time.Minute)
	w.publish(d)
	for _, n := range w.nodes { // the others learn of the decision later
		if rapid.Bool().Draw(w.rt, "knows at once") {
			w.mirror(n)
		}
	}
}

// How long a turn takes offers, and how much longer its second phase lasts.
const (
	offering = time.Hour
	pouring  = 5 * time.Minute
)

// beginTurn has a turn begin, and all workers know of it.
func (w *world) beginTurn(turn int32, leastAmount int64) {
	if _, err := w.solver.Pool().Exec(w.tb.Context(), `INSERT INTO turn VALUES ($1, $2, 'L1', 1, 10, $3, 2, $4, NULL, $5)`,
		turn, w.clock, leastAmount, w.clock.Add(offering+pouring), w.clock.Add(30*day)); err != nil {
		w.tb.Fatal(err)
	}
	w.closes = w.clock.Add(offering + time.Microsecond)
	w.mirrorAll()
}

func (w *world) publish(d *decision) {
	w.decisions[d.turn] = d
	if err := d.publish(w.tb.Context(), w.solver, w.clock); err != nil {
		w.tb.Fatal(err)
	}
}

// offer makes a candidate offer. What is on sale may be more than there is.
func (w *world) offer(turn int32, acc *account) {
	amount := 1 + w.tokens("buys")
	if acc.principal > 0 && rapid.Bool().Draw(w.rt, "sells") {
		amount = -between(w.rt, "on sale", 1, acc.principal+acc.principal/10)
	}
	number := acc.transferNumber
	if number > 0 && between(w.rt, "ledger is late", 0, 1) == 0 {
		number--
	}
	w.post(&smp.CandidateOffer{
		TurnID: turn, DebtorID: acc.debtor, CreditorID: acc.creditor, Amount: amount, AccountCreationDate: accountsCreated,
		LastTransferNumber: number, TS: w.clock,
	})
}

// rows returns what a query returns in one of the workers.
func rows[T any](w *world, n *node, sql string) []T {
	found, err := n.Pool().Query(w.tb.Context(), sql)
	if err != nil {
		w.tb.Fatal(err)
	}
	all, err := pgx.CollectRows(found, pgx.RowToStructByName[T])
	if err != nil {
		w.tb.Fatal(err)
	}
	return all
}
