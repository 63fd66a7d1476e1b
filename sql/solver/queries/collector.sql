-- name: CollectorsOfDebtor :many
SELECT collector_id, status
FROM collector_account
WHERE debtor_id = $1;

-- name: AddCollectors :exec
-- Plans collectors for a debtor. It fails if one of them is there already.
INSERT INTO collector_account (
    debtor_id, collector_id, collector_hash, account_id, status, latest_status_change_at
)
SELECT @debtor_id, collector_id, collector_hash, '', 0, @now
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@collector_hashes::SMALLINT[]) AS collector_hash
) AS planned
ORDER BY collector_id;

-- name: CollectorsToOpen :many
-- Returns collectors of a shard that are planned, or for which an account was asked for so long ago that the request may
-- have got lost.
SELECT debtor_id, collector_id, status
FROM collector_account
WHERE
    (status = 0 OR (status = 1 AND latest_status_change_at < @stale_before))
    AND collector_hash & @hash_mask::SMALLINT = @hash_prefix::SMALLINT
ORDER BY status, latest_status_change_at
LIMIT @at_most::BIGINT;

-- name: MarkCollectorsRequested :exec
-- Notes that accounts have been asked for. Collectors that have another status by now stay as they are.
UPDATE collector_account AS collector
SET status = 1, latest_status_change_at = @now
FROM (
    SELECT
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@statuses::SMALLINT[]) AS status
) AS opened
WHERE
    collector.debtor_id = opened.debtor_id
    AND collector.collector_id = opened.collector_id
    AND collector.status = opened.status;

-- name: Collector :one
-- Returns one collector.
SELECT status, account_id
FROM collector_account
WHERE debtor_id = $1 AND collector_id = $2;

-- name: ActivateCollector :exec
UPDATE collector_account
SET status = 2, account_id = @account_id, latest_status_change_at = @now
WHERE debtor_id = @debtor_id AND collector_id = @collector_id AND status <= 1;

-- name: ReplaceCollectorAccount :exec
UPDATE collector_account
SET account_id = @account_id
WHERE debtor_id = @debtor_id AND collector_id = @collector_id AND status = 2;

-- name: CountCollectorsByStatus :many
-- Counts the collectors of a shard by their status.
SELECT status, count(*) AS collectors
FROM collector_account
WHERE collector_hash & @hash_mask::SMALLINT = @hash_prefix::SMALLINT
GROUP BY status;
