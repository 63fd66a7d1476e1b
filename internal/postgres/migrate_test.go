package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

const historyTable = "trade_test_schema"

// firstVersions returns the first n of three migrations.
func firstVersions(n int) postgres.Migrations {
	files := fstest.MapFS{}
	for i, name := range []string{"one", "two", "three"}[:n] {
		prefix := fmt.Sprintf("000%d_%s", i+1, name)
		files[prefix+".up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE " + name + " (n INT); INSERT INTO " + name + " VALUES (1);")}
		files[prefix+".down.sql"] = &fstest.MapFile{Data: []byte("DROP TABLE " + name + ";")}
	}
	return postgres.Migrations{Table: historyTable, Files: files}
}

// tables returns the names of the tables in the current schema, but for the one of the migrations.
func (db *database) tables(t *testing.T) string {
	t.Helper()
	return value[string](t, db, `SELECT coalesce(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_tables
		WHERE schemaname = current_schema() AND tablename <> $1`, historyTable)
}

func (db *database) done(t *testing.T, migrations postgres.Migrations) bool {
	t.Helper()
	done, err := migrations.Done(t.Context(), db.Pool())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	one, two, three := firstVersions(1), firstVersions(2), firstVersions(3)
	if db.done(t, one) {
		t.Error("an empty database passes for migrated")
	}
	for _, step := range []struct {
		do     func(context.Context, postgres.URL) error
		tables string
		done   [3]bool
	}{
		{one.Up, "one", [3]bool{true, false, false}},
		{three.Up, "one three two", [3]bool{true, true, true}},
		{three.Up, "one three two", [3]bool{true, true, true}},
		{three.Down, "", [3]bool{false, false, false}},
		{three.Down, "", [3]bool{false, false, false}},
		{two.Up, "one two", [3]bool{true, true, false}},
	} {
		if err := step.do(t.Context(), db.URL()); err != nil {
			t.Fatal(err)
		}
		if got := db.tables(t); got != step.tables {
			t.Errorf("the tables are %q, want %q", got, step.tables)
		}
		if got := [3]bool{db.done(t, one), db.done(t, two), db.done(t, three)}; got != step.done {
			t.Errorf("versions 1, 2, 3 have been reached: %v, want %v", got, step.done)
		}
	}
}

func TestMigrateInParallel(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	var group errgroup.Group
	for range 8 {
		group.Go(func() error { return firstVersions(3).Up(t.Context(), db.URL()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := db.tables(t); got != "one three two" {
		t.Errorf("the tables are %q", got)
	}
}

func TestMigrateRefusesNewerSchemas(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	if err := firstVersions(3).Up(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(context.Context, postgres.URL) error{
		"up": firstVersions(2).Up, "down": firstVersions(2).Down,
	} {
		if err := do(t.Context(), db.URL()); !errors.Is(err, postgres.ErrNewerSchema) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if got := db.tables(t); got != "one three two" {
		t.Errorf("the tables are %q", got)
	}
}

func TestMigrateRefusesDirtySchemas(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	if err := firstVersions(1).Up(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	db.exec(t, `UPDATE `+historyTable+` SET dirty = TRUE`)
	if err := firstVersions(2).Up(t.Context(), db.URL()); !errors.Is(err, postgres.ErrDirtySchema) {
		t.Errorf("the error is %v", err)
	}
	if db.done(t, firstVersions(1)) {
		t.Error("a dirty schema passes for migrated")
	}
}

// A migration that fails leaves the schema as it was before all of those that were due.
func TestMigrateIsAtomic(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	if err := firstVersions(1).Up(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	broken := firstVersions(3)
	broken.Files.(fstest.MapFS)["0003_three.up.sql"].Data = []byte("CREATE TABLE three (n INT);\nSELECT 1 / 0;")
	err := broken.Up(t.Context(), db.URL())
	if err == nil || !strings.Contains(err.Error(), "division by zero") {
		t.Errorf("the error is %v", err)
	}
	if got := db.tables(t); got != "one" {
		t.Errorf("the tables are %q", got)
	}
	if err := firstVersions(3).Up(t.Context(), db.URL()); err != nil {
		t.Error(err)
	}
}

// The process that migrates is killed: for the server, its connection breaks.
func TestMigrateSurvivesACrash(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	proxy := testenv.NewProxy(t, url)
	db := open(t, url, postgres.Options{})
	slow := firstVersions(3)
	slow.Files.(fstest.MapFS)["0003_three.up.sql"].Data = []byte("SELECT pg_sleep(600);")

	var group errgroup.Group
	group.Go(func() error { return slow.Up(t.Context(), parse(t, proxy.URL())) })
	testenv.Eventually(t, 10*time.Second, func() error {
		if !value[bool](t, db, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active' AND query = 'SELECT pg_sleep(600);')`) {
			return errors.New("the third migration has not been reached")
		}
		return nil
	})
	proxy.Cut()
	if err := group.Wait(); err == nil {
		t.Error("there was no error")
	}
	// The server learns of the end at the latest when it has slept; help it.
	db.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query = 'SELECT pg_sleep(600);'`)
	if err := firstVersions(3).Up(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	if got := db.tables(t); got != "one three two" {
		t.Errorf("the tables are %q", got)
	}
}

// Two programs, or two instances of one, share a database, in schemas of their own.
func TestMigrateInOtherSchemas(t *testing.T) {
	t.Parallel()
	url := testenv.NewDatabase(t)
	public := open(t, url, postgres.Options{})
	if err := firstVersions(3).Up(t.Context(), public.URL()); err != nil {
		t.Fatal(err)
	}
	public.exec(t, `CREATE SCHEMA "My Schema"`)
	other := open(t, inSchema(url, `"My Schema",public`), postgres.Options{})
	if other.done(t, firstVersions(1)) {
		t.Error("the migrations of another schema count")
	}
	if err := firstVersions(2).Up(t.Context(), other.URL()); err != nil {
		t.Fatal(err)
	}
	if got := other.tables(t); got != "one two" {
		t.Errorf("the tables of the other schema are %q", got)
	}
	if err := firstVersions(2).Down(t.Context(), other.URL()); err != nil {
		t.Fatal(err)
	}
	if mine, others := public.tables(t), other.tables(t); mine != "one three two" || others != "" {
		t.Errorf("the tables are %q and %q", mine, others)
	}
}

// inSchema returns the URL with a search path.
func inSchema(url, path string) string {
	return url + "&search_path=" + strings.ReplaceAll(path, " ", "%20")
}

func TestMigrateWithoutSchema(t *testing.T) {
	t.Parallel()
	db := open(t, inSchema(testenv.NewDatabase(t), "missing"), postgres.Options{})
	if err := firstVersions(1).Up(t.Context(), db.URL()); !errors.Is(err, postgres.ErrNoSchema) {
		t.Errorf("the error is %v", err)
	}
	if _, err := firstVersions(1).Done(t.Context(), db.Pool()); !errors.Is(err, postgres.ErrNoSchema) {
		t.Errorf("the error is %v", err)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	digests := map[string]string{}
	changed := firstVersions(2)
	changed.Files.(fstest.MapFS)["0002_two.up.sql"].Data[0] = ' '
	other := firstVersions(2)
	other.Table = "another"
	for name, migrations := range map[string]postgres.Migrations{
		"one": firstVersions(1), "two": firstVersions(2), "changed": changed, "other": other,
	} {
		digest, err := migrations.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if twin, found := digests[digest]; found {
			t.Errorf("%s and %s have the same digest", name, twin)
		}
		digests[digest] = name
		if again, _ := migrations.Digest(); again != digest {
			t.Errorf("%s: the digest changes", name)
		}
	}
}
