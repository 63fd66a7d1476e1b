-- Makes a worker's database safe that has been restored to an earlier moment. To be run with psql before any part of the
-- worker is started again:
--
--     psql "$WORKER_POSTGRES_URL" -f after_restoring_worker.sql
--
-- SOLVER_POSTGRES_URL has to be in the environment.
--
-- The database does not know any more which transfers have been made since that moment. Were they made again, somebody
-- would be paid twice, with the tokens of others. So everything that is under way is taken out of the tables from which
-- the worker works, and kept in the table kept_record. The tokens stay where they are: on sellers' accounts, or on those
-- of collectors. Never run it when the worker has been started again: it would take away what is really under way.
\set ON_ERROR_STOP on
BEGIN;

-- Numbers of requests that have been used since that moment must not be used again.
SELECT setval('coordinator_request_id_seq', last_value + 1000000000) AS next_request FROM coordinator_request_id_seq;

-- Collectors of this shard that have been asked for since that moment. The accounts of others are left-overs, which the
-- worker has deleted, with all that is on them.
CREATE TEMPORARY TABLE collector (collector_id BIGINT NOT NULL, debtor_id BIGINT NOT NULL, hash SMALLINT NOT NULL) ON COMMIT DROP;
\copy collector FROM PROGRAM 'psql --no-psqlrc --no-password --command="COPY (SELECT collector_id, debtor_id, collector_hash FROM collector_account WHERE status IN (1, 2)) TO STDOUT" "$SOLVER_POSTGRES_URL"'
INSERT INTO needed_worker_account (creditor_id, debtor_id, configured_at)
SELECT collector.collector_id, collector.debtor_id, now()
FROM collector, worker_identity
WHERE starts_with(collector.hash::INTEGER::BIT(16)::TEXT, translate(worker_identity.routing_key, '.#', ''))
ON CONFLICT DO NOTHING;

-- What is taken out, with the time at which that was done.
CREATE TABLE IF NOT EXISTS kept_record (kept_at TIMESTAMPTZ NOT NULL, table_name TEXT NOT NULL, record JSONB NOT NULL);

-- Locks of turns that the worker has not been told the outcome of stay: it will be told, and act.
WITH taken AS (
    DELETE FROM account_lock
    WHERE released_at IS NULL AND turn_id IN (SELECT turn_id FROM worker_turn WHERE phase = 3 AND subphase > 0)
    RETURNING *
)
INSERT INTO kept_record SELECT now(), 'account_lock', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM worker_collecting RETURNING *)
INSERT INTO kept_record SELECT now(), 'worker_collecting', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM worker_sending RETURNING *)
INSERT INTO kept_record SELECT now(), 'worker_sending', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM worker_receiving RETURNING *)
INSERT INTO kept_record SELECT now(), 'worker_receiving', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM worker_dispatching RETURNING *)
INSERT INTO kept_record SELECT now(), 'worker_dispatching', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM dispatching_status RETURNING *)
INSERT INTO kept_record SELECT now(), 'dispatching_status', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM transfer_attempt RETURNING *)
INSERT INTO kept_record SELECT now(), 'transfer_attempt', to_jsonb(taken) FROM taken;

WITH taken AS (DELETE FROM creditor_participation RETURNING *)
INSERT INTO kept_record SELECT now(), 'creditor_participation', to_jsonb(taken) FROM taken;

COMMIT;
