-- What the creditors agent has told of each customer's account. Three streams of updates, each with its own counter,
-- replace the columns below theirs.
CREATE TABLE trading_policy (
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,

    latest_ledger_update_id BIGINT NOT NULL DEFAULT 0 CHECK (latest_ledger_update_id >= 0),
    latest_ledger_update_ts TIMESTAMPTZ NOT NULL DEFAULT 'epoch',
    account_id TEXT NOT NULL DEFAULT '',
    -- The account has no ID any more. The last one it had is kept, for tokens that are still on their way to it.
    account_id_is_obsolete BOOLEAN NOT NULL DEFAULT FALSE,
    creation_date DATE NOT NULL DEFAULT '1970-01-01',
    principal BIGINT NOT NULL DEFAULT 0,
    last_transfer_number BIGINT NOT NULL DEFAULT 0 CHECK (last_transfer_number >= 0),

    latest_policy_update_id BIGINT NOT NULL DEFAULT 0 CHECK (latest_policy_update_id >= 0),
    latest_policy_update_ts TIMESTAMPTZ NOT NULL DEFAULT 'epoch',
    policy_name TEXT, -- NULL: does not want to trade
    min_principal BIGINT NOT NULL DEFAULT -9223372036854775808,
    max_principal BIGINT NOT NULL DEFAULT 9223372036854775807,
    peg_debtor_id BIGINT,
    peg_exchange_rate FLOAT8 CHECK (peg_exchange_rate >= 0),

    latest_flags_update_id BIGINT NOT NULL DEFAULT 0 CHECK (latest_flags_update_id >= 0),
    latest_flags_update_ts TIMESTAMPTZ NOT NULL DEFAULT 'epoch',
    config_flags INTEGER NOT NULL DEFAULT 0,

    PRIMARY KEY (creditor_id, debtor_id),
    CHECK ((peg_debtor_id IS NULL) = (peg_exchange_rate IS NULL))
)
-- No update changes the key, so with some room left in each page, updates need not touch the index.
WITH (fillfactor = 80);
