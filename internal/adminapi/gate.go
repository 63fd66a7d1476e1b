package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/oauth"
)

// A gate lets only those in who have what their requests need.
type gate struct {
	tokens      *oauth.Introspector
	unprotected bool
	identities  Identities
	limits      Limits
	slots       *slots
	logger      *slog.Logger
	next        http.Handler
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	required, known := requiredScope(r.Method, r.URL)
	switch {
	case !known:
		newError(http.StatusNotFound, noRoute).write(w)
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case required == noScope:
		g.next.ServeHTTP(w, r)
	default:
		g.admit(w, r, required)
	}
}

// admit serves a request that needs a scope, when its turn has come.
func (g *gate) admit(w http.ResponseWriter, r *http.Request, required string) {
	if !g.slots.acquire(r.Context()) {
		w.Header().Set("Retry-After", "1")
		newError(http.StatusServiceUnavailable, tooMany).write(w)
		return
	}
	defer g.slots.release()
	who, refusal := g.identify(r)
	if refusal == nil && !includes(who.scopes, required) {
		refusal = &refused{
			newError(http.StatusForbidden, "the token lacks the scope "+required), `Bearer error="insufficient_scope"`,
		}
	}
	if refusal != nil {
		if refusal.challenge != "" {
			w.Header().Set("WWW-Authenticate", refusal.challenge)
		}
		refusal.write(w)
		return
	}
	note(r.Context(), who)
	ctx, cancel := context.WithTimeout(withCaller(r.Context(), who), g.limits.RequestTime)
	defer cancel()
	if r.Body != http.NoBody {
		// The server removes the deadline when the body has been read to its end. Without a body, it would stay, and the
		// server would take it for the end of the client, and have the request end, too.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.limits.BodyTime)) // there may be no connection
	}
	g.next.ServeHTTP(w, r.WithContext(ctx))
}

// refused is an error with what the header WWW-Authenticate says about it, if anything.
type refused struct {
	*Error
	challenge string
}

// identify finds out who has sent a request.
func (g *gate) identify(r *http.Request) (caller, *refused) {
	if g.unprotected {
		return everybody, nil
	}
	text, found := bearerToken(r.Header)
	if !found {
		return caller{}, &refused{newError(http.StatusUnauthorized, noToken), "Bearer"}
	}
	token, err := g.tokens.Introspect(r.Context(), text)
	switch {
	case errors.Is(err, oauth.ErrInactive):
		return caller{}, &refused{newError(http.StatusUnauthorized, badToken), `Bearer error="invalid_token"`}
	case err != nil:
		if r.Context().Err() == nil { // otherwise nobody waits for the answer any more
			g.logger.ErrorContext(r.Context(), "a token could not be introspected", slog.Any("error", err))
		}
		return caller{}, &refused{newError(http.StatusBadGateway, notAsked), ""}
	case token.Use != "" && token.Use != "access_token":
		return caller{}, &refused{newError(http.StatusForbidden, notAccess), ""}
	}
	return newCaller(token, g.identities), nil
}

// Tokens consist of visible ASCII characters.
var bearerPattern = regexp.MustCompile(`\A(?i:bearer) +([\x21-\x7e]+) *\z`)

// bearerToken returns the token of a request. If there are several headers, none counts, because it is not clear to whom
// else which one of them would be the token.
func bearerToken(header http.Header) (token string, found bool) {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	parts := bearerPattern.FindStringSubmatch(strings.TrimSpace(values[0]))
	if parts == nil {
		return "", false
	}
	return parts[1], true
}
