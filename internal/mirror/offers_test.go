package mirror_test

import (
	"context"
	"crypto/md5" //nolint:gosec // how IDs belong to shards
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// currencies are those of solver.md, section 7.2. All collectors are missing.
const currencies = `
	INSERT INTO currency_info VALUES
		(70000, 'L40', 40, NULL, NULL, NULL, true),
		(70000, 'L41', 41, 'L40', 40, 2, true),
		(70000, 'L42', 42, 'L41', 41, 3, true),
		(70000, 'L43', 43, 'L42', 42, 4, true),
		(70000, 'L44', 44, 'L40', 40, 0.5, false),
		(70000, 'L51', 51, NULL, 40, 1, true),
		(70000, 'L52', 52, 'L40', NULL, 1, true),
		(70000, 'L53', 53, 'L40', 40, NULL, true),
		(69999, 'L45', 45, 'L40', 40, 1, true)`

// want stores a policy that comes to a bid with the amount. The peg 0 stands for none.
func (n *node) want(
	tb testing.TB, creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64, peg swpt.DebtorID, rate float64,
) {
	tb.Helper()
	var pegDebtor *swpt.DebtorID
	var pegRate *float64
	if peg != 0 {
		pegDebtor, pegRate = &peg, &rate
	}
	n.inWorker(tb, `
		INSERT INTO trading_policy (creditor_id, debtor_id, account_id, creation_date, principal, last_transfer_number,
			policy_name, min_principal, max_principal, peg_debtor_id, peg_exchange_rate)
		VALUES ($1, $2::BIGINT, 'x', '2025-06-07', -$3::BIGINT, $2::BIGINT * 10, '', 0, 0, $4, $5)`,
		creditor, debtor, amount, pegDebtor, pegRate)
}

func (n *node) mustSend(t *testing.T, messages ...smp.Outgoing) {
	t.Helper()
	var got, want []string
	for _, messageType := range []string{smp.TypeCandidateOffer, smp.TypeNeededCollector, smp.TypeReviseAccountLock} {
		got = append(got, n.sent(t, messageType)...)
	}
	for _, m := range messages {
		body, err := m.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(body))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the outbox holds\n%q, want\n%q", got, want)
	}
}

// candidate is the message about a bid of node.want.
func candidate(creditor swpt.CreditorID, debtor swpt.DebtorID, amount int64) *smp.CandidateOffer {
	return &smp.CandidateOffer{
		TurnID: theTurn, DebtorID: debtor, CreditorID: creditor, Amount: amount,
		AccountCreationDate: smp.DateOf(time.Date(2025, 6, 7, 0, 0, 0, 0, time.UTC)), LastTransferNumber: int64(debtor) * 10,
		TS: phase1Deadline,
	}
}

func needed(debtor swpt.DebtorID) *smp.NeededCollector {
	return &smp.NeededCollector{DebtorID: debtor, TS: phase1Deadline}
}

// The traders 5 and 7 of solver.md, section 7.2, and some more.
func TestCandidateOffers(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, currencies)
	n.want(t, 5, 40, 2000, 0, 0)
	n.want(t, 5, 41, 0, 40, 2)
	n.want(t, 5, 42, -2000, 41, 3)
	n.want(t, 7, 40, 8000, 0, 0)
	n.want(t, 7, 41, 0, 40, 2)
	n.want(t, 7, 42, 0, 41, 3)
	n.want(t, 7, 43, -1000, 42, 4)
	n.want(t, 7, 44, -1500, 40, 123)
	n.want(t, 7, 45, -1000, 40, 1)
	n.want(t, 7, 46, -999, 40, 1)
	n.want(t, 7, 47, 5000, 40, 1)
	n.want(t, 7, 48, -5000, 0, 0)
	n.want(t, 7, 51, -5000, 40, 1) // a currency with half a peg has none
	n.want(t, 7, 52, -5000, 40, 1)
	n.want(t, 7, 53, -5000, 40, 1)
	n.want(t, math.MinInt64, 41, -math.MaxInt64, 40, 2)
	n.want(t, math.MinInt64, 40, math.MaxInt64, 0, 0)
	n.rollAt(t, phase1Deadline)
	n.mustSend(t,
		candidate(5, 40, 2000), candidate(5, 42, -2000),
		candidate(math.MinInt64, 41, -math.MaxInt64), candidate(math.MinInt64, 40, math.MaxInt64),
		needed(43), needed(44), needed(45), needed(51), needed(52), needed(53))
	n.mustBeAt(t, theTurn, 2, 5)
	n.mustNotComplain(t)
}

// The offers are made on the terms of the turn, as they are in the mirror.
func TestTermsOfTheTurn(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, currencies)
	n.want(t, 1, 40, 2000, 0, 0)
	n.want(t, 1, 42, -1000, 40, 6)
	for _, c := range []struct {
		change string
		want   []smp.Outgoing
	}{
		{`min_trade_amount = 1000`, []smp.Outgoing{candidate(1, 40, 2000), candidate(1, 42, -1000)}},
		{`min_trade_amount = 1001`, nil},
		{`max_distance_to_base = 1`, []smp.Outgoing{needed(42)}},
		{`base_debtor_id = 41, base_debtor_info_locator = 'L41'`, nil},
		{`base_debtor_info_locator = 'nowhere'`, []smp.Outgoing{needed(42)}},
	} {
		n.inWorker(t, `DELETE FROM outbox; UPDATE worker_turn SET subphase = 0, min_trade_amount = 1000, max_distance_to_base = 2`)
		n.inWorker(t, `UPDATE worker_turn SET `+c.change)
		n.rollAt(t, phase1Deadline)
		n.mustSend(t, c.want...)
		if t.Failed() {
			t.Fatalf("with %s", c.change)
		}
		n.inWorker(t, `UPDATE worker_turn SET base_debtor_id = 40, base_debtor_info_locator = 'L40'`)
	}
	n.mustNotComplain(t)
}

// After a split, the other half's policies are there, too. They are not ours to trade on.
func TestPoliciesOfTheOtherShard(t *testing.T) {
	t.Parallel()
	n := newNode(t, "0.#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, currencies)
	var want []smp.Outgoing
	for creditor := swpt.CreditorID(-20); creditor < 20; creditor++ {
		n.want(t, creditor, 40, 2000, 0, 0)
		n.want(t, creditor, 41, -1000, 40, 2)
		n.want(t, creditor, 1000+swpt.DebtorID(creditor), -1000, 40, 2)
		if n.roller.Settings.Realm.Match(shard.KeyOf(creditor)) {
			want = append(want, candidate(creditor, 40, 2000), candidate(creditor, 41, -1000), needed(1000+swpt.DebtorID(creditor)))
		}
	}
	n.rollAt(t, phase1Deadline)
	n.mustSend(t, want...)
}

// A collector that is on its way is not asked for again. Only a disabled one does not count. All shards' count.
func TestNeededCollectors(t *testing.T) {
	t.Parallel()
	n := newNode(t, "0.#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, currencies)
	creditor := idOf(t, "0.#", 1)
	for debtor := swpt.DebtorID(60); debtor < 66; debtor++ {
		n.want(t, creditor, debtor, -1000, 40, 1)
	}
	n.inSolver(t, `INSERT INTO collector_account VALUES
		(60, 801, 0, '', 0, now()), (61, 801, -1, '', 1, now()), (62, 801, 1, 'x', 2, now()), (63, 801, 0, 'x', 3, now()),
		(64, 801, 0, 'x', 3, now()), (64, 802, 0, '', 0, now())`)
	n.rollAt(t, phase1Deadline)
	n.mustSend(t, needed(63), needed(65))
}

// The local copy has the active collectors of all shards, and nothing else.
func TestActiveCollectors(t *testing.T) {
	t.Parallel()
	n := newNode(t, "0.#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, `INSERT INTO collector_account VALUES
		(40, 801, 0, 'a', 2, now()), (40, 802, -1, 'b', 2, now()), (41, -801, 5, '"c"', 2, now()),
		(40, 803, 0, '', 0, now()), (40, 804, 0, '', 1, now()), (40, 805, 0, 'd', 3, now()), (40, 806, 0, '', 2, now())`)
	n.inWorker(t, `INSERT INTO active_collector VALUES (40, 801, 'old'), (40, 805, 'd'), (99, 1, 'gone')`)
	n.rollAt(t, phase1Deadline)
	mustHold(t, n.worker.DB, `SELECT * FROM active_collector`, "(40,801,a)", "(40,802,b)", `(41,-801,"""c""")`)
}

// Whoever reads the copy while it is being replaced sees the old one.
func TestReadersSeeOldOrNewCollectors(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, `INSERT INTO collector_account SELECT 40, id, 0, 'new', 2, now() FROM generate_series(1, 1000) AS id`)
	n.inWorker(t, `INSERT INTO active_collector SELECT 40, id, 'old' FROM generate_series(1, 1000) AS id`)
	// The step stops at its last statement, when it has replaced the copy.
	err := n.worker.InTx(t.Context(), "hold", func(ctx context.Context, tx *workerdb.Tx) error {
		const stop = `
			CREATE FUNCTION stop() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
			CREATE TRIGGER stop BEFORE UPDATE ON worker_turn FOR EACH ROW EXECUTE FUNCTION stop()`
		n.inWorker(t, stop)
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(1)`); err != nil {
			return err
		}
		n.now = phase1Deadline
		rolled := make(chan error, 1)
		go func() { rolled <- n.roller.RunOnce(context.WithoutCancel(ctx)) }()
		waitForLock(t, n.worker)
		mustHold(t, n.worker.DB, `SELECT account_id, count(*) FROM active_collector GROUP BY 1`, "(old,1000)")
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_unlock_all()`); err != nil {
			return err
		}
		t.Cleanup(func() {
			if err := <-rolled; err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBecome(t, n, `SELECT account_id, count(*) FROM active_collector GROUP BY 1`, "(new,1000)")
}

// A set of currencies that makes no sense does not stop the turn.
func TestInconsistentCurrencies(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.inSolver(t, `DROP INDEX idx_currency_info_confirmed_debtor_id`) // which forbids some of this
	for name, c := range map[string]struct{ change, complaint string }{
		"base":      {`UPDATE currency_info SET debtor_id = 39 WHERE debtor_id = 40`, "base locator"},
		"duplicate": {`INSERT INTO currency_info VALUES (70000, 'other', 41, 'L40', 40, 1, true)`, "two tradable currencies"},
		"claimed": {
			`UPDATE currency_info SET is_confirmed = false WHERE debtor_id = 40;
			INSERT INTO currency_info VALUES (70000, 'other', 40, 'L40', 40, 1, true)`,
			"claimed by another",
		},
	} {
		n.clear(t)
		n.log.forget()
		n.startAt(t, 2, 0)
		n.inSolver(t, currencies)
		n.inSolver(t, c.change)
		n.inSolver(t, `INSERT INTO collector_account VALUES (40, 801, 0, 'a', 2, now())`)
		n.want(t, 1, 40, 2000, 0, 0)
		n.want(t, 1, 41, -1000, 40, 2)
		n.want(t, 1, 49, -1000, 40, 2)
		n.rollAt(t, phase1Deadline)
		n.mustSend(t)
		mustHold(t, n.worker.DB, `SELECT * FROM active_collector`, "(40,801,a)")
		n.mustBeAt(t, theTurn, 2, 5)
		n.mustComplain(t, c.complaint)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// There are more bids than fit into a batch, and creditors whose policies are not read at one time.
func TestManyPolicies(t *testing.T) {
	t.Parallel()
	n := newNode(t, "#", nil)
	n.startAt(t, 2, 0)
	n.inSolver(t, currencies)
	// Each of these wants to buy the base, and to sell another currency, which comes long after it.
	const creditors = 14_000
	n.inWorker(t, `
		INSERT INTO trading_policy (creditor_id, debtor_id, account_id, policy_name, min_principal, max_principal, peg_debtor_id,
			peg_exchange_rate)
		SELECT
			creditor, CASE n WHEN 0 THEN 30 WHEN 7 THEN 41 ELSE 31 + n END, 'x', 'x',
			CASE n WHEN 0 THEN 5000 WHEN 7 THEN -5000 ELSE 0 END, CASE n WHEN 0 THEN 5000 WHEN 7 THEN -5000 ELSE 0 END, 40, 2
		FROM generate_series(1, $1) AS creditor, generate_series(0, 7 - creditor % 2) AS n`, creditors)
	n.inSolver(t, `INSERT INTO currency_info VALUES (70000, 'L30', 30, 'L40', 40, 2, true)`)
	n.rollAt(t, phase1Deadline)
	mustHold(t, n.worker.DB, `SELECT count(*), sum((body::JSON->>'amount')::BIGINT),
		count(DISTINCT body::JSON->>'creditor_id') FROM outbox`, fmt.Sprintf("(%d,0,%d)", creditors, creditors/2))
}

// Whatever policies and currencies there are, the offers are those of an oracle that was written from the specification
// alone, without regard to speed.
func TestOffersAreThoseOfTheOracle(t *testing.T) {
	t.Parallel()
	n := newNode(t, "1.#", nil)
	n.now = phase1Deadline
	rapid.Check(t, func(rt *rapid.T) {
		n.inSolver(t, `DELETE FROM turn; DELETE FROM currency_info; DELETE FROM collector_account`)
		n.inWorker(t, `DELETE FROM worker_turn; DELETE FROM trading_policy; DELETE FROM outbox`)
		o := drawOracle(rt)
		n.startAt(t, 2, 0)
		o.store(t, n)
		n.roll(t)
		var offers, collectors []string
		for _, body := range n.sent(t, smp.TypeCandidateOffer) {
			var offer struct {
				Creditor int64  `json:"creditor_id"`
				Debtor   int64  `json:"debtor_id"`
				Amount   int64  `json:"amount"`
				Number   int64  `json:"last_transfer_number"`
				Date     string `json:"account_creation_date"`
			}
			if err := json.Unmarshal([]byte(body), &offer); err != nil {
				rt.Fatal(err)
			}
			offers = append(offers, fmt.Sprint(offer))
		}
		for _, body := range n.sent(t, smp.TypeNeededCollector) {
			var message smp.NeededCollector
			if err := json.Unmarshal([]byte(body), &message); err != nil {
				rt.Fatal(err)
			}
			collectors = append(collectors, fmt.Sprint(message.DebtorID))
		}
		slices.Sort(offers)
		slices.Sort(collectors)
		wantOffers, wantCollectors := o.answer()
		if !slices.Equal(offers, wantOffers) {
			rt.Fatalf("offers\n%q, want\n%q", offers, wantOffers)
		}
		if !slices.Equal(collectors, wantCollectors) {
			rt.Fatalf("collectors\n%q, want\n%q", collectors, wantCollectors)
		}
	})
}

// An oraclePolicy is a row of trading_policy.
type oraclePolicy struct {
	creditor, debtor            int64
	accountID                   string
	obsolete                    bool
	principal, minimum, maximum int64
	name                        *string
	peg                         *int64
	rate                        *float64
	flags                       int32
}

// An oracle knows all that the offers of a turn depend on. The base is the currency 40, whatever is further away from
// it than two pegs has no price, and less than 1000 is not traded.
type oracle struct {
	// By debtor ID: the peg, 0 for none, and the rate.
	pegs      map[int64]int64
	rates     map[int64]float64
	confirmed map[int64]bool
	statuses  map[int64]int // of the collector, if there is one
	policies  []oraclePolicy
}

func drawOracle(t *rapid.T) *oracle {
	baseIsConfirmed := rapid.IntRange(0, 9).Draw(t, "base confirmed") > 0
	o := &oracle{
		pegs: map[int64]int64{40: 0}, rates: map[int64]float64{}, confirmed: map[int64]bool{40: baseIsConfirmed}, statuses: map[int64]int{},
	}
	rate := rapid.SampledFrom([]float64{1, 2, 0.5, 3, 0})
	for debtor := int64(41); debtor <= 46; debtor++ {
		o.pegs[debtor] = rapid.SampledFrom([]int64{0, 40, 40, 40, 41, 42, 43, 99}).Draw(t, "peg")
		o.rates[debtor] = rate.Draw(t, "rate")
		o.confirmed[debtor] = rapid.IntRange(0, 4).Draw(t, "confirmed") > 0
	}
	for debtor := int64(40); debtor <= 48; debtor++ {
		if status := rapid.IntRange(-4, 3).Draw(t, "status"); status >= 0 {
			o.statuses[debtor] = status
		}
	}
	amount := rapid.SampledFrom([]int64{0, 999, 1000, 1001, 5000, math.MaxInt64, math.MinInt64, -5000})
	for creditor := range rapid.Int64Range(3, 8).Draw(t, "creditors") {
		for _, debtor := range rapid.SliceOfNDistinct(rapid.Int64Range(39, 48), 0, 8, rapid.ID).Draw(t, "debtors") {
			p := oraclePolicy{
				creditor: creditor, debtor: debtor, accountID: "x", name: new("x"),
				principal: amount.Draw(t, "principal"), minimum: amount.Draw(t, "minimum"), maximum: amount.Draw(t, "maximum"),
			}
			switch rapid.IntRange(0, 20).Draw(t, "flaw") {
			case 0:
				p.accountID = ""
			case 1:
				p.obsolete = true
			case 2:
				p.name = nil
			case 3:
				p.flags = 3
			}
			if peg := o.pegs[debtor]; peg != 0 && rapid.IntRange(0, 9).Draw(t, "honest") > 0 {
				p.peg, p.rate = &peg, new(o.rates[debtor])
			} else if rapid.Bool().Draw(t, "pegged") {
				p.peg = new(rapid.SampledFrom([]int64{0, 40, 40, 41, 42, 43, 44, 45, 46, 47}).Draw(t, "own peg"))
				p.rate = new(rate.Draw(t, "own rate"))
			}
			o.policies = append(o.policies, p)
		}
	}
	return o
}

// store fills the databases.
func (o *oracle) store(tb testing.TB, n *node) {
	tb.Helper()
	batch := &pgx.Batch{}
	for debtor, peg := range o.pegs {
		if peg == 0 {
			batch.Queue(`INSERT INTO currency_info VALUES ($1, $2, $3, NULL, NULL, NULL, $4)`, theTurn, fmt.Sprint("L", debtor), debtor,
				o.confirmed[debtor])
		} else {
			batch.Queue(`INSERT INTO currency_info VALUES ($1, $2, $3, $4, $5, $6, $7)`, theTurn, fmt.Sprint("L", debtor), debtor,
				fmt.Sprint("L", peg), peg, o.rates[debtor], o.confirmed[debtor])
		}
	}
	for debtor, status := range o.statuses {
		batch.Queue(`INSERT INTO collector_account VALUES ($1, 800, 0, 'x', $2, now())`, debtor, status)
	}
	if err := n.solver.Pool().SendBatch(tb.Context(), batch).Close(); err != nil {
		tb.Fatal(err)
	}
	batch = &pgx.Batch{}
	for _, p := range o.policies {
		batch.Queue(`
			INSERT INTO trading_policy (creditor_id, debtor_id, account_id, account_id_is_obsolete, creation_date, principal,
				last_transfer_number, policy_name, min_principal, max_principal, peg_debtor_id, peg_exchange_rate, config_flags)
			VALUES ($1::BIGINT, $2::BIGINT, $3, $4, DATE '2020-01-01' + $2::BIGINT::INTEGER, $5,
				$1::BIGINT * 1000 + $2::BIGINT, $6, $7, $8, $9, $10, $11)`,
			p.creditor, p.debtor, p.accountID, p.obsolete, p.principal, p.name, p.minimum, p.maximum, p.peg, p.rate, p.flags)
	}
	if err := n.worker.Pool().SendBatch(tb.Context(), batch).Close(); err != nil {
		tb.Fatal(err)
	}
}

// marketPrice returns the price of a currency, or NaN.
func (o *oracle) marketPrice(debtor int64) float64 {
	price := 1.0
	for range 3 { // two pegs, and the base
		if debtor == 40 {
			return price
		}
		price *= o.rates[debtor]
		debtor = o.pegs[debtor]
	}
	return math.NaN()
}

func (o *oracle) tradable(debtor int64) bool {
	return o.confirmed[debtor] && !math.IsNaN(o.marketPrice(debtor))
}

// ownPrice returns what a creditor takes to be the price of a currency, or NaN.
func (o *oracle) ownPrice(creditor, debtor int64) float64 {
	price := 1.0
	for range 20 {
		if debtor == 40 {
			return price
		}
		i := slices.IndexFunc(o.policies, func(p oraclePolicy) bool { return p.creditor == creditor && p.debtor == debtor })
		if i < 0 || o.policies[i].peg == nil {
			return math.NaN()
		}
		price *= *o.policies[i].rate
		debtor = *o.policies[i].peg
	}
	return math.NaN()
}

func (p *oraclePolicy) amount() int64 {
	bound := p.principal
	switch {
	case p.name == nil || p.accountID == "" || p.obsolete || p.flags%2 == 1 || p.maximum < p.minimum:
		return 0
	case p.principal < p.minimum:
		bound = p.minimum
	case p.principal > p.maximum:
		bound = p.maximum
	}
	exact := new(big.Int).Sub(big.NewInt(bound), big.NewInt(p.principal))
	switch {
	case exact.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return math.MaxInt64
	case exact.Cmp(big.NewInt(-math.MaxInt64)) < 0:
		return -math.MaxInt64
	}
	return exact.Int64()
}

// answer returns the offers, and the debtors that need collectors.
func (o *oracle) answer() (offers, collectors []string) {
	var candidates []oraclePolicy
	sells, buys := map[int64]bool{}, map[int64]bool{}
	needed := map[string]bool{}
	for _, p := range o.policies {
		digest := md5.Sum(binary.BigEndian.AppendUint64(nil, uint64(p.creditor))) //nolint:gosec // see the import
		own, market, amount := o.ownPrice(p.creditor, p.debtor), o.marketPrice(p.debtor), p.amount()
		if digest[0] < 128 || math.IsNaN(own) {
			continue
		}
		if status, found := o.statuses[p.debtor]; amount <= -1000 && !o.tradable(p.debtor) && (!found || status == 3) {
			needed[strconv.FormatInt(p.debtor, 10)] = true
		}
		if o.tradable(p.debtor) && market > 0 && math.Abs(1-own/market) < 1e-5 && (amount >= 1000 || amount <= -1000) {
			candidates = append(candidates, p)
			sells[p.creditor] = sells[p.creditor] || amount < 0
			buys[p.creditor] = buys[p.creditor] || amount > 0
		}
	}
	for _, p := range candidates {
		if sells[p.creditor] && buys[p.creditor] {
			date := time.Date(2020, 1, 1+int(p.debtor), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
			offers = append(offers, fmt.Sprint(struct {
				creditor, debtor, amount, number int64
				date                             string
			}{p.creditor, p.debtor, p.amount(), p.creditor*1000 + p.debtor, date}))
		}
	}
	slices.Sort(offers)
	return offers, slices.Sorted(maps.Keys(needed))
}
