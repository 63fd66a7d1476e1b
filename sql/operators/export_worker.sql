-- Writes what has to go along when a shard gets another worker's program, with a database of its own: from swpt_trade to
-- this service, or back. To be run with psql, in the database of a worker that has been stopped:
--
--     psql "$WORKER_POSTGRES_URL" -f export_worker.sql
--
-- It makes a CSV file for each of six tables, and one with a number, in the current directory. It stops at tokens that
-- are still on their way, and at messages that have not been sent, because these do not go along.
\set ON_ERROR_STOP on
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

SELECT
    (SELECT count(*) FROM account_lock WHERE released_at IS NULL) AS locks,
    (SELECT count(*) FROM dispatching_status) AS statuses,
    (SELECT count(*) FROM transfer_attempt) AS attempts
\gset
SELECT :locks + :statuses + :attempts > 0 AS is_busy \gset
\if :is_busy
    \warn 'Tokens are on their way:' :locks 'locks of accounts,' :statuses 'settlements,' :attempts 'transfers.'
    \warn 'Let the worker finish them, before it is stopped.'
    DO $$ BEGIN RAISE EXCEPTION 'there is something under way'; END $$;
\endif

-- Messages wait in one table, or in one table a type whose name ends with "_signal". Tasks are messages to oneself.
DO $$
DECLARE
    waiting TEXT;
    is_empty BOOLEAN;
BEGIN
    FOR waiting IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = current_schema() AND (tablename IN ('outbox', 'collector_task') OR tablename LIKE '%\_signal')
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %I)', waiting) INTO is_empty;
        IF NOT is_empty THEN
            RAISE EXCEPTION 'there are messages in the table %: let them be sent before all is stopped', waiting;
        END IF;
    END LOOP;
END $$;

\copy (SELECT creditor_id, debtor_id, latest_ledger_update_id, latest_ledger_update_ts, account_id, account_id_is_obsolete, creation_date, principal, last_transfer_number, latest_policy_update_id, latest_policy_update_ts, policy_name, min_principal, max_principal, peg_debtor_id, peg_exchange_rate, latest_flags_update_id, latest_flags_update_ts, config_flags FROM trading_policy) TO 'trading_policy.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT creditor_id, debtor_id, configured_at FROM needed_worker_account) TO 'needed_worker_account.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT creditor_id, debtor_id, creation_date, last_change_ts, last_change_seqnum, principal, interest, interest_rate, last_interest_rate_change_ts, config_flags, account_id, debtor_info_iri, last_transfer_number, last_transfer_committed_at, demurrage_rate, commit_period, transfer_note_max_bytes, last_heartbeat_ts FROM worker_account) TO 'worker_account.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT creditor_id, debtor_id, change_ts, interest_rate FROM interest_rate_change) TO 'interest_rate_change.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT debtor_id, debtor_info_locator, latest_locator_fetch_at, latest_discovery_fetch_at, forced_locator_refetch_at FROM debtor_locator_claim) TO 'debtor_locator_claim.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate, will_not_change_until, fetched_at FROM debtor_info_document) TO 'debtor_info_document.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT last_value FROM coordinator_request_id_seq) TO 'coordinator_request_id_seq.csv' WITH (FORMAT csv, HEADER)

COMMIT;
