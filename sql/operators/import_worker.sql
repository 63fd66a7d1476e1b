-- Reads what export_worker.sql has written, from the current directory, into the database of a worker that has never
-- run. To be run with psql, after `trade configure worker`:
--
--     psql "$WORKER_POSTGRES_URL" -f import_worker.sql
--
-- All or nothing is read. Requests get numbers that have not been used before, so that no late answer can be taken for
-- the answer to another request.
\set ON_ERROR_STOP on
BEGIN;

\copy trading_policy (creditor_id, debtor_id, latest_ledger_update_id, latest_ledger_update_ts, account_id, account_id_is_obsolete, creation_date, principal, last_transfer_number, latest_policy_update_id, latest_policy_update_ts, policy_name, min_principal, max_principal, peg_debtor_id, peg_exchange_rate, latest_flags_update_id, latest_flags_update_ts, config_flags) FROM 'trading_policy.csv' WITH (FORMAT csv, HEADER match)
\copy needed_worker_account (creditor_id, debtor_id, configured_at) FROM 'needed_worker_account.csv' WITH (FORMAT csv, HEADER match)
\copy worker_account (creditor_id, debtor_id, creation_date, last_change_ts, last_change_seqnum, principal, interest, interest_rate, last_interest_rate_change_ts, config_flags, account_id, debtor_info_iri, last_transfer_number, last_transfer_committed_at, demurrage_rate, commit_period, transfer_note_max_bytes, last_heartbeat_ts) FROM 'worker_account.csv' WITH (FORMAT csv, HEADER match)
\copy interest_rate_change (creditor_id, debtor_id, change_ts, interest_rate) FROM 'interest_rate_change.csv' WITH (FORMAT csv, HEADER match)
\copy debtor_locator_claim (debtor_id, debtor_info_locator, latest_locator_fetch_at, latest_discovery_fetch_at, forced_locator_refetch_at) FROM 'debtor_locator_claim.csv' WITH (FORMAT csv, HEADER match)
\copy debtor_info_document (debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate, will_not_change_until, fetched_at) FROM 'debtor_info_document.csv' WITH (FORMAT csv, HEADER match)

CREATE TEMPORARY TABLE latest_request (last_value BIGINT NOT NULL) ON COMMIT DROP;
\copy latest_request FROM 'coordinator_request_id_seq.csv' WITH (FORMAT csv, HEADER match)
SELECT setval('coordinator_request_id_seq', greatest(latest_request.last_value, own.last_value) + 1000000) AS next_request
FROM latest_request, coordinator_request_id_seq AS own;

COMMIT;
ANALYZE;
