-- What collectors collect, send, receive and dispatch. Arrays hold one key, or one row, for each place in them.

-- name: LockCollectings :many
SELECT *
FROM worker_collecting
WHERE
    (collector_id, turn_id, debtor_id, creditor_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[]),
            unnest(@creditor_ids::BIGINT[])
    )
ORDER BY collector_id, turn_id, debtor_id, creditor_id
FOR UPDATE;

-- name: LockReceivings :many
SELECT *
FROM worker_receiving
WHERE
    (to_collector_id, turn_id, debtor_id, from_collector_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[]),
            unnest(@creditor_ids::BIGINT[])
    )
ORDER BY to_collector_id, turn_id, debtor_id, from_collector_id
FOR UPDATE;

-- name: MarkCollected :exec
UPDATE worker_collecting AS record
SET collected = TRUE, amount = arrival.amount
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@amounts::BIGINT[]) AS amount
) AS arrival
WHERE
    record.collector_id = arrival.collector_id
    AND record.turn_id = arrival.turn_id
    AND record.debtor_id = arrival.debtor_id
    AND record.creditor_id = arrival.creditor_id;

-- name: MarkReceived :exec
UPDATE worker_receiving AS record
SET received_amount = arrival.amount
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS to_collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS from_collector_id,
        unnest(@amounts::BIGINT[]) AS amount
) AS arrival
WHERE
    record.to_collector_id = arrival.to_collector_id
    AND record.turn_id = arrival.turn_id
    AND record.debtor_id = arrival.debtor_id
    AND record.from_collector_id = arrival.from_collector_id;

-- name: DeleteCollectings :exec
DELETE FROM worker_collecting
WHERE
    (collector_id, turn_id, debtor_id, creditor_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[]),
            unnest(@creditor_ids::BIGINT[])
    );

-- name: DeleteReceivings :exec
DELETE FROM worker_receiving
WHERE
    (to_collector_id, turn_id, debtor_id, from_collector_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[]),
            unnest(@creditor_ids::BIGINT[])
    );

-- name: DeleteSendings :execrows
-- Returns how many there were.
DELETE FROM worker_sending
WHERE
    (from_collector_id, turn_id, debtor_id, to_collector_id) IN (
        SELECT from_collector_id, turn_id, debtor_id, to_collector_id
        FROM worker_sending AS record
        WHERE
            (from_collector_id, turn_id, debtor_id, to_collector_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[]),
                    unnest(@creditor_ids::BIGINT[])
            )
        ORDER BY from_collector_id, turn_id, debtor_id, to_collector_id
        FOR UPDATE
    );

-- name: DeleteDispatchings :execrows
-- Returns how many there were.
DELETE FROM worker_dispatching
WHERE
    (collector_id, turn_id, debtor_id, creditor_id) IN (
        SELECT collector_id, turn_id, debtor_id, creditor_id
        FROM worker_dispatching AS record
        WHERE
            (collector_id, turn_id, debtor_id, creditor_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[]),
                    unnest(@creditor_ids::BIGINT[])
            )
        ORDER BY collector_id, turn_id, debtor_id, creditor_id
        FOR UPDATE
    );

-- name: KeepEarlyReceipts :execrows
-- Keeps news of records that are not there yet. If the records of their turn have been made, these ones have been
-- there, too, and nobody needs the news any more. The first news of a record stays. Returns how many are new.
INSERT INTO early_receipt (collector_id, turn_id, debtor_id, creditor_id, is_sending, amount, inserted_at)
SELECT collector_id, turn_id, debtor_id, creditor_id, @is_sending, amount, @now
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@amounts::BIGINT[]) AS amount
) AS arrival
WHERE NOT EXISTS (
    SELECT FROM worker_turn WHERE worker_turn.turn_id = arrival.turn_id AND phase = 3 AND subphase > 0
)
ORDER BY collector_id, turn_id, debtor_id, creditor_id
ON CONFLICT DO NOTHING;

-- name: LockAwaitingStatuses :many
-- Returns those of the statuses that await a signal, and when collecting began in their turns.
SELECT sqlc.embed(status), worker_turn.collection_started_at
FROM dispatching_status AS status
LEFT JOIN worker_turn ON worker_turn.turn_id = status.turn_id
WHERE
    (status.collector_id, status.turn_id, status.debtor_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[])
    )
    AND status.awaiting_signal_flag
ORDER BY status.collector_id, status.turn_id, status.debtor_id
FOR UPDATE OF status;

-- name: SumCollectings :many
-- Returns, in the order of the keys, how much has been collected, and how many collectings are pending.
SELECT
    least(coalesce(sum(record.amount), 0), 9223372036854775807)::BIGINT AS amount,
    count(*) FILTER (WHERE NOT record.collected) AS pending
FROM (
    SELECT
        generate_subscripts(@collector_ids::BIGINT[], 1) AS place,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id
) AS wanted
LEFT JOIN worker_collecting AS record
    ON record.collector_id = wanted.collector_id
    AND record.turn_id = wanted.turn_id
    AND record.debtor_id = wanted.debtor_id
GROUP BY wanted.place
ORDER BY wanted.place;

-- name: SumReceivings :many
-- Returns, in the order of the keys, how much has been received.
SELECT
    least(coalesce(sum(record.received_amount), 0), 9223372036854775807)::BIGINT AS amount
FROM (
    SELECT
        generate_subscripts(@collector_ids::BIGINT[], 1) AS place,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id
) AS wanted
LEFT JOIN worker_receiving AS record
    ON record.to_collector_id = wanted.collector_id
    AND record.turn_id = wanted.turn_id
    AND record.debtor_id = wanted.debtor_id
GROUP BY wanted.place
ORDER BY wanted.place;

-- name: EndCollecting :exec
DELETE FROM worker_collecting
WHERE
    (collector_id, turn_id, debtor_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[])
    );

-- name: EndReceiving :exec
DELETE FROM worker_receiving
WHERE
    (to_collector_id, turn_id, debtor_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[])
    );

-- name: BeginSending :exec
UPDATE dispatching_status AS status
SET started_sending = TRUE, awaiting_signal_flag = FALSE, total_collected_amount = begun.amount
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@amounts::BIGINT[]) AS amount
) AS begun
WHERE
    status.collector_id = begun.collector_id
    AND status.turn_id = begun.turn_id
    AND status.debtor_id = begun.debtor_id;

-- name: BeginDispatching :exec
UPDATE dispatching_status AS status
SET started_dispatching = TRUE, awaiting_signal_flag = FALSE, total_received_amount = begun.amount
FROM (
    SELECT
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@amounts::BIGINT[]) AS amount
) AS begun
WHERE
    status.collector_id = begun.collector_id
    AND status.turn_id = begun.turn_id
    AND status.debtor_id = begun.debtor_id;

-- name: StopAwaitingSignals :exec
UPDATE dispatching_status
SET awaiting_signal_flag = FALSE
WHERE
    (collector_id, turn_id, debtor_id) IN (
        SELECT
            unnest(@collector_ids::BIGINT[]),
            unnest(@turn_ids::INTEGER[]),
            unnest(@debtor_ids::BIGINT[])
    );

-- name: InsertTransferAttempts :copyfrom
INSERT INTO transfer_attempt (
    collector_id, turn_id, debtor_id, creditor_id, is_dispatching,
    nominal_amount, collection_started_at, inserted_at, recipient, recipient_version, rescheduled_for
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: ReadInKeyOrder :exec
-- Has the rest of the transaction read tables along their primary keys. The statistics about what is pending are always
-- outdated, and the plans that they lead to read, and sort, the whole table for each page. The queries look costly
-- enough to be compiled, which takes longer than they do.
SELECT
    set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true),
    set_config('enable_sort', 'off', true),
    set_config('jit', 'off', true);

-- The next four return the keys, from one on, of statuses in which a step can be taken. That no record is pending stays
-- true: none is added once the status is there. A subquery with a limit is run for each status. As a join, it would
-- read all further records for each page in which none is pending.

-- name: StatusesReadyToSend :many
SELECT status.collector_id, status.turn_id, status.debtor_id
FROM dispatching_status AS status
WHERE
    (status.collector_id, status.turn_id, status.debtor_id)
    >= (@collector_id::BIGINT, @turn_id::INTEGER, @debtor_id::BIGINT)
    AND NOT status.started_sending AND NOT status.awaiting_signal_flag
    AND (
        SELECT TRUE FROM worker_collecting AS record
        WHERE
            record.collector_id = status.collector_id
            AND record.turn_id = status.turn_id
            AND record.debtor_id = status.debtor_id
            AND NOT record.collected
        LIMIT 1
    ) IS NULL
ORDER BY status.collector_id, status.turn_id, status.debtor_id
LIMIT @at_most::BIGINT;

-- name: StatusesAllSent :many
SELECT status.collector_id, status.turn_id, status.debtor_id
FROM dispatching_status AS status
WHERE
    (status.collector_id, status.turn_id, status.debtor_id)
    >= (@collector_id::BIGINT, @turn_id::INTEGER, @debtor_id::BIGINT)
    AND status.started_sending AND NOT status.all_sent
    AND (
        SELECT TRUE FROM worker_sending AS record
        WHERE
            record.from_collector_id = status.collector_id
            AND record.turn_id = status.turn_id
            AND record.debtor_id = status.debtor_id
        LIMIT 1
    ) IS NULL
ORDER BY status.collector_id, status.turn_id, status.debtor_id
LIMIT @at_most::BIGINT;

-- name: StatusesReadyToDispatch :many
SELECT status.collector_id, status.turn_id, status.debtor_id
FROM dispatching_status AS status
WHERE
    (status.collector_id, status.turn_id, status.debtor_id)
    >= (@collector_id::BIGINT, @turn_id::INTEGER, @debtor_id::BIGINT)
    AND status.all_sent AND NOT status.started_dispatching AND NOT status.awaiting_signal_flag
    AND (
        SELECT TRUE FROM worker_receiving AS record
        WHERE
            record.to_collector_id = status.collector_id
            AND record.turn_id = status.turn_id
            AND record.debtor_id = status.debtor_id
            AND record.received_amount = 0
        LIMIT 1
    ) IS NULL
ORDER BY status.collector_id, status.turn_id, status.debtor_id
LIMIT @at_most::BIGINT;

-- name: StatusesAllDispatched :many
SELECT status.collector_id, status.turn_id, status.debtor_id
FROM dispatching_status AS status
WHERE
    (status.collector_id, status.turn_id, status.debtor_id)
    >= (@collector_id::BIGINT, @turn_id::INTEGER, @debtor_id::BIGINT)
    AND status.started_dispatching
    AND (
        SELECT TRUE FROM worker_dispatching AS record
        WHERE
            record.collector_id = status.collector_id
            AND record.turn_id = status.turn_id
            AND record.debtor_id = status.debtor_id
        LIMIT 1
    ) IS NULL
ORDER BY status.collector_id, status.turn_id, status.debtor_id
LIMIT @at_most::BIGINT;

-- The next four take the step, in those of the statuses that nobody else has locked, or has already taken it in. They
-- return the keys of these.

-- name: AwaitSending :many
UPDATE dispatching_status
SET awaiting_signal_flag = TRUE
WHERE
    (collector_id, turn_id, debtor_id) IN (
        SELECT collector_id, turn_id, debtor_id
        FROM dispatching_status
        WHERE
            (collector_id, turn_id, debtor_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[])
            )
            AND NOT started_sending AND NOT awaiting_signal_flag
        ORDER BY collector_id, turn_id, debtor_id
        FOR UPDATE SKIP LOCKED
    )
RETURNING collector_id, turn_id, debtor_id;

-- name: EndSending :many
UPDATE dispatching_status
SET all_sent = TRUE
WHERE
    (collector_id, turn_id, debtor_id) IN (
        SELECT collector_id, turn_id, debtor_id
        FROM dispatching_status
        WHERE
            (collector_id, turn_id, debtor_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[])
            )
            AND started_sending AND NOT all_sent
        ORDER BY collector_id, turn_id, debtor_id
        FOR UPDATE SKIP LOCKED
    )
RETURNING collector_id, turn_id, debtor_id;

-- name: AwaitDispatching :many
UPDATE dispatching_status
SET awaiting_signal_flag = TRUE
WHERE
    (collector_id, turn_id, debtor_id) IN (
        SELECT collector_id, turn_id, debtor_id
        FROM dispatching_status
        WHERE
            (collector_id, turn_id, debtor_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[])
            )
            AND all_sent AND NOT started_dispatching AND NOT awaiting_signal_flag
        ORDER BY collector_id, turn_id, debtor_id
        FOR UPDATE SKIP LOCKED
    )
RETURNING collector_id, turn_id, debtor_id;

-- name: EndDispatching :many
DELETE FROM dispatching_status
WHERE
    (collector_id, turn_id, debtor_id) IN (
        SELECT collector_id, turn_id, debtor_id
        FROM dispatching_status
        WHERE
            (collector_id, turn_id, debtor_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[])
            )
            AND started_dispatching
        ORDER BY collector_id, turn_id, debtor_id
        FOR UPDATE SKIP LOCKED
    )
RETURNING collector_id, turn_id, debtor_id;

-- name: TimelyEarlyReceipts :many
-- Returns the keys, from one on, of early receipts of turns of which the records have been made.
SELECT early.collector_id, early.turn_id, early.debtor_id, early.creditor_id
FROM early_receipt AS early
INNER JOIN worker_turn ON worker_turn.turn_id = early.turn_id
WHERE
    (early.collector_id, early.turn_id, early.debtor_id, early.creditor_id)
    >= (@collector_id::BIGINT, @turn_id::INTEGER, @debtor_id::BIGINT, @creditor_id::BIGINT)
    AND early.is_sending = @is_sending
    AND worker_turn.phase = 3 AND worker_turn.subphase > 0
ORDER BY early.collector_id, early.turn_id, early.debtor_id, early.creditor_id
LIMIT @at_most::BIGINT;

-- name: TakeEarlyReceipts :many
-- Deletes early receipts that nobody else has locked, and returns them.
DELETE FROM early_receipt
WHERE
    (collector_id, turn_id, debtor_id, creditor_id) IN (
        SELECT collector_id, turn_id, debtor_id, creditor_id
        FROM early_receipt AS early
        WHERE
            (collector_id, turn_id, debtor_id, creditor_id) IN (
                SELECT
                    unnest(@collector_ids::BIGINT[]),
                    unnest(@turn_ids::INTEGER[]),
                    unnest(@debtor_ids::BIGINT[]),
                    unnest(@creditor_ids::BIGINT[])
            )
            AND early.is_sending = @is_sending
        ORDER BY collector_id, turn_id, debtor_id, creditor_id
        FOR UPDATE SKIP LOCKED
    )
    AND is_sending = @is_sending
RETURNING *;

-- name: ExpireEarlyReceipts :execrows
-- Deletes early receipts that have waited since before an instant, and returns how many.
DELETE FROM early_receipt
WHERE
    (collector_id, turn_id, debtor_id, creditor_id, is_sending) IN (
        SELECT collector_id, turn_id, debtor_id, creditor_id, is_sending
        FROM early_receipt AS early
        WHERE early.inserted_at < @before
        LIMIT @at_most::BIGINT
        FOR UPDATE SKIP LOCKED
    );

-- name: EarlyReceiptCollectors :many
SELECT DISTINCT collector_id
FROM early_receipt;

-- name: DeleteEarlyReceiptsOf :execrows
-- Deletes early receipts of some collectors, and returns how many.
DELETE FROM early_receipt
WHERE
    (collector_id, turn_id, debtor_id, creditor_id, is_sending) IN (
        SELECT collector_id, turn_id, debtor_id, creditor_id, is_sending
        FROM early_receipt AS early
        WHERE early.collector_id = ANY(@collector_ids::BIGINT[])
        LIMIT @at_most::BIGINT
        FOR UPDATE SKIP LOCKED
    );

-- The next four delete those of the records that have waited for too long, and that nobody else has locked. They return
-- how many there were.

-- name: OutstandingByTurn :many
-- Adds up, for each turn, what collectors still have to do, the newest turn first. All currencies count alike.
SELECT
    turn_id,
    count(*) FILTER (WHERE NOT started_sending) AS collecting,
    count(*) FILTER (WHERE started_sending AND NOT all_sent) AS sending,
    count(*) FILTER (WHERE all_sent AND NOT started_dispatching) AS receiving,
    count(*) FILTER (WHERE started_dispatching) AS dispatching,
    coalesce(sum(amount_to_collect) FILTER (WHERE NOT started_sending), 0)::FLOAT8 AS to_collect,
    coalesce(sum(amount_to_send) FILTER (WHERE NOT all_sent), 0)::FLOAT8 AS to_send,
    coalesce(sum(amount_to_receive) FILTER (WHERE NOT started_dispatching), 0)::FLOAT8 AS to_receive,
    sum(amount_to_dispatch)::FLOAT8 AS to_dispatch,
    min(inserted_at)::TIMESTAMPTZ AS oldest_at
FROM dispatching_status
GROUP BY turn_id
ORDER BY turn_id DESC;

-- name: CountEarlyReceipts :one
-- Counts early receipts, up to a limit.
SELECT count(*)
FROM (SELECT FROM early_receipt LIMIT @at_most::BIGINT) AS early;
