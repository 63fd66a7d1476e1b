package config

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// load loads settings from "NAME=value" and returns the errors, a line each.
func load(t *testing.T, settings any, environment ...string) (*Loaded, []string) {
	t.Helper()
	return loadFrom(t, settings, Input{Environment: environment})
}

func loadFrom(t *testing.T, settings any, input Input) (*Loaded, []string) {
	t.Helper()
	loaded, err := Load(settings, input)
	if loaded == nil {
		t.Fatal(err)
	}
	if err == nil {
		return loaded, nil
	}
	if !errors.As(err, new(Errors)) {
		t.Fatalf("the error is of type %T: %v", err, err)
	}
	return loaded, strings.Split(err.Error(), "\n")
}

func TestTypedSettings(t *testing.T) {
	t.Parallel()
	var settings struct {
		Log
		SolverDatabase
		WorkerDatabase
		Pools
		Collectors
		Owner
		Turns
		BaseCurrency
		Clearing
		Shard
		ParentShard
		ProtocolBroker
		InternalBroker
		Flush
		DebtorInfo
		Pouring
		Transfers
		Sweeps
		Bursts
		Pegs
		Status
		BrokerSetup
		Fetch
	}
	_, errs := load(t, &settings,
		"APP_LOG_LEVEL=debug",
		"APP_LOG_FORMAT=json",
		"SOLVER_POSTGRES_URL=postgresql+psycopg://u:p@h:5432/db",
		"WORKER_POSTGRES_URL=postgres://h/w",
		`SQLALCHEMY_ENGINE_OPTIONS={"pool_size": 3, "max_overflow": 2}`,
		"MIN_COLLECTOR_ID=-2",
		"MAX_COLLECTOR_ID=0xffffffffffffffff",
		"OWNER_CREDITOR_ID= 0x10 ",
		"TURN_PERIOD=1w",
		"TURN_PERIOD_OFFSET=26h",
		"BASE_DEBTOR_INFO_LOCATOR=https://example.com/USD",
		"BASE_DEBTOR_ID=18446744073709551614",
		"MIN_TRADE_AMOUNT=9223372036854775807",
		"SOLVER_INCREASED_WORK_MEM=4MB",
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=1.0.#",
		"DELETE_PARENT_SHARD_RECORDS=Yes",
		"INTERNAL_BROKER_URL=amqps://h/v",
		"FLUSH_PERIOD=0.25",
		"APP_LOCATOR_CLAIM_EXPIRY_DAYS=50.5",
		"OFFERS_POURING_DURATION=90",
		"TRANSFERS_AMOUNT_CUT=1e-3",
		"APP_WORKER_SENDINGS_SCAN_BEAT_MILLISECS=250",
		"APP_START_SENDING_BURST_COUNT=7",
		"APP_STATUS_PORT=9090",
		"SETUP_RABBITMQ_BINDINGS=yes",
		"APP_VERIFY_SSL_CERTS=off",
	)
	if errs != nil {
		t.Fatal(errs)
	}
	sendings, _ := settings.Sweeps.Of("worker_sendings")
	for name, test := range map[string]struct{ got, want any }{
		"log level":      {settings.Log.Level.Level(), slog.LevelDebug},
		"log format":     {settings.Log.Format, LogJSON},
		"solver URL":     {string(settings.SolverDatabase.URL), "postgresql+psycopg://u:p@h:5432/db"},
		"worker URL":     {string(settings.WorkerDatabase.URL), "postgres://h/w"},
		"pool":           {settings.Options.MaxConnections(), 5},
		"first":          {settings.Collectors.MinID, swpt.CreditorID(-2)},
		"last":           {settings.Collectors.MaxID, swpt.CreditorID(-1)},
		"owner":          {settings.Owner.CreditorID, swpt.CreditorID(16)},
		"period":         {settings.Turns.Period, 7 * 24 * time.Hour},
		"offset":         {settings.Turns.PeriodOffset, 26 * time.Hour},
		"phase 1":        {settings.Turns.Phase1Duration, 10 * time.Minute},
		"locator":        {settings.BaseCurrency.Locator, "https://example.com/USD"},
		"base":           {settings.BaseCurrency.DebtorID, swpt.DebtorID(-2)},
		"minimum":        {settings.Clearing.MinTradeAmount, int64(9223372036854775807)},
		"work_mem":       {settings.Clearing.WorkMem, MemorySize("4MB")},
		"realm":          {settings.Shard.Realm.String(), "1.0.#"},
		"parent":         {settings.ParentShard.DeleteRecords, true},
		"protocol URL":   {string(settings.ProtocolBroker.URL), "amqp://guest:guest@localhost:5672"},
		"protocol queue": {settings.ProtocolBroker.Queue, "swpt_trade"},
		"internal URL":   {string(settings.InternalBroker.URL), "amqps://h/v"},
		"two brokers":    {settings.InternalBroker.IsSet(), true},
		"internal queue": {settings.InternalBroker.Queue, "swpt_trade-internal"},
		"flush period":   {settings.Flush.Period, 250 * time.Millisecond},
		"claims":         {settings.DebtorInfo.ClaimExpiry, 1212 * time.Hour},
		"documents":      {settings.DebtorInfo.DocumentExpiry, 7 * 24 * time.Hour},
		"pouring":        {*settings.Pouring.Duration, 90 * time.Second},
		"cut":            {settings.Transfers.AmountCut, 1e-3},
		"roll period":    {settings.Transfers.RollPeriod(), 10 * time.Minute},
		"sweep":          {sendings, Sweep{24 * time.Hour, 40, 250 * time.Millisecond}},
		"burst":          {settings.Bursts.Of("StartSending"), 7},
		"pegs":           {settings.Pegs.MaxDistanceToBase, 10},
		"port":           {settings.Status.Port, 9090},
		"bindings":       {settings.BrokerSetup.Requested(), true},
		"certificates":   {settings.Fetch.VerifyCerts, false},
		"private":        {settings.Fetch.AllowPrivate(), true},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
}

func TestUnprotectedAdminAPI(t *testing.T) {
	t.Parallel()
	var settings struct{ AdminAccess }
	loaded, errs := load(t, &settings, "APP_UNPROTECTED_ADMIN_API=true")
	if errs != nil || len(loaded.Warnings) != 1 || loaded.Warnings[0].Variable != "APP_UNPROTECTED_ADMIN_API" {
		t.Errorf("errors %q, warnings %q", errs, loaded.Warnings)
	}
	_, errs = load(t, &settings, "APP_UNPROTECTED_ADMIN_API=maybe")
	if len(errs) != 1 || !strings.Contains(errs[0], "APP_UNPROTECTED_ADMIN_API") {
		t.Errorf("errors %q, want one about the variable that is wrong", errs)
	}
}

func TestMistakesAreLogged(t *testing.T) {
	t.Parallel()
	var settings struct{ Flush }
	_, err := Load(&settings, Input{Environment: []string{"FLUSH_PROCESSES=x", "FLUSH_PERIOD=y"}})
	var errs Errors
	if !errors.As(err, &errs) || !errors.As(err, new(*VariableError)) {
		t.Fatalf("error %v", err)
	}
	var log bytes.Buffer
	errs.Log(t.Context(), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: withoutTime})))
	if want := `level=ERROR msg="configuration error: FLUSH_PROCESSES: \"x\" is not an integer"` + "\n" +
		`level=ERROR msg="configuration error: FLUSH_PERIOD: \"y\" is not a number of seconds"` + "\n"; log.String() != want {
		t.Errorf("logged:\n%s\nwant:\n%s", log.String(), want)
	}
}

func withoutTime(_ []string, attribute slog.Attr) slog.Attr {
	if attribute.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attribute
}

func TestFlags(t *testing.T) {
	t.Parallel()
	type consumer struct {
		ProtocolBroker
		InternalBroker
		ProtocolConsumer
	}
	for name, test := range map[string]struct {
		environment []string
		flags       map[string]Flag
		errs        []string
		check       func(c consumer) bool
	}{
		"a flag counts more than a variable": {
			[]string{"PROTOCOL_BROKER_PROCESSES=many", "PROTOCOL_BROKER_THREADS=3"},
			map[string]Flag{"PROTOCOL_BROKER_PROCESSES": {"--processes", "0"}},
			nil,
			func(c consumer) bool {
				return c.ProtocolConsumer.Processes == 0 && c.ProtocolConsumer.Threads == 3
			},
		},
		"mistakes name the flag": {
			[]string{"PROTOCOL_BROKER_THREADS=0"},
			map[string]Flag{
				"PROTOCOL_BROKER_PROCESSES":      {"--processes", "-1"},
				"PROTOCOL_BROKER_PREFETCH_COUNT": {"--prefetch-count", ""},
				"PROTOCOL_BROKER_URL":            {"--url", "amqp://guest:swordfish@h:x"},
			},
			[]string{
				"--url: not a valid URL",
				"--processes: must be at least 0",
				"configuration error: PROTOCOL_BROKER_THREADS: must be at least 1",
				`--prefetch-count: "" is not an integer`,
			},
			nil,
		},
		"other defaults follow": {
			nil,
			map[string]Flag{"PROTOCOL_BROKER_QUEUE": {"-q", "mine"}},
			nil,
			func(c consumer) bool {
				return c.ProtocolBroker.Queue == "mine" && c.InternalBroker.Queue == "mine-internal"
			},
		},
		"an empty text is a value": {
			nil,
			map[string]Flag{"PROTOCOL_BROKER_QUEUE": {"-q", ""}},
			[]string{"-q: missing"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var settings consumer
			_, errs := loadFrom(t, &settings, Input{Environment: test.environment, Flags: test.flags})
			if !slices.Equal(errs, test.errs) {
				t.Errorf("errors %q, want %q", errs, test.errs)
			}
			if test.check != nil && !test.check(settings) {
				t.Errorf("loaded: %+v", settings)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	all := Errors{{Variable: "A", Reason: "x"}, {Variable: "B", Flag: "-b", Reason: "y"}, {Variable: "C", Reason: "z"}}
	flags, variables := all.Split()
	if !reflect.DeepEqual(flags, Errors{all[1]}) || !reflect.DeepEqual(variables, Errors{all[0], all[2]}) {
		t.Errorf("flags %v, variables %v", flags, variables)
	}
}

func TestInternalQueue(t *testing.T) {
	t.Parallel()
	for want, environment := range map[string][]string{
		"swpt_trade-internal":     nil,
		"q-internal":              {"PROTOCOL_BROKER_QUEUE=q"},
		"mine":                    {"PROTOCOL_BROKER_QUEUE=q", "INTERNAL_BROKER_QUEUE=mine"},
		"$PROTOCOL_BROKER_QUEUE!": {"PROTOCOL_BROKER_QUEUE=q", "INTERNAL_BROKER_QUEUE=$PROTOCOL_BROKER_QUEUE!"},
	} {
		var settings struct{ InternalBroker } // without the group of the other queue
		if _, errs := load(t, &settings, environment...); errs != nil || settings.InternalBroker.Queue != want {
			t.Errorf("%q: %q, %q, want %q", environment, settings.InternalBroker.Queue, errs, want)
		}
	}
}

func TestEmptyValues(t *testing.T) {
	t.Parallel()
	var settings struct{ All }
	var environment []string
	for _, v := range Variables() {
		environment = append(environment, v.Name+"=")
	}
	_, errs := load(t, &settings, environment...)
	if !slices.Equal(errs, []string{
		"configuration error: PROTOCOL_BROKER_QUEUE: missing",
		"configuration error: INTERNAL_BROKER_QUEUE: missing",
		"configuration error: APP_CREDITOR_SUBJECT_REGEX: must have a group, for the creditor ID",
	}) {
		t.Errorf("errors %q", errs)
	}
	switch {
	case settings.Fetch.VerifyCerts, settings.InternalMessages.Extended:
		t.Error("an empty boolean is true")
	case settings.Fetch.CertFile != "", settings.AdminAccess.SuperuserName != "":
		t.Error("an empty text is not a value")
	case settings.Fetch.PrivateAddresses == nil || *settings.Fetch.PrivateAddresses:
		t.Error("an empty boolean without a default is not false")
	case settings.Flush.Processes != 1, settings.Flush.Period != 2*time.Second, settings.Turns.Period != day:
		t.Error("an empty number counts")
	case settings.Pouring.Duration != nil:
		t.Error("an empty duration counts")
	}
}

func TestSettingsAreShown(t *testing.T) {
	t.Parallel()
	var settings struct {
		Log
		SolverDatabase
		Status
		Fetch
	}
	loaded, errs := loadFrom(t, &settings, Input{
		Environment: []string{
			"APP_LOG_LEVEL=info", "APP_LOG_LEVEL=debug",
			"SOLVER_POSTGRES_URL=postgresql://u:swordfish@localhost/db?password=swordfish",
			"SUBSTITUTE_LOCALHOST_IN_VARS=SOLVER_POSTGRES_URL",
			"HTTP_FETCH_SSL_CERT_FILE=",
		},
		Flags:          map[string]Flag{"HTTP_FETCH_TIMEOUT": {"--timeout", "7"}},
		DefaultGateway: gateway,
	})
	if errs != nil {
		t.Fatal(errs)
	}
	type shown struct {
		value  string
		origin Origin
		flag   string
	}
	got := map[string]shown{}
	for _, setting := range loaded.Settings {
		got[setting.Name] = shown{setting.Value, setting.Origin, setting.Flag}
	}
	for name, want := range map[string]shown{
		"APP_LOG_LEVEL":                {"debug", FromEnvironment, ""},
		"APP_LOG_FORMAT":               {"text", FromDefault, ""},
		"SOLVER_POSTGRES_URL":          {"postgresql://u:***@10.1.2.3/db?password=***", FromEnvironment, ""},
		"SOLVER_CLIENT_POOL_SIZE":      {"0", FromDefault, ""},
		"APP_STATUS_PORT":              {"", FromNowhere, ""},
		"HTTP_FETCH_TIMEOUT":           {"7", FromFlag, "--timeout"},
		"HTTP_FETCH_SSL_CERT_FILE":     {"", FromEnvironment, ""},
		"APP_HTTP_FETCH_ALLOW_PRIVATE": {"", FromNowhere, ""},
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	url := string(settings.SolverDatabase.URL)
	if strings.Count(url, "swordfish") != 2 || !strings.Contains(url, "10.1.2.3") {
		t.Errorf("the program itself gets %q", url)
	}
}

func TestCheckDatabaseURL(t *testing.T) {
	t.Parallel()
	var checked []string
	input := Input{
		Environment: []string{"SOLVER_POSTGRES_URL=postgresql://good", "WORKER_POSTGRES_URL=postgresql://bad:swordfish@x"},
		CheckDatabaseURL: func(url string) error {
			checked = append(checked, url)
			if strings.Contains(url, "bad") {
				return errors.New("bad: swordfish")
			}
			return nil
		},
	}
	var settings struct {
		SolverDatabase
		WorkerDatabase
		Log
	}
	_, errs := loadFrom(t, &settings, input)
	if !slices.Equal(errs, []string{"configuration error: WORKER_POSTGRES_URL: not a valid URL"}) || len(checked) != 2 {
		t.Errorf("errors %q, checked %q", errs, checked)
	}
}

func TestOptionalGroup(t *testing.T) {
	t.Parallel()
	var settings struct {
		SolverDatabase `optional:"true"`
		WorkerDatabase
		BaseCurrency `optional:"true"`
	}
	if _, errs := load(t, &settings, "BASE_DEBTOR_ID=0"); !slices.Equal(errs, []string{
		"configuration error: WORKER_POSTGRES_URL: missing",
		"configuration error: BASE_DEBTOR_ID: the base currency is not configured",
	}) {
		t.Errorf("errors %q", errs)
	}
}

// What a command does not use, it does not look at.
func TestNarrowedGroups(t *testing.T) {
	t.Parallel()
	settings := struct {
		Sweeps
		Bursts
	}{Sweeps{Table: "account_locks"}, Bursts{MessageTypes: []string{"AccountIdRequest", "LockAbandoned"}}}
	loaded, errs := load(t, &settings,
		"APP_ACCOUNT_LOCKS_SCAN_DAYS=14",
		"APP_WORKER_SENDINGS_SCAN_DAYS=x",
		"APP_ACCOUNT_ID_REQUEST_BURST_COUNT=5",
		"APP_FLUSH_STORE_DOCUMENT_BURST_COUNT=x",
	)
	if errs != nil || len(loaded.Settings) != 4 {
		t.Fatalf("errors %q, settings %v", errs, loaded.Settings)
	}
	locks, _ := settings.Sweeps.Of("account_locks")
	sendings, _ := settings.Sweeps.Of("worker_sendings")
	if locks.Duration != 14*day || sendings.Duration != day || settings.Sweeps.Table != "account_locks" ||
		settings.Bursts.Of("AccountIdRequest") != 5 || settings.Bursts.Of("StoreDocument") != 10000 {
		t.Errorf("loaded: %+v", settings)
	}
}

// A group that has been narrowed leaves the groups beside it alone.
func TestNarrowedGroupAmongOthers(t *testing.T) {
	t.Parallel()
	var settings struct {
		Flush
		Bursts
	}
	settings.MessageTypes = []string{"StoreDocument"}
	loaded, errs := load(t, &settings, "FLUSH_PROCESSES=7")
	if errs != nil || settings.Processes != 7 || len(loaded.Settings) != 3 {
		t.Errorf("errors %q, settings %v", errs, loaded.Settings)
	}
}

// Mistakes in a program are no configuration errors.
func TestMistakesInPrograms(t *testing.T) {
	t.Parallel()
	type hidden struct{ Log }
	for name, test := range map[string]struct {
		settings any
		flags    map[string]Flag
		says     string
	}{
		"no pointer":          {struct{ Log }{}, nil, "pointer to a struct"},
		"nil":                 {nil, nil, "pointer to a struct"},
		"pointer to a number": {new(int), nil, "pointer to a struct"},
		"twice":               {new(struct{ A, B Log }), nil, "APP_LOG_LEVEL twice"},
		"unknown type": {new(struct {
			X complex128 `env:"X"`
		}), nil, "no format"},
		"hidden group": {new(struct{ hidden }), nil, "hidden cannot be set"},
		"flag without a group": {
			new(struct{ Log }), map[string]Flag{"FLUSH_PERIOD": {"-w", "1"}}, "-w overrides FLUSH_PERIOD",
		},
		"flag of a part that is not used": {
			&struct{ Sweeps }{Sweeps{Table: "account_locks"}},
			map[string]Flag{"APP_WORKER_SENDINGS_SCAN_DAYS": {"-d", "1"}},
			"-d overrides",
		},
	} {
		loaded, err := Load(test.settings, Input{Flags: test.flags})
		if loaded != nil || err == nil || errors.As(err, new(Errors)) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v", name, loaded, err)
		}
	}
}

// Groups can lie in other structs, even with prefixes; the env library has to find the same names.
func TestNestedGroups(t *testing.T) {
	t.Parallel()
	var settings struct {
		Outer struct {
			Log
			Inner Sweep `envPrefix:"INNER_" days:"9"`
		} `envPrefix:"OUTER_"`
	}
	loaded, errs := load(t, &settings, "OUTER_APP_LOG_LEVEL=error", "OUTER_INNER_SCAN_BLOCKS_PER_QUERY=5")
	if errs != nil || len(loaded.Settings) != 5 {
		t.Errorf("errors %q, settings %v", errs, loaded.Settings)
	}
	want := Sweep{9 * day, 5, 100 * time.Millisecond}
	if settings.Outer.Level.Level() != slog.LevelError || settings.Outer.Inner != want {
		t.Errorf("loaded: %+v", settings)
	}
}

// Settings that were loaded before are loaded anew: nothing of the first time is left.
func TestLoadTwice(t *testing.T) {
	t.Parallel()
	var settings struct{ All }
	load(t, &settings, "OFFERS_POURING_DURATION=1m", "APP_STATUS_PORT=1", "SETUP_RABBITMQ_BINDINGS=yes", "FLUSH_PERIOD=9")
	load(t, &settings, "FLUSH_PERIOD=3")
	var fresh struct{ All }
	load(t, &fresh, "FLUSH_PERIOD=3")
	if !reflect.DeepEqual(settings, fresh) {
		t.Errorf("loaded twice: %+v, once: %+v", settings, fresh)
	}
}

// Whatever the environment is, Load neither panics nor tells a password, and what it accepts follows the bounds.
func TestAnyEnvironment(t *testing.T) {
	t.Parallel()
	names := make([]string, 0, len(Variables()))
	for _, v := range Variables() {
		names = append(names, v.Name)
	}
	text := rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "0", "-1", "1", "1e999", "0x10", "#", "yes", "localhost", "postgresql://u:swordfish@localhost/db",
			"amqp://u:swordfish@localhost:x", "100000d", "10", "FLUSH_PERIOD SOLVER_POSTGRES_URL", "{}", "50MB", "a(b)",
		}),
		rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		environment := rapid.MapOfN(rapid.SampledFrom(names), text, 0, 40).Draw(t, "environment")
		input := Input{DefaultGateway: func() (netip.Addr, bool) { return netip.MustParseAddr("10.0.0.1"), true }}
		for name, value := range environment {
			input.Environment = append(input.Environment, name+"="+value)
		}
		var settings struct{ All }
		loaded, err := Load(&settings, input)
		if err != nil && !errors.As(err, new(Errors)) {
			t.Fatal(err)
		}
		for _, setting := range loaded.Settings {
			given := environment[setting.Name]
			if strings.Contains(setting.Value, "swordfish") && strings.Contains(setting.Format, "URL") {
				t.Fatalf("%s: %q is shown as %q", setting.Name, given, setting.Value)
			}
		}
		if settings.Pegs.MaxDistanceToBase < 2 || settings.Bursts.Of("StoreDocument") < 1 || settings.Flush.Period < 0 ||
			settings.Fetch.Timeout <= 0 || settings.WebServer.Port < 1 || settings.Flush.Processes < 0 {
			t.Fatalf("loaded: %+v", settings)
		}
	})
}
