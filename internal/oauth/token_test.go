package oauth

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// Nothing is taken for an active token but an object that says so in exactly these words.
func FuzzParseAnswer(f *testing.F) {
	for _, text := range []string{
		`{"active":true,"exp":1e10,"sub":"x"}`, `{"active":false}`, `{"Active":true}`, `[]`, ``, "{\"active\":true,\"exp\":\"\"}",
	} {
		f.Add([]byte(text))
	}
	now := time.Unix(1_000_000_000, 0)
	f.Fuzz(func(t *testing.T, text []byte) {
		token, err := parseAnswer(text, now)
		if err != nil {
			if !errors.Is(err, ErrInactive) && !errors.Is(err, ErrUnavailable) || token != (Token{}) {
				t.Errorf("%v, %+v", err, token)
			}
			return
		}
		var members map[string]any
		if json.Unmarshal(text, &members) != nil || members["active"] != any(true) {
			t.Errorf("taken for active: %q", text)
		}
		if !token.ExpiresAt.IsZero() && !token.ExpiresAt.After(now) {
			t.Errorf("has expired at %v: %q", token.ExpiresAt, text)
		}
	})
}
