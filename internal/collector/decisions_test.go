package collector

import (
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func TestOpenerDecides(t *testing.T) {
	t.Parallel()
	o := &Opener{Patience: 7 * day}
	key := accountKey{testCollector, testDebtor}
	long, short := testNow.Add(-7*day-time.Microsecond), testNow.Add(-7*day)
	for name, c := range map[string]struct {
		status       int16
		configuredAt time.Time // zero: there is no row
		account      *string
		ask, again   bool
		activate     bool
	}{
		"planned":                        {statusPlanned, time.Time{}, nil, true, false, false},
		"planned, account is there":      {statusPlanned, time.Time{}, new(""), true, false, false},
		"planned, account with ID":       {statusPlanned, time.Time{}, new("7"), true, false, false},
		"asked for long ago":             {statusPlanned, long, nil, true, true, false},
		"asked for not so long ago":      {statusPlanned, short, nil, false, false, false},
		"asked for, there":               {statusPlanned, long, new(""), false, false, false},
		"asked for, there, with ID":      {statusPlanned, long, new("7"), false, false, false},
		"stale, not needed here":         {statusRequested, time.Time{}, nil, true, false, false},
		"stale, asked for long ago":      {statusRequested, long, nil, true, true, false},
		"stale, asked for not long ago":  {statusRequested, short, nil, false, false, false},
		"stale, there":                   {statusRequested, long, new(""), false, false, false},
		"stale, there, with ID":          {statusRequested, long, new("7"), false, false, true},
		"stale, recently asked, with ID": {statusRequested, short, new("7"), false, false, true},
	} {
		collectors := []solverdb.CollectorsToOpenRow{{DebtorID: testDebtor, CollectorID: testCollector, Status: c.status}}
		var needed []workerdb.NeededWorkerAccount
		if !c.configuredAt.IsZero() {
			needed = []workerdb.NeededWorkerAccount{{CreditorID: testCollector, DebtorID: testDebtor, ConfiguredAt: c.configuredAt}}
		}
		var known []workerdb.WorkerAccountIDsRow
		if c.account != nil {
			known = []workerdb.WorkerAccountIDsRow{{CreditorID: testCollector, DebtorID: testDebtor, AccountID: *c.account}}
		}
		s := o.decide(collectors, needed, known, testNow)
		if slices.Contains(s.asked, key) != c.ask || (s.again == 1) != c.again || (len(s.activated) == 1) != c.activate {
			t.Errorf("%s: %+v", name, s)
		}
		want := smp.ActivateCollector{DebtorID: testDebtor, CreditorID: testCollector, AccountID: "7", TS: testNow}
		if c.activate && *s.activated[0] != want {
			t.Errorf("%s: activated is %+v", name, s.activated[0])
		}
	}
}

func TestPurgesDecide(t *testing.T) {
	t.Parallel()
	key := accountKey{testCollector, testDebtor}
	for name, c := range map[string]struct {
		purged     smp.Date
		created    smp.Date // 0: there is no record
		needed     bool
		dead, lost bool
	}{
		"older":            {10, 9, true, true, true},
		"same":             {10, 10, true, true, true},
		"newer":            {10, 11, true, false, false},
		"unknown":          {10, 0, true, false, true},
		"older, unneeded":  {10, 9, false, true, false},
		"newer, unneeded":  {10, 11, false, false, false},
		"nothing is known": {10, 0, false, false, false},
	} {
		var needed []workerdb.NeededWorkerAccount
		if c.needed {
			needed = []workerdb.NeededWorkerAccount{{CreditorID: testCollector, DebtorID: testDebtor}}
		}
		var records []workerdb.WorkerAccount
		if c.created != 0 {
			records = []workerdb.WorkerAccount{{CreditorID: testCollector, DebtorID: testDebtor, CreationDate: c.created.Time()}}
		}
		dead, lost := afterPurges(map[accountKey]smp.Date{key: c.purged}, needed, records)
		if (len(dead.creditors) == 1) != c.dead || slices.Contains(lost, key) != c.lost {
			t.Errorf("%s: dead are %v, lost %v", name, dead, lost)
		}
	}
}

func TestTasksMerge(t *testing.T) {
	t.Parallel()
	asked := tasks{}
	early := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC) // which is the zero time
	for _, ts := range []time.Time{early, testNow, testNow.Add(-time.Hour)} {
		asked.add(taskKey{debtor: 1}, ts)
		asked.add(taskKey{debtor: 1, collector: 2, accountID: "3"}, ts)
	}
	asked.add(taskKey{debtor: 1, collector: 2, accountID: "4"}, early)
	if len(asked) != 3 || !asked[taskKey{debtor: 1}].Equal(testNow) || !asked[taskKey{1, 2, "4"}].Equal(early) {
		t.Errorf("the tasks are %v", asked)
	}
}
