package config

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
)

func TestBrokerSetup(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"yes": true, "": false, "YES": false, "true": false, "yes\n": false} {
		var settings struct{ BrokerSetup }
		if _, errs := load(t, &settings, "SETUP_RABBITMQ_BINDINGS="+text); errs != nil || settings.Requested() != want {
			t.Errorf("%q: %v, %q", text, settings.Requested(), errs)
		}
	}
}

func TestUnsetOptionalBoolean(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		environment []string
		want        bool
	}{
		{nil, false},
		{[]string{"APP_VERIFY_SSL_CERTS=false"}, true},
		{[]string{"APP_VERIFY_SSL_CERTS=false", "APP_HTTP_FETCH_ALLOW_PRIVATE=no"}, false},
		{[]string{"APP_HTTP_FETCH_ALLOW_PRIVATE=yes"}, true},
	} {
		var settings struct{ Fetch }
		if _, errs := load(t, &settings, test.environment...); errs != nil || settings.AllowPrivate() != test.want {
			t.Errorf("%q: %v, %q", test.environment, settings.AllowPrivate(), errs)
		}
	}
}

func TestRememberedInterestRates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		environment []string
		want        time.Duration
	}{
		{nil, 220 * day},
		{[]string{"APP_INTEREST_RATE_HISTORY_PERIOD=230d"}, 230 * day},
		{[]string{"APP_TURN_MAX_COMMIT_PERIOD=45d"}, 235 * day},
		{[]string{"APP_WORKER_COLLECTING_SLACK_DAYS=300"}, 340 * day},
		{[]string{"APP_WORKER_SENDING_SLACK_DAYS=200"}, 240 * day},
		{[]string{"APP_WORKER_DISPATCHING_SLACK_DAYS=100"}, 190 * day},
	} {
		var settings struct {
			InterestRates
			CommitPeriod
			Slacks
		}
		_, errs := load(t, &settings, test.environment...)
		if got := settings.Remembered(settings.CommitPeriod, settings.Slacks); errs != nil || got != test.want {
			t.Errorf("%q: %v, %q", test.environment, got, errs)
		}
	}
}

func TestSweptTables(t *testing.T) {
	t.Parallel()
	want := map[string]time.Duration{
		"debtor_info_documents": 7 * day, "debtor_locator_claims": day, "trading_policies": 7 * day,
		"worker_accounts": 7 * day, "interest_rate_changes": 7 * day, "needed_worker_accounts": 7 * day,
		"recently_needed_collectors": 7 * day,
		"account_locks":              7 * day, "creditor_participations": 7 * day, "dispatching_statuses": 7 * day,
		"worker_collectings": 3 * day, "worker_sendings": day, "worker_receivings": day, "worker_dispatchings": 7 * day,
		"transfer_attempts": 7 * day,
	}
	var settings struct{ Sweeps }
	if _, errs := load(t, &settings); errs != nil {
		t.Fatal(errs)
	}
	got := map[string]time.Duration{}
	for _, table := range settings.Tables() {
		sweep, _ := settings.Of(table)
		if got[table] = sweep.Duration; sweep.BlocksPerQuery != 40 || sweep.Beat != 100*time.Millisecond {
			t.Errorf("%s: %+v", table, sweep)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("tables %v, want %v", got, want)
	}
	for _, table := range []string{"", "turns", "Table", "ACCOUNT_LOCKS"} {
		if _, known := settings.Of(table); known {
			t.Errorf("there is a sweep of table %q", table)
		}
	}
}

// Each type of messages that workers send has a burst count: one that can be set, except for the types of the
// extension.
func TestBurstsByMessageType(t *testing.T) {
	t.Parallel()
	bursts := reflect.New(reflect.TypeFor[Bursts]()).Elem()
	for _, field := range bursts.Fields() {
		if field.CanInt() {
			field.SetInt(7)
		}
	}
	settable := 0
	for _, message := range []smp.Outgoing{
		&smp.ConfigureAccount{}, &smp.PrepareTransfer{}, &smp.FinalizeTransfer{}, &smp.FetchDebtorInfo{},
		&smp.StoreDocument{}, &smp.DiscoverDebtor{}, &smp.ConfirmDebtor{}, &smp.ActivateCollector{},
		&smp.CandidateOffer{}, &smp.NeededCollector{},
		&smp.ReviseAccountLock{}, &smp.TriggerTransfer{}, &smp.AccountIDRequest{}, &smp.AccountIDResponse{},
		&smp.StartSending{}, &smp.StartDispatching{},
	} {
		if got := bursts.Interface().(Bursts).Of(message.Type()); got != 7 {
			t.Errorf("%s: %d", message.Type(), got)
		}
		settable++
	}
	if fields := bursts.NumField() - 1; fields != settable {
		t.Errorf("%d burst counts for %d types of messages", fields, settable)
	}
	for _, message := range []smp.Outgoing{&smp.CollectingFailed{}, &smp.NothingToReceive{}, &smp.LockAbandoned{}} {
		if got := bursts.Interface().(Bursts).Of(message.Type()); got != 10000 {
			t.Errorf("%s: %d", message.Type(), got)
		}
	}
}

func TestPouringLead(t *testing.T) {
	t.Parallel()
	long, short := 50*time.Minute, time.Minute
	for _, test := range []struct {
		pouring Pouring
		span    time.Duration
		want    time.Duration
	}{
		{Pouring{Cushion: 5 * time.Minute}, 70 * time.Minute, 5 * time.Minute},
		{Pouring{Cushion: 5 * time.Minute}, 6 * time.Minute, 36 * time.Second},
		{Pouring{Cushion: 5 * time.Minute, Duration: &short}, 70 * time.Minute, time.Minute},
		{Pouring{Cushion: 5 * time.Minute, Duration: &long}, 70 * time.Minute, 35 * time.Minute},
		{Pouring{Cushion: 5 * time.Minute, Duration: new(time.Duration)}, 70 * time.Minute, 0},
	} {
		if got := test.pouring.Lead(test.span); got != test.want {
			t.Errorf("%+v, %v: %v, want %v", test.pouring, test.span, got, test.want)
		}
	}
}
