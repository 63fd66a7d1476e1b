-- A solver database as swpt_trade makes it: other ways to say the same, other names of constraints, its own history of
-- migrations, and rows.

CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('88cd664f51a3');

CREATE TABLE collector_account (
    debtor_id BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    collector_hash SMALLINT NOT NULL,
    account_id VARCHAR NOT NULL,
    status SMALLINT NOT NULL,
    latest_status_change_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT the_status CHECK (status >= 0 AND status <= 3)
);
CREATE UNIQUE INDEX idx_collector_account_pk ON collector_account (debtor_id, collector_id) INCLUDE (status);
ALTER TABLE collector_account ADD CONSTRAINT collector_account_pkey PRIMARY KEY USING INDEX idx_collector_account_pk;
CREATE INDEX idx_collector_account_creation_request ON collector_account (status) WHERE status = 0;
COMMENT ON TABLE collector_account IS 'comments are not part of the contract';
INSERT INTO collector_account VALUES (666, 1099511627776, -10672, 'abc', 2, '2025-01-02T03:04:05Z');

CREATE TABLE turn (
    turn_id SERIAL NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    base_debtor_info_locator VARCHAR NOT NULL,
    base_debtor_id BIGINT NOT NULL,
    max_distance_to_base SMALLINT NOT NULL,
    min_trade_amount BIGINT NOT NULL,
    phase SMALLINT NOT NULL,
    phase_deadline TIMESTAMP WITH TIME ZONE,
    collection_started_at TIMESTAMP WITH TIME ZONE,
    collection_deadline TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (turn_id),
    CHECK (base_debtor_id != 0),
    CHECK (max_distance_to_base > 0),
    CHECK (min_trade_amount > 0),
    CHECK (phase > 0 AND phase <= 4),
    CHECK (phase > 2 OR phase_deadline IS NOT NULL),
    CHECK (phase < 2 OR collection_deadline IS NOT NULL),
    CHECK (phase < 3 OR collection_started_at IS NOT NULL)
);
CREATE INDEX idx_turn_phase ON turn (phase) WHERE phase < 4;
CREATE INDEX idx_turn_started_at ON turn (started_at);
INSERT INTO turn (
    started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount, phase, phase_deadline
) VALUES ('2025-01-02T03:04:05Z', 'https://example.com/666', 666, 10, 1000, 1, '2025-01-02T03:14:05Z');

CREATE TABLE debtor_info (
    turn_id INTEGER NOT NULL,
    debtor_info_locator VARCHAR NOT NULL,
    debtor_id BIGINT NOT NULL,
    peg_debtor_info_locator VARCHAR,
    peg_debtor_id BIGINT,
    peg_exchange_rate FLOAT,
    PRIMARY KEY (turn_id, debtor_info_locator)
);

CREATE TABLE confirmed_debtor (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    debtor_info_locator VARCHAR NOT NULL,
    PRIMARY KEY (turn_id, debtor_id)
);

CREATE TABLE currency_info (
    turn_id INTEGER NOT NULL,
    debtor_info_locator VARCHAR NOT NULL,
    debtor_id BIGINT NOT NULL,
    peg_debtor_info_locator VARCHAR,
    peg_debtor_id BIGINT,
    peg_exchange_rate FLOAT,
    is_confirmed BOOLEAN NOT NULL,
    PRIMARY KEY (turn_id, debtor_info_locator)
);
CREATE UNIQUE INDEX idx_currency_info_confirmed_debtor_id ON currency_info (turn_id, debtor_id) WHERE is_confirmed;

CREATE TABLE sell_offer (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id),
    CHECK (amount > 0)
);

CREATE TABLE buy_offer (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id),
    CHECK (amount > 0)
);

CREATE TABLE creditor_taking (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id),
    CHECK (amount > 0)
);

CREATE TABLE creditor_giving (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id),
    CHECK (amount > 0)
);

CREATE TABLE collector_collecting (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    collector_hash SMALLINT NOT NULL,
    PRIMARY KEY (turn_id, debtor_id, creditor_id),
    CHECK (amount > 0)
);

CREATE TABLE collector_dispatching (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    collector_hash SMALLINT NOT NULL,
    PRIMARY KEY (turn_id, debtor_id, creditor_id),
    CHECK (amount > 0)
);

CREATE TABLE collector_sending (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    from_collector_id BIGINT NOT NULL,
    to_collector_id BIGINT NOT NULL,
    from_collector_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (turn_id, debtor_id, from_collector_id, to_collector_id),
    CHECK (amount > 0),
    CHECK (from_collector_id != to_collector_id)
);

CREATE TABLE collector_receiving (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    to_collector_id BIGINT NOT NULL,
    from_collector_id BIGINT NOT NULL,
    to_collector_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (turn_id, debtor_id, to_collector_id, from_collector_id),
    CHECK (amount > 0),
    CHECK (from_collector_id != to_collector_id)
);
