package collector_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func mustOpen(tb testing.TB, o *collector.Opener) {
	tb.Helper()
	if err := o.RunOnce(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// opening is the message that asks for a collector's account.
func opening(id swpt.CreditorID) string {
	return fmt.Sprintf("ConfigureAccount %d 1001 0 1000000000000000000000000000000", id)
}

// configured returns when accounts have been asked for, in seconds from now.
func (w *world) configured(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.worker.DB, `SELECT format('%s %s', creditor_id, extract(epoch FROM configured_at - $1)::INTEGER)
		FROM needed_worker_account ORDER BY 1`, w.now)
}

// changed returns since how many seconds collectors have had their status.
func (w *world) changed(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.solver.DB, `SELECT format('%s %s', status, extract(epoch FROM $1 - latest_status_change_at)::INTEGER)
		FROM collector_account ORDER BY collector_id`, w.now)
}

func TestOpenPlannedCollectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.opener()
	w.addCollector(t, second, 0, "", now.Add(-time.Minute))
	w.addCollector(t, first, 0, "", now.Add(-time.Hour))
	for status := range 3 { // others, which are left alone
		w.addCollector(t, swpt.CreditorID(status+1), status+1, "", now.Add(-7*day))
	}
	mustOpen(t, o)
	mustBe(t, "sent", w.sent(t), opening(second), opening(first))
	mustBe(t, "needed", w.configured(t), fmt.Sprint(second, " 0"), fmt.Sprint(first, " 0"))
	unchanged := []string{"1 604800", "2 604800", "3 604800"}
	mustBe(t, "collectors", w.changed(t), append(unchanged, "1 0", "1 0")...)
	mustOpen(t, o)
	mustBe(t, "sent again", w.sent(t))
	for status, want := range map[string]float64{"planned": 0, "requested": 3, "active": 1, "disabled": 1} {
		if got := w.metric(t, "trade_collectors", status); got != want {
			t.Errorf("%s collectors: %v, want %v", status, got, want)
		}
	}
	if got := w.metric(t, "trade_collector_account_configurations_total", "planned"); got != 2 {
		t.Errorf("the metric is %v", got)
	}
}

// After a week without an account, it is asked for again; if the account is there, the collector is told so again.
func TestLookAfterRequestedCollectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.opener()
	w.addCollector(t, first, 0, "", now)
	mustOpen(t, o)
	w.sent(t)

	w.now = now.Add(7 * day)
	mustOpen(t, o)
	mustBe(t, "sent too early", w.sent(t))
	w.now = w.now.Add(time.Second)
	mustOpen(t, o)
	mustBe(t, "sent after a week", w.sent(t), opening(first))
	mustBe(t, "needed", w.configured(t), firsts("%d 0"))
	mustBe(t, "collector", w.changed(t), "1 0")
	if got := w.metric(t, "trade_collector_account_configurations_total", "silent"); got != 1 {
		t.Errorf("the metric is %v", got)
	}

	w.knows(t, first, "")
	w.now = w.now.Add(8 * day)
	mustOpen(t, o)
	mustBe(t, "sent while the account has no ID", w.sent(t))
	mustBe(t, "collector", w.changed(t), "1 0")
	w.knows(t, first, "7")
	w.now = w.now.Add(8 * day)
	mustOpen(t, o)
	mustBe(t, "sent when it has one", w.sent(t), firsts("ActivateCollector %d 1001 7"))
	mustBe(t, "collector", w.changed(t), "1 0")
	mustOpen(t, o)
	mustBe(t, "sent again", w.sent(t))
}

func TestOpenerKeepsToItsShard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.opener()
	var err error
	if o.Realm, err = shard.ParseWorkerRealm("1.#"); err != nil {
		t.Fatal(err)
	}
	var want []string
	for id := pool.First; id < pool.First+20; id++ {
		w.addCollector(t, id, int(id%2), "", now.Add(-8*day))
		if o.Realm.Match(shard.KeyOf(id)) {
			want = append(want, opening(id))
		}
	}
	mustOpen(t, o)
	slices.Sort(want)
	mustBe(t, "sent", w.sent(t), want...)
	if n := len(want); n == 0 || n == 20 {
		t.Error("all collectors are in one shard")
	}
}

// If an opener dies after it has asked for an account and before it has noted that, nobody asks again.
func TestOpenerDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.opener()
	w.addCollector(t, first, 0, "", now)
	exec(t, w.solver.DB, `CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RAISE ''no way''; END'`)
	exec(t, w.solver.DB, `CREATE TRIGGER fail BEFORE UPDATE ON collector_account EXECUTE FUNCTION fail()`)
	if err := o.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "no way") {
		t.Fatalf("the error is %v", err)
	}
	mustBe(t, "sent", w.sent(t), opening(first))
	exec(t, w.solver.DB, `DROP TRIGGER fail ON collector_account`)
	w.now = w.now.Add(7 * day)
	mustOpen(t, o)
	mustBe(t, "sent again", w.sent(t))
	mustBe(t, "collector", w.changed(t), "1 0")
}

// Many collectors are opened in portions, by several openers at a time, each of them once.
func TestOpenManyCollectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const collectors = 3500
	exec(t, w.solver.DB, `INSERT INTO collector_account SELECT n % 7, n, 0, '', 0, $1 FROM generate_series(1, $2) AS n`, now, collectors)
	var group errgroup.Group
	for range 2 {
		o := w.opener()
		o.MaxCount = 2000
		group.Go(func() error { return o.RunOnce(t.Context()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	all := strconv.Itoa(collectors)
	mustBe(t, "sent", lines(t, w.worker.DB, "SELECT count(DISTINCT body)::TEXT FROM outbox"), all)
	mustBe(t, "sent", lines(t, w.worker.DB, "SELECT count(*)::TEXT FROM outbox"), all)
	mustBe(t, "collectors", lines(t, w.solver.DB, "SELECT count(*)::TEXT FROM collector_account WHERE status = 1"), all)
}

// Someone who activates a collector before its status is noted wins.
func TestActivatedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addCollector(t, first, 0, "", now)
	release := w.hold(t, "status = 2, account_id = '7'")
	opened := make(chan error, 1)
	go func() { opened <- w.opener().RunOnce(t.Context()) }()
	awaitBlocked(t, w.solver.DB)
	release()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	mustBe(t, "collectors", w.collectors(t), firsts("%d 2 7"))
}
