-- name: StoreWorkerReport :exec
INSERT INTO trade_worker_report (
    routing_key, version, reported_at, turn_id, phase, subphase, outbox_backlog, oldest_outbox_at,
    overdue_fetches, overdue_transfer_attempts, unfinished_dispatchings
)
VALUES (
    @routing_key, @version, @reported_at, sqlc.narg('turn_id'), sqlc.narg('phase'), sqlc.narg('subphase'),
    @outbox_backlog, @oldest_outbox_at, @overdue_fetches, @overdue_transfer_attempts, @unfinished_dispatchings
)
ON CONFLICT (routing_key) DO UPDATE SET
    version = excluded.version,
    reported_at = excluded.reported_at,
    turn_id = excluded.turn_id,
    phase = excluded.phase,
    subphase = excluded.subphase,
    outbox_backlog = excluded.outbox_backlog,
    oldest_outbox_at = excluded.oldest_outbox_at,
    overdue_fetches = excluded.overdue_fetches,
    overdue_transfer_attempts = excluded.overdue_transfer_attempts,
    unfinished_dispatchings = excluded.unfinished_dispatchings;

-- name: DeleteWorkerReportsBefore :exec
DELETE FROM trade_worker_report
WHERE reported_at < @reported_at;
