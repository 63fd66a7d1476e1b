package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	database := func(text string) error { _, err := parseDatabaseURL(text); return err }
	broker := func(text string) error { _, err := parseBrokerURL(text); return err }
	web := func(text string) error { _, err := parseWebURL(text); return err }
	for _, test := range []struct {
		parse func(text string) error
		text  string
		valid bool
	}{
		{database, "postgresql://user:pass@host:5432/db", true},
		{database, "postgres://host/db", true},
		{database, "postgresql+psycopg://USER:P/A?S#S%W@HOST:5432/db?connect_timeout=10", true},
		{database, "", false},
		{database, "postgresql://", false},
		{database, "postgresql:host/db", false},
		{database, "mysql://host/db", false},
		{database, "POSTGRESQL://host/db", false},
		{database, "postgresql+://host/db", false},
		{database, "xpostgresql://host/db", false},
		{broker, "amqp://guest:guest@localhost:5672", true},
		{broker, "amqps://host/%2f?heartbeat=5", true},
		{broker, "", false},
		{broker, "http://host", false},
		{broker, "amqp://host:port", false},
		{broker, "amqp://us er@host", false},
		{broker, "amqp://host?heartbeat=often", false},
		{web, "https://example.com/introspect", true},
		{web, "http://user:pass@localhost:4445/oauth2/introspect?x=y", true},
		{web, "https://[::1]:8080", true},
		{web, "", false},
		{web, "https://", false},
		{web, "https://:8080/", false},
		{web, "ftp://example.com", false},
		{web, "example.com/introspect", false},
		{web, "/introspect", false},
		{web, "https://example.com:port/", false},
		{web, "https://exa mple.com/", false},
	} {
		if err := test.parse(test.text); (err == nil) != test.valid || err != nil && err.Error() != "not a valid URL" {
			t.Errorf("%q: %v", test.text, err)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ //nolint:gosec // The passwords are examples.
		"":                                    "",
		"postgresql://user:pass@host:5432/db": "postgresql://user:***@host:5432/db",
		"postgresql+x://u:p/?#@%40:w@host/db?connect_timeout=10": "postgresql+x://u:***@host/db?connect_timeout=10",
		"postgresql://host:5432/db":                              "postgresql://host:5432/db",
		"postgresql://user@host/db":                              "postgresql://user@host/db",
		"postgresql://user:@host/db":                             "postgresql://user:***@host/db",
		"postgresql://:pass@host/db":                             "postgresql://:***@host/db",
		"postgresql://u:p@ss@host/db":                            "postgresql://u:***@host/db",
		"postgresql://host/db?password=a%20b&sslmode=off":        "postgresql://host/db?password=***&sslmode=off",
		"postgresql://host/db?a=b&SSLPassword=x@y":               "postgresql://host/db?a=b&SSLPassword=***",
		"amqp://guest:guest@localhost:5672":                      "amqp://guest:***@localhost:5672",
		"https://h/?access_token=x&client_secret=y&z=1":          "https://h/?access_token=***&client_secret=***&z=1",
		"user:pass@host":                                         "***",
		"postgresql:/user:pass@host://":                          "***",
		"pass word://host":                                       "***",
	} {
		if got := redact(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// However a URL is printed, its password is not.
func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const password = "swordfish"
	text := "postgresql://user:" + password + "@host/db"
	values := []any{DatabaseURL(text), BrokerURL(text), WebURL(text), SolverDatabase{URL: DatabaseURL(text)}}
	for _, value := range values {
		var log strings.Builder
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(handler).Info("printed", slog.Any("value", value))
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, printed := range []string{
			fmt.Sprint(value), fmt.Sprintf("%s %v %+v %q", value, value, value, value), string(encoded), log.String(),
		} {
			if strings.Contains(printed, password) || !strings.Contains(printed, "user:***@host") {
				t.Errorf("printed: %s", printed)
			}
		}
	}
	if string(DatabaseURL(text)) != text {
		t.Error("the program itself does not get the password")
	}
}

// A password has no characters that show, whether it is escaped as it should be or not.
func TestRedactLeavesNothingOfPasswords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringMatching(`[/?#%@:&=a-z]{0,10}SECRET[/?#%@:&=a-z]{0,10}`).Draw(t, "password")
		scheme := rapid.SampledFrom([]string{"postgresql+psycopg", "amqps", "https"}).Draw(t, "scheme")
		user := rapid.StringMatching(`[a-z/?#%]{0,5}`).Draw(t, "user")
		text := scheme + "://" + user + ":" + password + "@host:1234/path?x=y"
		if got, want := redact(text), scheme+"://"+user+":***@host:1234/path?x=y"; got != want {
			t.Fatalf("%q is shown as %q, want %q", text, got, want)
		}
	})
}

func gateway() (netip.Addr, bool) { return netip.MustParseAddr("10.1.2.3"), true }

func TestSubstituteLocalhost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ //nolint:gosec // The passwords are examples.
		"amqp://guest:guest@localhost:5672":           "amqp://guest:guest@10.1.2.3:5672",
		"amqp://localhost":                            "amqp://10.1.2.3",
		"amqp://localhost/vhost":                      "amqp://10.1.2.3/vhost",
		"https://localhost?x=localhost#localhost":     "https://10.1.2.3?x=localhost#localhost",
		"https://localhost:1/a@localhost":             "https://10.1.2.3:1/a@localhost",
		"https://user@localhost#x":                    "https://user@10.1.2.3#x",
		"https://localhost:localhost@localhost:1":     "https://localhost:localhost@10.1.2.3:1",
		"postgresql://u:p/?#w@localhost:5432/db":      "postgresql://u:p/?#w@10.1.2.3:5432/db",
		"postgresql+psycopg://localhost/localhost":    "postgresql+psycopg://10.1.2.3/localhost",
		"postgresql://u:p@localhost/db?x=a@localhost": "postgresql://u:p@10.1.2.3/db?x=a@localhost",
		"postgresql://localhost:p@host/db":            "postgresql://localhost:p@host/db",
		"amqp://u:p@ss@localhost":                     "amqp://u:p@ss@10.1.2.3",
		"amqp://LOCALHOST:5672":                       "amqp://LOCALHOST:5672",
		"amqp://localhost.localdomain:5672":           "amqp://localhost.localdomain:5672",
		"amqp://my-localhost:5672":                    "amqp://my-localhost:5672",
		"amqp://127.0.0.1:5672":                       "amqp://127.0.0.1:5672",
		"postgresql://localhost,other/db":             "postgresql://localhost,other/db",
		"localhost":                                   "localhost",
		"localhost:5672":                              "localhost:5672",
		"":                                            "",
		"://localhost":                                "://10.1.2.3",
		"unknown+scheme://localhost/":                 "unknown+scheme://10.1.2.3/",
	} {
		environment := map[string]string{localhostVariable: " OTHER  NAMED\tMISSING ", "NAMED": text, "UNNAMED": text}
		substituteLocalhost(environment, gateway)
		if environment["NAMED"] != want || environment["UNNAMED"] != text {
			t.Errorf("%q becomes %q, want %q", text, environment["NAMED"], want)
		}
		noGateway := func() (netip.Addr, bool) { return netip.Addr{}, false }
		for _, none := range []func() (netip.Addr, bool){nil, noGateway} {
			environment := map[string]string{localhostVariable: "NAMED", "NAMED": text}
			if substituteLocalhost(environment, none); environment["NAMED"] != text {
				t.Errorf("%q becomes %q without a default gateway", text, environment["NAMED"])
			}
		}
	}
}

// FuzzHostOf: the host is a part of any text, and what is printed of it has no more than the text.
func FuzzHostOf(f *testing.F) {
	for _, text := range []string{"amqp://guest:guest@localhost:5672", "postgresql://u:p/?#w@localhost/db", "a://@", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		start, end := hostOf(text)
		if start < 0 || start > end || end > len(text) || strings.ContainsAny(text[start:end], ":/?#") {
			t.Errorf("the host of %q is from %d to %d", text, start, end)
		}
		redact(text)
	})
}

// Whatever the machine's routes are, the address of its default gateway is one of IPv4, if there is one.
func TestDefaultGateway(t *testing.T) {
	t.Parallel()
	if address, found := DefaultGateway(); found != address.Is4() {
		t.Errorf("%v, %v", address, found)
	}
}

func TestFindDefaultGateway(t *testing.T) {
	t.Parallel()
	const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	const local = "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
	route := func(gateway, flags, metric, mask string) string {
		return "eth0\t00000000\t" + gateway + "\t" + flags + "\t0\t0\t" + metric + "\t" + mask + "\t0\t0\t0\n"
	}
	const anywhere = "00000000"
	docker := route("010011AC", "0003", "0", anywhere)
	for name, test := range map[string]struct{ table, want string }{
		"a container's table": {docker + local, "172.17.0.1"},
		"the smallest metric": {
			route("0101A8C0", "0003", "600", anywhere) + route("0102A8C0", "0003", "100", anywhere), "192.168.2.1",
		},
		"the first of equals": {
			route("0101A8C0", "0003", "100", anywhere) + route("0102A8C0", "0003", "100", anywhere), "192.168.1.1",
		},
		"without a final newline": {strings.TrimSpace(docker), "172.17.0.1"},
		"no default route":        {local, ""},
		"route that is down":      {route("010011AC", "0002", "0", anywhere), ""},
		"route without a gateway": {route("00000000", "0001", "0", anywhere), ""},
		"half of all addresses":   {route("010011AC", "0003", "0", "00000080"), ""},
		"no address":              {route("X", "0003", "0", anywhere), ""},
		"no flags":                {route("010011AC", "X", "0", anywhere), ""},
		"no metric":               {route("010011AC", "0003", "X", anywhere), ""},
		"lines that are short":    {"eth0\t00000000\t010011AC\t0003\n\n", ""},
		"no routes":               {"", ""},
	} {
		test.table = header + test.table
		got, found := findDefaultGateway(strings.NewReader(test.table))
		if found != (test.want != "") || found && got.String() != test.want {
			t.Errorf("%s: %v, %v, want %q", name, got, found, test.want)
		}
	}
}
