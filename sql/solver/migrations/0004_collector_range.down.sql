DROP TABLE trade_collector_range;
