package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestOpenDoesNotNeedTheServer(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewDatabase(t))
	proxy.Refuse()
	url := strings.Replace(proxy.URL(), "@", "hunter2@", 1)
	db := open(t, url, postgres.Options{})
	err := db.Ping(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), proxy.Addr()) {
		t.Errorf("the error is %v", err)
	}
}

func TestOpenWithoutURL(t *testing.T) {
	t.Parallel()
	if _, err := postgres.Open(postgres.URL{}, postgres.Options{}); err == nil {
		t.Error("the zero URL was accepted")
	}
}

// Passwords are written into URLs as they are.
func TestRawPassword(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	const raw = `p/a?s#s%w:o'rd\&x=y `
	role := "role_" + strings.ToLower(value[string](t, db, `SELECT substr(md5(current_database()), 1, 12)`))
	db.exec(t, fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, role, strings.ReplaceAll(raw, `'`, `''`)))
	t.Cleanup(func() { db.exec(t, "DROP ROLE "+role) })

	conn := db.Pool().Config().ConnConfig
	url := fmt.Sprintf("postgresql+psycopg://%s:%s@%s:%d/%s?connect_timeout=10&sslmode=disable",
		role, raw, conn.Host, conn.Port, conn.Database)
	own := open(t, url, postgres.Options{})
	if got := value[string](t, own, `SELECT current_user::TEXT`); got != role {
		t.Errorf("connected as %s, want %s", got, role)
	}
	own.Close()
}

func TestInstantsAreInUTC(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	const want = "2025-01-02 03:04:05.678901 +0000 UTC"
	const query = `SELECT TIMESTAMPTZ '2025-01-02 05:04:05.678901+02'`
	if got := value[time.Time](t, db, query); got.String() != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := value[[]time.Time](t, db, `SELECT ARRAY[(`+query+`)]`); len(got) != 1 || got[0].String() != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// A tracer remembers the statements that it is told of.
type tracer struct{ statements []string }

func (r *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.statements = append(r.statements, data.SQL)
	return ctx
}

func (*tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestTracer(t *testing.T) {
	t.Parallel()
	r := &tracer{}
	db := open(t, testenv.NewDatabase(t), postgres.Options{Tracer: r})
	if err := db.InTx(t.Context(), "nothing", execute(`SELECT 1`)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"begin isolation level repeatable read", "SELECT 1", "commit"}; !slices.Equal(r.statements, want) {
		t.Errorf("it was told of %q, want %q", r.statements, want)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	if err := db.InTx(t.Context(), "nothing", execute(`SELECT 1`)); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(db.metrics)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	// A closed database takes its metrics with it, so it can be opened again.
	db.Close()
	again, err := postgres.Open(db.URL(), postgres.Options{Registerer: db.metrics})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
