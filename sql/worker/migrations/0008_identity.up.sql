-- Whose database this is: one row, written when the database is first used. Whoever comes with other settings is turned
-- away, before he takes what is here for his own.
CREATE TABLE worker_identity (
    is_only BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_only),
    routing_key TEXT NOT NULL, -- of the shard
    -- The IDs of collectors. NULL: nobody has used them yet.
    min_collector_id BIGINT,
    max_collector_id BIGINT,

    CHECK ((min_collector_id IS NULL) = (max_collector_id IS NULL))
);
