-- name: UnfinishedTurns :many
SELECT *
FROM turn
WHERE phase < 4
ORDER BY turn_id;
