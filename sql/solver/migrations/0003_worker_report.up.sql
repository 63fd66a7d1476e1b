-- What workers tell operators of themselves: one row for each shard, which swpt_trade does not know of.
CREATE TABLE trade_worker_report (
    routing_key TEXT PRIMARY KEY, -- of the shard
    version TEXT NOT NULL, -- of the program
    reported_at TIMESTAMPTZ NOT NULL,
    -- The newest turn that the worker knows, and how far it has got with it. NULL: it knows none.
    turn_id INTEGER,
    phase SMALLINT,
    subphase SMALLINT,
    -- By type of messages: how many are in the outbox, and since when (RFC 3339) the oldest one is.
    outbox_backlog JSONB NOT NULL,
    oldest_outbox_at JSONB NOT NULL,
    -- Counted up to a limit.
    overdue_fetches INTEGER NOT NULL,
    overdue_transfer_attempts INTEGER NOT NULL,
    unfinished_dispatchings INTEGER NOT NULL
);
