package sweep

import (
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Ages are the settings that say when rows expire.
type Ages struct {
	config.DebtorInfo
	config.CommitPeriod
	config.Slacks
	config.Silence
	config.AccountLocks
}

// participationSlack is how long after the collection deadline of its turn a participation is kept whose message has
// never come (W-24).
const participationSlack = 30 * 24 * time.Hour

// limits are the values that the conditions of tables refer to.
func (a *Ages) limits(now time.Time) pgx.NamedArgs {
	useless := a.CommitPeriod.Max + a.Dispatching + a.ExtremeMessageDelay
	attempts := a.CommitPeriod.Max + max(a.Sending, a.Dispatching)
	return pgx.NamedArgs{
		"now":                   now,
		"claims_before":         now.Add(-a.ClaimExpiry),
		"discoveries_before":    now.Add(-a.DocumentExpiry),
		"updates_before":        now.Add(-useless),
		"heartbeats_before":     now.Add(-a.MaxHeartbeatDelay),
		"locks_before":          now.Add(-a.MaxAge),
		"releases_before":       now.Add(-a.ReleasedMaxAge),
		"dismissals_before":     now.Add(-a.Dispatching),
		"participations_before": now.Add(-participationSlack),
		"attempts_before":       now.Add(-attempts),
		"lowest":                int64(math.MinInt64),
		"highest":               int64(math.MaxInt64),
	}
}

// A table is swept. Its names are those of commands and settings, as in scan_worker_accounts, and of the database.
type table struct {
	name     string
	relation string
	// shardKey is the column that decides which shard a row belongs to. It is a part of the primary key, so it never
	// changes. All of them are numbers, except for one text.
	shardKey  string
	isTextual bool
	expired   string // a condition; empty: only what is left over from the parent shard is deleted
	topic     string // of notifications that somebody waits for, for whom a deletion is news
}

var tables = []table{
	{
		name: "debtor_info_documents", relation: "debtor_info_document", shardKey: "debtor_info_locator", isTextual: true,
		expired: `fetched_at < @claims_before`,
	},
	{
		name: "debtor_locator_claims", relation: "debtor_locator_claim", shardKey: "debtor_id",
		expired: `latest_locator_fetch_at < @claims_before
			OR latest_locator_fetch_at IS NULL AND latest_discovery_fetch_at < @discoveries_before`,
	},
	{
		name: "trading_policies", relation: "trading_policy", shardKey: "creditor_id",
		// Of such a policy, only the numbers of updates matter, until none with a lower number can be on the way; and an
		// obsolete account ID, until nobody can owe tokens to that account.
		expired: `(account_id = '' OR account_id_is_obsolete) AND creation_date = '1970-01-01' AND principal = 0
			AND last_transfer_number = 0 AND policy_name IS NULL AND min_principal = @lowest AND max_principal = @highest
			AND peg_debtor_id IS NULL AND config_flags = 0
			AND greatest(latest_ledger_update_ts, latest_policy_update_ts, latest_flags_update_ts) < @updates_before`,
	},
	{
		name: "worker_accounts", relation: "worker_account", shardKey: "creditor_id",
		expired: `last_heartbeat_ts < @heartbeats_before`,
	},
	{name: "interest_rate_changes", relation: "interest_rate_change", shardKey: "creditor_id"},
	{name: "needed_worker_accounts", relation: "needed_worker_account", shardKey: "creditor_id"},
	{
		name: "recently_needed_collectors", relation: "recently_needed_collector", shardKey: "debtor_id",
		expired: `needed_at < @claims_before`,
	},
	{
		name: accountLocks, relation: "account_lock", shardKey: "creditor_id",
		// Those that are not settled are dismissed.
		expired: `finalized_at IS NOT NULL AND initiated_at < @locks_before OR released_at < @releases_before`,
	},
	{
		name: "creditor_participations", relation: "creditor_participation", shardKey: "creditor_id",
		expired: `turn_id IN (SELECT turn_id FROM worker_turn WHERE collection_deadline < @participations_before)`,
	},
	{name: "dispatching_statuses", relation: "dispatching_status", shardKey: "collector_id"},
	{
		name: "worker_collectings", relation: "worker_collecting", shardKey: "collector_id",
		// What has been collected stays until it is sent on, or dispatched.
		expired: `purge_after < @now AND NOT collected`, topic: workerdb.TopicSettlement,
	},
	{
		name: "worker_sendings", relation: "worker_sending", shardKey: "from_collector_id",
		expired: `purge_after < @now`, topic: workerdb.TopicSettlement,
	},
	{
		name: "worker_receivings", relation: "worker_receiving", shardKey: "to_collector_id",
		// What has been received stays until it is dispatched.
		expired: `purge_after < @now AND received_amount = 0`, topic: workerdb.TopicSettlement,
	},
	{
		name: "worker_dispatchings", relation: "worker_dispatching", shardKey: "collector_id",
		expired: `purge_after < @now`, topic: workerdb.TopicSettlement,
	},
	{
		name: "transfer_attempts", relation: "transfer_attempt", shardKey: "collector_id",
		expired: `collection_started_at < @attempts_before`,
	},
}

// accountLocks is the name of the table whose rows are not just deleted.
const accountLocks = "account_locks"

func lookUp(name string) (*table, error) {
	for i := range tables {
		if tables[i].name == name {
			return &tables[i], nil
		}
	}
	return nil, fmt.Errorf("no table that is swept is called %q", name)
}

// inStretch tells whether a row is in the pages to be looked at.
const inStretch = `ctid >= @first AND ctid < @after`

// deletion returns the statement that deletes from a stretch of pages what is not needed any more, and counts what has
// expired, and what has been left over from the parent shard.
func (t *table) deletion() string {
	condition := t.expired
	if condition == "" {
		condition = "FALSE"
	}
	return fmt.Sprintf(`
		WITH dead AS (
			DELETE FROM %[1]s
			WHERE ctid = ANY (ARRAY(
				SELECT ctid FROM %[1]s
				WHERE %[2]s AND (%[3]s OR @delete_leftovers AND %[4]s)
				FOR UPDATE SKIP LOCKED
			))
			RETURNING (%[3]s) IS TRUE AS expired
		)
		SELECT count(*) FILTER (WHERE expired), count(*) FILTER (WHERE NOT expired) FROM dead`,
		t.relation, inStretch, condition, t.leftOver())
}

// leftOver returns the condition for rows of the other half of the parent shard.
func (t *table) leftOver() string {
	octets := "int8send(" + t.shardKey + ")"
	if t.isTextual {
		octets = "convert_to(" + t.shardKey + ", 'UTF8')"
	}
	key := fmt.Sprintf("('x' || left(md5(%s), 8))::BIT(32)::BIGINT", octets) // as in the package shard
	return fmt.Sprintf(`%[1]s & @mask <> @prefix AND %[1]s & @parent_mask = @parent_prefix`, key)
}

// realms are the values that the condition for left-overs refers to.
func realms(realm shard.Realm) pgx.NamedArgs {
	parent := realm.Parent()
	return pgx.NamedArgs{
		"mask": int64(realm.Mask()), "prefix": int64(realm.Prefix()),
		"parent_mask": int64(parent.Mask()), "parent_prefix": int64(parent.Prefix()),
	}
}
