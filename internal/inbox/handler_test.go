package inbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

// In the shard "0.#" is creditor 3, and not creditor 2.
const (
	ours     = swpt.CreditorID(3)
	anothers = swpt.CreditorID(2)
)

var now = time.Date(2026, 3, 10, 6, 45, 0, 123456789, time.UTC)

func flags(creditor swpt.CreditorID, update int64) *smp.UpdatedFlags {
	return &smp.UpdatedFlags{CreditorID: creditor, DebtorID: 1, UpdateID: update, TS: now}
}

func prepared(creditor swpt.CreditorID, coordinatorType string, coordinator int64) *smp.PreparedTransfer {
	return &smp.PreparedTransfer{
		DebtorID: 1, CreditorID: creditor, CoordinatorType: coordinatorType, CoordinatorID: coordinator,
		TransferID: 1, PreparedAt: now, Deadline: now, FinalInterestRateTS: now, TS: now,
	}
}

func delivery(tb testing.TB, m smp.Message) broker.Delivery {
	tb.Helper()
	body, err := m.AppendJSON(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return broker.Delivery{ContentType: smp.ContentType, Type: m.Type(), Body: body}
}

// newHandler returns a handler for the shard "0.#" with some rules.
func newHandler(tb testing.TB, db *workerdb.DB, rules *inbox.Rules) *inbox.Handler {
	tb.Helper()
	realm, err := shard.ParseWorkerRealm("0.#")
	if err != nil {
		tb.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	tb.Cleanup(func() {
		problems, err := testutil.GatherAndLint(registry)
		if err != nil || len(problems) > 0 {
			tb.Errorf("the metrics are not well made: %v %v", problems, err)
		}
	})
	return &inbox.Handler{
		Realm: realm, DB: db, Rules: rules, Now: func() time.Time { return now }, Metrics: inbox.NewMetrics(registry),
	}
}

// ignore is a rule that does nothing.
func ignore[M smp.Message](context.Context, *workerdb.Tx, time.Time, []M) error { return nil }

func TestCheck(t *testing.T) {
	t.Parallel()
	rules := &inbox.Rules{}
	inbox.Add(rules, ignore[*smp.UpdatedFlags])
	inbox.Add(rules, ignore[*smp.PreparedTransfer])
	h := newHandler(t, nil, rules)

	sound := delivery(t, flags(ours, 1))
	with := func(change func(*broker.Delivery)) broker.Delivery {
		d := sound
		change(&d)
		return d
	}
	padded := func(n int) broker.Delivery {
		return with(func(d *broker.Delivery) { d.Body = append([]byte(strings.Repeat(" ", n-len(d.Body))), d.Body...) })
	}
	for name, c := range map[string]struct {
		delivery broker.Delivery
		want     error // nil: the message is handled
	}{
		"sound":                      {sound, nil},
		"longest body":               {padded(262144), nil},
		"body too long":              {padded(262145), smp.ErrTooLong},
		"a megabyte":                 {padded(1 << 20), smp.ErrTooLong},
		"no content type":            {with(func(d *broker.Delivery) { d.ContentType = "" }), smp.ErrContentType},
		"with parameter":             {with(func(d *broker.Delivery) { d.ContentType += "; charset=utf-8" }), smp.ErrContentType},
		"no type":                    {with(func(d *broker.Delivery) { d.Type = "" }), smp.ErrUnknownType},
		"unknown type":               {with(func(d *broker.Delivery) { d.Type = "Greeting" }), smp.ErrUnknownType},
		"emitted type":               {with(func(d *broker.Delivery) { d.Type = "PrepareTransfer" }), smp.ErrUnknownType},
		"another known type":         {with(func(d *broker.Delivery) { d.Type = "UpdatedLedger" }), smp.ErrInvalid},
		"no body":                    {with(func(d *broker.Delivery) { d.Body = nil }), smp.ErrSyntax},
		"not JSON":                   {with(func(d *broker.Delivery) { d.Body = d.Body[1:] }), smp.ErrSyntax},
		"not UTF-8":                  {with(func(d *broker.Delivery) { d.Body = []byte("{\"type\": \"\xff\"}") }), smp.ErrSyntax},
		"invalid":                    {delivery(t, flags(ours, 0)), smp.ErrInvalid},
		"of another shard":           {delivery(t, flags(anothers, 1)), inbox.ErrOtherShard},
		"no rule":                    {delivery(t, &smp.UpdatedLedger{CreditorID: ours, UpdateID: 1, TS: now}), inbox.ErrNoRule},
		"our transfer":               {delivery(t, prepared(ours, "agent", int64(ours))), nil},
		"not the agent's":            {delivery(t, prepared(ours, "direct", int64(ours))), smp.ErrInvalid},
		"another coordinator":        {delivery(t, prepared(ours, "agent", int64(anothers))), nil},
		"our coordinator, not ours":  {delivery(t, prepared(anothers, "agent", int64(ours))), smp.ErrInvalid},
		"coordinated by the other":   {delivery(t, prepared(anothers, "agent", int64(anothers))), inbox.ErrOtherShard},
		"document of another shard":  {delivery(t, &smp.FetchDebtorInfo{IRI: "https://example.com/a", DebtorID: 1, TS: now}), inbox.ErrOtherShard},
		"document of ours, no rules": {delivery(t, &smp.FetchDebtorInfo{IRI: "https://example.com/b", DebtorID: 1, TS: now}), inbox.ErrNoRule},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := h.Check(c.delivery)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
			if (m == nil) != (c.want != nil) {
				t.Errorf("the message is %v", m)
			}
		})
	}
}

// Each rule gets all messages of its type, in one transaction for all of them.
func TestHandle(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	create(t, db)
	var got [][]int64
	rules := &inbox.Rules{}
	inbox.Add(rules, func(ctx context.Context, tx *workerdb.Tx, at time.Time, batch []*smp.PreparedTransfer) error {
		if want := now.Truncate(time.Microsecond); !at.Equal(want) {
			t.Errorf("now is %v, want %v", at, want)
		}
		got = nil
		return note(ctx, tx, &got, 'p', batch, func(m *smp.PreparedTransfer) int64 { return m.TransferID })
	})
	inbox.Add(rules, func(ctx context.Context, tx *workerdb.Tx, _ time.Time, batch []*smp.UpdatedFlags) error {
		return note(ctx, tx, &got, 'f', batch, func(m *smp.UpdatedFlags) int64 { return m.UpdateID })
	})
	inbox.Add(rules, func(context.Context, *workerdb.Tx, time.Time, []*smp.UpdatedLedger) error {
		return errors.New("there are no such messages")
	})
	h := newHandler(t, db, rules)

	batch := []smp.Message{flags(ours, 7), prepared(ours, "agent", 3), flags(ours, 8)}
	if err := h.Handle(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0]) != 1 || got[0][0] != 1 || len(got[1]) != 2 || got[1][0] != 7 || got[1][1] != 8 {
		t.Errorf("the rules have got %v", got)
	}
	mustNote(t, db, 3)

	err := h.Handle(t.Context(), append(batch, &smp.UpdatedLedger{}))
	if err == nil || !strings.Contains(err.Error(), "messages of type UpdatedLedger: there are no such messages") {
		t.Errorf("the error is %v", err)
	}
	mustNote(t, db, 3) // what the other rules did is undone
}

func create(tb testing.TB, db *workerdb.DB) {
	tb.Helper()
	if _, err := db.Pool().Exec(tb.Context(), "CREATE TABLE note (kind TEXT, number BIGINT)"); err != nil {
		tb.Fatal(err)
	}
}

// note writes down which messages a rule has got.
func note[M smp.Message](
	ctx context.Context, tx *workerdb.Tx, got *[][]int64, kind rune, batch []M, number func(M) int64,
) error {
	var numbers []int64
	for _, m := range batch {
		numbers = append(numbers, number(m))
		if _, err := tx.Exec(ctx, "INSERT INTO note VALUES ($1, $2)", string(kind), number(m)); err != nil {
			return err
		}
	}
	*got = append(*got, numbers)
	return nil
}

func mustNote(tb testing.TB, db *workerdb.DB, want int) {
	tb.Helper()
	if got := notes(tb, db); got != want {
		tb.Fatalf("there are %d notes, want %d", got, want)
	}
}

func notes(tb testing.TB, db *workerdb.DB) (n int) {
	tb.Helper()
	if err := db.Pool().QueryRow(tb.Context(), "SELECT count(*) FROM note").Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestTwoRulesForOneType(t *testing.T) {
	t.Parallel()
	rules := &inbox.Rules{}
	inbox.Add(rules, ignore[*smp.UpdatedFlags])
	defer func() {
		if recover() == nil {
			t.Error("a second rule was added")
		}
	}()
	inbox.Add(rules, ignore[*smp.UpdatedFlags])
}
