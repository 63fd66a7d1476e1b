-- swpt_trade keeps other things in the database of a worker, under names that are used here, too.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_tables
        WHERE schemaname = current_schema() AND tablename IN ('worker_account', 'worker_turn')
    ) THEN
        RAISE EXCEPTION 'the schema "%" holds the worker tables of another program: '
            'give this worker a database, or a schema, of its own', current_schema();
    END IF;
END
$$;

-- Messages that have been decided on, and not yet sent. docs/decisions/0003-the-outbox.md tells why it looks like this.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    appended_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- NULL: to be sent at once. Otherwise, the broker has returned the message, and this is when to try again.
    retry_at TIMESTAMPTZ,
    -- These three are zero, and the coordinator's type is empty, where the message does not have them.
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    coordinator_id BIGINT NOT NULL,
    -- The first 32 bits of the MD5 digest of what the message is sharded by.
    shard_key INTEGER NOT NULL,
    returns INTEGER NOT NULL DEFAULT 0, -- how often the broker has returned the message
    type TEXT NOT NULL,
    coordinator_type TEXT NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX outbox_pending ON outbox (type, id) WHERE retry_at IS NULL;
CREATE INDEX outbox_returned ON outbox (type, retry_at) WHERE retry_at IS NOT NULL;
