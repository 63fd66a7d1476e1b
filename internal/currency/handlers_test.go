package currency_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

func TestAddTo(t *testing.T) {
	t.Parallel()
	rules := &inbox.Rules{}
	newRules().AddTo(rules)
	h := inbox.Handler{Rules: rules}
	for _, m := range []smp.Message{
		&smp.DiscoverDebtor{TS: noon}, &smp.ConfirmDebtor{TS: noon}, &smp.StoreDocument{TS: noon}, &smp.FetchDebtorInfo{TS: noon},
	} {
		body, err := m.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Check(broker.Delivery{ContentType: smp.ContentType, Type: m.Type(), Body: body}); err != nil {
			t.Errorf("%s: %v", m.Type(), err)
		}
	}
}

// The way of a claim: what is due when, and that a message that comes twice leaves the same behind.
func TestClaims(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	discover := &smp.DiscoverDebtor{DebtorID: 5, IRI: "https://a/i", ForceLocatorRefetch: true, TS: noon.Add(-1000 * day)}
	for range 2 {
		handle(t, db, noon, discover)
		mustEqual(t, claims(t, db), []workerdb.DebtorLocatorClaim{{DebtorID: 5, LatestDiscoveryFetchAt: noon}})
	}
	mustSend(t, db, &smp.FetchDebtorInfo{IRI: "https://a/i", DebtorID: 5, IsDiscoveryFetch: true, TS: noon})

	late := &smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/late", TS: noon.Add(-7*day - time.Microsecond)}
	handle(t, db, noon, late)
	mustSend(t, db)
	at := noon.Add(time.Minute)
	confirm := &smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/l", TS: at.Add(-7 * day)}
	confirmed := workerdb.DebtorLocatorClaim{
		DebtorID: 5, DebtorInfoLocator: new("https://a/l"), LatestLocatorFetchAt: &at, LatestDiscoveryFetchAt: noon,
	}
	fetch := &smp.FetchDebtorInfo{IRI: "https://a/l", DebtorID: 5, IsLocatorFetch: true, TS: at}
	for range 2 {
		handle(t, db, at, confirm)
		mustEqual(t, claims(t, db), []workerdb.DebtorLocatorClaim{confirmed})
		mustSend(t, db, fetch)
	}

	at2 := at.Add(time.Minute)
	discover.IRI = "https://a/j"
	forced := *fetch
	forced.ForcedIRI, forced.TS = new("https://a/j"), at2
	for range 2 {
		handle(t, db, at2, discover)
	}
	mustSend(t, db, &forced)
	confirmed.LatestLocatorFetchAt, confirmed.ForcedLocatorRefetchAt = &at2, &at2
	mustEqual(t, claims(t, db), []workerdb.DebtorLocatorClaim{confirmed})

	// A confirmation for another locator leaves the rest alone, and needs no claim to be there.
	at3 := at2.Add(time.Minute)
	handle(t, db, at3,
		&smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/m", TS: at3},
		&smp.ConfirmDebtor{DebtorID: -6, DebtorInfoLocator: "", TS: at3})
	confirmed.DebtorInfoLocator, confirmed.LatestLocatorFetchAt = new("https://a/m"), &at3
	mustEqual(t, claims(t, db), []workerdb.DebtorLocatorClaim{
		{DebtorID: -6, DebtorInfoLocator: new(""), LatestLocatorFetchAt: &at3, LatestDiscoveryFetchAt: at3}, confirmed,
	})
	mustSend(t, db,
		&smp.FetchDebtorInfo{IRI: "https://a/m", DebtorID: 5, IsLocatorFetch: true, TS: at3},
		&smp.FetchDebtorInfo{IRI: "", DebtorID: -6, IsLocatorFetch: true, TS: at3})
}

// Several messages about one debtor in a batch are applied one after the other.
func TestClaimsInOneBatch(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	handle(t, db, noon,
		&smp.DiscoverDebtor{DebtorID: 5, IRI: "https://a/i", TS: noon},
		&smp.DiscoverDebtor{DebtorID: 5, IRI: "https://a/j", TS: noon},
		&smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/l", TS: noon},
		&smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "https://a/m", TS: noon.Add(-time.Hour)})
	mustEqual(t, claims(t, db), []workerdb.DebtorLocatorClaim{{
		DebtorID: 5, DebtorInfoLocator: new("https://a/m"), LatestLocatorFetchAt: &noon, LatestDiscoveryFetchAt: noon,
	}})
	mustSend(t, db,
		&smp.FetchDebtorInfo{IRI: "https://a/i", DebtorID: 5, IsDiscoveryFetch: true, TS: noon},
		&smp.FetchDebtorInfo{IRI: "https://a/l", DebtorID: 5, IsLocatorFetch: true, TS: noon},
		&smp.FetchDebtorInfo{IRI: "https://a/m", DebtorID: 5, IsLocatorFetch: true, TS: noon})
}

func TestStoreDocuments(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	pegged := &smp.StoreDocument{
		DebtorInfoLocator: "https://a/l", DebtorID: 5, PegDebtorInfoLocator: new(""), PegDebtorID: new(swpt.DebtorID(0)),
		PegExchangeRate: new(0.0), WillNotChangeUntil: new(noon.Add(day)), TS: noon,
	}
	handle(t, db, noon.Add(1000*day), pegged) // there is no age limit
	want := workerdb.DebtorInfoDocument{
		DebtorInfoLocator: "https://a/l", DebtorID: 5, PegDebtorInfoLocator: new(""), PegDebtorID: new(swpt.DebtorID(0)),
		PegExchangeRate: new(0.0), WillNotChangeUntil: new(noon.Add(day)), FetchedAt: noon,
	}
	mustEqual(t, documents(t, db), []workerdb.DebtorInfoDocument{want})

	for _, age := range []time.Duration{0, time.Microsecond} {
		handle(t, db, noon, &smp.StoreDocument{DebtorInfoLocator: "https://a/l", DebtorID: 6, TS: noon.Add(-age)})
		mustEqual(t, documents(t, db), []workerdb.DebtorInfoDocument{want})
	}
	later := noon.Add(time.Microsecond)
	handle(t, db, noon,
		&smp.StoreDocument{DebtorInfoLocator: "https://a/l", DebtorID: 7, TS: later},
		&smp.StoreDocument{DebtorInfoLocator: "https://a/l", DebtorID: 8, TS: later},
		&smp.StoreDocument{DebtorInfoLocator: "https://a/l", DebtorID: 9, TS: noon.Add(-day)},
		&smp.StoreDocument{DebtorInfoLocator: strings.Repeat("x", 2001), DebtorID: 9, TS: noon},
		&smp.StoreDocument{DebtorInfoLocator: strings.Repeat("x", 2000), DebtorID: 9, TS: noon})
	mustEqual(t, documents(t, db), []workerdb.DebtorInfoDocument{
		{DebtorInfoLocator: "https://a/l", DebtorID: 7, FetchedAt: later},
		{DebtorInfoLocator: strings.Repeat("x", 2000), DebtorID: 9, FetchedAt: noon},
	})
	mustSend(t, db)
}

func TestFetchDebtorInfos(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	request := func(forced *string, locator, discovery bool, level int32) *smp.FetchDebtorInfo {
		return &smp.FetchDebtorInfo{
			IRI: "https://A.example/l", DebtorID: 5, IsLocatorFetch: locator, IsDiscoveryFetch: discovery, ForcedIRI: forced, RecursionLevel: level,
		}
	}
	handle(t, db, noon, request(new(""), false, false, 32767))
	want := workerdb.DebtorInfoFetch{
		IRI: "https://A.example/l", DebtorID: 5, Host: "a.example", RecursionLevel: 32767, InsertedAt: noon, NextAttemptAt: noon,
	}
	mustEqual(t, fetches(t, db), []workerdb.DebtorInfoFetch{want})

	// Merging leaves the attempts, and the time of the next one, as they are.
	_, err := db.Pool().Exec(t.Context(),
		"UPDATE debtor_info_fetch SET attempts_count = 3, latest_attempt_at = $1, latest_attempt_errorcode = 404, next_attempt_at = $2", noon, noon.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	want.AttemptsCount, want.LatestAttemptAt, want.LatestAttemptErrorcode, want.NextAttemptAt = 3, &noon, new(int16(404)), noon.Add(day)
	for _, step := range []struct {
		m      *smp.FetchDebtorInfo
		change func()
	}{
		{request(nil, true, false, 7), func() { want.IsLocatorFetch, want.RecursionLevel = true, 7 }},
		{request(nil, false, true, 9), func() { want.IsDiscoveryFetch = true }},
		{request(new("https://b.example/"), false, false, 9), func() { want.ForcedIRI, want.Host = new("https://b.example/"), "b.example" }},
		{request(nil, false, false, 7), func() {}},
		{request(new(""), false, false, 7), func() {}},
		{request(new("http://b.example/"), false, false, 7), func() { want.ForcedIRI, want.Host = new("http://b.example/"), "" }},
		{request(nil, false, false, 0), func() { want.RecursionLevel = 0 }},
	} {
		step.change()
		for range 2 {
			handle(t, db, noon.Add(time.Hour), step.m)
			mustEqual(t, fetches(t, db), []workerdb.DebtorInfoFetch{want})
		}
	}
	mustSend(t, db)
}

// Too long a text would make the statement fail, again and again.
func TestLongIRIs(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	rules := newRules()
	var log bytes.Buffer
	rules.Logger = slog.New(slog.NewTextHandler(&log, nil))
	long := func(n int) string { return "https://a/" + strings.Repeat("é", (n-10)/2) }
	handleWith(t, rules, db, noon,
		&smp.FetchDebtorInfo{IRI: long(2002), DebtorID: 1},
		&smp.FetchDebtorInfo{IRI: "https://a/", DebtorID: 2, ForcedIRI: new(long(2002))},
		&smp.FetchDebtorInfo{IRI: long(2000), DebtorID: 3, ForcedIRI: new(long(2000))})
	if got := fetches(t, db); len(got) != 1 || got[0].DebtorID != 3 {
		t.Errorf("got %v", got)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 2 {
		t.Errorf("the log is %s", &log)
	}
	handleWith(t, rules, db, noon, &smp.FetchDebtorInfo{IRI: long(2002), DebtorID: 1})
	handleWith(t, rules, db, noon, &smp.StoreDocument{DebtorInfoLocator: long(2002), DebtorID: 1, TS: noon})
}

// However messages are divided into batches, repeated and mixed, the outcome is that of handling them one by one.
func TestBatches(t *testing.T) {
	t.Parallel()
	batched, single := workerdbtest.New(t), workerdbtest.New(t)
	message := rapid.Custom(func(rt *rapid.T) smp.Message {
		iri := rapid.SampledFrom([]string{"https://a/", "https://b/", "https://c/", "x", ""})
		debtor := swpt.DebtorID(rapid.Int64Range(1, 3).Draw(rt, "debtor"))
		ts := noon.Add(time.Duration(rapid.IntRange(-10, 0).Draw(rt, "age")) * day)
		switch rapid.IntRange(0, 3).Draw(rt, "type") {
		case 0:
			return &smp.DiscoverDebtor{DebtorID: debtor, IRI: iri.Draw(rt, "IRI"), ForceLocatorRefetch: rapid.Bool().Draw(rt, "force"), TS: ts}
		case 1:
			return &smp.ConfirmDebtor{DebtorID: debtor, DebtorInfoLocator: iri.Draw(rt, "locator"), TS: ts}
		case 2:
			return &smp.StoreDocument{DebtorInfoLocator: iri.Draw(rt, "locator"), DebtorID: debtor, TS: ts}
		default:
			m := &smp.FetchDebtorInfo{
				IRI: iri.Draw(rt, "IRI"), DebtorID: debtor, TS: ts, RecursionLevel: int32(rapid.IntRange(0, 2).Draw(rt, "level")),
				IsLocatorFetch: rapid.Bool().Draw(rt, "locator"), IsDiscoveryFetch: rapid.Bool().Draw(rt, "discovery"),
			}
			if rapid.Bool().Draw(rt, "forced") {
				m.ForcedIRI = new(iri.Draw(rt, "forced IRI"))
			}
			return m
		}
	})
	order := []string{smp.TypeDiscoverDebtor, smp.TypeConfirmDebtor, smp.TypeStoreDocument, smp.TypeFetchDebtorInfo}
	rapid.Check(t, func(rt *rapid.T) {
		for _, db := range []*workerdb.DB{batched, single} {
			const empty = `
				WITH c AS (DELETE FROM debtor_locator_claim), d AS (DELETE FROM debtor_info_document), o AS (DELETE FROM outbox)
				DELETE FROM debtor_info_fetch`
			if _, err := db.Pool().Exec(context.WithoutCancel(t.Context()), empty); err != nil {
				rt.Fatal(err)
			}
		}
		now := noon
		for _, batch := range rapid.SliceOfN(rapid.SliceOfN(message, 0, 7), 1, 3).Draw(rt, "batches") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 200, 1200}).Draw(rt, "hours")) * time.Hour)
			handle(t, batched, now, batch...)
			slices.SortStableFunc(batch, func(a, b smp.Message) int {
				return slices.Index(order, a.Type()) - slices.Index(order, b.Type())
			})
			for _, m := range batch {
				handle(t, single, now, m)
			}
		}
		state := func(db *workerdb.DB) string {
			return fmt.Sprintln(table(t, db, "debtor_locator_claim", "debtor_id"), table(t, db, "debtor_info_document", "debtor_info_locator"),
				table(t, db, "debtor_info_fetch", "iri, debtor_id"), sent(t, db))
		}
		if got, want := state(batched), state(single); got != want {
			rt.Fatalf("in batches:\n%s\none by one:\n%s", got, want)
		}
	})
}

// Handlers that meet at the same rows end as if one had come after the other.
func TestConcurrentHandlers(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	const handlers, rounds = 4, 10
	done := make(chan struct{})
	for i := range handlers {
		go func() {
			defer func() { done <- struct{}{} }()
			for round := range rounds {
				var batch []smp.Message
				for debtor := range swpt.DebtorID(20) {
					iri := fmt.Sprint("https://a/", debtor)
					batch = append(batch,
						&smp.DiscoverDebtor{DebtorID: debtor, IRI: iri, TS: noon}, &smp.ConfirmDebtor{DebtorID: debtor, DebtorInfoLocator: iri, TS: noon},
						&smp.StoreDocument{DebtorInfoLocator: iri, DebtorID: debtor, TS: noon.Add(time.Duration(round*handlers+i) * time.Second)},
						&smp.FetchDebtorInfo{IRI: iri, DebtorID: debtor, IsLocatorFetch: i%2 == 0, IsDiscoveryFetch: i%2 == 1, RecursionLevel: int32(i)})
				}
				if i%2 == 1 {
					slices.Reverse(batch)
				}
				handle(t, db, noon, batch...)
			}
		}()
	}
	for range handlers {
		<-done
	}
	for _, d := range documents(t, db) {
		if want := noon.Add((handlers*rounds - 1) * time.Second); !d.FetchedAt.Equal(want) {
			t.Errorf("%s was fetched at %v, want %v", d.DebtorInfoLocator, d.FetchedAt, want)
		}
	}
	for _, f := range fetches(t, db) {
		if !f.IsLocatorFetch || !f.IsDiscoveryFetch || f.RecursionLevel != 0 {
			t.Errorf("%+v", f)
		}
	}
	if n := len(claims(t, db)); n != 20 {
		t.Errorf("there are %d claims", n)
	}
}
