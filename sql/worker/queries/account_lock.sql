-- name: TurnsThatTakeOffers :many
-- Returns, of some turns, those in which candidate offers are made, and from when until when.
SELECT turn_id, started_at, phase_deadline
FROM worker_turn
WHERE turn_id = ANY(@turn_ids::INTEGER[]) AND phase = 2 AND subphase = 5;

-- name: ShareTurnsThatTakeOffers :many
-- Returns, of some turns, those for which candidate offers are still accepted, and keeps them from being closed before
-- the transaction ends. A turn that somebody is just closing counts as closed.
--
-- Row locks that are shared by many transactions are expensive to keep track of (multixacts). Here, a transaction takes
-- one for each turn, and not one for each offer: that makes as many sharers as there are consumers of messages.
SELECT turn_id, min_trade_amount, collection_deadline
FROM worker_turn
WHERE turn_id = ANY(@turn_ids::INTEGER[]) AND phase = 2 AND subphase = 5
ORDER BY turn_id
FOR SHARE SKIP LOCKED;

-- name: CollectionDeadlines :many
SELECT turn_id, collection_deadline
FROM worker_turn
WHERE turn_id = ANY(@turn_ids::INTEGER[]);

-- name: ActiveCollectors :many
SELECT debtor_id, collector_id, account_id
FROM active_collector
WHERE debtor_id = ANY(@debtor_ids::BIGINT[])
ORDER BY debtor_id, collector_id;

-- name: CountAccountLocks :many
-- Counts locks by their state, among the first ones in the table, and tells when the first one of each began.
SELECT counted.state, count(*) AS locks, min(counted.initiated_at)::TIMESTAMPTZ AS oldest_at
FROM (
    SELECT
        CASE
            WHEN released_at IS NOT NULL THEN 'released'
            WHEN finalized_at IS NOT NULL THEN 'settled'
            WHEN transfer_id IS NOT NULL THEN 'prepared'
            ELSE 'initiated'
        END::TEXT AS state,
        initiated_at
    FROM account_lock
    LIMIT @at_most::BIGINT
) AS counted
GROUP BY counted.state;

-- name: HoldAccountLocks :many
-- Holds the locks of some accounts: nobody else can change them before the transaction ends. Of two transactions that
-- hold rows, one waits for the other, as both lock them in the order of their keys.
SELECT account_lock.*
FROM
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS account
    JOIN account_lock USING (creditor_id, debtor_id)
ORDER BY account_lock.creditor_id, account_lock.debtor_id
FOR UPDATE OF account_lock;

-- name: HoldRequestedAccountLocks :many
-- Holds the locks that have been requested under some numbers.
SELECT *
FROM account_lock
WHERE coordinator_request_id = ANY(@request_ids::BIGINT[])
ORDER BY creditor_id, debtor_id
FOR UPDATE;

-- name: HoldOverdueAccountLocks :many
-- Holds, of the locks of some accounts, those that are not settled although the collection deadline of their turn is
-- long over, or they are too old. Passes over those that somebody else holds.
SELECT account_lock.*
FROM
    (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS account
    JOIN account_lock USING (creditor_id, debtor_id)
    LEFT JOIN worker_turn USING (turn_id)
WHERE
    account_lock.finalized_at IS NULL
    AND (
        worker_turn.collection_deadline < @deadline_before::TIMESTAMPTZ
        OR account_lock.initiated_at < @initiated_before::TIMESTAMPTZ
    )
ORDER BY account_lock.creditor_id, account_lock.debtor_id
FOR UPDATE OF account_lock SKIP LOCKED;

-- name: InsertAccountLocks :many
-- Inserts locks, and numbers the requests for them. Those that are prepared from the beginning have no transfer, so they
-- get the transfer ID zero. It fails, without waiting for those who hold the rows, when others have inserted some of
-- the locks meanwhile: an upsert would wait for them, while they may be waiting for what is inserted here.
INSERT INTO account_lock (
    creditor_id, debtor_id, turn_id, collector_id, initiated_at, coordinator_request_id, amount, transfer_id
)
SELECT
    creditor_id,
    debtor_id,
    turn_id,
    collector_id,
    @initiated_at::TIMESTAMPTZ,
    nextval('coordinator_request_id_seq'),
    amount,
    CASE WHEN is_prepared THEN 0 END
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@amounts::BIGINT[]) AS amount,
        unnest(@are_prepared::BOOLEAN[]) AS is_prepared
) AS initiated
ORDER BY creditor_id, debtor_id
RETURNING creditor_id, debtor_id, coordinator_request_id;

-- name: OverwriteAccountLocks :many
-- Overwrites all of what is stored in locks that are held, and numbers the requests for the new ones. Those that are
-- prepared from the beginning have no transfer, so they get the transfer ID zero.
UPDATE account_lock
SET
    turn_id = initiated.turn_id,
    collector_id = initiated.collector_id,
    initiated_at = @initiated_at::TIMESTAMPTZ,
    coordinator_request_id = nextval('coordinator_request_id_seq'),
    amount = initiated.amount,
    transfer_id = CASE WHEN initiated.is_prepared THEN 0 END,
    finalized_at = NULL,
    released_at = NULL,
    account_creation_date = NULL,
    account_last_transfer_number = NULL,
    has_been_revised = FALSE
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@turn_ids::INTEGER[]) AS turn_id,
        unnest(@collector_ids::BIGINT[]) AS collector_id,
        unnest(@amounts::BIGINT[]) AS amount,
        unnest(@are_prepared::BOOLEAN[]) AS is_prepared
) AS initiated
WHERE account_lock.creditor_id = initiated.creditor_id AND account_lock.debtor_id = initiated.debtor_id
RETURNING account_lock.creditor_id, account_lock.debtor_id, account_lock.coordinator_request_id;

-- name: AdvanceAccountLocks :exec
-- Stores locks that have reached another state, or another amount, and are at least prepared.
UPDATE account_lock
SET
    amount = advanced.amount,
    transfer_id = advanced.transfer_id,
    finalized_at = CASE WHEN advanced.is_finalized THEN coalesce(finalized_at, @now::TIMESTAMPTZ) END,
    released_at = CASE WHEN advanced.is_released THEN coalesce(released_at, @now::TIMESTAMPTZ) END,
    account_creation_date = CASE WHEN advanced.is_released THEN advanced.creation_date END,
    account_last_transfer_number = CASE WHEN advanced.is_released THEN advanced.last_transfer_number END,
    has_been_revised = advanced.has_been_revised
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@amounts::BIGINT[]) AS amount,
        unnest(@transfer_ids::BIGINT[]) AS transfer_id,
        unnest(@are_finalized::BOOLEAN[]) AS is_finalized,
        unnest(@are_released::BOOLEAN[]) AS is_released,
        unnest(@creation_dates::DATE[]) AS creation_date,
        unnest(@last_transfer_numbers::BIGINT[]) AS last_transfer_number,
        unnest(@have_been_revised::BOOLEAN[]) AS has_been_revised
) AS advanced
WHERE account_lock.creditor_id = advanced.creditor_id AND account_lock.debtor_id = advanced.debtor_id;

-- name: DeleteAccountLocks :exec
DELETE FROM account_lock
USING (SELECT unnest(@creditor_ids::BIGINT[]) AS creditor_id, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS account
WHERE account_lock.creditor_id = account.creditor_id AND account_lock.debtor_id = account.debtor_id;

-- name: TakeParticipations :many
-- Deletes what the solver has decided about some accounts in some turns, and returns it.
DELETE FROM creditor_participation
USING (
    SELECT creditor_participation.creditor_id, creditor_participation.debtor_id, creditor_participation.turn_id
    FROM
        (
            SELECT
                unnest(@creditor_ids::BIGINT[]) AS creditor_id,
                unnest(@debtor_ids::BIGINT[]) AS debtor_id,
                unnest(@turn_ids::INTEGER[]) AS turn_id
        ) AS revised
        JOIN creditor_participation USING (creditor_id, debtor_id, turn_id)
    ORDER BY
        creditor_participation.creditor_id, creditor_participation.debtor_id, creditor_participation.turn_id
    FOR UPDATE OF creditor_participation
) AS held
WHERE
    creditor_participation.creditor_id = held.creditor_id
    AND creditor_participation.debtor_id = held.debtor_id
    AND creditor_participation.turn_id = held.turn_id
RETURNING creditor_participation.*;
