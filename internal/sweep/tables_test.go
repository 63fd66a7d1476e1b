package sweep_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/shard"
)

// A variant of a row is to be deleted, or not.
type variant struct {
	change string
	gone   bool
}

// limit returns variants of an instant on both sides of a limit.
func limit(column string, age time.Duration, others string) []variant {
	return []variant{
		{column + " = " + at(0) + others, false},
		{column + " = " + at(age) + others, false},
		{column + " = " + at(age+time.Microsecond) + others, true},
		{column + " = " + at(2*age+day) + others, true},
	}
}

// useless makes a policy one that may go when it is old enough; the timestamps are those of the epoch.
const useless = "principal = 0"

var expiries = map[string][]variant{
	"debtor_info_documents": slices.Concat(
		limit("fetched_at", 45*day, ""),
		limit("fetched_at", 45*day, ", will_not_change_until = 'infinity'"),
	),
	"debtor_locator_claims": slices.Concat(
		limit("latest_discovery_fetch_at", 7*day, ""),
		limit("latest_locator_fetch_at", 45*day, ", debtor_info_locator = 'x'"),
		[]variant{{"latest_discovery_fetch_at = 'epoch', latest_locator_fetch_at = " + at(0) + ", debtor_info_locator = 'x'", false}},
	),
	"trading_policies": slices.Concat(
		limit("latest_ledger_update_ts", 217*day, ", "+useless),
		limit("latest_policy_update_ts", 217*day, ", "+useless),
		limit("latest_flags_update_ts", 217*day, ", "+useless),
		[]variant{
			{useless, true},
			{useless + ", latest_ledger_update_id = 1, latest_policy_update_id = 2, latest_flags_update_id = 3", true},
			{useless + ", account_id = 'x'", false},
			{useless + ", account_id = 'x', account_id_is_obsolete = TRUE", true},
			{useless + ", account_id_is_obsolete = TRUE", true},
			{useless + ", creation_date = '1970-01-02'", false},
			{"principal = 1", false},
			{useless + ", last_transfer_number = 1", false},
			{useless + ", policy_name = ''", false},
			{useless + ", min_principal = -9223372036854775807", false},
			{useless + ", max_principal = 9223372036854775806", false},
			{useless + ", peg_debtor_id = 0, peg_exchange_rate = 0", false},
			{useless + ", config_flags = 1", false},
		},
	),
	"worker_accounts":            limit("last_heartbeat_ts", 365*day, ""),
	"interest_rate_changes":      {{"", false}},
	"needed_worker_accounts":     {{"", false}},
	"recently_needed_collectors": limit("needed_at", 45*day, ""),
	"account_locks": slices.Concat(
		limit("initiated_at", 365*day, ""),
		limit("initiated_at", 365*day, ", transfer_id = 0"),
		limit("initiated_at", 365*day, ", transfer_id = 0, finalized_at = 'epoch'"),
		limit("released_at", 30*day,
			", transfer_id = 0, finalized_at = 'epoch', account_creation_date = 'epoch', account_last_transfer_number = 1"),
		[]variant{
			{"turn_id = 2", false},
			{"turn_id = 3", true},
			{"turn_id = 3, transfer_id = 0", true},
			{"turn_id = 3, transfer_id = 0, finalized_at = 'epoch'", false},
		},
	),
	"creditor_participations": {{"", false}, {"turn_id = 2", true}, {"turn_id = 4", false}, {"turn_id = 5", true}},
	"dispatching_statuses":    {{"", false}, {"inserted_at = 'epoch'", false}},
	"worker_collectings": slices.Concat(
		limit("purge_after", 0, ""),
		[]variant{{"purge_after = 'epoch', collected = TRUE", false}, {"purge_after = 'infinity'", false}},
	)[1:],
	"worker_sendings": limit("purge_after", 0, "")[1:],
	"worker_receivings": slices.Concat(
		limit("purge_after", 0, ""),
		[]variant{{"purge_after = 'epoch', received_amount = 1", false}},
	)[1:],
	"worker_dispatchings": limit("purge_after", 0, "")[1:],
	"transfer_attempts":   limit("collection_started_at", 210*day, ""),
}

// addTurns adds turns on both sides of the limits for their locks (2 and 3), and for participations in them (4 and 5).
func (w *world) addTurns() {
	w.addTurn(2, 180*day)
	w.addTurn(3, 180*day+time.Microsecond)
	w.addTurn(4, 30*day)
	w.addTurn(5, 30*day+time.Microsecond)
}

func TestExpiries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTurns()
	for table, variants := range expiries {
		var left []any
		gone := 0
		for i, v := range variants {
			w.add(table, i, v.change)
			if v.gone {
				gone++
			} else {
				key, _ := kinds[table].keyOf(i)
				left = append(left, key)
			}
		}
		for range 2 {
			w.sweepOnce(w.sweeper(table))
			w.mustHave(table, left...)
		}
		if gone == 0 { // these tables are not swept
			continue
		}
		if n := w.metric("trade_sweep_deleted_rows_total", map[string]string{"table": table, "reason": "expired"}); n != float64(gone) {
			t.Errorf("%s: %v rows are counted, not %d", table, n, gone)
		}
	}
}

// Realms of all kinds: the whole, a half of it, and a quarter.
func TestLeftOvers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for table, k := range kinds {
		for i := -20; i < 20; i++ {
			w.add(table, i, "")
		}
		for _, text := range []string{"#", "1.#", "1.0.#", "1.0.1.#"} {
			realm, err := shard.ParseRealm(text)
			if err != nil {
				t.Fatal(err)
			}
			s := w.sweeper(table)
			s.Realm = realm
			before := w.keys(table)
			w.sweepOnce(s)
			if !slices.Equal(w.keys(table), before) {
				t.Errorf("%s: left-overs are deleted without having been asked for", table)
			}
			var left []any
			for i := -20; i < 20; i++ {
				key, place := k.keyOf(i)
				if realm.Match(place) {
					left = append(left, key)
				}
			}
			s.DeleteParentRecords = true
			w.sweepOnce(s)
			w.mustHave(table, left...)
		}
	}
}

// What belongs to neither the shard nor its parent is evidence.
func TestForeignRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	realm, err := shard.ParseRealm("1.0.1.1.#")
	if err != nil {
		t.Fatal(err)
	}
	for table, k := range kinds {
		var left []any
		leftOvers := 0
		for i := range 60 {
			w.add(table, i, "")
			key, place := k.keyOf(i)
			if realm.Match(place) || !realm.MatchParent(place) {
				left = append(left, key)
			} else {
				leftOvers++
			}
		}
		if leftOvers == 0 {
			t.Errorf("%s: the test is wrong: there are no left-overs", table)
		}
		s := w.sweeper(table)
		s.Realm, s.DeleteParentRecords = realm, true
		w.sweepOnce(s)
		w.mustHave(table, left...)
		labels := map[string]string{"table": table, "reason": "parent_shard"}
		if n := w.metric("trade_sweep_deleted_rows_total", labels); n != float64(leftOvers) {
			t.Errorf("%s: %v rows are counted, not %d", table, n, leftOvers)
		}
	}
}

// Commands, settings, and tests know the same tables, and there are no others, except for those that somebody else looks
// after.
func TestTables(t *testing.T) {
	t.Parallel()
	names := config.Sweeps{}.Tables()
	slices.Sort(names)
	if known := slices.Sorted(maps.Keys(kinds)); !slices.Equal(known, names) {
		t.Errorf("the tables are %q, not %q", known, names)
	}
	if known := slices.Sorted(maps.Keys(expiries)); !slices.Equal(known, names) {
		t.Errorf("the tables are %q, not %q", known, names)
	}
	w := newWorld(t)
	swept := map[string]bool{
		"outbox": true, "debtor_info_fetch": true, "early_receipt": true, "collector_task": true, // each has a loop of its own
		"worker_turn": true, "active_collector": true, "worker_identity": true, "trade_worker_schema": true, // do not grow
	}
	for _, k := range kinds {
		swept[k.relation] = true
	}
	rows, err := w.Pool().Query(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, relation := range there {
		if !swept[relation] {
			t.Errorf("nobody deletes from the table %s", relation)
		}
	}
	if err := w.sweeper("outboxes").RunOnce(t.Context()); err == nil {
		t.Error("a table that is not there is swept")
	}
	if err := w.sweeper("outboxes").Run(t.Context()); err == nil || errors.Is(err, t.Context().Err()) {
		t.Error("a table that is not there is swept")
	}
}
