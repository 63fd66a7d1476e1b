package attempt

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

func inTx(tb testing.TB, db *workerdb.DB, do func(context.Context, *workerdb.Tx) error) {
	tb.Helper()
	if err := db.InTx(tb.Context(), "test", do); err != nil {
		tb.Fatal(err)
	}
}

// Whatever state an attempt changes to, from whatever state, the database has it afterwards; and others have not
// changed.
func TestStore(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	_, err := db.Pool().Exec(t.Context(), `
		INSERT INTO transfer_attempt
		SELECT $1, 7, $2, n, TRUE, 1e6, $3, $3, '', 0 FROM generate_series(0, 999) AS n`, collector, debtor, start)
	if err != nil {
		t.Fatal(err)
	}
	var keys []key
	var before, after []workerdb.TransferAttempt
	with := func(row workerdb.TransferAttempt) workerdb.TransferAttempt {
		row.CreditorID = swpt.CreditorID(len(keys))
		if row.CoordinatorRequestID != nil {
			row.CoordinatorRequestID = new(int64(len(keys)))
		}
		return row
	}
	for _, from := range everyState() {
		for _, to := range everyState() {
			before, after = append(before, with(from)), append(after, with(to))
			keys = append(keys, key{collector, turn, debtor, swpt.CreditorID(len(keys)), true})
		}
	}
	write := func(rows []workerdb.TransferAttempt, which func(i int) bool) {
		inTx(t, db, func(ctx context.Context, tx *workerdb.Tx) error {
			attempts, err := lockByKey(ctx, tx, keys)
			if err != nil {
				return err
			}
			for i, k := range keys {
				if which(i) {
					a := attempts.byKey(k)
					a.TransferAttempt, a.fate = rows[i], changed
				}
			}
			return attempts.store(ctx, tx)
		})
	}
	isEven := func(i int) bool { return i%2 == 0 }
	write(before, func(int) bool { return true })
	write(after, isEven)
	inTx(t, db, func(ctx context.Context, tx *workerdb.Tx) error {
		attempts, err := lockByKey(ctx, tx, keys)
		if err != nil {
			return err
		}
		for i, k := range keys {
			want := before[i]
			if isEven(i) {
				want = after[i]
			}
			if got := attempts.byKey(k).TransferAttempt; !reflect.DeepEqual(got, want) {
				t.Errorf("stored is\n%s\nwant\n%s", describe(got), describe(want))
			}
		}
		return nil
	})
}

// The changes of an interest rate that are read from the database tell the same as all of them.
func TestReadRates(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	var collectors swpt.CreditorID // each round has two of its own
	rapid.Check(t, func(rt *rapid.T) {
		collectors += 2
		days := rapid.IntRange(0, 40)
		all := map[swpt.CreditorID]*rates{}
		var attempts []*attempt
		for _, of := range []swpt.CreditorID{collectors, collectors + 1} {
			r := &rates{}
			ages := rapid.SliceOfNDistinct(days, 1, 8, rapid.ID).Draw(rt, "ages of changes, in days")
			slices.Sort(ages)
			for _, age := range ages {
				r.changes = append(r.changes, changeAt(age, rapid.Float64Range(-100, 20).Draw(rt, "rate")))
			}
			r.current = changeAt(days.Draw(rt, "age of the current rate"), rapid.Float64Range(-100, 20).Draw(rt, "current rate"))
			store(t, db, of, r)
			all[of] = r
			for range rapid.IntRange(0, 4).Draw(rt, "attempts") {
				a := &attempt{TransferAttempt: rapid.SampledFrom([]workerdb.TransferAttempt{
					newAttempt(), dueAttempt(), initiatedAttempt(), fatalAttempt(),
				}).Draw(rt, "attempt")}
				a.CollectorID = of
				a.CollectionStartedAt = now.AddDate(0, 0, -days.Draw(rt, "beginning"))
				attempts = append(attempts, a)
			}
		}
		inTx(t, db, func(ctx context.Context, tx *workerdb.Tx) error {
			known, err := readRates(ctx, tx, attempts)
			if err != nil {
				return err
			}
			for _, a := range attempts {
				if s := a.state(); s == initiated || s == fatal {
					continue
				}
				got := fmt.Sprint(known[account{a.CollectorID, debtor}].worst(a.CollectionStartedAt))
				if want := fmt.Sprint(all[a.CollectorID].worst(a.CollectionStartedAt)); got != want {
					rt.Errorf("since %v the worst rate is %s, want %s", a.CollectionStartedAt, got, want)
				}
			}
			return nil
		})
	})
}

func changeAt(daysAgo int, rate float64) interest.Change {
	return interest.Change{At: now.AddDate(0, 0, -daysAgo), Rate: rate}
}

// store makes rates known to the database.
func store(tb testing.TB, db *workerdb.DB, collector swpt.CreditorID, r *rates) {
	tb.Helper()
	_, err := db.Pool().Exec(tb.Context(), `
		INSERT INTO worker_account
		VALUES ($1, $2, '2020-01-02', $3, 1, 0, 0, $4, $3, 0, 'X', NULL, 0, $3, -50, 2592000, 500, $3)`,
		int64(collector), debtor, r.current.At, r.current.Rate)
	for _, change := range r.changes {
		if err == nil {
			_, err = db.Pool().Exec(tb.Context(), "INSERT INTO interest_rate_change VALUES ($1, $2, $3, $4)",
				int64(collector), debtor, change.At, change.Rate)
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}
