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

-- name: LookIntoOutbox :many
-- Tells of each of the types whether there are messages that have not been returned, from an ID on, and whether there are
-- messages that have been returned and are due again.
--
-- With "type = ..." instead of the comparison of rows, statistics of a time when most messages were of one type would have
-- the primary key read, from end to end, in vain for all other types.
SELECT
    looked.type::TEXT AS type,
    EXISTS (
        SELECT FROM outbox
        WHERE (outbox.type, id) > (looked.type, looked.after_id) AND outbox.type <= looked.type AND retry_at IS NULL
    ) AS waiting,
    COALESCE((
        SELECT min(retry_at) FROM outbox WHERE outbox.type = looked.type AND retry_at IS NOT NULL
    ) <= now(), FALSE)::BOOLEAN AS returned,
    now()::TIMESTAMPTZ AS looked_at
FROM (SELECT unnest(@types::TEXT[]) AS type, unnest(@after_ids::BIGINT[]) AS after_id) AS looked;

-- name: LockPending :many
-- Locks, and returns, messages that have not been returned, from an ID on, and passes over those locked by others. For the
-- comparison of rows, see LookIntoOutbox.
SELECT
    id, appended_at, retry_at, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, returns, body
FROM outbox
WHERE (type, id) > (@type::TEXT, @after_id::BIGINT) AND type <= @type AND retry_at IS NULL
ORDER BY type, id
LIMIT @at_most::BIGINT
FOR UPDATE SKIP LOCKED;

-- name: LockReturned :many
-- Locks, and returns, messages that have been returned and were due again at some time, from a time and an ID on, and
-- passes over those locked by others.
SELECT
    id, appended_at, retry_at, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, returns, body
FROM outbox
WHERE type = @type AND retry_at <= @due_at::TIMESTAMPTZ AND (retry_at, id) > (@after_retry_at::TIMESTAMPTZ, @after_id::BIGINT)
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
-- oldest of those that it has counted. Where there are no messages, there is no row. For the comparison of rows, see
-- LookIntoOutbox.
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
            WHERE (type, id) > (counted.type, 0) AND type <= counted.type AND retry_at IS NULL
            ORDER BY type, id
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
