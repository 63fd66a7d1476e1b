package oauth

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// A Token is what an authorization server says about an active token. What it does not say is empty.
type Token struct {
	// Subject is whom the token stands for.
	Subject string
	// Username is the same, in a form for people.
	Username string
	// Scope is what the token allows: words, separated by spaces.
	Scope string
	// Use is what kind of token it is. Access tokens are "access_token".
	Use string
	// ExpiresAt is when it ceases to be active. Zero: the server does not tell.
	ExpiresAt time.Time
}

// parseAnswer reads the answer of an authorization server. It takes names and types of members seriously: an answer that
// is nearly right is none.
func parseAnswer(body []byte, now time.Time) (Token, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return Token{}, fmt.Errorf("%w: its answer is not a JSON object", ErrUnavailable)
	}
	var token Token
	var active *bool
	var expiry *float64
	for name, target := range map[string]any{
		"active":    &active,
		"sub":       &token.Subject,
		"username":  &token.Username,
		"scope":     &token.Scope,
		"token_use": &token.Use,
		"exp":       &expiry,
	} {
		text, found := members[name]
		if !found {
			continue
		}
		if err := json.Unmarshal(text, target); err != nil {
			return Token{}, fmt.Errorf("%w: in its answer, %q has the wrong type", ErrUnavailable, name)
		}
	}
	if active == nil {
		return Token{}, fmt.Errorf(`%w: its answer lacks "active"`, ErrUnavailable)
	}
	if !*active {
		return Token{}, ErrInactive
	}
	if expiry != nil {
		token.ExpiresAt = instant(*expiry)
		if !now.Before(token.ExpiresAt) {
			return Token{}, ErrInactive
		}
	}
	return token, nil
}

// farAway is later than anything that is kept.
const farAway = 1 << 40

// instant returns the time that is so many seconds after 1970 began. What is out of all proportion is shortened.
func instant(seconds float64) time.Time {
	seconds = max(-farAway, min(seconds, farAway))
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second)))
}
