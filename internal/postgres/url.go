package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrInvalidURL tells that a text is not the URL of a PostgreSQL database.
var ErrInvalidURL = errors.New("not a valid database URL")

// A URL tells where a database is, and how to connect to it. It can be printed and logged: its password is left out. The
// zero value names no database.
type URL struct {
	config *pgxpool.Config // behind a pointer, so that a print of a structure around the URL shows an address
}

var (
	schemePattern = regexp.MustCompile(`^postgres(ql)?(\+\w+)?$`)
	hostPattern   = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[\w.-]*|/[^@]*)$`)
	optionPattern = regexp.MustCompile(`^[a-z_][a-z0-9_.]*$`)
)

// Options of libpq, by what becomes of them here. All others are passed on: to the library those that it knows, to the
// server the rest.
var (
	// They make no difference here: text is always UTF-8, and there is neither GSSAPI encryption nor compression.
	ignoredOptions = []string{
		"client_encoding", "gssencmode", "gsslib", "gssdelegation", "sslcompression", "tcp_user_timeout",
	}
	// To ignore them would make a connection less secure than was asked for, or lead to another server.
	refusedOptions = []string{
		"hostaddr", "load_balance_hosts", "replication", "requirepeer", "requiressl", "ssl_max_protocol_version",
		"ssl_min_protocol_version", "sslcrl", "sslcrldir",
	}
)

// ParseURL reads a database URL:
//
//	SCHEME://[user[:password]@]host[:port]/database[?options]
//
// The scheme is postgres or postgresql, either one with or without a driver, as in "postgresql+psycopg", which is not
// looked at. The user name ends at the first ":" or "@", the password at the first "@". In between, "/", "?", "#" and
// "%" may stand as they are; what is a valid "%xx" is decoded everywhere. Hosts and ports can be lists, separated by
// commas. A host that begins with "/", written as "%2F", is the directory of a socket. The options are those of libpq,
// and the parameters of the server.
//
// All errors wrap [ErrInvalidURL]. They do not quote the text, because in a malformed URL any part of it could be a part of
// the password.
func ParseURL(text string) (URL, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || !schemePattern.MatchString(scheme) {
		return URL{}, invalidURL("it does not begin with postgresql://")
	}
	settings := map[string]string{}
	var password *string
	if userinfo, afterwards, found := strings.Cut(rest, "@"); found {
		user, secret, found := strings.Cut(userinfo, ":")
		if found {
			secret = unescape(secret)
			password = &secret
		}
		if user != "" {
			settings["user"] = unescape(user)
		}
		rest = afterwards
	}
	rest, options, _ := strings.Cut(rest, "?")
	hosts, database, _ := strings.Cut(rest, "/")
	if database == "" {
		return URL{}, invalidURL("it names no database")
	}
	settings["dbname"] = unescape(database)
	if err := addHosts(settings, hosts); err != nil {
		return URL{}, err
	}
	if err := addOptions(settings, options); err != nil {
		return URL{}, err
	}
	return newURL(settings, password)
}

func invalidURL(reason string) error {
	return fmt.Errorf("%w: %s", ErrInvalidURL, reason)
}

// unescape decodes what is a valid escape, and leaves each other "%" as it is.
func unescape(text string) string {
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+3 <= len(text) {
			if octet, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				decoded = append(decoded, byte(octet))
				i += 2
				continue
			}
		}
		decoded = append(decoded, text[i])
	}
	return string(decoded)
}

// addHosts adds the hosts and ports of a list "host[:port],...".
func addHosts(settings map[string]string, list string) error {
	if list == "" {
		return nil // the option "host", or the default
	}
	var hosts, ports []string
	for address := range strings.SplitSeq(list, ",") {
		host, port := address, ""
		if colon := strings.LastIndexByte(address, ':'); colon > strings.LastIndexByte(address, ']') {
			host, port = address[:colon], address[colon+1:]
			if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
				return invalidURL("a port is not a number from 1 to 65535")
			}
		}
		host = unescape(host)
		if !hostPattern.MatchString(host) {
			return invalidURL(`a host name contains what it must not (an "@" in the password has to be written as "%40")`)
		}
		hosts = append(hosts, strings.Trim(host, "[]"))
		ports = append(ports, port)
	}
	settings["host"] = strings.Join(hosts, ",")
	settings["port"] = strings.Join(ports, ",")
	return nil
}

// addOptions adds the options of a list "name=value&...".
func addOptions(settings map[string]string, list string) error {
	if list == "" {
		return nil
	}
	for option := range strings.SplitSeq(list, "&") {
		name, value, found := strings.Cut(option, "=")
		name = unescape(name)
		switch {
		case !found || !optionPattern.MatchString(name):
			return invalidURL(`an option does not have the form "name=value"`)
		case slices.Contains(refusedOptions, name):
			return invalidURL("the option " + name + " is not supported")
		case !slices.Contains(ignoredOptions, name):
			settings[name] = unescape(value)
		}
	}
	return nil
}

// defaultConnectTimeout is in seconds. The library's default is two minutes.
const defaultConnectTimeout = "10"

// newURL has the library check the settings. The password takes another way, so that no error message can contain it.
func newURL(settings map[string]string, password *string) (URL, error) {
	if secret, found := settings["password"]; found {
		delete(settings, "password")
		password = &secret
	}
	if password != nil && strings.ContainsRune(*password, 0) {
		return URL{}, invalidURL("the password contains a NUL character")
	}
	if name, found := settings["fallback_application_name"]; found {
		delete(settings, "fallback_application_name")
		if settings["application_name"] == "" {
			settings["application_name"] = name
		}
	}
	if _, found := settings["connect_timeout"]; !found {
		settings["connect_timeout"] = defaultConnectTimeout
	}
	keepAlive, err := takeKeepAlive(settings)
	if err != nil {
		return URL{}, err
	}
	config, err := pgxpool.ParseConfig(connectionString(settings))
	if err != nil {
		return URL{}, invalidURL(reasonOf(err))
	}
	if password != nil {
		config.ConnConfig.Password = *password
	}
	dialer := net.Dialer{KeepAlive: -1}
	if keepAlive.Enable {
		dialer = net.Dialer{KeepAliveConfig: keepAlive}
	}
	config.ConnConfig.DialFunc = dialer.DialContext
	return URL{config}, nil
}

// takeKeepAlive removes libpq's options about TCP keep-alive probes from the settings. By default a peer that does not
// answer is given up after 30 seconds.
func takeKeepAlive(settings map[string]string) (net.KeepAliveConfig, error) {
	numbers := map[string]int{
		"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3,
	}
	for name := range numbers {
		text, found := settings[name]
		if !found {
			continue
		}
		number, err := strconv.ParseUint(text, 10, 15)
		if err != nil {
			return net.KeepAliveConfig{}, invalidURL("the option " + name + " is not a number from 0 to 32767")
		}
		if number > 0 || name == "keepalives" { // as for libpq, 0 is the default
			numbers[name] = int(number)
		}
		delete(settings, name)
	}
	return net.KeepAliveConfig{
		Enable:   numbers["keepalives"] != 0,
		Idle:     time.Duration(numbers["keepalives_idle"]) * time.Second,
		Interval: time.Duration(numbers["keepalives_interval"]) * time.Second,
		Count:    numbers["keepalives_count"],
	}, nil
}

// connectionString writes settings in libpq's form "name='value' ...".
func connectionString(settings map[string]string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s='%s' ", name, quote.Replace(settings[name]))
	}
	return text.String()
}

// reasonOf returns why the library has refused the settings, without the settings.
func reasonOf(err error) string {
	text := err.Error()
	if parsing, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		text = parsing.Error()
	}
	if end := strings.LastIndex(text, "`: "); end >= 0 {
		text = text[end+len("`: "):]
	}
	return text
}

// String returns the URL without the password and the options.
func (u URL) String() string {
	if u.config == nil {
		return ""
	}
	conn := u.config.ConnConfig
	printed := url.URL{Scheme: "postgresql", Path: "/" + conn.Database}
	if conn.User != "" {
		printed.User = url.User(conn.User)
	}
	if strings.HasPrefix(conn.Host, "/") {
		printed.RawQuery = "host=" + url.QueryEscape(conn.Host)
	} else {
		printed.Host = net.JoinHostPort(conn.Host, strconv.Itoa(int(conn.Port)))
	}
	return printed.String()
}

// GoString returns the same as [URL.String], quoted.
func (u URL) GoString() string {
	return strconv.Quote(u.String())
}

// LogValue returns the same as [URL.String].
func (u URL) LogValue() slog.Value {
	return slog.StringValue(u.String())
}
