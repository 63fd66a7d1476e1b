DROP TABLE early_receipt;
DROP TABLE transfer_attempt;
DROP TABLE dispatching_status;
DROP TABLE worker_dispatching;
DROP TABLE worker_receiving;
DROP TABLE worker_sending;
DROP TABLE worker_collecting;
