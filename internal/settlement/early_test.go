package settlement_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// News that came before their records are applied as if they came now, and hold up nothing else (W-10).
func TestEarlyNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	w.handle(t, settlement.HandleCollected, transfer(1, 90), transfer(2, 101))
	deliver(t, w, settlement.HandleCollectingFailures, failed(3))
	w.handle(t, settlement.HandleReceived, transfer(1, 500))
	deliver(t, w, settlement.HandleNothingToReceives, nothing(3))
	w.now = now.Add(time.Hour)
	for _, phase := range []int{1, 2, 3} {
		w.addTurn(t, turn, phase, map[int]int{1: 10, 2: 10, 3: 0}[phase])
		w.roll(t)
		w.must(t, `SELECT count(*) FROM early_receipt WHERE inserted_at = '2026-03-10 06:45:00Z'`, "5")
	}
	w.must(t, early, "1099511627777 7 1 false 90", "1099511627777 7 1 true 500", "1099511627777 7 2 false 101",
		"1099511627777 7 3 false 0", "1099511627777 7 3 true 0")

	w.addTurn(t, turn, 3, 5)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 400, ToDispatch: 400}, "")
	for _, other := range []swpt.CreditorID{1, 2, 3, 4} {
		w.addCollecting(t, other, 100)
		w.addReceiving(t, other, 100)
	}
	w.roll(t)
	w.must(t, early)
	w.must(t, collectings, "1 90 true", "2 100 false", "4 100 false") // 101 is not what was to be collected
	w.must(t, receivings, "1 500", "2 0", "4 0")
	w.must(t, statuses, "1099511627777 <nil> <nil> ")
}

// News that are early, and then come again in time, leave nothing behind.
func TestEarlyNewsOfWhatHasGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	deliver(t, w, settlement.HandleCollectingFailures, failed(1))
	deliver(t, w, settlement.HandleNothingToReceives, nothing(1))
	w.addTurn(t, turn, 3, 5)
	w.addCollecting(t, 1, 100)
	w.addReceiving(t, 1, 100)
	deliver(t, w, settlement.HandleCollectingFailures, failed(1))
	deliver(t, w, settlement.HandleNothingToReceives, nothing(1))
	w.roll(t)
	w.must(t, early)
	w.must(t, collectings)
	w.must(t, receivings)
}

// The steps of the same pass know what the news have changed.
func TestStepAfterEarlyNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	w.handle(t, settlement.HandleCollected, transfer(1, 100))
	w.addTurn(t, turn, 3, 5)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 100, ToDispatch: 100}, "")
	w.addCollecting(t, 1, 100)
	w.roll(t)
	w.mustSend(t, startSending(hub))
}

// What has come in the usual way stays.
func TestEarlyNewsThatAreRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	w.handle(t, settlement.HandleCollected, transfer(1, 100))
	w.handle(t, settlement.HandleReceived, transfer(1, 100))
	w.addTurn(t, turn, 3, 5)
	w.addCollecting(t, 1, 200)
	w.addReceiving(t, 1, 200)
	w.handle(t, settlement.HandleCollected, transfer(1, 150))
	w.handle(t, settlement.HandleReceived, transfer(1, 150))
	w.roll(t)
	w.must(t, early)
	w.must(t, collectings, "1 150 true")
	w.must(t, receivings, "1 150")
}

// News of other shards are left alone; those of the other half of the parent are deleted, if that is wanted. News that
// have waited for 210 days are deleted.
func TestForgetEarlyNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roller.PageSize = 2
	add := func(collector swpt.CreditorID, age time.Duration) {
		t.Helper()
		w.exec(t, `
			INSERT INTO early_receipt SELECT $1::BIGINT, $2::INTEGER, 5, n, n % 2 = 0, 1, $3 FROM generate_series(1, 5) AS n
			ON CONFLICT DO NOTHING`, collector, int32(age/time.Hour), now.Add(-age))
	}
	const count = `SELECT collector_id, turn_id, count(*) FROM early_receipt GROUP BY 1, 2 ORDER BY 1, 2`
	for _, collector := range []swpt.CreditorID{hub, farHub} {
		add(collector, 0)
		add(collector, maxAge)
		add(collector, maxAge+time.Hour)
	}
	w.roll(t)
	w.must(t, count, "1099511627776 0 5", "1099511627776 5040 5", "1099511627777 0 5", "1099511627777 5040 5")
	if !w.log.has("number=10") {
		t.Error("there is nothing in the log")
	}
	w.roller.Realm = mustParse("0.0.#") // the parent of which has nothing to do with the far hub, and owns the other two
	add(otherHub, 0)
	near := map[bool]string{}
	for _, collector := range []swpt.CreditorID{hub, otherHub} {
		near[w.roller.Realm.Match(shard.KeyOf(collector))] += fmt.Sprint(collector)
	}
	w.roller.DeleteParentRecords = true
	w.roll(t)
	w.must(t, `SELECT DISTINCT collector_id FROM early_receipt ORDER BY 1`, "1099511627776", near[true])
}

// Early news of records in other shards' halves are not applied: whoever owns them does it in a database of their own.
func TestEarlyNewsOfOtherShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurn(t, turn, 3, 0)
	news := transfer(1, 100)
	news.CollectorID = farHub
	w.handle(t, settlement.HandleCollected, news)
	w.addTurn(t, turn, 3, 5)
	w.addCollecting(t, 1, 100)
	w.exec(t, `UPDATE worker_collecting SET collector_id = $1`, farHub)
	w.roll(t)
	w.must(t, collectings, "1 100 false")
	w.must(t, early, "1099511627776 7 1 false 100")
}

// More news than a page has.
func TestPagesOfEarlyNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roller.PageSize = 3
	w.addTurn(t, turn, 3, 0)
	var news []settlement.Transfer
	for other := range swpt.CreditorID(20) {
		news = append(news, transfer(other, 100))
	}
	w.handle(t, settlement.HandleCollected, news...)
	w.handle(t, settlement.HandleReceived, news...)
	w.addTurn(t, turn, 3, 5)
	for other := range swpt.CreditorID(19) {
		w.addCollecting(t, other, 100)
		w.addReceiving(t, other, 100)
	}
	w.roll(t)
	w.must(t, `SELECT count(*) FROM worker_collecting WHERE collected`, "19")
	w.must(t, `SELECT count(*) FROM worker_receiving WHERE received_amount = 100`, "19")
	w.must(t, early)
}
