package postgres_test

import (
	"errors"
	neturl "net/url"
	"testing"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestIsUnreachable(t *testing.T) {
	t.Parallel()
	connect := func(url string) error {
		parsed, err := postgres.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := postgres.Connect(t.Context(), parsed)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err
	}
	url := testenv.NewDatabase(t)
	if err := connect(url); err != nil {
		t.Fatal(err)
	}
	closed := testenv.NewProxy(t, url)
	closed.Refuse()
	if err := connect(closed.URL()); !postgres.IsUnreachable(err) {
		t.Errorf("a server that refuses connections is reachable: %v", err)
	}
	missing, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	missing.Path += "x"
	if err := connect(missing.String()); err == nil || postgres.IsUnreachable(err) {
		t.Errorf("a server without the database is not reachable: %v", err)
	}
	if postgres.IsUnreachable(errors.New("something else")) || postgres.IsUnreachable(nil) {
		t.Error("everything is unreachable")
	}
}
