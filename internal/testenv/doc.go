// Package testenv gives tests what they need of servers: databases and virtual hosts of their own, broken connections,
// and servers that can be stopped and killed. Only tests import it.
//
// The servers are those that scripts/services starts, and names in the environment:
//
//	TEST_POSTGRES_URL            a PostgreSQL server, as a role that may create databases
//	TEST_BROKER_URL              a RabbitMQ broker
//	TEST_BROKER_MANAGEMENT_URL   its management API, as an administrator
//
// A test that needs one that is not named fails: it does not skip itself, so that nothing goes untested unnoticed.
//
// All functions may be called by any number of tests and test processes at a time. What they make is removed when the
// test ends. A function that cannot do its work ends the test, and says what the server has said.
package testenv

import (
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"
)

// serverURL returns the URL of a server, which an environment variable holds.
func serverURL(tb testing.TB, variable string) *url.URL {
	tb.Helper()
	value := os.Getenv(variable)
	if value == "" {
		tb.Fatalf("%s is not set, and this test needs that server. "+
			"Run the tests with `make test`, or with `scripts/services go test ./...`.", variable)
	}
	server, err := url.Parse(value)
	if err != nil || server.Host == "" {
		tb.Fatalf("%s is not a URL of the form scheme://user:password@host:port/", variable)
	}
	return server
}

// withPath returns the URL of something on a server.
func withPath(server *url.URL, path ...string) string {
	u := *server
	u.Path = "/" + strings.Join(path, "/")
	u.RawPath = ""
	return u.String()
}

// uniqueName returns a name for what belongs to a test. People who look at a server see which test that is.
func uniqueName(tb testing.TB) string {
	tb.Helper()
	const limit = 40 // PostgreSQL cuts names after 63 bytes
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '_'
		}
	}, tb.Name())
	return name[:min(len(name), limit)] + "_" + strings.ToLower(rand.Text()[:12])
}
