-- How the worker follows the solver's turns.

-- name: MirroredTurns :many
-- Returns the given turns, as far as they are known, and all that are not over.
SELECT *
FROM worker_turn
WHERE turn_id = ANY(@turn_ids::INTEGER[]) OR phase < 3 OR subphase < 10
ORDER BY turn_id;

-- name: MirrorTurn :execrows
-- Changes nothing if the turn has got as far already.
INSERT INTO worker_turn (
    turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
    phase, phase_deadline, collection_started_at, collection_deadline
)
VALUES (
    @turn_id, @started_at, @base_debtor_info_locator, @base_debtor_id, @max_distance_to_base, @min_trade_amount,
    @phase, sqlc.narg('phase_deadline'), sqlc.narg('collection_started_at'), sqlc.narg('collection_deadline')
)
ON CONFLICT (turn_id) DO UPDATE SET
    phase = excluded.phase,
    phase_deadline = excluded.phase_deadline,
    collection_started_at = excluded.collection_started_at,
    collection_deadline = excluded.collection_deadline,
    subphase = 0
WHERE worker_turn.phase < excluded.phase;

-- name: LockTurnAt :one
SELECT *
FROM worker_turn
WHERE turn_id = @turn_id AND phase = @phase AND subphase = @subphase
FOR UPDATE;

-- name: SetSubphase :exec
UPDATE worker_turn
SET subphase = @subphase
WHERE turn_id = @turn_id;

-- name: DeleteActiveCollectors :exec
DELETE FROM active_collector;

-- name: NewestMirroredTurn :many
-- Returns one turn, if there is one.
SELECT turn_id, phase, subphase
FROM worker_turn
ORDER BY turn_id DESC
LIMIT 1;

-- name: CountUnfinishedWork :one
-- Counts, each up to a limit, what should have been done by now, and the collectors that are not done with a turn.
SELECT
    (
        SELECT count(*)::INTEGER
        FROM (SELECT FROM debtor_info_fetch WHERE next_attempt_at < @now::TIMESTAMPTZ LIMIT @at_most::BIGINT) AS overdue
    ) AS fetches,
    (
        SELECT count(*)::INTEGER
        FROM (SELECT FROM transfer_attempt WHERE rescheduled_for < @now::TIMESTAMPTZ LIMIT @at_most::BIGINT) AS overdue
    ) AS transfer_attempts,
    (
        SELECT count(*)::INTEGER
        FROM (SELECT FROM dispatching_status LIMIT @at_most::BIGINT) AS unfinished
    ) AS dispatchings;
