-- What this worker's collectors have to do in each turn. The rows in these four tables are pending.

CREATE TABLE worker_collecting (
    collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL, -- the seller
    amount BIGINT NOT NULL CHECK (amount > 0),
    collected BOOLEAN NOT NULL DEFAULT FALSE, -- the amount has come
    purge_after TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (collector_id, turn_id, debtor_id, creditor_id)
)
WITH (fillfactor = 80);

CREATE TABLE worker_sending (
    from_collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    to_collector_id BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 1),
    purge_after TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (from_collector_id, turn_id, debtor_id, to_collector_id)
);

CREATE TABLE worker_receiving (
    to_collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    from_collector_id BIGINT NOT NULL,
    expected_amount BIGINT NOT NULL CHECK (expected_amount > 1),
    received_amount BIGINT NOT NULL DEFAULT 0 CHECK (received_amount >= 0), -- zero: nothing has come yet
    purge_after TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (to_collector_id, turn_id, debtor_id, from_collector_id)
)
WITH (fillfactor = 80);

CREATE TABLE worker_dispatching (
    collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL, -- the buyer
    amount BIGINT NOT NULL CHECK (amount > 1),
    purge_after TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (collector_id, turn_id, debtor_id, creditor_id)
);

-- How far a collector has got with that.
CREATE TABLE dispatching_status (
    collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    inserted_at TIMESTAMPTZ NOT NULL,
    amount_to_collect BIGINT NOT NULL CHECK (amount_to_collect >= 0),
    amount_own_sold BIGINT NOT NULL CHECK (amount_own_sold >= 0), -- by the collector itself, so there is no transfer
    amount_to_send BIGINT NOT NULL CHECK (amount_to_send >= 0),
    amount_to_receive BIGINT NOT NULL CHECK (amount_to_receive >= 0),
    number_to_receive INTEGER NOT NULL CHECK (number_to_receive >= 0),
    amount_to_dispatch BIGINT NOT NULL CHECK (amount_to_dispatch >= 0),
    total_collected_amount BIGINT CHECK (total_collected_amount >= 0),
    total_received_amount BIGINT CHECK (total_received_amount >= 0),
    started_sending BOOLEAN NOT NULL DEFAULT FALSE,
    all_sent BOOLEAN NOT NULL DEFAULT FALSE,
    all_received BOOLEAN NOT NULL DEFAULT FALSE,
    started_dispatching BOOLEAN NOT NULL DEFAULT FALSE,
    awaiting_signal_flag BOOLEAN NOT NULL DEFAULT FALSE,

    PRIMARY KEY (collector_id, turn_id, debtor_id),
    CHECK (started_sending = (total_collected_amount IS NOT NULL)),
    CHECK (started_sending OR NOT all_sent),
    CHECK (started_dispatching = (all_sent AND total_received_amount IS NOT NULL))
)
WITH (fillfactor = 80);

-- The transfers that collectors make, to other collectors and to buyers.
CREATE TABLE transfer_attempt (
    collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL, -- who gets the tokens
    is_dispatching BOOLEAN NOT NULL, -- otherwise: sending
    nominal_amount FLOAT8 NOT NULL CHECK (nominal_amount >= 1.0),
    collection_started_at TIMESTAMPTZ NOT NULL,
    inserted_at TIMESTAMPTZ NOT NULL,
    recipient TEXT NOT NULL, -- the account ID; empty: not known
    recipient_version BIGINT NOT NULL,
    rescheduled_for TIMESTAMPTZ,
    attempted_at TIMESTAMPTZ,
    coordinator_request_id BIGINT,
    final_interest_rate_ts TIMESTAMPTZ,
    amount BIGINT CHECK (amount > 0),
    transfer_id BIGINT,
    finalized_at TIMESTAMPTZ,
    -- 0 unspecified, 1 timeout, 2 newer interest rate, 3 recipient is unreachable, 4 insufficient available amount
    failure_code SMALLINT CHECK (failure_code BETWEEN 0 AND 4),
    backoff_counter SMALLINT NOT NULL DEFAULT 0 CHECK (backoff_counter >= 0),
    fatal_error TEXT,

    PRIMARY KEY (collector_id, turn_id, debtor_id, creditor_id, is_dispatching),
    CHECK (num_nulls(attempted_at, coordinator_request_id, final_interest_rate_ts, amount) IN (0, 4)),
    CHECK (attempted_at IS NULL OR recipient <> ''),
    CHECK ((transfer_id IS NULL) = (finalized_at IS NULL)),
    CHECK (transfer_id IS NULL OR attempted_at IS NOT NULL),
    CHECK (failure_code IS NULL OR attempted_at IS NOT NULL),
    CHECK (rescheduled_for IS NULL OR attempted_at IS NULL OR failure_code IS NOT NULL),
    CHECK (fatal_error IS NULL OR (failure_code IS NOT DISTINCT FROM 0 AND rescheduled_for IS NULL))
)
-- When a transfer has been prepared, no indexed column changes. The conditions of indexes count as well.
WITH (fillfactor = 80);

CREATE UNIQUE INDEX transfer_attempt_coordinator_request_id ON transfer_attempt (coordinator_request_id)
WHERE coordinator_request_id IS NOT NULL;
CREATE INDEX transfer_attempt_rescheduled_for ON transfer_attempt (rescheduled_for)
WHERE rescheduled_for IS NOT NULL;
-- Attempts under way. How long each of them may take depends on the counter.
CREATE INDEX transfer_attempt_under_way ON transfer_attempt (backoff_counter, attempted_at)
WHERE attempted_at IS NOT NULL AND failure_code IS NULL;
CREATE INDEX transfer_attempt_fatal ON transfer_attempt (attempted_at) WHERE fatal_error IS NOT NULL;

-- News of amounts that have reached a collector, or will not come, which arrived before this worker had copied what it
-- has to do in the turn.
CREATE TABLE early_receipt (
    collector_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL, -- from whom: a seller, or another collector
    is_sending BOOLEAN NOT NULL, -- from another collector
    amount BIGINT NOT NULL CHECK (amount >= 0), -- zero: nothing will come
    inserted_at TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (collector_id, turn_id, debtor_id, creditor_id, is_sending)
);
