-- name: AppendToOutbox :exec
-- Appends one message for each place in the arrays.
INSERT INTO outbox (type, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, body)
SELECT
    unnest(@types::TEXT[]),
    unnest(@shard_keys::INTEGER[]),
    unnest(@creditor_ids::BIGINT[]),
    unnest(@debtor_ids::BIGINT[]),
    unnest(@coordinator_ids::BIGINT[]),
    unnest(@coordinator_types::TEXT[]),
    unnest(@bodies::TEXT[]);

-- name: ReadOutboxByIndex :exec
-- Has the rest of the transaction read the outbox along its indexes. The statistics about a queue are always outdated,
-- and the plans that they lead to read, and sort, the whole backlog for each burst.
SELECT
    set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true),
    set_config('enable_sort', 'off', true);

-- name: CommitLazily :exec
-- Does not have the commit of the transaction wait for the disk.
SELECT set_config('synchronous_commit', 'off', true);

-- name: OutboxTypesDue :many
-- Returns those of the types of which there are messages to be sent now.
SELECT due.type::TEXT
FROM unnest(@types::TEXT[]) AS due (type)
WHERE
    (SELECT id FROM outbox WHERE outbox.type = due.type AND retry_at IS NULL ORDER BY id LIMIT 1) IS NOT NULL
    OR (SELECT min(retry_at) FROM outbox WHERE outbox.type = due.type AND retry_at IS NOT NULL) <= now();

-- name: LockPending :many
-- Locks, and returns, messages that have not been returned, from an ID on, and passes over those locked by others.
SELECT id, retry_at, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, returns, body
FROM outbox
WHERE type = @type AND retry_at IS NULL AND id > @after_id
ORDER BY id
LIMIT @at_most::BIGINT
FOR UPDATE SKIP LOCKED;

-- name: LockReturned :many
-- Locks, and returns, messages that have been returned and are due again, from a time and an ID on, and passes over those
-- locked by others.
SELECT id, retry_at, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, returns, body
FROM outbox
WHERE type = @type AND retry_at <= now() AND (retry_at, id) > (@after_retry_at::TIMESTAMPTZ, @after_id::BIGINT)
ORDER BY retry_at, id
LIMIT @at_most::BIGINT
FOR UPDATE SKIP LOCKED;

-- name: DeleteFromOutbox :exec
DELETE FROM outbox
WHERE id = ANY(@ids::BIGINT[]);

-- name: PostponeInOutbox :exec
-- Notes that messages have been returned, and has each of them tried again after a pause.
UPDATE outbox
SET
    returns = returns + 1,
    retry_at = now() + postponed.pause_seconds * INTERVAL '1 second'
FROM (SELECT unnest(@ids::BIGINT[]) AS id, unnest(@pauses_seconds::FLOAT8[]) AS pause_seconds) AS postponed
WHERE outbox.id = postponed.id;

-- name: VacuumOutbox :exec
VACUUM (SKIP_LOCKED, TRUNCATE FALSE) outbox;

-- name: OutboxBacklog :many
-- Counts messages, those to be sent at once and those returned by the broker, up to a limit for each type, and finds the
-- oldest of those that it has counted. Where there are no messages, there is no row.
SELECT
    counted.type::TEXT AS type,
    message.returned::BOOLEAN AS returned,
    count(*) AS records,
    min(message.appended_at)::TIMESTAMPTZ AS oldest_at
FROM
    unnest(@types::TEXT[]) AS counted (type),
    LATERAL (
        (
            SELECT appended_at, FALSE AS returned
            FROM outbox
            WHERE type = counted.type AND retry_at IS NULL
            ORDER BY id
            LIMIT @at_most::BIGINT
        )
        UNION ALL
        (
            SELECT appended_at, TRUE AS returned
            FROM outbox
            WHERE type = counted.type AND retry_at IS NOT NULL
            ORDER BY retry_at
            LIMIT @at_most::BIGINT
        )
    ) AS message
GROUP BY counted.type, message.returned;
