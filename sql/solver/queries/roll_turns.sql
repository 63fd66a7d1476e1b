-- name: LockOutStarters :exec
-- Lets nobody else start or advance a turn until the end of the transaction. It has to be the transaction's first
-- statement, or else the transaction would not see what those did for whom it had to wait.
LOCK TABLE turn IN SHARE ROW EXCLUSIVE MODE;

-- name: LatestTurnStart :one
-- When a turn was started for the last time; the beginning of 1970 if there has been none.
SELECT coalesce(max(started_at), '1970-01-01T00:00:00Z')::TIMESTAMPTZ AS started_at
FROM turn;

-- name: StartTurn :one
INSERT INTO turn (
    started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount, phase, phase_deadline,
    collection_started_at, collection_deadline
)
VALUES (
    @started_at, @base_debtor_info_locator, @base_debtor_id, @max_distance_to_base, @min_trade_amount, 1,
    @phase_deadline::TIMESTAMPTZ, NULL, NULL
)
RETURNING turn_id;

-- name: LockTurn :one
SELECT *
FROM turn
WHERE turn_id = @turn_id
FOR UPDATE;

-- name: IncreaseWorkMem :exec
-- Until the end of the transaction.
SELECT set_config('work_mem', @size::TEXT, TRUE);

-- name: AgreeOnCurrencies :execrows
-- Each look-up finds its way by a primary key, so the time does not depend on what the planner knows about tables that
-- have just been filled.
INSERT INTO currency_info (
    turn_id, debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate, is_confirmed
)
SELECT
    turn_id, debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate,
    EXISTS (
        SELECT FROM confirmed_debtor
        WHERE
            confirmed_debtor.turn_id = debtor_info.turn_id
            AND confirmed_debtor.debtor_id = debtor_info.debtor_id
            AND confirmed_debtor.debtor_info_locator = debtor_info.debtor_info_locator
    )
    AND EXISTS (
        SELECT FROM collector_account
        WHERE collector_account.debtor_id = debtor_info.debtor_id AND collector_account.status = 2
    )
FROM debtor_info
WHERE debtor_info.turn_id = @turn_id;

-- name: BeginPhase2 :exec
UPDATE turn
SET
    phase = 2,
    phase_deadline = @phase_deadline::TIMESTAMPTZ,
    collection_deadline = @collection_deadline::TIMESTAMPTZ
WHERE turn_id = @turn_id;

-- name: DeleteReportedInfos :exec
-- Of all turns: slow workers may have inserted rows of earlier ones, after their phase 1.
DELETE FROM debtor_info
WHERE turn_id IN (SELECT turn.turn_id FROM turn WHERE turn.phase >= 2);

-- name: DeleteConfirmations :exec
DELETE FROM confirmed_debtor
WHERE turn_id IN (SELECT turn.turn_id FROM turn WHERE turn.phase >= 2);

-- name: BeginPhase3 :exec
UPDATE turn
SET
    phase = 3,
    phase_deadline = NULL,
    collection_started_at = @collection_started_at::TIMESTAMPTZ
WHERE turn_id = @turn_id;

-- name: DeleteCurrencies :exec
DELETE FROM currency_info
WHERE turn_id IN (SELECT turn.turn_id FROM turn WHERE turn.phase >= 3);

-- name: DeleteSellOffers :exec
DELETE FROM sell_offer
WHERE turn_id IN (SELECT turn.turn_id FROM turn WHERE turn.phase >= 3);

-- name: DeleteBuyOffers :exec
DELETE FROM buy_offer
WHERE turn_id IN (SELECT turn.turn_id FROM turn WHERE turn.phase >= 3);

-- name: CountUnofferedChanges :one
-- Counts takings and givings of a turn that nobody has offered in that currency, in that amount, and through that
-- collector.
SELECT
    (
        SELECT count(*)
        FROM creditor_taking AS taking
        WHERE
            taking.turn_id = @turn_id
            AND NOT EXISTS (
                SELECT FROM sell_offer
                WHERE
                    sell_offer.turn_id = taking.turn_id
                    AND sell_offer.creditor_id = taking.creditor_id
                    AND sell_offer.debtor_id = taking.debtor_id
                    AND sell_offer.amount >= taking.amount
                    AND sell_offer.collector_id = taking.collector_id
            )
    ) AS takings,
    (
        SELECT count(*)
        FROM creditor_giving AS giving
        WHERE
            giving.turn_id = @turn_id
            AND NOT EXISTS (
                SELECT FROM buy_offer
                WHERE
                    buy_offer.turn_id = giving.turn_id
                    AND buy_offer.creditor_id = giving.creditor_id
                    AND buy_offer.debtor_id = giving.debtor_id
                    AND buy_offer.amount >= giving.amount
            )
    ) AS givings;

-- name: RemainingResults :many
-- Finds a row in each table that still holds results of a turn. The hash tells which worker is to take it over.
(
    SELECT 'creditor_taking' AS table_name, creditor_taking.creditor_hash AS hash
    FROM creditor_taking
    WHERE creditor_taking.turn_id = @turn_id
    LIMIT 1
)
UNION ALL
(
    SELECT 'creditor_giving', creditor_giving.creditor_hash
    FROM creditor_giving
    WHERE creditor_giving.turn_id = @turn_id
    LIMIT 1
)
UNION ALL
(
    SELECT 'collector_collecting', collector_collecting.collector_hash
    FROM collector_collecting
    WHERE collector_collecting.turn_id = @turn_id
    LIMIT 1
)
UNION ALL
(
    SELECT 'collector_dispatching', collector_dispatching.collector_hash
    FROM collector_dispatching
    WHERE collector_dispatching.turn_id = @turn_id
    LIMIT 1
)
UNION ALL
(
    SELECT 'collector_sending', collector_sending.from_collector_hash
    FROM collector_sending
    WHERE collector_sending.turn_id = @turn_id
    LIMIT 1
)
UNION ALL
(
    SELECT 'collector_receiving', collector_receiving.to_collector_hash
    FROM collector_receiving
    WHERE collector_receiving.turn_id = @turn_id
    LIMIT 1
);

-- name: FinishTurn :exec
UPDATE turn
SET phase = 4, phase_deadline = NULL
WHERE turn_id = @turn_id;

-- name: CountClearingAttempts :one
SELECT count(*)
FROM trade_clearing_attempt
WHERE turn_id = @turn_id;

-- name: BeginClearingAttempt :exec
INSERT INTO trade_clearing_attempt (turn_id, attempt_id, begun_at)
VALUES (@turn_id, @attempt_id, @begun_at);

-- name: EndClearingAttempt :exec
DELETE FROM trade_clearing_attempt
WHERE turn_id = @turn_id AND attempt_id = @attempt_id;

-- name: ForgetClearingAttempts :exec
DELETE FROM trade_clearing_attempt
WHERE turn_id = @turn_id;

-- name: InsertTurnSummary :exec
INSERT INTO trade_turn_summary (
    turn_id, published_at, finished_at, failure, currencies, confirmed_currencies, priced_currencies,
    tradable_currencies, traded_currencies, collectors, sell_offers, buy_offers, bad_offers, traders, served_traders,
    offered_value, wanted_value, cleared_value, takings, givings, transfers, read_seconds, clear_seconds, write_seconds
)
VALUES (
    @turn_id, @published_at, NULL, sqlc.narg(failure), @currencies, @confirmed_currencies, @priced_currencies,
    @tradable_currencies, @traded_currencies, @collectors, @sell_offers, @buy_offers, @bad_offers, @traders,
    @served_traders, @offered_value, @wanted_value, @cleared_value, @takings, @givings, @transfers, @read_seconds,
    @clear_seconds, @write_seconds
);

-- name: FinishTurnSummary :exec
UPDATE trade_turn_summary
SET finished_at = @finished_at::TIMESTAMPTZ
WHERE turn_id = @turn_id;
