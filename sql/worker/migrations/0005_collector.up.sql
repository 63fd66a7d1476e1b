-- What is to be done in the solver database about collectors. Handlers of messages do not touch that database; they
-- leave a note here, which is followed as soon as possible.
CREATE TABLE collector_task (
    debtor_id BIGINT NOT NULL,
    -- Zero: the debtor needs a collector. Otherwise, this collector is to be activated.
    collector_id BIGINT NOT NULL,
    account_id TEXT NOT NULL, -- of the collector to be activated
    ts TIMESTAMPTZ NOT NULL, -- of the message
    -- When the task is due. Whoever takes it on moves that into the future, and can tell by it, in the end, whether the
    -- task has meanwhile been set again.
    next_attempt_at TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (debtor_id, collector_id, account_id),
    CHECK ((collector_id = 0) = (account_id = ''))
);

CREATE INDEX collector_task_due ON collector_task (next_attempt_at);

-- For these debtors, collectors have been arranged lately.
CREATE TABLE recently_needed_collector (
    debtor_id BIGINT PRIMARY KEY,
    needed_at TIMESTAMPTZ NOT NULL
);

-- The accounts that this worker has asked for, for its collectors.
CREATE TABLE needed_worker_account (
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    configured_at TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (creditor_id, debtor_id)
);

-- The accounts of this worker's collectors, as accounting authorities have described them.
CREATE TABLE worker_account (
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    creation_date DATE NOT NULL,
    last_change_ts TIMESTAMPTZ NOT NULL,
    last_change_seqnum INTEGER NOT NULL,
    principal BIGINT NOT NULL,
    interest FLOAT8 NOT NULL,
    interest_rate FLOAT8 NOT NULL CHECK (interest_rate >= -100),
    last_interest_rate_change_ts TIMESTAMPTZ NOT NULL,
    config_flags INTEGER NOT NULL,
    account_id TEXT NOT NULL, -- empty: it has none yet
    debtor_info_iri TEXT,
    last_transfer_number BIGINT NOT NULL CHECK (last_transfer_number >= 0),
    last_transfer_committed_at TIMESTAMPTZ NOT NULL,
    demurrage_rate FLOAT8 NOT NULL CHECK (demurrage_rate BETWEEN -100 AND 0),
    commit_period INTEGER NOT NULL CHECK (commit_period >= 0),
    transfer_note_max_bytes INTEGER NOT NULL CHECK (transfer_note_max_bytes >= 0),
    last_heartbeat_ts TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (creditor_id, debtor_id)
)
-- Heartbeats change no key, so with some room left in each page, they need not touch the index.
WITH (fillfactor = 80);

-- Which interest rates have been in force on those accounts, and since when.
CREATE TABLE interest_rate_change (
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    change_ts TIMESTAMPTZ NOT NULL,
    interest_rate FLOAT8 NOT NULL CHECK (interest_rate >= -100),

    PRIMARY KEY (creditor_id, debtor_id, change_ts)
);
