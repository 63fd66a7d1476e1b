DROP TABLE active_collector;
DROP TABLE worker_turn;
