DROP TABLE creditor_participation;
DROP TABLE account_lock;
DROP SEQUENCE coordinator_request_id_seq;
