DROP TABLE worker_identity;
