DROP TABLE trade_worker_report;
