-- Arrays have one place for each attempt, or account. None of these may come twice.

-- name: LockAttempts :many
-- Locks, and returns, attempts, in the order of their keys. Each comes with the number that the next PrepareTransfer
-- for it has to have.
SELECT
    sqlc.embed(attempt),
    nextval('coordinator_request_id_seq')::BIGINT AS next_request_id
FROM
    (
        SELECT
            unnest(@collector_ids::BIGINT[]) AS collector_id,
            unnest(@turn_ids::INTEGER[]) AS turn_id,
            unnest(@debtor_ids::BIGINT[]) AS debtor_id,
            unnest(@creditor_ids::BIGINT[]) AS creditor_id,
            unnest(@are_dispatching::BOOLEAN[]) AS is_dispatching
    ) AS wanted
    JOIN transfer_attempt AS attempt USING (collector_id, turn_id, debtor_id, creditor_id, is_dispatching)
ORDER BY
    attempt.collector_id, attempt.turn_id, attempt.debtor_id, attempt.creditor_id, attempt.is_dispatching
FOR UPDATE OF attempt;

-- name: LockAttemptsByRequest :many
-- Locks, and returns, the attempts whose latest PrepareTransfer had one of the numbers, in the order of their keys.
SELECT *
FROM transfer_attempt
WHERE coordinator_request_id = ANY(@coordinator_request_ids::BIGINT[])
ORDER BY collector_id, turn_id, debtor_id, creditor_id, is_dispatching
FOR UPDATE;

-- name: LockUnansweredAttempts :many
-- Locks, and returns, some of the attempts under way that were made before an instant, which depends on the counter,
-- and have got no answer. Those locked by others are passed over.
SELECT attempt.*
FROM
    (
        SELECT
            unnest(@backoff_counters::SMALLINT[]) AS backoff_counter,
            unnest(@made_before::TIMESTAMPTZ[]) AS made_before
    ) AS patience,
    -- The inner limit keeps the planner from reading the whole table.
    LATERAL (
        SELECT *
        FROM transfer_attempt AS under_way
        WHERE
            under_way.backoff_counter = patience.backoff_counter
            AND under_way.attempted_at < patience.made_before
            AND under_way.attempted_at IS NOT NULL
            AND under_way.failure_code IS NULL
            AND under_way.transfer_id IS NULL
        ORDER BY under_way.attempted_at
        LIMIT @at_most::BIGINT
        FOR UPDATE SKIP LOCKED
    ) AS attempt
LIMIT @at_most::BIGINT;

-- name: StoreAttempts :exec
-- Writes everything that can change while an attempt exists.
UPDATE transfer_attempt AS attempt
SET
    recipient = stored.recipient,
    recipient_version = stored.recipient_version,
    rescheduled_for = CASE WHEN stored.is_rescheduled THEN stored.rescheduled_for END,
    attempted_at = CASE WHEN stored.is_made THEN stored.attempted_at END,
    coordinator_request_id = CASE WHEN stored.is_made THEN stored.coordinator_request_id END,
    final_interest_rate_ts = CASE WHEN stored.is_made THEN stored.final_interest_rate_ts END,
    amount = CASE WHEN stored.is_made THEN stored.amount END,
    transfer_id = CASE WHEN stored.is_settled THEN stored.transfer_id END,
    finalized_at = CASE WHEN stored.is_settled THEN stored.finalized_at END,
    failure_code = CASE WHEN stored.has_failed THEN stored.failure_code END,
    backoff_counter = stored.backoff_counter,
    fatal_error = CASE WHEN stored.is_fatal THEN stored.fatal_error END
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@are_dispatching::BOOLEAN[]) AS is_dispatching,
        unnest(@recipients::TEXT[]) AS recipient,
        unnest(@recipient_versions::BIGINT[]) AS recipient_version,
        unnest(@are_rescheduled::BOOLEAN[]) AS is_rescheduled,
        unnest(@rescheduled_for::TIMESTAMPTZ[]) AS rescheduled_for,
        unnest(@are_made::BOOLEAN[]) AS is_made,
        unnest(@attempted_at::TIMESTAMPTZ[]) AS attempted_at,
        unnest(@coordinator_request_ids::BIGINT[]) AS coordinator_request_id,
        unnest(@final_interest_rate_timestamps::TIMESTAMPTZ[]) AS final_interest_rate_ts,
        unnest(@amounts::BIGINT[]) AS amount,
        unnest(@are_settled::BOOLEAN[]) AS is_settled,
        unnest(@transfer_ids::BIGINT[]) AS transfer_id,
        unnest(@finalized_at::TIMESTAMPTZ[]) AS finalized_at,
        unnest(@have_failed::BOOLEAN[]) AS has_failed,
        unnest(@failure_codes::SMALLINT[]) AS failure_code,
        unnest(@backoff_counters::SMALLINT[]) AS backoff_counter,
        unnest(@are_fatal::BOOLEAN[]) AS is_fatal,
        unnest(@fatal_errors::TEXT[]) AS fatal_error
) AS stored
WHERE
    attempt.collector_id = stored.collector_id
    AND attempt.turn_id = stored.turn_id
    AND attempt.debtor_id = stored.debtor_id
    AND attempt.creditor_id = stored.creditor_id
    AND attempt.is_dispatching = stored.is_dispatching;

-- name: DeleteAttempts :exec
DELETE FROM transfer_attempt AS attempt
USING (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@are_dispatching::BOOLEAN[]) AS is_dispatching
) AS ended
WHERE
    attempt.collector_id = ended.collector_id
    AND attempt.turn_id = ended.turn_id
    AND attempt.debtor_id = ended.debtor_id
    AND attempt.creditor_id = ended.creditor_id
    AND attempt.is_dispatching = ended.is_dispatching;

-- name: DropSendings :exec
-- Has collectors not send what they had to.
DELETE FROM worker_sending AS sending
USING (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS creditor_id
) AS dropped
WHERE
    sending.from_collector_id = dropped.collector_id
    AND sending.turn_id = dropped.turn_id
    AND sending.debtor_id = dropped.debtor_id
    AND sending.to_collector_id = dropped.creditor_id;

-- name: DropDispatchings :exec
-- Has collectors not dispatch what they had to.
DELETE FROM worker_dispatching AS dispatching
USING (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS creditor_id
) AS dropped
WHERE
    dispatching.collector_id = dropped.collector_id
    AND dispatching.turn_id = dropped.turn_id
    AND dispatching.debtor_id = dropped.debtor_id
    AND dispatching.creditor_id = dropped.creditor_id;

-- name: TakeDueAttempts :many
-- Returns some of the attempts whose time has come, the most overdue ones first, and has them wait for a
-- TriggerTransfer instead. Those locked by others are passed over.
UPDATE transfer_attempt
SET rescheduled_for = NULL
-- Looking for the rows by their keys would have the planner read the whole table. One that somebody else has changed
-- meanwhile is found the next time.
WHERE ctid = ANY(ARRAY(
    SELECT ctid
    FROM transfer_attempt
    WHERE rescheduled_for <= @now::TIMESTAMPTZ
    ORDER BY rescheduled_for
    LIMIT @at_most::BIGINT
    FOR UPDATE SKIP LOCKED
))
RETURNING collector_id, turn_id, debtor_id, creditor_id, is_dispatching;

-- name: NextDueAttempts :many
-- Returns when the first attempts are due after an instant.
SELECT rescheduled_for::TIMESTAMPTZ
FROM transfer_attempt
WHERE rescheduled_for > @after::TIMESTAMPTZ
ORDER BY rescheduled_for
LIMIT @at_most::BIGINT;

-- name: ReadAccountIDs :many
-- Returns the IDs of the accounts of customers and collectors, each with the version that it came with. Accounts
-- without an ID have the empty one; accounts of which nothing is known have the smallest version, too.
SELECT
    wanted.creditor_id::BIGINT AS creditor_id,
    wanted.debtor_id::BIGINT AS debtor_id,
    CASE
        WHEN customer.creditor_id IS NOT NULL THEN customer.account_id
        ELSE coalesce(collector.account_id, '')
    END::TEXT AS account_id,
    CASE
        WHEN customer.creditor_id IS NOT NULL THEN customer.latest_ledger_update_id
        WHEN collector.creditor_id IS NOT NULL THEN collector.creation_date - DATE '1970-01-01'
        ELSE -9223372036854775808
    END::BIGINT AS account_id_version
FROM
    (
        SELECT
            unnest(@creditor_ids::BIGINT[]) AS creditor_id,
            unnest(@debtor_ids::BIGINT[]) AS debtor_id
    ) AS wanted
    LEFT JOIN trading_policy AS customer USING (creditor_id, debtor_id)
    LEFT JOIN worker_account AS collector
        ON
            collector.creditor_id = wanted.creditor_id
            AND collector.debtor_id = wanted.debtor_id
            AND collector.account_id <> '';

-- name: ReadInterestRates :many
-- Returns the present interest rates on the accounts of collectors.
SELECT account.creditor_id, account.debtor_id, account.interest_rate, account.last_interest_rate_change_ts
FROM
    (
        SELECT
            unnest(@creditor_ids::BIGINT[]) AS creditor_id,
            unnest(@debtor_ids::BIGINT[]) AS debtor_id
    ) AS wanted
    JOIN worker_account AS account USING (creditor_id, debtor_id);

-- name: ReadInterestRateChanges :many
-- Returns the changes of interest rates on accounts since some instant, and the one before; the newest ones of each
-- account come first.
SELECT change.creditor_id, change.debtor_id, change.change_ts, change.interest_rate
FROM
    (
        SELECT
            unnest(@creditor_ids::BIGINT[]) AS creditor_id,
            unnest(@debtor_ids::BIGINT[]) AS debtor_id,
            unnest(@since::TIMESTAMPTZ[]) AS since
    ) AS wanted,
    LATERAL (
        (
            SELECT *
            FROM interest_rate_change AS later
            WHERE
                later.creditor_id = wanted.creditor_id
                AND later.debtor_id = wanted.debtor_id
                AND later.change_ts >= wanted.since
        )
        UNION ALL
        (
            SELECT *
            FROM interest_rate_change AS earlier
            WHERE
                earlier.creditor_id = wanted.creditor_id
                AND earlier.debtor_id = wanted.debtor_id
                AND earlier.change_ts < wanted.since
            ORDER BY earlier.change_ts DESC
            LIMIT 1
        )
    ) AS change
ORDER BY change.creditor_id, change.debtor_id, change.change_ts DESC;

-- name: CountAttempts :many
-- Counts attempts by their state, among the first ones in the table.
SELECT counted.state, count(*) AS attempts
FROM (
    SELECT
        CASE
            WHEN attempted_at IS NOT NULL AND failure_code IS NULL AND transfer_id IS NULL THEN 'initiated'
            WHEN attempted_at IS NOT NULL AND failure_code IS NULL THEN 'settled'
            WHEN recipient = '' THEN 'new'
            WHEN rescheduled_for IS NOT NULL THEN 'postponed'
            ELSE 'due'
        END::TEXT AS state
    FROM (SELECT * FROM transfer_attempt LIMIT @at_most::BIGINT) AS attempt
    WHERE fatal_error IS NULL
) AS counted
GROUP BY counted.state;

-- name: CountFatalAttempts :one
SELECT count(*)
FROM (SELECT FROM transfer_attempt WHERE fatal_error IS NOT NULL LIMIT @at_most::BIGINT) AS fatal;
