-- Makes a solver database safe that has been restored to an earlier moment. To be run with psql, while the solver and all
-- workers are stopped, with the largest turn ID that any worker knows (SELECT max(turn_id) FROM worker_turn):
--
--     psql "$SOLVER_POSTGRES_URL" -v highest_turn=… -f after_restoring_solver.sql
--
-- Workers may have acted on results of turns that this database does not know any more, or only in part. So all turns up
-- to that one are ended, without results for those workers that have not taken theirs: these then give back what they
-- have locked. What workers have taken over is not affected. It can be run again, and does nothing then.
\set ON_ERROR_STOP on
\if :{?highest_turn}
\else
    \warn 'Set highest_turn: -v highest_turn=…'
    DO $$ BEGIN RAISE EXCEPTION 'highest_turn is not set'; END $$;
\endif
BEGIN;
LOCK TABLE turn IN SHARE ROW EXCLUSIVE MODE;

-- Turns that have been started since that moment.
INSERT INTO turn (
    turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount, phase,
    collection_started_at, collection_deadline
)
SELECT
    added.turn_id, now(), latest.base_debtor_info_locator, latest.base_debtor_id, latest.max_distance_to_base,
    latest.min_trade_amount, 4, now(), now()
FROM (SELECT * FROM turn ORDER BY turn_id DESC LIMIT 1) AS latest,
    generate_series(latest.turn_id + 1, :highest_turn) AS added (turn_id);

SELECT setval('turn_turn_id_seq', greatest(own.last_value, :highest_turn)) AS latest_turn FROM turn_turn_id_seq AS own;

UPDATE turn
SET
    phase = 4, phase_deadline = NULL, collection_started_at = coalesce(collection_started_at, now()),
    collection_deadline = coalesce(collection_deadline, now())
WHERE phase < 4;

DELETE FROM debtor_info;
DELETE FROM confirmed_debtor;
DELETE FROM currency_info;
DELETE FROM sell_offer;
DELETE FROM buy_offer;
DELETE FROM creditor_taking;
DELETE FROM creditor_giving;
DELETE FROM collector_collecting;
DELETE FROM collector_sending;
DELETE FROM collector_receiving;
DELETE FROM collector_dispatching;

COMMIT;
