package collector_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// accounts returns all that is stored of accounts.
func (w *world) accounts(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.worker.DB, "SELECT to_jsonb(worker_account)::TEXT FROM worker_account ORDER BY creditor_id, debtor_id")
}

// rates returns the interest rates in the histories of accounts, the latest first.
func (w *world) rates(tb testing.TB) []string {
	tb.Helper()
	return lines(tb, w.worker.DB, `SELECT format('%s/%s %s since %s days', creditor_id, debtor_id, interest_rate,
			extract(day FROM $1 - change_ts))
		FROM interest_rate_change ORDER BY creditor_id, debtor_id, change_ts DESC`, now)
}

func firsts(format string) string { return fmt.Sprintf(format, first) }

func TestAccountUpdatesAreStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.need(t, first)
	w.handle(t, update())
	const stored = `{"interest": -1.5, "debtor_id": 1001, "principal": 1000, "account_id": "7", "creditor_id": %d, ` +
		`"config_flags": 0, "commit_period": 2592000, "creation_date": "2026-02-28", "interest_rate": -5, ` +
		`"demurrage_rate": -50, "last_change_ts": "2026-03-10T05:45:00+00:00", "debtor_info_iri": "https://a/", ` +
		`"last_heartbeat_ts": "2026-03-10T06:44:00+00:00", "last_change_seqnum": 7, "last_transfer_number": 3, ` +
		`"transfer_note_max_bytes": 80, "last_transfer_committed_at": "2026-03-10T04:45:00+00:00", ` +
		`"last_interest_rate_change_ts": "2026-03-02T06:45:00+00:00"}`
	mustBe(t, "account", w.accounts(t), firsts(stored))
	mustBe(t, "history", w.rates(t), firsts("%d/1001 -5 since 8 days"))
	mustBe(t, "sent", w.sent(t), firsts("ActivateCollector %d 1001 7"), "DiscoverDebtor 1001 https://a/ true")

	w.handle(t, update(func(m *smp.AccountUpdate) {
		m.LastChangeSeqnum, m.LastChangeTS = -1, m.LastChangeTS.Add(time.Second)
		m.Principal, m.Interest, m.InterestRate, m.LastInterestRateChangeTS = -2, 0.25, -7, now.Add(-time.Second)
		m.ConfigFlags, m.AccountID, m.DebtorInfoIRI, m.LastTransferNumber = -8, "8", "", 9
		m.LastTransferCommittedAt, m.DemurrageRate, m.CommitPeriod, m.TransferNoteMaxBytes = now, -1, 5, 500
		m.TS = now.Add(time.Minute)
	}))
	const updated = `{"interest": 0.25, "debtor_id": 1001, "principal": -2, "account_id": "7", "creditor_id": %d, ` +
		`"config_flags": -8, "commit_period": 5, "creation_date": "2026-02-28", "interest_rate": -7, ` +
		`"demurrage_rate": -1, "last_change_ts": "2026-03-10T05:45:01+00:00", "debtor_info_iri": null, ` +
		`"last_heartbeat_ts": "2026-03-10T06:45:00+00:00", "last_change_seqnum": -1, "last_transfer_number": 9, ` +
		`"transfer_note_max_bytes": 500, "last_transfer_committed_at": "2026-03-10T06:45:00+00:00", ` +
		`"last_interest_rate_change_ts": "2026-03-10T06:44:59+00:00"}`
	mustBe(t, "account", w.accounts(t), firsts(updated))
	mustBe(t, "history", w.rates(t), firsts("%d/1001 -7 since 0 days"))
	mustBe(t, "sent", w.sent(t))
}

// Several updates of an account in a batch are applied one after the other.
func TestUpdatesInOneBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.need(t, first)
	at := func(seqnum int32, change func(*smp.AccountUpdate)) *smp.AccountUpdate {
		return update(change, func(m *smp.AccountUpdate) { m.LastChangeSeqnum = seqnum })
	}
	w.handle(t,
		at(1, func(m *smp.AccountUpdate) { m.AccountID, m.DebtorInfoIRI, m.InterestRate = "", "", 0 }),
		at(3, func(m *smp.AccountUpdate) { m.LastInterestRateChangeTS = now.Add(-3 * day) }),
		at(2, func(m *smp.AccountUpdate) { m.DebtorInfoIRI = "" }),
		at(3, func(m *smp.AccountUpdate) { m.LastInterestRateChangeTS = now.Add(-3 * day) }),
	)
	mustBe(t, "sent", w.sent(t), firsts("ActivateCollector %d 1001 7"), "DiscoverDebtor 1001 https://a/ false", "DiscoverDebtor 1001 https://a/ true")
	mustBe(t, "history", w.rates(t), firsts("%d/1001 -5 since 3 days"))
	if got := lines(t, w.worker.DB, "SELECT last_change_seqnum::TEXT FROM worker_account"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("the latest update is %q", got)
	}
}

// Of an account that is not needed, nothing is stored, and it is told to go until it says that it will. The owner's
// account, whose ID is beside those of collectors, is left alone.
func TestUnneededAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := func(m *smp.AccountUpdate) { m.CreditorID = 0x100ffffffff }
	discarded := func(m *smp.AccountUpdate) { m.ConfigFlags, m.NegligibleAmount = 1, float64(float32(1e30)) }
	w.handle(t, update(), update(owner), update(), update(discarded))
	const discard = "ConfigureAccount %d 1001 1 1000000000000000000000000000000"
	mustBe(t, "sent", w.sent(t), firsts(discard), firsts(discard))
	mustBe(t, "accounts", w.accounts(t))
	mustBe(t, "histories", w.rates(t))
	if got := w.metric(t, "trade_collector_account_configurations_total", "unneeded"); got != 2 {
		t.Errorf("the metric is %v", got)
	}
}

// What transfers depend on is not forgotten.
func TestRatesThatTransfersDependOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		startedDaysAgo int // when the turn of the only transfer started collecting; 0: there is none
		others         bool
		want           []string
	}{
		"no transfer":                 {0, false, []string{"0 since 1 days", "-1 since 225 days"}},
		"transfers of other accounts": {240, true, []string{"0 since 1 days", "-1 since 225 days"}},
		"recent transfer":             {224, false, []string{"0 since 1 days", "-1 since 225 days"}},
		"old transfer":                {230, false, []string{"0 since 1 days", "-1 since 225 days", "-2 since 235 days"}},
		"very old transfer":           {250, false, []string{"0 since 1 days", "-1 since 225 days", "-2 since 235 days", "-3 since 245 days"}},
	} {
		w.clear(t)
		w.need(t, first)
		for n, daysAgo := range []int{225, 235, 245} {
			exec(t, w.worker.DB, "INSERT INTO interest_rate_change VALUES ($1, $2, $3, $4)",
				first, debtor, now.Add(-time.Duration(daysAgo)*day), -1-n)
		}
		if c.startedDaysAgo > 0 {
			exec(t, w.worker.DB, `INSERT INTO worker_turn SELECT n, now(), '', 1, 2, 1000, 3, NULL,
				$1::TIMESTAMPTZ + n * INTERVAL '1 day', now() FROM generate_series(1, 100) AS n`,
				now.Add(-time.Duration(c.startedDaysAgo+7)*day))
			exec(t, w.worker.DB, `INSERT INTO transfer_attempt
				SELECT collector_id, 7, debtor_id, 5, true, 1, collection_started_at, now(), '', 0
				FROM worker_turn, (VALUES ($1::BIGINT, $2::BIGINT), ($3, $2), ($1, $2 + 1)) AS transfer (collector_id, debtor_id)
				WHERE turn_id = 7 AND ($4 <> (transfer.collector_id = $1 AND transfer.debtor_id = $2))`,
				first, debtor, second, c.others)
		}
		w.handle(t, update(func(m *smp.AccountUpdate) { m.InterestRate, m.LastInterestRateChangeTS = 0, now.Add(-day) }))
		var want []string
		for _, rate := range c.want {
			want = append(want, firsts("%d/1001 ")+rate)
		}
		mustBe(t, name+": history", w.rates(t), want...)
	}
}

// The first updates of an account arrive within milliseconds, in any order, and may be handled at the same time.
func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const accounts, versions, workers = 20, 3, 6
	for n := range accounts {
		w.need(t, first+swpt.CreditorID(n))
	}
	var group errgroup.Group
	for worker := range workers {
		group.Go(func() error {
			for i := range accounts * versions {
				n := (i*7 + worker*11) % (accounts * versions)
				m := update(func(m *smp.AccountUpdate) {
					m.CreditorID += swpt.CreditorID(n % accounts)
					m.LastChangeSeqnum = int32(n / accounts)
					m.InterestRate, m.LastInterestRateChangeTS = float64(-n/accounts), now.Add(time.Duration(n/accounts-9)*day)
				})
				if err := w.tryHandle(t.Context(), m); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for what, query := range map[string]string{
		"accounts":  "SELECT count(*)::TEXT FROM worker_account WHERE last_change_seqnum = 2",
		"histories": "SELECT count(*)::TEXT FROM interest_rate_change WHERE interest_rate = -2",
		"IDs":       "SELECT count(*)::TEXT FROM outbox WHERE type = 'ActivateCollector'",
	} {
		mustBe(t, what, lines(t, w.worker.DB, query), strconv.Itoa(accounts))
	}
}

func TestAccountPurges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := []swpt.CreditorID{first, first + 1, first + 2, first + 3}
	for _, id := range ids {
		w.need(t, id)
		w.handle(t, update(func(m *smp.AccountUpdate) { m.CreditorID = id }))
	}
	exec(t, w.worker.DB, "DELETE FROM needed_worker_account WHERE creditor_id = $1", ids[2])
	w.sent(t)
	purge := func(id swpt.CreditorID, later smp.Date) *smp.AccountPurge {
		return &smp.AccountPurge{CreditorID: id, DebtorID: debtor, CreationDate: update().CreationDate + later, TS: now}
	}
	w.handle(t,
		purge(ids[0], -1), purge(ids[0], -2), // an earlier account
		purge(ids[1], -1), purge(ids[1], 0), purge(ids[1], -1), // the present one, among others
		purge(ids[2], 1), // an unneeded one
		purge(5, 0),      // one that nobody knows
	)
	mustBe(t, "accounts", lines(t, w.worker.DB, "SELECT (creditor_id - $1)::TEXT FROM worker_account ORDER BY 1", first), "0", "3")
	mustBe(t, "needed", lines(t, w.worker.DB, `SELECT format('%s %s', creditor_id - $1, configured_at = $2)
		FROM needed_worker_account ORDER BY 1`, first, now), "0 f", "1 t", "3 f")
	mustBe(t, "histories", lines(t, w.worker.DB, "SELECT (creditor_id - $1)::TEXT FROM interest_rate_change ORDER BY 1", first),
		"0", "1", "2", "3")
	mustBe(t, "sent", w.sent(t), fmt.Sprintf("ConfigureAccount %d 1001 0 1000000000000000000000000000000", ids[1]))
	w.log.mustHave(t, "a needed account has been removed", fmt.Sprintf("creditor_id=%d", ids[1]))
	if got := w.metric(t, "trade_collector_account_configurations_total", "purged"); got != 1 {
		t.Errorf("the metric is %v", got)
	}

	// The new account, with a new ID, takes the place of the old one.
	w.handle(t, update(func(m *smp.AccountUpdate) { m.CreditorID, m.AccountID = ids[1], "8"; m.CreationDate++ }))
	mustBe(t, "sent", w.sent(t), fmt.Sprintf("ActivateCollector %d 1001 8", ids[1]), "DiscoverDebtor 1001 https://a/ true")
	w.handle(t, purge(ids[1], 0))
	mustBe(t, "sent after a late purge", w.sent(t))
}

func TestRejectedConfigs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handle(t, &smp.RejectedConfig{CreditorID: first, DebtorID: debtor, RejectionCode: "NO_CONNECTION_TO_DEBTOR", TS: now})
	w.log.mustHave(t, "level=WARN", firsts("creditor_id=%d"), "debtor_id=1001", "NO_CONNECTION_TO_DEBTOR")
	mustBe(t, "sent", w.sent(t))
}

func TestTasksAreLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	needed := &smp.NeededCollector{DebtorID: debtor, TS: now}
	activate := func(collector swpt.CreditorID, id string) *smp.ActivateCollector {
		return &smp.ActivateCollector{CreditorID: collector, DebtorID: debtor, AccountID: id, TS: now}
	}
	w.handle(t, needed, activate(1, "7"), activate(2, "7"), needed, activate(1, "8"), activate(1, "7"), activate(0, "7"))
	mustBe(t, "tasks", w.tasks(t), "0/1001  in 0", "1/1001 7 in 0", "1/1001 8 in 0", "2/1001 7 in 0")

	exec(t, w.worker.DB, "UPDATE collector_task SET next_attempt_at = $1", now.Add(time.Hour))
	later, earlier := *needed, *needed
	later.TS, earlier.TS = now.Add(time.Second), now.Add(-time.Second)
	w.handle(t, &later, &earlier)
	w.handle(t, &earlier, activate(2, "7"))
	mustBe(t, "tasks", w.tasks(t), "0/1001  in 0", "1/1001 7 in 3600", "1/1001 8 in 3600", "2/1001 7 in 0")
	mustBe(t, "needed", lines(t, w.worker.DB, "SELECT (ts = $1)::TEXT FROM collector_task WHERE collector_id = 0", later.TS), "true")
	if got := w.metric(t, "trade_collector_tasks", ""); got != 4 {
		t.Errorf("the metric is %v", got)
	}
}

// Nothing that a failed transaction has done remains.
func TestFailedTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.need(t, first)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.tryHandle(ctx, update()); err == nil {
		t.Error("no error")
	}
	mustBe(t, "accounts", w.accounts(t))
}
