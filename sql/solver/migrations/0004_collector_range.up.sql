-- The IDs of collectors: one row, written when they are first used. They must never change.
CREATE TABLE trade_collector_range (
    is_only BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_only),
    min_collector_id BIGINT NOT NULL,
    max_collector_id BIGINT NOT NULL
);
