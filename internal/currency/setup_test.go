package currency_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func newRules() *currency.Rules {
	return &currency.Rules{
		DocumentExpiry: 7 * day, ClaimExpiry: 45 * day, MaxMessageDelay: 7 * day, MaxDistanceToBase: 10,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// handle gives a batch to the rules, as the inbox does.
func handle(tb testing.TB, db *workerdb.DB, now time.Time, batch ...smp.Message) {
	tb.Helper()
	handleWith(tb, newRules(), db, now, batch...)
}

func handleWith(tb testing.TB, rules *currency.Rules, db *workerdb.DB, now time.Time, batch ...smp.Message) {
	tb.Helper()
	err := db.InTx(tb.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		for _, apply := range []func() error{
			func() error { return apply(ctx, tx, now, batch, rules.HandleDiscoverDebtors) },
			func() error { return apply(ctx, tx, now, batch, rules.HandleConfirmDebtors) },
			func() error { return apply(ctx, tx, now, batch, rules.HandleStoreDocuments) },
			func() error { return apply(ctx, tx, now, batch, rules.HandleFetchDebtorInfos) },
		} {
			if err := apply(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func apply[M smp.Message](
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []smp.Message,
	rule func(context.Context, *workerdb.Tx, time.Time, []M) error,
) error {
	var messages []M
	for _, m := range batch {
		if m, ok := m.(M); ok {
			messages = append(messages, m)
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return rule(ctx, tx, now, messages)
}

// sent returns what is in the outbox, as lines of text, sorted, and empties it.
func sent(tb testing.TB, db *workerdb.DB) []string {
	tb.Helper()
	rows, err := db.Pool().Query(tb.Context(), "DELETE FROM outbox RETURNING type || ' ' || body")
	if err != nil {
		tb.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func mustSend(tb testing.TB, db *workerdb.DB, want ...smp.Outgoing) {
	tb.Helper()
	var lines []string
	for _, m := range want {
		body, err := m.AppendJSON(nil)
		if err != nil {
			tb.Fatal(err)
		}
		lines = append(lines, m.Type()+" "+string(body))
	}
	slices.Sort(lines)
	if got := sent(tb, db); !slices.Equal(got, lines) {
		tb.Fatalf("sent has been\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// table returns the rows of a table as lines of text.
func table(tb testing.TB, db *workerdb.DB, name, key string) []string {
	tb.Helper()
	rows, err := db.Pool().Query(tb.Context(), fmt.Sprintf("SELECT row_to_json(t)::TEXT FROM %s AS t ORDER BY %s", name, key))
	if err != nil {
		tb.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tb.Fatal(err)
	}
	return lines
}

// read returns the rows of a table.
func read[R any](tb testing.TB, db *workerdb.DB, query string) []R {
	tb.Helper()
	rows, err := db.Pool().Query(tb.Context(), query)
	if err != nil {
		tb.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[R])
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

func claims(tb testing.TB, db *workerdb.DB) []workerdb.DebtorLocatorClaim {
	tb.Helper()
	return read[workerdb.DebtorLocatorClaim](tb, db, "SELECT * FROM debtor_locator_claim ORDER BY debtor_id")
}

func documents(tb testing.TB, db *workerdb.DB) []workerdb.DebtorInfoDocument {
	tb.Helper()
	return read[workerdb.DebtorInfoDocument](tb, db, "SELECT * FROM debtor_info_document ORDER BY debtor_info_locator")
}

func fetches(tb testing.TB, db *workerdb.DB) []workerdb.DebtorInfoFetch {
	tb.Helper()
	return read[workerdb.DebtorInfoFetch](tb, db, "SELECT * FROM debtor_info_fetch ORDER BY iri, debtor_id")
}

func mustEqual(tb testing.TB, got, want any) {
	tb.Helper()
	g, err := json.Marshal(got)
	if err != nil {
		tb.Fatal(err)
	}
	w, err := json.Marshal(want)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		tb.Fatalf("got\n%s\nwant\n%s", g, w)
	}
}
