DROP TABLE trading_policy;
