package currency

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func testRules() *Rules {
	return &Rules{DocumentExpiry: 7 * day, ClaimExpiry: 45 * day, MaxMessageDelay: 7 * day, MaxDistanceToBase: 10}
}

// ago returns how long ago an instant is, or "never".
func ago(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return strings.TrimSuffix(noon.Sub(*t).String(), "0m0s")
}

func before(d time.Duration) *time.Time { return new(noon.Add(-d)) }

// describe tells what a claim says, and what is requested.
func describe(after claim, requests []smp.Outgoing) string {
	locator := "unconfirmed"
	if after.DebtorInfoLocator != nil {
		locator = *after.DebtorInfoLocator
	}
	text := fmt.Sprintf("%d %s, fetched %s, discovered %s, forced %s", after.DebtorID, locator,
		ago(after.LatestLocatorFetchAt), ago(&after.LatestDiscoveryFetchAt), ago(after.ForcedLocatorRefetchAt))
	for _, m := range requests {
		text += "; " + tell(m) //nolint:perfsprint // there are one or two
	}
	return text
}

// tell writes a message in short.
func tell(m smp.Outgoing) string {
	switch m := m.(type) {
	case *smp.FetchDebtorInfo:
		text := fmt.Sprintf("fetch %s for %d", m.IRI, m.DebtorID)
		if m.IsDiscoveryFetch {
			text += " discovery"
		}
		if m.IsLocatorFetch {
			text += " locator"
		}
		if m.ForcedIRI != nil {
			text += " forced " + *m.ForcedIRI
		}
		return fmt.Sprintf("%s level %d", text, m.RecursionLevel)
	case *smp.ConfirmDebtor:
		return fmt.Sprintf("confirm %d %s", m.DebtorID, m.DebtorInfoLocator)
	case *smp.StoreDocument:
		return fmt.Sprintf("store %s of %d", m.DebtorInfoLocator, m.DebtorID)
	default:
		return m.Type()
	}
}

// Each row of the table for claims, and each limit from both sides.
func TestDiscover(t *testing.T) {
	t.Parallel()
	const (
		locatorFetch   = "; fetch L for 5 locator level 0"
		forcedFetch    = "; fetch L for 5 locator forced I level 0"
		discoveryFetch = "; fetch I for 5 discovery level 0"
	)
	const (
		refetch  = 7*day + time.Hour  // limit
		discover = 45*day + time.Hour // limit
		tick     = time.Microsecond
	)
	confirmed := func(fetched, discovered time.Duration, forced *time.Time) *claim {
		return &claim{
			DebtorID: 5, DebtorInfoLocator: new("L"), LatestLocatorFetchAt: before(fetched), LatestDiscoveryFetchAt: *before(discovered),
			ForcedLocatorRefetchAt: forced,
		}
	}
	unconfirmed := func(discovered time.Duration) *claim {
		return &claim{DebtorID: 5, LatestDiscoveryFetchAt: *before(discovered)}
	}
	for name, c := range map[string]struct {
		before *claim
		force  bool
		want   string
	}{
		"absent":              {nil, false, "5 unconfirmed, fetched never, discovered 0s, forced never" + discoveryFetch},
		"absent, forced":      {nil, true, "5 unconfirmed, fetched never, discovered 0s, forced never" + discoveryFetch},
		"unconfirmed":         {unconfirmed(discover), false, "5 unconfirmed, fetched never, discovered 1081h, forced never"},
		"unconfirmed, forced": {unconfirmed(0), true, "5 unconfirmed, fetched never, discovered 0s, forced never"},
		"unconfirmed, long ago": {
			unconfirmed(discover + tick), true, "5 unconfirmed, fetched never, discovered 0s, forced never" + discoveryFetch,
		},
		"nothing due": {confirmed(refetch, discover, nil), false, "5 L, fetched 169h, discovered 1081h, forced never"},
		"refetch due": {
			confirmed(refetch+tick, 0, before(time.Hour)), false, "5 L, fetched 0s, discovered 0s, forced 1h" + locatorFetch,
		},
		"forced for the first time": {confirmed(0, 0, nil), true, "5 L, fetched 0s, discovered 0s, forced 0s" + forcedFetch},
		"forced again, too soon": {
			confirmed(time.Hour, 0, before(refetch)), true, "5 L, fetched 1h, discovered 0s, forced 169h",
		},
		"forced again, too soon, but due": {
			confirmed(refetch+tick, 0, before(refetch)), true, "5 L, fetched 0s, discovered 0s, forced 169h" + locatorFetch,
		},
		"forced again": {confirmed(0, 0, before(refetch+tick)), true, "5 L, fetched 0s, discovered 0s, forced 0s" + forcedFetch},
		"discovery due": {
			confirmed(0, discover+tick, nil), false, "5 L, fetched 0s, discovered 0s, forced never" + discoveryFetch,
		},
		"everything due": {
			confirmed(refetch+tick, discover+tick, nil), true,
			"5 L, fetched 0s, discovered 0s, forced 0s" + forcedFetch + discoveryFetch,
		},
		"stamps from the future": {confirmed(-time.Hour, -time.Hour, before(-time.Hour)), true, "5 L, fetched -1h, discovered -1h, forced -1h"},
	} {
		m := &smp.DiscoverDebtor{DebtorID: 5, IRI: "I", ForceLocatorRefetch: c.force}
		if got := describe(testRules().discover(c.before, m, noon)); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
		if c.before == nil {
			continue
		}
		if after, requests := testRules().discover(c.before, m, noon); len(requests) == 0 && after != *c.before {
			t.Errorf("%s: the claim has changed, for nothing", name)
		}
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	m := &smp.ConfirmDebtor{DebtorID: 5, DebtorInfoLocator: "L"}
	for name, c := range map[string]struct {
		before *claim
		want   string
	}{
		"absent":      {nil, "5 L, fetched 0s, discovered 0s, forced never"},
		"unconfirmed": {&claim{DebtorID: 5, LatestDiscoveryFetchAt: *before(time.Hour)}, "5 L, fetched 0s, discovered 1h, forced never"},
		"confirmed": {&claim{
			DebtorID: 5, DebtorInfoLocator: new("K"), LatestLocatorFetchAt: before(time.Hour),
			LatestDiscoveryFetchAt: *before(time.Hour), ForcedLocatorRefetchAt: before(2 * time.Hour),
		}, "5 L, fetched 0s, discovered 1h, forced 2h"},
	} {
		if got := describe(confirm(c.before, m, noon), nil); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	const tick = time.Microsecond
	for name, c := range map[string]struct {
		age    time.Duration
		frozen *time.Time
		want   bool
	}{
		"new":                      {0, nil, false},
		"from the future":          {-day, nil, false},
		"still good":               {7 * day, nil, false},
		"expired":                  {7*day + tick, nil, true},
		"frozen":                   {7*day + tick, before(-tick), false},
		"not frozen any more":      {7*day + tick, before(0), true},
		"frozen for long":          {31 * day, before(-1000 * day), false},
		"frozen for too long":      {31*day + tick, before(-1000 * day), true},
		"promise without a reason": {0, before(1000 * day), false},
	} {
		d := &workerdb.DebtorInfoDocument{FetchedAt: noon.Add(-c.age), WillNotChangeUntil: c.frozen}
		if got := testRules().Expired(d, noon); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestLearn(t *testing.T) {
	t.Parallel()
	const (
		discovery = 1 << iota
		locator
	)
	peg := &coininfo.Peg{Locator: "P", DebtorID: 7, Rate: 2}
	for name, c := range map[string]struct {
		flags  int
		iri    string
		debtor swpt.DebtorID
		level  int16
		peg    *coininfo.Peg
		fresh  string
		cached string
	}{
		"discovery":                      {discovery, "I", 5, 0, peg, "confirm 5 L", "confirm 5 L"},
		"discovery, at the locator":      {discovery, "L", 5, 0, peg, "confirm 5 L", "confirm 5 L"},
		"discovery, other debtor":        {discovery, "I", 6, 0, peg, "", ""},
		"locator":                        {locator, "L", 5, 0, nil, "store L of 5", ""},
		"locator, peg":                   {locator, "L", 5, 3, peg, "fetch P for 7 locator level 4; store L of 5", "fetch P for 7 locator level 4"},
		"locator, last peg":              {locator, "L", 5, 9, peg, "fetch P for 7 locator level 10; store L of 5", "fetch P for 7 locator level 10"},
		"locator, too far":               {locator, "L", 5, 10, peg, "store L of 5", ""},
		"locator, other debtor":          {locator, "L", 6, 0, peg, "store L of 5", ""},
		"locator, has moved":             {locator, "K", 5, 0, peg, "", ""},
		"locator, moved, other debtor":   {locator, "K", 6, 0, peg, "", ""},
		"both":                           {discovery | locator, "L", 5, 0, nil, "confirm 5 L; store L of 5", "confirm 5 L"},
		"both, has moved":                {discovery | locator, "K", 5, 0, peg, "confirm 5 L", "confirm 5 L"},
		"both, other debtor":             {discovery | locator, "L", 6, 0, peg, "store L of 5", ""},
		"neither":                        {0, "L", 5, 0, peg, "", ""},
		"locator, as far as can be told": {locator, "L", 5, 32767, peg, "store L of 5", ""},
	} {
		f := &workerdb.DebtorInfoFetch{
			IRI: c.iri, DebtorID: c.debtor, RecursionLevel: c.level, IsDiscoveryFetch: c.flags&discovery != 0, IsLocatorFetch: c.flags&locator != 0,
		}
		d := &coininfo.Document{Locator: "L", DebtorID: 5, Peg: c.peg}
		for fresh, want := range map[bool]string{true: c.fresh, false: c.cached} {
			var told []string
			for _, m := range testRules().learn(f, d, fresh, noon) {
				told = append(told, tell(m))
			}
			if got := strings.Join(told, "; "); got != want {
				t.Errorf("%s, fresh %t: got %q, want %q", name, fresh, got, want)
			}
		}
	}
}

// Documents travel through messages and tables unchanged.
func TestStoredDocument(t *testing.T) {
	t.Parallel()
	for _, d := range []coininfo.Document{
		{Locator: "L", DebtorID: 5},
		{Locator: "L", DebtorID: 5, Peg: &coininfo.Peg{Locator: "P", DebtorID: 7, Rate: 2}, WillNotChangeUntil: &noon},
	} {
		m := storeDocument(&d, noon)
		if !m.TS.Equal(noon) {
			t.Errorf("fetched at %v", m.TS)
		}
		got, _ := json.Marshal(stored(&workerdb.DebtorInfoDocument{
			DebtorInfoLocator: m.DebtorInfoLocator, DebtorID: m.DebtorID, PegDebtorInfoLocator: m.PegDebtorInfoLocator,
			PegDebtorID: m.PegDebtorID, PegExchangeRate: m.PegExchangeRate, WillNotChangeUntil: m.WillNotChangeUntil,
		}))
		if want, _ := json.Marshal(d); !slices.Equal(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// By default, there are 14 pauses, which take from 5.7 to 11.4 days together; the 15th failure is the last one.
func TestPause(t *testing.T) {
	t.Parallel()
	rules := testRules()
	var least, most time.Duration
	for n := range int16(14) {
		low, ok := rules.pause(n, 0)
		if want := time.Minute << n / 2; !ok || low != want {
			t.Errorf("after %d failures: %v, %t, want %v", n, low, ok, want)
		}
		high, _ := rules.pause(n, 1-1e-9)
		if high >= time.Minute<<n || high < time.Minute<<n-time.Millisecond {
			t.Errorf("after %d failures: at most %v", n, high)
		}
		least, most = least+low, most+high
	}
	if least.Hours() < 5.6*24 || most.Hours() > 11.4*24 {
		t.Errorf("%v to %v together", least, most)
	}
	for _, n := range []int16{14, 15, 100, 101, 32767} {
		if pause, ok := rules.pause(n, 0); ok {
			t.Errorf("after %d failures: %v", n, pause)
		}
	}
	rules.DocumentExpiry = 128 * time.Minute // the pause has to be shorter
	if _, ok := rules.pause(6, 0); !ok {
		t.Error("64 minutes are too long")
	}
	if _, ok := rules.pause(7, 0); ok {
		t.Error("128 minutes are not too long")
	}
	rules.DocumentExpiry = 100000 * day // the longest that can be configured
	for n := range int16(200) {
		if pause, ok := rules.pause(n, 0.5); ok && (pause < 45*time.Second || pause > 100000*day) {
			t.Errorf("after %d failures: %v", n, pause)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	request := func(locator, discovery bool, forced *string, level int32) *smp.FetchDebtorInfo {
		return &smp.FetchDebtorInfo{
			IRI: "L", DebtorID: 5, IsLocatorFetch: locator, IsDiscoveryFetch: discovery, ForcedIRI: forced, RecursionLevel: level,
		}
	}
	for _, c := range []struct {
		before, m *smp.FetchDebtorInfo
		want      string
	}{
		{nil, request(false, true, nil, 3), "fetch L for 5 discovery level 3"},
		{request(true, false, nil, 3), request(false, true, nil, 2), "fetch L for 5 discovery locator level 2"},
		{request(false, false, nil, 2), request(false, false, nil, 3), "fetch L for 5 level 2"},
		{request(true, false, new("F"), 0), request(true, false, nil, 0), "fetch L for 5 locator forced F level 0"},
		{request(true, false, new("F"), 0), request(true, false, new(""), 0), "fetch L for 5 locator forced F level 0"},
		{request(true, false, new("F"), 0), request(true, false, new("G"), 0), "fetch L for 5 locator forced G level 0"},
		{request(true, false, nil, 0), request(true, false, new("G"), 0), "fetch L for 5 locator forced G level 0"},
	} {
		if got := tell(merge(c.before, c.m)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
