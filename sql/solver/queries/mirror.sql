-- What workers read when they follow the solver.

-- name: TurnsByID :many
SELECT *
FROM turn
WHERE turn_id = ANY(@turn_ids::INTEGER[])
ORDER BY turn_id;

-- name: DebtorsWithCollectors :many
-- Returns those of the debtors that have a collector which has not been disabled, ready to be used or not.
SELECT DISTINCT debtor_id
FROM collector_account
WHERE debtor_id = ANY(@debtor_ids::BIGINT[]) AND status < 3;
