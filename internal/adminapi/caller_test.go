package adminapi

import (
	"regexp"
	"testing"

	"github.com/circular-trade/circular-trade/internal/oauth"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	identities := Identities{
		Superusers:  regexp.MustCompile(`\Acreditors-superuser\z`),
		Supervisors: regexp.MustCompile(`\A(?:creditors-supervisor|creditors:7)`),
		Creditors:   regexp.MustCompile(`\Acreditors:(\d+)$`),
		Owner:       -2,
	}
	for identity, want := range map[string]role{
		"creditors-superuser":             superuser,
		"creditors-superuser2":            nobody,
		"xcreditors-superuser":            nobody,
		"creditors-superuser\n":           nobody,
		"creditors-supervisor":            supervisor,
		"creditors-supervisor2":           supervisor, // patterns are anchored at the beginning only
		"creditors:7":                     supervisor, // the first match wins
		"creditors:18446744073709551614":  owner,
		"creditors:18446744073709551615":  nobody,
		"creditors:18446744073709551616":  nobody,
		"creditors:36893488147419103230":  nobody, // the owner, were it not over 2^64
		"creditors:-2":                    nobody,
		"creditors:18446744073709551614x": nobody,
		"Creditors:18446744073709551614":  nobody,
		"creditors:":                      nobody,
		"":                                nobody,
	} {
		if got := identities.roleOf(identity); got != want {
			t.Errorf("%q is %q, want %q", identity, got, want)
		}
	}
	identities.Creditors = regexp.MustCompile(`\A(?:)`) // has no group
	if got := identities.roleOf("x"); got != nobody {
		t.Errorf("without a group, everybody is %q", got)
	}
	identities.Superusers = regexp.MustCompile(`\A(?:.*)`)
	if got := identities.roleOf(""); got != nobody {
		t.Errorf("without an identity, everybody is %q", got)
	}
	for _, c := range []struct {
		token oauth.Token
		want  string
	}{
		{oauth.Token{Subject: "a", Username: "b"}, "a"}, {oauth.Token{Username: "b"}, "b"}, {oauth.Token{}, ""},
	} {
		if got := newCaller(c.token, identities); got.identity != c.want {
			t.Errorf("%+v has the identity %q", c.token, got.identity)
		}
	}
}
