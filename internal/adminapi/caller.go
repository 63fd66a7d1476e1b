package adminapi

import (
	"cmp"
	"context"
	"regexp"
	"strconv"

	"github.com/circular-trade/circular-trade/internal/oauth"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Identities tell who somebody is. The patterns have to be anchored at the beginning.
type Identities struct {
	Superusers  *regexp.Regexp
	Supervisors *regexp.Regexp
	// Creditors matches ordinary users. Its first group is the creditor ID, unsigned.
	Creditors *regexp.Regexp
	// Owner is the ordinary user who has the rights of a supervisor.
	Owner swpt.CreditorID
}

// A role is what somebody may be. Only those with a role may use the API.
type role string

const (
	nobody     role = ""
	superuser  role = "superuser"
	supervisor role = "supervisor"
	owner      role = "owner"
)

// roleOf returns the role of an identity. Ordinary users other than the owner have none.
func (i Identities) roleOf(identity string) role {
	switch {
	case identity == "":
		return nobody
	case i.Superusers.MatchString(identity):
		return superuser
	case i.Supervisors.MatchString(identity):
		return supervisor
	}
	groups := i.Creditors.FindStringSubmatch(identity)
	if len(groups) < 2 {
		return nobody
	}
	id, err := strconv.ParseUint(groups[1], 10, 64)
	if err != nil || swpt.CreditorID(id) != i.Owner { //nolint:gosec // in two's complement
		return nobody
	}
	return owner
}

// A caller is whoever has sent a request that the gate has let in.
type caller struct {
	identity string
	role     role
	scopes   string // all that the token has
}

func newCaller(token oauth.Token, identities Identities) caller {
	identity := cmp.Or(token.Subject, token.Username)
	return caller{identity: identity, role: identities.roleOf(identity), scopes: token.Scope}
}

// everybody is the caller where nobody is asked for a token.
var everybody = caller{role: superuser, scopes: scopeWrite + " " + scopeActivate + " " + scopeDeactivate}

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns the caller, if the gate has let one in.
func callerOf(ctx context.Context) (c caller, found bool) {
	c, found = ctx.Value(callerKey{}).(caller)
	return c, found
}
