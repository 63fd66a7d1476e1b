-- name: NewestBaseCurrency :one
-- Returns what the newest turn is about. There may be none.
SELECT turn_id, base_debtor_info_locator, base_debtor_id, max_distance_to_base
FROM turn
ORDER BY turn_id DESC
LIMIT 1;

-- name: ListTurnCurrencies :many
-- Returns the currencies of a turn, as far as they are there: some in phase 1, all in phase 2, none later.
SELECT
    debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate,
    EXISTS (
        SELECT FROM confirmed_debtor
        WHERE
            confirmed_debtor.turn_id = debtor_info.turn_id
            AND confirmed_debtor.debtor_id = debtor_info.debtor_id
            AND confirmed_debtor.debtor_info_locator = debtor_info.debtor_info_locator
    )::BOOLEAN AS is_confirmed
FROM debtor_info
WHERE debtor_info.turn_id = @turn_id
UNION ALL
SELECT
    debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate,
    is_confirmed
FROM currency_info
WHERE currency_info.turn_id = @turn_id;

-- name: CountCollectors :many
-- Counts the collectors of each debtor: those that are active, and those that will be one day.
SELECT
    debtor_id,
    count(*) FILTER (WHERE status = 2) AS active,
    count(*) FILTER (WHERE status IN (0, 1)) AS requested
FROM collector_account
GROUP BY debtor_id;
