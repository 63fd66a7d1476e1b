DROP TABLE interest_rate_change;
DROP TABLE worker_account;
DROP TABLE needed_worker_account;
DROP TABLE recently_needed_collector;
DROP TABLE collector_task;
