-- name: LockIdentity :many
-- Returns whose database this is, if that is known, and keeps it so.
SELECT routing_key, min_collector_id, max_collector_id
FROM worker_identity
FOR UPDATE;

-- name: StoreIdentity :exec
INSERT INTO worker_identity (routing_key, min_collector_id, max_collector_id)
VALUES (@routing_key, sqlc.narg('min_collector_id'), sqlc.narg('max_collector_id'))
ON CONFLICT (is_only) DO UPDATE SET
    routing_key = excluded.routing_key,
    min_collector_id = excluded.min_collector_id,
    max_collector_id = excluded.max_collector_id;
