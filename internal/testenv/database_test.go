package testenv_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestDatabasesAreEmptyAndSeparate(t *testing.T) {
	t.Parallel()
	one, two := open(t, testenv.NewDatabase(t)), open(t, testenv.NewDatabase(t))
	run(t, one, "CREATE TABLE mine ()")
	if n := count(t, one, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 1 {
		t.Errorf("%d tables in the first database, want 1", n)
	}
	if n := count(t, two, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("%d tables in the second database, want 0", n)
	}
}

func TestDatabaseIsDroppedAlthoughInUse(t *testing.T) {
	t.Parallel()
	var name string
	if message := fakeTest(t, func(fake *fakeTB) {
		name = open(t, testenv.NewDatabase(fake)).Config().Database
	}); message != "" {
		t.Fatal(message)
	}
	admin := open(t, testenv.NewDatabase(t))
	if n := count(t, admin, "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'"); n != 0 {
		t.Errorf("database %q is still there", name)
	}
	if !strings.HasPrefix(name, "testdatabaseisdroppedalthoughinuse_") {
		t.Errorf("database %q does not tell which test it belongs to", name)
	}
}

func TestPreparedOnce(t *testing.T) {
	t.Parallel()
	key := uniqueKey(t)
	var prepared atomic.Int32
	prepare := func(url string) error {
		prepared.Add(1)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		_, err = conn.Exec(t.Context(), "CREATE TABLE item (id int); INSERT INTO item VALUES (1), (2)")
		return errors.Join(err, conn.Close(t.Context()))
	}
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			conn := open(t, testenv.NewDatabaseFrom(t, key, prepare))
			run(t, conn, fmt.Sprintf("INSERT INTO item VALUES (%d)", 100+i))
			if n := count(t, conn, "SELECT count(*) FROM item"); n != 3 {
				t.Errorf("%d items, want 3", n)
			}
		})
	}
	all.Wait()
	if n := prepared.Load(); n != 1 {
		t.Errorf("prepared %d times, want once", n)
	}
}

func TestPreparedAgainAfterFailure(t *testing.T) {
	t.Parallel()
	key := uniqueKey(t)
	fault := errors.New("broken migration")
	attempt := fakeTest(t, func(fake *fakeTB) {
		testenv.NewDatabaseFrom(fake, key, func(url string) error {
			conn := open(t, url)
			run(t, conn, "CREATE TABLE remains ()")
			return fault
		})
	})
	if !strings.Contains(attempt, fault.Error()) {
		t.Errorf("a test with a broken preparation ends with %q, want it to mention %q", attempt, fault)
	}
	conn := open(t, testenv.NewDatabaseFrom(t, key, func(string) error { return nil }))
	if n := count(t, conn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("%d tables remain of the failed preparation", n)
	}
}

func BenchmarkNewDatabase(b *testing.B) {
	for b.Loop() {
		testenv.NewDatabase(b)
	}
}

func BenchmarkNewDatabaseFrom(b *testing.B) {
	for b.Loop() {
		testenv.NewDatabaseFrom(b, "benchmark", func(string) error { return nil })
	}
}

// open returns a connection that nobody closes: dropping the database ends it.
func open(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, conn *pgx.Conn, query string) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
