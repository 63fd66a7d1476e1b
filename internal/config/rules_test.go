package config

import (
	"bytes"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sound is enough for all settings to be without mistakes.
var sound = []string{
	"SOLVER_POSTGRES_URL=postgresql://solver:swordfish@localhost/db",
	"WORKER_POSTGRES_URL=postgresql://worker:swordfish@localhost/db",
	"BASE_DEBTOR_INFO_LOCATOR=https://example.com/USD",
	"BASE_DEBTOR_ID=666",
	"OAUTH2_INTROSPECT_URL=https://example.com/introspect",
}

// required has the groups that All does without.
type required struct {
	Log
	SolverDatabase
	WorkerDatabase
	BaseCurrency
	AdminAccess
}

var otherCulprit = regexp.MustCompile(`^[A-Z_]+: `)

func TestReasons(t *testing.T) {
	t.Parallel()
	const (
		emptyRange   = "the collector ID range is empty or crosses zero"
		unconfigured = "the base currency is not configured"
		cut          = "must be between 1e-10 and 0.1"
		rate         = "must be between -99 and 0"
		distance     = "must be between 2 and 32767"
		port         = "must be between 1 and 65535"
		tooShort     = "must be at least 5 times APP_DEBTOR_INFO_EXPIRY_DAYS"
		noHistory    = "must not be shorter than APP_TURN_MAX_COMMIT_PERIOD"
		notADuration = "is not a duration; write a number, at least 0, and s, m, h, d or w, as in 2.5h"
		notABoolean  = "is not a boolean; write true, on, yes or 1, or false, off or no"
		notAnID      = "is not an ID; write a decimal number without leading zeros, or 0x and a hexadecimal one"
		notARegex    = "is not a regular expression (RE2): error parsing regexp: missing closing ): "
		notASize     = "is not a memory size; write an integer and kB, MB or GB, as in 50MB"
	)
	// The variable that is set is the culprit, unless the reason names another one.
	for _, test := range []struct{ setting, reason string }{
		{"MIN_COLLECTOR_ID=0", emptyRange},
		{"MIN_COLLECTOR_ID=-1", emptyRange},
		{"MIN_COLLECTOR_ID=0x0000010000000800", emptyRange},
		{"MAX_COLLECTOR_ID=0", "MIN_COLLECTOR_ID: " + emptyRange},
		{"MAX_COLLECTOR_ID=0xffffffffffffffff", "MIN_COLLECTOR_ID: " + emptyRange},
		{"MIN_COLLECTOR_ID=0x00000100000007ff", ""},
		{"OWNER_CREDITOR_ID=0x0000010000000000", "must not be a collector ID"},
		{"OWNER_CREDITOR_ID=0x00000100000007ff", "must not be a collector ID"},
		{"OWNER_CREDITOR_ID=0x0000010000000800", ""},
		{"TRANSFERS_AMOUNT_CUT=0.99e-10", cut},
		{"TRANSFERS_AMOUNT_CUT=0.1000001", cut},
		{"TRANSFERS_AMOUNT_CUT=1e-10", ""},
		{"TRANSFERS_AMOUNT_CUT=0.1", ""},
		{"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=0", "not a valid routing key"},
		{"PROTOCOL_BROKER_QUEUE_ROUTING_KEY=0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.#", "too many shards"},
		{"MIN_TRADE_AMOUNT=9", "too small, rounding errors would dominate"},
		{"MIN_TRADE_AMOUNT=-9223372036854775808", "too small, rounding errors would dominate"},
		{"MIN_TRADE_AMOUNT=10", ""},
		{"APP_LOCATOR_CLAIM_EXPIRY_DAYS=29.9", "must be at least 30"},
		{"APP_LOCATOR_CLAIM_EXPIRY_DAYS=-1", "must be at least 30"},
		{"APP_LOCATOR_CLAIM_EXPIRY_DAYS=34.9", tooShort},
		{"APP_LOCATOR_CLAIM_EXPIRY_DAYS=35", ""},
		{"APP_DEBTOR_INFO_EXPIRY_DAYS=0.99", "must be at least 1"},
		{"APP_DEBTOR_INFO_EXPIRY_DAYS=9.1", "APP_LOCATOR_CLAIM_EXPIRY_DAYS: " + tooShort},
		{"APP_DEBTOR_INFO_EXPIRY_DAYS=9", ""},
		{"APP_DEBTOR_INFO_EXPIRY_DAYS=100000", "APP_LOCATOR_CLAIM_EXPIRY_DAYS: " + tooShort},
		{"APP_INTEREST_RATE_HISTORY_PERIOD=29d", noHistory},
		{"APP_INTEREST_RATE_HISTORY_PERIOD=30d", ""},
		{"APP_MIN_DEMURRAGE_RATE=-99.1", rate},
		{"APP_MIN_DEMURRAGE_RATE=0.1", rate},
		{"APP_MIN_DEMURRAGE_RATE=-99", ""},
		{"APP_MIN_DEMURRAGE_RATE=0", ""},
		{"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=0.9s", "must be at least 1s"},
		{"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY=1", ""},
		{"MAX_DISTANCE_TO_BASE=1", distance},
		{"MAX_DISTANCE_TO_BASE=32768", distance},
		{"MAX_DISTANCE_TO_BASE=2", ""},
		{"MAX_DISTANCE_TO_BASE=32767", ""},
		{"BASE_DEBTOR_ID=0", unconfigured},
		{"BASE_DEBTOR_ID=", unconfigured},
		{"BASE_DEBTOR_INFO_LOCATOR=", ""},
		{"SOLVER_POSTGRES_URL=", "missing"},
		{"WORKER_POSTGRES_URL=", "missing"},
		{"OAUTH2_INTROSPECT_URL=", "missing"},
		{"SOLVER_POSTGRES_URL=mysql://u:swordfish@h/db", "not a valid URL"},
		{"WORKER_POSTGRES_URL=u:swordfish@h/db", "not a valid URL"},
		{"PROTOCOL_BROKER_URL=amqp://u:swordfish@h:port", "not a valid URL"},
		{"INTERNAL_BROKER_URL=swordfish", "not a valid URL"},
		{"INTERNAL_BROKER_URL=amqp://u:12/swordfish@h/v", "not a valid URL"},
		{"OAUTH2_INTROSPECT_URL=example.com", "not a valid URL"},
		{"OPENAPI_SWAGGER_UI_URL=example.com", "not a valid URL"},
		{"PROTOCOL_BROKER_QUEUE=", "missing"},
		{"INTERNAL_BROKER_QUEUE=", "missing"},
		{"APP_CREDITOR_SUBJECT_REGEX=^[0-9]+$", "must have a group, for the creditor ID"},
		{"APP_CREDITOR_SUBJECT_REGEX=", "must have a group, for the creditor ID"},
		{"APP_SUPERUSER_SUBJECT_REGEX=(", `"(" ` + notARegex + "`(`"},
		{"PROTOCOL_BROKER_PROCESSES=-1", "must be at least 0"},
		{"INTERNAL_BROKER_PROCESSES=-1", "must be at least 0"},
		{"FLUSH_PROCESSES=-1", "must be at least 0"},
		{"HTTP_FETCH_PROCESSES=-1", "must be at least 0"},
		{"TRIGGER_TRANSFERS_PROCESSES=-1", "must be at least 0"},
		{"WEBSERVER_PROCESSES=-1", "must be at least 0"},
		{"PROTOCOL_BROKER_THREADS=0", "must be at least 1"},
		{"INTERNAL_BROKER_THREADS=0", "must be at least 1"},
		{"HANDLE_PRISTINE_COLLECTORS_THREADS=0", "must be at least 1"},
		{"WEBSERVER_THREADS=0", "must be at least 1"},
		{"HTTP_FETCH_CONNECTIONS=0", "must be at least 1"},
		{"APP_HTTP_FETCH_HOST_CONNECTIONS=0", "must be at least 1"},
		{"APP_HTTP_FETCH_MAX_BODY_BYTES=0", "must be at least 1"},
		{"APP_DEBTOR_INFO_FETCH_BURST_COUNT=0", "must be at least 1"},
		{"APP_RESCHEDULED_TRANSFERS_BURST_COUNT=0", "must be at least 1"},
		{"APP_HANDLE_PRISTINE_COLLECTORS_MAX_COUNT=0", "must be at least 1"},
		{"APP_VERIFY_SHARD_YIELD_PER=0", "must be at least 1"},
		{"APP_FLUSH_STORE_DOCUMENT_BURST_COUNT=0", "must be at least 1"},
		{"APP_ACCOUNT_LOCKS_SCAN_BLOCKS_PER_QUERY=0", "must be at least 1"},
		{"APP_ACCOUNT_LOCKS_SCAN_BEAT_MILLISECS=0", "must be at least 1"},
		{"APP_ACCOUNT_LOCKS_SCAN_DAYS=0", "must be greater than 0"},
		{"APP_ACCOUNT_LOCKS_SCAN_DAYS=0.5", ""},
		{"PROTOCOL_BROKER_PREFETCH_COUNT=-1", "must be between 0 and 65535"},
		{"PROTOCOL_BROKER_PREFETCH_COUNT=65536", "must be between 0 and 65535"},
		{"PROTOCOL_BROKER_PREFETCH_COUNT=0", ""},
		{"INTERNAL_BROKER_PREFETCH_COUNT=-1", "must be between 0 and 65535"},
		{"PROTOCOL_BROKER_PREFETCH_SIZE=-1", "must be between 0 and 4294967295"},
		{"INTERNAL_BROKER_PREFETCH_SIZE=4294967296", "must be between 0 and 4294967295"},
		{"SOLVER_CLIENT_POOL_SIZE=-1", "must be at least 0"},
		{"FLUSH_PERIOD=-0.1", "must be at least 0"},
		{"FLUSH_PERIOD=0", ""},
		{"HTTP_FETCH_PERIOD=-1", "must be at least 0"},
		{"TRIGGER_TRANSFERS_PERIOD=-1", "must be at least 0"},
		{"HANDLE_PRISTINE_COLLECTORS_PERIOD=-1", "must be at least 0"},
		{"APP_ROLL_WORKER_TURNS_WAIT=-1", "must be at least 0"},
		{"APP_VERIFY_SHARD_SLEEP_SECONDS=-1", "must be at least 0"},
		{"HTTP_FETCH_TIMEOUT=0", "must be greater than 0"},
		{"HTTP_FETCH_TIMEOUT=1e-12", "must be greater than 0"},
		{"APP_EXTREME_MESSAGE_DELAY_DAYS=0", "must be greater than 0"},
		{"APP_MAX_HEARTBEAT_DELAY_DAYS=0", "must be greater than 0"},
		{"APP_ACCOUNT_LOCK_MAX_DAYS=0", "must be greater than 0"},
		{"APP_RELEASED_ACCOUNT_LOCK_MAX_DAYS=0", "must be greater than 0"},
		{"APP_WORKER_COLLECTING_SLACK_DAYS=0", "must be greater than 0"},
		{"APP_WORKER_SENDING_SLACK_DAYS=0", "must be greater than 0"},
		{"APP_WORKER_DISPATCHING_SLACK_DAYS=0", "must be greater than 0"},
		{"APP_MIN_TRANSFER_NOTE_MAX_BYTES=76", "must be at least 77"},
		{"TRANSFERS_COLLECTOR_LIMIT=0", "must be at least 1"},
		{"WEBSERVER_PORT=0", port},
		{"WEBSERVER_PORT=65536", port},
		{"APP_STATUS_PORT=0", port},
		{"APP_STATUS_PORT=65536", port},
		{"APP_STATUS_PORT=", ""},
		{"FLUSH_PROCESSES=two", `"two" is not an integer`},
		{"FLUSH_PROCESSES=1.0", `"1.0" is not an integer`},
		{"FLUSH_PROCESSES=", ""},
		{"TURN_PERIOD=1 day", `"1 day" ` + notADuration},
		{"TURN_PERIOD=-1d", `"-1d" ` + notADuration},
		{"TURN_PERIOD=100001d", `"100001d" is longer than 100000 days`},
		{"MIN_COLLECTOR_ID=007", `"007" ` + notAnID},
		{"SOLVER_INCREASED_WORK_MEM=50", `"50" ` + notASize},
		{"DELETE_PARENT_SHARD_RECORDS=0", `"0" ` + notABoolean},
		{"APP_LOG_LEVEL=verbose", `"verbose" is not a log level; write debug, info, warning or error`},
		{"APP_LOG_FORMAT=xml", `"xml" is not a log format; write text or json`},
		{"SQLALCHEMY_ENGINE_OPTIONS=[]", `"[]" is not a JSON object, as in {"pool_size": 0}`},
		{"SQLALCHEMY_ENGINE_OPTIONS=", ""},
		{"FLUSH_PERIOD=2s", `"2s" is not a number of seconds`},
		{"APP_TURN_MAX_COMMIT_PERIOD=181d", "APP_INTEREST_RATE_HISTORY_PERIOD: " + noHistory},
		{"APP_HTTP_FETCH_ALLOW_PRIVATE=maybe", `"maybe" ` + notABoolean},
	} {
		t.Run(test.setting, func(t *testing.T) {
			t.Parallel()
			name, _, _ := strings.Cut(test.setting, "=")
			var want []string
			switch {
			case otherCulprit.MatchString(test.reason):
				want = []string{"configuration error: " + test.reason}
			case test.reason != "":
				want = []string{"configuration error: " + name + ": " + test.reason}
			}
			// All together can do without what a command requires.
			settings := any(new(struct{ All }))
			if v, known := Lookup(name); !known {
				t.Fatal("unknown variable")
			} else if v.Required {
				settings = new(required)
			}
			if _, got := load(t, settings, append(slices.Clone(sound), test.setting)...); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestEverythingMissing(t *testing.T) {
	t.Parallel()
	var settings required
	if _, errs := load(t, &settings); !slices.Equal(errs, []string{
		"configuration error: SOLVER_POSTGRES_URL: missing",
		"configuration error: WORKER_POSTGRES_URL: missing",
		"configuration error: BASE_DEBTOR_INFO_LOCATOR: the base currency is not configured",
		"configuration error: BASE_DEBTOR_ID: the base currency is not configured",
		"configuration error: OAUTH2_INTROSPECT_URL: missing",
	}) {
		t.Errorf("errors: %q", errs)
	}
}

// All mistakes are reported together, each once. Rules about several variables are silent about those that have already
// failed. The settings can still be used to set up a log.
func TestManyMistakes(t *testing.T) {
	t.Parallel()
	var settings struct {
		Log
		Collectors
		Owner
		DebtorInfo
		Pouring
		ProtocolBroker
		InternalBroker
	}
	loaded, errs := load(t, &settings,
		"APP_LOG_LEVEL=loud",
		"APP_LOG_FORMAT=json",
		"MIN_COLLECTOR_ID=x",
		"MAX_COLLECTOR_ID=-1",
		"OWNER_CREDITOR_ID=0x00000100000007ff",
		"APP_LOCATOR_CLAIM_EXPIRY_DAYS=5",
		"APP_DEBTOR_INFO_EXPIRY_DAYS=50",
		"OFFERS_POURING_DURATION=soon",
		"PROTOCOL_BROKER_URL=amqp://guest:swordfish@host:x/",
		"PROTOCOL_BROKER_QUEUE=",
	)
	if !slices.Equal(errs, []string{
		`configuration error: APP_LOG_LEVEL: "loud" is not a log level; write debug, info, warning or error`,
		`configuration error: MIN_COLLECTOR_ID: "x" is not an ID; ` +
			"write a decimal number without leading zeros, or 0x and a hexadecimal one",
		"configuration error: APP_LOCATOR_CLAIM_EXPIRY_DAYS: must be at least 30",
		`configuration error: OFFERS_POURING_DURATION: "soon" is not a duration; ` +
			"write a number, at least 0, and s, m, h, d or w, as in 2.5h",
		"configuration error: PROTOCOL_BROKER_URL: not a valid URL",
		"configuration error: PROTOCOL_BROKER_QUEUE: missing",
	}) {
		t.Errorf("errors:\n%s", strings.Join(errs, "\n"))
	}
	if settings.Log.Level.Level() != slog.LevelWarn || settings.Log.Format != LogJSON {
		t.Errorf("the log is %v", settings.Log)
	}
	if settings.Pouring.Duration != nil || settings.DebtorInfo.ClaimExpiry != 45*day ||
		settings.Collectors.MinID != 1<<40 {
		t.Errorf("what is wrong does not have its default: %+v", settings)
	}
	for _, setting := range loaded.Settings {
		if strings.Contains(setting.Value, "swordfish") {
			t.Errorf("%s is shown as %q", setting.Name, setting.Value)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for setting, variables := range map[string][]string{
		"":                                     nil,
		`SQLALCHEMY_ENGINE_OPTIONS={"echo":1}`: {"SQLALCHEMY_ENGINE_OPTIONS"},
		"BASE_DEBTOR_INFO_LOCATOR=":            {"BASE_DEBTOR_INFO_LOCATOR"},
		"APP_ROLL_WORKER_TURNS_WAIT=301":       {"APP_ROLL_WORKER_TURNS_WAIT"},
		"APP_ROLL_WORKER_TURNS_WAIT=300":       nil,
		"OFFERS_POURING_DURATION=59s":          {"APP_ROLL_WORKER_TURNS_WAIT"},
		"OFFERS_POURING_DURATION=60s":          nil,
		"APP_TURN_PHASE_CUSHION_PERIOD=59s":    {"APP_ROLL_WORKER_TURNS_WAIT"},
		"APP_VERIFY_SSL_CERTS=false":           {"APP_VERIFY_SSL_CERTS", "APP_HTTP_FETCH_ALLOW_PRIVATE"},
		"APP_HTTP_FETCH_ALLOW_PRIVATE=true":    {"APP_HTTP_FETCH_ALLOW_PRIVATE"},
		"APP_UNPROTECTED_ADMIN_API=true":       {"APP_UNPROTECTED_ADMIN_API"},
	} {
		var settings struct{ All }
		loaded, errs := load(t, &settings, append(slices.Clone(sound), setting)...)
		var got []string
		for _, warning := range loaded.Warnings {
			got = append(got, warning.Variable)
		}
		if errs != nil || !slices.Equal(got, variables) {
			t.Errorf("%s: warnings %v, errors %q", setting, loaded.Warnings, errs)
		}
		var log bytes.Buffer
		loaded.LogWarnings(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
		if lines := strings.Count(log.String(), "level=WARN"); lines != len(variables) {
			t.Errorf("%s: logged %s", setting, log.String())
		}
	}
	// What a command does without, it is not warned of.
	var settings struct{ All }
	if loaded, errs := load(t, &settings); errs != nil || loaded.Warnings != nil {
		t.Errorf("warnings %v, errors %q", loaded.Warnings, errs)
	}
}
