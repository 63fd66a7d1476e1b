-- Numbers the transfers that this worker coordinates: those that lock accounts, and attempts.
CREATE SEQUENCE coordinator_request_id_seq;

-- For each account that takes part in a turn: the transfer that keeps its tokens, or the account itself, in place until
-- the turn has been decided. The rows of account A are initiated, prepared, settled, released, in this order.
CREATE TABLE account_lock (
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    collector_id BIGINT NOT NULL,
    initiated_at TIMESTAMPTZ NOT NULL,
    coordinator_request_id BIGINT NOT NULL,
    amount BIGINT NOT NULL, -- negative, or zero: to be sold; positive: to be bought
    transfer_id BIGINT, -- set: prepared
    finalized_at TIMESTAMPTZ, -- set: settled
    released_at TIMESTAMPTZ, -- set: released
    -- Which state of the account includes the transfer of the turn.
    account_creation_date DATE,
    account_last_transfer_number BIGINT,
    has_been_revised BOOLEAN NOT NULL DEFAULT FALSE,

    PRIMARY KEY (creditor_id, debtor_id),
    CHECK (finalized_at IS NULL OR transfer_id IS NOT NULL),
    CHECK (
        released_at IS NULL
        OR num_nulls(finalized_at, account_creation_date, account_last_transfer_number) = 0
    )
)
-- No change of state touches an indexed column.
WITH (fillfactor = 80);

CREATE UNIQUE INDEX account_lock_coordinator_request_id ON account_lock (coordinator_request_id);
CREATE INDEX account_lock_turn_id ON account_lock (turn_id);

-- What the solver has decided about the accounts of creditors: negative amounts are taken from them, positive ones given.
CREATE TABLE creditor_participation (
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    turn_id INTEGER NOT NULL,
    amount BIGINT NOT NULL CHECK (amount < 0 OR amount > 1),
    collector_id BIGINT NOT NULL,

    PRIMARY KEY (creditor_id, debtor_id, turn_id)
);
