package server_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/guard"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// newGuarded returns a server of which there may be only one for the database. Its component sends the context in which
// it runs.
func newGuarded(begun chan<- context.Context, connect func(context.Context) (*pgx.Conn, error)) *server.Server {
	logger := slog.New(slog.DiscardHandler)
	return &server.Server{
		Name: "worker",
		Components: []server.Component{{Name: "component", Run: func(ctx context.Context) error {
			begun <- ctx
			<-ctx.Done()
			return nil
		}}},
		Supervise: true,
		Guard: func(ctx context.Context, work func(context.Context) error) error {
			err := guard.Guard{Component: "worker", Connect: connect, Logger: logger}.Run(ctx, work)
			if errors.Is(err, guard.ErrHeld) {
				return server.Fatal(err)
			}
			return err
		},
		Registry: prometheus.NewRegistry(),
		Logger:   logger,
	}
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	const patience = time.Minute
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
		panic("unreachable")
	}
}

// A server outlives its database, does nothing while it is away, and keeps a second one off before and after that.
func TestOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	database := testenv.StartPostgres(t)
	url := database.URL()
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, url) }
	begun, result := make(chan context.Context, 10), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { result <- newGuarded(begun, connect).Run(ctx) }()

	working := receive(t, "component", begun)
	database.Kill()
	receive(t, "the component's end", working.Done())
	database.Start()
	receive(t, "component, again", begun)

	if err := newGuarded(begun, connect).Run(t.Context()); !errors.Is(err, guard.ErrHeld) {
		t.Errorf("a second server: %v", err)
	}
	if len(begun) > 0 {
		t.Error("the component has been started twice")
	}
	stop()
	if err := receive(t, "result", result); err != nil {
		t.Errorf("the first server: %v", err)
	}
}
