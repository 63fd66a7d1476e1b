package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

const patience = 10 * time.Second

// listen subscribes to topics, and runs a listener until the test ends. It has a connection when listen returns.
func listen(t *testing.T, url postgres.URL, topics ...string) (commits []<-chan struct{}, cancels []func()) {
	t.Helper()
	listener := postgres.NewListener(url, slog.New(slog.DiscardHandler))
	for _, topic := range topics {
		channel, cancel := listener.Subscribe(topic)
		commits = append(commits, channel)
		cancels = append(cancels, cancel)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var group errgroup.Group
	group.Go(func() error { return listener.Run(ctx) })
	t.Cleanup(func() {
		stop()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	for _, channel := range commits {
		hear(t, channel)
	}
	return commits, cancels
}

// hear waits for a value.
func hear(t *testing.T, commits <-chan struct{}) {
	t.Helper()
	select {
	case <-commits:
	case <-time.After(patience):
		t.Fatal("nothing was heard")
	}
}

func silent(t *testing.T, commits <-chan struct{}) {
	t.Helper()
	select {
	case <-commits:
		t.Error("something was heard that should not have been")
	default:
	}
}

func notify(topics ...string) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error { return postgres.Notify(ctx, tx, topics...) }
}

func TestNotify(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	commits, cancels := listen(t, db.URL(), "apples", "apples", "pears")
	apples, moreApples, pears := commits[0], commits[1], commits[2]

	failure := errors.New("no")
	err := db.InTx(t.Context(), "fail", func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(postgres.Notify(ctx, tx, "pears"), failure)
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	if err := db.InTx(t.Context(), "notify", notify("apples", "plums", "apples")); err != nil {
		t.Fatal(err)
	}
	hear(t, apples)
	hear(t, moreApples)
	silent(t, apples)
	silent(t, pears)

	cancels[1]()
	if err := db.InTx(t.Context(), "notify", notify("apples")); err != nil {
		t.Fatal(err)
	}
	hear(t, apples)
	silent(t, moreApples)
}

func TestListenerHearsItsOwnSchema(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	public := open(t, url, postgres.Options{})
	public.exec(t, `CREATE SCHEMA other`)
	other := open(t, inSchema(url, "other"), postgres.Options{})
	commits, _ := listen(t, public.URL(), "apples")
	otherCommits, _ := listen(t, other.URL(), "apples")
	if err := other.InTx(t.Context(), "notify", notify("apples")); err != nil {
		t.Fatal(err)
	}
	hear(t, otherCommits[0])
	if err := public.InTx(t.Context(), "notify", notify("pears", "apples")); err != nil {
		t.Fatal(err)
	}
	hear(t, commits[0])
	silent(t, commits[0])
	silent(t, otherCommits[0])
}

func TestListenerReconnects(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	proxy := testenv.NewProxy(t, url)
	db := open(t, url, postgres.Options{})
	commits, _ := listen(t, parse(t, proxy.URL()), "apples")
	for name, lose := range map[string]func(){
		"cut": proxy.Cut,
		"refused for a while": func() {
			proxy.Refuse()
			proxy.Cut()
			if err := db.InTx(t.Context(), "notify", notify("apples")); err != nil {
				t.Fatal(err)
			}
			proxy.Accept()
		},
		"terminated": func() {
			db.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
		},
	} {
		lose()
		hear(t, commits[0]) // what may have been missed
		if err := db.InTx(t.Context(), "notify", notify("apples")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-commits[0]:
		case <-time.After(patience):
			t.Fatal(name + ": nothing was heard")
		}
	}
}
