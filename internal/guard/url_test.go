package guard_test

import (
	"net/url"
	"testing"
)

// inSchema returns the URL of a database with another path of schemas.
func inSchema(t *testing.T, databaseURL, searchPath string) string {
	t.Helper()
	return changed(t, databaseURL, func(u *url.URL) {
		options := u.Query()
		options.Set("search_path", searchPath)
		u.RawQuery = options.Encode()
	})
}

// as returns the URL of a database with another user.
func as(t *testing.T, databaseURL, user, password string) string {
	t.Helper()
	return changed(t, databaseURL, func(u *url.URL) { u.User = url.UserPassword(user, password) })
}

func changed(t *testing.T, text string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}
