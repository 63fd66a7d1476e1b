-- name: ListCollectors :many
-- Returns the collectors of a debtor in the order of their IDs, from an ID on.
SELECT collector_id, account_id, status, latest_status_change_at
FROM collector_account
WHERE debtor_id = @debtor_id AND collector_id >= @first_id
ORDER BY collector_id
LIMIT @at_most::INTEGER;

-- name: ListTurns :many
-- Returns the turns before one, newest first.
SELECT *
FROM turn
WHERE turn_id < @before::BIGINT
ORDER BY turn_id DESC
LIMIT @at_most::INTEGER;

-- name: RowsOfTurn :many
-- Counts what the tables of offers and results hold of a turn. Prefix is the first four bits of the hash that tells which
-- worker has to take a row; it is 0 where no worker has to.
SELECT 'debtor_info'::TEXT AS table_name, 0::INTEGER AS prefix, count(*) AS n
FROM debtor_info WHERE debtor_info.turn_id = @turn_id::INTEGER
UNION ALL
SELECT 'confirmed_debtor', 0, count(*) FROM confirmed_debtor WHERE confirmed_debtor.turn_id = @turn_id::INTEGER
UNION ALL
SELECT 'currency_info', 0, count(*) FROM currency_info WHERE currency_info.turn_id = @turn_id::INTEGER
UNION ALL
SELECT 'sell_offer', 0, count(*) FROM sell_offer WHERE sell_offer.turn_id = @turn_id::INTEGER
UNION ALL
SELECT 'buy_offer', 0, count(*) FROM buy_offer WHERE buy_offer.turn_id = @turn_id::INTEGER
UNION ALL
SELECT 'creditor_taking', (creditor_hash >> 12) & 15, count(*)
FROM creditor_taking WHERE creditor_taking.turn_id = @turn_id::INTEGER GROUP BY 2
UNION ALL
SELECT 'creditor_giving', (creditor_hash >> 12) & 15, count(*)
FROM creditor_giving WHERE creditor_giving.turn_id = @turn_id::INTEGER GROUP BY 2
UNION ALL
SELECT 'collector_collecting', (collector_hash >> 12) & 15, count(*)
FROM collector_collecting WHERE collector_collecting.turn_id = @turn_id::INTEGER GROUP BY 2
UNION ALL
SELECT 'collector_sending', (from_collector_hash >> 12) & 15, count(*)
FROM collector_sending WHERE collector_sending.turn_id = @turn_id::INTEGER GROUP BY 2
UNION ALL
SELECT 'collector_receiving', (to_collector_hash >> 12) & 15, count(*)
FROM collector_receiving WHERE collector_receiving.turn_id = @turn_id::INTEGER GROUP BY 2
UNION ALL
SELECT 'collector_dispatching', (collector_hash >> 12) & 15, count(*)
FROM collector_dispatching WHERE collector_dispatching.turn_id = @turn_id::INTEGER GROUP BY 2;

-- name: WorkerReports :many
SELECT *
FROM trade_worker_report
ORDER BY routing_key;
