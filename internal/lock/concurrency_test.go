package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

// Several consumers handle the same messages at the same time, in different batches and orders. Whoever loses a race
// tries again; there are no deadlocks, and everything happens once.
func TestConcurrentBatches(t *testing.T) {
	t.Parallel()
	const (
		consumers = 4
		accounts  = 60
		batchSize = 20
	)
	registry := prometheus.NewRegistry()
	db, err := workerdb.Open(workerdbtest.New(t).URL(), postgres.Options{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := newWorldOn(t, db)
	w.insertTurn(turn, 2, 5, &deadline)
	w.insertCollector(debtor, collector)

	everybody := func(message func(swpt.CreditorID) any) {
		t.Helper()
		var group errgroup.Group
		for consumer := range uint64(consumers) {
			group.Go(func() error {
				order := rand.New(rand.NewPCG(1, consumer)).Perm(accounts)
				for len(order) > 0 {
					var batch []any
					for _, i := range order[:batchSize] {
						batch = append(batch, message(swpt.CreditorID(i+1)))
					}
					order = order[batchSize:]
					err := db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
						_, err := handleAll(ctx, tx, w.rules, now, batch)
						return err
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	mustSend := func(want int, what string) {
		t.Helper()
		if got := w.send(); len(got) != want {
			t.Fatalf("%d messages are sent, want %d to %s: %v", len(got), want, what, got)
		}
	}

	everybody(func(id swpt.CreditorID) any {
		o := offer(-5000)
		o.CreditorID = id
		return o
	})
	mustSend(accounts, "prepare")
	requests := map[swpt.CreditorID]int64{}
	for _, l := range w.locks() {
		requests[l.CreditorID] = l.CoordinatorRequestID
	}
	everybody(func(id swpt.CreditorID) any {
		m := preparedTransfer(requests[id])
		m.CreditorID, m.CoordinatorID = id, int64(id)
		return m
	})
	mustSend(0, "do anything")
	for id := range requests {
		if id%3 > 0 {
			w.insertParticipation(id, -3000, collector)
		}
	}
	everybody(func(id swpt.CreditorID) any {
		return &smp.ReviseAccountLock{CreditorID: id, DebtorID: debtor, TurnID: turn, TS: now}
	})
	mustSend(accounts, "commit or dismiss")
	everybody(func(id swpt.CreditorID) any {
		p := payment(-3000)
		p.Transfer.CreditorID = id
		return paid([]lock.Payment{p})
	})
	mustSend(0, "do anything")
	locks := w.locks()
	if len(locks) != accounts*2/3 {
		t.Errorf("%d locks are left", len(locks))
	}
	for i := range locks {
		if locks[i].ReleasedAt == nil {
			t.Errorf("there is a lock %+v", plain(locks[i]))
		}
	}
	if n := repetitions(t, registry)["deadlock"]; n > 0 {
		t.Errorf("there were %v deadlocks", n)
	}
}

// repetitions returns how often transactions have been repeated, by cause.
func repetitions(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	causes := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "cause" {
					causes[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	t.Logf("repetitions: %v", causes)
	return causes
}

// Rows are locked in the order of their keys, whatever the order of the messages. Here, somebody has the row in the
// middle: the rule that waits for it has got the first one already, and not yet the last one.
func TestOrderOfRowLocks(t *testing.T) {
	t.Parallel()
	const first, middle, last = 1, 5, 9
	ids := []swpt.CreditorID{last, middle, first}
	var (
		offered  []*smp.CandidateOffer
		secured  []*smp.PreparedTransfer
		revised  []*smp.ReviseAccountLock
		payments paid
	)
	for _, id := range ids {
		o, s, r, p := offer(5000), preparedTransfer(-int64(id)), revision(), payment(-5000)
		o.CreditorID, s.CreditorID, r.CreditorID, p.Transfer.CreditorID = id, id, id, id
		s.CoordinatorID = int64(id)
		offered, secured = append(offered, o), append(secured, s)
		revised, payments = append(revised, r), append(payments, p)
	}
	const (
		insert     = "INSERT INTO account_lock VALUES ($1, 8001, 70000, 2, '2026-03-10', -$1::BIGINT, -5000)"
		hold       = "SELECT FROM "
		ofCreditor = " WHERE creditor_id = $1 FOR UPDATE"
	)
	for name, c := range map[string]struct {
		batch any
		table string // in which there are rows
		touch string // a row
	}{
		"locks of accounts":   {payments, "account_lock", hold + "account_lock" + ofCreditor},
		"locks of requests":   {secured, "account_lock", hold + "account_lock" + ofCreditor},
		"participations":      {revised, "creditor_participation", hold + "creditor_participation" + ofCreditor},
		"locks that are made": {offered, "", insert},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, id := range ids {
				switch c.table {
				case "account_lock":
					w.exec(insert, id)
				case "creditor_participation":
					w.insertParticipation(id, -5000, collector)
				}
			}
			var group errgroup.Group
			w.inTx(func(ctx context.Context, tx *workerdb.Tx) error {
				if _, err := tx.Exec(ctx, c.touch, middle); err != nil {
					return err
				}
				group.Go(func() error {
					return w.db.InTx(ctx, "test", func(ctx context.Context, tx *workerdb.Tx) error {
						_, err := apply(ctx, tx, w.rules, now, c.batch)
						return err
					})
				})
				w.waitForWaiting(1)
				w.mustBeTaken(c.touch, first, true)
				w.mustBeTaken(c.touch, last, false)
				return nil
			})
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A lock that somebody has inserted since a transaction began is not waited for, whoever holds it: it comes last, and who
// holds it may be waiting for the first one, which has been inserted before.
func TestInsertingDoesNotWait(t *testing.T) {
	t.Parallel()
	const first, last = 1, 9
	w := newWorld(t)
	tries := 0
	err := w.db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		if tries++; tries == 1 {
			if _, err := tx.Exec(ctx, "SELECT FROM account_lock"); err != nil {
				return err
			}
			other, err := w.db.Pool().Begin(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = other.Rollback(ctx) }()
			w.exec("INSERT INTO account_lock VALUES ($1, 8001, 70000, 2, '2026-03-10', -$1::BIGINT, -5000)", last)
			if _, err := other.Exec(ctx, "SELECT FROM account_lock FOR UPDATE"); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '10s'"); err != nil {
			return err
		}
		var offers []*smp.CandidateOffer
		for _, id := range []swpt.CreditorID{last, first} {
			o := offer(5000)
			o.CreditorID = id
			offers = append(offers, o)
		}
		_, err := apply(ctx, tx, w.rules, now, offers)
		return err
	})
	if locks := w.locks(); err != nil || tries != 2 || len(locks) != 2 {
		t.Errorf("after %d tries, there are %d locks; %v", tries, len(locks), err)
	}
}

// waitForWaiting waits until so many transactions wait for others.
func (w *world) waitForWaiting(want int) {
	w.Helper()
	testenv.Eventually(w, 10*time.Second, func() error {
		var n int
		err := w.db.Pool().QueryRow(w.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		if err == nil && n != want {
			err = fmt.Errorf("%d transactions wait, want %d", n, want)
		}
		return err
	})
}

// mustBeTaken checks whether somebody keeps others from a row.
func (w *world) mustBeTaken(touch string, id int, want bool) {
	w.Helper()
	undo := errors.New("undo")
	err := w.db.InReadCommittedTx(w.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '50ms'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, touch, id); err != nil {
			return err
		}
		return undo
	})
	if taken := !errors.Is(err, undo); taken != want {
		w.Errorf("row %d is taken: %t (%v)", id, taken, err)
	}
}
