package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/sweep"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// splitKeys returns a realm, keys that it owns, and one that it does not own.
func splitKeys(t *testing.T, k kind) (realm shard.Realm, own []int, foreign int) {
	t.Helper()
	realm, err := shard.ParseRealm("0.#")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; len(own) < 7 || foreign == 0; i++ {
		if _, place := k.keyOf(i); realm.Match(place) {
			own = append(own, i)
		} else {
			foreign = i
		}
	}
	return realm, own, foreign
}

func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for table, k := range kinds {
		realm, own, foreign := splitKeys(t, k)
		v := sweep.Verification{DB: w.DB, Realm: realm, Portion: 3, Pause: time.Microsecond}
		for _, i := range own {
			w.add(table, i, "")
		}
		if err := v.Verify(t.Context()); err != nil {
			t.Errorf("%s: %v", table, err)
		}
		w.add(table, foreign, "")
		key, _ := k.keyOf(foreign)
		want := sweep.ForeignRowError{Table: k.relation, Column: k.key, Key: fmt.Sprint(key)}
		if got, ok := errors.AsType[*sweep.ForeignRowError](v.Verify(t.Context())); !ok || *got != want {
			t.Errorf("%s: %v, want %v", table, got, &want)
		}
		w.exec(fmt.Sprintf(`DELETE FROM %s WHERE %s = $1`, k.relation, k.key), key)
	}
}

// Messages to accounting authorities are sent only by the shard that they belong to; all others may be sent by anybody.
func TestVerifyMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	realm, own, foreign := splitKeys(t, kinds["account_locks"])
	v := sweep.Verification{DB: w.DB, Realm: realm, Portion: 2}
	for id, want := range map[int]string{
		own[0]: "", foreign: fmt.Sprintf("the row of outbox with the creditor_id %d belongs to another shard", foreign),
	} {
		for _, m := range []smp.Outgoing{
			&smp.ConfigureAccount{CreditorID: swpt.CreditorID(id), TS: now},
			&smp.PrepareTransfer{CreditorID: swpt.CreditorID(id), CoordinatorType: "agent", TS: now},
			&smp.FinalizeTransfer{CreditorID: swpt.CreditorID(id), CoordinatorType: "agent", TS: now},
			&smp.CandidateOffer{CreditorID: swpt.CreditorID(id), DebtorID: 1, Amount: 1, TS: now},
		} {
			err := w.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
				return outbox.Append(ctx, tx, m)
			})
			if err != nil {
				t.Fatal(err)
			}
			want := want
			if m.Type() == smp.TypeCandidateOffer {
				want = ""
			}
			got := ""
			if err := v.Verify(t.Context()); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s of %d: %q, want %q", m.Type(), id, got, want)
			}
			w.exec(`DELETE FROM outbox`)
		}
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := sweep.Verification{DB: w.DB, Portion: 2, Pause: time.Hour}
	w.add("debtor_info_documents", 1, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := v.Verify(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ends with %v", err)
	}
}
