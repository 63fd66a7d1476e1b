DROP TABLE trade_turn_summary, trade_clearing_attempt;
