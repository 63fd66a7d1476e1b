package config

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A DatabaseURL leads to a PostgreSQL database. Printed, logged or encoded, it is without its password; only a
// conversion to string shows it.
type DatabaseURL string

// A BrokerURL leads to a virtual host of a RabbitMQ server. As for its password, see [DatabaseURL].
type BrokerURL string

// A WebURL leads to something that is fetched over HTTP. It can have a password, too, see [DatabaseURL].
type WebURL string

// String returns the URL without its password.
func (u DatabaseURL) String() string { return redact(string(u)) }

// String returns the URL without its password.
func (u BrokerURL) String() string { return redact(string(u)) }

// String returns the URL without its password.
func (u WebURL) String() string { return redact(string(u)) }

// MarshalText implements encoding.TextMarshaler. The password is left out.
func (u DatabaseURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText implements encoding.TextMarshaler. The password is left out.
func (u BrokerURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText implements encoding.TextMarshaler. The password is left out.
func (u WebURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// errURL does not say what is wrong with a URL, because any part of one that is malformed could be the password.
var errURL = errors.New("not a valid URL")

var databaseURLPattern = regexp.MustCompile(`^postgres(ql)?(\+\w+)?://.`)

// parseDatabaseURL looks at the scheme alone. The rest is left to whoever will connect, see [Input.CheckDatabaseURL]:
// such URLs have rules of their own.
func parseDatabaseURL(text string) (DatabaseURL, error) {
	if !databaseURLPattern.MatchString(text) {
		return "", errURL
	}
	return DatabaseURL(text), nil
}

// parseBrokerURL asks the library that will connect. It takes the beginning of a password with a slash in it for a port,
// as in amqp://user:12/34@host; whoever writes that means something else.
func parseBrokerURL(text string) (BrokerURL, error) {
	if _, err := amqp.ParseURI(text); err != nil {
		return "", errURL
	}
	if parsed, err := url.Parse(text); err != nil || parsed.User == nil && strings.Contains(text, "@") {
		return "", errURL
	}
	return BrokerURL(text), nil
}

func parseWebURL(text string) (WebURL, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return "", errURL
	}
	return WebURL(text), nil
}

// secretOption finds options with passwords. Each runs to the next one, as in "?sslpassword=abc&sslmode=require".
var secretOption = regexp.MustCompile(`(?i)([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&]*`)

var schemePattern = regexp.MustCompile(`^[A-Za-z0-9+.-]*$`)

const redacted = "***"

// redact returns the URL without its password. It also does so for URLs that are not valid; of what it does not
// understand, it returns nothing.
func redact(text string) string {
	if text == "" {
		return ""
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found || !schemePattern.MatchString(scheme) {
		return redacted
	}
	// A password that contains "@" without being allowed to has to stay secret, too.
	if end := strings.LastIndexByte(rest, '@'); end >= 0 {
		if user, _, found := strings.Cut(rest[:end], ":"); found {
			rest = user + ":" + redacted + rest[end:]
		}
	}
	return scheme + "://" + secretOption.ReplaceAllString(rest, "${1}"+redacted)
}

// hostOf returns where in the URL its host begins and ends. In the URLs of databases, the password ends at the first
// "@" and may contain anything else; in others, the part with the host ends at the first "/", "?" or "#".
func hostOf(text string) (start, end int) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return 0, 0
	}
	start = len(scheme) + len("://")
	if strings.HasPrefix(scheme, "postgres") {
		start += strings.IndexByte(rest, '@') + 1
	} else {
		authority := rest
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			authority = rest[:end]
		}
		start += strings.LastIndexByte(authority, '@') + 1
	}
	end = len(text)
	if length := strings.IndexAny(text[start:], ":/?#"); length >= 0 {
		end = start + length
	}
	return start, end
}
