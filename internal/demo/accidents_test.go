package demo

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world"
	"github.com/circular-trade/circular-trade/internal/world/agent"
	"github.com/circular-trade/circular-trade/internal/world/authority"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// Each pair of currencies has its own story. Those from 9000 on are kept by another accounting authority.
const (
	spent      swpt.DebtorID = 8011 // is spent by its sellers before it can be locked
	spentFor   swpt.DebtorID = 9011
	vanished   swpt.DebtorID = 8012 // buyers' accounts vanish
	vanishedTo swpt.DebtorID = 9012
	seized     swpt.DebtorID = 8013 // is taken away from the collector
	seizedFor  swpt.DebtorID = 9013
)

// The people of the stories.
const (
	honest      = 1 + iota // sells what is there
	spender                // has spent nearly everything
	halfway                // has spent more than a half
	counter                // trades with these three
	friend                 // is paid by them
	deleter                // deletes the account in the middle of the turn
	forgotten              // the authority forgets the account, and makes a new one when tokens come
	unreachable            // the authority forgets the account, and looks whether recipients exist
	bystander              // nothing happens to them
	lender
	smallLender
	manyTokens // wants more than the collector has left
	fewTokens  // wants less
)

func accidentsScenario() world.Scenario {
	s := scenarioOf("accidents", issued(spent), issued(spentFor), issued(vanished), issued(vanishedTo), issued(seized),
		issued(seizedFor))
	add := func(number int, accounts ...world.Account) {
		s.Customers = append(s.Customers, trader(number, accounts...))
	}
	add(honest, sells(spent, 50_000), buys(spentFor, 50_000))
	add(spender, sells(spent, 40_000), buys(spentFor, 40_000))
	add(halfway, sells(spent, 30_000), buys(spentFor, 30_000))
	add(counter, sells(spentFor, 120_000), buys(spent, 120_000))
	add(friend, world.Account{Debtor: spent, Policy: agent.NoPolicy()})
	add(deleter, sells(vanishedTo, 20_000), buys(vanished, 20_000))
	add(forgotten, sells(vanishedTo, 30_000), buys(vanished, 30_000))
	add(unreachable, sells(vanished, 25_000), buys(vanishedTo, 25_000))
	add(bystander, sells(vanished, 25_000), buys(vanishedTo, 25_000))
	add(lender, sells(seized, 60_000), buys(seizedFor, 60_000))
	add(smallLender, sells(seized, 40_000), buys(seizedFor, 40_000))
	add(manyTokens, sells(seizedFor, 70_000), buys(seized, 70_000))
	add(fewTokens, sells(seizedFor, 30_000), buys(seized, 30_000))
	return s
}

// healthyDelay is TRANSFERS_HEALTHY_MAX_COMMIT_DELAY: so long is the first pause after a failure. The next one is eight
// times as long.
const healthyDelay = 2 * time.Second

// A drama is a scene with accidents.
type drama struct {
	*scene
	vanished, vanishedTo, seized journal.Account // of collectors
}

// testAccidents lets several accidents happen in one turn: sellers whose locks are rejected, or smaller than they should
// be; buyers whose accounts vanish; a collector short of funds. Everybody else trades, and everybody who can be paid is.
func testAccidents(t *testing.T, program string) {
	t.Helper()
	d := &drama{scene: openScene(t, program, accidentsScenario(), 2)}
	d.restartWorkers(fmt.Sprintf("TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=%v", healthyDelay))
	d.vanished, d.vanishedTo = d.collectors(vanished)[0], d.collectors(vanishedTo)[0]
	d.seized = d.collectors(seized)[0]

	d.spendSecretly()
	for _, collector := range []journal.Account{d.vanished, d.vanishedTo, d.seized} {
		d.world.Hold(collector, smp.TypeAccountTransfer) // so that the acts come between sellers and buyers
	}
	d.clear(1, 23, 1)
	d.awaitCollected(d.vanished, 50_000)
	d.awaitCollected(d.vanishedTo, 50_000)
	d.awaitCollected(d.seized, 100_000)

	d.loseAccounts()
	d.world.Seize(d.seized, 60_000)
	for _, collector := range []journal.Account{d.vanished, d.vanishedTo, d.seized} {
		d.world.Release(collector, smp.TypeAccountTransfer)
	}
	d.giveBackWhatWasSeized()
	d.comeBack()
	d.arrive()
	d.awaitDeletion()
	d.judge()

	cleared, positions := d.cleared(1), d.positions()
	left := d.world.Position(d.seized).Now
	chronicle := d.close()
	cleared.audit(t, chronicle)
	wantRejectedSeller(t, cleared, positions, chronicle)
	wantVanishedBuyers(t, d, positions, chronicle)
	wantShortCollector(t, d, positions, chronicle, left)
}

// restartWorkers starts all workers again, with more settings.
func (s *scene) restartWorkers(settings ...string) {
	s.t.Helper()
	for i := range s.Shards {
		name := workerProcess(i)
		s.must(s.fleet.stop(name))
		s.fleet.specs[name].environment = append(s.fleet.specs[name].environment, settings...)
		s.must(s.fleet.start(name))
	}
}

// spendSecretly has two sellers spend what they are going to offer, and the news about it come late.
func (d *drama) spendSecretly() {
	d.t.Helper()
	for number, amount := range map[int]int64{spender: 44_000, halfway: 20_000} {
		account := accountOf(number, spent)
		had := d.world.Position(account).Now
		d.world.Hold(account, smp.TypeUpdatedLedger)
		d.world.Pay(spent, account.Creditor, accountOf(friend, spent).Creditor, amount)
		d.await("spending", func(context.Context) (bool, error) {
			return d.world.Position(account).Now == had-amount, nil
		})
	}
}

func (d *drama) awaitCollected(collector journal.Account, amount int64) {
	d.t.Helper()
	d.await("collecting", func(context.Context) (bool, error) { return d.world.Position(collector).Now == amount, nil })
}

// loseAccounts lets the accounts of three buyers vanish, each in another way.
func (d *drama) loseAccounts() {
	d.t.Helper()
	d.world.Delete(accountOf(deleter, vanished))
	d.await("hearing of a deletion", func(ctx context.Context) (bool, error) {
		n, err := d.count(ctx, `
			SELECT count(*) FROM trading_policy WHERE creditor_id = $1 AND debtor_id = $2 AND account_id_is_obsolete`,
			accountOf(deleter, vanished).Creditor, vanished)
		return n == 1, err
	})
	d.must(d.world.Forget(accountOf(forgotten, vanished)))
	d.world.SetFreedoms(vanishedTo, authority.Freedoms{Recipients: authority.AtPrepare})
	d.must(d.world.Forget(accountOf(unreachable, vanishedTo)))
}

// failure codes of attempts (transfers.md, section 4.1).
const (
	failedUnreachable  = 3
	failedInsufficient = 4
)

// awaitFailure waits until a payment to a buyer has failed, at least so often that the counter is that high.
func (d *drama) awaitFailure(buyer journal.Account, code, counter int) {
	d.t.Helper()
	d.await("a failure", func(ctx context.Context) (bool, error) {
		n, err := d.count(ctx, `
			SELECT count(*) FROM transfer_attempt
			WHERE creditor_id = $1 AND debtor_id = $2 AND failure_code = $3 AND backoff_counter >= $4`,
			buyer.Creditor, buyer.Debtor, code, counter)
		return n == 1, err
	})
}

// giveBackWhatWasSeized waits until the one buyer has been paid and the other one could not be, before it gives the
// collector new funds.
func (d *drama) giveBackWhatWasSeized() {
	d.t.Helper()
	d.awaitFailure(accountOf(manyTokens, seized), failedInsufficient, 3)
	d.await("a small payment", func(context.Context) (bool, error) {
		return d.world.Position(accountOf(fewTokens, seized)).Now == 29_999, nil
	})
	if p := d.world.Position(accountOf(manyTokens, seized)); p.Trades != nil {
		d.t.Errorf("although there were not enough tokens, there were trades: %v", p.Trades)
	}
	d.world.Issue(d.seized, 60_000)
}

// comeBack has a buyer open the account again, when the worker has asked for the account ID twice: when the payment
// failed, and when it was due again.
func (d *drama) comeBack() {
	d.t.Helper()
	account := accountOf(unreachable, vanishedTo)
	d.awaitFailure(account, failedUnreachable, 4)
	d.world.Delete(account)
	d.world.Open(account)
}

// awaitDeletion waits until the account is deleted that its owner has no use for any more.
func (d *drama) awaitDeletion() {
	d.t.Helper()
	account := accountOf(deleter, vanished)
	d.await("a deletion", func(context.Context) (bool, error) {
		p := d.world.Position(account)
		return p.Now == 0 && len(p.Trades) == 1, nil
	})
}

// wantRejectedSeller wants that who has spent the tokens has not traded, that who has spent a part has traded the rest,
// and that the others have traded.
func wantRejectedSeller(t *testing.T, c *cleared, positions map[journal.Account]*world.Position, chronicle *chronicle) {
	t.Helper()
	rejections := 0
	for _, m := range chronicle.rejected {
		if m.DebtorID == spent {
			rejections++
			if m.CreditorID != accountOf(spender, spent).Creditor || m.StatusCode != "INSUFFICIENT_AVAILABLE_AMOUNT" {
				t.Errorf("%#x is rejected: %s", uint64(m.CreditorID), m.StatusCode)
			}
		}
	}
	if rejections != 1 {
		t.Errorf("%d sellers' locks have been rejected, want 1", rejections)
	}
	for _, debtor := range []swpt.DebtorID{spent, spentFor} {
		if p := positions[accountOf(spender, debtor)]; p.Trades != nil || p.Locked != 0 {
			t.Errorf("who has spent the tokens has traded %v, and %d are locked", p.Trades, p.Locked)
		}
	}
	// 13500 of 33500 are left, and could melt to 94.466 % before the collection deadline (transfers.md, section 2.3).
	const rest = 12_752
	for account, want := range map[journal.Account]int64{
		accountOf(honest, spent): 50_000, accountOf(halfway, spent): rest, accountOf(counter, spentFor): 50_000 + rest,
	} {
		if got := c.takings[account].amount; got != want {
			t.Errorf("%v gives %d, want %d", account, got, want)
		}
	}
	if c.sales[accountOf(halfway, spent)] != c.takings[accountOf(halfway, spent)].amount {
		t.Errorf("what is left is offered as %d, and not sold as such", c.sales[accountOf(halfway, spent)])
	}
}

// wantVanishedBuyers wants that buyers whose accounts vanish are paid all the same.
func wantVanishedBuyers(
	t *testing.T, d *drama, positions map[journal.Account]*world.Position, chronicle *chronicle,
) {
	t.Helper()
	// The lock keeps the account that its owner has deleted, until the tokens are there. Then they go with it.
	account := accountOf(deleter, vanished)
	if p := positions[account]; len(p.Trades) != 1 || p.Trades[0].Amount != 19_999 || p.Now != 0 {
		t.Errorf("who has deleted the account got %v, and has %d", p.Trades, p.Now)
	}
	opened, closed := chronicle.count(journal.Opened, account), chronicle.count(journal.Closed, account)
	if opened != 1 || closed != 1 {
		t.Errorf("the deleted account was opened %d times and closed %d times, want once each", opened, closed)
	}
	// The credit creates the account that has been forgotten.
	account = accountOf(forgotten, vanished)
	if p := positions[account]; p.Now != 29_999 || p.Ledger != p.Now {
		t.Errorf("who has been forgotten has %d, by the ledger %d, want 29999", p.Now, p.Ledger)
	}
	if n := chronicle.count(journal.Opened, account); n != 2 || chronicle.count(journal.Forgotten, account) != 1 {
		t.Errorf("the forgotten account was opened %d times, want twice", n)
	}
	// The payment to an account that cannot be reached is tried again, and succeeds when it is there.
	account = accountOf(unreachable, vanishedTo)
	if p := positions[account]; p.Now != 24_999 || p.Ledger != p.Now {
		t.Errorf("who could not be reached has %d, by the ledger %d, want 24999", p.Now, p.Ledger)
	}
	var failed *smp.PrepareTransfer
	for _, m := range chronicle.rejected {
		if m.DebtorID == vanishedTo {
			failed = chronicle.prepares[requestKey{d.vanishedTo, m.CoordinatorRequestID}]
			if m.StatusCode != "RECIPIENT_IS_UNREACHABLE" || failed == nil {
				t.Fatalf("a payment of %#x is rejected: %s", uint64(m.CreditorID), m.StatusCode)
			}
		}
	}
	note := smp.Note{Kind: smp.Dispatching, TurnID: 1, First: d.vanishedTo.Creditor, Second: account.Creditor}
	paid := chronicle.requestOf(payKey{d.vanishedTo, note.String()})
	if failed == nil || paid == nil {
		t.Fatalf("the payment that fails: %v, the one that succeeds: %v", failed, paid)
	}
	if pause := paid.TS.Sub(failed.TS); pause < 9*healthyDelay {
		t.Errorf("after %v, the payment is tried again; it should be asked where to first", pause)
	}
}

// wantShortCollector wants that a collector who has lost its tokens pays whom it can, and the others later.
func wantShortCollector(
	t *testing.T, d *drama, positions map[journal.Account]*world.Position, chronicle *chronicle, left int64,
) {
	t.Helper()
	failures := 0
	for _, end := range chronicle.ends {
		if end.DebtorID == seized && end.CommittedAmount == 0 && end.StatusCode == "INSUFFICIENT_AVAILABLE_AMOUNT" {
			failures++
		}
	}
	if failures == 0 {
		t.Error("no payment has failed because there were not enough tokens")
	}
	for account, want := range map[journal.Account]int64{
		accountOf(manyTokens, seized): 69_999, accountOf(fewTokens, seized): 29_999,
		accountOf(lender, seizedFor): 59_999, accountOf(smallLender, seizedFor): 39_999,
	} {
		if got := positions[account].Now; got != want {
			t.Errorf("%v has %d, want %d", account, got, want)
		}
	}
	if left != 2 {
		t.Errorf("%v keeps %d, want 2", d.seized, left)
	}
}
