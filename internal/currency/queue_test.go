package currency_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

const lease = time.Minute

func request(iri string, debtor swpt.DebtorID) *smp.FetchDebtorInfo {
	return &smp.FetchDebtorInfo{IRI: iri, DebtorID: debtor, IsLocatorFetch: true}
}

func take(tb testing.TB, db *workerdb.DB, now time.Time, atMost int, busy ...string) currency.Taken {
	tb.Helper()
	return takeWith(tb, newRules(), db, now, atMost, busy...)
}

func takeWith(tb testing.TB, rules *currency.Rules, db *workerdb.DB, now time.Time, atMost int, busy ...string) (taken currency.Taken) {
	tb.Helper()
	mustCommit(tb, db, func(ctx context.Context, tx *workerdb.Tx) (err error) {
		taken, err = rules.Take(ctx, tx, now, now.Add(lease), atMost, busy)
		return err
	})
	return taken
}

// settle hands in results. Each random number is 0.5.
func settle(tb testing.TB, db *workerdb.DB, now time.Time, results ...currency.Result) (settled currency.Settled) {
	tb.Helper()
	mustCommit(tb, db, func(ctx context.Context, tx *workerdb.Tx) (err error) {
		settled, err = newRules().Settle(ctx, tx, now, func() float64 { return 0.5 }, results)
		return err
	})
	return settled
}

func mustCommit(tb testing.TB, db *workerdb.DB, do func(context.Context, *workerdb.Tx) error) {
	tb.Helper()
	if err := db.InReadCommittedTx(tb.Context(), "test", do); err != nil {
		tb.Fatal(err)
	}
}

// names returns the IRIs of fetches.
func names(fetches []currency.Fetch) string {
	var iris []string
	for i := range fetches {
		iris = append(iris, fetches[i].IRI)
	}
	slices.Sort(iris)
	return strings.Join(iris, " ")
}

func TestTake(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	for i, iri := range []string{"https://a/1", "https://b/1", "https://a/2", "https://c/1"} {
		handle(t, db, noon.Add(time.Duration(i)*time.Second), request(iri, 5))
	}
	now := noon.Add(2 * time.Second)
	taken := take(t, db, now, 2)
	if names(taken.Fetches) != "https://a/1 https://b/1" || !taken.More {
		t.Errorf("taken are %+v", taken)
	}
	first := currency.Fetch{IRI: "https://a/1", DebtorID: 5, Host: "a", LeasedUntil: now.Add(lease)}
	if !slices.Contains(taken.Fetches, first) {
		t.Errorf("taken are %+v", taken.Fetches)
	}
	if taken := take(t, db, now, 2); names(taken.Fetches) != "https://a/2" || taken.More {
		t.Errorf("taken are %+v", taken)
	}
	if taken := take(t, db, now, 2); len(taken.Fetches) != 0 || taken.More {
		t.Errorf("taken are %+v", taken)
	}
	if taken := take(t, db, now.Add(lease-1*time.Microsecond), 9); names(taken.Fetches) != "https://c/1" {
		t.Errorf("taken are %+v", taken)
	}
	if taken := take(t, db, now.Add(lease), 9, "a", "d"); names(taken.Fetches) != "https://b/1" {
		t.Errorf("taken are %+v", taken)
	}
	if taken := take(t, db, now.Add(lease), 9); names(taken.Fetches) != "https://a/1 https://a/2" {
		t.Errorf("taken are %+v", taken)
	}
	mustSend(t, db)
}

// What somebody else is looking at is passed over.
func TestTakeLocked(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	handle(t, db, noon, request("https://a/1", 5), request("https://b/1", 5))
	mustCommit(t, db, func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT FROM debtor_info_fetch WHERE host = 'a' FOR UPDATE"); err != nil {
			return err
		}
		if taken := take(t, db, noon, 9); names(taken.Fetches) != "https://b/1" {
			t.Errorf("taken are %+v", taken)
		}
		return nil
	})
}

// What is in the database, and not expired, is not fetched, unless a page is forced.
func TestTakeCached(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	handle(t, db, noon,
		&smp.StoreDocument{DebtorInfoLocator: "https://a/fresh", DebtorID: 5, PegDebtorInfoLocator: new("https://p/"), PegDebtorID: new(swpt.DebtorID(6)), PegExchangeRate: new(2.0), TS: noon.Add(-7 * day)},
		&smp.StoreDocument{DebtorInfoLocator: "https://a/old", DebtorID: 5, TS: noon.Add(-7*day - time.Microsecond)},
		&smp.StoreDocument{DebtorInfoLocator: "https://a/frozen", DebtorID: 5, WillNotChangeUntil: new(noon.Add(day)), TS: noon.Add(-31 * day)},
		&smp.FetchDebtorInfo{IRI: "https://a/fresh", DebtorID: 5, IsLocatorFetch: true, IsDiscoveryFetch: true, RecursionLevel: 2},
		&smp.FetchDebtorInfo{IRI: "https://a/fresh", DebtorID: 6, IsLocatorFetch: true},
		&smp.FetchDebtorInfo{IRI: "https://a/fresh", DebtorID: 7, IsLocatorFetch: true, ForcedIRI: new("https://a/new")},
		&smp.FetchDebtorInfo{IRI: "https://a/old", DebtorID: 5, IsLocatorFetch: true},
		&smp.FetchDebtorInfo{IRI: "https://a/frozen", DebtorID: 5, IsDiscoveryFetch: true})
	taken := take(t, db, noon, 5)
	if names(taken.Fetches) != "https://a/fresh https://a/old" || taken.Cached != 3 || !taken.More {
		t.Errorf("taken are %+v", taken)
	}
	mustSend(t, db,
		&smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/fresh", TS: noon},
		&smp.FetchDebtorInfo{IRI: "https://p/", DebtorID: 6, IsLocatorFetch: true, RecursionLevel: 3, TS: noon},
		&smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/frozen", TS: noon})
	if n := len(fetches(t, db)); n != 2 {
		t.Errorf("%d fetches are left", n)
	}
	for _, f := range taken.Fetches {
		if want := map[swpt.DebtorID]string{5: "https://a/old", 7: "https://a/new"}[f.DebtorID]; f.Target() != want {
			t.Errorf("%+v downloads %s", f, f.Target())
		}
	}
}

// After a split of the shard, fetches of the other half are gone without a word.
func TestTakeLeftOvers(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	rules := newRules()
	rules.Realm, _ = shard.ParseRealm("1.#")
	handle(t, db, noon, request("https://agent.example/eur", 5), request("https://agent.example/usd", 5))
	taken := takeWith(t, rules, db, noon, 9)
	if names(taken.Fetches) != "https://agent.example/usd" || taken.LeftOver != 1 || len(fetches(t, db)) != 1 {
		t.Errorf("taken are %+v, left %v", taken, fetches(t, db))
	}
	mustSend(t, db)
}

// Several fetchers never get the same fetch.
func TestTakeTogether(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	var batch []smp.Message
	for i := range 200 {
		batch = append(batch, request(fmt.Sprint("https://a/", i), 5))
	}
	handle(t, db, noon, batch...)
	taken := make(chan []currency.Fetch)
	for range 4 {
		go func() {
			var all []currency.Fetch
			for range 30 {
				all = append(all, take(t, db, noon, 7).Fetches...)
			}
			taken <- all
		}()
	}
	seen := map[string]int{}
	for range 4 {
		for _, f := range <-taken {
			seen[f.IRI]++
		}
	}
	for iri, n := range seen {
		if n != 1 {
			t.Errorf("%s has been taken %d times", iri, n)
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d of 200 have been taken", len(seen))
	}
}

// What is asked for meanwhile counts.
func TestSettle(t *testing.T) {
	t.Parallel()
	later := noon.Add(10 * time.Second)
	document := currency.Outcome{Document: &coininfo.Document{Locator: "https://a/", DebtorID: 5, Peg: &coininfo.Peg{Locator: "https://p/", DebtorID: 6, Rate: 2}}}
	store := &smp.StoreDocument{
		DebtorInfoLocator: "https://a/", DebtorID: 5, PegDebtorInfoLocator: new("https://p/"), PegDebtorID: new(swpt.DebtorID(6)), PegExchangeRate: new(2.0), TS: later,
	}
	follow := func(level int32) smp.Outgoing {
		return &smp.FetchDebtorInfo{IRI: "https://p/", DebtorID: 6, IsLocatorFetch: true, RecursionLevel: level, TS: later}
	}
	row := func(change func(*workerdb.DebtorInfoFetch)) []workerdb.DebtorInfoFetch {
		r := workerdb.DebtorInfoFetch{IRI: "https://a/", DebtorID: 5, IsLocatorFetch: true, Host: "a", RecursionLevel: 3, InsertedAt: noon, NextAttemptAt: later}
		change(&r)
		return []workerdb.DebtorInfoFetch{r}
	}
	failed := func(status *int16) []workerdb.DebtorInfoFetch {
		return row(func(r *workerdb.DebtorInfoFetch) {
			r.AttemptsCount, r.LatestAttemptAt, r.LatestAttemptErrorcode, r.NextAttemptAt = 1, &later, status, later.Add(45*time.Second)
		})
	}
	for name, c := range map[string]struct {
		meanwhile smp.Message
		sql       string
		outcome   currency.Outcome
		settled   currency.Settled
		row       []workerdb.DebtorInfoFetch
		sent      []smp.Outgoing
	}{
		"document": {outcome: document, settled: currency.Settled{Done: 1}, sent: []smp.Outgoing{store, follow(4)}},
		"document, more wanted": {
			meanwhile: &smp.FetchDebtorInfo{IRI: "https://a/", DebtorID: 5, IsDiscoveryFetch: true, RecursionLevel: 1},
			outcome:   document, settled: currency.Settled{Done: 1},
			sent: []smp.Outgoing{store, follow(2), &smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/", TS: later}},
		},
		"document, another page wanted": {
			meanwhile: &smp.FetchDebtorInfo{IRI: "https://a/", DebtorID: 5, IsDiscoveryFetch: true, ForcedIRI: new("https://f/"), RecursionLevel: 4},
			outcome:   document, settled: currency.Settled{Repeated: 1},
			row: row(func(r *workerdb.DebtorInfoFetch) {
				r.ForcedIRI, r.Host, r.IsDiscoveryFetch = new("https://f/"), "f", true
			}),
		},
		"failure, another page wanted": {
			meanwhile: &smp.FetchDebtorInfo{IRI: "https://a/", DebtorID: 5, ForcedIRI: new("https://f/"), RecursionLevel: 4},
			settled:   currency.Settled{Repeated: 1}, row: row(func(r *workerdb.DebtorInfoFetch) { r.ForcedIRI, r.Host = new("https://f/"), "f" }),
		},
		"failure":             {settled: currency.Settled{Postponed: 1}, row: failed(nil)},
		"failure with status": {outcome: currency.Outcome{Status: 404}, settled: currency.Settled{Postponed: 1}, row: failed(new(int16(404)))},
		"hopeless":            {outcome: currency.Outcome{Hopeless: true}, settled: currency.Settled{Done: 1}},
		"last failure": {
			sql:     "UPDATE debtor_info_fetch SET attempts_count = 14, latest_attempt_at = now()",
			settled: currency.Settled{GivenUp: 1},
		},
		"taken over": {
			sql:     "UPDATE debtor_info_fetch SET next_attempt_at = next_attempt_at + INTERVAL '1 microsecond'",
			outcome: document, settled: currency.Settled{Lost: 1},
			row: row(func(r *workerdb.DebtorInfoFetch) { r.NextAttemptAt = noon.Add(lease + time.Microsecond) }),
		},
		"gone": {sql: "DELETE FROM debtor_info_fetch", outcome: document, settled: currency.Settled{Lost: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := workerdbtest.New(t)
			handle(t, db, noon, &smp.FetchDebtorInfo{IRI: "https://a/", DebtorID: 5, IsLocatorFetch: true, RecursionLevel: 3})
			taken := take(t, db, noon, 9)
			if c.meanwhile != nil {
				handle(t, db, noon, c.meanwhile)
			}
			if _, err := db.Pool().Exec(t.Context(), c.sql); err != nil {
				t.Fatal(err)
			}
			settled := settle(t, db, later, currency.Result{Fetch: taken.Fetches[0], Outcome: c.outcome})
			if settled != c.settled {
				t.Errorf("settled are %+v, want %+v", settled, c.settled)
			}
			mustEqual(t, fetches(t, db), append([]workerdb.DebtorInfoFetch{}, c.row...))
			mustSend(t, db, c.sent...)
		})
	}
}

// A failure with a status, and then one without; and each row has its own pause.
func TestRepeatedFailures(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	handle(t, db, noon, request("https://a/", 5), request("https://b/", 5))
	now := noon
	for n := range 15 {
		taken := take(t, db, now, 9)
		if len(taken.Fetches) != 2 {
			t.Fatalf("after %d failures: %+v, %+v", n, taken, fetches(t, db))
		}
		status := int16(500 * ((n + 1) % 2))
		settled := settle(t, db, now, currency.Result{Fetch: taken.Fetches[0], Outcome: currency.Outcome{Status: status}},
			currency.Result{Fetch: taken.Fetches[1], Outcome: currency.Outcome{Status: status}})
		if n == 14 {
			if settled.GivenUp != 2 || len(fetches(t, db)) != 0 {
				t.Errorf("after the last failure: %+v, %+v", settled, fetches(t, db))
			}
			break
		}
		for _, f := range fetches(t, db) {
			wait := 45 * time.Second << n
			if got := f.NextAttemptAt.Sub(now); int(f.AttemptsCount) != n+1 || got != wait || (f.LatestAttemptErrorcode == nil) != (status == 0) {
				t.Fatalf("after failure %d: %+v, waits for %v", n+1, f, got)
			}
		}
		now = now.Add(45 * time.Second << n)
	}
	mustSend(t, db)
}

func TestRelease(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	handle(t, db, noon, request("https://a/", 5), request("https://b/", 5))
	taken := take(t, db, noon, 9)
	stranger := taken.Fetches[0]
	stranger.LeasedUntil = stranger.LeasedUntil.Add(time.Microsecond)
	later := noon.Add(time.Second)
	mustCommit(t, db, func(ctx context.Context, tx *workerdb.Tx) error {
		return newRules().Release(ctx, tx, later, []currency.Fetch{stranger, taken.Fetches[1]})
	})
	for _, f := range fetches(t, db) {
		want := later
		if f.IRI == stranger.IRI {
			want = noon.Add(lease)
		}
		if !f.NextAttemptAt.Equal(want) || f.AttemptsCount != 0 {
			t.Errorf("%+v", f)
		}
	}
}

func TestCollector(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	now := time.Now()
	handle(t, db, now.Add(-time.Hour), request("https://a/", 5), request("https://b/", 5))
	handle(t, db, now.Add(time.Hour), request("https://c/", 5),
		&smp.DiscoverDebtor{DebtorID: 1, TS: now}, &smp.ConfirmDebtor{DebtorID: 2, TS: now}, &smp.DiscoverDebtor{DebtorID: 3, TS: now})
	frozen := new(now.Add(day))
	for i, m := range []*smp.StoreDocument{
		{TS: now},
		{TS: now.Add(-6 * day), WillNotChangeUntil: frozen},
		{TS: now.Add(-8 * day)},
		{TS: now.Add(-8 * day), WillNotChangeUntil: frozen},
		{TS: now.Add(-32 * day), WillNotChangeUntil: frozen},
		{TS: now.Add(-8 * day), WillNotChangeUntil: new(now.Add(-day))},
	} {
		m.DebtorInfoLocator = strconv.Itoa(i)
		handle(t, db, now, m)
	}
	collector := currency.NewCollector(newRules(), db)
	const want = `
# HELP trade_currency_claims Debtors with whom collectors have accounts: those who have confirmed where their document is, and others.
# TYPE trade_currency_claims gauge
trade_currency_claims{state="confirmed"} 1
trade_currency_claims{state="unconfirmed"} 2
# HELP trade_currency_documents Stored documents by age: fresh ones; older ones that have promised not to change; and expired ones, which are to be fetched again if a debtor's claim leads to them.
# TYPE trade_currency_documents gauge
trade_currency_documents{state="expired"} 3
trade_currency_documents{state="fresh"} 2
trade_currency_documents{state="frozen"} 1
# HELP trade_currency_fetches Fetches in the queue, counted up to a limit: those that are due, and those that wait, for another attempt or for somebody who is at work on them.
# TYPE trade_currency_fetches gauge
trade_currency_fetches{state="due"} 2
trade_currency_fetches{state="waiting"} 1
`
	err := testutil.CollectAndCompare(collector, strings.NewReader(want), "trade_currency_claims", "trade_currency_documents", "trade_currency_fetches")
	if err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(collector); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if _, err := db.Pool().Exec(t.Context(), "DELETE FROM debtor_info_fetch WHERE next_attempt_at <= now()"); err != nil {
		t.Fatal(err)
	}
	const idle = `
# HELP trade_currency_oldest_due_fetch_age_seconds For how long the first of the fetches has been due; 0 if none is.
# TYPE trade_currency_oldest_due_fetch_age_seconds gauge
trade_currency_oldest_due_fetch_age_seconds 0
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(idle), "trade_currency_oldest_due_fetch_age_seconds"); err != nil {
		t.Error(err)
	}
}
