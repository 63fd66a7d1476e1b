package collector

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	testCollector = swpt.CreditorID(0x10000000000)
	testDebtor    = swpt.DebtorID(1001)
	day           = 24 * time.Hour
)

var (
	testNow      = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
	testSettings = Settings{
		Pool: defaultPool, MinDemurrageRate: -50, MinCommitPeriod: 30 * day, MinNoteBytes: 80, RateHistoryPeriod: 220 * day,
	}
)

// testUpdate returns an update of an account that is fit for trade, sent a minute ago.
func testUpdate() *smp.AccountUpdate {
	return &smp.AccountUpdate{
		DebtorID: testDebtor, CreditorID: testCollector, CreationDate: smp.DateOf(testNow) - 10,
		LastChangeTS: testNow.Add(-time.Hour), LastChangeSeqnum: 7, Principal: 1000, Interest: -1.5, InterestRate: -5,
		LastInterestRateChangeTS: testNow.Add(-8 * day), NegligibleAmount: 1e30, AccountID: "7", DebtorInfoIRI: "https://a/",
		LastTransferNumber: 3, LastTransferCommittedAt: testNow.Add(-2 * time.Hour), DemurrageRate: -50, CommitPeriod: 30 * 86400,
		TransferNoteMaxBytes: 80, TTL: 7 * 86400, TS: testNow.Add(-time.Minute),
	}
}

// testRecord returns what testUpdate leads to.
func testRecord() *workerdb.WorkerAccount {
	m := testUpdate()
	return newRecord(m, m.AccountID, m.TS)
}

// summaries describe messages in short.
func summaries(t *testing.T, messages []smp.Outgoing) (lines []string) {
	t.Helper()
	for _, m := range messages {
		if err := smp.Validate(m); err != nil {
			t.Error(err)
		}
		switch m := m.(type) {
		case *smp.ConfigureAccount:
			if want := discardAccount(accountKey{testCollector, testDebtor}, testNow); m.ConfigFlags == 1 && *m != *want {
				t.Errorf("the account is discarded by %+v", m)
			}
			lines = append(lines, fmt.Sprintf("configure %d/%d flags %d", m.CreditorID, m.DebtorID, m.ConfigFlags))
		case *smp.ActivateCollector:
			lines = append(lines, fmt.Sprintf("activate %d/%d %s", m.CreditorID, m.DebtorID, m.AccountID))
		case *smp.DiscoverDebtor:
			lines = append(lines, fmt.Sprintf("discover %d %s %t", m.DebtorID, m.IRI, m.ForceLocatorRefetch))
		default:
			t.Errorf("a message of type %s", m.Type())
		}
	}
	return lines
}

const (
	discard  = "configure 1099511627776/1001 flags 1"
	activate = "activate 1099511627776/1001 7"
	discover = "discover 1001 https://a/ false"
	refetch  = "discover 1001 https://a/ true"
)

func TestFirstUpdate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		needed bool
		change func(*smp.AccountUpdate)
		stored bool
		want   []string
	}{
		"needed":        {true, func(*smp.AccountUpdate) {}, true, []string{activate, refetch}},
		"without an ID": {true, func(m *smp.AccountUpdate) { m.AccountID = "" }, true, nil},
		"without an IRI": {
			true, func(m *smp.AccountUpdate) { m.DebtorInfoIRI = "" }, true, []string{activate},
		},
		"demurrage too bad": {
			true, func(m *smp.AccountUpdate) { m.DemurrageRate = -50.01 }, true, []string{activate},
		},
		"commit period too short": {
			true, func(m *smp.AccountUpdate) { m.CommitPeriod-- }, true, []string{activate},
		},
		"commit period as long as can be": {
			true, func(m *smp.AccountUpdate) { m.CommitPeriod = math.MaxInt32 }, true, []string{activate, refetch},
		},
		"notes too short": {
			true, func(m *smp.AccountUpdate) { m.TransferNoteMaxBytes = 79 }, true, []string{activate},
		},
		"just not expired": {
			true, func(m *smp.AccountUpdate) { m.TTL = 60 }, true, []string{activate, refetch},
		},
		"expired": {true, func(m *smp.AccountUpdate) { m.TTL = 59 }, false, nil},
		"scheduled for deletion": {
			true, func(m *smp.AccountUpdate) { m.ConfigFlags = 1 }, true, []string{activate, refetch},
		},
		"ID of nobody's pool":  {true, func(m *smp.AccountUpdate) { m.CreditorID = 5 }, true, []string{"activate 5/1001 7", refetch}},
		"unneeded":             {false, func(*smp.AccountUpdate) {}, false, []string{discard}},
		"unneeded and expired": {false, func(m *smp.AccountUpdate) { m.TTL = 59 }, false, nil},
		"unneeded, not in the pool": {
			false, func(m *smp.AccountUpdate) { m.CreditorID = 0x100ffffffff }, false, nil,
		},
		"unneeded, first of the pool": {
			false, func(m *smp.AccountUpdate) { m.CreditorID = defaultPool.First }, false, []string{discard},
		},
		"unneeded, only flagged": {
			false, func(m *smp.AccountUpdate) { m.ConfigFlags, m.NegligibleAmount = -1, 9.99989e29 }, false, []string{discard},
		},
		"unneeded, not flagged": {
			false, func(m *smp.AccountUpdate) { m.ConfigFlags = -2 }, false, []string{discard},
		},
		"unneeded and discarded": {
			false, func(m *smp.AccountUpdate) { m.ConfigFlags = 1 }, false, nil,
		},
		"unneeded and discarded, in single precision": {
			false, func(m *smp.AccountUpdate) {
				m.ConfigFlags, m.NegligibleAmount = 3, float64(float32(1e30))
			}, false, nil,
		},
		"unneeded and discarded, as little as counts": {
			false, func(m *smp.AccountUpdate) { m.ConfigFlags, m.NegligibleAmount = 1, (1-1e-5)*1e30 }, false, nil,
		},
	} {
		m := testUpdate()
		c.change(m)
		a := &account{needed: c.needed}
		if got := summaries(t, a.apply(m, &testSettings, testNow)); !slices.Equal(got, c.want) {
			t.Errorf("%s: sent are %q, want %q", name, got, c.want)
		}
		if stored := a.record != nil; stored != c.stored {
			t.Errorf("%s: the account is stored: %t", name, stored)
		}
		// The rate counts even if nothing else does, but for needed accounts only.
		if noted := len(a.history) == 1; noted != c.needed {
			t.Errorf("%s: the history is %v", name, a.history)
		}
	}
}

func TestLaterUpdates(t *testing.T) {
	t.Parallel()
	newer := func(m *smp.AccountUpdate) { m.LastChangeSeqnum++ }
	recreated := func(m *smp.AccountUpdate) { m.CreationDate++ }
	also := func(changes ...func(*smp.AccountUpdate)) func(*smp.AccountUpdate) {
		return func(m *smp.AccountUpdate) {
			for _, change := range changes {
				change(m)
			}
		}
	}
	id := func(id string) func(*smp.AccountUpdate) { return func(m *smp.AccountUpdate) { m.AccountID = id } }
	iri := func(iri string) func(*smp.AccountUpdate) { return func(m *smp.AccountUpdate) { m.DebtorInfoIRI = iri } }
	seqnum := func(n int32) func(*smp.AccountUpdate) {
		return func(m *smp.AccountUpdate) { m.LastChangeSeqnum = n }
	}
	for name, c := range map[string]struct {
		stored   func(*smp.AccountUpdate) // what the record was made of; nil: testUpdate
		unneeded bool
		change   func(*smp.AccountUpdate)
		newer    bool
		id       string // stored in the end
		want     []string
	}{
		"newer":                  {nil, false, newer, true, "7", []string{discover}},
		"newer by instant":       {nil, false, func(m *smp.AccountUpdate) { m.LastChangeTS, m.LastChangeSeqnum = testNow, 0 }, true, "7", []string{discover}},
		"older by instant":       {nil, false, func(m *smp.AccountUpdate) { m.LastChangeTS = m.LastChangeTS.Add(-1000); m.LastChangeSeqnum++ }, false, "7", nil},
		"older":                  {nil, false, seqnum(6), false, "7", nil},
		"older account":          {nil, false, also(newer, func(m *smp.AccountUpdate) { m.CreationDate-- }), false, "7", nil},
		"wrapped":                {seqnum(math.MaxInt32), false, seqnum(math.MinInt32), true, "7", []string{discover}},
		"as far ahead as can be": {seqnum(0), false, seqnum(math.MaxInt32), true, "7", []string{discover}},
		"neither is newer":       {seqnum(0), false, seqnum(math.MinInt32), false, "7", nil},
		"heartbeat":              {nil, false, func(*smp.AccountUpdate) {}, false, "7", []string{discover}},
		"heartbeat, expired":     {nil, false, func(m *smp.AccountUpdate) { m.TTL = 0 }, false, "7", nil},
		"heartbeat, unneeded":    {nil, true, func(*smp.AccountUpdate) {}, false, "7", []string{discard}},
		"heartbeat, no ID":       {id(""), false, id(""), false, "", nil},
		"heartbeat, no IRI":      {iri(""), false, iri(""), false, "7", nil},
		"heartbeat, illegible":   {nil, false, func(m *smp.AccountUpdate) { m.DemurrageRate = -51 }, false, "7", nil},
		"got an ID":              {id(""), false, newer, true, "7", []string{activate, discover}},
		"still has no ID":        {id(""), false, also(newer, id("")), true, "", nil},
		"another ID":             {id("6"), false, newer, true, "6", []string{discover}},
		"lost its ID":            {nil, false, also(newer, id("")), true, "7", nil},
		"made again":             {nil, false, recreated, true, "7", []string{discover}},
		"made again, other ID":   {id("6"), false, recreated, true, "7", []string{activate, discover}},
		"made again, lost ID":    {nil, false, also(recreated, id("")), true, "", nil},
		"made again, got an ID":  {id(""), false, recreated, true, "7", []string{activate, discover}},
		"another IRI":            {iri("https://b/"), false, newer, true, "7", []string{refetch}},
		"got an IRI":             {iri(""), false, newer, true, "7", []string{refetch}},
		"lost its IRI":           {nil, false, also(newer, iri("")), true, "7", nil},
		"newer, illegible":       {nil, false, also(newer, func(m *smp.AccountUpdate) { m.CommitPeriod = 0 }), true, "7", nil},
		"newer, unneeded":        {id(""), true, newer, true, "7", []string{discard, activate}},
		"newer, unneeded, gone":  {nil, true, also(newer, func(m *smp.AccountUpdate) { m.ConfigFlags = 1 }), true, "7", nil},
		"newer, not expired":     {nil, false, also(newer, func(m *smp.AccountUpdate) { m.TTL = 60 }), true, "7", []string{discover}},
		"newer, expired":         {nil, false, also(newer, func(m *smp.AccountUpdate) { m.TTL = 59 }), false, "7", nil},
	} {
		stored := testUpdate()
		if c.stored != nil {
			c.stored(stored)
		}
		before := newRecord(stored, stored.AccountID, stored.TS)
		m := testUpdate()
		c.change(m)
		a := &account{needed: !c.unneeded, record: before}
		if got := summaries(t, a.apply(m, &testSettings, testNow)); !slices.Equal(got, c.want) {
			t.Errorf("%s: sent are %q, want %q", name, got, c.want)
		}
		want := before
		if c.newer {
			want = newRecord(m, c.id, m.TS)
		}
		if !reflect.DeepEqual(a.record, want) || want.AccountID != c.id {
			t.Errorf("%s: stored is %+v, want %+v", name, a.record, want)
		}
		if !reflect.DeepEqual(before, newRecord(stored, stored.AccountID, stored.TS)) {
			t.Errorf("%s: the old record has been changed", name)
		}
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		older bool
		ts    time.Duration // when the update was sent, seen from now
		want  time.Duration // when the account was heard of, seen from now
	}{
		"later":                  {false, -time.Second, -time.Second},
		"later, but an old one":  {true, -time.Second, -time.Second},
		"earlier":                {false, -time.Hour, -time.Minute},
		"the same":               {false, -time.Minute, -time.Minute},
		"from the future":        {false, time.Hour, 0},
		"old one of the future?": {true, time.Hour, 0},
	} {
		before, m := testRecord(), testUpdate()
		m.TS = testNow.Add(c.ts)
		if c.older {
			m.LastChangeSeqnum--
		}
		a := &account{needed: true, record: before}
		a.apply(m, &testSettings, testNow)
		if got := a.record.LastHeartbeatTs; !got.Equal(testNow.Add(c.want)) {
			t.Errorf("%s: %v", name, got)
		}
		if changed := c.want != -time.Minute; (a.record != before) != changed {
			t.Errorf("%s: the record is written: %t", name, !changed)
		}
	}
	a, m := &account{needed: true}, testUpdate()
	m.TS = testNow.Add(time.Hour)
	a.apply(m, &testSettings, testNow)
	if got := a.record.LastHeartbeatTs; !got.Equal(testNow) {
		t.Errorf("the first one comes from the future: %v", got)
	}
}

func TestRateHistory(t *testing.T) {
	t.Parallel()
	at := func(daysAgo int, rate float64) interest.Change {
		return interest.Change{At: testNow.Add(-time.Duration(daysAgo) * day), Rate: rate}
	}
	for name, c := range map[string]struct {
		history []interest.Change
		since   time.Time
		change  interest.Change
		want    []interest.Change
	}{
		"first":      {nil, time.Time{}, at(1, 5), []interest.Change{at(1, 5)}},
		"known":      {[]interest.Change{at(1, 5)}, time.Time{}, at(1, -5), []interest.Change{at(1, 5)}},
		"worse":      {[]interest.Change{at(9, 5)}, time.Time{}, at(1, -5), []interest.Change{at(1, -5)}},
		"better":     {[]interest.Change{at(9, -5)}, time.Time{}, at(1, 5), []interest.Change{at(1, 5), at(9, -5)}},
		"late":       {[]interest.Change{at(1, 5)}, time.Time{}, at(9, 4), []interest.Change{at(1, 5), at(9, 4)}},
		"superseded": {[]interest.Change{at(1, 5)}, time.Time{}, at(9, 5), []interest.Change{at(1, 5)}},
		"old":        {[]interest.Change{at(1, 5), at(230, 4)}, time.Time{}, at(240, 3), []interest.Change{at(1, 5), at(230, 4)}},
		"old, but needed": {
			[]interest.Change{at(1, 5), at(230, 4)},
			testNow.Add(-235 * day), at(240, 3),
			[]interest.Change{at(1, 5), at(230, 4), at(240, 3)},
		},
		"nothing is forgotten without a change": {
			[]interest.Change{at(1, 5), at(230, 4), at(240, 3)},
			time.Time{},
			at(1, 5),
			[]interest.Change{at(1, 5), at(230, 4), at(240, 3)},
		},
	} {
		m := testUpdate()
		m.LastInterestRateChangeTS, m.InterestRate, m.TTL = c.change.At, c.change.Rate, 0 // an expired one
		a := &account{needed: true, history: c.history, dependedSince: c.since}
		a.apply(m, &testSettings, testNow)
		if !slices.Equal(a.history, c.want) {
			t.Errorf("%s: %v, want %v", name, a.history, c.want)
		}
	}
}

// Whatever the order in which updates arrive, and however often, the end is the same: what the latest one says.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var history []*smp.AccountUpdate // as an accounting authority sends it
		seqnum := rapid.Int32().Draw(rt, "first number")
		at, date, hasID := testNow.Add(-300*day), smp.DateOf(testNow)-400, false
		rateAt, rate := testNow.Add(-200*day), 0.0 // older rates are forgotten, sooner or later
		for range rapid.IntRange(1, 12).Draw(rt, "updates") {
			if at = at.Add(time.Duration(rapid.IntRange(0, 1).Draw(rt, "days")) * day); rapid.IntRange(0, 5).Draw(rt, "again") == 0 {
				date, hasID = date+1, false
			}
			if rapid.Bool().Draw(rt, "new rate") {
				rateAt, rate = rateAt.Add(8*day), float64(rapid.IntRange(-50, 10).Draw(rt, "rate"))
			}
			hasID = hasID || rapid.Bool().Draw(rt, "has ID")
			seqnum++
			m := testUpdate()
			m.CreationDate, m.LastChangeTS, m.LastChangeSeqnum = date, at, seqnum
			m.LastInterestRateChangeTS, m.InterestRate, m.AccountID = rateAt, rate, ""
			m.TS = testNow.Add(-time.Duration(rapid.IntRange(0, 6).Draw(rt, "age")) * day)
			if hasID {
				m.AccountID = date.String()
			}
			history = append(history, m)
		}
		outcome := func(messages []*smp.AccountUpdate) account {
			a := account{needed: true}
			for _, m := range messages {
				a.apply(m, &testSettings, testNow)
			}
			return a
		}
		inOrder := outcome(history)
		repeated := append(slices.Clone(history), rapid.SliceOfN(rapid.SampledFrom(history), 0, 8).Draw(rt, "repeated")...)
		mixed := outcome(rapid.Permutation(repeated).Draw(rt, "order"))
		if !reflect.DeepEqual(mixed, inOrder) {
			rt.Fatalf("in order: %+v, %+v\notherwise: %+v, %+v", inOrder, inOrder.record, mixed, mixed.record)
		}
		if last := history[len(history)-1]; inOrder.record.AccountID != last.AccountID || version(inOrder.record) != last.Version() {
			rt.Fatalf("stored is %+v, the last update is %+v", inOrder.record, last)
		}
	})
}
