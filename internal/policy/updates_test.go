package policy_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/policy"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

var (
	now     = time.Date(2026, 3, 10, 6, 45, 0, 0, time.UTC)
	later   = now.Add(time.Hour)
	epoch   = time.Unix(0, 0).UTC()
	someDay = smp.DateOf(now)
)

// handle gives a batch to the rules, as the inbox does.
func handle(tb testing.TB, db *workerdb.DB, batch ...smp.Message) {
	tb.Helper()
	err := db.InTx(tb.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		if err := policy.HandleUpdatedLedgers(ctx, tx, now, only[*smp.UpdatedLedger](batch)); err != nil {
			return err
		}
		if err := policy.HandleUpdatedPolicies(ctx, tx, now, only[*smp.UpdatedPolicy](batch)); err != nil {
			return err
		}
		return policy.HandleUpdatedFlags(ctx, tx, now, only[*smp.UpdatedFlags](batch))
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func only[M smp.Message](batch []smp.Message) []M {
	var messages []M
	for _, m := range batch {
		if m, ok := m.(M); ok {
			messages = append(messages, m)
		}
	}
	return messages
}

func stored(tb testing.TB, db *workerdb.DB) []workerdb.TradingPolicy {
	tb.Helper()
	rows, err := db.Pool().Query(tb.Context(), "SELECT * FROM trading_policy ORDER BY creditor_id, debtor_id")
	if err != nil {
		tb.Fatal(err)
	}
	policies, err := pgx.CollectRows(rows, pgx.RowToStructByName[workerdb.TradingPolicy])
	if err != nil {
		tb.Fatal(err)
	}
	return policies
}

func mustStore(tb testing.TB, db *workerdb.DB, want ...workerdb.TradingPolicy) {
	tb.Helper()
	if got, want := describe(stored(tb, db)), describe(want); !slices.Equal(got, want) {
		tb.Fatalf("stored are\n%q\nwant\n%q", got, want)
	}
}

func describe(policies []workerdb.TradingPolicy) []string {
	var descriptions []string
	for i := range policies {
		p := &policies[i]
		descriptions = append(descriptions, fmt.Sprintf("%d/%d ledger %d %v %q %t %v %d %d, policy %d %v %s %d %d %s %s, flags %d %v %d",
			p.CreditorID, p.DebtorID,
			p.LatestLedgerUpdateID, p.LatestLedgerUpdateTs, p.AccountID, p.AccountIDIsObsolete,
			p.CreationDate.Format(time.DateOnly), p.Principal, p.LastTransferNumber,
			p.LatestPolicyUpdateID, p.LatestPolicyUpdateTs, text(p.PolicyName), p.MinPrincipal, p.MaxPrincipal,
			text(p.PegDebtorID), text(p.PegExchangeRate),
			p.LatestFlagsUpdateID, p.LatestFlagsUpdateTs, p.ConfigFlags))
	}
	return descriptions
}

func text[T any](p *T) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%v", *p)
}

// blank is the policy for an account of which nothing is known.
func blank(creditor swpt.CreditorID, debtor swpt.DebtorID) workerdb.TradingPolicy {
	return workerdb.TradingPolicy{
		CreditorID: creditor, DebtorID: debtor,
		LatestLedgerUpdateTs: epoch, LatestPolicyUpdateTs: epoch, LatestFlagsUpdateTs: epoch,
		CreationDate: epoch, MinPrincipal: math.MinInt64, MaxPrincipal: math.MaxInt64,
	}
}

func ledger(id int64, accountID string, ts time.Time) *smp.UpdatedLedger {
	return &smp.UpdatedLedger{
		CreditorID: 1, DebtorID: 2, UpdateID: id, AccountID: accountID, CreationDate: someDay,
		Principal: 1000 * id, LastTransferNumber: id, TS: ts,
	}
}

// Each stream of updates stores its own fields, and gives the others their defaults when it comes first.
func TestStreamsAreIndependent(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)

	handle(t, db, ledger(math.MaxInt64/1000, "acc", now))
	want := blank(1, 2)
	want.LatestLedgerUpdateID, want.LatestLedgerUpdateTs = math.MaxInt64/1000, now
	want.AccountID, want.CreationDate = "acc", someDay.Time()
	want.Principal, want.LastTransferNumber = math.MaxInt64/1000*1000, math.MaxInt64/1000
	mustStore(t, db, want)

	handle(t, db, &smp.UpdatedPolicy{
		CreditorID: 1, DebtorID: 2, UpdateID: 1, PolicyName: new("conservative"), MinPrincipal: -5, MaxPrincipal: 7,
		PegDebtorID: new(swpt.DebtorID(0)), PegExchangeRate: new(0.1), TS: later,
	})
	want.LatestPolicyUpdateID, want.LatestPolicyUpdateTs, want.PolicyName = 1, later, new("conservative")
	want.MinPrincipal, want.MaxPrincipal = -5, 7
	want.PegDebtorID, want.PegExchangeRate = new(swpt.DebtorID(0)), new(0.1)
	mustStore(t, db, want)

	handle(t, db, &smp.UpdatedFlags{CreditorID: 1, DebtorID: 2, UpdateID: 9, ConfigFlags: -1, TS: later})
	want.LatestFlagsUpdateID, want.LatestFlagsUpdateTs, want.ConfigFlags = 9, later, -1
	mustStore(t, db, want)

	handle(t, db, &smp.UpdatedPolicy{
		CreditorID: 1, DebtorID: 2, UpdateID: 2, MinPrincipal: math.MinInt64, MaxPrincipal: math.MaxInt64, TS: now,
	})
	want.LatestPolicyUpdateID, want.LatestPolicyUpdateTs, want.PolicyName = 2, now, nil
	want.MinPrincipal, want.MaxPrincipal = math.MinInt64, math.MaxInt64
	want.PegDebtorID, want.PegExchangeRate = nil, nil
	mustStore(t, db, want)
}

// The number of an update counts, not its instant. An update that is not newer changes nothing.
func TestUpdatesThatAreNotNewer(t *testing.T) {
	t.Parallel()
	for _, id := range []int64{1, 4, 5} {
		db := workerdbtest.New(t)
		handle(t, db,
			ledger(5, "five", now),
			&smp.UpdatedPolicy{CreditorID: 1, DebtorID: 2, UpdateID: 5, PolicyName: new(""), TS: now},
			&smp.UpdatedFlags{CreditorID: 1, DebtorID: 2, UpdateID: 5, ConfigFlags: 5, TS: now})
		before := stored(t, db)
		handle(t, db,
			ledger(id, "other", later),
			&smp.UpdatedPolicy{CreditorID: 1, DebtorID: 2, UpdateID: id, TS: later},
			&smp.UpdatedFlags{CreditorID: 1, DebtorID: 2, UpdateID: id, TS: later})
		mustStore(t, db, before...)
	}
}

// An account that has lost its ID keeps the last one, which is marked as obsolete.
func TestObsoleteAccountID(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batches  [][]smp.Message
		id       string
		obsolete bool
	}{
		"never had one":     {[][]smp.Message{{ledger(1, "", now)}}, "", false},
		"empty again":       {[][]smp.Message{{ledger(1, "", now)}, {ledger(2, "", now)}}, "", true},
		"got one":           {[][]smp.Message{{ledger(1, "", now)}, {ledger(2, "a", now)}}, "a", false},
		"lost it":           {[][]smp.Message{{ledger(1, "a", now)}, {ledger(2, "", now)}}, "a", true},
		"got another one":   {[][]smp.Message{{ledger(1, "a", now)}, {ledger(2, "", now)}, {ledger(3, "b", now)}}, "b", false},
		"all in one batch":  {[][]smp.Message{{ledger(2, "", now), ledger(1, "a", now)}}, "a", true},
		"too late to count": {[][]smp.Message{{ledger(2, "", now)}, {ledger(1, "a", now)}}, "", false},
		"another kind of update came first": {[][]smp.Message{
			{&smp.UpdatedFlags{CreditorID: 1, DebtorID: 2, UpdateID: 1, TS: now}}, {ledger(1, "", now)},
		}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := workerdbtest.New(t)
			for _, batch := range c.batches {
				handle(t, db, batch...)
			}
			if p := stored(t, db)[0]; p.AccountID != c.id || p.AccountIDIsObsolete != c.obsolete {
				t.Errorf("account ID %q, obsolete %t; want %q, %t", p.AccountID, p.AccountIDIsObsolete, c.id, c.obsolete)
			}
		})
	}
}

// However updates are divided into batches, repeated and mixed, the outcome is that of handling them one by one.
func TestBatches(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	var creditors atomic.Int64 // each round has a creditor of its own in the one database
	rapid.Check(t, func(rt *rapid.T) {
		creditor := swpt.CreditorID(creditors.Add(1))
		message := rapid.Custom(func(rt *rapid.T) smp.Message {
			debtor := swpt.DebtorID(rapid.Int64Range(1, 3).Draw(rt, "debtor"))
			id := rapid.Int64Range(1, 6).Draw(rt, "update")
			ts := now.Add(time.Duration(id) * time.Second)
			switch rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				account := rapid.SampledFrom([]string{"", fmt.Sprint("account ", id)}).Draw(rt, "account")
				return &smp.UpdatedLedger{CreditorID: creditor, DebtorID: debtor, UpdateID: id, AccountID: account, Principal: id, TS: ts}
			case 1:
				return &smp.UpdatedPolicy{CreditorID: creditor, DebtorID: debtor, UpdateID: id, MinPrincipal: id, TS: ts}
			default:
				return &smp.UpdatedFlags{CreditorID: creditor, DebtorID: debtor, UpdateID: id, ConfigFlags: int32(id), TS: ts}
			}
		})
		model := map[swpt.DebtorID]*workerdb.TradingPolicy{}
		for _, batch := range rapid.SliceOfN(rapid.SliceOfN(message, 0, 12), 1, 4).Draw(rt, "batches") {
			handle(t, db, slices.Clone(batch)...)
			slices.SortStableFunc(batch, func(a, b smp.Message) int { return place(a) - place(b) })
			for _, m := range batch {
				applyToModel(model, m)
			}
		}
		var want, got []workerdb.TradingPolicy
		for debtor := range swpt.DebtorID(4) {
			if p := model[debtor]; p != nil {
				want = append(want, *p)
			}
		}
		all := stored(t, db)
		for i := range all {
			if all[i].CreditorID == creditor {
				got = append(got, all[i])
			}
		}
		if got, want := describe(got), describe(want); !slices.Equal(got, want) {
			rt.Fatalf("stored are\n%q\nwant\n%q", got, want)
		}
	})
}

// place tells where a message comes in the order that the outcome is compared with.
func place(m smp.Message) int {
	switch m := m.(type) {
	case *smp.UpdatedLedger:
		return int(m.UpdateID)
	case *smp.UpdatedPolicy:
		return 100 + int(m.UpdateID)
	case *smp.UpdatedFlags:
		return 200 + int(m.UpdateID)
	}
	panic("what is this?")
}

// applyToModel does to a map what the rules do to the database, with a single message.
func applyToModel(model map[swpt.DebtorID]*workerdb.TradingPolicy, m smp.Message) {
	of := func(creditor swpt.CreditorID, debtor swpt.DebtorID) (p *workerdb.TradingPolicy, isNew bool) {
		if model[debtor] != nil {
			return model[debtor], false
		}
		p = new(blank(creditor, debtor))
		model[debtor] = p
		return p, true
	}
	switch m := m.(type) {
	case *smp.UpdatedLedger:
		p, isNew := of(m.CreditorID, m.DebtorID)
		if m.UpdateID <= p.LatestLedgerUpdateID {
			return
		}
		p.LatestLedgerUpdateID, p.LatestLedgerUpdateTs = m.UpdateID, m.TS
		p.CreationDate, p.Principal, p.LastTransferNumber = m.CreationDate.Time(), m.Principal, m.LastTransferNumber
		p.AccountIDIsObsolete = m.AccountID == "" && !isNew
		if m.AccountID != "" {
			p.AccountID = m.AccountID
		}
	case *smp.UpdatedPolicy:
		p, _ := of(m.CreditorID, m.DebtorID)
		if m.UpdateID <= p.LatestPolicyUpdateID {
			return
		}
		p.LatestPolicyUpdateID, p.LatestPolicyUpdateTs = m.UpdateID, m.TS
		p.MinPrincipal, p.MaxPrincipal = m.MinPrincipal, m.MaxPrincipal
	case *smp.UpdatedFlags:
		p, _ := of(m.CreditorID, m.DebtorID)
		if m.UpdateID <= p.LatestFlagsUpdateID {
			return
		}
		p.LatestFlagsUpdateID, p.LatestFlagsUpdateTs, p.ConfigFlags = m.UpdateID, m.TS, m.ConfigFlags
	}
}
