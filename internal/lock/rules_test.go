package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	aboutUs    = "1103806595233/8001 for 1103806595233/%d"
	ourAccount = `"account of 1099511627781"`
	ourNote    = `"Trading session: 70000\nBuyer: 10000000005\nSeller: 101000000a1\n"`
)

func offers(all ...*smp.CandidateOffer) []*smp.CandidateOffer { return all }

// A seller's account is locked, sells, and is locked again once its ledger has caught up. Everything comes twice.
func TestSeller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twice := func(batch any, want ...string) {
		t.Helper()
		if rest := w.handle(now, batch); rest != nil {
			t.Fatalf("nobody cares for %v", rest)
		}
		w.mustSend(want...)
		before := w.theLock()
		w.handle(later, batch)
		w.mustStore(before)
		w.mustSend()
	}

	const id = 1 // the sequence is new
	about := fmt.Sprintf(aboutUs, id)
	twice(offers(offer(-3_000_000)), "prepare "+about+": 1059 to 3175748 to "+ourAccount)
	want := workerdb.AccountLock{
		CreditorID: creditor, DebtorID: debtor, TurnID: turn, CollectorID: collector, InitiatedAt: now,
		CoordinatorRequestID: id, Amount: -3_000_000,
	}
	w.mustStore(want)

	prepared := preparedTransfer(id)
	prepared.LockedAmount, prepared.DemurrageRate = 1_992_983, -50
	twice([]*smp.PreparedTransfer{prepared})
	want.TransferID, want.Amount = new(int64(9)), -1_882_690
	w.mustStore(want)

	w.insertParticipation(creditor, -1_500_000, collector)
	commit := "commit 1500000 of 9 of " + about + ": " + ourNote
	twice([]*smp.ReviseAccountLock{revision()}, commit)
	want.FinalizedAt, want.HasBeenRevised, want.Amount = &now, true, -1_500_000
	w.mustStore(want)
	if n := w.count("creditor_participation"); n != 0 {
		t.Errorf("%d participations are left", n)
	}

	w.handle(later, []*smp.PreparedTransfer{prepared, prepared})
	w.mustStore(want)
	w.mustSend(commit, commit)

	twice([]*smp.FinalizedTransfer{finalizedTransfer(id, 1_500_000)})
	w.mustStore(want)

	w.handle(later, paid{payment(-1_500_000), payment(-1_500_000)})
	want.ReleasedAt, want.AccountCreationDate, want.AccountLastTransferNumber =
		&later, new((created + 1).Time()), new(int64(18))
	w.mustStore(want)
	w.handle(now, paid{payment(-1_500_000)})
	w.mustStore(want)
	w.mustSend()

	again := offer(2000)
	again.AccountCreationDate = created + 1
	w.handle(later, offers(again))
	w.mustStore(want)
	again.LastTransferNumber = 18
	w.handle(later, offers(again))
	w.mustStore(workerdb.AccountLock{
		CreditorID: creditor, DebtorID: debtor, TurnID: turn, CollectorID: collector, InitiatedAt: later,
		CoordinatorRequestID: id + 1, Amount: 2000,
	})
	w.mustSend("prepare " + fmt.Sprintf(aboutUs, id+1) + ": 0 to 0 to " + ourAccount)
}

func TestBuyer(t *testing.T) {
	t.Parallel()
	for name, revised := range map[string]bool{"paid after revision": true, "paid before revision": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.handle(now, offers(offer(1000), offer(-5000), offer(1000)))
			id := w.theLock().CoordinatorRequestID
			about := fmt.Sprintf(aboutUs, id)
			w.mustSend("prepare " + about + ": 0 to 0 to " + ourAccount)
			second := preparedTransfer(id)
			second.TransferID = 10
			w.handle(now, []*smp.PreparedTransfer{preparedTransfer(id), second, preparedTransfer(id)})
			w.mustSend("dismiss 10 of " + about)
			want := workerdb.AccountLock{
				CreditorID: creditor, DebtorID: debtor, TurnID: turn, CollectorID: collector, InitiatedAt: now,
				CoordinatorRequestID: id, Amount: 1000, TransferID: new(int64(9)),
			}
			w.mustStore(want)
			w.insertParticipation(creditor, 700, collector+1)
			if revised {
				w.handle(now, []*smp.ReviseAccountLock{revision(), revision()})
				want.HasBeenRevised, want.Amount = true, 700
				w.mustStore(want)
				w.mustSend()
			}
			w.handle(later, received{payment(695), payment(695)})
			want.FinalizedAt, want.ReleasedAt, want.AccountCreationDate, want.AccountLastTransferNumber =
				&later, &later, new((created + 1).Time()), new(int64(18))
			w.mustStore(want)
			w.mustSend("dismiss 9 of " + about)
			w.handle(later, []*smp.ReviseAccountLock{revision()})
			w.mustStore(want)
			w.mustSend()
			if n := w.count("creditor_participation"); n != 0 {
				t.Errorf("%d participations are left", n)
			}
		})
	}
}

// A collector that trades has no transfer, and does not wait for its ledger.
func TestCollectorTrades(t *testing.T) {
	t.Parallel()
	for _, amount := range []int64{-3000, 3000} {
		w := newWorld(t)
		o := offer(amount)
		o.CreditorID = collector
		w.handle(now, offers(o))
		id := w.theLock().CoordinatorRequestID
		want := workerdb.AccountLock{
			CreditorID: collector, DebtorID: debtor, TurnID: turn, CollectorID: collector, InitiatedAt: now,
			CoordinatorRequestID: id, Amount: amount, TransferID: new(int64(0)),
		}
		w.mustStore(want)
		w.insertParticipation(collector, amount/2, collector)
		r := revision()
		r.CreditorID = collector
		w.handle(later, []*smp.ReviseAccountLock{r})
		want.Amount, want.HasBeenRevised, want.FinalizedAt, want.ReleasedAt = amount/2, true, &later, &later
		want.AccountCreationDate, want.AccountLastTransferNumber = new(smp.Date(0).Time()), new(int64(0))
		w.mustStore(want)
		o.AccountCreationDate, o.LastTransferNumber = 0, 0
		w.handle(later, offers(o))
		if w.theLock().CoordinatorRequestID == id {
			t.Error("the released lock is in force")
		}
		w.mustSend()
	}
}

// A collector that sells by way of another one is an account like others, except that it does not wait for its ledger.
func TestReleaseOfCollector(t *testing.T) {
	t.Parallel()
	for _, amount := range []int64{-3000, 3000} {
		w := newWorld(t)
		other := collector + 1
		o := offer(amount)
		o.CreditorID = other
		w.handle(now, offers(o))
		p := preparedTransfer(w.theLock().CoordinatorRequestID)
		p.CreditorID, p.CoordinatorID = other, int64(other)
		w.handle(now, []*smp.PreparedTransfer{p})
		w.insertParticipation(other, amount, collector)
		r := revision()
		r.CreditorID = other
		w.handle(now, []*smp.ReviseAccountLock{r})
		a := payment(amount)
		a.Transfer.CreditorID = other
		if amount < 0 {
			w.handle(now, paid{a})
		} else {
			w.handle(now, received{a})
		}
		l := w.theLock()
		if l.ReleasedAt == nil || !l.AccountCreationDate.Equal(smp.Date(0).Time()) || *l.AccountLastTransferNumber != 0 {
			t.Errorf("the lock is %+v", plain(l))
		}
	}
}

func TestTurnsThatTakeNoOffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insertTurn(1, 1, 10, nil)
	w.insertTurn(2, 2, 0, &deadline)
	w.insertTurn(3, 2, 10, &deadline)
	w.insertTurn(4, 3, 0, &deadline)
	w.insertTurn(5, 3, 5, &deadline)
	w.insertTurn(-1, 2, 5, &deadline)
	w.insertTurn(6, 2, 5, &deadline)
	var batch []*smp.CandidateOffer
	for id := range int32(8) {
		o := offer(5000)
		o.TurnID, o.CreditorID = id-1, creditor+swpt.CreditorID(id)
		batch = append(batch, o)
	}
	// Somebody is just closing turn 6.
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT * FROM worker_turn WHERE turn_id = 6 FOR UPDATE"); err != nil {
			return err
		}
		w.handle(now, batch)
		return nil
	})
	if l := w.theLock(); l.TurnID != -1 {
		t.Errorf("there is a lock for turn %d", l.TurnID)
	}
	w.mustCount("trade_lock_dropped_offers_total", `reason="turn_closed"`, 7)
	w.mustCount("trade_lock_events_total", `event="initiated"`, 1)
}

// Too late for the offers to be poured is too late to lock anything: whoever wants to close the turn must not have to wait
// until there are no more offers.
func TestLateOffersDoNotKeepTurnsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pouring := began.Add(day - day/10) // the lead of the world
	early, late := offer(5000), offer(5000)
	late.CreditorID++
	w.handle(pouring, offers(early))
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
		if err := w.rules.HandleCandidateOffers(ctx, tx, pouring.Add(time.Microsecond), offers(late)); err != nil {
			return err
		}
		_, err := w.db.Pool().Exec(ctx, "SELECT * FROM worker_turn WHERE turn_id = $1 FOR UPDATE NOWAIT", turn)
		return err
	})
	if l := w.theLock(); l.CreditorID != early.CreditorID {
		t.Errorf("the lock is that of %d", l.CreditorID)
	}
	w.mustCount("trade_lock_dropped_offers_total", `reason="turn_closed"`, 1)
}

// mustCount checks one value of a counter.
func (w *world) mustCount(name, label string, want int) {
	w.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			l := m.GetLabel()[0]
			if f.GetName() == name && fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()) == label {
				if got := int(m.GetCounter().GetValue()); got != want {
					w.Errorf("%s{%s} is %d, want %d", name, label, got, want)
				}
				return
			}
		}
	}
	w.Errorf("there is no %s{%s}", name, label)
}

// A turn cannot be closed while offers for it are being handled.
func TestTurnsAreNotClosedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insertTurn(turn+1, 2, 5, &deadline)
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
		if err := w.rules.HandleCandidateOffers(ctx, tx, now, offers(offer(5000))); err != nil {
			return err
		}
		for id, want := range map[int32]string{turn: "SQLSTATE 55P03", turn + 1: ""} {
			_, err := w.db.Pool().Exec(ctx, "SELECT * FROM worker_turn WHERE turn_id = $1 FOR UPDATE NOWAIT", id)
			if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
				t.Errorf("turn %d is closed with %v, want %q", id, err, want)
			}
		}
		return nil
	})
}

// One batch can have offers for several turns, each with terms of its own.
func TestSeveralTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	near := now
	w.insertTurn(turn+1, 2, 5, &near)
	w.exec("UPDATE worker_turn SET min_trade_amount = 5000 WHERE turn_id = $1", turn+1)
	var batch []*smp.CandidateOffer
	for i, id := range []int32{turn, turn + 1, turn + 1, turn} {
		o := offer(-int64(i+2) * 2000)
		o.TurnID, o.CreditorID = id, swpt.CreditorID(i+1)
		batch = append(batch, o)
	}
	small := offer(-4999)
	small.TurnID = turn + 1
	w.handle(now, append(batch, small))
	var got []string
	for _, l := range w.locks() {
		got = append(got, fmt.Sprint(l.CreditorID, " in ", l.TurnID, ": ", l.Amount))
	}
	if want := "[1 in 70000: -4000 2 in 70001: -6000 3 in 70001: -8000 4 in 70000: -10000]"; fmt.Sprint(got) != want {
		t.Errorf("locks are %v, want %v", got, want)
	}
	var bounds []string
	for _, m := range w.send() {
		bounds = append(bounds, fmt.Sprint(m.CreditorID, ": ", m.MinLockedAmount, "-", m.MaxLockedAmount))
	}
	want := "[1: 1059-4235 2: 5000-6000 3: 5000-8000 4: 1059-10586]"
	if fmt.Sprint(bounds) != want {
		t.Errorf("bounds are %v, want %v", bounds, want)
	}
	w.mustCount("trade_lock_dropped_offers_total", `reason="too_small"`, 1)
}

// All collectors of a currency get the same share of the offers, and those of other currencies none. An account ID that
// no transfer can have as its recipient is left alone.
func TestCollectorsArePickedAtRandom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insertCollector(debtor, collector+1)
	w.insertCollector(debtor, collector+2)
	w.insertCollector(debtor+1, collector+3)
	w.exec("INSERT INTO active_collector VALUES ($1, $2, 'счёт')", debtor, collector+4)
	w.exec("INSERT INTO active_collector VALUES ($1, $2, $3)", debtor, collector+5, strings.Repeat("x", 101))
	var batch []*smp.CandidateOffer
	for i := range swpt.CreditorID(600) {
		o := offer(5000)
		o.CreditorID = i
		batch = append(batch, o)
	}
	nobody := offer(5000)
	nobody.DebtorID = debtor + 2
	w.handle(now, append(batch, nobody))
	picked := map[swpt.CreditorID]int{}
	recipients := map[swpt.CreditorID]string{}
	for _, l := range w.locks() {
		picked[l.CollectorID]++
		recipients[l.CreditorID] = accountOf(l.CollectorID)
	}
	for id := collector; id <= collector+2; id++ {
		if picked[id] < 130 { // fewer have a probability of 1e-10
			t.Errorf("collector %d has been picked %d times", id, picked[id])
		}
	}
	if len(picked) != 3 {
		t.Errorf("picked are %v", picked)
	}
	sent := w.send()
	if len(sent) != 600 {
		t.Errorf("%d messages are sent", len(sent))
	}
	for _, m := range sent {
		if m.Recipient != recipients[m.CreditorID] {
			t.Errorf("the recipient is %q, want %q", m.Recipient, recipients[m.CreditorID])
		}
	}
	w.mustCount("trade_lock_dropped_offers_total", `reason="no_collector"`, 1)
}

// The first offer for an account wins, the others are dropped, be they in the same batch or not.
func TestOffersForOneAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handle(now, offers(offer(-5), offer(-5000), offer(7000)))
	w.handle(now, offers(offer(-6000)))
	if l := w.theLock(); l.Amount != -5000 {
		t.Errorf("the amount is %d", l.Amount)
	}
	w.mustCount("trade_lock_dropped_offers_total", `reason="locked"`, 2)
	w.mustCount("trade_lock_dropped_offers_total", `reason="too_small"`, 1)
	if n := len(w.send()); n != 1 {
		t.Errorf("%d messages are sent", n)
	}
}

func TestExtremeAmounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("UPDATE worker_turn SET min_trade_amount = $1", math.MaxInt64)
	o := offer(-math.MaxInt64)
	o.CreditorID, o.DebtorID, o.LastTransferNumber = math.MinInt64, math.MinInt64, math.MaxInt64
	w.insertCollector(math.MinInt64, math.MaxInt64)
	w.handle(now, offers(o))
	id := w.theLock().CoordinatorRequestID
	about := fmt.Sprintf("-9223372036854775808/-9223372036854775808 for -9223372036854775808/%d", id)
	w.mustSend("prepare " + about + `: 9223372036854775807 to 9223372036854775807 to "account of 9223372036854775807"`)
	p := preparedTransfer(id)
	p.CreditorID, p.DebtorID, p.CoordinatorID = math.MinInt64, math.MinInt64, math.MinInt64
	p.TransferID, p.LockedAmount = math.MinInt64, math.MaxInt64
	w.handle(now, []*smp.PreparedTransfer{p})
	w.exec("INSERT INTO creditor_participation VALUES ($1, $1, $2, $1, $3)", math.MinInt64, turn, math.MaxInt64)
	w.handle(now, []*smp.ReviseAccountLock{{CreditorID: math.MinInt64, DebtorID: math.MinInt64, TurnID: turn, TS: now}})
	w.mustSend("commit 9223372036854775807 of -9223372036854775808 of " + about +
		`: "Trading session: 70000\nBuyer: 7fffffffffffffff\nSeller: 8000000000000000\n"`)
	a := payment(-math.MaxInt64)
	a.Transfer.CreditorID, a.Transfer.DebtorID, a.Transfer.TransferNumber = math.MinInt64, math.MinInt64, math.MaxInt64
	w.handle(now, paid{a})
	if l := w.theLock(); l.ReleasedAt == nil {
		t.Errorf("the lock is %+v", plain(l))
	}
}

// Answers that are about no lock are for others. So are those about a lock that an earlier message of the batch has
// deleted.
func TestAnswersAboutNoLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rests := func(id int64) (prepared, rejected, finalized int) {
		return len(w.handle(now, []*smp.PreparedTransfer{preparedTransfer(id), preparedTransfer(id)})),
			len(w.handle(now, []*smp.RejectedTransfer{rejectedTransfer(id), rejectedTransfer(id)})),
			len(w.handle(now, []*smp.FinalizedTransfer{finalizedTransfer(id, 0), finalizedTransfer(id, 0)}))
	}
	mustBe := func(id int64, p, r, f int) {
		t.Helper()
		if prepared, rejected, finalized := rests(id); prepared != p || rejected != r || finalized != f {
			t.Fatalf("the rests are %d, %d, %d; want %d, %d, %d", prepared, rejected, finalized, p, r, f)
		}
	}
	mustBe(1, 2, 2, 2)

	w.handle(now, offers(offer(-5000)))
	id := w.theLock().CoordinatorRequestID
	mustBe(id+1, 2, 2, 2)
	w.exec("UPDATE account_lock SET creditor_id = creditor_id + 1") // the coordinator is somebody else
	mustBe(id, 2, 2, 2)
	w.exec("UPDATE account_lock SET creditor_id = creditor_id - 1")
	w.exec("UPDATE account_lock SET turn_id = turn_id + 1") // nothing is known of the turn
	before := w.theLock()
	if rest := w.handle(now, []*smp.PreparedTransfer{preparedTransfer(id)}); len(rest) != 1 {
		t.Errorf("the rest is %v", rest)
	}
	w.mustStore(before)
	w.send()
	mustBe(id, 2, 1, 2) // the first rejection deletes the lock
	w.mustHaveNoLock()

	w.handle(now, offers(offer(-5000)))
	id = w.theLock().CoordinatorRequestID
	w.send()
	tooEarly := preparedTransfer(id)
	tooEarly.Deadline = deadline.Add(-1)
	if rest := w.handle(now, []*smp.PreparedTransfer{tooEarly, tooEarly}); len(rest) != 1 {
		t.Errorf("the rest is %v", rest)
	}
	w.mustHaveNoLock()
	w.mustSend("dismiss 9 of " + fmt.Sprintf(aboutUs, id))
}

// An answer to our request, but for another account than the one asked for, is dismissed, and reported.
func TestAnswerForOtherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handle(now, offers(offer(-5000)))
	before := w.theLock()
	w.send()
	p := preparedTransfer(before.CoordinatorRequestID)
	p.DebtorID++
	w.handle(now, []*smp.PreparedTransfer{p})
	w.mustStore(before)
	w.mustSend(fmt.Sprintf("dismiss 9 of 1103806595233/8002 for 1103806595233/%d", p.CoordinatorRequestID))
	for _, want := range []string{
		"level=ERROR", "anomaly=other_account", "creditor_id=1103806595233", "debtor_id=8001", "turn_id=70000",
		"collector_id=1099511627781", fmt.Sprint("coordinator_request_id=", p.CoordinatorRequestID), "amount=-5000",
		"prepared_debtor_id=8002", "prepared_transfer_id=9",
	} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, w.log)
		}
	}
	w.mustCount("trade_lock_anomalies_total", `anomaly="other_account"`, 1)
}

// A transaction that is repeated, or is not committed, is not counted more often than it has an effect, and what it has
// found is logged once.
func TestCountedOnceCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	small := offer(-1)
	small.CreditorID++
	var request int64
	for _, step := range []func(context.Context, *workerdb.Tx) error{
		func(ctx context.Context, tx *workerdb.Tx) error {
			return w.rules.HandleCandidateOffers(ctx, tx, now, offers(offer(-5000), small))
		},
		func(ctx context.Context, tx *workerdb.Tx) error {
			p := preparedTransfer(request)
			p.DebtorID++ // another account
			_, err := w.rules.HandlePreparedTransfers(ctx, tx, now, []*smp.PreparedTransfer{p, preparedTransfer(request)})
			return err
		},
	} {
		errInVain := errors.New("not to be committed")
		err := w.db.InTx(w.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
			return errors.Join(step(ctx, tx), errInVain)
		})
		if !errors.Is(err, errInVain) {
			t.Fatal(err)
		}
		attempts := 0
		w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
			if err := step(ctx, tx); err != nil {
				return err
			}
			if attempts++; attempts < 3 {
				return &pgconn.PgError{Code: "40001"}
			}
			return nil
		})
		request = w.theLock().CoordinatorRequestID
	}
	w.mustCount("trade_lock_dropped_offers_total", `reason="too_small"`, 1)
	w.mustCount("trade_lock_events_total", `event="initiated"`, 1)
	w.mustCount("trade_lock_events_total", `event="prepared"`, 1)
	w.mustCount("trade_lock_anomalies_total", `anomaly="other_account"`, 1)
	if lines := strings.Count(w.log.String(), "anomaly=other_account"); lines != 1 {
		t.Errorf("it is logged %d times:\n%s", lines, w.log)
	}
}

// settle makes a settled lock of the usual account.
func (w *world) settle(amount int64) (request int64) {
	w.Helper()
	w.handle(now, offers(offer(amount)))
	request = w.theLock().CoordinatorRequestID
	w.handle(now, []*smp.PreparedTransfer{preparedTransfer(request)})
	w.insertParticipation(creditor, amount, collector)
	w.handle(now, []*smp.ReviseAccountLock{revision()})
	w.send()
	return request
}

// W-8, and the ways in which collectors are told.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	ours, err := shard.ParseRealm("#")
	if err != nil {
		t.Fatal(err)
	}
	theirs := realmWithout(t, collector)
	message := "CollectingFailed 1099511627781/70000/8001/1103806595233"
	for name, c := range map[string]struct {
		realm    shard.Realm
		extended bool
		told     string
		sent     []string
	}{
		"our collector":                      {ours, true, "[1099511627781/70000/8001/1103806595233]", nil},
		"our collector, beside swpt_trade":   {ours, false, "[1099511627781/70000/8001/1103806595233]", nil},
		"another shard's":                    {theirs, true, "[]", []string{message}},
		"another shard's, beside swpt_trade": {theirs, false, "[]", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.rules.Realm, w.rules.ExtendedMessages = c.realm, c.extended
			id := w.settle(-5000)
			f := finalizedTransfer(id, 0)
			if rest := w.handle(now, []*smp.FinalizedTransfer{f, f}); len(rest) != 1 {
				t.Errorf("the rest is %v", rest)
			}
			w.mustHaveNoLock()
			w.mustSend(c.sent...)
			if fmt.Sprint(w.failed) != c.told {
				t.Errorf("told are %v", w.failed)
			}
			if !strings.Contains(w.log.String(), "status_code=TIMEOUT") || !strings.Contains(w.log.String(), "transfer_id=9") {
				t.Errorf("the log is %s", w.log)
			}
			w.mustCount("trade_lock_events_total", `event="failed"`, 1)
		})
	}
}

func realmWithout(t *testing.T, id swpt.CreditorID) shard.Realm {
	t.Helper()
	for _, key := range []string{"0.#", "1.#"} {
		realm, err := shard.ParseRealm(key)
		if err != nil {
			t.Fatal(err)
		}
		if !realm.Match(shard.KeyOf(id)) {
			return realm
		}
	}
	t.Fatal("it is in both halves")
	return shard.Realm{}
}

// W-18: what does not fit is given up, and the collector does not wait for it.
func TestParticipationDoesNotFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handle(now, offers(offer(-5000)))
	id := w.theLock().CoordinatorRequestID
	w.handle(now, []*smp.PreparedTransfer{preparedTransfer(id)})
	w.send()
	w.insertParticipation(creditor, -3000, collector+1)
	w.handle(now, []*smp.ReviseAccountLock{revision()})
	w.mustHaveNoLock()
	w.mustSend("dismiss 9 of " + fmt.Sprintf(aboutUs, id))
	if fmt.Sprint(w.failed) != "[1099511627782/70000/8001/1103806595233]" {
		t.Errorf("told are %v", w.failed)
	}
	for _, want := range []string{
		"anomaly=participation_mismatch", "participation_amount=-3000", "participation_collector_id=1099511627782",
	} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, w.log)
		}
	}
	w.mustCount("trade_lock_anomalies_total", `anomaly="participation_mismatch"`, 1)
	if n := w.count("creditor_participation"); n != 0 {
		t.Errorf("%d participations are left", n)
	}
}

// A participation is deleted although there is no lock, or one of another turn.
func TestParticipationWithoutLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insertParticipation(creditor, -3000, collector)
	w.insertParticipation(creditor+1, -3000, collector)
	w.handle(now, []*smp.ReviseAccountLock{revision(), revision()})
	if n := w.count("creditor_participation"); n != 1 {
		t.Errorf("%d participations are left", n)
	}
	w.insertTurn(turn+1, 2, 5, &deadline)
	o := offer(5000)
	o.TurnID++
	w.handle(now, offers(o))
	before := w.theLock()
	w.insertParticipation(creditor, -3000, collector)
	w.handle(now, []*smp.ReviseAccountLock{revision()})
	w.mustStore(before)
	if n := w.count("creditor_participation"); n != 1 {
		t.Errorf("%d participations are left", n)
	}
}

func TestAbandonedBuyer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handle(now, offers(offer(5000)))
	id := w.theLock().CoordinatorRequestID
	w.handle(now, []*smp.PreparedTransfer{preparedTransfer(id)})
	w.send()
	w.handle(now, []*smp.LockAbandoned{abandonment(), abandonment()})
	w.mustHaveNoLock()
	w.mustSend("dismiss 9 of " + fmt.Sprintf(aboutUs, id))
	w.handle(now, []*smp.LockAbandoned{abandonment()})
	w.mustSend()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	problems, err := testutil.GatherAndLint(w.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("problems are %v, %v", problems, err)
	}
	// Everything is there from the beginning, at zero.
	for name, want := range map[string]int{
		"trade_lock_events_total": 12, "trade_lock_dropped_offers_total": 5, "trade_lock_anomalies_total": 6,
	} {
		if got, err := testutil.GatherAndCount(w.registry, name); err != nil || got != want {
			t.Errorf("%s has %d values (%v), want %d", name, got, err, want)
		}
	}
}

// Whoever scans the table gives accounts; what has changed since, or is not overdue, stays.
func TestDismissOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insertTurn(turn+1, 2, 5, &deadline)
	w.insertTurn(1, 1, 0, nil)
	overdue := deadline.Add(w.rules.DispatchingSlack)
	var accounts []lock.Account
	insert := func(i int, turn int32, state string) {
		t.Helper()
		w.exec(`WITH given AS (SELECT $5::TIMESTAMPTZ AS began)
			INSERT INTO account_lock SELECT $1, $2, $3, $4, began, $6, -5000, `+state+" FROM given",
			i, debtor, turn, collector, began, i)
		accounts = append(accounts, lock.Account{CreditorID: swpt.CreditorID(i), DebtorID: debtor})
	}
	insert(1, turn, "NULL")
	insert(2, turn, "9")
	insert(3, turn, "9, began")
	insert(4, turn, "9, began, began, began, 1")
	insert(5, turn+1, "9")
	insert(6, 1, "9")
	insert(7, 2, "9") // nothing is known of the turn
	insert(8, turn, "9, NULL, NULL, NULL, NULL, TRUE")
	insert(9, turn, "9") // somebody else works on it
	insert(int(collector), turn, "0")
	insert(10, turn, "9") // not among the candidates
	w.exec(`UPDATE worker_turn SET collection_deadline = collection_deadline + INTERVAL '1 microsecond'
		WHERE turn_id = $1`, turn+1)
	run := func(after int) (n int) {
		t.Helper()
		w.inTx(func(ctx context.Context, tx *workerdb.Tx) (err error) {
			n, err = w.rules.DismissOverdue(ctx, tx, overdue.Add(time.Microsecond), append(accounts[:10:10], accounts...)[:20])
			return err
		})
		if left := w.count("account_lock"); left != after {
			t.Errorf("%d locks are left, want %d", left, after)
		}
		return n
	}
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT * FROM account_lock WHERE creditor_id = 9 FOR UPDATE"); err != nil {
			return err
		}
		if n := run(7); n != 4 {
			t.Errorf("%d locks have been dismissed", n)
		}
		return nil
	})
	w.mustSend("dismiss 9 of 2/8001 for 2/2", "dismiss 9 of 8/8001 for 8/8")
	if n := run(6); n != 1 {
		t.Errorf("%d locks have been dismissed", n)
	}
	w.mustSend("dismiss 9 of 9/8001 for 9/9")
	if n := run(6); n != 0 {
		t.Errorf("%d locks have been dismissed", n)
	}
	w.mustSend()
	w.mustCount("trade_lock_events_total", `event="overdue"`, 5)
}

// Nothing is known of the turns of these locks, so only their age counts.
func TestDismissAged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var accounts []lock.Account
	for i, state := range []string{"NULL", "9", "9, given", "9, given, given, given, 1"} {
		for age := range 2 {
			creditor := int64(10*i + age)
			w.exec(`WITH given AS (SELECT $5::TIMESTAMPTZ AS given)
				INSERT INTO account_lock
				SELECT $1, $2, 1, $3, given - INTERVAL '365 days' - $4 * INTERVAL '1 microsecond', $1, -5000, `+state+` FROM given`,
				creditor, debtor, collector, age, now)
			accounts = append(accounts, lock.Account{CreditorID: swpt.CreditorID(creditor), DebtorID: debtor})
		}
	}
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
		n, err := w.rules.DismissOverdue(ctx, tx, now, accounts)
		if n != 2 {
			t.Errorf("%d locks have been dismissed", n)
		}
		return err
	})
	var left []swpt.CreditorID
	for _, l := range w.locks() {
		left = append(left, l.CreditorID)
	}
	if fmt.Sprint(left) != "[0 10 20 21 30 31]" {
		t.Errorf("left are %v", left)
	}
	w.mustSend("dismiss 9 of 11/8001 for 11/11")
}

// What is left over from the shard's parent belongs to another worker, who dismisses it.
func TestDismissOverdueOfOtherShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rules.Realm = realmWithout(t, creditor)
	w.handle(now, offers(offer(5000)))
	account := lock.Account{CreditorID: creditor, DebtorID: debtor}
	w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
		n, err := w.rules.DismissOverdue(ctx, tx, deadline.Add(300*day), []lock.Account{account})
		if n != 0 {
			t.Errorf("%d locks have been dismissed", n)
		}
		return err
	})
	w.theLock()
}
