-- name: CollectorRange :many
SELECT min_collector_id, max_collector_id
FROM trade_collector_range;

-- name: StoreCollectorRange :exec
INSERT INTO trade_collector_range (min_collector_id, max_collector_id)
VALUES (@min_collector_id, @max_collector_id);
