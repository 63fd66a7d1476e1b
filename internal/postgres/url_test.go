package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// target is what a URL says.
type target struct {
	user, password, host string
	port                 uint16
	database             string
}

func targetOf(u URL) target {
	conn := u.config.ConnConfig
	return target{conn.User, conn.Password, conn.Host, conn.Port, conn.Database}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]target{
		"postgres://ann:secret@db.example.com:5433/trade": {"ann", "secret", "db.example.com", 5433, "trade"},
		"postgresql://ann:secret@db/trade":                {"ann", "secret", "db", 5432, "trade"},
		"postgresql+psycopg://ann:secret@db/trade":        {"ann", "secret", "db", 5432, "trade"},
		"postgresql+psycopg2://ann:secret@db/trade":       {"ann", "secret", "db", 5432, "trade"},
		"postgres+anything://ann:secret@db/trade":         {"ann", "secret", "db", 5432, "trade"},
		"postgres://ann:a/b?c#d%e:f&g=h@db/trade":         {"ann", "a/b?c#d%e:f&g=h", "db", 5432, "trade"},
		"postgres://ann:%40%2f%2F%20%zz%4@db/trade":       {"ann", "@// %zz%4", "db", 5432, "trade"},
		"postgres://ann:p+q@db/trade":                     {"ann", "p+q", "db", 5432, "trade"},
		`postgres://ann:it's \ fine'@db/trade`:            {"ann", `it's \ fine'`, "db", 5432, "trade"},
		"postgres://ann:парола@db/trade":                  {"ann", "парола", "db", 5432, "trade"},
		"postgres://ann%40home/x:secret@db/trade":         {"ann@home/x", "secret", "db", 5432, "trade"},
		"postgres://ann:@db/trade":                        {"ann", "", "db", 5432, "trade"},
		"postgres://ann:secret@[::1]:5433/trade":          {"ann", "secret", "::1", 5433, "trade"},
		"postgres://ann:secret@[::1]/trade":               {"ann", "secret", "::1", 5432, "trade"},
		"postgres://ann:secret@one:1,two:2/trade":         {"ann", "secret", "one", 1, "trade"},
		"postgres://ann:secret@%2Fvar%2Frun/trade":        {"ann", "secret", "/var/run", 5432, "trade"},
		"postgres://ann:secret@/trade?host=%2Frun&port=7": {"ann", "secret", "/run", 7, "trade"},
		"postgres://ann:secret@my_db-1:5432/a%20b/c":      {"ann", "secret", "my_db-1", 5432, "a b/c"},
		"postgres://db/trade?user=ann&password=a%26b":     {"ann", "a&b", "db", 5432, "trade"},
	} {
		if u, err := ParseURL(text); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := targetOf(u); got != want {
			t.Errorf("%s: read as %+v, want %+v", text, got, want)
		}
	}
}

func TestURLOptions(t *testing.T) {
	t.Parallel()
	u, err := ParseURL("postgres://ann:secret@db/trade?connect_timeout=3&sslmode=disable&application_name=my%20app" +
		"&options=-c%20search_path%3Dtrade&statement_timeout=5000&client_encoding=latin1&gssencmode=disable" +
		"&keepalives_idle=30&keepalives_interval=10&keepalives_count=0")
	if err != nil {
		t.Fatal(err)
	}
	conn := u.config.ConnConfig
	if conn.ConnectTimeout != 3*time.Second || conn.TLSConfig != nil {
		t.Errorf("timeout %v, TLS %v", conn.ConnectTimeout, conn.TLSConfig)
	}
	want := map[string]string{
		"application_name": "my app", "options": "-c search_path=trade", "statement_timeout": "5000",
	}
	if got := conn.RuntimeParams; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the server gets %v, want %v", got, want)
	}
}

func TestURLDefaults(t *testing.T) {
	t.Parallel()
	u, err := ParseURL("postgres://ann@db/trade?fallback_application_name=trade")
	if err != nil {
		t.Fatal(err)
	}
	conn := u.config.ConnConfig
	if conn.ConnectTimeout != 10*time.Second || conn.TLSConfig == nil {
		t.Errorf("timeout %v, TLS %v", conn.ConnectTimeout, conn.TLSConfig)
	}
	if got := conn.RuntimeParams["application_name"]; got != "trade" {
		t.Errorf("application_name %q", got)
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":             "on 15s 5s 3",
		"keepalives=1": "on 15s 5s 3",
		"keepalives=0": "off",
		"keepalives_idle=30&keepalives_interval=10&keepalives_count=2": "on 30s 10s 2",
		"keepalives_idle=0": "on 15s 5s 3",
	} {
		settings := map[string]string{}
		if err := addOptions(settings, list); err != nil {
			t.Fatal(err)
		}
		config, err := takeKeepAlive(settings)
		got := "off"
		if config.Enable {
			got = fmt.Sprintf("on %v %v %d", config.Idle, config.Interval, config.Count)
		}
		if err != nil || got != want || len(settings) > 0 {
			t.Errorf("%q: %s, %v, left over %v, want %s", list, got, err, settings, want)
		}
	}
}

func TestParseURLRejects(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"":                                          "begin",
		"trade":                                     "begin",
		"mysql://ann:hunter2@db/trade":              "begin",
		"postgresqlx://ann:hunter2@db/trade":        "begin",
		"postgresql+://ann:hunter2@db/trade":        "begin",
		"postgres:/ann:hunter2@db/trade":            "begin",
		"postgres://ann:hunter2@db":                 "no database",
		"postgres://ann:hunter2@db/":                "no database",
		"postgres://ann:hunter2@db?sslmode=disable": "no database",
		"postgres://ann:hunter2@db:0/trade":         "a port",
		"postgres://ann:hunter2@db:65536/trade":     "a port",
		"postgres://ann:hunter2@db:hunter2/trade":   "a port",
		"postgres://ann:x@hunter2@db/trade":         `"@" in the password`,
		"postgres://ann:x@hunt er2/trade":           "host",
		"postgres://ann:x@db/trade?hunter2":         "option",
		"postgres://ann:x@y/hunter2?z@db/trade":     "option",
		"postgres://ann:hunter2@db/t?sslcrl=x":      "sslcrl is not supported",
		"postgres://ann:hunter2@db/t?sslmode=maybe": "sslmode",
		"postgres://ann:hunter2@db/t?keepalives=x":  "keepalives",
		"postgres://ann:hunter2%00@db/trade":        "NUL",
		"postgres://ann%00:hunter2@db/trade":        "NUL",
	} {
		_, err := ParseURL(text)
		if !errors.Is(err, ErrInvalidURL) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: error %v, want one about %q", text, err, reason)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error gives the secret away: %v", text, err)
		}
	}
}

func TestURLNeverPrintsThePassword(t *testing.T) {
	t.Parallel()
	u, err := ParseURL("postgresql+psycopg://ann:hunter2@db/trade?sslpassword=hunter2&connect_timeout=10")
	if err != nil {
		t.Fatal(err)
	}
	if want := "postgresql://ann@db:5432/trade"; u.String() != want {
		t.Errorf("printed as %s, want %s", u, want)
	}
	around := struct {
		Public URL
		hidden URL
	}{u, u}
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("connected", slog.Any("url", u), slog.Any("settings", around))
	encoded, err := json.Marshal(around)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf("%v %#v %+v %q", u, u, u, u), fmt.Sprintf("%v %+v %#v", around, around, around),
		fmt.Sprintf("%+v", &around), log.String(), string(encoded),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("printed as %s", text)
		}
	}
}

func TestURLString(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ //nolint:gosec // nobody's credentials
		"postgres://ann:secret@[::1]/trade":        "postgresql://ann@[::1]:5432/trade",
		"postgres://a%40b:secret@db:77/a%20b":      "postgresql://a%40b@db:77/a%20b",
		"postgres://ann:secret@%2Fvar%2Frun/trade": "postgresql://ann@/trade?host=%2Fvar%2Frun",
	} {
		if u, err := ParseURL(text); err != nil || u.String() != want {
			t.Errorf("%s is printed as %s, %v, want %s", text, u, err, want)
		}
	}
	if got := (URL{}).String(); got != "" {
		t.Errorf("the zero URL is printed as %q", got)
	}
}

// Whatever a URL is made of, it can be written in a standard way, and is read back.
func TestParseURLReadsStandardURLs(t *testing.T) {
	t.Parallel()
	escape := func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
	text := rapid.StringN(1, 20, -1).Filter(func(text string) bool { return !strings.ContainsRune(text, 0) })
	rapid.Check(t, func(t *rapid.T) {
		want := target{
			user:     text.Draw(t, "user"),
			password: text.Draw(t, "password"),
			host:     rapid.StringMatching(`[a-z][a-z0-9.-]{0,20}`).Draw(t, "host"),
			port:     rapid.Uint16Min(1).Draw(t, "port"),
			database: text.Draw(t, "database"),
		}
		written := fmt.Sprintf("postgres://%s:%s@%s:%d/%s",
			escape(want.user), escape(want.password), want.host, want.port, escape(want.database))
		u, err := ParseURL(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if got := targetOf(u); got != want {
			t.Fatalf("%s: read as %+v, want %+v", written, got, want)
		}
	})
}

// FuzzParseURL reads anything. The password is not in what is printed, nor in the error.
func FuzzParseURL(f *testing.F) {
	f.Add("ann", "hunter2", "db:5432/trade?connect_timeout=10")
	f.Add("", "/?#%", "[::1]:1/x?sslmode=require&host=/tmp")
	f.Add("a:b", "%zz%41", "a,b:1/%00")
	f.Add("a", "", "h/d?passfile=x&service=y&options=%27%5C")
	f.Fuzz(func(t *testing.T, user, password, rest string) {
		const secret = "\u2603"
		user = strings.NewReplacer("@", "", secret, "").Replace(user) // the user ends at the first @
		rest = strings.ReplaceAll(rest, secret, "")
		u, err := ParseURL("postgresql://" + user + ":" + secret + password + "@" + rest)
		if err != nil && !errors.Is(err, ErrInvalidURL) {
			t.Errorf("the error is %v", err)
		}
		if text := fmt.Sprintf("%v %#v %v", u, u, err); strings.Contains(text, secret) {
			t.Errorf("printed as %s", text)
		}
	})
}
