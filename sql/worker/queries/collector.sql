-- name: RecordCollectorTasks :exec
-- Sets tasks that are due from an instant on. Those that are there already become due again, too.
INSERT INTO collector_task AS stored (debtor_id, collector_id, account_id, ts, next_attempt_at)
SELECT debtor_id, collector_id, account_id, ts, @due_at::TIMESTAMPTZ
FROM (
    SELECT
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@account_ids::TEXT[]) AS account_id,
        unnest(@timestamps::TIMESTAMPTZ[]) AS ts
) AS tasks
ORDER BY debtor_id, collector_id, account_id
ON CONFLICT (debtor_id, collector_id, account_id) DO UPDATE SET
    ts = greatest(stored.ts, excluded.ts),
    next_attempt_at = excluded.next_attempt_at;

-- name: TakeCollectorTasks :many
-- Takes on tasks that are due, and passes over those locked by others. Unless they are finished, they will be due again.
UPDATE collector_task AS task
SET next_attempt_at = @due_again_at
FROM (
    SELECT debtor_id, collector_id, account_id
    FROM collector_task
    WHERE next_attempt_at <= @due_at::TIMESTAMPTZ
    ORDER BY next_attempt_at
    LIMIT @at_most::BIGINT
    FOR UPDATE SKIP LOCKED
) AS due
WHERE
    task.debtor_id = due.debtor_id
    AND task.collector_id = due.collector_id
    AND task.account_id = due.account_id
RETURNING task.*;

-- name: FinishCollectorTasks :exec
-- Deletes tasks, except those that have been set again since they were taken on.
DELETE FROM collector_task AS task
USING (
    SELECT
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@account_ids::TEXT[]) AS account_id,
        unnest(@next_attempts_at::TIMESTAMPTZ[]) AS next_attempt_at
) AS done
WHERE
    task.debtor_id = done.debtor_id
    AND task.collector_id = done.collector_id
    AND task.account_id = done.account_id
    AND task.next_attempt_at = done.next_attempt_at;

-- name: CollectorTaskBacklog :one
-- Counts tasks, and finds the oldest message that has led to one of them.
SELECT count(*) AS tasks, coalesce(min(ts), @otherwise)::TIMESTAMPTZ AS oldest_at
FROM collector_task;

-- name: RecentlyNeededCollectors :many
SELECT debtor_id
FROM recently_needed_collector
WHERE debtor_id = ANY(@debtor_ids::BIGINT[]) AND needed_at >= @since;

-- name: RememberNeededCollectors :exec
INSERT INTO recently_needed_collector AS stored (debtor_id, needed_at)
SELECT debtor_id, needed_at
FROM (SELECT unnest(@debtor_ids::BIGINT[]) AS debtor_id, unnest(@timestamps::TIMESTAMPTZ[]) AS needed_at) AS needed
ORDER BY debtor_id
ON CONFLICT (debtor_id) DO UPDATE SET needed_at = greatest(stored.needed_at, excluded.needed_at);

-- name: KeepNeededAccounts :many
-- Returns those of the accounts that this worker needs, and keeps these rows from being deleted.
SELECT needed.creditor_id, needed.debtor_id
FROM
    needed_worker_account AS needed,
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS named
WHERE needed.creditor_id = named.creditor_id AND needed.debtor_id = named.debtor_id
ORDER BY needed.creditor_id, needed.debtor_id
FOR KEY SHARE OF needed;

-- name: LockNeededAccounts :many
-- Returns, and locks, those of the accounts that this worker needs.
SELECT needed.creditor_id, needed.debtor_id, needed.configured_at
FROM
    needed_worker_account AS needed,
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS named
WHERE needed.creditor_id = named.creditor_id AND needed.debtor_id = named.debtor_id
ORDER BY needed.creditor_id, needed.debtor_id
FOR NO KEY UPDATE OF needed;

-- name: StoreNeededAccounts :exec
-- Notes that this worker needs accounts, and has asked for them now.
INSERT INTO needed_worker_account (creditor_id, debtor_id, configured_at)
SELECT creditor_id, debtor_id, @configured_at::TIMESTAMPTZ
FROM (
    SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id
) AS needed
ORDER BY creditor_id, debtor_id
ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET configured_at = excluded.configured_at;

-- name: WorkerAccountIDs :many
-- Returns which of the accounts are known, with their account IDs.
SELECT account.creditor_id, account.debtor_id, account.account_id
FROM
    worker_account AS account,
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS named
WHERE account.creditor_id = named.creditor_id AND account.debtor_id = named.debtor_id;

-- name: LockWorkerAccounts :many
-- Returns, and locks, those of the accounts that are known.
SELECT account.*
FROM
    worker_account AS account,
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS named
WHERE account.creditor_id = named.creditor_id AND account.debtor_id = named.debtor_id
ORDER BY account.creditor_id, account.debtor_id
FOR UPDATE OF account;

-- name: StoreWorkerAccounts :exec
INSERT INTO worker_account (
    creditor_id, debtor_id, creation_date, last_change_ts, last_change_seqnum, principal, interest, interest_rate,
    last_interest_rate_change_ts, config_flags, account_id, debtor_info_iri, last_transfer_number,
    last_transfer_committed_at, demurrage_rate, commit_period, transfer_note_max_bytes, last_heartbeat_ts
)
SELECT
    creditor_id, debtor_id, creation_date, last_change_ts, last_change_seqnum, principal, interest, interest_rate,
    last_interest_rate_change_ts, config_flags, account_id, nullif(debtor_info_iri, ''), last_transfer_number,
    last_transfer_committed_at, demurrage_rate, commit_period, transfer_note_max_bytes, last_heartbeat_ts
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creation_dates::DATE[]) AS creation_date,
        unnest(@last_changes_at::TIMESTAMPTZ[]) AS last_change_ts,
        unnest(@last_change_seqnums::INTEGER[]) AS last_change_seqnum,
        unnest(@principals::BIGINT[]) AS principal,
        unnest(@interests::FLOAT8[]) AS interest,
        unnest(@interest_rates::FLOAT8[]) AS interest_rate,
        unnest(@last_interest_rate_changes_at::TIMESTAMPTZ[]) AS last_interest_rate_change_ts,
        unnest(@config_flags::INTEGER[]) AS config_flags,
        unnest(@account_ids::TEXT[]) AS account_id,
        unnest(@debtor_info_iris::TEXT[]) AS debtor_info_iri,
        unnest(@last_transfer_numbers::BIGINT[]) AS last_transfer_number,
        unnest(@last_transfers_committed_at::TIMESTAMPTZ[]) AS last_transfer_committed_at,
        unnest(@demurrage_rates::FLOAT8[]) AS demurrage_rate,
        unnest(@commit_periods::INTEGER[]) AS commit_period,
        unnest(@transfer_notes_max_bytes::INTEGER[]) AS transfer_note_max_bytes,
        unnest(@last_heartbeats_at::TIMESTAMPTZ[]) AS last_heartbeat_ts
) AS accounts
ORDER BY creditor_id, debtor_id
ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET
    creation_date = excluded.creation_date,
    last_change_ts = excluded.last_change_ts,
    last_change_seqnum = excluded.last_change_seqnum,
    principal = excluded.principal,
    interest = excluded.interest,
    interest_rate = excluded.interest_rate,
    last_interest_rate_change_ts = excluded.last_interest_rate_change_ts,
    config_flags = excluded.config_flags,
    account_id = excluded.account_id,
    debtor_info_iri = excluded.debtor_info_iri,
    last_transfer_number = excluded.last_transfer_number,
    last_transfer_committed_at = excluded.last_transfer_committed_at,
    demurrage_rate = excluded.demurrage_rate,
    commit_period = excluded.commit_period,
    transfer_note_max_bytes = excluded.transfer_note_max_bytes,
    last_heartbeat_ts = excluded.last_heartbeat_ts;

-- name: DeleteWorkerAccounts :exec
DELETE FROM worker_account AS account
USING (
    SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id
) AS named
WHERE account.creditor_id = named.creditor_id AND account.debtor_id = named.debtor_id;

-- name: AccountsWithNewRates :many
-- Returns those of the accounts in whose histories a change at the named instant is missing, some of them several times.
SELECT named.creditor_id::BIGINT AS creditor_id, named.debtor_id::BIGINT AS debtor_id
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@changes_at::TIMESTAMPTZ[]) AS change_ts
) AS named
LEFT JOIN LATERAL (
    SELECT TRUE AS is_known
    FROM interest_rate_change AS change
    WHERE
        change.creditor_id = named.creditor_id
        AND change.debtor_id = named.debtor_id
        AND change.change_ts = named.change_ts
) AS known ON TRUE
WHERE known.is_known IS NULL;

-- name: InterestRateChanges :many
-- Returns the interest rates that have been in force on the accounts, for each of them the latest first.
SELECT change.*
FROM
    interest_rate_change AS change,
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS named
WHERE change.creditor_id = named.creditor_id AND change.debtor_id = named.debtor_id
ORDER BY change.creditor_id, change.debtor_id, change.change_ts DESC;

-- name: AddInterestRateChanges :exec
INSERT INTO interest_rate_change (creditor_id, debtor_id, change_ts, interest_rate)
SELECT *
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@changes_at::TIMESTAMPTZ[]) AS change_ts,
        unnest(@interest_rates::FLOAT8[]) AS interest_rate
) AS changes
ORDER BY creditor_id, debtor_id, change_ts;

-- name: DeleteInterestRateChanges :exec
DELETE FROM interest_rate_change AS change
USING (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@changes_at::TIMESTAMPTZ[]) AS change_ts
) AS named
WHERE
    change.creditor_id = named.creditor_id
    AND change.debtor_id = named.debtor_id
    AND change.change_ts = named.change_ts;

-- name: OldestTransferAttempts :many
-- Returns, for those of the accounts from which there are still transfers to be made, since when demurrage is subtracted
-- in the oldest of them. There can be a hundred thousand transfers in a turn; one of each is looked at.
SELECT named.creditor_id::BIGINT AS creditor_id, named.debtor_id::BIGINT AS debtor_id,
    min(attempt.collection_started_at)::TIMESTAMPTZ AS oldest_at
FROM
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS named,
    worker_turn AS turn,
    LATERAL (
        SELECT collection_started_at
        FROM transfer_attempt
        WHERE
            collector_id = named.creditor_id
            AND turn_id = turn.turn_id
            AND debtor_id = named.debtor_id
        LIMIT 1
    ) AS attempt
GROUP BY named.creditor_id, named.debtor_id;
